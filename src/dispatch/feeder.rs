//! The feeder: reads the queue in order and plans who takes what.
//!
//! It keeps a place in the queue and reads on from there, so a backlog is read once and not at every
//! wake-up. The place always stays a little behind the present: a message gets its time when it comes
//! in and its row a moment later, so rows still appear behind the newest one that was seen. A lane that
//! is full keeps a place of its own, from which it is filled again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::time::sleep;

use super::Clock;
use super::lane::{Feedback, Lane, Plan};
use super::setback::Setback;
use crate::archive::{Archive, ArchiveError, DueEntry, Message, Recipient};
use crate::model::{MessageId, RecipientState, Timestamp, UpstreamName};
use crate::policy::{RouteQuery, Routes};

/// Rows read from the queue at once.
const BATCH: usize = 500;
/// How far the place stays behind the present: longer than a commit takes, even a slow one.
const MARGIN: Duration = Duration::from_secs(3);
/// The whole queue is read again so often, whatever was told: the net below everything else. A queue
/// that takes long to read is read less often, so that this never costs more than a small share.
const FULL_PASS: Duration = Duration::from_secs(60);
const FULL_PASS_SHARE: u32 = 20;
/// How often an upstream that is down, and that some message waits for, is asked whether it is back.
const DOWN_PAUSE: Duration = Duration::from_secs(1);
/// After reading, so many times as long nothing is read, so that a busy archive, which tells of a
/// change a hundred times a second, is not read a hundred times a second.
const REST: u32 = 2;
/// A timer is no finer; a quiet archive is looked at without any rest.
const MIN_REST: Duration = Duration::from_millis(1);
const MAX_REST: Duration = Duration::from_millis(200);
/// Rows that were looked at in vain and are remembered; some seconds' worth.
const MAX_IN_VAIN: usize = 100_000;

pub(super) struct Feeder {
    archive: Archive,
    routes: Arc<ArcSwap<Routes>>,
    lanes: HashMap<UpstreamName, Arc<Lane>>,
    feedback: Arc<Feedback>,
    clock: Clock,
    setback: Setback,
    /// Every row up to here was seen, or is behind the overflow of its lane.
    place: Option<DueEntry>,
    paused: HashSet<UpstreamName>,
    /// Upstreams that were down when a message wanted them.
    down: HashSet<UpstreamName>,
    /// Rows behind the place for which nothing can be done until a lane has room, or an upstream is
    /// resumed or back.
    in_vain: BTreeSet<DueEntry>,
    /// Messages with something due for a lane that has another plan of them under way.
    blocked: HashMap<MessageId, Arc<Lane>>,
    full_pass_at: Instant,
    full_pass_every: Duration,
}

/// What became of a message that was looked at.
#[derive(Default)]
struct Planned {
    /// Something was planned.
    some: bool,
    /// Something was not, though it is due.
    is_partial: bool,
}

impl Feeder {
    pub(super) fn new(
        archive: Archive,
        routes: Arc<ArcSwap<Routes>>,
        lanes: HashMap<UpstreamName, Arc<Lane>>,
        feedback: Arc<Feedback>,
        clock: Clock,
        setback: Setback,
    ) -> Feeder {
        Feeder {
            archive,
            routes,
            lanes,
            feedback,
            clock,
            setback,
            place: None,
            paused: HashSet::new(),
            down: HashSet::new(),
            in_vain: BTreeSet::new(),
            blocked: HashMap::new(),
            full_pass_at: Instant::now(),
            full_pass_every: Duration::ZERO,
        }
    }

    /// Runs until it is dropped; ends only when the archive can not be read.
    pub(super) async fn run(mut self) -> Result<(), ArchiveError> {
        let mut journal = self.archive.journal();
        loop {
            journal.borrow_and_update();
            if self.setback.look().await? {
                // The place may be ahead of the present now.
                self.full_pass_every = Duration::ZERO;
            }
            let started = Instant::now();
            self.look().await?;
            let rest = started.elapsed() * REST;
            if rest >= MIN_REST {
                sleep(rest.min(MAX_REST)).await;
            }
            let now = (self.clock)();
            let next = self.archive.next_due(now)?.map(|at| at.since(now));
            let longest = if self.down.is_empty() { FULL_PASS } else { DOWN_PAUSE };
            let pause = next.unwrap_or(longest).min(longest) + Duration::from_millis(1);
            tokio::select! {
                changed = journal.changed() => if changed.is_err() { return Ok(()) },
                () = self.feedback.told() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Looks at everything that may be due.
    async fn look(&mut self) -> Result<(), ArchiveError> {
        let news = self.feedback.take();
        let paused: HashSet<UpstreamName> = self.archive.paused()?.into_iter().collect();
        let is_back = self.down.iter().any(|name| self.is_up(name));
        let is_time = self.full_pass_at.elapsed() >= self.full_pass_every;
        if news.thrown || is_back || is_time || paused != self.paused {
            self.paused = paused;
            return self.full_pass().await;
        }
        let freed = self.blocked.extract_if(|id, lane| !lane.knows(*id));
        let again: Vec<MessageId> = freed.map(|(id, _)| id).chain(news.again).collect();
        for id in again {
            self.plan(id, None)?;
        }
        self.refill().await?;
        // With no room anywhere there is nothing to look for.
        if !self.lanes.values().all(|lane| lane.is_overflowed()) {
            let all = self.lanes.values().cloned().collect();
            self.pass(self.place, false, all).await?;
        }
        Ok(())
    }

    /// Fills lanes that were full, from the first row that one of them had no room for.
    async fn refill(&mut self) -> Result<(), ArchiveError> {
        let mut first: Option<DueEntry> = None;
        let mut lanes = Vec::new();
        for lane in self.lanes.values() {
            if let Some(row) = lane.refill_from() {
                first = Some(first.map_or(row, |first| first.min(row)));
                lanes.push(lane.clone());
            }
        }
        let Some((at, id)) = first else { return Ok(()) };
        // The row itself is to be seen again.
        let before = MessageId::from_u128(id.as_u128().saturating_sub(1));
        self.pass(Some((at, before)), true, lanes).await
    }

    async fn full_pass(&mut self) -> Result<(), ArchiveError> {
        let started = Instant::now();
        (self.place, self.full_pass_at) = (None, started);
        self.down.clear();
        self.in_vain.clear();
        self.blocked.clear();
        self.lanes.values().for_each(|lane| lane.forget_overflow());
        let all = self.lanes.values().cloned().collect();
        self.pass(None, true, all).await?;
        self.full_pass_every = FULL_PASS.max(started.elapsed() * FULL_PASS_SHARE);
        Ok(())
    }

    fn is_up(&self, name: &UpstreamName) -> bool {
        self.lanes.get(name).is_some_and(|lane| lane.relay().is_available(Instant::now()))
    }

    /// Reads the queue from a place on, until there is no room left in any of these lanes.
    /// `thorough`: also what was looked at in vain.
    async fn pass(
        &mut self,
        from: Option<DueEntry>,
        thorough: bool,
        lanes: Vec<Arc<Lane>>,
    ) -> Result<(), ArchiveError> {
        let mut seen = from;
        loop {
            let now = (self.clock)();
            let rows = self.archive.due(seen, now, BATCH)?;
            for row in &rows {
                let was_seen = self.lanes.values().any(|lane| lane.knows_row(*row));
                if was_seen || (!thorough && self.in_vain.contains(row)) {
                    continue;
                }
                let planned = self.plan(row.1, Some(*row))?;
                if !planned.some && self.in_vain.len() < MAX_IN_VAIN {
                    self.in_vain.insert(*row);
                }
            }
            let Some(last) = rows.last().copied() else { break };
            seen = Some(last);
            let margin = i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX);
            let behind = Timestamp::from_millis(now.as_millis().saturating_sub(margin));
            self.place = self.place.max(Some(last.min((behind, MessageId::MIN))));
            // What comes now belongs to a lane that comes back to it.
            let is_full = lanes.iter().all(|lane| lane.is_overflowed());
            if rows.len() < BATCH || is_full {
                break;
            }
            tokio::task::yield_now().await;
        }
        if let Some(place) = self.place {
            // Rows up to the place are not read again but by those who look at everything.
            self.in_vain = self.in_vain.split_off(&place);
        }
        Ok(())
    }

    /// Plans what is due of one message, found through this row or told of.
    fn plan(&mut self, id: MessageId, row: Option<DueEntry>) -> Result<Planned, ArchiveError> {
        let now = (self.clock)();
        let message = match self.archive.message(id) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(Planned::default()),
            Err(error @ ArchiveError::Storage { .. }) => {
                // One damaged record must not keep the others from leaving.
                tracing::error!(%id, %error, "a due message can not be read");
                return Ok(Planned::default());
            }
            Err(error) => return Err(error),
        };
        let mut groups: BTreeMap<(UpstreamName, u8, bool), Vec<u16>> = BTreeMap::new();
        let mut planned = Planned::default();
        for recipient in message.recipients.iter().filter(|r| is_due(r, now)) {
            match self.choose(&message, recipient) {
                Choice::Upstream { name, rank, is_last } => {
                    groups.entry((name, rank, is_last)).or_default().push(recipient.index);
                }
                Choice::Down(upstreams) => {
                    planned.is_partial = true;
                    self.down.extend(upstreams);
                }
            }
        }
        let mut offers = Vec::with_capacity(groups.len());
        for ((name, rank, is_last_upstream), recipients) in groups {
            // `choose` only names lanes that exist.
            let Some(lane) = self.lanes.get(&name) else { continue };
            let is_offered = offers.iter().any(|(other, _)| Arc::ptr_eq(other, lane));
            if lane.knows(id) || is_offered {
                planned.is_partial = true;
                self.blocked.insert(id, lane.clone());
            } else if !lane.has_room() {
                planned.is_partial = true;
                let first =
                    recipients.first().map(|index| &message.recipients[usize::from(*index)]);
                let due_at = first.and_then(|recipient| recipient.state.wakes_at());
                lane.overflow(row.unwrap_or((due_at.unwrap_or(now), id)));
            } else {
                let plan = Plan { message: id, recipients, rank, is_last_upstream };
                offers.push((lane.clone(), plan));
            }
        }
        planned.some = !offers.is_empty();
        let whole_row = row.filter(|_| !planned.is_partial).map(|(at, _)| at);
        offers.into_iter().for_each(|(lane, plan)| lane.offer(plan, whole_row));
        Ok(planned)
    }

    /// The first upstream of the route, from the rank on, that is neither paused nor down.
    fn choose(&self, message: &Message, recipient: &Recipient) -> Choice {
        let sender = message.medium.sender().unwrap_or_default();
        let address = message.medium.recipient(recipient.index).unwrap_or_default();
        let upstreams = self.routes.load().pick(RouteQuery {
            channel: message.channel(),
            app: &message.app,
            sender: &sender,
            recipient: &address,
            tag: message.tag.as_ref(),
        });
        let from = match &recipient.state {
            RecipientState::Due { rank, .. } => usize::from(*rank),
            RecipientState::Held { .. }
            | RecipientState::Claimed { .. }
            | RecipientState::Sent { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. } => 0,
        };
        let usable = |name: &UpstreamName| !self.paused.contains(name) && self.is_up(name);
        let mut ranked = upstreams.iter().enumerate().take(usize::from(u8::MAX));
        let mut chosen = ranked.clone().skip(from).find(|(_, name)| usable(name));
        let mut is_last = chosen.is_some_and(|(rank, _)| !upstreams[rank + 1..].iter().any(usable));
        if chosen.is_none() {
            // Nobody is left behind it: the route became shorter, or its backup is paused or down.
            // Then the round ends with one more try at the upstreams before, and not in a circle.
            (chosen, is_last) = (ranked.find(|(_, name)| usable(name)), true);
        }
        match chosen {
            Some((rank, name)) => {
                let rank = u8::try_from(rank).unwrap_or(u8::MAX);
                Choice::Upstream { name: name.clone(), rank, is_last }
            }
            None => {
                let paused = |name: &UpstreamName| self.paused.contains(name);
                Choice::Down(upstreams.into_iter().filter(|name| !paused(name)).collect())
            }
        }
    }
}

enum Choice {
    Upstream {
        name: UpstreamName,
        rank: u8,
        is_last: bool,
    },
    /// None can be used now; these are down and not paused. Empty when all are paused, or when the
    /// route has none any more: then a resume or a new configuration brings a new pass.
    Down(Vec<UpstreamName>),
}

fn is_due(recipient: &Recipient, now: Timestamp) -> bool {
    recipient.state.wakes_at().is_some_and(|at| at <= now)
}
