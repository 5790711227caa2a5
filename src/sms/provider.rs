//! A provider, whatever its protocol: the request that sends one SMS, what the response means, and
//! what its callbacks say.
//!
//! Like a dialect it owns no socket and reads no clock. Every parameter goes through the encoder of
//! the request's form: nothing is ever written into a request as it is.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use ipnet::IpNet;
use url::Url;

use super::account::{KannelAccount, TokenAccount, TwilioAccount, VonageAccount};
use super::generic::HttpProvider;
use crate::model::{
    Destination, FailureReason, MessageId, Originator, ReceiptState, Secret, Sms, SmsBody,
    Timestamp, UpstreamName,
};

/// An `[[upstream]]` that carries SMS.
#[derive(Clone, Debug)]
pub struct SmsUpstream {
    pub name: UpstreamName,
    pub connections: usize,
    /// Messages per second; `None` is no limit.
    pub rate_per_second: Option<u32>,
    pub protocol: ProviderProtocol,
    pub callbacks: ProviderCallbacks,
    /// PEM file with a further root to trust, beside the system's.
    pub tls_ca: Option<std::path::PathBuf>,
}

/// Which protocol it speaks, with its base URL and account.
#[derive(Clone, Debug)]
pub enum ProviderProtocol {
    Twilio { url: Url, account: TwilioAccount },
    Vonage { url: Url, account: VonageAccount },
    Kannel { url: Url, account: KannelAccount },
    GatewayApi { url: Url, account: TokenAccount },
    Http(HttpProvider),
}

impl ProviderProtocol {
    /// Whether its URL names this machine.
    pub fn is_on_this_machine(&self) -> bool {
        let url = match self {
            ProviderProtocol::Twilio { url, .. }
            | ProviderProtocol::Vonage { url, .. }
            | ProviderProtocol::Kannel { url, .. }
            | ProviderProtocol::GatewayApi { url, .. } => url,
            ProviderProtocol::Http(settings) => &settings.url,
        };
        match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

/// How callbacks of this upstream are told from forgeries.
#[derive(Clone, Debug, Default)]
pub struct ProviderCallbacks {
    /// `callback_token`: callbacks that the protocol does not sign must bring it as `?token=`.
    pub token: Option<Secret>,
    /// `callback_networks`: callbacks come only from here; empty is everywhere.
    pub networks: Vec<IpNet>,
}

/// A provider's protocol.
pub trait Provider: Send + Sync {
    /// The request that sends this SMS. The error says why this protocol can not carry it.
    fn request(&self, outbound: &Outbound<'_>) -> Result<Request<Bytes>, String>;

    /// What the response means.
    fn judge(&self, response: &Response<Bytes>) -> Judgement;

    /// Reads a status callback, and refuses it where neither a signature nor `is_proven` proves its
    /// origin.
    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal>;

    /// The same of an inbound callback.
    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal>;

    /// What the provider wants to hear when a callback was taken.
    fn taken(&self) -> Response<Bytes>;
}

/// One SMS on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    pub id: MessageId,
    pub sms: &'a Sms,
    /// What is left of its validity.
    pub valid_for: Option<Duration>,
    /// Where the provider is to report what becomes of it; holds our id and a proof. `None` when no
    /// public URL is known.
    pub status_url: Option<&'a str>,
    pub now: Timestamp,
}

/// What a provider's response means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The provider has it; its ids, one for each part that it tells apart (perhaps none).
    Accepted { ids: Vec<String>, text: String },
    /// It will never take it.
    Permanent { reason: FailureReason, text: String },
    /// The account, not the message, is refused: wrong credentials, no money. The message waits.
    Upstream { text: String },
    /// Not now.
    Temporary { text: String },
    /// Too fast; again after so long.
    Throttled { retry_after: Option<Duration>, text: String },
    /// A response that does not say whether the message was taken. It may have been, and costs
    /// money, so it is as unknown as no response at all.
    Unclear { text: String },
}

/// Longest text of a provider that is kept, in characters.
const MAX_WORDS_CHARS: usize = 200;
/// Longest wait that a provider may ask for.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A provider's words as they are kept: one line without control characters, and bounded.
pub(super) fn words(text: &str) -> String {
    let text = text.trim().chars().take(MAX_WORDS_CHARS);
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3), bounded; a date is read as none.
pub(super) fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = Duration::from_secs(seconds.trim().parse().ok()?);
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A callback of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Callback<'a> {
    /// As it came, its URI reduced to path and query.
    pub request: &'a Request<Bytes>,
    /// Scheme and authority (and path prefix) under which the provider sees us, without a slash at
    /// the end; signatures cover the URL that begins with it. Never taken from `Host`.
    pub public_url: &'a str,
    pub peer: IpAddr,
    /// The URL holds a proof that only we could make (a status URL that we handed out), or the
    /// upstream's `callback_token`.
    pub is_proven: bool,
    pub now: Timestamp,
}

/// Why a callback was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackRefusal {
    #[error("the signature is missing, wrong or too old")]
    Forged,
    #[error("the body can not be read")]
    Malformed,
    #[error("this provider does not send such callbacks")]
    NotSupported,
}

/// What a provider reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id for the message or the part; `None` when it has none and our id is in the URL.
    pub provider_id: Option<String>,
    /// Our id, where it echoes it (`client-ref`, `userref`).
    pub message: Option<MessageId>,
    pub state: ReceiptState,
    pub reason: Option<FailureReason>,
    /// Its own code or word, in clean characters.
    pub code: Option<String>,
    /// When it says that it happened.
    pub at: Option<Timestamp>,
}

/// An SMS that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The same message always has the same id, so that a resent callback adds nothing.
    pub provider_id: String,
    /// Who wrote it.
    pub originator: Originator,
    /// Our number.
    pub destination: Destination,
    pub body: SmsBody,
    pub udh: Vec<u8>,
    /// Part n of m of a long message, with what the parts share; `None` when it is whole.
    pub concatenation: Option<Concatenation>,
    pub sent_at: Option<Timestamp>,
}

/// Which part of a long message this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concatenation {
    pub reference: String,
    /// From 1 on.
    pub part: u16,
    pub total: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_provider_are_one_bounded_line() {
        assert_eq!(words(" a\r\nb\u{7f}c "), "a  b c");
        assert_eq!(words(&"æ".repeat(1_000)).chars().count(), MAX_WORDS_CHARS);
    }

    #[test]
    fn a_provider_may_ask_for_a_bounded_wait() {
        let of = |value: &str| {
            let response = Response::builder().header("retry-after", value).body(Bytes::new());
            retry_after(&response.unwrap()).map(|wait| wait.as_secs())
        };
        for bad in ["", "-1", "soon", "Sun, 22 Nov 2026 04:27:51 GMT"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(of(" 7 "), Some(7));
        assert_eq!(of("18446744073709551615"), Some(3600));
    }
}
