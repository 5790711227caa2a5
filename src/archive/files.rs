//! Where the archive's files lie: a folder on disk, or in tests a disk that fails.
//!
//! Every file is a redb database. Opening one that is not there creates it, and its name is durable
//! before the call returns: without the sync of the folder a power cut could lose a whole file whose
//! content was synced.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};

/// The file of messages, recipients, queue and events.
pub(super) const RECORDS: &str = "records.redb";
/// The file of the look-up index, which can be built anew from the records.
pub(super) const INDEX: &str = "index.redb";

/// The folder of the search index, which can be built anew as well.
const SEARCH: &str = "search";

/// The file whose lock says that the folder is in use.
const LOCK: &str = "lock";

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
    /// Bytes that a database takes on disk; `None` when it is not there.
    fn size(&self, name: &str) -> Option<u64>;
    /// Numbers of the volumes that are there, ascending.
    fn volumes(&self) -> io::Result<Vec<u32>>;
    /// Removes a database that is not open.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Bytes on disk by kind of file; what can not be read counts as nothing.
    fn usage(&self) -> Vec<(&'static str, u64)>;
    /// How full the disk is.
    fn space(&self) -> io::Result<Space>;
    /// Where the search index lies; `None` where there is no folder, and searches scan.
    fn search_folder(&self) -> Option<PathBuf> {
        None
    }
}

/// The file name of a volume.
pub(super) fn volume_name(number: u32) -> String {
    format!("volumes/{number:06}.redb")
}

/// A folder on disk, locked against other processes for as long as this lives.
pub(super) struct Disk {
    dir: PathBuf,
    _lock: File,
}

impl Disk {
    /// Creates the folder, readable by its owner alone.
    pub(super) fn new(dir: &Path) -> io::Result<Disk> {
        for path in [dir.to_owned(), dir.join("volumes")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        }
        let lock = File::options().create(true).append(true).mode(0o600).open(dir.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                let why = format!("another process uses the data folder {}", dir.display());
                io::Error::new(io::ErrorKind::WouldBlock, why)
            }
            TryLockError::Error(error) => error,
        })?;
        // Whether the folder itself is new is not known; its name must outlive a power cut. One that
        // lies where this user may not read was made by somebody else.
        if let Some(parent) = dir.canonicalize()?.parent() {
            match sync_dir(parent) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        sync_dir(dir)?;
        sync_dir(&dir.join("volumes"))?;
        Ok(Disk { dir: dir.to_owned(), _lock: lock })
    }

    /// Creates a database under another name and gives it its own when it is whole: a file whose
    /// creation was cut off can never be opened, and would keep the daemon from starting. The lock of
    /// the folder sees to it that nobody else does the same.
    fn create(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
        let unfinished = path.with_extension("new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        // Mail, for its owner alone, also in a folder that was there before and is open to others.
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        let backend = FileBackend::new(file)?;
        let database =
            redb::Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?;
        fs::rename(&unfinished, path)?;
        if let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        Ok(database)
    }
}

impl Files for Disk {
    fn open(&self, name: &str, cache_bytes: usize) -> Result<Database, DatabaseError> {
        let path = self.dir.join(name);
        match path.try_exists()? {
            true => redb::Builder::new().set_cache_size(cache_bytes).open(&path),
            false => self.create(&path, cache_bytes),
        }
    }

    fn size(&self, name: &str) -> Option<u64> {
        // A redb file grows ahead of its content; what counts is what the disk gave for it.
        fs::metadata(self.dir.join(name)).ok().map(|metadata| metadata.blocks() * 512)
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
        let size = |name: &str| self.size(name).unwrap_or(0);
        let volumes = self.volumes().unwrap_or_default();
        let volumes = volumes.into_iter().map(|number| size(&volume_name(number)));
        vec![
            ("records", size(RECORDS)),
            ("index", size(INDEX)),
            ("search", size_of_folder(&self.dir.join(SEARCH))),
            ("volumes", volumes.sum()),
        ]
    }

    fn search_folder(&self) -> Option<PathBuf> {
        Some(self.dir.join(SEARCH))
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

fn size_of_folder(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.blocks() * 512);
    entries.filter_map(Result::ok).map(size).sum()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_creation_that_was_cut_off_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path()).unwrap();
        // As redb leaves it before its magic number: the length is there, the content is not.
        fs::write(dir.path().join("volumes/000001.new"), vec![0; 1 << 20]).unwrap();
        assert!(disk.volumes().unwrap().is_empty());
        drop(disk.open(&volume_name(1), 1 << 20).unwrap());
        assert_eq!(disk.volumes().unwrap(), [1]);
        drop(disk.open(&volume_name(1), 1 << 20).unwrap());
        assert!(!dir.path().join("volumes/000001.new").exists());
    }

    #[test]
    fn files_are_for_their_owner_alone_in_an_open_folder_too() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let disk = Disk::new(dir.path()).unwrap();
        for name in [RECORDS, INDEX, &volume_name(1)] {
            drop(disk.open(name, 1 << 20).unwrap());
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_folder_is_locked_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = Disk::new(dir.path()).unwrap();
        let error = Disk::new(dir.path()).err().unwrap().to_string();
        assert!(error.contains("another process uses the data folder"), "{error}");
        drop(first);
        Disk::new(dir.path()).unwrap();
    }
}
