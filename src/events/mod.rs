//! What mail providers tell over HTTP of the messages that they took: proven, and read into events.
//!
//! Takes one whole call and what the configuration says of its provider; gives events in common words, or
//! says why the call is not believed or not understood. What it keeps: nothing is read before it is proven
//! (a signature, a login or a token, compared in constant time); texts are cut to a bounded length and
//! hold no control characters; kinds of events that it does not know are left out, so that a provider may
//! invent some. Amazon's calls are proven by a certificate that somebody else has to fetch, in two steps.
//! Which message an event is of, and what it makes of it, is decided elsewhere.
//!
//! In reading order: `event` (the common words), `proof` (logins and tokens), `field` (reading JSON), then
//! one file for each provider.

mod brevo;
mod event;
mod field;
mod mailgun;
mod mailjet;
mod postmark;
mod proof;
mod sendgrid;
mod ses;
mod sns;

use http::HeaderMap;

pub use event::{MailEvent, MailEventKind, Visit};
pub use proof::Proof;
pub use sendgrid::SendGridKey;
pub use sns::{Proven, SnsMessage, Topic};

use crate::model::{Secret, Timestamp};

/// Events of one call that are read; providers join a thousand at the most.
const MAX_EVENTS: usize = 5_000;

/// Who tells of an upstream's mail, and what proves it.
#[derive(Clone, Debug)]
pub enum EventSource {
    /// Amazon SES through SNS.
    Ses {
        topic: Topic,
    },
    SendGrid {
        key: SendGridKey,
    },
    /// The key that signs its webhooks.
    Mailgun {
        key: Secret,
    },
    Postmark {
        proof: Proof,
    },
    Mailjet {
        proof: Proof,
    },
    Brevo {
        proof: Proof,
    },
}

/// One call, as it came.
#[derive(Clone, Copy, Debug)]
pub struct EventCall<'a> {
    pub headers: &'a HeaderMap,
    /// The value of `token` in the query, decoded.
    pub token: &'a [u8],
    pub body: &'a [u8],
    pub now: Timestamp,
}

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRefusal {
    /// It is not proven.
    Forged,
    /// It is proven, or nothing could be, and can not be read.
    Malformed,
}

/// What a call brought.
#[derive(Debug)]
pub enum Told {
    /// `token`: it proves one body and no other, which whoever takes the call must see to.
    Events { events: Vec<MailEvent>, token: Option<String> },
    /// To be proven by a certificate.
    Sns(Box<SnsMessage>),
}

impl EventSource {
    /// Proves and reads one call.
    pub fn read(&self, call: &EventCall<'_>) -> Result<Told, EventRefusal> {
        let mut token = None;
        let mut events = match self {
            EventSource::Ses { topic } => return sns::read(topic, call).map(Told::Sns),
            EventSource::SendGrid { key } => sendgrid::read(key, call)?,
            EventSource::Mailgun { key } => {
                let signed = mailgun::read(key, call)?;
                token = Some(signed.token);
                signed.events
            }
            EventSource::Postmark { proof } => postmark::read(proof, call)?,
            EventSource::Mailjet { proof } => mailjet::read(proof, call)?,
            EventSource::Brevo { proof } => brevo::read(proof, call)?,
        };
        events.truncate(MAX_EVENTS);
        Ok(Told::Events { events, token })
    }
}
