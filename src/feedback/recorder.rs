//! Hits between their answer and the archive: a bounded queue and the task that empties it.
//!
//! Whoever answers never waits: where the queue is full, or nobody records any more, a hit is lost and
//! counted. The task writes what has gathered in one transaction, and lets time pass between two, so that
//! a flood of hits costs the archive's writer a few short turns a second, between which submissions have
//! theirs. It ends when the public port has ended and everything that waited is written. An archive that
//! is closed takes nothing, and that is told once.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::archive::{Archive, NewHit};
use crate::telemetry;

/// Hits that wait: some seconds of a flood, and a few MiB.
const MAX_QUEUED: usize = 16_384;
/// Hits in one transaction: some milliseconds of the writer's time.
const MAX_BATCH: usize = 500;
/// Between two transactions.
const PAUSE: Duration = Duration::from_millis(100);

/// The end of the queue at which hits come in.
#[derive(Clone, Debug)]
pub(super) struct HitQueue(mpsc::Sender<NewHit>);

impl HitQueue {
    pub(super) fn offer(&self, hit: NewHit) {
        if self.0.try_send(hit).is_err() {
            telemetry::record::feedback("hit_dropped");
        }
    }
}

/// The other end; to be run beside the port.
#[derive(Debug)]
pub struct HitRecorder {
    queue: mpsc::Receiver<NewHit>,
}

pub(super) fn queue() -> (HitQueue, HitRecorder) {
    let (sender, queue) = mpsc::channel(MAX_QUEUED);
    (HitQueue(sender), HitRecorder { queue })
}

impl HitRecorder {
    /// Records until the port is gone and the queue is empty.
    pub async fn run(mut self, archive: Archive) {
        let mut is_told = false;
        loop {
            let mut hits = Vec::with_capacity(16);
            if self.queue.recv_many(&mut hits, MAX_BATCH).await == 0 {
                return;
            }
            let size = hits.len();
            match archive.record_hits(hits).await {
                Ok(counts) => telemetry::record::hits(
                    (counts.opens, counts.automated_opens),
                    (counts.clicks, counts.automated_clicks),
                ),
                Err(error) => {
                    (0..size).for_each(|_| telemetry::record::feedback("hit_dropped"));
                    if !is_told {
                        tracing::error!(%error, "opens and clicks are not recorded");
                        is_told = true;
                    }
                }
            }
            // Whoever ends waits for the last hits and for nothing else.
            if !self.queue.is_closed() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
