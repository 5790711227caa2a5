//! A day of SMS, with the power cut at its operations: calls with keys, receipts, validity, the outbox,
//! suppressions and erasures. What was answered is there after each cut, and of no call a part.

use std::ops::Range;
use std::time::Duration;

use redb::ReadableTable;

use super::calls::{call, key};
use super::check::{check, check_files};
use super::disk::{Chance, Cut, Disk, Replay};
use super::power::chosen;
use super::receipts::{report, sent_as};
use super::story::small;
use super::*;
use crate::model::ReceiptState;

/// Cuts of each kind when not all are tried.
const SAMPLE: usize = 60;

/// Calls of which every message is erased: of each size; one was only reported, one has expired, and
/// three had several messages.
const ERASED_WHOLE: [u8; 5] = [4, 6, 8, 13, 15];

/// What was answered, and holds from then on.
#[derive(Debug)]
enum Fact {
    Made(u8, Vec<MessageId>, Bytes),
    Stands(MessageId, EventKind),
    Suppressed(String),
    Planned(u64),
    Told(u64),
    Erased(MessageId),
}

/// A call of which every message was erased.
struct ErasedCall {
    ids: Vec<MessageId>,
    raw: Bytes,
    /// The operations that the disk saw while the last one was erased.
    last: Range<usize>,
}

struct Day {
    archive: Archive,
    disk: Disk,
    /// Each with the operations that the disk had seen when it was answered.
    facts: Vec<(usize, Fact)>,
    erased: Vec<ErasedCall>,
}

/// What is left of a day.
struct Lived {
    disk: Disk,
    facts: Vec<(usize, Fact)>,
    erased: Vec<ErasedCall>,
    /// The operations before the orderly end began.
    ended: usize,
}

impl Day {
    fn note(&mut self, fact: Fact) {
        self.facts.push((self.disk.operations(), fact));
    }

    /// One call that mostly comes three times at once, as from a client that lost its connection.
    async fn call(&mut self, number: u8) -> Vec<MessageId> {
        let size = [200, 2_000, 9_000, 70_000][usize::from(number) % 4];
        let raw: Bytes = Chance::new(u64::from(number)).bytes(size).into();
        let count = 1 + u32::from(number) % 4;
        let make = || {
            let mut calls = call(u64::from(number) * 10, count, raw.clone());
            for one in &mut calls {
                let Medium::Sms(sms) = &mut one.medium else { panic!("no SMS") };
                sms.valid_until = Some(at(50)).filter(|_| number % 5 == 3);
            }
            self.archive.accept_all(calls, Some(key(number, 1)))
        };
        let answers = match ERASED_WHOLE.contains(&number) {
            // Of calls that race each other, those that lose leave bytes that no record points to.
            true => vec![make().await],
            false => {
                let (one, two, three) = tokio::join!(make(), make(), make());
                vec![one, two, three]
            }
        };
        let mut made: Vec<Vec<MessageId>> = Vec::new();
        for accepted in answers {
            match accepted.unwrap() {
                Accepted::New(ids) | Accepted::Repeated(ids) => {
                    made.push(ids.iter().map(Durable::get).collect());
                }
                Accepted::Conflict => panic!("a conflict"),
            }
        }
        made.dedup();
        assert_eq!(made.len(), 1, "three times the same call");
        self.note(Fact::Made(number, made[0].clone(), raw));
        made.remove(0)
    }

    async fn send(&mut self, number: u8, id: MessageId) {
        assert_eq!(self.archive.claim(claim_of(id, &[0])).await.unwrap(), [0]);
        let part = format!("SM{number}");
        let outcome = match number % 5 {
            4 => Outcome::Unknown { detail: "the connection was lost".into() },
            _ => sent_as(&[&part]),
        };
        let judgement = Judgement { hold_unknown: true, ..judgement_of(id, 0, outcome) };
        self.archive.judge(judgement, Arc::default()).await.unwrap();
        let (state, kind) = match number % 2 {
            0 => (ReceiptState::Delivered, EventKind::Delivered),
            _ => (ReceiptState::Undelivered, EventKind::Failed),
        };
        let told = self.archive.report(report(Some(&part), Some(id), state)).await.unwrap();
        assert_eq!(told, Reported::Changed(id));
        self.note(Fact::Stands(id, kind));
        let again = self.archive.report(report(Some(&part), Some(id), state)).await.unwrap();
        assert_eq!(again, Reported::Unchanged(id));
    }

    async fn tell(&mut self) {
        let planned = self.archive.planned_until().unwrap();
        let events = self.archive.journal_after(planned, 100).unwrap();
        let Some(last) = events.last().map(|event| event.sequence) else { return };
        let deliveries = events.iter().map(|event| NewDelivery {
            message: event.message,
            event: event.sequence,
            kind: DeliveryKind::Webhook,
            url: "https://app.test/".into(),
        });
        self.archive.plan(deliveries.collect(), last, at(5)).await.unwrap();
        self.note(Fact::Planned(last.0));
        for delivery in self.archive.due_deliveries(at(5), 3).unwrap() {
            self.archive.settle(delivery.id, Settled::Done).await.unwrap();
            self.note(Fact::Told(delivery.what.event.0));
        }
    }

    async fn erase(&mut self, id: MessageId) {
        let kind = ErasureKind::Delete;
        let erasure = Erasure { message: id, kind, by: "anna".into(), reason: None, at: at(90) };
        self.archive.erase(erasure).await.unwrap().unwrap();
        self.note(Fact::Erased(id));
    }

    /// Everything of a call: what still waits is stopped first.
    async fn erase_all(&mut self, ids: Vec<MessageId>) {
        let raw = self.archive.raw(ids[0]).unwrap().unwrap();
        let mut last = 0..0;
        for id in &ids {
            if self.archive.message(*id).unwrap().unwrap().status() == Status::Pending {
                stop(&self.archive, *id, ActionKind::Stop).await;
            }
            let asked = self.disk.operations();
            self.erase(*id).await;
            last = asked..self.disk.operations();
        }
        self.erased.push(ErasedCall { ids, raw, last });
    }
}

async fn live(settings: &ArchiveSettings) -> Lived {
    let disk = Disk::recording();
    let archive = Archive::open_on(Arc::new(disk.clone()), settings).unwrap();
    let mut day = Day { archive, disk: disk.clone(), facts: Vec::new(), erased: Vec::new() };
    for number in 0..16 {
        let ids = day.call(number).await;
        match number % 5 {
            3 => {
                let expired = day.archive.expire(at(60)).await.unwrap();
                assert_eq!(expired, ids);
                ids.iter().for_each(|id| day.note(Fact::Stands(*id, EventKind::Expired)));
            }
            _ => {
                day.send(number, ids[0]).await;
                let entry = Suppression {
                    channel: Channel::Sms,
                    recipient: format!("+451234560{}", number % 10),
                    originator: None,
                    reason: "STOP".into(),
                    by: "sms".into(),
                    at: at(1),
                    expires_at: None,
                };
                day.archive.suppress(entry.clone()).await.unwrap();
                day.note(Fact::Suppressed(entry.recipient));
            }
        }
        if number % 3 == 0 {
            day.tell().await;
        }
        match number {
            _ if ERASED_WHOLE.contains(&number) => day.erase_all(ids).await,
            _ if number % 4 == 2 => day.erase(ids[0]).await,
            _ => {}
        }
    }
    let Day { archive, facts, erased, .. } = day;
    check(&archive);
    let ended = disk.operations();
    archive.close().await;
    Lived { disk, facts, erased, ended }
}

#[track_caller]
fn holds(archive: &Archive, fact: &Fact, erased: &BTreeSet<MessageId>) {
    let last = |id| archive.events(id, None, 99).unwrap().items.pop().map(|event| event.kind);
    match fact {
        Fact::Made(number, ids, raw) => {
            let found = archive.repeated(key(*number, 1)).unwrap();
            let Some(Accepted::Repeated(found)) = found else { panic!("{fact:?}: {found:?}") };
            assert_eq!(&found.iter().map(Durable::get).collect::<Vec<_>>(), ids);
            for id in ids.iter().filter(|id| !erased.contains(id)) {
                assert_eq!(archive.raw(*id).unwrap().as_ref(), Some(raw), "{id}");
            }
        }
        Fact::Stands(id, kind) => {
            let found = last(*id).unwrap();
            assert!(found == *kind || found == EventKind::Deleted, "{id}: {found:?}");
        }
        Fact::Suppressed(number) => {
            let found = archive.suppressed(Channel::Sms, number, Some("Example"), at(1)).unwrap();
            assert!(found.is_some(), "{number}");
        }
        Fact::Planned(until) => assert!(archive.planned_until().unwrap().0 >= *until),
        Fact::Told(event) => {
            let left = archive.deliveries(None, None, usize::MAX).unwrap().items;
            assert!(left.iter().all(|delivery| delivery.what.event.0 != *event), "{event}");
        }
        Fact::Erased(id) => {
            assert_eq!(archive.raw(*id).unwrap(), None);
            assert!(archive.message(*id).unwrap().unwrap().deleted_at.is_some());
        }
    }
}

/// Whether these bytes come out of any place of the archive.
fn is_anywhere(archive: &Archive, raw: &Bytes) -> bool {
    // Random bytes: any part of them tells.
    let parts = [0, raw.len() / 2, raw.len() - 50].map(|from| &raw[from..from + 50]);
    let holds = |bytes: &[u8]| parts.iter().any(|part| bytes.windows(50).any(|b| b == *part));
    let snapshot = archive.snapshot().unwrap();
    let staged = snapshot.open_table(tables::STAGED).unwrap();
    staged.iter().unwrap().any(|row| holds(row.unwrap().1.value()))
        || archive.inner.volumes.chunks_for_tests().iter().any(|chunk| holds(chunk))
}

/// Once the record of a call says that it is erased, its bytes are gone, whether or not anybody was
/// told so; gives whether the record says it.
#[track_caller]
fn is_gone(archive: &Archive, call: &ErasedCall) -> bool {
    let is_erased = |id: &MessageId| {
        let message = archive.message(*id).unwrap();
        message.is_some_and(|message| message.redacted_at.is_some())
    };
    let all = call.ids.iter().all(is_erased);
    assert!(!all || !is_anywhere(archive, &call.raw), "the bytes of {:?} are there", call.ids);
    all
}

#[tokio::test]
async fn erased_bytes_do_not_outlive_a_power_cut_before_they_are_overwritten() {
    let never = Duration::from_secs(3_600);
    // All bytes go straight to a volume, or all stay among the records.
    for max_batch_bytes in [0, 1 << 20] {
        let staging =
            StagingLimits { max_batch_bytes, max_staged_bytes: 1 << 30, settle_after: never };
        let settings = ArchiveSettings { staging, ..small() };
        let Lived { disk, erased, .. } = live(&settings).await;
        let (mut replay, mut done, mut cuts, mut untold) = (Replay::new(), 0, 0, 0);
        for call in &erased {
            for operations in call.last.clone().step_by(2) {
                replay.advance(&disk, done, operations);
                done = operations;
                for cut in [Cut::Lost, Cut::Kept, Cut::Mixed(operations as u64)] {
                    let left = Arc::new(replay.cut(cut));
                    let archive = Archive::open_on(left, &settings).unwrap();
                    check(&archive);
                    untold += usize::from(is_gone(&archive, call));
                    archive.close().await;
                    cuts += 1;
                }
            }
        }
        println!("{cuts} power cuts while something was erased, {untold} after its record was");
        assert!(untold > 0 && untold < cuts);
    }
}

#[tokio::test]
async fn a_power_cut_takes_nothing_of_sms_that_was_answered_and_leaves_no_part_of_a_call() {
    let Lived { disk, facts, ended, .. } = live(&small()).await;
    let erased: BTreeSet<MessageId> = facts
        .iter()
        .filter_map(|(_, fact)| if let Fact::Erased(id) = fact { Some(*id) } else { None })
        .collect();
    let total = disk.operations();
    let (mut replay, mut done, mut cuts) = (Replay::new(), 0, 0);
    for operations in chosen(total, SAMPLE) {
        replay.advance(&disk, done, operations);
        done = operations;
        for cut in [Cut::Lost, Cut::Kept, Cut::Mixed(operations as u64)] {
            let left = replay.cut(cut);
            let archive = Archive::open_on(Arc::new(left.clone()), &small()).unwrap();
            check(&archive);
            for (_, fact) in facts.iter().filter(|(answered, _)| *answered <= operations) {
                holds(&archive, fact, &erased);
            }
            let has_begun = archive.extent().unwrap().messages > 0;
            let was_closed = archive.was_closed();
            assert!(operations > ended || !has_begun || !was_closed, "it was not closed");
            assert!(operations < total || was_closed, "it was closed");
            archive.recover(Arc::default(), at(1_000)).await.unwrap();
            check(&archive);
            archive.close().await;
            check_files(&left);
            cuts += 1;
        }
    }
    println!("{cuts} power cuts at {total} operations, {} facts", facts.len());
}
