//! One call of an application, whatever its dialect: what it claims, what it wants, what it is told.
//!
//! A dialect reads a whole HTTP request into a [`Call`] and writes an [`Answer`] as a whole HTTP
//! response. It owns no socket, reads no clock, and knows neither apps nor the archive. What it
//! can not read is an [`Answer::Refused`] in its own words.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::account::SmsAccounts;
use super::number::NumberStyle;
use crate::model::{
    Dialect, Direction, FailureReason, MessageId, ReceiptRequest, ReceiptState, Reference,
    Sequence, Sms, SmsBody, Tag, Timestamp,
};

/// A dialect's face to applications.
pub trait Port: Send + Sync {
    /// Which one it is.
    fn dialect(&self) -> Dialect;

    /// Whether this request is its own by method, path and headers: no other dialect answers it.
    fn recognises(&self, request: &Request<Bytes>) -> bool;

    /// Reads a request. The path begins where the dialect's own begins: `/d/<dialect>` is taken off.
    /// The error is the finished response for what is no call at all: an unknown path or method.
    fn read(&self, request: &Request<Bytes>) -> Result<Call, Box<Response<Bytes>>>;

    /// Compares what the request shows with an app's account in this dialect. Every comparison of
    /// a secret takes the same time wherever the first difference is.
    fn verify(&self, request: &Request<Bytes>, accounts: &SmsAccounts, now: Timestamp) -> Verdict;

    /// Writes the response.
    fn answer(&self, call: &Call, answer: &Answer<'_>) -> Response<Bytes>;

    /// The request as it may be archived: as it came, but for its secrets, which are masked. In the
    /// form of `message/http` (RFC 9112 §10.1): request line, `Host`, `Content-Type` and the
    /// dialect's own fields, an empty line, the body.
    fn masked(&self, request: &Request<Bytes>) -> Bytes;

    /// Receipts: the requests to `url` that tell the app of `notice`. Vonage makes one for each part.
    fn receipts(
        &self,
        notice: &Notice<'_>,
        url: &str,
        accounts: &SmsAccounts,
    ) -> Vec<Request<Bytes>>;

    /// The requests to `url` that hand an inbound message to the app.
    fn inbound(
        &self,
        message: &Shown,
        url: &str,
        accounts: &SmsAccounts,
        now: Timestamp,
    ) -> Vec<Request<Bytes>>;

    /// What the app's response to a receipt or an inbound message means.
    fn acknowledged(&self, response: &Response<Bytes>, of: CallbackKind) -> Acknowledgement;
}

/// What a request shows of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this account, and proves it.
    Proven,
    /// It names this account and does not prove it: a wrong secret.
    WrongSecret,
    /// It names this account and its signature is wrong or stale.
    WrongSignature,
    /// It names another account, or none.
    Stranger,
}

/// A request, read.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: Operation,
    /// How the answer is to be written.
    pub format: Format,
    /// The account that the request names (Account SID, API key, user name), proven or not.
    pub account: Option<String>,
    /// `Idempotency-Key`, or the dialect's own field for it.
    pub idempotency_key: Option<String>,
}

/// The form of an answer; each dialect uses its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Xml,
    Text,
    /// Text for another gateway, which takes every refusal as final and tries again only after a
    /// connection that gave no answer (Kannel).
    Gateway,
}

/// In the extensions of a response: it is not to be written. The connection is closed instead,
/// because the client would take any answer as final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseConnection;

/// What an application wants.
#[derive(Clone, Debug)]
pub enum Operation {
    /// One draft for each destination, in order; never empty. An error is what is wrong with
    /// the call as a whole.
    Submit(Result<Vec<Draft>, Refusal>),
    Fetch(Handle),
    List(ListQuery),
    /// Stop what is pending.
    Cancel(Handle),
    /// Overwrite the text.
    Redact(Handle),
    Delete(Handle),
    /// A question that has the same answer for everybody: balance, who am I.
    Probe(Probe),
}

/// What a probe asks for; each dialect uses its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Account,
    Balance,
    Numbers,
}

/// How a dialect names a message that was accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// Its id, perhaps in another form.
    Message(MessageId),
    /// The sequence number of the first message of a batch; stands for all of its messages.
    Batch(Sequence),
    /// A text that can be no id of ours.
    Unknown,
}

/// Which messages to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// In normal form.
    pub to: Option<String>,
    pub from: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// 1 to 1000.
    pub page_size: usize,
    pub page: u32,
    /// The id after which the page begins.
    pub after: Option<MessageId>,
}

/// One message as the application asked for it; addresses are not in normal form yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub to: String,
    /// `None`: not given.
    pub from: Option<String>,
    /// How this dialect writes numbers.
    pub style: NumberStyle,
    pub body: SmsBody,
    pub udh: Vec<u8>,
    pub class: Option<u8>,
    /// Replace typographic characters by their GSM likes where that saves segments.
    pub smart_encoding: bool,
    /// More segments than this are refused as too long; `None` is 255.
    pub max_segments: Option<u16>,
    pub valid_for: Option<Duration>,
    pub send_at: Option<SendAt>,
    /// The application's wish for a hold beside its app's rule.
    pub hold: Option<HoldWish>,
    pub client_reference: Option<String>,
    pub references: Vec<Reference>,
    pub tag: Option<Tag>,
    pub receipt: Option<ReceiptRequest>,
    /// Which message object of the call it belongs to, from 0 on; drafts of one object stand
    /// together. Each object is a batch of its own: index and count of `SmsBatch` are counted
    /// within it, so that it has a number of its own (GatewayAPI's lists of messages).
    pub group: u32,
}

impl Draft {
    /// A text to a number, with nothing else said.
    pub fn new(to: String, style: NumberStyle, body: SmsBody) -> Draft {
        Draft {
            to,
            from: None,
            style,
            body,
            udh: Vec::new(),
            class: None,
            smart_encoding: false,
            max_segments: None,
            valid_for: None,
            send_at: None,
            hold: None,
            client_reference: None,
            references: Vec::new(),
            tag: None,
            receipt: None,
            group: 0,
        }
    }
}

/// When a message is not to be sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAt {
    At(Timestamp),
    /// Counted from the acceptance (Kannel's `deferred`).
    After(Duration),
    /// It must lie so far ahead, both ends included, or is refused (Twilio's scheduling).
    Between {
        at: Timestamp,
        least: Duration,
        most: Duration,
    },
}

/// A hold asked for with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldWish {
    None,
    For(Duration),
    Manual,
}

/// Why a call was not done. Each dialect has its own code for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No or wrong credentials.
    Credentials,
    BadSignature,
    NoDestination,
    /// Quotes what was given, in clean characters.
    BadDestination(String),
    NoOriginator,
    BadOriginator(String),
    /// The app may not send as this.
    OriginatorNotAllowed(String),
    NoBody,
    TooLong {
        segments: u32,
        most: u32,
    },
    /// The recipient said STOP, or is on the suppression list.
    OptedOut(String),
    /// A callback URL that can not or may not be called.
    BadCallback(String),
    BadSchedule(String),
    /// A feature that this gateway does not have, such as MMS.
    Unsupported(&'static str),
    /// Another field: its name as the dialect has it, and what is wrong with it.
    Field {
        name: &'static str,
        why: String,
    },
    /// The request can not be read at all.
    Malformed(String),
    TooManyDestinations {
        most: usize,
    },
    RateLimited {
        retry_after: Duration,
    },
    /// The disk is full, or the daemon is stopping.
    NotNow,
    UnknownMessage,
    /// It was sent already, or is being sent.
    TooLate,
    /// Redaction and deletion wait for the end of the message.
    NotFinished,
    /// The same idempotency key with another request.
    KeyReused,
}

/// Longest quotation, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// What a client wrote, as it may stand in an answer: short, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_QUOTED_CHARS).collect()
}

/// What the application is told.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// In the order of the drafts.
    Submitted(&'a [Shown]),
    /// One message, or all messages of one call.
    Found(&'a [Shown]),
    Listed {
        page: &'a [Shown],
        query: &'a ListQuery,
        next: Option<MessageId>,
    },
    Canceled(&'a [Shown]),
    Redacted(&'a Shown),
    Deleted,
    Probed(Probe),
    Refused(&'a Refusal),
}

/// A message as a dialect needs to see it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub id: MessageId,
    /// Its own number; the number of its batch is this minus `sms.batch.index`.
    pub sequence: Sequence,
    pub direction: Direction,
    pub sms: Sms,
    pub state: ShownState,
    pub failure: Option<FailureReason>,
    /// The provider's own code, in clean characters.
    pub provider_code: Option<String>,
    pub accepted_at: Timestamp,
    pub updated_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    /// When nothing comes after it.
    pub done_at: Option<Timestamp>,
    /// The final states of its parts, as far as they are known; empty when the provider tells none.
    pub parts: Vec<ReceiptState>,
}

impl Shown {
    /// The number of the batch that it belongs to: the sequence number of the batch's first message.
    pub fn batch_number(&self) -> u64 {
        self.sequence.0.saturating_sub(u64::from(self.sms.batch.index))
    }
}

/// Where a message stands, finer than the five public words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShownState {
    Held,
    Scheduled,
    Queued,
    Sending,
    Sent,
    Delivered,
    Undelivered,
    Expired,
    /// The application canceled it.
    Canceled,
    /// An operator or the suppression list stopped it.
    Stopped,
    /// The provider or the network refused it.
    Rejected,
    /// There is no upstream for it.
    NotSent,
    /// Inbound.
    Received,
}

/// What the application is to be told of a message.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The message as it stood when this happened.
    pub message: &'a Shown,
    /// The event's number: no two notices share it.
    pub event: Sequence,
    pub at: Timestamp,
    /// When the request is made: what signatures and time stamps of the request say.
    pub now: Timestamp,
}

/// What was handed to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackKind {
    Receipt,
    Inbound,
}

/// What the app's response means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// Taken; `replies` are messages to send back, which only inbound messages can have.
    Taken { replies: Vec<SmsReply> },
    /// To be tried again.
    NotTaken,
}

impl Acknowledgement {
    /// Taken with any 2xx, where a response can hold no replies.
    pub(super) fn of(status: StatusCode) -> Acknowledgement {
        match status.is_success() {
            true => Acknowledgement::Taken { replies: Vec::new() },
            false => Acknowledgement::NotTaken,
        }
    }
}

/// A reply that the app gave in its response (TwiML `<Message>`, Kannel's body).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmsReply {
    /// `None`: whoever wrote.
    pub to: Option<String>,
    /// `None`: the number that was written to.
    pub from: Option<String>,
    pub text: String,
    /// Where its receipts go.
    pub status_url: Option<String>,
}
