//! What the archive is told.

use std::path::PathBuf;
use std::time::Duration;

/// `data_dir` and `[archive]`.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    pub data_dir: PathBuf,
    /// redb's cache of the records; the look-up index gets half as much beside it.
    pub cache_bytes: usize,
    /// A volume is sealed when it holds so much.
    pub volume_bytes: u64,
    /// Below this much free space nothing new is accepted, so that what is there can go out.
    pub reserve_bytes: u64,
    pub staging: StagingLimits,
}

/// How the bytes of small batches wait in the records file for their volume. Not in the
/// configuration: the defaults were measured, and tests use smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagingLimits {
    /// A batch with more bytes goes straight to the volume.
    pub max_batch_bytes: usize,
    /// With more bytes staged, some move even though messages are coming in.
    pub max_staged_bytes: u64,
    /// When no message came for so long, what is staged moves.
    pub settle_after: Duration,
}

impl Default for StagingLimits {
    fn default() -> Self {
        StagingLimits {
            max_batch_bytes: 128 << 10,
            max_staged_bytes: 8 << 20,
            settle_after: Duration::from_millis(250),
        }
    }
}

/// Volumes of about 1 GiB: a sealed one opens in milliseconds.
pub const DEFAULT_VOLUME_BYTES: u64 = 1 << 30;
/// Free space that is kept for relaying and deleting.
pub const DEFAULT_RESERVE_BYTES: u64 = 256 << 20;
/// More cache buys nothing.
pub const DEFAULT_CACHE_BYTES: usize = 32 << 20;
