//! The archive as its neighbours see it, on a real folder.

mod calls;
mod check;
mod corpus;
mod disk;
mod errors;
mod hits;
mod mail_reports;
mod power;
mod receipts;
mod records;
mod rot;
mod sms_story;
mod sms_walk;
mod story;
mod walk;

pub(super) use calls::{call, sms};

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::envelope::BodyType;
use crate::model::{
    Cause, Digest, Envelope, EnvelopeRecipient, EventKind, ForwardPath, Hold, Medium, Outcome,
    RecipientKind, RecipientState, Reply, ReversePath, Scope,
};

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

pub(super) fn upstream() -> UpstreamName {
    UpstreamName::parse("provider").unwrap()
}

/// A message with this number of recipients and this body, due at once.
pub(crate) fn acceptance(number: u64, recipients: usize, raw: Bytes) -> Acceptance {
    let path = |index| ForwardPath::parse(&format!("r{index}@example.org")).unwrap();
    let due = RecipientState::Due { at: at(0), rank: 0 };
    Acceptance {
        accepted_at: at(number as i64),
        direction: Direction::Outbound,
        app: AppName::parse("erp").unwrap(),
        medium: Medium::Mail(Envelope {
            reverse_path: ReversePath::parse("anna@example.com").unwrap(),
            recipients: (0..recipients)
                .map(|index| EnvelopeRecipient { path: path(index), notify: None, original: None })
                .collect(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            release: None,
        }),
        client: Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "erp.example.com".into(),
            protocol: "ESMTP".into(),
            tls: None,
            authenticated: None,
            gateway: "gateway.example.com".into(),
        },
        digest: Digest::of(&raw),
        raw,
        shared: Vec::new(),
        summary: Summary {
            message_id: Some(format!("{number}@example.com")),
            ..Summary::default()
        },
        recipients: (0..recipients)
            .map(|_| NewRecipient { name: None, kind: RecipientKind::To, state: due.clone() })
            .collect(),
        references: vec![Reference::parse(&format!("INV-{}", number % 10)).unwrap()],
        tag: None,
        on_behalf_of: None,
        policy: MessagePolicy {
            hold_unknown: false,
            track_opens: false,
            track_clicks: false,
            is_foreign: false,
        },
        resend_of: None,
    }
}

pub(crate) fn settings(dir: &std::path::Path) -> ArchiveSettings {
    ArchiveSettings {
        data_dir: dir.to_owned(),
        cache_bytes: 4 << 20,
        volume_bytes: 4 << 20,
        reserve_bytes: 0,
        staging: StagingLimits::default(),
    }
}

/// Damages the entry that keeps everybody from writing to this address.
pub(crate) async fn spoil_suppression(archive: &Archive, address: &str) {
    let address = address.to_owned();
    let spoil = move |batch: &mut Batch<'_>| {
        let mut table = batch.transaction.open_table(tables::SUPPRESSIONS)?;
        table.insert((0, address.as_str(), ""), &[u8::MAX][..])?;
        Ok(())
    };
    archive.write(Urgency::Now, spoil).await.unwrap();
}

fn claim_of(id: MessageId, recipients: &[u16]) -> ClaimRequest {
    let recipients = recipients.to_vec();
    ClaimRequest { message: id, recipients, upstream: upstream(), rank: 0, now: at(10) }
}

fn judgement_of(id: MessageId, recipient: u16, outcome: Outcome) -> Judgement {
    let outcomes = vec![(recipient, outcome)];
    Judgement {
        message: id,
        outcomes,
        touch: None,
        is_last_upstream: true,
        hold_unknown: false,
        now: at(20),
    }
}

fn action_of(kind: ActionKind, id: MessageId) -> Action {
    let by = "user anna".into();
    Action { kind, message: id, recipients: None, by, reason: None, at: at(15) }
}

pub(super) async fn stop(archive: &Archive, id: MessageId, kind: ActionKind) {
    archive.act(action_of(kind, id)).await.unwrap().unwrap();
}

fn sent() -> Outcome {
    Outcome::Sent {
        reply: Reply::new(250, None, "ok"),
        digest: Digest::of(b"sent"),
        parts: Vec::new(),
        owes_report: false,
    }
}

fn kinds(archive: &Archive, id: MessageId) -> Vec<EventKind> {
    archive.events(id, None, 100).unwrap().items.iter().map(|e| e.kind).collect()
}

#[tokio::test]
async fn a_message_goes_its_way_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let schedule = Arc::new(RetrySchedule::default());
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let raw = Bytes::from("Subject: hello\r\n\r\nworld\r\n");
    let id = archive.accept(acceptance(1, 2, raw.clone())).await.unwrap().get();
    assert_eq!(archive.due(None, at(0), 10).unwrap(), [(at(0), id)]);
    assert_eq!(archive.claim(claim_of(id, &[0, 1])).await.unwrap(), [0, 1]);
    assert_eq!(archive.claim(claim_of(id, &[0, 1])).await.unwrap(), Vec::<u16>::new());
    assert!(archive.due(None, at(0), 10).unwrap().is_empty());
    archive.judge(judgement_of(id, 0, sent()), schedule.clone()).await.unwrap();
    archive.close().await;

    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.recover(schedule.clone(), at(30)).await.unwrap(), [id]);
    let message = archive.message(id).unwrap().unwrap();
    assert_eq!(message.status(), Status::Pending);
    assert!(matches!(message.recipients[0].state, RecipientState::Sent { .. }));
    assert!(matches!(message.recipients[1].state, RecipientState::Due { .. }));
    assert!(message.recipients[1].possible_duplicate);
    assert_eq!(archive.raw(id).unwrap().unwrap(), raw);
    let expected = [EventKind::Accepted, EventKind::Sent, EventKind::Attempted];
    assert_eq!(kinds(&archive, id), expected);
    let queue = archive.queue().unwrap();
    assert_eq!(queue.oldest_pending.map(|(id, _)| id), Some(id));
    assert_eq!(queue.recipients.iter().map(|(_, n)| n).sum::<u64>(), 2);
    let second = archive.accept(acceptance(1, 1, raw)).await.unwrap().get();
    let second = archive.message(second).unwrap().unwrap();
    assert_eq!(second.sequence, Sequence(2));
    assert_eq!(second.duplicate_of, Some(id), "the same Message-ID is flagged");
    assert!(second.id > id);
}

#[tokio::test]
async fn of_stop_and_claim_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    for number in 0..200 {
        let id = archive.accept(acceptance(number, 1, Bytes::from("x"))).await.unwrap().get();
        let stop = archive.act(action_of(ActionKind::Stop, id));
        let claim = archive.claim(claim_of(id, &[0]));
        let (stopped, claimed) = match number % 2 {
            0 => tokio::join!(stop, claim),
            _ => {
                let (claimed, stopped) = tokio::join!(claim, stop);
                (stopped, claimed)
            }
        };
        let (stopped, claimed) = (stopped.unwrap().is_ok(), !claimed.unwrap().is_empty());
        assert!(stopped != claimed, "stopped: {stopped}, claimed: {claimed}");
    }
}

#[tokio::test]
async fn actions_say_why_they_are_too_late() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = archive.accept(acceptance(1, 1, Bytes::from("x"))).await.unwrap().get();
    let nobody = action_of(ActionKind::Stop, MessageId::MIN);
    assert_eq!(archive.act(nobody).await.unwrap().err(), Some(ActionRefusal::NoSuchMessage));
    let third = Action { recipients: Some(vec![3]), ..action_of(ActionKind::Stop, id) };
    assert_eq!(archive.act(third).await.unwrap().err(), Some(ActionRefusal::NoSuchRecipient(3)));
    let stopped = archive.act(action_of(ActionKind::Stop, id)).await.unwrap().unwrap();
    assert_eq!(stopped.status(), Status::Stopped);
    let again = archive.act(action_of(ActionKind::Stop, id)).await.unwrap().unwrap_err();
    assert!(again.to_string().contains("it was stopped at"), "{again}");
    let restarted = archive.act(action_of(ActionKind::Restart, id)).await.unwrap().unwrap();
    assert_eq!(restarted.status(), Status::Pending);
    let expected = [EventKind::Accepted, EventKind::Stopped, EventKind::Restarted];
    assert_eq!(kinds(&archive, id), expected);
}

#[tokio::test]
async fn a_paused_upstream_gets_nothing_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let id = archive.accept(acceptance(1, 1, Bytes::from("x"))).await.unwrap().get();
    archive.set_paused(upstream(), true, "user anna".into(), at(1)).await.unwrap();
    archive.close().await;
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.paused().unwrap(), [upstream()]);
    assert!(archive.claim(claim_of(id, &[0])).await.unwrap().is_empty());
    archive.set_paused(upstream(), false, "user anna".into(), at(2)).await.unwrap();
    assert_eq!(archive.claim(claim_of(id, &[0])).await.unwrap(), [0]);
}

#[tokio::test]
async fn repeated_parts_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let noise: Vec<u8> =
        (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut ids = Vec::new();
    for number in 0..30u64 {
        let mut raw = format!("Subject: {number}\r\n\r\n").into_bytes();
        let start = raw.len();
        raw.extend(&noise);
        let end = raw.len();
        raw.extend(b"\r\nthe end\r\n");
        let mut one = acceptance(number, 1, raw.clone().into());
        one.shared.push(start..end);
        ids.push((archive.accept(one).await.unwrap().get(), raw));
    }
    for (id, raw) in &ids {
        assert_eq!(archive.raw(*id).unwrap().unwrap(), raw);
    }
    archive.close().await;
    let size = std::fs::metadata(dir.path().join("volumes/000001.redb")).unwrap().len();
    assert!(size < 30 * 200_000 / 4, "{size}");
    let archive = Archive::open(&settings(dir.path())).unwrap();
    assert_eq!(archive.raw(ids[29].0).unwrap().unwrap(), ids[29].1);
}

#[tokio::test]
async fn lists_follow_their_cursor_and_find_what_the_index_does_not_know_yet() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut ids = Vec::new();
    for number in 0..60 {
        let one = acceptance(number, 1, Bytes::from(format!("{number}")));
        ids.push(archive.accept(one).await.unwrap().get());
    }
    let by = |filter: &Filter, order, limit| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = archive.list(filter, order, after, limit).unwrap();
            found.extend(page.items.iter().map(|m| m.id));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let everything = Filter::default();
    let newest: Vec<MessageId> = ids.iter().rev().copied().collect();
    assert_eq!(by(&everything, Order::Newest, 7), newest);
    assert_eq!(by(&everything, Order::Oldest, 7), ids);
    let filters = [
        Filter { reference: Reference::parse("inv-3"), ..Filter::default() },
        Filter { recipient: Some("R0@Example.org".into()), ..Filter::default() },
        Filter { status: Some(Status::Pending), ..Filter::default() },
        Filter { app: AppName::parse("erp"), ..Filter::default() },
        Filter { sender: Some("anna@example.com".into()), ..Filter::default() },
        Filter { since: Some(at(10)), until: Some(at(20)), ..Filter::default() },
        Filter { status: Some(Status::Sent), ..Filter::default() },
        Filter { apps: Some(vec![]), ..Filter::default() },
    ];
    let counts: Vec<usize> = filters.iter().map(|f| by(f, Order::Newest, 5).len()).collect();
    assert_eq!(counts, [6, 60, 60, 60, 60, 10, 0, 0]);
    for _ in 0..500 {
        if archive.inner.index.watermark().unwrap() == ids[59] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(archive.inner.index.watermark().unwrap(), ids[59]);
    let indexed: Vec<usize> = filters.iter().map(|f| by(f, Order::Oldest, 5).len()).collect();
    assert_eq!(indexed, counts);
}

#[tokio::test]
async fn held_and_failed_recipients_tell_their_story() {
    let dir = tempfile::tempdir().unwrap();
    let schedule = Arc::new(RetrySchedule::default());
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut held = acceptance(1, 1, Bytes::from("x"));
    held.recipients[0].state = RecipientState::Held { hold: Hold::Until(at(10)) };
    let id = archive.accept(held).await.unwrap().get();
    assert!(archive.due(None, at(9), 10).unwrap().is_empty());
    assert_eq!(archive.next_due(at(0)).unwrap(), Some(at(10)));
    assert_eq!(archive.claim(claim_of(id, &[0])).await.unwrap(), [0]);
    let refused = Outcome::Permanent {
        scope: Scope::Recipient,
        reply: Some(Reply::new(550, None, "no such user")),
        detail: String::new(),
    };
    archive.judge(judgement_of(id, 0, refused), schedule).await.unwrap();
    let message = archive.message(id).unwrap().unwrap();
    let RecipientState::Failed { cause: Cause::Refused { reply, .. }, .. } =
        &message.recipients[0].state
    else {
        panic!("{:?}", message.recipients[0].state)
    };
    assert_eq!(reply.code, 550);
    assert_eq!(message.recipients[0].reply.as_deref(), Some("550 no such user"));
    let expected = [EventKind::Accepted, EventKind::Held, EventKind::Released, EventKind::Failed];
    assert_eq!(kinds(&archive, id), expected);
}

#[tokio::test]
async fn a_second_daemon_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Archive::open(&settings(dir.path())).unwrap();
    let error = Archive::open(&settings(dir.path())).err().unwrap().to_string();
    assert!(error.contains("another process uses the data folder"), "{error}");
}

#[tokio::test]
async fn a_damaged_record_keeps_nothing_else_from_leaving() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut ids = Vec::new();
    for number in 0..3 {
        let one = acceptance(number, 1, Bytes::from("x"));
        ids.push(archive.accept(one).await.unwrap().get());
    }
    for id in &ids {
        assert_eq!(archive.claim(claim_of(*id, &[0])).await.unwrap(), [0]);
    }
    let (first, last) = (ids[0].as_u128(), ids[2].as_u128());
    let damage = archive.write(Urgency::Now, move |batch| {
        batch.states.insert(first, &b"\x01\xff"[..])?;
        batch.messages.insert(last, &b""[..])?;
        Ok(())
    });
    damage.await.unwrap();
    assert!(archive.claim(claim_of(ids[0], &[0])).await.is_err());
    archive.close().await;

    let archive = Archive::open(&settings(dir.path())).unwrap();
    let schedule = Arc::new(RetrySchedule::default());
    assert_eq!(archive.recover(schedule, at(30)).await.unwrap().len(), 3);
    let second = archive.message(ids[1]).unwrap().unwrap();
    assert!(matches!(second.recipients[0].state, RecipientState::Due { .. }));
    assert!(archive.message(ids[0]).is_err() && archive.message(ids[2]).is_err());
    let next = archive.accept(acceptance(4, 1, Bytes::from("x"))).await.unwrap().get();
    assert_eq!(archive.message(next).unwrap().unwrap().sequence, Sequence(4));
    assert!(next > ids[2]);
    let page = archive.list(&Filter::default(), Order::Oldest, None, 10).unwrap();
    assert_eq!(page.items.iter().map(|m| m.id).collect::<Vec<_>>(), [ids[1], next]);
    assert_eq!(archive.queue().unwrap().oldest_pending.map(|(id, _)| id), Some(ids[1]));
    for _ in 0..500 {
        if archive.inner.index.watermark().unwrap() == next {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the look-up index stopped at a damaged record");
}

#[tokio::test]
async fn a_page_ends_where_its_messages_are_large() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut ids = Vec::new();
    for number in 0..30 {
        let one = acceptance(number, 2_000, Bytes::from("x"));
        ids.push(archive.accept(one).await.unwrap().get());
    }
    let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = archive.list(&Filter::default(), Order::Oldest, cursor, 500).unwrap();
        assert!(page.items.len() <= 10, "{} messages on one page", page.items.len());
        found.extend(page.items.iter().map(|m| m.id));
        (cursor, pages) = (page.next, pages + 1);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (ids, 3));
}
