//! The queue at work: claims due recipients, renders, relays, records the judgement.
//!
//! One feeder reads the queue and plans: which upstream, by route, fail-over, pause and health.
//! Each upstream has a lane of planned work and as many workers as connections, so an upstream that
//! hangs delays nobody else. A worker claims durably, then sends, then records what came of it in
//! the same commit that claims its next message. A claim is the only licence to send: the archive's
//! one writer grants it or, when somebody stopped the recipient first, does not. Before it is asked for,
//! recipients who must not be written to are left out of a mail, and stopped where it is an SMS.
//!
//! What a crash leaves: a claimed recipient, whose outcome is unknown; `recover` judges these at the
//! next start.

mod feeder;
mod lane;
mod setback;
mod suppression;
mod validity;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::archive::{Archive, ArchiveError};
use crate::evidence::Renderer;
use crate::lifecycle::RetrySchedule;
use crate::model::{Clock, UpstreamName};
use crate::policy::Routes;
use crate::relay::Relay;
use feeder::Feeder;
use lane::{Feedback, Lane};
use setback::Setback;
use worker::Worker;

/// What dispatch needs.
pub struct Dispatch {
    pub archive: Archive,
    pub renderer: Renderer,
    pub routes: Arc<ArcSwap<Routes>>,
    pub relays: Vec<(UpstreamName, Relay)>,
    pub schedule: Arc<RetrySchedule>,
    pub clock: Clock,
}

impl Dispatch {
    /// Judges what a crash left, then works until `stop`, and then ends when nothing is under way.
    /// An attempt that was begun is brought to its end; nothing new is begun.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ArchiveError> {
        let crashed = self.archive.recover(self.schedule.clone(), (self.clock)()).await?;
        for id in crashed {
            tracing::warn!(%id, "an attempt was under way when the daemon ended; its outcome is unknown");
        }
        let tracker = TaskTracker::new();
        let (mut lanes, feedback) = (HashMap::new(), Arc::new(Feedback::default()));
        for (name, relay) in self.relays {
            let lane = Arc::new(Lane::new(name.clone(), relay, feedback.clone()));
            for _ in 0..lane.relay().connections() {
                let worker = Worker {
                    archive: self.archive.clone(),
                    renderer: self.renderer.clone(),
                    lane: lane.clone(),
                    schedule: self.schedule.clone(),
                    clock: self.clock.clone(),
                    stop: stop.clone(),
                };
                tracker.spawn(worker.run());
            }
            lanes.insert(name, lane);
        }
        let validities = validity::keep(self.archive.clone(), self.clock.clone(), stop.clone());
        tracker.spawn(validities);
        let setback = Setback::new(self.archive.clone(), self.schedule, self.clock.clone());
        let feeder =
            Feeder::new(self.archive, self.routes, lanes.clone(), feedback, self.clock, setback);
        let fed = tokio::select! {
            fed = feeder.run() => fed,
            () = stop.cancelled() => Ok(()),
        };
        // Should the feeder end by itself, the workers end with it.
        stop.cancel();
        tracker.close();
        tracker.wait().await;
        for lane in lanes.values() {
            lane.relay().close_idle().await;
        }
        fed
    }
}
