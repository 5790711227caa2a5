//! Where the archive's files lie: a folder on disk, or in tests a disk that fails.
//!
//! Every file is a redb database. Opening one that is not there creates it, and its name is durable
//! before the call returns: without the sync of the folder a power cut could lose a whole file whose
//! content was synced.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError};

/// The file of messages, recipients, queue and events.
pub(super) const RECORDS: &str = "records.redb";
/// The file of the look-up index, which can be built anew from the records.
pub(super) const INDEX: &str = "index.redb";

/// Free and whole size of the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// A place for files.
pub(super) trait Files: Send + Sync + 'static {
    /// Opens or creates a database.
    fn open(&self, name: &str, cache_bytes: usize) -> Result<Database, DatabaseError>;
    /// Numbers of the volumes that are there, ascending.
    fn volumes(&self) -> io::Result<Vec<u32>>;
    /// Removes a database that is not open.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Bytes on disk by kind of file; what can not be read counts as nothing.
    fn usage(&self) -> Vec<(&'static str, u64)>;
    /// How full the disk is.
    fn space(&self) -> io::Result<Space>;
}

/// The file name of a volume.
pub(super) fn volume_name(number: u32) -> String {
    format!("volumes/{number:06}.redb")
}

/// A folder on disk.
pub(super) struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// Creates the folder, readable by its owner alone.
    pub(super) fn new(dir: &Path) -> io::Result<Disk> {
        for path in [dir.to_owned(), dir.join("volumes")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        }
        sync_dir(dir)?;
        Ok(Disk { dir: dir.to_owned() })
    }
}

impl Files for Disk {
    fn open(&self, name: &str, cache_bytes: usize) -> Result<Database, DatabaseError> {
        let path = self.dir.join(name);
        let is_new = !path.exists();
        let database = redb::Builder::new().set_cache_size(cache_bytes).create(&path)?;
        if is_new && let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        Ok(database)
    }

    fn volumes(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.dir.join("volumes"))? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".redb"));
            numbers.extend(stem.and_then(|stem| stem.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn usage(&self) -> Vec<(&'static str, u64)> {
        // A redb file grows ahead of its content; what counts is what the disk gave for it.
        let allocated = |path: PathBuf| fs::metadata(path).map_or(0, |m| m.blocks() * 512);
        let volumes = self.volumes().unwrap_or_default();
        let volumes = volumes.into_iter().map(|n| allocated(self.dir.join(volume_name(n))));
        vec![
            ("records", allocated(self.dir.join(RECORDS))),
            ("index", allocated(self.dir.join(INDEX))),
            ("volumes", volumes.sum()),
        ]
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
