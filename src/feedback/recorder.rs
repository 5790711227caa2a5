//! Hits between their answer and the archive: a bounded queue and the task that empties it.
//!
//! Whoever answers never waits: where the queue is full, or nobody records any more, a hit is lost and
//! counted. The task writes what has gathered in one transaction, and lets time pass before the next, so
//! that single hits cost the archive's writer a few short turns a second. In a flood it goes on at once;
//! then each turn is full and bounded, and submissions have theirs between two. It ends when the public
//! port has ended and everything that waited is written. An archive that is closed takes nothing, and that
//! is told once.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::archive::{Archive, NewHit};
use crate::telemetry;

/// Hits that wait: some seconds of a flood, and a few MiB.
const MAX_QUEUED: usize = 16_384;
/// Hits in one transaction: some milliseconds of the writer's time.
const MAX_BATCH: usize = 1_000;
/// After a transaction that had room for more.
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
            if needs_pause(size) && !self.queue.is_closed() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Where a transaction was full, more waits, and a pause would lose it.
fn needs_pause(size: usize) -> bool {
    size < MAX_BATCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{ArchiveSettings, HitOf, StagingLimits};
    use crate::model::{Hit, HitKind, HitMethod, Sequence, Timestamp};

    fn hit() -> NewHit {
        let hit = Hit {
            kind: HitKind::Open,
            at: Timestamp::from_millis(1_700_000_000_000),
            client: None,
            user_agent: String::new(),
            method: HitMethod::Get,
            purpose: None,
            delay_ms: None,
            told_automated: None,
        };
        NewHit { of: HitOf::Number(Sequence(1)), recipient: 0, hit }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_answers_never_waits_for_the_record() {
        let (queue, recorder) = queue();
        // Nobody records, and still nobody waits; what has no place is lost.
        (0..2 * MAX_QUEUED).for_each(|_| queue.offer(hit()));
        assert_eq!(recorder.queue.len(), MAX_QUEUED);
        drop(recorder);
        queue.offer(hit());
    }

    #[test]
    fn a_flood_is_recorded_without_a_pause() {
        assert!(!needs_pause(MAX_BATCH));
        assert!(needs_pause(MAX_BATCH - 1) && needs_pause(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_recorder_ends_with_the_port_and_writes_what_waited() {
        let dir = tempfile::tempdir().unwrap();
        let settings = ArchiveSettings {
            data_dir: dir.path().to_owned(),
            cache_bytes: 4 << 20,
            volume_bytes: 4 << 20,
            reserve_bytes: 0,
            staging: StagingLimits::default(),
        };
        let archive = Archive::open(&settings).unwrap();
        let (queue, recorder) = queue();
        (0..3 * MAX_BATCH).for_each(|_| queue.offer(hit()));
        drop(queue);
        recorder.run(archive.clone()).await;
        archive.close().await;
    }
}
