//! Who must not be written to.

use super::{Archive, ArchiveError, Page};
use crate::model::{Channel, Timestamp};

/// One entry of the suppression list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub channel: Channel,
    /// In normal form: E.164, or an e-mail address in lower case.
    pub recipient: String,
    /// Only messages from this originator or address; `None` is all.
    pub originator: Option<String>,
    /// In words: `STOP`, `asked by telephone`.
    pub reason: String,
    /// `user anna`, `sms`, `upstream provider`.
    pub by: String,
    pub at: Timestamp,
}

impl Archive {
    /// Adds an entry, or leaves the one that is there; true when it is new.
    pub async fn suppress(&self, _entry: Suppression) -> Result<bool, ArchiveError> {
        todo!()
    }

    /// Takes an entry away; true when there was one.
    pub async fn unsuppress(
        &self,
        _channel: Channel,
        _recipient: &str,
        _originator: Option<&str>,
    ) -> Result<bool, ArchiveError> {
        todo!()
    }

    /// The entry that forbids a message from this originator to this recipient.
    pub fn suppressed(
        &self,
        _channel: Channel,
        _recipient: &str,
        _originator: Option<&str>,
    ) -> Result<Option<Suppression>, ArchiveError> {
        todo!()
    }

    /// The list, by channel and recipient; the cursor is an opaque key.
    pub fn suppressions(
        &self,
        _channel: Option<Channel>,
        _recipient: Option<&str>,
        _after: Option<String>,
        _limit: usize,
    ) -> Result<Page<Suppression, String>, ArchiveError> {
        todo!()
    }
}
