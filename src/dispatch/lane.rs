//! A lane: the planned work of one upstream, bounded, and who waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::archive::DueEntry;
use crate::model::{MessageId, Timestamp, UpstreamName};
use crate::relay::SmtpRelay;

/// Planned messages of one upstream; the rest stays on disk.
const MAX_PLANNED: usize = 2_000;
/// Below this a lane that was full is filled again.
const REFILL_BELOW: usize = MAX_PLANNED / 2;

/// Recipients of one message that go to this upstream together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub message: MessageId,
    pub recipients: Vec<u16>,
    pub rank: u8,
    /// No upstream of the route comes after this one.
    pub is_last_upstream: bool,
}

/// What workers tell the feeder; all lanes share it.
#[derive(Default)]
pub(super) struct Feedback {
    told: Notify,
    news: Mutex<News>,
}

/// What was told since the feeder looked last.
#[derive(Default)]
pub(super) struct News {
    /// Plans that came to nothing although something of them may still be due.
    pub again: Vec<MessageId>,
    /// A lane threw its plans away.
    pub thrown: bool,
}

impl Feedback {
    /// Waits until there is something to look at.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, news: impl FnOnce(&mut News)) {
        news(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.told.notify_one();
    }
}

/// The work of one upstream.
pub(super) struct Lane {
    name: UpstreamName,
    relay: SmtpRelay,
    work: Mutex<Work>,
    /// Somebody may take a plan.
    filled: Notify,
    feedback: Arc<Feedback>,
}

#[derive(Default)]
struct Work {
    plans: VecDeque<Plan>,
    /// What is planned or under way, so that nothing is planned twice; with the time of the row of
    /// the queue that it came from, if all that was due of that row was planned.
    known: HashMap<MessageId, Option<Timestamp>>,
    /// The first row of the queue for which there was no room.
    overflow: Option<DueEntry>,
}

impl Lane {
    pub(super) fn new(name: UpstreamName, relay: SmtpRelay, feedback: Arc<Feedback>) -> Lane {
        Lane { name, relay, work: Mutex::default(), filled: Notify::new(), feedback }
    }

    pub(super) fn name(&self) -> &UpstreamName {
        &self.name
    }

    pub(super) fn relay(&self) -> &SmtpRelay {
        &self.relay
    }

    /// Whether this message is planned here or under way.
    pub(super) fn knows(&self, message: MessageId) -> bool {
        self.lock().known.contains_key(&message)
    }

    /// Whether all of this row was planned, some of it here.
    pub(super) fn knows_row(&self, (at, message): DueEntry) -> bool {
        self.lock().known.get(&message) == Some(&Some(at))
    }

    pub(super) fn is_full(&self) -> bool {
        self.lock().plans.len() >= MAX_PLANNED
    }

    /// Notes that a row found no room; the feeder comes back to it.
    pub(super) fn overflow(&self, row: DueEntry) {
        let mut work = self.lock();
        work.overflow = Some(work.overflow.map_or(row, |first| first.min(row)));
    }

    /// Whether some row found no room yet.
    pub(super) fn is_overflowed(&self) -> bool {
        self.lock().overflow.is_some()
    }

    /// Where to fill it again, now that there is room; from then on that is forgotten.
    pub(super) fn refill_from(&self) -> Option<DueEntry> {
        let mut work = self.lock();
        if work.plans.len() < REFILL_BELOW { work.overflow.take() } else { None }
    }

    /// Forgets what found no room, because the whole queue is about to be read.
    pub(super) fn forget_overflow(&self) {
        self.lock().overflow = None;
    }

    /// Adds a plan. `row`: the time of its row, if all that is due of it is planned now.
    pub(super) fn offer(&self, plan: Plan, row: Option<Timestamp>) {
        let mut work = self.lock();
        work.known.insert(plan.message, row);
        work.plans.push_back(plan);
        drop(work);
        self.filled.notify_one();
    }

    /// The next plan, as soon as there is one.
    pub(super) async fn take(&self) -> Plan {
        loop {
            if let Some(plan) = self.try_take() {
                return plan;
            }
            self.filled.notified().await;
        }
    }

    /// The next plan, if there is one.
    pub(super) fn try_take(&self) -> Option<Plan> {
        let mut work = self.lock();
        let plan = work.plans.pop_front()?;
        let left = work.plans.len();
        let wants_more = work.overflow.is_some() && left + 1 == REFILL_BELOW;
        drop(work);
        if wants_more {
            self.feedback.tell(|_| {});
        }
        if left > 0 {
            // One wake-up may stand for several offers.
            self.filled.notify_one();
        }
        Some(plan)
    }

    /// A message is no longer under way. To be called before its judgement is recorded: what the
    /// judgement makes due again must not be taken for what is still under way.
    pub(super) fn forget(&self, message: MessageId) {
        self.lock().known.remove(&message);
    }

    /// The same for a plan of which nothing was claimed: stopped, paused, or something that the
    /// feeder should look at again.
    pub(super) fn give_up(&self, message: MessageId) {
        self.forget(message);
        self.feedback.tell(|news| news.again.push(message));
    }

    /// Throws all plans away, because the upstream is down: the feeder plans anew, perhaps for
    /// another upstream.
    pub(super) fn clear(&self) {
        let mut work = self.lock();
        let plans = std::mem::take(&mut work.plans);
        for plan in &plans {
            work.known.remove(&plan.message);
        }
        drop(work);
        self.feedback.tell(|news| news.thrown = true);
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
