//! The shapes of stored records, and their bytes: a version byte, then postcard.
//!
//! They are apart from the shapes of the inside and of the API, so that each can change alone.
//! Fields are only appended, with a new version; enum variants are only appended. What is read back
//! is parsed again like any input: a record that can not be read is an error that names it, never a
//! panic.

mod event;
mod message;
mod state;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use event::StoredEvent;
pub(super) use message::{Place, StoredBody, StoredMessage};
pub(super) use state::{StoredProgress, StoredStates};

use super::ArchiveError;

/// The version of every record that is written today.
const VERSION: u8 = 1;

/// A record that can not be read.
#[derive(Debug, thiserror::Error)]
#[error("a stored {kind} can not be read: {why}")]
pub(super) struct Corrupt {
    kind: &'static str,
    why: String,
}

impl Corrupt {
    pub(super) fn new(kind: &'static str, why: impl ToString) -> Corrupt {
        Corrupt { kind, why: why.to_string() }
    }
}

impl From<Corrupt> for ArchiveError {
    fn from(source: Corrupt) -> ArchiveError {
        ArchiveError::Storage { operation: "read a record", source: Box::new(source) }
    }
}

/// A kind of record.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// What it is called in an error.
    const KIND: &'static str;

    fn encode(&self) -> Vec<u8> {
        // Serialising plain data into memory can not fail; were it to, the empty record is refused
        // when it is read instead of being taken for something else.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        match bytes.split_first() {
            Some((&VERSION, body)) => {
                postcard::from_bytes(body).map_err(|e| Corrupt::new(Self::KIND, e))
            }
            Some((version, _)) => Err(Corrupt::new(
                Self::KIND,
                format!("version {version} is of a newer Waybill; this one reads {VERSION}"),
            )),
            None => Err(Corrupt::new(Self::KIND, "it is empty")),
        }
    }
}
