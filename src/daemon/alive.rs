//! The daemon's word that it lives, once a minute, so that the archive can later prove that it was there.
//!
//! A crash leaves the last word; what it made durable after that proves it as well (`archive::runs`).

use tokio_util::sync::CancellationToken;

use super::now;
use crate::archive::{ALIVE_INTERVAL, Archive};

/// Gives the word until `stop`.
pub(super) async fn keep(archive: Archive, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(ALIVE_INTERVAL);
    // The begin of the run was the first one.
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = archive.still_running(now()).await {
            return tracing::warn!(%error, "it can not be noted that the daemon runs");
        }
    }
}
