//! The door for SMS calls: addresses, originators, segments, opt-outs, holds, and repeated calls.

use std::sync::Arc;

use bytes::Bytes;

use super::Intake;
use crate::archive::{Client, Durable};
use crate::model::{Dialect, MessageId, Timestamp};
use crate::policy::App;
use crate::sms::call::{Draft, Refusal};

/// One call as it came in.
#[derive(Clone, Debug)]
pub struct SmsSubmission {
    pub app: Arc<App>,
    pub client: Client,
    pub dialect: Dialect,
    /// The account that it was made with, if any.
    pub account: Option<String>,
    /// The request with its secrets masked.
    pub raw: Bytes,
    /// Of everything that makes the call what it is.
    pub fingerprint: [u8; 16],
    pub drafts: Vec<Draft>,
    pub idempotency_key: Option<String>,
    pub received_at: Timestamp,
    /// The message that these answer.
    pub reply_to: Option<MessageId>,
    /// It confirms that somebody has opted out: the one message that a suppression does not refuse.
    pub confirms_opt_out: bool,
}

/// A call that was taken.
#[derive(Clone, Debug)]
pub struct SmsAccepted {
    /// In the order of the drafts.
    pub ids: Vec<Durable<MessageId>>,
    /// They are from the first time that this call was made.
    pub is_repeat: bool,
}

impl Intake {
    /// Judges and archives a call: all of its messages, or none. `Ok` means that they are on disk.
    pub async fn submit_sms(&self, _submission: SmsSubmission) -> Result<SmsAccepted, Refusal> {
        todo!()
    }
}
