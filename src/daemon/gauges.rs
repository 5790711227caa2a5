//! The gauges: what is counted from the archive now and then, and not at each event.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::now;
use crate::archive::{Archive, ArchiveError};
use crate::telemetry::{Metrics, metrics::UPKEEP_INTERVAL, record};

/// Keeps the gauges right until `stop`.
pub(super) async fn keep(archive: Archive, metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let archive = archive.clone();
        let read = tokio::task::spawn_blocking(move || measure(&archive)).await;
        if let Ok(Err(error)) = read {
            tracing::warn!(%error, "the gauges can not be read");
        }
        metrics.upkeep();
    }
}

fn measure(archive: &Archive) -> Result<(), ArchiveError> {
    let queue = archive.queue()?;
    for (status, count) in &queue.recipients {
        record::recipients(status.as_str(), *count);
    }
    let waiting: Option<Duration> = queue.oldest_pending.map(|(_, since)| now().since(since));
    record::queue_oldest(waiting);
    let extent = archive.extent()?;
    record::archive_messages(extent.messages);
    record::archive_bytes("submitted", extent.raw_bytes);
    for (kind, bytes) in archive.disk_usage() {
        record::archive_bytes(kind, bytes);
    }
    Ok(())
}
