//! The feeder: reads the queue in order and plans who takes what.
//!
//! It keeps a place in the queue and reads on from there, so a backlog is read once and not at every
//! wake-up. The place always stays a little behind the present: a message gets its time when it comes
//! in and its row a moment later, so rows still appear behind the newest one that was seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Clock;
use super::lane::{Lane, Plan};
use crate::archive::{Archive, ArchiveError, DueEntry, Message, Recipient};
use crate::model::{MessageId, RecipientState, ReversePath, Timestamp, UpstreamName};
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

pub(super) struct Feeder {
    pub archive: Archive,
    pub routes: Arc<ArcSwap<Routes>>,
    pub lanes: HashMap<UpstreamName, Arc<Lane>>,
    /// A lane has room again, or threw its plans away.
    pub drained: Arc<Notify>,
    pub clock: Clock,
}

impl Feeder {
    /// Runs until it is dropped; ends only when the archive can not be read.
    pub(super) async fn run(self) -> Result<(), ArchiveError> {
        let mut journal = self.archive.journal();
        let mut place: Option<DueEntry> = None;
        let (mut full_pass_at, mut full_pass) = (Instant::now(), FULL_PASS);
        let mut paused: HashSet<UpstreamName> = HashSet::new();
        // Upstreams that were down when a message wanted them.
        let mut down: HashSet<UpstreamName> = HashSet::new();
        loop {
            journal.borrow_and_update();
            let now_paused: HashSet<UpstreamName> = self.archive.paused()?.into_iter().collect();
            let is_back = down.iter().any(|name| self.is_up(name));
            if is_back || now_paused != paused || full_pass_at.elapsed() >= full_pass {
                (paused, place) = (now_paused, None);
            }
            let (started, is_full_pass) = (Instant::now(), place.is_none());
            if is_full_pass {
                (full_pass_at, down) = (started, HashSet::new());
            }
            self.pass(&mut place, &paused, &mut down).await?;
            if is_full_pass {
                full_pass = FULL_PASS.max(started.elapsed() * FULL_PASS_SHARE);
            }
            let now = (self.clock)();
            let next = self.archive.next_due(now)?.map(|at| at.since(now));
            let longest = if down.is_empty() { FULL_PASS } else { DOWN_PAUSE };
            let pause = next.unwrap_or(longest).min(longest) + Duration::from_millis(1);
            tokio::select! {
                changed = journal.changed() => if changed.is_err() { return Ok(()) },
                () = self.drained.notified() => place = None,
                () = sleep(pause) => {}
            }
        }
    }

    fn is_up(&self, name: &UpstreamName) -> bool {
        self.lanes.get(name).is_some_and(|lane| lane.relay().is_available(Instant::now()))
    }

    async fn pass(
        &self,
        place: &mut Option<DueEntry>,
        paused: &HashSet<UpstreamName>,
        down: &mut HashSet<UpstreamName>,
    ) -> Result<(), ArchiveError> {
        let mut seen = *place;
        loop {
            let now = (self.clock)();
            let rows = self.archive.due(seen, now, BATCH)?;
            let mut is_full = false;
            for (_, id) in &rows {
                is_full |= !self.plan(*id, now, paused, down)?;
            }
            let Some(last) = rows.last().copied() else { return Ok(()) };
            seen = Some(last);
            let margin = i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX);
            let behind = Timestamp::from_millis(now.as_millis().saturating_sub(margin));
            *place = Some(last.min((behind, MessageId::MIN)));
            if rows.len() < BATCH || (is_full && self.lanes.len() == 1) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Plans what is due of one message; `false` when a lane was full.
    fn plan(
        &self,
        id: MessageId,
        now: Timestamp,
        paused: &HashSet<UpstreamName>,
        down: &mut HashSet<UpstreamName>,
    ) -> Result<bool, ArchiveError> {
        if self.lanes.values().any(|lane| lane.knows(id)) {
            return Ok(true);
        }
        let message = match self.archive.message(id) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(true),
            Err(error @ ArchiveError::Storage { .. }) => {
                // One damaged record must not keep the others from leaving.
                tracing::error!(%id, %error, "a due message can not be read");
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let mut groups: BTreeMap<(UpstreamName, u8, bool), Vec<u16>> = BTreeMap::new();
        for recipient in message.recipients.iter().filter(|r| is_due(r, now)) {
            match self.choose(&message, recipient, paused) {
                Choice::Upstream { name, rank, is_last } => {
                    groups.entry((name, rank, is_last)).or_default().push(recipient.index);
                }
                Choice::Down(upstreams) => down.extend(upstreams),
            }
        }
        let mut fits = true;
        for ((name, rank, is_last_upstream), recipients) in groups {
            let plan = Plan { message: id, recipients, rank, is_last_upstream };
            // `choose` only names lanes that exist.
            if let Some(lane) = self.lanes.get(&name) {
                fits &= lane.offer(plan);
            }
        }
        Ok(fits)
    }

    /// The first upstream of the route, from the rank on, that is neither paused nor down.
    fn choose(
        &self,
        message: &Message,
        recipient: &Recipient,
        paused: &HashSet<UpstreamName>,
    ) -> Choice {
        let sender = match &message.envelope.reverse_path {
            ReversePath::Null => String::new(),
            ReversePath::Mailbox(mailbox) => mailbox.to_string(),
        };
        let address = message.envelope.recipients.get(usize::from(recipient.index));
        let upstreams = self.routes.load().pick(RouteQuery {
            channel: message.channel,
            app: &message.app,
            sender: &sender,
            recipient: &address.map(|r| r.path.to_string()).unwrap_or_default(),
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
        // A route that became shorter starts over.
        let from = if from < upstreams.len() { from } else { 0 };
        let usable = |name: &UpstreamName| !paused.contains(name) && self.is_up(name);
        let mut ranked = upstreams.iter().enumerate().skip(from).take(usize::from(u8::MAX));
        match ranked.find(|(_, name)| usable(name)) {
            Some((rank, name)) => Choice::Upstream {
                name: name.clone(),
                rank: u8::try_from(rank).unwrap_or(u8::MAX),
                is_last: !upstreams.iter().skip(rank + 1).any(usable),
            },
            None => Choice::Down(upstreams.into_iter().filter(|u| !paused.contains(u)).collect()),
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
