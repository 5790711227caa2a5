//! The shapes of stored records, and their bytes: a version byte, then postcard.
//!
//! They are apart from the shapes of the inside and of the API, so that each can change alone.
//! Fields are only appended, with a new version; enum variants are only appended. What is read back
//! is parsed again like any input: a record that can not be read is an error that names it, never a
//! panic.

mod event;
mod hit;
mod message;
mod sms;
mod state;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use event::StoredEvent;
pub(super) use hit::{StoredHit, StoredHits, StoredTrace};
pub(super) use message::{Place, StoredBody, StoredMessage};
pub(super) use state::{StoredProgress, StoredReceipts, StoredStates};

use super::ArchiveError;

/// The version of a record to which no field was appended yet.
const FIRST_VERSION: u8 = 1;

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
    /// What is written today.
    const VERSION: u8 = FIRST_VERSION;
    /// Bytes of the fields that each version since the first appended, when all of them are absent, empty
    /// or false: postcard writes each as one zero, so an old record is read with zeros behind it.
    const APPENDED: &'static [usize] = &[];

    fn encode(&self) -> Vec<u8> {
        // Serialising plain data into memory can not fail; were it to, the empty record is refused
        // when it is read instead of being taken for something else.
        postcard::to_extend(self, vec![Self::VERSION]).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        match bytes.split_first() {
            Some((version, body)) if *version == Self::VERSION => {
                postcard::from_bytes(body).map_err(|e| Corrupt::new(Self::KIND, e))
            }
            Some((&version, body)) if (FIRST_VERSION..Self::VERSION).contains(&version) => {
                let missing = Self::APPENDED.iter().skip(usize::from(version - FIRST_VERSION));
                let mut body = body.to_vec();
                body.resize(body.len() + missing.sum::<usize>(), 0);
                postcard::from_bytes(&body).map_err(|e| Corrupt::new(Self::KIND, e))
            }
            Some((version, _)) => Err(Corrupt::new(
                Self::KIND,
                format!(
                    "version {version} is of a newer Waybill; this one reads {}",
                    Self::VERSION
                ),
            )),
            None => Err(Corrupt::new(Self::KIND, "it is empty")),
        }
    }
}
