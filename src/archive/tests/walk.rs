//! The queue beside a small model of it: a long walk of random steps, each checked against the model.
//!
//! The model knows nothing of records, rows or commits: one word for each recipient. Restarts, power cuts and
//! what a crash leaves claimed are steps like any other. `WAYBILL_SEEDS` says how many walks there are; a
//! failure names its seed.

use std::sync::Arc;

use super::check::{check, check_files};
use super::disk::{Chance, Cut, Disk, Replay};
use super::story::small;
use super::{acceptance, action_of, at, sent, upstream};
use crate::archive::{
    Action, ActionKind, ActionRefusal, Archive, ClaimRequest, Judgement, Message,
};
use crate::lifecycle::RetrySchedule;
use crate::model::{
    EventKind, Hold, MessageId, Outcome, RecipientState, Reply, Scope, Status, Timestamp,
};

const STEPS: usize = 400;

/// Where a recipient stands, as the model has it. `Later` wakes at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    ByHand,
    Later(i64),
    Due(i64),
    Claimed,
    Sent,
    Stopped,
    Failed,
}

struct Walk {
    chance: Chance,
    disk: Disk,
    replay: Replay,
    archive: Archive,
    schedule: Arc<RetrySchedule>,
    now: i64,
    paused: bool,
    messages: Vec<(MessageId, Vec<Stand>)>,
    /// Times that each recipient was judged sent, stopped and restarted, by message.
    told: Vec<Vec<[usize; 3]>>,
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
            schedule: Arc::new(RetrySchedule::default()),
            now: 0,
            paused: false,
            messages: Vec::new(),
            told: Vec::new(),
        }
    }

    fn time(&self) -> Timestamp {
        at(self.now)
    }

    async fn step(&mut self) {
        self.now += self.chance.below(20_000) as i64;
        let chosen = self.chance.below(self.messages.len());
        match self.chance.below(40) {
            0..=7 => self.accept().await,
            _ if self.messages.is_empty() => {}
            8..=18 => self.claim(chosen).await,
            19..=26 => self.judge(chosen).await,
            27..=29 => self.act(chosen, ActionKind::Stop).await,
            30..=32 => self.act(chosen, ActionKind::Restart).await,
            33..=34 => self.act(chosen, ActionKind::Release).await,
            35..=36 => self.give_back(chosen).await,
            37 => self.pause().await,
            38 => self.restart().await,
            _ => self.crash().await,
        }
    }

    async fn accept(&mut self) {
        let recipients = 1 + self.chance.below(3);
        let number = self.messages.len() as u64;
        let length = self.chance.below(3_000);
        let raw = self.chance.bytes(length);
        let mut message = acceptance(number, recipients, raw.into());
        message.accepted_at = self.time();
        let stands: Vec<Stand> = (0..recipients).map(|_| self.start()).collect();
        for (recipient, stand) in message.recipients.iter_mut().zip(&stands) {
            recipient.state = match stand {
                Stand::ByHand => RecipientState::Held { hold: Hold::Manual },
                Stand::Later(ms) => RecipientState::Held { hold: Hold::Until(at(*ms)) },
                _ => RecipientState::Due { at: self.time(), rank: 0 },
            };
        }
        let id = self.archive.accept(message).await.unwrap().get();
        assert!(self.messages.last().is_none_or(|(last, _)| *last < id));
        self.told.push(vec![[0; 3]; recipients]);
        self.messages.push((id, stands));
    }

    fn start(&mut self) -> Stand {
        match self.chance.below(6) {
            0 => Stand::ByHand,
            1 => Stand::Later(self.now + 1 + self.chance.below(50_000) as i64),
            _ => Stand::Due(self.now),
        }
    }

    fn some(&mut self, message: usize) -> Vec<u16> {
        let count = self.messages[message].1.len() as u16;
        (0..count).filter(|_| self.chance.below(3) > 0).collect()
    }

    async fn claim(&mut self, message: usize) {
        let recipients = self.some(message);
        let (id, stands) = &mut self.messages[message];
        let request = ClaimRequest {
            message: *id,
            recipients: recipients.clone(),
            upstream: upstream(),
            rank: 0,
            now: at(self.now),
        };
        let granted = self.archive.claim(request).await.unwrap();
        let mut expected = recipients;
        expected.retain(|index| {
            let stand = &mut stands[usize::from(*index)];
            let may = match stand {
                Stand::Later(ms) | Stand::Due(ms) => *ms <= self.now && !self.paused,
                _ => false,
            };
            if may {
                *stand = Stand::Claimed;
            }
            may
        });
        assert_eq!(granted, expected);
    }

    async fn judge(&mut self, message: usize) {
        let claimed = self.claimed(message);
        let mut outcomes = Vec::new();
        for index in claimed {
            let (outcome, next) = self.outcome();
            self.messages[message].1[usize::from(index)] = next;
            if next == Stand::Sent {
                self.told[message][usize::from(index)][0] += 1;
            }
            outcomes.push((index, outcome));
        }
        let judgement = Judgement {
            message: self.messages[message].0,
            outcomes,
            touch: None,
            is_last_upstream: true,
            hold_unknown: true,
            now: self.time(),
        };
        self.archive.judge(judgement, self.schedule.clone()).await.unwrap();
        // How long the wait is depends on the rounds; the model takes it from the record.
        self.learn_waits(message);
    }

    fn outcome(&mut self) -> (Outcome, Stand) {
        let reply = |code| Some(Reply::new(code, None, "as it is"));
        let detail = String::new();
        match self.chance.below(5) {
            0 | 1 => (sent(), Stand::Sent),
            2 => {
                let (scope, reply) = (Scope::Recipient, reply(550));
                (Outcome::Permanent { scope, reply, detail }, Stand::Failed)
            }
            3 => {
                let (scope, reply) = (Scope::Upstream, reply(451));
                (Outcome::Temporary { scope, reply, detail }, Stand::Due(i64::MAX))
            }
            _ => (Outcome::Unknown { detail }, Stand::ByHand),
        }
    }

    fn learn_waits(&mut self, message: usize) {
        let (id, stands) = &mut self.messages[message];
        let found = self.archive.message(*id).unwrap().unwrap();
        for (stand, recipient) in stands.iter_mut().zip(&found.recipients) {
            if *stand != Stand::Due(i64::MAX) {
                continue;
            }
            let RecipientState::Due { at: due, .. } = &recipient.state else {
                panic!("{:?} where it should wait", recipient.state)
            };
            assert!(*due > at(self.now), "a wait must lie ahead");
            *stand = Stand::Due(due.as_millis() - at(0).as_millis());
        }
    }

    fn claimed(&self, message: usize) -> Vec<u16> {
        let stands = (0..).zip(&self.messages[message].1);
        stands.filter(|(_, stand)| **stand == Stand::Claimed).map(|(index, _)| index).collect()
    }

    async fn act(&mut self, message: usize, kind: ActionKind) {
        let chosen = if self.chance.below(2) == 0 { None } else { Some(self.some(message)) };
        let (id, stands) = &mut self.messages[message];
        let asked = chosen.clone().unwrap_or_else(|| (0..stands.len() as u16).collect());
        let mut done = 0;
        for index in asked {
            let stand = &mut stands[usize::from(index)];
            let next = match (kind, &*stand) {
                (ActionKind::Stop, Stand::ByHand | Stand::Later(_) | Stand::Due(_)) => {
                    self.told[message][usize::from(index)][1] += 1;
                    Stand::Stopped
                }
                (ActionKind::Restart, Stand::Stopped | Stand::Failed) => {
                    self.told[message][usize::from(index)][2] += 1;
                    Stand::Due(self.now)
                }
                (ActionKind::Release, Stand::ByHand | Stand::Later(_)) => Stand::Due(self.now),
                _ => continue,
            };
            (*stand, done) = (next, done + 1);
        }
        let action = Action { recipients: chosen, at: at(self.now), ..action_of(kind, *id) };
        match self.archive.act(action).await.unwrap() {
            Ok(found) => assert!(done > 0 && found.id == *id),
            Err(ActionRefusal::TooLate(_)) => assert_eq!(done, 0, "{kind:?}"),
            Err(refusal) => panic!("{refusal}"),
        }
    }

    async fn give_back(&mut self, message: usize) {
        let claimed = self.claimed(message);
        let (id, stands) = &mut self.messages[message];
        for index in &claimed {
            stands[usize::from(*index)] = Stand::Due(self.now);
        }
        self.archive.give_back(*id, claimed, at(self.now)).await.unwrap();
    }

    async fn pause(&mut self) {
        self.paused = !self.paused;
        let by = "user anna".to_owned();
        self.archive.set_paused(upstream(), self.paused, by, self.time()).await.unwrap();
    }

    /// An orderly end, and a start.
    async fn restart(&mut self) {
        let archive = std::mem::replace(&mut self.archive, open(&Disk::default()));
        archive.close().await;
        check_files(&self.disk);
        self.archive = open(&self.disk);
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
        let now = self.time();
        self.archive.recover(self.schedule.clone(), now).await.unwrap();
        for message in 0..self.messages.len() {
            let claimed = self.claimed(message);
            let (id, stands) = &mut self.messages[message];
            let found = self.archive.message(*id).unwrap().unwrap();
            for index in claimed.into_iter().map(usize::from) {
                let recipient = &found.recipients[index];
                assert!(recipient.possible_duplicate);
                stands[index] = match recipient.state {
                    // Its attempts were cut off again and again.
                    RecipientState::Held { hold: Hold::Manual } => Stand::ByHand,
                    _ => Stand::Due(i64::MAX),
                };
            }
            self.learn_waits(message);
        }
    }

    /// Compares every message with the model.
    fn compare(&self) {
        for ((id, stands), told) in self.messages.iter().zip(&self.told) {
            let message = self.archive.message(*id).unwrap().unwrap();
            let found: Vec<Stand> = message.recipients.iter().map(|r| stand(&r.state)).collect();
            assert_eq!(&found, stands, "{id}");
            self.compare_events(&message, told);
        }
        let queue = self.archive.queue().unwrap();
        let of = |wanted: Status| {
            queue.recipients.iter().find(|(status, _)| *status == wanted).map_or(0, |(_, n)| *n)
        };
        let all = || self.messages.iter().flat_map(|(_, stands)| stands);
        let count = |wanted: Stand| all().filter(|stand| **stand == wanted).count() as u64;
        assert_eq!(of(Status::Sent), count(Stand::Sent));
        assert_eq!(of(Status::Stopped), count(Stand::Stopped));
        assert_eq!(of(Status::Failed), count(Stand::Failed));
        assert_eq!(queue.recipients.iter().map(|(_, n)| n).sum::<u64>(), all().count() as u64);
        assert_eq!(queue.claimed, count(Stand::Claimed));
        assert_eq!(!queue.paused.is_empty(), self.paused);
        let extent = self.archive.extent().unwrap();
        assert_eq!(extent.messages, self.messages.len() as u64);
    }

    /// Never both stopped and sent without a restart between; nothing told twice or not at all.
    fn compare_events(&self, message: &Message, told: &[[usize; 3]]) {
        let events = self.archive.events(message.id, None, usize::MAX).unwrap().items;
        for (recipient, told) in message.recipients.iter().zip(told) {
            let of = |kind| {
                let mine = events.iter().filter(|e| e.recipient == Some(recipient.index));
                mine.filter(|e| e.kind == kind).count()
            };
            let found = [EventKind::Sent, EventKind::Stopped, EventKind::Restarted].map(of);
            assert_eq!(found, *told);
            let ended = events.iter().filter(|e| e.recipient == Some(recipient.index));
            let mut is_stopped = false;
            for event in ended {
                match event.kind {
                    EventKind::Stopped => is_stopped = true,
                    EventKind::Restarted => is_stopped = false,
                    EventKind::Sent => assert!(!is_stopped, "{} was stopped and sent", message.id),
                    _ => {}
                }
            }
        }
    }
}

fn stand(state: &RecipientState) -> Stand {
    let ms = |time: &Timestamp| time.as_millis() - at(0).as_millis();
    match state {
        RecipientState::Held { hold: Hold::Manual } => Stand::ByHand,
        RecipientState::Held { hold: Hold::Until(at) } => Stand::Later(ms(at)),
        RecipientState::Due { at, .. } => Stand::Due(ms(at)),
        RecipientState::Claimed { .. } => Stand::Claimed,
        RecipientState::Sent { .. } => Stand::Sent,
        RecipientState::Stopped { .. } => Stand::Stopped,
        RecipientState::Failed { .. } | RecipientState::NotSent { .. } => Stand::Failed,
    }
}

#[tokio::test]
async fn the_queue_does_what_its_model_does() {
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
