//! What came of one attempt for one recipient, as the relay saw it.
//!
//! `lifecycle` alone judges what it means. Temporary is the default; permanent must be argued.

use super::digest::Digest;
use super::reply::Reply;
use super::sms::FailureReason;

/// How far an outcome reaches, so that one refusal is not taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This recipient alone: its RCPT was refused.
    Recipient,
    /// This message: MAIL or the end of DATA was refused.
    Message,
    /// This connection: it broke, or the upstream said 421.
    Session,
    /// The upstream itself: no connection, no TLS, no AUTH.
    Upstream,
}

/// The result of one attempt for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream took responsibility for it (RFC 5321 §6.1). `parts`: the ids that an SMS provider
    /// gave, by which its receipts name the message or each of its segments. `owes_report`: the sender
    /// asked to be told of success, and the upstream can not be asked for that (RFC 3461 §5.2.2), so it
    /// is ours to do.
    Sent { reply: Reply, digest: Digest, parts: Vec<String>, owes_report: bool },
    /// Not now: a 4yz reply, or no connection. `reply` is `None` when nobody answered.
    Temporary { scope: Scope, reply: Option<Reply>, detail: String },
    /// Never: a 5yz reply, or a message that this upstream can not carry.
    Permanent { scope: Scope, reply: Option<Reply>, detail: String },
    /// An SMS provider will never take it, and says why.
    Rejected { reply: Reply, reason: FailureReason },
    /// The bytes may have arrived: the connection died after the last byte of DATA and before
    /// its reply (RFC 1047).
    Unknown { detail: String },
}

impl Outcome {
    /// One word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Sent { .. } => "sent",
            Outcome::Temporary { .. } => "temporary",
            Outcome::Permanent { .. } | Outcome::Rejected { .. } => "permanent",
            Outcome::Unknown { .. } => "unknown",
        }
    }
}
