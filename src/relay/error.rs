//! How the relay fails: at start-up, for the operator, and on a connection, for the judge.
//!
//! Nothing here decides what becomes of a recipient: `exchange` turns these into outcomes.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Reply;
use crate::net::TlsError;

/// An upstream that cannot be set up as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("cannot read the root certificates in {path}")]
    ReadRoots { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("there is no certificate in {path}")]
    NoRoots { path: PathBuf },
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("{host:?} is neither a host name nor an address")]
    Host { host: String },
    #[error(
        "{hostname:?} cannot be said in EHLO: it is neither a host name nor an address literal"
    )]
    Hostname { hostname: String },
    #[error("cannot set up connections to the provider")]
    Https(#[source] TlsError),
}

/// Why a conversation cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the upstream closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("the upstream does not speak SMTP: {0}")]
    Malformed(&'static str),
    #[error("an unexpected reply: {0}")]
    Unexpected(Reply),
    #[error("the upstream closes the session: {0}")]
    Closing(Reply),
}

impl Broken {
    /// The reply that broke it, if there was one.
    pub(super) fn into_reply(self) -> Option<Reply> {
        match self {
            Broken::Unexpected(reply) | Broken::Closing(reply) => Some(reply),
            Broken::Closed | Broken::Io(_) | Broken::Timeout(_) | Broken::Malformed(_) => None,
        }
    }
}

/// Why there is no connection that could carry a message.
#[derive(Debug)]
pub(super) struct DialError {
    /// A whole sentence part: what was tried and what came of it.
    pub(super) detail: String,
    pub(super) reply: Option<Reply>,
    pub(super) step: DialStep,
}

/// How far a dial came; the next address is tried only when the server itself was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DialStep {
    /// No TCP connection, or no greeting on it.
    Reach,
    /// STARTTLS or the handshake.
    Encrypt,
    /// EHLO or AUTH.
    Introduce,
}
