//! A day of SMS, with the power cut at its operations: calls with keys, receipts, validity, the outbox,
//! suppressions and erasures. What was answered is there after each cut, and of no call a part.

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

struct Day {
    archive: Archive,
    disk: Disk,
    /// Each with the operations that the disk had seen when it was answered.
    facts: Vec<(usize, Fact)>,
}

impl Day {
    fn note(&mut self, fact: Fact) {
        self.facts.push((self.disk.operations(), fact));
    }

    /// One call that comes three times at once, as from a client that lost its connection.
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
        let (one, two, three) = tokio::join!(make(), make(), make());
        let mut made: Vec<Vec<MessageId>> = Vec::new();
        for accepted in [one, two, three] {
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
}

/// The disk, what was answered, and the operations before the orderly end began.
async fn live() -> (Disk, Vec<(usize, Fact)>, usize) {
    let disk = Disk::recording();
    let archive = Archive::open_on(Arc::new(disk.clone()), &small()).unwrap();
    let mut day = Day { archive, disk: disk.clone(), facts: Vec::new() };
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
                };
                day.archive.suppress(entry.clone()).await.unwrap();
                day.note(Fact::Suppressed(entry.recipient));
            }
        }
        if number % 3 == 0 {
            day.tell().await;
        }
        if number % 4 == 2 {
            day.erase(ids[0]).await;
        }
    }
    let Day { archive, facts, .. } = day;
    check(&archive);
    let ended = disk.operations();
    archive.close().await;
    (disk, facts, ended)
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
            let found = archive.suppressed(Channel::Sms, number, Some("Example")).unwrap();
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

#[tokio::test]
async fn a_power_cut_takes_nothing_of_sms_that_was_answered_and_leaves_no_part_of_a_call() {
    let (disk, facts, ended) = live().await;
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
