//! What a report says, as values.

use crate::model::{EnhancedCode, Mailbox};

/// A message that a machine sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub finding: Finding,
    pub clues: Clues,
    /// What it says to people, without the quoted original.
    pub text: String,
}

/// Which kind of report it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A delivery report or a bounce in any shape; at least one recipient.
    Delivery(Vec<PerRecipient>),
    /// A receipt of the reader's program.
    Disposition(Disposition),
    /// A complaint from a mailbox provider.
    Feedback(Complaint),
    AutoReply(AutoReply),
    /// A mail system says something, but not about a recipient that can be made out.
    Unknown,
}

/// What became of a recipient, as far as it matters for the next message to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The address does not work and will not.
    Hard,
    /// This message was not delivered, but another one may be: mailbox full, blocked, rejected for
    /// its content, given up after a temporary trouble.
    Soft,
    /// Not yet delivered, still being tried.
    Delayed,
    Delivered,
    Complaint,
    /// The reader's program showed it.
    Displayed,
    AutoReply,
    Unknown,
}

/// The `Action` of RFC 3464 §2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    /// Handed on to a system that gives no delivery reports.
    Relayed,
    Expanded,
}

/// Why a recipient was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    UserUnknown,
    DomainUnknown,
    /// Disabled, moved, closed.
    MailboxInactive,
    MailboxFull,
    TooLarge,
    /// Our host, network, sender or domain is not wanted.
    Blocked,
    /// The message looks like spam, a virus, or carries what is not taken.
    Content,
    Loop,
    /// Tried for too long, or nobody answered.
    Expired,
    /// Greylisting, too many messages, trouble over there.
    Temporary,
    /// Not said, or not understood.
    Other,
}

/// What a delivery report says of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerRecipient {
    /// Where it really went; `None` when the report does not say it in a form that is an address.
    pub address: Option<Mailbox>,
    /// Whom the sender had named.
    pub original: Option<Mailbox>,
    pub action: Action,
    pub class: Class,
    pub trouble: Trouble,
    pub status: Option<EnhancedCode>,
    /// What the other side said, one line.
    pub diagnostic: String,
    pub remote_mta: Option<String>,
}

/// RFC 8098 §3.2.6.2, and the older words of RFC 2298.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DispositionKind {
    Displayed,
    Deleted,
    Denied,
    Failed,
    Dispatched,
    Processed,
}

/// A receipt of the reader's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    pub kind: DispositionKind,
    pub class: Class,
    /// A person agreed that the receipt is sent; `None` when it is not said.
    pub sent_by_person: Option<bool>,
    /// The reader did it, not a rule (`manual-action`).
    pub is_manual: bool,
    pub recipient: Option<Mailbox>,
    pub original: Option<Mailbox>,
}

/// RFC 5965 §7.3, RFC 6430, RFC 6591.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComplaintKind {
    Abuse,
    Fraud,
    Virus,
    /// The reader took a complaint back.
    NotSpam,
    OptOut,
    AuthFailure,
    Other,
}

/// A complaint from a mailbox provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub kind: ComplaintKind,
    pub class: Class,
    /// Who complained; providers often leave it out.
    pub recipients: Vec<Mailbox>,
}

/// What sort of automatic answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AutoReplyKind {
    /// Out of office, received with thanks.
    Answer,
    /// The sender is asked to prove that it is a person.
    Challenge,
}

/// An automatic answer of the recipient's side (RFC 3834).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoReply {
    pub kind: AutoReplyKind,
    pub class: Class,
    /// Who answered.
    pub recipient: Option<Mailbox>,
}

/// What may tell which message and which recipient are meant, the most trusted first in each list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clues {
    /// Where the report was sent, and the return path that the original shows: a VERP address of
    /// ours may be among them.
    pub return_paths: Vec<Mailbox>,
    /// Message-IDs of the original: its own field, or as the report repeats it. Without brackets.
    pub message_ids: Vec<String>,
    /// From `In-Reply-To` and `References` of the report.
    pub referenced: Vec<String>,
    /// The client's `ENVID`.
    pub envelope_id: Option<String>,
    /// From an `X-Waybill-Id` field of the original.
    pub waybill_id: Option<String>,
    /// To and Cc of the original, and where its headers say it was delivered.
    pub recipients: Vec<Mailbox>,
}
