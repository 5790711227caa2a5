//! The single door: every message passes here.

use std::sync::Arc;

use bytes::Bytes;

use crate::archive::{Client, Durable};
use crate::model::{Envelope, MessageId, Reply, Timestamp};
use crate::policy::App;

/// One SMTP transaction as it came in.
#[derive(Clone, Debug)]
pub struct Submission {
    pub app: Arc<App>,
    pub envelope: Envelope,
    pub client: Client,
    /// The decoded DATA or the joined BDAT chunks; every line break is CRLF.
    pub raw: Bytes,
    /// Bare CR or LF were made CRLF (`smtp.bare_newline = "fix"`).
    pub newlines_fixed: bool,
    pub received_at: Timestamp,
}

/// The door.
#[derive(Clone)]
pub struct Intake {}

impl Intake {
    /// Judges, reads and archives a submission. `Ok` means that it is on disk; the error is the
    /// reply to give (4yz for now, 5yz for never).
    pub async fn submit(&self, _submission: Submission) -> Result<Durable<MessageId>, Reply> {
        todo!()
    }
}
