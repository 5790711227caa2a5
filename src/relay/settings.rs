//! What `relay` is told: one `[[upstream]]` of kind `smtp`.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Secret, UpstreamName};

/// A smarthost.
#[derive(Clone, Debug)]
pub struct SmtpUpstream {
    pub name: UpstreamName,
    /// Host name or address; the name that its certificate must bear.
    pub host: String,
    pub port: u16,
    pub tls: UpstreamTls,
    /// PEM file with further roots, beside those of the system.
    pub tls_ca: Option<PathBuf>,
    pub credential: Option<UpstreamCredential>,
    /// Connections at one time.
    pub connections: usize,
    /// Messages per second; `None` is no limit.
    pub rate_per_second: Option<u32>,
    /// The name that is said in EHLO.
    pub hostname: String,
    pub timeouts: RelayTimeouts,
}

/// How the connection is encrypted. `StartTls` and `Implicit` check the certificate and never fall
/// back; `Opportunistic` encrypts when it is offered and does not check whose certificate it is
/// (RFC 7435); AUTH is never sent in clear unless `Off` is written in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    Off,
    Opportunistic,
    StartTls,
    Implicit,
}

/// AUTH at the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamCredential {
    pub username: String,
    pub password: Secret,
}

/// RFC 5321 §4.5.3.2; shorter only in tests.
#[derive(Clone, Copy, Debug)]
pub struct RelayTimeouts {
    pub connect: Duration,
    pub greeting: Duration,
    /// EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET: each reply.
    pub command: Duration,
    /// The reply to DATA.
    pub data_start: Duration,
    /// Each block of the message that is written.
    pub data_block: Duration,
    /// The reply to the final dot.
    pub data_end: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

impl Default for RelayTimeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        RelayTimeouts {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            command: minutes(5),
            data_start: minutes(2),
            data_block: minutes(3),
            data_end: minutes(10),
            idle: Duration::from_secs(30),
        }
    }
}
