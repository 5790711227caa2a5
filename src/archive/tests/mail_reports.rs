//! What comes back by mail: once, at the recipient that it is about; and messages by their number.

use super::*;
use crate::model::EnhancedCode;

fn report(message: MessageId, recipient: u16, kind: MailReportKind, key: &[u8]) -> MailReport {
    MailReport {
        message,
        recipient,
        kind,
        status: EnhancedCode::parse("5.1.1"),
        diagnostic: "550 5.1.1 no such user".into(),
        detail: "the address does not work".into(),
        at: at(30),
        key: Digest::of(key),
        is_proven: true,
    }
}

async fn sent(archive: &Archive, number: u64) -> MessageId {
    let id = archive.accept(acceptance(number, 1, Bytes::from("x"))).await.unwrap().get();
    assert_eq!(archive.claim(claim_of(id, &[0])).await.unwrap(), [0]);
    let judgement = judgement_of(id, 0, receipts::sent_as(&[]));
    archive.judge(judgement, Arc::default()).await.unwrap();
    id
}

fn kinds(archive: &Archive, id: MessageId) -> Vec<&'static str> {
    let events = archive.events(id, None, 1_000).unwrap().items;
    events.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn reports_of_nothing_of_ours_and_of_what_never_left_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let hard = MailReportKind::Failed { is_hard: true };
    let id = archive.accept(acceptance(1, 1, Bytes::from("x"))).await.unwrap().get();
    let nobody = MessageId::from_u128(5);
    let tell = async |report| archive.record_mail_report(report).await.unwrap();
    assert_eq!(tell(report(nobody, 0, hard, b"a")).await, Reported::Unknown);
    assert_eq!(tell(report(id, 1, hard, b"a")).await, Reported::Unknown);
    assert_eq!(tell(report(id, u16::MAX, hard, b"a")).await, Reported::Unknown);
    assert_eq!(tell(report(id, 0, hard, b"a")).await, Reported::Unchanged(id));
    archive.claim(claim_of(id, &[0])).await.unwrap();
    assert_eq!(tell(report(id, 0, hard, b"a")).await, Reported::TooEarly);
    assert_eq!(kinds(&archive, id), ["accepted"]);
}

#[tokio::test]
async fn the_same_report_twice_changes_nothing_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = sent(&archive, 1).await;
    let tell = async |kind, key: &'static [u8]| {
        archive.record_mail_report(report(id, 0, kind, key)).await.unwrap()
    };
    let hard = MailReportKind::Failed { is_hard: true };
    for kind in [MailReportKind::Delayed, MailReportKind::Displayed, MailReportKind::Complained] {
        assert_eq!(tell(kind, b"one").await, Reported::Changed(id));
        assert_eq!(tell(kind, b"one").await, Reported::Unchanged(id), "{kind:?}");
    }
    assert_eq!(tell(hard, b"one").await, Reported::Changed(id));
    archive.act(action_of(ActionKind::Restart, id)).await.unwrap().unwrap();
    let claim = ClaimRequest { now: at(40), ..claim_of(id, &[0]) };
    assert_eq!(archive.claim(claim).await.unwrap(), [0]);
    let judgement = judgement_of(id, 0, receipts::sent_as(&[]));
    archive.judge(judgement, Arc::default()).await.unwrap();
    assert_eq!(tell(hard, b"one").await, Reported::Unchanged(id));
    assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Sent);
    assert_eq!(tell(hard, b"two").await, Reported::Changed(id));
    assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Failed);
}

#[tokio::test]
async fn a_flood_of_reports_does_not_fill_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = sent(&archive, 1).await;
    for number in 0..70_u32 {
        let one = report(id, 0, MailReportKind::Complained, &number.to_be_bytes());
        archive.record_mail_report(one).await.unwrap();
    }
    assert_eq!(kinds(&archive, id).iter().filter(|kind| **kind == "complained").count(), 50);
}

/// A report that suppresses its recipient.
fn hard(message: MessageId, recipient: u16) -> Told {
    let suppression = Suppression {
        channel: Channel::Email,
        recipient: format!("r{recipient}@example.org"),
        originator: None,
        reason: "bounce: no such user".into(),
        by: "bounce".into(),
        at: at(30),
        expires_at: None,
    };
    let kind = MailReportKind::Failed { is_hard: true };
    Told { report: report(message, recipient, kind, b"one"), suppression: Some(suppression) }
}

fn is_suppressed(archive: &Archive, recipient: u16) -> bool {
    let address = format!("r{recipient}@example.org");
    archive.suppressed(Channel::Email, &address, Some("a@example.com"), at(40)).unwrap().is_some()
}

#[tokio::test]
async fn what_one_report_says_of_several_is_recorded_of_each_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = archive.accept(acceptance(1, 3, Bytes::from("x"))).await.unwrap().get();
    let judge = async |recipient: u16| {
        assert_eq!(archive.claim(claim_of(id, &[recipient])).await.unwrap(), [recipient]);
        let judgement = judgement_of(id, recipient, receipts::sent_as(&[]));
        archive.judge(judgement, Arc::default()).await.unwrap();
    };
    judge(0).await;
    judge(2).await;
    assert_eq!(archive.claim(claim_of(id, &[1])).await.unwrap(), [1]);
    let tell = async || {
        let mut told: Vec<Told> = [0, 1, 2, 9, 0].map(|recipient| hard(id, recipient)).into();
        told[2].suppression = None;
        let recorded = archive.record_mail_reports(told).await.unwrap();
        recorded.iter().map(|one| (one.reported, one.is_suppressed)).collect::<Vec<_>>()
    };
    let (changed, unchanged) = (Reported::Changed(id), Reported::Unchanged(id));
    let expected = [
        (changed, true),
        (Reported::TooEarly, false),
        (changed, false),
        (Reported::Unknown, false),
        (unchanged, false),
    ];
    assert_eq!(tell().await, expected);
    assert!(is_suppressed(&archive, 0) && !is_suppressed(&archive, 1));
    let judgement = judgement_of(id, 1, receipts::sent_as(&[]));
    archive.judge(judgement, Arc::default()).await.unwrap();
    let expected = [
        (unchanged, false),
        (changed, true),
        (unchanged, false),
        (Reported::Unknown, false),
        (unchanged, false),
    ];
    assert_eq!(tell().await, expected);
    assert!(is_suppressed(&archive, 1) && !is_suppressed(&archive, 2));
    assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Failed);
    assert_eq!(kinds(&archive, id).iter().filter(|kind| **kind == "bounced").count(), 3);
    assert!(archive.record_mail_reports(Vec::new()).await.unwrap().is_empty());
    check::check(&archive);
}

#[tokio::test]
async fn a_damaged_entry_of_the_list_keeps_no_report_from_being_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = sent(&archive, 1).await;
    spoil_suppression(&archive, "r0@example.org").await;
    let recorded = archive.record_mail_reports(vec![hard(id, 0)]).await.unwrap();
    assert_eq!(recorded, [Recorded { reported: Reported::Changed(id), is_suppressed: false }]);
    assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Failed);
    // What it forbade is not known, so it is neither believed nor overwritten.
    archive.suppressed(Channel::Email, "r0@example.org", Some("a@b"), at(40)).unwrap_err();
}

#[tokio::test]
async fn every_message_is_found_by_its_number_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.message_by_sequence(Sequence(1)).unwrap(), None);
    let mut ids = Vec::new();
    for number in 1..=40 {
        ids.push(archive.accept(acceptance(number, 1, Bytes::from("x"))).await.unwrap().get());
    }
    for id in ids {
        let sequence = archive.message(id).unwrap().unwrap().sequence;
        assert_eq!(archive.message_by_sequence(sequence).unwrap(), Some(id));
    }
    for none in [0, 41, u64::MAX] {
        assert_eq!(archive.message_by_sequence(Sequence(none)).unwrap(), None);
    }
}

#[tokio::test]
async fn messages_are_found_by_their_message_id_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut ids = Vec::new();
    for number in 1..=4 {
        let mut one = acceptance(number, 1, Bytes::from("x"));
        one.summary.message_id = Some(format!("m{}@example.com", number % 2));
        ids.push(archive.accept(one).await.unwrap().get());
    }
    let found = |id: &str, limit| -> Vec<MessageId> {
        let found = archive.with_message_id(id, limit).unwrap();
        found.iter().map(|message| message.id).collect()
    };
    assert_eq!(found("m1@example.com", 10), [ids[2], ids[0]]);
    assert_eq!(found("m1@example.com", 1), [ids[2]]);
    assert!(found("M1@example.com", 10).is_empty() && found("", 10).is_empty());
}
