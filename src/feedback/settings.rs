//! What the return path is told: `[feedback]`, `[[feedback.listener]]`, and how much it takes.

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

/// How much of the mail that anybody may send is taken. Not in the configuration; tests use smaller ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPathLimits {
    /// So much stays free on the disk beside the reserve of the archive. It is more than `kept_bytes`, so
    /// that submission has its room even when all of those come at the same moment.
    pub spare_bytes: u64,
    /// What all sessions together keep of messages that are not archived yet; one client a quarter of it,
    /// which is four messages of the largest size.
    pub kept_bytes: u64,
    /// What is taken in an hour of messages that no return path of ours proves to be about one of ours; of
    /// one client a quarter of it. That is thousands of answers and receipts, which are some kilobytes each,
    /// and 6 GiB a day in a flood that never ends.
    pub strangers_bytes_per_hour: u64,
    /// What one return path of ours proves in an hour: a thousand bounces of 100 KiB, one for each
    /// recipient of a message.
    pub path_bytes_per_hour: u64,
}

impl Default for ReturnPathLimits {
    fn default() -> Self {
        ReturnPathLimits {
            spare_bytes: 512 << 20,
            kept_bytes: 256 << 20,
            strangers_bytes_per_hour: 256 << 20,
            path_bytes_per_hour: 128 << 20,
        }
    }
}
