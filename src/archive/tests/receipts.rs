//! Receipts of providers, from the answer that names the parts to the end; and validity.

use super::calls::sms;
use super::*;
use crate::model::{FailureReason, ReceiptState};

fn other() -> UpstreamName {
    UpstreamName::parse("other").unwrap()
}

pub(super) fn sent_as(parts: &[&str]) -> Outcome {
    Outcome::Sent {
        reply: Reply::new(200, None, "ok"),
        digest: Digest::of(b"sent"),
        parts: parts.iter().map(ToString::to_string).collect(),
        owes_report: false,
    }
}

pub(super) fn report(
    provider_id: Option<&str>,
    message: Option<MessageId>,
    state: ReceiptState,
) -> ProviderReport {
    ProviderReport {
        upstream: upstream(),
        provider_id: provider_id.map(str::to_owned),
        message,
        is_proven: false,
        state,
        reason: Some(FailureReason::Unreachable).filter(|_| state == ReceiptState::Undelivered),
        code: Some("30003".into()),
        at: at(30),
    }
}

async fn archived(archive: &Archive, number: u64) -> MessageId {
    archive.accept(sms(number, (0, 1), Bytes::from("x"))).await.unwrap().get()
}

async fn judged(archive: &Archive, number: u64, outcome: Outcome) -> MessageId {
    let id = archived(archive, number).await;
    assert_eq!(archive.claim(claim_of(id, &[0])).await.unwrap(), [0]);
    let judgement = Judgement { hold_unknown: true, ..judgement_of(id, 0, outcome) };
    archive.judge(judgement, Arc::default()).await.unwrap();
    id
}

#[tokio::test]
async fn reports_of_nothing_of_ours_change_nothing() {
    use ReceiptState::Delivered;
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mail = archive.accept(acceptance(1, 1, Bytes::from("x"))).await.unwrap().get();
    let long = "x".repeat(10_000);
    let nobody = MessageId::from_u128(5);
    for unknown in [
        report(None, None, Delivered),
        report(Some("SM1"), None, Delivered),
        report(Some(""), None, Delivered),
        report(Some(&long), None, Delivered),
        report(Some("SM1"), Some(nobody), Delivered),
        report(Some("SM1"), Some(mail), Delivered),
    ] {
        assert_eq!(archive.report(unknown).await.unwrap(), Reported::Unknown);
    }
    let id = judged(&archive, 2, sent_as(&["SM2"])).await;
    let foreign = ProviderReport { upstream: other(), ..report(Some("SM2"), None, Delivered) };
    assert_eq!(archive.report(foreign.clone()).await.unwrap(), Reported::Unknown);
    let foreign = ProviderReport { message: Some(id), ..foreign };
    assert_eq!(archive.report(foreign).await.unwrap(), Reported::Unknown);
    assert_eq!(kinds(&archive, id), [EventKind::Accepted, EventKind::Sent]);
}

#[tokio::test]
async fn a_status_url_speaks_of_its_own_message_alone_whatever_id_it_names() {
    use ReceiptState::Delivered;
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let other = judged(&archive, 1, sent_as(&["SM1"])).await;
    // Nobody knows yet under which id this one was taken.
    let mine = judged(&archive, 2, Outcome::Unknown { detail: "cut off".into() }).await;
    let lie = ProviderReport { is_proven: true, ..report(Some("SM1"), Some(mine), Delivered) };
    assert_eq!(archive.report(lie).await.unwrap(), Reported::Changed(mine));
    assert_eq!(kinds(&archive, other), [EventKind::Accepted, EventKind::Sent]);
    let honest = report(Some("sm1"), None, Delivered);
    assert_eq!(archive.report(honest).await.unwrap(), Reported::Changed(other), "its id was taken");
}

#[tokio::test]
async fn a_receipt_that_overtakes_the_answer_is_to_come_again() {
    use ReceiptState::Delivered;
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = archived(&archive, 1).await;
    let (ours, theirs) =
        (report(Some("SM1"), Some(id), Delivered), report(Some("SM1"), None, Delivered));
    assert_eq!(archive.report(ours.clone()).await.unwrap(), Reported::TooEarly);
    assert_eq!(archive.report(theirs.clone()).await.unwrap(), Reported::Unknown);
    archive.claim(claim_of(id, &[0])).await.unwrap();
    assert_eq!(archive.report(ours.clone()).await.unwrap(), Reported::TooEarly);
    assert_eq!(archive.report(theirs.clone()).await.unwrap(), Reported::TooEarly);
    archive.judge(judgement_of(id, 0, sent_as(&["SM1"])), Arc::default()).await.unwrap();
    assert_eq!(archive.report(theirs).await.unwrap(), Reported::Changed(id));
    assert_eq!(archive.report(ours).await.unwrap(), Reported::Unchanged(id));
    let expected = [EventKind::Accepted, EventKind::Sent, EventKind::Delivered];
    assert_eq!(kinds(&archive, id), expected);
}

#[tokio::test]
async fn parts_end_one_by_one_and_survive_a_restart() {
    use ReceiptState::*;
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = judged(&archive, 1, sent_as(&["0A1", "0A2"])).await;
    let tell = |part, state| archive.report(report(Some(part), None, state));
    assert_eq!(tell("0a1", Underway).await.unwrap(), Reported::Unchanged(id));
    assert_eq!(tell("0a1", Delivered).await.unwrap(), Reported::Changed(id));
    assert_eq!(tell("0A1", Undelivered).await.unwrap(), Reported::Unchanged(id));
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let recipient = archive.message(id).unwrap().unwrap().recipients.remove(0);
    let part = |id: &str, state| Part { provider_id: id.into(), state };
    assert_eq!(recipient.parts, [part("0A1", Delivered), part("0A2", Underway)]);
    assert_eq!(recipient.delivered_at, None);
    let last = archive.report(report(Some("0A2"), None, Delivered)).await.unwrap();
    assert_eq!(last, Reported::Changed(id));
    let message = archive.message(id).unwrap().unwrap();
    assert_eq!(message.recipients[0].delivered_at, Some(at(30)));
    assert_eq!(message.status(), Status::Sent);
}

#[tokio::test]
async fn a_lost_message_fails_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = judged(&archive, 1, sent_as(&["SM1"])).await;
    let lost = report(Some("SM1"), None, ReceiptState::Undelivered);
    assert_eq!(archive.report(lost.clone()).await.unwrap(), Reported::Changed(id));
    assert_eq!(archive.report(lost).await.unwrap(), Reported::Unchanged(id));
    let RecipientState::Failed { cause, .. } =
        archive.message(id).unwrap().unwrap().recipients.remove(0).state
    else {
        panic!("it has not failed")
    };
    let (reason, code) = (FailureReason::Unreachable, Some("30003".to_owned()));
    assert_eq!(cause, Cause::Undelivered { upstream: upstream(), reason, code });
    let events = archive.events(id, None, 9).unwrap().items;
    assert_eq!(events.last().unwrap().kind, EventKind::Failed);
    let detail = events.last().unwrap().detail.as_deref().unwrap();
    assert_eq!(detail, "unreachable, code 30003, through provider");
    let page = Filter { status: Some(Status::Failed), ..Filter::default() };
    assert_eq!(archive.list(&page, Order::Newest, None, 9).unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_the_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let unknown = || Outcome::Unknown { detail: "the connection was lost".into() };
    let id = judged(&archive, 1, unknown()).await;
    let arrived = report(Some("SM1"), Some(id), ReceiptState::Delivered);
    assert_eq!(archive.report(arrived).await.unwrap(), Reported::Changed(id));
    let message = archive.message(id).unwrap().unwrap();
    assert_eq!(
        (message.status(), message.recipients[0].delivered_at),
        (Status::Sent, Some(at(30)))
    );
    let again = report(Some("SM1"), None, ReceiptState::Delivered);
    assert_eq!(archive.report(again).await.unwrap(), Reported::Unchanged(id));
    let id = judged(&archive, 2, unknown()).await;
    let refused = report(None, Some(id), ReceiptState::Rejected);
    assert_eq!(archive.report(refused).await.unwrap(), Reported::Changed(id));
    assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Failed);
}

#[tokio::test]
async fn what_waits_too_long_expires_and_what_is_on_its_way_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut ids = Vec::new();
    for number in 0..4 {
        let mut one = sms(number, (0, 1), Bytes::from("x"));
        let Medium::Sms(sms) = &mut one.medium else { panic!("no SMS") };
        sms.valid_until = Some(at(100 + number as i64));
        if number == 3 {
            one.recipients[0].state = RecipientState::Held { hold: Hold::Manual };
        }
        ids.push(archive.accept(one).await.unwrap().get());
    }
    archive.accept(sms(9, (0, 1), Bytes::from("x"))).await.unwrap();
    assert_eq!(archive.next_validity_end().unwrap(), Some(at(100)));
    assert!(archive.expire(at(99)).await.unwrap().is_empty());
    assert_eq!(archive.claim(claim_of(ids[0], &[0])).await.unwrap(), [0]);
    archive.act(action_of(ActionKind::Stop, ids[1])).await.unwrap().unwrap();
    assert_eq!(archive.next_validity_end().unwrap(), Some(at(102)));
    archive.close().await;

    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.expire(at(500)).await.unwrap(), [ids[2], ids[3]]);
    assert_eq!(archive.next_validity_end().unwrap(), None);
    let expected = [EventKind::Accepted, EventKind::Held, EventKind::Expired];
    assert_eq!(kinds(&archive, ids[3]), expected);
    assert_eq!(archive.message(ids[2]).unwrap().unwrap().status(), Status::Failed);
    // The attempt came to nothing: now it is over for this one too.
    archive.give_back(ids[0], vec![0], at(501)).await.unwrap();
    assert_eq!(archive.expire(at(501)).await.unwrap(), [ids[0]]);
    // A person wants it to go all the same.
    let restart = Action { at: at(600), ..action_of(ActionKind::Restart, ids[2]) };
    archive.act(restart).await.unwrap().unwrap();
    assert!(archive.expire(at(700)).await.unwrap().is_empty());
    assert_eq!(archive.message(ids[2]).unwrap().unwrap().status(), Status::Pending);
}
