//! A message as the archive takes it in and gives it back.

use std::net::IpAddr;
use std::ops::Range;

use bytes::Bytes;

use super::Durable;
pub use crate::lifecycle::Part;
use crate::model::{
    AppName, Channel, Digest, Direction, Engagement, EventKind, Medium, MessageId, Named,
    RecipientKind, RecipientState, Reference, Sequence, Status, Tag, Timestamp, UpstreamName,
};

/// What arrived over a connection, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// What it said in EHLO or HELO.
    pub helo: String,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPA`, `ESMTPSA`, `UTF8SMTP…` (RFC 3848, RFC 6531 §4.3).
    pub protocol: String,
    /// TLS version and cipher suite, when there is TLS.
    pub tls: Option<String>,
    /// The user name that AUTH proved.
    pub authenticated: Option<String>,
    /// The name that this gateway bore then: it is written into `Received`, which must come out the
    /// same for ever.
    pub gateway: String,
}

/// What reading the message found; nothing in it decides whether it is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub subject: Option<String>,
    pub author: Option<Named>,
    /// Without the angle brackets.
    pub message_id: Option<String>,
    /// The first 200 characters of the text.
    pub preview: String,
    pub attachments: Vec<Attachment>,
    /// What was wrong with it, one sentence each.
    pub defects: Vec<String>,
}

/// One attachment; its content is read from the message again when somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub filename: Option<String>,
    pub content_type: String,
    /// Decoded.
    pub size_bytes: u64,
    /// Of the decoded content.
    pub sha256: Digest,
    pub inline: bool,
}

/// One recipient of a new message, beside its place in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecipient {
    pub name: Option<String>,
    pub kind: RecipientKind,
    /// `Held`, `Due` or `NotSent`.
    pub state: RecipientState,
}

/// What an app's policy said at the moment of acceptance, kept with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePolicy {
    /// Hold for a person when the outcome of an attempt is unknown, instead of trying again.
    pub hold_unknown: bool,
    pub track_opens: bool,
    pub track_clicks: bool,
    /// Somebody outside wrote it and it is only passed on: nothing of ours is put into it, least of all
    /// our signature. Only the gateway itself says so, no field and no parameter of a submission.
    pub is_foreign: bool,
}

/// A message that has passed the door, to be made durable.
#[derive(Clone, Debug)]
pub struct Acceptance {
    pub accepted_at: Timestamp,
    pub direction: Direction,
    pub app: AppName,
    pub medium: Medium,
    pub client: Client,
    /// The bytes as submitted; of an SMS the request with its secrets masked, as `message/http`.
    pub raw: Bytes,
    /// SHA-256 of `raw`.
    pub digest: Digest,
    /// Parts of `raw` that are stored once however often they come (attachments, large bodies);
    /// ascending and disjoint.
    pub shared: Vec<Range<usize>>,
    pub summary: Summary,
    /// One for each recipient of the medium, in its order.
    pub recipients: Vec<NewRecipient>,
    pub references: Vec<Reference>,
    pub tag: Option<Tag>,
    /// Who in the company sent it (`X-Waybill-Sender`).
    pub on_behalf_of: Option<String>,
    pub policy: MessagePolicy,
    pub resend_of: Option<MessageId>,
}

/// An archived message.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub sequence: Sequence,
    /// `SHA-256(version ‖ sequence ‖ id ‖ accepted_at ‖ app ‖ envelope ‖ digest)`.
    pub leaf: Digest,
    pub accepted_at: Timestamp,
    pub direction: Direction,
    pub app: AppName,
    pub medium: Medium,
    pub client: Client,
    pub size_bytes: u64,
    /// SHA-256 of the bytes as submitted.
    pub digest: Digest,
    pub summary: Summary,
    pub recipients: Vec<Recipient>,
    pub references: Vec<Reference>,
    pub tag: Option<Tag>,
    pub on_behalf_of: Option<String>,
    pub policy: MessagePolicy,
    pub resend_of: Option<MessageId>,
    /// An earlier message with the same Message-ID.
    pub duplicate_of: Option<MessageId>,
    /// Since when its text and bytes are gone; of a deleted message too.
    pub redacted_at: Option<Timestamp>,
    /// Since when it only says that it was there.
    pub deleted_at: Option<Timestamp>,
}

impl Message {
    /// How it travels.
    pub fn channel(&self) -> Channel {
        self.medium.channel()
    }

    /// Its id, with the proof that it is on disk: nothing else is ever read.
    pub fn durable_id(&self) -> Durable<MessageId> {
        Durable(self.id)
    }

    /// Derived from its recipients.
    pub fn status(&self) -> Status {
        Status::of_message(self.recipients.iter().map(|r| r.state.status()))
    }
}

/// One recipient of an archived message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub index: u16,
    pub name: Option<String>,
    pub kind: RecipientKind,
    pub state: RecipientState,
    pub attempts: u32,
    /// When it could first leave: the expiry counts from here.
    pub first_due_at: Timestamp,
    /// The upstream of the last attempt.
    pub upstream: Option<UpstreamName>,
    /// The last reply of an upstream, as one line.
    pub reply: Option<String>,
    /// An attempt of it ended with an unknown outcome, so it may have arrived twice.
    pub possible_duplicate: bool,
    /// When an upstream took it, whether or not it came back since.
    pub sent_at: Option<Timestamp>,
    /// A receipt said that it arrived.
    pub delivered_at: Option<Timestamp>,
    /// What an SMS provider tells apart; one for each segment, or one for all.
    pub parts: Vec<Part>,
    /// What is known from hits on its pixel and links.
    pub engagement: Engagement,
}

/// One thing that happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub sequence: Sequence,
    pub message: MessageId,
    pub at: Timestamp,
    pub kind: EventKind,
    /// `None` when it concerns the whole message.
    pub recipient: Option<u16>,
    /// Who did it, when it was a person or an application.
    pub by: Option<String>,
    pub upstream: Option<UpstreamName>,
    /// The upstream's reply as one line.
    pub reply: Option<String>,
    /// In words.
    pub detail: Option<String>,
    /// SHA-256 of the bytes that were sent; of what a report by mail says, of the report.
    pub digest: Option<Digest>,
    /// Of an open or a click: whether it was taken for a machine's when it was told. `None` for everything
    /// else, and for what was told before this was noted.
    pub automated: Option<bool>,
}
