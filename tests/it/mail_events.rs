//! What a mail provider tells over HTTP: proven, found, told once, and never taken for another's.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use waybill::archive::{ClaimRequest, Judgement};
use waybill::lifecycle::RetrySchedule;
use waybill::model::{
    Cause, Channel, Digest, EventKind, MessageId, Outcome, RecipientState, Reply, Status,
};

use super::support::gateway::{CALLBACK_TOKEN, Gateway, app};
use super::support::mail_providers::{ProviderCall, call, mailgun_with};
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
    judged_with(gateway, id, recipients, REPLY).await;
}

async fn judged_with(gateway: &Gateway, id: MessageId, recipients: u16, reply: &str) {
    let outcome = Outcome::Sent {
        reply: Reply::new(250, None, reply),
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
    let schedule =
        RetrySchedule { waits: vec![Duration::from_secs(60)], expire: Duration::from_secs(3600) };
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
        "Recipient": "bo@example.org", "SuppressSending": true, "SuppressionReason": "ManualSuppression", "ChangedAt": "2020-01-01T00:00:00Z"});
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
    let mut answer = std::pin::pin!(told(&gateway, &delivered));
    let early = tokio::time::timeout(Duration::from_millis(200), answer.as_mut()).await;
    assert!(early.is_err(), "answered before the attempt was judged");
    judged(&gateway, id, 1).await;
    assert_eq!(answer.await, 200);
    let message = gateway.archive.message(id).unwrap().unwrap();
    assert!(message.recipients[0].delivered_at.is_some());
}

/// A mail with this Message-ID, which this upstream took with this reply.
async fn sent_by(gateway: &Gateway, by: &str, message_id: &str, reply: &str) -> MessageId {
    let mut mail = message("x", &["kim@example.org"]);
    mail.summary.message_id = Some(message_id.to_owned());
    let id = gateway.archive.accept(mail).await.unwrap().get();
    let now = gateway.clock.now();
    let request =
        ClaimRequest { message: id, recipients: vec![0], upstream: name(by), rank: 0, now };
    gateway.archive.claim(request).await.unwrap();
    judged_with(gateway, id, 1, reply).await;
    id
}

async fn make(gateway: &Gateway, provider: &str, made: &ProviderCall) -> u16 {
    let path = format!("/hooks/{provider}/events{}", made.query);
    gateway.post(&path, &made.body, &made.headers).await.0
}

/// Provider, its reply to the message, and how it tells that the message bounced: as its documentation and
/// the clients that its users have show it.
fn bounces() -> [(&'static str, &'static str, Value); 5] {
    let ses = "0102018f2f7c5e1a-1b2c3d4e-02f9-4d12-a87d-dd0099a07f8a-000000";
    [
        (
            "ses",
            "Ok 0102018f2f7c5e1a-1b2c3d4e-02f9-4d12-a87d-dd0099a07f8a-000000",
            json!({"eventType": "Bounce", "mail": {"messageId": ses, "destination": ["kim@example.org"]},
                "bounce": {"bounceType": "Permanent", "bounceSubType": "General", "timestamp": "2020-01-01T00:00:00.000Z",
                    "bouncedRecipients": [{"emailAddress": "kim@example.org", "action": "failed", "status": "5.1.1",
                        "diagnosticCode": "smtp; 550 5.1.1 user unknown"}]}}),
        ),
        (
            "sendgrid",
            "Ok: queued as dDbOpPzJQZqimlFKSEMRUA",
            json!([{"event": "bounce", "type": "bounce", "email": "kim@example.org", "status": "5.1.1",
                "reason": "550 5.1.1 unknown", "timestamp": 1_577_836_800, "sg_event_id": "lC0Rc-FuQmKbnxCWxX1jRQ",
                "sg_message_id": "dDbOpPzJQZqimlFKSEMRUA.filter0077p1las1.21536.5717FC482.0", "bounce_classification": "Invalid Address"},
                {"event": 7}, 8]),
        ),
        (
            "mailgun",
            "Great success",
            json!({"event": "failed", "severity": "permanent", "reason": "bounce", "id": "G9Bn5sl1TC6nu79C8C0bwg",
                "timestamp": 1_577_836_800.9, "recipient": "kim@example.org",
                "message": {"headers": {"message-id": "mailgun.1@app.example", "to": "kim@example.org"}},
                "delivery-status": {"code": 550, "enhanced-code": "5.1.1", "bounce-type": "hard", "message": "5.1.1 unknown", "attempt-no": 1}}),
        ),
        (
            "mailjet",
            "OK queued as 1ab23cd4-e567-8901-2345-6789f0ab1c2d",
            json!([7, {"event": "bounce", "time": 1_577_836_800, "MessageID": 19_421_777_835_146_490u64,
                "Message_GUID": "1ab23cd4-e567-8901-2345-6789f0ab1c2d", "email": "kim@example.org", "blocked": false,
                "hard_bounce": true, "error_related_to": "recipient", "error": "user unknown", "comment": "550 5.1.1 no"}]),
        ),
        (
            "brevo",
            "2.0.0 OK: queued as <202001010000.27287306012@smtp-relay.mailin.fr>",
            json!({"event": "hard_bounce", "email": "kim@example.org", "id": 9_999_999, "ts": 1_577_833_200,
                "ts_event": 1_577_833_200, "ts_epoch": 1_577_836_800_000u64, "reason": " RecipientError: 550 5.1.1 unknown",
                "message-id": "<202001010000.27287306012@smtp-relay.mailin.fr>"}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_is_matched_by_what_its_own_reply_says() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    for (provider, reply, event) in bounces() {
        let ours = format!("{provider}.1@app.example");
        let id = sent_by(&gateway, provider, &ours, reply).await;
        let before = sent_by(&gateway, provider, &format!("{provider}.2@app.example"), "Ok").await;
        // The same call again changes nothing.
        for _ in 0..2 {
            let made = call(provider, &event, gateway.clock.now());
            assert_eq!(make(&gateway, provider, &made).await, 200, "{provider}");
        }
        assert!(is_failed(&gateway, id, 0), "{provider}");
        assert!(!is_failed(&gateway, before, 0), "{provider}");
        let events = gateway.archive.events(id, None, 100).unwrap().items;
        let bounced: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Bounced).collect();
        assert_eq!(bounced.len(), 1, "{provider}");
        assert!(bounced[0].reply.as_ref().unwrap().contains("5.1.1"), "{provider}");
        assert_eq!(bounced[0].at.to_string().get(..16), Some("2020-01-01T00:00"), "{provider}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_a_restart_is_known_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut known = Vec::new();
    let house = gateway(&dir).await;
    for (provider, reply, event) in bounces() {
        let id = sent_by(&house, provider, &format!("{provider}.1@app.example"), reply).await;
        let made = call(provider, &event, house.clock.now());
        assert_eq!(make(&house, provider, &made).await, 200, "{provider}");
        known.push((id, provider, made, house.archive.events(id, None, 100).unwrap().items.len()));
    }
    house.stop().await;
    let house = gateway(&dir).await;
    for (id, provider, made, events) in known {
        assert_eq!(make(&house, provider, &made).await, 200, "{provider}");
        assert_eq!(house.archive.events(id, None, 100).unwrap().items.len(), events, "{provider}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_mailgun_proves_one_call_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let house = gateway(&dir).await;
    let id = sent_by(&house, "mailgun", "mailgun.1@app.example", "Great success").await;
    let told = |event: &str, id: &str| {
        json!({"event": event, "id": id, "timestamp": 1_577_836_800.9, "recipient": "kim@example.org",
            "message": {"headers": {"message-id": "mailgun.1@app.example"}}})
    };
    let now = house.clock.now();
    let seen = mailgun_with("token-1", &told("delivered", "a"), now);
    // Whoever saw it puts another event beside its token.
    let forged = mailgun_with("token-1", &told("complained", "b"), now);
    assert_eq!(make(&house, "mailgun", &seen).await, 200);
    assert_eq!(make(&house, "mailgun", &forged).await, 403);
    house.stop().await;
    let house = gateway(&dir).await;
    assert_eq!(make(&house, "mailgun", &forged).await, 403);
    assert_eq!(make(&house, "mailgun", &seen).await, 200);
    let events = house.archive.events(id, None, 100).unwrap().items;
    let of = |kind| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((of(EventKind::Delivered), of(EventKind::Complained)), (1, 0));
    // With a token of its own it is believed.
    let other = mailgun_with("token-2", &told("complained", "b"), now);
    assert_eq!(make(&house, "mailgun", &other).await, 200);
    let events = house.archive.events(id, None, 100).unwrap().items;
    assert!(events.iter().any(|event| event.kind == EventKind::Complained));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_is_told_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = sent(&gateway, &["kim@example.org"]).await;
    assert_eq!(told(&gateway, &bounce("Transient", "kim@example.org")).await, 200);
    let message = gateway.archive.message(id).unwrap().unwrap();
    assert_eq!(message.status(), Status::Sent);
    let events = gateway.archive.events(id, None, 100).unwrap().items;
    assert!(events.iter().any(|event| event.kind == EventKind::Deferred));
    assert!(gateway.archive.suppressions(None, None, None, 10).unwrap().items.is_empty());
}
