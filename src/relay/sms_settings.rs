//! What the SMS relay is told beside its `[[upstream]]`, and what one attempt carries.

use std::time::Duration;

use crate::model::{Digest, MessageId, Sms, Timestamp, UpstreamName};
use crate::sms::proof::ProofKey;

/// Where providers report what becomes of a message.
#[derive(Clone, Debug)]
pub struct StatusUrls {
    /// Scheme, authority and path prefix under which providers reach us, without a slash at the end.
    /// Without it no status is asked for.
    pub public_url: Option<String>,
    pub key: ProofKey,
}

impl StatusUrls {
    /// The URL for one message at one upstream.
    pub(super) fn of(&self, upstream: &UpstreamName, id: MessageId) -> Option<String> {
        let public_url = self.public_url.as_deref()?;
        Some(self.key.status_url(public_url, upstream, id))
    }
}

/// How long a provider may take; shorter only in tests. Together they stay below the time that a
/// daemon that stops gives to attempts under way.
#[derive(Clone, Copy, Debug)]
pub struct SmsTimeouts {
    /// Look-up, connection and TLS.
    pub connect: Duration,
    /// From the first octet of the request to the last one of the response.
    pub response: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// How long one attempt waits in all because the provider finds us too fast.
    pub throttled: Duration,
}

impl Default for SmsTimeouts {
    fn default() -> Self {
        SmsTimeouts {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(20),
            idle: Duration::from_secs(30),
            throttled: Duration::from_secs(10),
        }
    }
}

/// One SMS on its way to one provider.
#[derive(Clone, Copy, Debug)]
pub struct SmsJob<'a> {
    pub id: MessageId,
    pub sms: &'a Sms,
    /// Of what the recipient reads; recorded when it is sent.
    pub digest: Digest,
    pub now: Timestamp,
}
