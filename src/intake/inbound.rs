//! The door for SMS that come in.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::Intake;
use crate::archive::{Accepted, ArchiveError};
use crate::model::{Timestamp, UpstreamName};
use crate::policy::Apps;
use crate::sms::provider::Inbound;

/// An SMS from a proven provider.
#[derive(Clone, Debug)]
pub struct SmsArrival {
    pub upstream: UpstreamName,
    pub inbound: Inbound,
    /// The callback with its secrets masked.
    pub raw: Bytes,
    pub client: IpAddr,
    pub received_at: Timestamp,
}

impl Intake {
    /// Archives an inbound SMS in the thread of the last message between the two numbers. The same
    /// provider id is archived once.
    pub async fn receive_sms(
        &self,
        _arrival: SmsArrival,
        _apps: &Arc<Apps>,
    ) -> Result<Accepted, ArchiveError> {
        todo!()
    }
}
