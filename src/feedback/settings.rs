//! What the return path is told: `[feedback]` and `[[feedback.listener]]`.

use std::net::SocketAddr;

use crate::model::Mailbox;

/// `[feedback]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPathSettings {
    /// Each recipient has an address of its own, made from this one (VERP).
    pub return_path: Mailbox,
    pub listeners: Vec<ReturnPathListener>,
}

/// One `[[feedback.listener]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnPathListener {
    pub listen: SocketAddr,
    pub tls: ReturnPathTls,
}

/// When a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnPathTls {
    Off,
    /// After STARTTLS (RFC 3207).
    StartTls,
    /// From the first byte.
    Implicit,
}
