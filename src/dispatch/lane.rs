//! A lane: the planned work of one upstream, bounded, and who waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::archive::DueEntry;
use crate::model::{MessageId, Timestamp, UpstreamName};
use crate::relay::Relay;

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
    relay: Relay,
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
    pub(super) fn new(name: UpstreamName, relay: Relay, feedback: Arc<Feedback>) -> Lane {
        Lane { name, relay, work: Mutex::default(), filled: Notify::new(), feedback }
    }

    pub(super) fn name(&self) -> &UpstreamName {
        &self.name
    }

    pub(super) fn relay(&self) -> &Relay {
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

    /// Whether a row may be planned. Once one found no room, none behind it does either, until the
    /// lane is filled again in the order of the queue: or the oldest would wait for as long as new
    /// ones keep coming.
    pub(super) fn has_room(&self) -> bool {
        let work = self.lock();
        work.plans.len() < MAX_PLANNED && work.overflow.is_none()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::relay::SmtpRelay;
    use crate::relay::settings::{RelayTimeouts, SmtpUpstream, UpstreamTls};

    fn lane() -> Lane {
        let settings = SmtpUpstream {
            name: UpstreamName::parse("a").unwrap(),
            host: "127.0.0.1".into(),
            port: 1,
            tls: UpstreamTls::Off,
            tls_ca: None,
            credential: None,
            connections: 1,
            rate_per_second: None,
            hostname: "gateway.test".into(),
            timeouts: RelayTimeouts::default(),
        };
        let name = settings.name.clone();
        let relay = Relay::Smtp(SmtpRelay::new(settings).unwrap());
        Lane::new(name, relay, Arc::new(Feedback::default()))
    }

    fn row(number: usize) -> DueEntry {
        (Timestamp::from_millis(number as i64), MessageId::from_u128(number as u128))
    }

    fn offer(lane: &Lane, number: usize) {
        let (at, message) = row(number);
        let plan = Plan { message, recipients: vec![0], rank: 0, is_last_upstream: true };
        lane.offer(plan, Some(at));
    }

    #[tokio::test]
    async fn what_found_no_room_comes_before_what_is_newer() {
        let lane = lane();
        (0..MAX_PLANNED).for_each(|number| offer(&lane, number));
        assert!(!lane.has_room());
        lane.overflow(row(MAX_PLANNED + 1));
        lane.overflow(row(MAX_PLANNED));
        lane.overflow(row(MAX_PLANNED + 2));
        for taken in 0..=REFILL_BELOW {
            assert_eq!(lane.refill_from(), None, "{taken}");
            assert_eq!(lane.take().await.message, row(taken).1);
            assert!(!lane.has_room(), "a newer row would overtake the one that waits");
        }
        let told = tokio::time::timeout(Duration::from_secs(5), lane.feedback.told()).await;
        told.expect("nobody was told that there is room");
        assert_eq!(lane.refill_from(), Some(row(MAX_PLANNED)));
        assert!(lane.has_room() && !lane.is_overflowed());
    }

    #[test]
    fn a_message_is_known_until_it_is_let_go() {
        let lane = lane();
        offer(&lane, 7);
        assert!(lane.knows(row(7).1) && lane.knows_row(row(7)));
        assert!(!lane.knows_row((Timestamp::from_millis(8), row(7).1)));
        let plan = lane.try_take().unwrap();
        assert!(lane.knows(plan.message), "it is under way");
        lane.give_up(plan.message);
        assert!(!lane.knows(plan.message));
        assert_eq!(lane.feedback.take().again, [plan.message]);
        offer(&lane, 8);
        lane.clear();
        assert!(lane.try_take().is_none() && !lane.knows(row(8).1));
        assert!(lane.feedback.take().thrown);
    }
}
