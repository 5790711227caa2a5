//! The index's folder for its writer: files are read, not mapped.
//!
//! A merge goes through all of its segments once. Where they are mapped, all of that counts as memory of the process
//! until the merge has ended, hundreds of megabytes; read, it is a buffer at a time. Searches read the same pages again
//! and again, so they map the files (`folder`), and `mapped_bytes` says how much of that is in memory.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, OwnedBytes, WatchCallback,
    WatchHandle, WritePtr,
};

/// Bytes of a page of memory, as `statm` counts them.
const PAGE_BYTES: u64 = 4_096;

/// All but reading is left to the directory that maps.
#[derive(Clone, Debug)]
pub(super) struct Unmapped {
    folder: PathBuf,
    other: MmapDirectory,
}

impl Unmapped {
    pub(super) fn open(folder: &Path) -> tantivy::Result<Unmapped> {
        Ok(Unmapped { folder: folder.to_owned(), other: MmapDirectory::open(folder)? })
    }
}

#[derive(Debug)]
struct Handle {
    file: File,
    bytes: usize,
}

impl HasLen for Handle {
    fn len(&self) -> usize {
        self.bytes
    }
}

impl FileHandle for Handle {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let mut bytes = vec![0; range.len()];
        self.file.read_exact_at(&mut bytes, range.start as u64)?;
        Ok(OwnedBytes::new(bytes))
    }
}

impl Directory for Unmapped {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.to_owned()),
            _ => OpenReadError::wrap_io_error(error, path.to_owned()),
        };
        let file = File::open(self.folder.join(path)).map_err(failed)?;
        let bytes = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
        Ok(Arc::new(Handle { file, bytes }))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.other.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.other.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        self.other.open_write(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.other.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.other.atomic_write(path, data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.other.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.other.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.other.watch(callback)
    }
}

/// How much of all mapped files is in memory (proc(5), `statm`); nothing where that can not be told.
pub(super) fn mapped_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let shared = statm.split_whitespace().nth(2).and_then(|pages| pages.parse::<u64>().ok());
    shared.unwrap_or_default().saturating_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use tantivy::directory::TerminatingWrite as _;

    #[test]
    fn what_was_written_is_read_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Unmapped::open(dir.path()).unwrap();
        let path = Path::new("a");
        assert!(matches!(directory.open_read(path), Err(OpenReadError::FileDoesNotExist(_))));
        let mut file = directory.open_write(path).unwrap();
        file.write_all(b"0123456789").unwrap();
        file.terminate().unwrap();
        let slice = directory.open_read(path).unwrap();
        assert_eq!(slice.len(), 10);
        assert_eq!(slice.slice(3..6).read_bytes().unwrap().as_slice(), b"345");
        // Files are never changed; one that was cut short is an error, and nothing is made up.
        File::create(dir.path().join("a")).unwrap();
        assert!(slice.read_bytes().is_err());
        assert!(mapped_bytes() > 0);
    }
}
