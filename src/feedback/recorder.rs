//! Hits between their answer and the archive: a bounded queue and the task that empties it.
//!
//! Whoever answers never waits: where the queue is full, or nobody records any more, a hit is lost and
//! counted. The task writes what has gathered in one transaction, and lets time pass before the next, so
//! that single hits cost the archive's writer a few short turns a second. In a flood it goes on at once,
//! with turns of some milliseconds; but while messages are being accepted it takes a tenth of the
//! writer's time and no more, and what came meanwhile is written later. It ends when the public
//! port has ended and everything that waited is written. An archive that is closed takes nothing, and that
//! is told once.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::archive::{Archive, NewHit};
use crate::telemetry;

/// Hits that wait: a quarter of a minute of a flood, and some 20 MiB.
const MAX_QUEUED: usize = 65_536;
/// Hits in one transaction: some milliseconds of the writer's time.
const MAX_BATCH: usize = 128;
/// After a transaction that had room for more.
const PAUSE: Duration = Duration::from_millis(100);
/// Beside submissions, so many times of what a transaction took, up to a limit.
const WAY: u32 = 9;
const MAX_WAY: Duration = Duration::from_secs(1);

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
        let (mut is_told, mut calls) = (false, archive.calls());
        loop {
            let mut hits = Vec::with_capacity(16);
            if self.queue.recv_many(&mut hits, MAX_BATCH).await == 0 {
                return;
            }
            let (size, begun) = (hits.len(), Instant::now());
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
                let calls_now = archive.calls();
                let is_accepting = calls_now != std::mem::replace(&mut calls, calls_now);
                tokio::time::sleep(pause(size >= MAX_BATCH, is_accepting, begun.elapsed())).await;
            }
        }
    }
}

/// How long nothing is written after a transaction that took so long. Where it was full, more waits.
fn pause(is_full: bool, is_accepting: bool, took: Duration) -> Duration {
    match (is_full, is_accepting) {
        (false, _) => PAUSE,
        (true, true) => (took * WAY).min(MAX_WAY),
        (true, false) => Duration::ZERO,
    }
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
    fn a_flood_is_recorded_without_a_pause_and_beside_submissions_in_a_tenth_of_the_time() {
        let took = Duration::from_millis(12);
        assert_eq!(pause(true, false, took), Duration::ZERO);
        assert_eq!(pause(true, true, took), Duration::from_millis(108));
        assert_eq!(pause(true, true, Duration::from_secs(7)), MAX_WAY);
        assert_eq!(pause(false, true, took), PAUSE);
        assert_eq!(pause(false, false, took), PAUSE);
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
        (0..20 * MAX_BATCH).for_each(|_| queue.offer(hit()));
        drop(queue);
        recorder.run(archive.clone()).await;
        archive.close().await;
    }
}
