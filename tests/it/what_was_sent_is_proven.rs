//! What was sent is shown to whoever asks, as far as something proves it.

use waybill::account::Role;
use waybill::archive::{Action, ActionKind, Judgement, ProviderReport, Reported};
use waybill::evidence::{self, Proof, Renderer};
use waybill::lifecycle::RetrySchedule;
use waybill::model::{Digest, MessageId, Outcome, ReceiptState};

use super::support::admin::{Gateway, now, upstream};
use super::support::sms::{message, sms};

async fn claimed(gateway: &Gateway, text: &str) -> MessageId {
    let id = gateway.archive.accept(message(sms(text))).await.unwrap().get();
    assert_eq!(gateway.claim(id, 0).await, [0]);
    id
}

async fn report(gateway: &Gateway, id: MessageId, state: ReceiptState) {
    let report = ProviderReport {
        upstream: upstream(),
        provider_id: None,
        message: Some(id),
        is_proven: false,
        state,
        reason: None,
        code: None,
        at: now(),
    };
    assert_eq!(gateway.archive.report(report).await.unwrap(), Reported::Changed(id));
}

/// The connection was lost after the request was written.
async fn lose(gateway: &Gateway, id: MessageId) {
    let judgement = Judgement {
        message: id,
        outcomes: vec![(0, Outcome::Unknown { detail: "the connection was lost".into() })],
        touch: None,
        is_last_upstream: true,
        hold_unknown: true,
        now: now(),
    };
    gateway.archive.judge(judgement, RetrySchedule::default().into()).await.unwrap();
}

fn proof(gateway: &Gateway, id: MessageId) -> Proof {
    let renderer = Renderer::plain(gateway.archive.clone());
    evidence::sent_to(&renderer, &gateway.message(id), 0).unwrap().unwrap().1
}

async fn raw(gateway: &Gateway, id: MessageId) -> (u16, Vec<u8>) {
    let token = gateway.token(Role::Viewer, &[]).await;
    let answer = gateway.get(&token, &format!("/api/v1/messages/{id}/raw?sent_to=0")).await;
    (answer.status, answer.body.to_vec())
}

#[tokio::test]
async fn nothing_is_called_proven_that_nobody_saw() {
    use ReceiptState::{Delivered, Undelivered, Underway};
    let gateway = Gateway::start().await;
    for receipts in [&[Underway][..], &[Underway, Delivered], &[Delivered], &[Undelivered]] {
        let id = claimed(&gateway, "Hello").await;
        lose(&gateway, id).await;
        assert_eq!(proof(&gateway, id), Proof::NotSentYet);
        for receipt in receipts {
            report(&gateway, id, *receipt).await;
        }
        assert_eq!(proof(&gateway, id), Proof::Unproven, "{receipts:?}");
        let (status, body) = raw(&gateway, id).await;
        assert_eq!(status, 409);
        assert!(String::from_utf8_lossy(&body).contains("nothing proves"), "{receipts:?}");
        let events = gateway.archive.events(id, None, 99).unwrap().items;
        assert!(events.iter().all(|event| event.digest.is_none()), "no digest of nothing");
    }
}

#[tokio::test]
async fn what_was_sent_and_did_not_arrive_is_shown() {
    let gateway = Gateway::start().await;
    let id = claimed(&gateway, "Hello æøå").await;
    let digest = gateway.sent(id, 0, None).await;
    report(&gateway, id, ReceiptState::Undelivered).await;
    assert_eq!(proof(&gateway, id), Proof::Proven(digest));
    assert_eq!(raw(&gateway, id).await, (200, "Hello æøå".as_bytes().to_vec()));
    // It was sent once, even while it waits to be sent again.
    let action = Action {
        kind: ActionKind::Restart,
        message: id,
        recipients: None,
        by: "user anna".into(),
        reason: None,
        at: now(),
    };
    gateway.archive.act(action.clone()).await.unwrap().unwrap();
    assert_eq!(proof(&gateway, id), Proof::Proven(digest));

    let other = claimed(&gateway, "Hello").await;
    let recorded = gateway.sent(other, 0, Some(Digest::of(b"something else"))).await;
    report(&gateway, other, ReceiptState::Undelivered).await;
    let recomputed = Digest::of(b"Hello");
    assert_eq!(proof(&gateway, other), Proof::Differs { recorded, recomputed });
    assert_eq!(raw(&gateway, other).await.0, 500);
    // After a later attempt whose end nobody saw, another digest is no contradiction.
    gateway.archive.act(Action { message: other, ..action }).await.unwrap().unwrap();
    assert_eq!(gateway.claim(other, 0).await, [0]);
    lose(&gateway, other).await;
    assert_eq!(proof(&gateway, other), Proof::Unproven);
    assert_eq!(raw(&gateway, other).await.0, 409);
}
