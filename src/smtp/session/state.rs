//! The states of a session, named after what they wait for.

use crate::model::envelope::{BodyType, EnvelopeRecipient};
use crate::model::{Envelope, Reply};
use crate::smtp::command::Mail;
use crate::smtp::content::Content;
use crate::smtp::dots::DataDecoder;
use crate::smtp::sasl::Exchange;

/// What a session waits for.
#[derive(Debug)]
pub(super) enum State {
    /// A command, outside a transaction.
    Command,
    /// A line of the AUTH exchange.
    Auth(Exchange),
    /// RCPT, DATA or BDAT.
    Transaction(Draft),
    /// CRLF `.` CRLF.
    Data(Box<Draft>, Box<DataDecoder>),
    /// The rest of a chunk.
    Chunk(Box<Chunk>),
    /// The next BDAT.
    BetweenChunks(Box<Incoming>),
    /// The rest of a chunk that is not wanted; then the reply is due.
    RefusedChunk { remaining: u64, reply: Reply },
    /// Whether the credentials are right.
    Authenticating,
    /// Whether the client may use the reverse-path.
    SenderVerdict(Draft),
    /// Whether this recipient is accepted.
    RecipientVerdict(Draft, EnvelopeRecipient),
    /// Whether the message is durable.
    MessageVerdict,
    /// The end of the TLS handshake.
    TlsHandshake,
    /// Nothing.
    Closed,
}

/// What the client called itself, and in which dialect.
#[derive(Debug)]
pub(super) enum Hello {
    NotYet,
    Helo(String),
    Ehlo(String),
}

/// A transaction that has begun.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) mail: Mail,
    pub(super) recipients: Vec<EnvelopeRecipient>,
}

/// A message that comes in chunks.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) draft: Draft,
    pub(super) content: Content,
}

/// A chunk of which some octets have not come yet.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) message: Incoming,
    pub(super) size_bytes: u64,
    pub(super) remaining: u64,
    pub(super) last: bool,
}

impl Draft {
    /// The envelope, when the message is complete.
    pub(super) fn into_envelope(self) -> Envelope {
        let parameters = self.mail.parameters;
        Envelope {
            reverse_path: self.mail.path,
            recipients: self.recipients,
            body: parameters.body.unwrap_or(BodyType::SevenBit),
            smtputf8: parameters.smtputf8,
            ret: parameters.ret,
            envid: parameters.envid,
            release: parameters.release,
        }
    }
}
