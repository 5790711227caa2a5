//! What the archive is told.

use std::path::PathBuf;

/// `data_dir` and `[archive]`.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    pub data_dir: PathBuf,
    /// redb's cache, for each open file.
    pub cache_bytes: usize,
    /// A volume is sealed when it holds so much.
    pub volume_bytes: u64,
    /// Below this much free space nothing new is accepted, so that what is there can go out.
    pub reserve_bytes: u64,
}

/// Volumes of about 1 GiB: a sealed one opens in milliseconds.
pub const DEFAULT_VOLUME_BYTES: u64 = 1 << 30;
/// Free space that is kept for relaying and deleting.
pub const DEFAULT_RESERVE_BYTES: u64 = 256 << 20;
/// More cache buys nothing.
pub const DEFAULT_CACHE_BYTES: usize = 64 << 20;
