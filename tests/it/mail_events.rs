//! What a mail provider tells over HTTP: proven, found, told once, and never taken for another's.

use std::sync::Arc;

use serde_json::{Value, json};
use waybill::archive::{ClaimRequest, Judgement};
use waybill::lifecycle::RetrySchedule;
use waybill::model::{
    Cause, Channel, Digest, EventKind, MessageId, Outcome, RecipientState, Reply, Status,
};

use super::support::gateway::{CALLBACK_TOKEN, Gateway, app};
use super::support::queue::{message, name};

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const REPLY: &str = "Ok: queued as 883953f4-6105-42a2-a16a-77a8eac79483";
const PROVIDER_ID: &str = "883953f4-6105-42a2-a16a-77a8eac79483";

async fn gateway(dir: &tempfile::TempDir) -> Gateway {
    Gateway::start(dir, vec![app("erp", None)]).await
}

/// A mail to these, claimed for an upstream.
async fn claimed(gateway: &Gateway, to: &[&str], by: &str) -> MessageId {
    let id = gateway.archive.accept(message("x", to)).await.unwrap().get();
    let recipients: Vec<u16> = (0..to.len() as u16).collect();
    let now = gateway.clock.now();
    let request = ClaimRequest { message: id, recipients, upstream: name(by), rank: 0, now };
    gateway.archive.claim(request).await.unwrap();
    id
}

async fn judged(gateway: &Gateway, id: MessageId, recipients: u16) {
    let outcome = Outcome::Sent {
        reply: Reply::new(250, None, REPLY),
        digest: Digest::of(b"x"),
        parts: Vec::new(),
        owes_report: false,
    };
    let judgement = Judgement {
        message: id,
        outcomes: (0..recipients).map(|index| (index, outcome.clone())).collect(),
        touch: None,
        is_last_upstream: true,
        hold_unknown: true,
        now: gateway.clock.now(),
    };
    let schedule = RetrySchedule {
        waits: vec![std::time::Duration::from_secs(60)],
        expire: std::time::Duration::from_secs(3600),
    };
    gateway.archive.judge(judgement, Arc::new(schedule)).await.unwrap();
}

async fn sent(gateway: &Gateway, to: &[&str]) -> MessageId {
    let id = claimed(gateway, to, "mail").await;
    judged(gateway, id, to.len() as u16).await;
    id
}

/// Tells an event as Postmark does; gives the status of the answer.
async fn tell(gateway: &Gateway, path: &str, token: &str, body: &Value) -> u16 {
    let path = format!("{path}?token={token}");
    gateway.post(&path, &body.to_string(), "").await.0
}

async fn told(gateway: &Gateway, body: &Value) -> u16 {
    tell(gateway, "/hooks/mail/events", CALLBACK_TOKEN, body).await
}

fn bounce(kind: &str, to: &str) -> Value {
    json!({"RecordType": "Bounce", "Type": kind, "MessageID": PROVIDER_ID, "Email": to,
        "Details": "smtp; 550 5.1.1 no such user", "BouncedAt": "2020-01-01T00:00:00Z"})
}

fn open(to: &str, at: &str) -> Value {
    json!({"RecordType": "Open", "MessageID": PROVIDER_ID, "Recipient": to, "ReceivedAt": at,
        "UserAgent": CHROME, "Geo": {"IP": "192.0.2.77"}})
}

fn is_failed(gateway: &Gateway, id: MessageId, index: usize) -> bool {
    let message = gateway.archive.message(id).unwrap().unwrap();
    matches!(
        message.recipients[index].state,
        RecipientState::Failed { cause: Cause::Bounced { is_hard: true, .. }, .. }
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = sent(&gateway, &["kim@example.org"]).await;
    let body = bounce("HardBounce", "kim@example.org");
    assert_eq!(tell(&gateway, "/hooks/mail/events", "", &body).await, 403);
    assert_eq!(tell(&gateway, "/hooks/mail/events", "another", &body).await, 403);
    assert_eq!(tell(&gateway, "/hooks/nobody/events", CALLBACK_TOKEN, &body).await, 404);
    // An SMS provider tells none, and another upstream nothing of this one's mail.
    assert_eq!(tell(&gateway, "/hooks/provider/events", CALLBACK_TOKEN, &body).await, 404);
    assert_eq!(tell(&gateway, "/hooks/other-mail/events", "another", &body).await, 200);
    assert_eq!(told(&gateway, &json!([])).await, 400);
    let get = format!(
        "GET /hooks/mail/events?token={CALLBACK_TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(gateway.ask(&get).await.0, 404);
    let large = json!({"RecordType": "x".repeat(1 << 20)});
    let answer = told(&gateway, &large).await;
    assert_eq!(answer, 413);
    let message = gateway.archive.message(id).unwrap().unwrap();
    assert_eq!(message.status(), Status::Sent);
    assert_eq!(gateway.archive.events(id, None, 100).unwrap().items.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_ends_its_recipient_alone_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = sent(&gateway, &["kim@example.org", "no@example.org"]).await;
    // Of a message with two recipients an event must say which one, and one that is there.
    for unknown in ["", "other@example.org"] {
        assert_eq!(told(&gateway, &bounce("HardBounce", unknown)).await, 200);
    }
    assert_eq!(told(&gateway, &bounce("Transient", "no@example.org")).await, 200);
    assert!(!is_failed(&gateway, id, 0) && !is_failed(&gateway, id, 1));
    for _ in 0..3 {
        assert_eq!(told(&gateway, &bounce("HardBounce", "NO@example.org")).await, 200);
    }
    assert!(!is_failed(&gateway, id, 0) && is_failed(&gateway, id, 1));
    let events = gateway.archive.events(id, None, 100).unwrap().items;
    let bounced: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Bounced).collect();
    assert_eq!((bounced.len(), bounced[0].recipient), (1, Some(1)));
    let suppressed =
        gateway.archive.suppressions(Some(Channel::Email), None, None, 10).unwrap().items;
    let recipients: Vec<_> = suppressed.iter().map(|entry| entry.recipient.as_str()).collect();
    assert_eq!(recipients, ["no@example.org"]);
    assert!(suppressed[0].expires_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn opens_and_clicks_are_counted_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = sent(&gateway, &["kim@example.org"]).await;
    for at in ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z"] {
        assert_eq!(told(&gateway, &open("kim@example.org", at)).await, 200);
    }
    let click = json!({"RecordType": "Click", "MessageID": PROVIDER_ID, "OriginalLink": "https://a.example/",
        "Recipient": "kim@example.org", "ReceivedAt": "2020-01-02T00:00:00Z", "UserAgent": CHROME});
    assert_eq!(told(&gateway, &click).await, 200);
    // The path of an SMS provider's reports leads there too.
    let later = open("kim@example.org", "2020-01-03T00:00:00Z");
    assert_eq!(tell(&gateway, "/hooks/mail/status", CALLBACK_TOKEN, &later).await, 200);
    let message = gateway.archive.message(id).unwrap().unwrap();
    let seen = &message.recipients[0].engagement;
    assert_eq!((seen.opens, seen.automated_opens, seen.clicks), (3, 0, 1));
    assert_eq!(seen.opened_at.unwrap().to_string().get(..16), Some("2020-01-01T00:00"));
    let kept = gateway.archive.hits(id).unwrap();
    // The network alone is kept.
    assert_eq!(kept[0].hit.client.unwrap().to_string(), "192.0.2.0/24");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_complains_or_opts_out_is_not_written_to_by_the_same_sender() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    sent(&gateway, &["kim@example.org", "bo@example.org"]).await;
    let complaint = json!({"RecordType": "SpamComplaint", "MessageID": PROVIDER_ID,
        "Email": "kim@example.org", "BouncedAt": "2020-01-01T00:00:00Z"});
    let change = json!({"RecordType": "SubscriptionChange", "MessageID": PROVIDER_ID, "Origin": "Recipient",
        "Recipient": "bo@example.org", "SuppressSending": true, "ChangedAt": "2020-01-01T00:00:00Z"});
    assert_eq!(told(&gateway, &complaint).await, 200);
    assert_eq!(told(&gateway, &change).await, 200);
    let suppressed =
        gateway.archive.suppressions(Some(Channel::Email), None, None, 10).unwrap().items;
    let mut told: Vec<_> = suppressed
        .iter()
        .map(|e| (e.by.as_str(), e.recipient.as_str(), e.originator.as_deref()))
        .collect();
    told.sort_unstable();
    let sender = Some("anna@example.com");
    assert_eq!(
        told,
        [("complaint", "kim@example.org", sender), ("opt-out", "bo@example.org", sender)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_outruns_its_attempt_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = claimed(&gateway, &["kim@example.org"], "mail").await;
    let delivered = json!({"RecordType": "Delivery", "MessageID": PROVIDER_ID,
        "Recipient": "kim@example.org", "Details": "250 ok"});
    let (answer, ()) = tokio::join!(told(&gateway, &delivered), async {
        tokio::task::yield_now().await;
        judged(&gateway, id, 1).await;
    });
    assert_eq!(answer, 200);
    let message = gateway.archive.message(id).unwrap().unwrap();
    assert!(message.recipients[0].delivered_at.is_some());
}
