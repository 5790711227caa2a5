//! Ends what is still pending when its validity is over, held or not.
//!
//! Woken by the next end of a validity, which the archive knows, and by the journal, because what
//! comes in may end sooner. It rests between two looks, so that a busy archive is not read a hundred
//! times a second: a validity ends at most so much late.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Clock;
use crate::archive::{Archive, ArchiveError};

/// Between two looks.
const REST: Duration = Duration::from_secs(1);
/// A clock that is set wakes nobody.
const LONGEST: Duration = Duration::from_secs(60);

/// Works until `stop`. An archive that can not be read has closed: whoever else works on it ends the
/// daemon.
pub(super) async fn keep(archive: Archive, clock: Clock, stop: CancellationToken) {
    match stop.run_until_cancelled(watch(&archive, &clock)).await {
        None | Some(Ok(())) => {}
        Some(Err(error)) => tracing::error!(%error, "validities can not be kept"),
    }
}

async fn watch(archive: &Archive, clock: &Clock) -> Result<(), ArchiveError> {
    let mut journal = archive.journal();
    loop {
        journal.borrow_and_update();
        let now = clock();
        let left = archive.next_validity_end()?.map(|end| end.since(now));
        if left.is_some_and(|left| left.is_zero()) {
            for id in archive.expire(now).await? {
                tracing::warn!(%id, "expired: its validity ended before it was sent");
            }
            // What is under way is not ended, and stays the next one until it is judged.
            sleep(REST).await;
            continue;
        }
        tokio::select! {
            () = sleep(left.map_or(LONGEST, |left| left.min(LONGEST))) => continue,
            changed = journal.changed() => if changed.is_err() { return Ok(()) },
        }
        sleep(REST).await;
    }
}
