//! The index's folder, with files that are read where tantivy's own would map them.
//!
//! What is mapped counts as memory of the process for as long as it is, hundreds of megabytes of a large index; read, it
//! is a buffer at a time, and what is read often is in the system's memory anyway. So the writer maps nothing: a merge
//! goes through all of its segments once. Searches read where words stand, most of an index, a word at a time; they map
//! the rest, dictionaries and columns, of which each takes a few pages here and there (`maps`).

use std::ffi::OsStr;
use std::fs::File;
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

/// Files of the documents that each word is in, and of the places there.
const OF_WORDS: [&str; 2] = ["idx", "pos"];

/// Which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// All of them.
    Everything,
    /// Those that say where words stand.
    Words,
}

/// All but reading is left to the directory that maps.
#[derive(Clone, Debug)]
pub(super) struct Unmapped {
    folder: PathBuf,
    other: MmapDirectory,
    reads: Reads,
}

impl Unmapped {
    pub(super) fn open(folder: &Path, reads: Reads) -> tantivy::Result<Unmapped> {
        Ok(Unmapped { folder: folder.to_owned(), other: MmapDirectory::open(folder)?, reads })
    }

    fn is_read(&self, path: &Path) -> bool {
        let extension = path.extension().and_then(OsStr::to_str);
        match self.reads {
            Reads::Everything => true,
            Reads::Words => extension.is_some_and(|extension| OF_WORDS.contains(&extension)),
        }
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
        if !self.is_read(path) {
            return self.other.get_file_handle(path);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use tantivy::directory::TerminatingWrite as _;

    #[test]
    fn what_was_written_is_read_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Unmapped::open(dir.path(), Reads::Everything).unwrap();
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
    }

    #[test]
    fn searches_read_where_words_stand_and_map_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Unmapped::open(dir.path(), Reads::Words).unwrap();
        for (file, is_read) in [("a.idx", true), ("a.pos", true), ("a.term", false), ("a", false)] {
            assert_eq!(directory.is_read(Path::new(file)), is_read, "{file}");
            std::fs::write(dir.path().join(file), "0123456789").unwrap();
            let slice = directory.open_read(Path::new(file)).unwrap();
            assert_eq!(slice.slice(3..6).read_bytes().unwrap().as_slice(), b"345");
        }
    }
}
