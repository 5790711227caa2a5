//! What the SMTP port is told: `[smtp]` and `[[smtp.listener]]`.

use std::net::SocketAddr;
use std::time::Duration;

pub use crate::smtp::BareNewline;

/// `[smtp]`.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    pub listeners: Vec<SmtpListener>,
    /// The name in the greeting, in EHLO replies and in `Received`.
    pub hostname: String,
    /// Text after the host name in the greeting.
    pub greeting: String,
    pub max_message_size_bytes: u64,
    pub max_recipients: usize,
    pub max_connections: usize,
    pub max_connections_per_client: usize,
    /// Errors in one session before it is closed with 421.
    pub max_errors: usize,
    /// How long a session may be silent between commands.
    pub timeout: Duration,
    pub bare_newline: BareNewline,
}

/// One `[[smtp.listener]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmtpListener {
    pub listen: SocketAddr,
    pub tls: ListenerTls,
    pub auth: AuthMode,
}

/// When a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    Off,
    /// After STARTTLS (RFC 3207).
    StartTls,
    /// From the first byte (RFC 8314 §3.3).
    Implicit,
}

/// Whether AUTH is offered, and whether MAIL needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    Off,
    Optional,
    Required,
}
