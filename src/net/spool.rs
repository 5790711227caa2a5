//! Keeps the octets of a message until it is complete.
//!
//! Up to 256 KiB stay in memory; what is more goes to a file without a name, which the system takes
//! back whatever happens. A message that is read back takes its size from a budget that all sessions
//! with this space share, and gives it back after the reply. A disk that fails fails one message, and so
//! does a room that does not want so much kept; the octets that still come are dropped.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// What one session keeps in memory before it writes to disk.
const MAX_IN_MEMORY_BYTES: usize = 256 << 10;
/// What all sessions together may have read back from disk.
const BUDGET_KIB: u32 = 256 << 10;
/// How long a complete message waits for its part of the budget.
const BUDGET_DEADLINE: Duration = Duration::from_secs(120);

/// Where spool files are made, and the budget for reading them back; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct SpoolSpace {
    folder: PathBuf,
    budget: Arc<Semaphore>,
}

impl SpoolSpace {
    /// Makes the folder if it is not there.
    pub(crate) fn new(folder: PathBuf) -> io::Result<SpoolSpace> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // Fails here, and not at the first large message, when nothing can be written there.
        tempfile::tempfile_in(&folder)?;
        Ok(SpoolSpace { folder, budget: Arc::new(Semaphore::new(BUDGET_KIB as usize)) })
    }
}

/// What is on disk of one message.
#[derive(Debug, Default)]
enum Stored {
    #[default]
    Nothing,
    File {
        file: File,
        size_bytes: u64,
    },
    /// The message can not be taken.
    Broken(SpoolError),
}

/// Why a message could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("there was no room to keep the message")]
    NoRoom,
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// The octets of one message.
#[derive(Debug)]
pub(super) struct Spool {
    space: SpoolSpace,
    stored: Stored,
}

/// A whole message; the budget is taken as long as the permit lives.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) raw: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Spool {
    pub(super) fn new(space: SpoolSpace) -> Spool {
        Spool { space, stored: Stored::Nothing }
    }

    /// Forgets what is on disk.
    pub(super) fn clear(&mut self) {
        self.stored = Stored::Nothing;
    }

    /// How many octets are kept, with those in `body`.
    pub(super) fn kept_bytes(&self, body: &[u8]) -> u64 {
        let on_disk = match &self.stored {
            Stored::File { size_bytes, .. } => *size_bytes,
            Stored::Nothing | Stored::Broken(_) => 0,
        };
        on_disk + body.len() as u64
    }

    /// Forgets the message, and does not take what still comes of it.
    pub(super) fn refuse(&mut self, body: &mut Vec<u8>) {
        *body = Vec::new();
        self.stored = Stored::Broken(SpoolError::NoRoom);
    }

    /// Takes octets out of `body` when it has grown too long for memory.
    pub(super) async fn relieve(&mut self, body: &mut Vec<u8>) {
        if body.len() <= MAX_IN_MEMORY_BYTES {
            return;
        }
        let octets = std::mem::take(body);
        self.stored = match std::mem::take(&mut self.stored) {
            Stored::Broken(error) => Stored::Broken(error),
            Stored::Nothing => write(Destination::New(self.space.folder.clone()), octets).await,
            Stored::File { file, size_bytes } => {
                write(Destination::Open { file, size_bytes }, octets).await
            }
        };
    }

    /// The message: what is on disk, then `tail`. The spool is empty afterwards.
    pub(super) async fn complete(&mut self, tail: Vec<u8>) -> Result<Whole, SpoolError> {
        match std::mem::take(&mut self.stored) {
            Stored::Nothing => Ok(Whole { raw: Bytes::from(tail), _permit: None }),
            Stored::Broken(error) => Err(error),
            Stored::File { file, size_bytes } => {
                let permit = self.space.reserve(size_bytes).await?;
                let raw = blocking(move || read_back(file, size_bytes, &tail)).await?;
                Ok(Whole { raw: Bytes::from(raw), _permit: Some(permit) })
            }
        }
    }
}

impl SpoolSpace {
    async fn reserve(&self, size_bytes: u64) -> io::Result<OwnedSemaphorePermit> {
        // A message larger than the whole budget takes all of it, and so is alone.
        let kib = u32::try_from(size_bytes >> 10).map_or(BUDGET_KIB, |kib| kib.min(BUDGET_KIB));
        let permit = Arc::clone(&self.budget).acquire_many_owned(kib);
        match tokio::time::timeout(BUDGET_DEADLINE, permit).await {
            Ok(permit) => permit.map_err(io::Error::other),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "too many large messages")),
        }
    }
}

enum Destination {
    New(PathBuf),
    Open { file: File, size_bytes: u64 },
}

async fn write(destination: Destination, octets: Vec<u8>) -> Stored {
    let written = blocking(move || {
        let (mut file, size_bytes) = match destination {
            Destination::New(folder) => (unnamed(&folder)?, 0),
            Destination::Open { file, size_bytes } => (file, size_bytes),
        };
        file.write_all(&octets)?;
        Ok((file, size_bytes + octets.len() as u64))
    });
    match written.await {
        Ok((file, size_bytes)) => Stored::File { file, size_bytes },
        Err(error) => Stored::Broken(error.into()),
    }
}

/// A file that no name leads to; nobody else can open it, and a crash leaves nothing behind.
fn unnamed(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder)
}

fn read_back(mut file: File, size_bytes: u64, tail: &[u8]) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size_bytes).map_err(io::Error::other)?;
    let mut raw = Vec::with_capacity(size + tail.len());
    file.rewind()?;
    file.read_to_end(&mut raw)?;
    if raw.len() != size {
        return Err(io::Error::other("the spool file is not as long as what was written"));
    }
    raw.extend_from_slice(tail);
    Ok(raw)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_messages_stay_in_memory_and_large_ones_come_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let space = SpoolSpace::new(folder.path().join("spool")).unwrap();
        let mut spool = Spool::new(space.clone());
        let mut body = vec![1; 1_000];
        spool.relieve(&mut body).await;
        assert_eq!(body.len(), 1_000);
        assert_eq!(spool.complete(body).await.unwrap().raw.len(), 1_000);

        let mut expected = Vec::new();
        let mut body = Vec::new();
        for number in 0..20_u8 {
            let block = vec![number; 60_000];
            expected.extend_from_slice(&block);
            body.extend_from_slice(&block);
            spool.relieve(&mut body).await;
            assert!(body.len() <= MAX_IN_MEMORY_BYTES);
        }
        let whole = spool.complete(body).await.unwrap();
        assert_eq!(whole.raw, expected);
        assert!(space.budget.available_permits() < BUDGET_KIB as usize);
        drop(whole);
        assert_eq!(space.budget.available_permits(), BUDGET_KIB as usize);
        assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_refused_message_is_forgotten_to_its_end_and_the_next_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(SpoolSpace::new(folder.path().join("spool")).unwrap());
        let mut body = vec![1; MAX_IN_MEMORY_BYTES + 1];
        spool.relieve(&mut body).await;
        body.resize(body.len() + 1_000, 2);
        assert_eq!(spool.kept_bytes(&body), MAX_IN_MEMORY_BYTES as u64 + 1_001);
        spool.refuse(&mut body);
        assert_eq!((body.capacity(), spool.kept_bytes(&body)), (0, 0));
        body.resize(2 * MAX_IN_MEMORY_BYTES, 3);
        spool.relieve(&mut body).await;
        assert!(body.is_empty());
        assert!(matches!(spool.complete(body).await, Err(SpoolError::NoRoom)));
        assert_eq!(spool.complete(vec![1]).await.unwrap().raw.len(), 1);
    }

    #[tokio::test]
    async fn a_failing_disk_fails_one_message() {
        let folder = tempfile::tempdir().unwrap();
        let space = SpoolSpace::new(folder.path().join("spool")).unwrap();
        std::fs::remove_dir(folder.path().join("spool")).unwrap();
        let mut spool = Spool::new(space);
        let mut body = vec![1; MAX_IN_MEMORY_BYTES + 1];
        spool.relieve(&mut body).await;
        assert!(body.is_empty());
        assert!(spool.complete(body).await.is_err());
        assert_eq!(spool.complete(vec![1]).await.unwrap().raw.len(), 1);
    }
}
