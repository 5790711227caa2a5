//! Receipts of providers change what they prove, once, and nothing else.

use waybill::archive::Suppression;
use waybill::model::{Cause, Channel, FailureReason, MessageId, RecipientState, Status};

use super::support::gateway::{CALLBACK_TOKEN, Gateway, app, form, signature, status_fields, text};
use super::support::queue::{events, get, kinds};
use super::support::sms::{DESTINATION, ORIGINATOR};

const SID: &str = "SM0123456789abcdef0123456789abcdef";
const STATUS: &str = "/hooks/provider/status";

async fn gateway(dir: &tempfile::TempDir) -> Gateway {
    Gateway::start(dir, vec![app("erp", None)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_callbacks_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent(text("hello"), SID).await;
    let before = kinds(&gateway.archive, id);
    let fields = status_fields(SID, "delivered");
    let good = signature(STATUS, &fields);
    let body = form(&fields);
    let other = gateway.status_path(MessageId::from_u128(7));
    let stolen = other.split_once("proof=").unwrap().1;
    let forged_proof = format!("{STATUS}?message={id}&proof={stolen}");
    let elsewhere = gateway.status_path(id).replace("/provider/", "/kannel/");
    let undelivered = form(&status_fields(SID, "undelivered"));
    let cases: Vec<(&str, &str, &str, u16)> = vec![
        (STATUS, &body, "", 403),
        (STATUS, &body, "X-Twilio-Signature: bm90IHRoaXM=\r\n", 403),
        // Another field under the same signature.
        (STATUS, &undelivered, &good, 403),
        // Another URL under the same signature.
        ("/hooks/provider/status?x=1", &body, &good, 403),
        (&forged_proof, &body, "", 403),
        // The proof is for another upstream.
        (&elsewhere, &body, "", 403),
        ("/hooks/kannel/status?token=word&type=1", &body, "", 403),
        // From a network that the provider does not call from.
        ("/hooks/far/status", &body, &good, 403),
        ("/hooks/nobody/status", &body, &good, 404),
        ("/hooks/provider/other", &body, &good, 404),
        ("/hooks/../status", &body, &good, 404),
        // The name of no upstream, and of nothing at all.
        ("/hooks/%ff/status", &body, &good, 404),
        ("/hooks/%ff/events", &body, &good, 404),
        ("/hooks/%ff/inbound", &body, &good, 404),
        ("/", &body, &good, 404),
    ];
    for (path, body, headers, expected) in cases {
        let (status, said) = gateway.post(path, body, headers).await;
        assert_eq!((status, said.as_str()), (expected, ""), "{path} {headers}");
    }
    let (status, _) = gateway
        .ask(&format!("DELETE {STATUS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await;
    assert_eq!(status, 404);
    assert_eq!(kinds(&gateway.archive, id), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forgeries_is_told_to_go_away_and_the_provider_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent(text("hello"), SID).await;
    let body = form(&status_fields(SID, "failed"));
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(gateway.post(STATUS, &body, "").await.0);
    }
    assert_eq!((answers[0], answers[29]), (403, 429));
    assert_eq!(gateway.signed(STATUS, &status_fields(SID, "delivered")).await, 200);
    assert!(get(&gateway.archive, id).recipients[0].delivered_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let path = format!("/hooks/kannel/status?token={CALLBACK_TOKEN}");
    let large = format!("MessageSid={}", "x".repeat(300 << 10));
    assert_eq!(gateway.post(&path, &large, "").await.0, 413);
    for nonsense in ["", "&type=x", "&type=3"] {
        assert_eq!(gateway.post(&format!("{path}{nonsense}"), "", "").await.0, 400, "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_receipt_is_proven_by_the_url_that_we_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent_by(text("hello"), "kannel").await;
    let path = gateway.status_path_of(id, "kannel");
    let get = |query: &str| {
        format!(
            "GET {path}{query} HTTP/1.1
Host: x
Connection: close

"
        )
    };
    assert_eq!(gateway.ask(&get("0&type=1")).await.0, 403);
    assert_eq!(gateway.ask(&get("&type=1")).await, (200, String::new()));
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent", "delivered"]);
    // Whose token is right but who names no message speaks of none.
    let nobody = format!("/hooks/kannel/status?token={CALLBACK_TOKEN}&type=2");
    assert_eq!(gateway.post(&nobody, "", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_is_recorded_once_and_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent(text("hello"), SID).await;
    for status in ["sent", "delivered", "delivered", "sent", "failed", "undelivered"] {
        assert_eq!(gateway.signed(STATUS, &status_fields(SID, status)).await, 200, "{status}");
    }
    let message = get(&gateway.archive, id);
    assert_eq!(message.status(), Status::Sent);
    assert!(message.recipients[0].delivered_at.is_some());
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent", "delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_says_why_and_delivered_after_it_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent(text("hello"), SID).await;
    let mut fields = status_fields(SID, "undelivered");
    fields.push(("ErrorCode", "30006"));
    assert_eq!(gateway.signed(STATUS, &fields).await, 200);
    assert_eq!(gateway.signed(STATUS, &status_fields(SID, "delivered")).await, 200);
    let message = get(&gateway.archive, id);
    let RecipientState::Failed { cause: Cause::Undelivered { reason, code, .. }, .. } =
        &message.recipients[0].state
    else {
        panic!("{:?}", message.recipients[0].state);
    };
    assert_eq!((*reason, code.as_deref()), (FailureReason::Landline, Some("30006")));
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent", "failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_url_of_ours_speaks_for_its_own_message_alone() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let (mine, other) = (format!("{SID}a"), format!("{SID}b"));
    let first = gateway.sent(text("first"), &mine).await;
    let second = gateway.sent(text("second"), &other).await;
    let path = gateway.status_path(first);
    let lie = status_fields(&other, "delivered");
    assert_eq!(gateway.signed(&path, &lie).await, 200);
    assert!(get(&gateway.archive, second).recipients[0].delivered_at.is_none());
    assert_eq!(kinds(&gateway.archive, second), ["accepted", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_overtakes_the_response_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.accepted(text("hello")).await;
    gateway.claim(id).await;
    let fields = status_fields(SID, "delivered");
    let path = gateway.status_path(id);
    let early = gateway.signed(&path, &fields);
    let judged = async {
        // The callback is at the port by then, or comes later: both are promised.
        tokio::task::yield_now().await;
        gateway.judge_sent(id, SID).await;
    };
    let (status, ()) = tokio::join!(early, judged);
    assert_eq!(status, 200);
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent", "delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_nobodys_message_is_taken_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    let id = gateway.sent(text("hello"), SID).await;
    let stranger = "SMffffffffffffffffffffffffffffffff";
    assert_eq!(gateway.signed(STATUS, &status_fields(stranger, "failed")).await, 200);
    assert_eq!(kinds(&gateway.archive, id), ["accepted", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_durable_when_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let gateway = gateway(&dir).await;
        let id = gateway.sent(text("hello"), SID).await;
        assert_eq!(gateway.signed(STATUS, &status_fields(SID, "delivered")).await, 200);
        gateway.stop().await;
        id
    };
    let gateway = self::gateway(&dir).await;
    let delivered = events(&gateway.archive, id).into_iter().last().unwrap();
    assert_eq!(delivered.kind.as_str(), "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_opted_out_at_the_provider_is_suppressed_here() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(&dir).await;
    gateway.sent(text("hello"), SID).await;
    let mut fields = status_fields(SID, "failed");
    fields.push(("ErrorCode", "21610"));
    assert_eq!(gateway.signed(STATUS, &fields).await, 200);
    let now = gateway.clock.now();
    let entry =
        gateway.archive.suppressed(Channel::Sms, DESTINATION, Some(ORIGINATOR), now).unwrap();
    let Some(Suppression { by, originator, .. }) = entry else { panic!("nobody is suppressed") };
    assert_eq!((by.as_str(), originator.as_deref()), ("upstream provider", Some(ORIGINATOR)));
}
