//! SMS beside a small model: a long walk of random calls, receipts, ends of validity, suppressions,
//! deliveries and erasures, each checked against the model; restarts and power cuts are steps as well.
//! `WAYBILL_SEEDS` says how many walks there are; a failure names its seed.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{call, key};
use super::check::{check, check_files};
use super::disk::{Chance, Cut, Disk, Replay};
use super::receipts::{report, sent_as};
use super::story::small;
use super::*;
use crate::model::ReceiptState;

const STEPS: usize = 300;
/// Few, so that calls come again.
const KEYS: u64 = 12;
const NUMBERS: u64 = 6;

/// Where a message stands, as the model has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    ByHand,
    Due,
    Claimed,
    Sent,
    Delivered,
    Stopped,
    Failed,
}

struct Modelled {
    id: MessageId,
    stand: Stand,
    raw: Bytes,
    part: Option<String>,
    valid_until: Option<i64>,
    is_erased: bool,
    /// An attempt of it was made, and of one nobody knows the end.
    was_tried: bool,
    is_unsure: bool,
}

struct Walk {
    chance: Chance,
    disk: Disk,
    replay: Replay,
    archive: Archive,
    now: i64,
    messages: Vec<Modelled>,
    keys: BTreeMap<u8, (u8, Vec<MessageId>)>,
    suppressed: BTreeSet<String>,
    /// Events whose delivery waits.
    outbox: BTreeSet<u64>,
}

fn open(disk: &Disk) -> Archive {
    Archive::open_on(Arc::new(disk.clone()), &small()).unwrap()
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let disk = Disk::default();
        let replay = disk.record();
        Walk {
            chance: Chance::new(seed),
            archive: open(&disk),
            disk,
            replay,
            now: 0,
            messages: Vec::new(),
            keys: BTreeMap::new(),
            suppressed: BTreeSet::new(),
            outbox: BTreeSet::new(),
        }
    }

    async fn step(&mut self) {
        self.now += self.chance.below(5_000) as i64;
        let chosen = self.chance.below(self.messages.len());
        match self.chance.below(40) {
            0..=6 => self.call().await,
            _ if self.messages.is_empty() => {}
            7..=14 => self.claim(chosen).await,
            15..=20 => self.judge(chosen).await,
            21..=26 => self.report(chosen).await,
            27 => self.expire().await,
            28..=29 => self.act(chosen).await,
            30..=31 => self.suppress().await,
            32..=34 => self.tell().await,
            35..=37 => self.erase(chosen).await,
            38 => self.restart().await,
            _ => self.crash().await,
        }
    }

    async fn call(&mut self) {
        let (count, length) = (1 + self.chance.below(4), self.chance.below(4_000));
        let raw: Bytes = self.chance.bytes(60 + length).into();
        let number = self.messages.len() as u64;
        let mut calls = call(number, count as u32, raw.clone());
        let valid_until = Some(self.now + self.chance.below(60_000) as i64);
        let valid_until = valid_until.filter(|_| self.chance.below(3) == 0);
        for one in &mut calls {
            one.accepted_at = at(self.now);
            one.recipients[0].state = RecipientState::Due { at: at(self.now), rank: 0 };
            one.policy.hold_unknown = true;
            let Medium::Sms(sms) = &mut one.medium else { panic!("no SMS") };
            sms.valid_until = valid_until.map(at);
        }
        let (name, print) = (self.chance.below(KEYS as usize) as u8, self.chance.below(5) as u8);
        let print = u8::from(print == 0);
        let with = Some(key(name, print)).filter(|_| self.chance.below(4) > 0);
        let ids = |ids: Vec<Durable<MessageId>>| -> Vec<MessageId> {
            ids.iter().map(Durable::get).collect()
        };
        let known = with.and_then(|_| self.keys.get(&name));
        match (self.archive.accept_all(calls, with).await.unwrap(), known) {
            (Accepted::Conflict, Some((first, _))) => assert_ne!(*first, print),
            (Accepted::Repeated(found), Some((first, known))) => {
                assert_eq!((*first, known), (print, &ids(found)));
            }
            (Accepted::New(made), None) => {
                let made = ids(made);
                if with.is_some() {
                    self.keys.insert(name, (print, made.clone()));
                }
                self.messages.extend(made.into_iter().map(|id| Modelled {
                    id,
                    stand: Stand::Due,
                    raw: raw.clone(),
                    part: None,
                    valid_until,
                    is_erased: false,
                    was_tried: false,
                    is_unsure: false,
                }));
            }
            (other, known) => panic!("{other:?} where {known:?} is known"),
        }
    }

    async fn claim(&mut self, message: usize) {
        let one = &mut self.messages[message];
        let request = ClaimRequest { now: at(self.now), ..claim_of(one.id, &[0]) };
        let granted = !self.archive.claim(request).await.unwrap().is_empty();
        assert_eq!(granted, one.stand == Stand::Due);
        if granted {
            one.stand = Stand::Claimed;
        }
    }

    async fn judge(&mut self, message: usize) {
        let one = &mut self.messages[message];
        if one.stand != Stand::Claimed {
            return;
        }
        let refused = Outcome::Permanent {
            scope: Scope::Recipient,
            reply: Some(Reply::new(400, None, "no")),
            detail: String::new(),
        };
        let part = format!("SM{message:x}-{}", self.now);
        let (outcome, stand) = match self.chance.below(5) {
            0..=2 => (sent_as(&[&part]), Stand::Sent),
            3 => (Outcome::Unknown { detail: String::new() }, Stand::ByHand),
            _ => (refused, Stand::Failed),
        };
        match stand {
            Stand::Sent => one.part = Some(part),
            Stand::ByHand => one.is_unsure = true,
            _ => {}
        }
        (one.stand, one.was_tried) = (stand, true);
        let judgement = judgement_of(one.id, 0, outcome);
        let judgement = Judgement { hold_unknown: true, now: at(self.now), ..judgement };
        self.archive.judge(judgement, Arc::default()).await.unwrap();
    }

    async fn report(&mut self, message: usize) {
        use ReceiptState::{Delivered, Expired, Rejected, Undelivered, Underway};
        let state = [Underway, Delivered, Undelivered, Expired, Rejected][self.chance.below(5)];
        let after = match state {
            Underway => Stand::Sent,
            Delivered => Stand::Delivered,
            Undelivered | Expired | Rejected => Stand::Failed,
        };
        let one = &mut self.messages[message];
        // By the provider's id, in other letters, or by ours.
        let part = one.part.as_ref().map(|part| part.to_uppercase());
        let part = part.filter(|_| one.stand == Stand::Sent && self.chance.below(2) == 0);
        let ours = Some(one.id).filter(|_| part.is_none());
        let (expected, stand) = match one.stand {
            Stand::Claimed => (Reported::TooEarly, one.stand),
            Stand::ByHand | Stand::Due if !one.was_tried => (Reported::TooEarly, one.stand),
            Stand::ByHand | Stand::Due if one.is_unsure => (Reported::Changed(one.id), after),
            Stand::Sent if state != Underway => (Reported::Changed(one.id), after),
            other => (Reported::Unchanged(one.id), other),
        };
        if matches!(one.stand, Stand::ByHand | Stand::Due) && stand != one.stand {
            one.part = None;
        }
        one.stand = stand;
        let report = ProviderReport { at: at(self.now), ..report(part.as_deref(), ours, state) };
        assert_eq!(self.archive.report(report).await.unwrap(), expected);
        let stranger = ProviderReport {
            upstream: UpstreamName::parse("stranger").unwrap(),
            ..super::receipts::report(Some("SM1"), None, Delivered)
        };
        assert_eq!(self.archive.report(stranger).await.unwrap(), Reported::Unknown);
    }

    async fn expire(&mut self) {
        let mut expired = self.archive.expire(at(self.now)).await.unwrap();
        expired.sort_unstable();
        let mut expected = Vec::new();
        for one in &mut self.messages {
            let waits = matches!(one.stand, Stand::ByHand | Stand::Due);
            if waits && one.valid_until.is_some_and(|until| until <= self.now) {
                one.stand = Stand::Failed;
                expected.push(one.id);
            }
        }
        assert_eq!(expired, expected);
    }

    async fn act(&mut self, message: usize) {
        let one = &mut self.messages[message];
        let kind = [ActionKind::Stop, ActionKind::Restart, ActionKind::Release];
        let kind = kind[self.chance.below(3)];
        let next = match (kind, one.stand) {
            (ActionKind::Stop, Stand::ByHand | Stand::Due) => Some(Stand::Stopped),
            (ActionKind::Restart, Stand::Stopped | Stand::Failed) if !one.is_erased => {
                one.valid_until = one.valid_until.filter(|until| *until > self.now);
                one.was_tried = false;
                Some(Stand::Due)
            }
            (ActionKind::Release, Stand::ByHand) => Some(Stand::Due),
            _ => None,
        };
        let action = Action { at: at(self.now), ..action_of(kind, one.id) };
        let found = self.archive.act(action).await.unwrap();
        assert_eq!(found.is_ok(), next.is_some(), "{kind:?} {:?}: {found:?}", one.stand);
        if let Ok(found) = found {
            // What a restart makes of earlier attempts is the life cycle's.
            one.was_tried = found.recipients[0].attempts > 0;
            one.is_unsure = found.recipients[0].possible_duplicate;
        }
        one.stand = next.unwrap_or(one.stand);
    }

    async fn suppress(&mut self) {
        let number = format!("+45123456{:02}", self.chance.below(NUMBERS as usize));
        if self.chance.below(3) == 0 {
            let gone = self.archive.unsuppress(Channel::Sms, &number, None).await.unwrap();
            assert_eq!(gone, self.suppressed.remove(&number));
            return;
        }
        let entry = Suppression {
            channel: Channel::Sms,
            recipient: number.clone(),
            originator: None,
            reason: "STOP".into(),
            by: "sms".into(),
            at: at(self.now),
            expires_at: None,
        };
        let is_new = self.archive.suppress(entry).await.unwrap();
        assert_eq!(is_new, self.suppressed.insert(number));
    }

    async fn tell(&mut self) {
        let planned = self.archive.planned_until().unwrap();
        let events = self.archive.journal_after(planned, 30).unwrap();
        if let Some(last) = events.last().map(|event| event.sequence) {
            let deliveries = events.iter().map(|event| NewDelivery {
                message: event.message,
                event: event.sequence,
                kind: DeliveryKind::Webhook,
                url: "https://app.test/".into(),
            });
            self.archive.plan(deliveries.collect(), last, at(self.now)).await.unwrap();
            self.outbox.extend(events.iter().map(|event| event.sequence.0));
        }
        for delivery in self.archive.due_deliveries(at(self.now), 20).unwrap() {
            let error = "it is down".to_owned();
            let settled = match self.chance.below(4) {
                0 => Settled::GivenUp { error },
                1 => Settled::Again { at: at(self.now + 60_000), error },
                _ => Settled::Done,
            };
            if matches!(settled, Settled::Done) {
                assert!(self.outbox.remove(&delivery.what.event.0), "it was told twice");
            }
            self.archive.settle(delivery.id, settled).await.unwrap();
        }
    }

    async fn erase(&mut self, message: usize) {
        let one = &mut self.messages[message];
        let kind = [ErasureKind::Redact, ErasureKind::Delete][self.chance.below(2)];
        let erasure =
            Erasure { message: one.id, kind, by: "anna".into(), reason: None, at: at(self.now) };
        let is_pending = matches!(one.stand, Stand::ByHand | Stand::Due | Stand::Claimed);
        let erased = self.archive.erase(erasure).await.unwrap();
        assert_eq!(erased.is_err(), is_pending);
        one.is_erased |= !is_pending;
    }

    async fn restart(&mut self) {
        let archive = std::mem::replace(&mut self.archive, open(&Disk::default()));
        archive.close().await;
        check_files(&self.disk);
        self.archive = open(&self.disk);
        assert!(self.archive.was_closed());
        self.recover().await;
    }

    /// The power goes; everything that was answered is durable, whatever survives beside it.
    async fn crash(&mut self) {
        self.replay.finish(&self.disk);
        let left = self.replay.cut(Cut::Mixed(self.chance.next()));
        self.replay = left.record();
        let archive = std::mem::replace(&mut self.archive, open(&left));
        self.disk = left;
        archive.close().await;
        check(&self.archive);
        self.recover().await;
    }

    async fn recover(&mut self) {
        self.archive.recover(Arc::default(), at(self.now)).await.unwrap();
        for one in self.messages.iter_mut().filter(|one| one.stand == Stand::Claimed) {
            // Nobody knows whether the provider has it, so a person decides.
            (one.stand, one.was_tried, one.is_unsure) = (Stand::ByHand, true, true);
        }
    }

    fn compare(&self) {
        for one in &self.messages {
            let message = self.archive.message(one.id).unwrap().unwrap();
            let recipient = &message.recipients[0];
            let is_delivered = recipient.delivered_at.is_some();
            assert_eq!(stand(&recipient.state, is_delivered), one.stand, "{}", one.id);
            assert_eq!(message.redacted_at.is_some(), one.is_erased);
            let raw = self.archive.raw(one.id).unwrap();
            assert_eq!(raw.as_ref(), Some(&one.raw).filter(|_| !one.is_erased), "{}", one.id);
        }
        for (name, (print, known)) in &self.keys {
            let found = self.archive.repeated(key(*name, *print)).unwrap();
            let Some(Accepted::Repeated(found)) = found else { panic!("key {name}: {found:?}") };
            assert_eq!(&found.iter().map(Durable::get).collect::<Vec<_>>(), known);
        }
        for number in (0..NUMBERS).map(|number| format!("+45123456{number:02}")) {
            let found = self
                .archive
                .suppressed(Channel::Sms, &number, Some("Example"), at(self.now))
                .unwrap();
            assert_eq!(found.is_some(), self.suppressed.contains(&number), "{number}");
        }
        let left = self.archive.deliveries(None, None, usize::MAX).unwrap().items;
        let left: BTreeSet<u64> = left.iter().map(|delivery| delivery.what.event.0).collect();
        assert_eq!(left, self.outbox);
    }
}

fn stand(state: &RecipientState, is_delivered: bool) -> Stand {
    match state {
        RecipientState::Held { .. } => Stand::ByHand,
        RecipientState::Due { .. } => Stand::Due,
        RecipientState::Claimed { .. } => Stand::Claimed,
        RecipientState::Sent { .. } if is_delivered => Stand::Delivered,
        RecipientState::Sent { .. } => Stand::Sent,
        RecipientState::Stopped { .. } => Stand::Stopped,
        RecipientState::Failed { .. } | RecipientState::NotSent { .. } => Stand::Failed,
    }
}

#[tokio::test]
async fn sms_do_what_their_model_does() {
    let walks = std::env::var("WAYBILL_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    for seed in 0..walks {
        println!("seed {seed}");
        let mut walk = Walk::new(seed);
        for step in 0..STEPS {
            walk.step().await;
            if step % 20 == 0 {
                walk.compare();
            }
        }
        walk.compare();
        check(&walk.archive);
        walk.archive.close().await;
        check_files(&walk.disk);
    }
}
