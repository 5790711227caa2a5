//! Calls with many messages, calls that come again, and what an SMS is when it comes back.

use super::*;
use crate::model::{
    Destination, Dialect, Msisdn, Originator, ReceiptRequest, Sms, SmsBatch, SmsBody, SmsEncoding,
};

/// An SMS that is due at once, one of `count` of its call.
pub(in crate::archive) fn sms(number: u64, (index, count): (u32, u32), raw: Bytes) -> Acceptance {
    let digits = format!("45{:08}", number % 100_000_000);
    Acceptance {
        medium: Medium::Sms(Box::new(Sms {
            originator: Originator::parse("Example"),
            dialect: Dialect::Twilio,
            account: Some("AC1".into()),
            batch: SmsBatch { index, count },
            fingerprint: [7; 16],
            ..Sms::new(
                Destination::Number(Msisdn::from_digits(&digits).unwrap()),
                SmsBody::Text(format!("Your code is {number}")),
            )
        })),
        summary: Summary { preview: format!("Your code is {number}"), ..Summary::default() },
        ..acceptance(number, 1, raw)
    }
}

/// A call to so many numbers, with its one body and its one time.
pub(in crate::archive) fn call(from: u64, count: u32, raw: Bytes) -> Vec<Acceptance> {
    let one = |index| Acceptance {
        accepted_at: at(from as i64),
        ..sms(from + u64::from(index), (index, count), raw.clone())
    };
    (0..count).map(one).collect()
}

pub(super) fn key(number: u8, fingerprint: u8) -> RepeatKey {
    RepeatKey { key: [number; 32], fingerprint: [fingerprint; 16] }
}

fn ids(accepted: &Accepted) -> Vec<MessageId> {
    match accepted {
        Accepted::New(ids) | Accepted::Repeated(ids) => ids.iter().map(|id| id.get()).collect(),
        Accepted::Conflict => panic!("a conflict"),
    }
}

#[tokio::test]
async fn every_field_of_an_sms_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut whole = sms(1, (0, 1), Bytes::from("POST /x"));
    let Medium::Sms(one) = &mut whole.medium else { panic!("no SMS") };
    one.body = SmsBody::Binary(vec![0, 255]);
    one.udh = vec![5, 0, 3, 1, 2, 1];
    (one.encoding, one.segments, one.class) = (SmsEncoding::Binary, 3, Some(0));
    (one.valid_until, one.send_at) = (Some(at(5_000)), Some(at(3_000)));
    one.client_reference = Some("ref".into());
    one.receipt = Some(ReceiptRequest { url: "https://app.test/?s=%d".into(), mask: 31 });
    (one.reply_to, one.provider_id) = (Some(MessageId::from_u128(9)), Some("SM1".into()));
    let bare = sms(2, (0, 1), Bytes::from("POST /y"));
    for expected in [whole, bare] {
        let id = archive.accept(expected.clone()).await.unwrap().get();
        let found = archive.message(id).unwrap().unwrap();
        assert_eq!((found.medium, found.summary), (expected.medium, expected.summary));
        assert_eq!((found.redacted_at, found.deleted_at), (None, None));
        assert_eq!(archive.raw(id).unwrap().unwrap(), expected.raw);
        assert_eq!(archive.sms_by_sequence(found.sequence).unwrap(), Some(id));
    }
    let mail = archive.accept(acceptance(3, 1, Bytes::from("x"))).await.unwrap().get();
    let mail = archive.message(mail).unwrap().unwrap();
    assert_eq!(archive.sms_by_sequence(mail.sequence).unwrap(), None);
    assert_eq!(archive.sms_by_sequence(Sequence(99)).unwrap(), None);
    let filter = Filter { recipient: Some("+4500000001".into()), ..Filter::default() };
    assert_eq!(archive.list(&filter, Order::Newest, None, 9).unwrap().items.len(), 1);
    let filter = Filter { channel: Some(Channel::Sms), ..Filter::default() };
    assert_eq!(archive.list(&filter, Order::Newest, None, 9).unwrap().items.len(), 2);
}

#[tokio::test]
async fn what_came_in_says_that_it_was_received() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut inbound = sms(1, (0, 1), Bytes::from("x"));
    inbound.direction = Direction::Inbound;
    let digest = Digest::of(b"x");
    inbound.recipients[0].state = RecipientState::Sent {
        at: at(1),
        upstream: upstream(),
        reply: Reply::new(250, None, "received"),
        digest,
    };
    let id = archive.accept(inbound).await.unwrap().get();
    assert_eq!(kinds(&archive, id), [EventKind::Received]);
    assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Sent);
    assert!(archive.due(None, at(99), 9).unwrap().is_empty());
}

#[tokio::test]
async fn a_call_to_thousands_is_one_body_and_numbers_that_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    archive.accept(acceptance(0, 1, Bytes::from("mail"))).await.unwrap();
    let raw: Bytes = (0..500_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let accepted = archive.accept_all(call(1, 10_000, raw.clone()), None).await.unwrap();
    let ids = ids(&accepted);
    for (number, id) in ids.iter().enumerate().step_by(999) {
        let message = archive.message(*id).unwrap().unwrap();
        assert_eq!(message.sequence, Sequence(number as u64 + 2));
        assert_eq!(archive.raw(*id).unwrap().unwrap(), raw);
    }
    assert_eq!(archive.due(None, at(99_999), 20_000).unwrap().len(), 10_001);
    archive.close().await;
    let size = std::fs::metadata(dir.path().join("volumes/000001.redb")).unwrap().len();
    assert!(size < 4 * 500_000, "the body lies there once: {size}");
}

#[tokio::test]
async fn of_many_calls_with_one_key_one_makes_messages() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert!(archive.repeated(key(1, 1)).unwrap().is_none());
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (archive, raw) = (archive.clone(), Bytes::from("POST /x"));
        running.spawn(async move { archive.accept_all(call(1, 3, raw), Some(key(1, 1))).await });
    }
    let (mut made, mut all) = (0, BTreeSet::new());
    while let Some(accepted) = running.join_next().await {
        let accepted = accepted.unwrap().unwrap();
        made += usize::from(matches!(accepted, Accepted::New(_)));
        all.insert(ids(&accepted));
    }
    assert_eq!((made, all.len()), (1, 1));
    assert_eq!(archive.extent().unwrap().messages, 3);
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let again = archive.repeated(key(1, 1)).unwrap().unwrap();
    assert!(matches!(again, Accepted::Repeated(_)));
    assert_eq!(Some(ids(&again)), all.pop_first());
    assert!(matches!(archive.repeated(key(1, 2)).unwrap(), Some(Accepted::Conflict)));
    let other = archive.accept_all(call(1, 1, Bytes::new()), Some(key(1, 2))).await.unwrap();
    assert!(matches!(other, Accepted::Conflict));
    assert_eq!(archive.extent().unwrap().messages, 3);
}

#[tokio::test]
async fn an_old_key_is_forgotten_and_may_be_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let day = 24 * 3600 * 1000;
    for (number, offset) in [(1, 0), (1, day - 1), (1, day), (2, day), (1, day + 1)] {
        let mut calls = call(1, 1, Bytes::from("x"));
        calls[0].accepted_at = at(offset);
        let accepted = archive.accept_all(calls, Some(key(number, 1))).await.unwrap();
        let is_new = matches!(accepted, Accepted::New(_));
        assert_eq!(is_new, matches!((number, offset), (1, 0) | (2, _)) || offset == day);
    }
    let mut late = call(9, 1, Bytes::from("x"));
    late[0].accepted_at = at(3 * day);
    archive.accept_all(late, Some(key(3, 1))).await.unwrap();
    assert!(archive.repeated(key(1, 1)).unwrap().is_none(), "it went in passing");
    assert!(archive.repeated(key(3, 1)).unwrap().is_some());
}

#[tokio::test]
async fn keys_notes_and_an_orderly_end_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert!(archive.was_closed(), "a new archive has lost nothing");
    let key = archive.key("callbacks").await.unwrap();
    assert_eq!(archive.key("callbacks").await.unwrap(), key);
    assert!(archive.key("clicks").await.unwrap() != key && key != [0; 32]);
    let id = archive.accept(sms(1, (0, 1), Bytes::from("x"))).await.unwrap().get();
    let note = MessageNote {
        message: id,
        kind: EventKind::Replied,
        by: Some("sms".into()),
        detail: Some("STOP".into()),
        at: at(5),
    };
    archive.note(note.clone()).await.unwrap();
    archive.note(MessageNote { message: MessageId::from_u128(3), ..note }).await.unwrap();
    assert_eq!(kinds(&archive, id), [EventKind::Accepted, EventKind::Replied]);
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert!(archive.was_closed());
    assert_eq!(archive.key("callbacks").await.unwrap(), key);
    drop(archive);
}
