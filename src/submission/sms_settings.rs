//! What the SMS port is told.

use std::net::SocketAddr;

use crate::model::Dialect;

/// `[sms]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmsPortSettings {
    pub listen: SocketAddr,
    /// Host names by which clients reach it, in lower case, each with its dialect; beside the
    /// providers' own names.
    pub hosts: Vec<(String, Dialect)>,
    /// TLS from the first byte.
    pub tls: bool,
}
