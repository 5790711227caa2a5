//! A lane: the planned work of one upstream, bounded, and who waits for it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::{MessageId, UpstreamName};
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

/// The work of one upstream.
pub(super) struct Lane {
    name: UpstreamName,
    relay: SmtpRelay,
    work: Mutex<Work>,
    /// Somebody may take a plan.
    filled: Notify,
    /// Tells the feeder that there is room again, or that plans were thrown away; all lanes share it.
    drained: Arc<Notify>,
}

#[derive(Default)]
struct Work {
    plans: VecDeque<Plan>,
    /// What is planned or under way, so that the feeder plans nothing twice.
    known: HashSet<MessageId>,
    /// The feeder found more than there was room for.
    overflowed: bool,
}

impl Lane {
    pub(super) fn new(name: UpstreamName, relay: SmtpRelay, drained: Arc<Notify>) -> Lane {
        Lane { name, relay, work: Mutex::default(), filled: Notify::new(), drained }
    }

    pub(super) fn name(&self) -> &UpstreamName {
        &self.name
    }

    pub(super) fn relay(&self) -> &SmtpRelay {
        &self.relay
    }

    /// Whether this message is planned here or under way.
    pub(super) fn knows(&self, message: MessageId) -> bool {
        self.lock().known.contains(&message)
    }

    /// Adds a plan; `false` when the lane is full and the feeder must come again.
    pub(super) fn offer(&self, plan: Plan) -> bool {
        let mut work = self.lock();
        if work.plans.len() >= MAX_PLANNED {
            work.overflowed = true;
            return false;
        }
        work.known.insert(plan.message);
        work.plans.push_back(plan);
        drop(work);
        self.filled.notify_one();
        true
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
        let (refill, more) = (work.overflowed && work.plans.len() < REFILL_BELOW, work.plans.len());
        if refill {
            work.overflowed = false;
        }
        drop(work);
        if refill {
            self.drained.notify_one();
        }
        if more > 0 {
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

    /// Throws all plans away, because the upstream is down: the feeder plans anew, perhaps for
    /// another upstream.
    pub(super) fn clear(&self) {
        let mut work = self.lock();
        let plans = std::mem::take(&mut work.plans);
        for plan in &plans {
            work.known.remove(&plan.message);
        }
        work.overflowed = false;
        drop(work);
        self.drained.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
