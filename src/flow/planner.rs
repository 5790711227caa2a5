//! Follows the journal and writes into the outbox what is to be told.
//!
//! Deliveries and the place in the journal up to which they are planned change in one transaction.
//! A stretch of the journal without deliveries moves that place only in memory, so that a busy
//! day costs no commits: after a crash it is looked through again, with the same result.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Flows;
use super::plan::{concerns, plan};
use super::reply::{self, Answered};
use super::rule::Flow;
use crate::archive::{ArchiveError, Event, NewDelivery};
use crate::model::Sequence;

/// Events looked at in one go.
const BATCH: usize = 500;
/// Events without deliveries after which the place is written down all the same.
const UNSAVED_EVENTS: u64 = 10_000;
/// An archive that was never planned may hold years of mail; only what is younger is told.
const FIRST_LOOK: Duration = Duration::from_secs(24 * 3600);
/// The wait when the door for replies is closed for the moment.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Planner {
    with: Flows,
    /// Told when the outbox has something new.
    planned: Arc<Notify>,
}

/// How far one look came.
enum Step {
    /// There are no more events.
    End,
    Planned(Sequence),
    /// So far, and on after a pause.
    Paused(Sequence),
}

/// The place in the journal, and how much of it is on disk.
struct Place {
    seen: Sequence,
    saved: Sequence,
    /// The archive had never been planned when this run began.
    is_first: bool,
}

impl Planner {
    pub(super) fn new(with: Flows, planned: Arc<Notify>) -> Planner {
        Planner { with, planned }
    }

    /// Plans until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), ArchiveError> {
        let mut journal = self.with.archive.journal();
        let saved = self.with.archive.planned_until()?;
        let mut place = Place { seen: saved, saved, is_first: saved == Sequence(0) };
        while !stop.is_cancelled() {
            // Seen before the look, so that what is committed during it is looked at too.
            journal.borrow_and_update();
            let step = self.step(&mut place).await?;
            let wait = async {
                match step {
                    Step::Planned(_) => tokio::task::yield_now().await,
                    Step::Paused(_) => tokio::time::sleep(PAUSE).await,
                    Step::End => return journal.changed().await,
                }
                Ok(())
            };
            tokio::select! {
                // The archive is gone.
                waited = wait => if waited.is_err() { return Ok(()) },
                () = stop.cancelled() => {}
            }
        }
        if place.saved < place.seen {
            let now = (self.with.clock)();
            self.with.archive.plan(Vec::new(), place.seen, now).await?;
        }
        Ok(())
    }

    async fn step(&self, place: &mut Place) -> Result<Step, ArchiveError> {
        let events = self.with.archive.journal_after(place.seen, BATCH)?;
        if events.is_empty() {
            return Ok(Step::End);
        }
        let flows = self.with.flows.load_full();
        let mut deliveries = Vec::new();
        let mut step = Step::End;
        for event in &events {
            match self.look(event, &flows, place.is_first, &mut deliveries).await? {
                Answered::Settled => step = Step::Planned(event.sequence),
                Answered::NotNow => {
                    // What stands before this event is planned, and it itself is looked at again.
                    step = Step::Paused(Sequence(event.sequence.0 - 1));
                    deliveries.retain(|d: &NewDelivery| d.event != event.sequence);
                    break;
                }
            }
        }
        if let Step::Planned(until) | Step::Paused(until) = step {
            self.save(place, deliveries, until).await?;
        }
        Ok(step)
    }

    async fn look(
        &self,
        event: &Event,
        flows: &[Flow],
        is_first: bool,
        deliveries: &mut Vec<NewDelivery>,
    ) -> Result<Answered, ArchiveError> {
        let is_old = is_first && (self.with.clock)().since(event.at) > FIRST_LOOK;
        if is_old || !concerns(event.kind, flows) {
            return Ok(Answered::Settled);
        }
        let Some(message) = self.with.archive.message(event.message)? else {
            return Ok(Answered::Settled);
        };
        let apps = self.with.apps.load();
        let app = apps.0.iter().find(|app| app.name == message.app);
        let plan = plan(event, &message, app.map(|app| &**app), flows);
        deliveries.extend(plan.deliveries);
        match plan.reply {
            Some(text) => reply::by_rule(&self.with, flows, &message, &text).await,
            None => Ok(Answered::Settled),
        }
    }

    async fn save(
        &self,
        place: &mut Place,
        deliveries: Vec<NewDelivery>,
        until: Sequence,
    ) -> Result<(), ArchiveError> {
        place.seen = until;
        let unsaved = until.0.saturating_sub(place.saved.0);
        if deliveries.is_empty() && unsaved < UNSAVED_EVENTS {
            return Ok(());
        }
        let has_news = !deliveries.is_empty();
        self.with.archive.plan(deliveries, until, (self.with.clock)()).await?;
        place.saved = until;
        if has_news {
            self.planned.notify_one();
        }
        Ok(())
    }
}
