//! One HTTP request out, to where it may go and nowhere else.
//!
//! URLs that applications name could lead into the company's own network, so a host is resolved
//! once, every address is checked, and the connection goes to a checked address: no second look-up,
//! no redirects, no proxies, no credentials from the URL. Bounded in time and size.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use url::Url;

use super::TlsError;

/// Where a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere: the configuration names the URL, or a pattern that it matches.
    Configured,
    /// Only over TLS and only to public addresses.
    Public,
}

/// Bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Look-up, connection and TLS.
    pub connect_timeout: Duration,
    /// All of it.
    pub timeout: Duration,
    pub max_response_bytes: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        FetchLimits {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            max_response_bytes: 64 << 10,
        }
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It must not go there; says why, without addresses.
    #[error("{0}")]
    Forbidden(String),
    /// Nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// Some of the request may have arrived.
    #[error("{0}")]
    NoResponse(String),
}

/// Makes requests; clones share the roots that are trusted.
#[derive(Clone)]
pub struct HttpClient {}

impl HttpClient {
    /// `extra_root`: a PEM file with a further root beside the system's.
    pub fn new(_extra_root: Option<&Path>) -> Result<HttpClient, TlsError> {
        todo!()
    }

    /// Makes one request on a connection of its own. The URI is absolute.
    pub async fn fetch(
        &self,
        _request: Request<Bytes>,
        _reach: Reach,
        _limits: FetchLimits,
    ) -> Result<Response<Bytes>, FetchError> {
        todo!()
    }
}

/// Whether a URL could be called at all with this reach: scheme, no user name, a host that is not
/// this machine by name, no address that is not public. Says why not. Looks nothing up.
pub fn check(_url: &Url, _reach: Reach) -> Result<(), String> {
    todo!()
}
