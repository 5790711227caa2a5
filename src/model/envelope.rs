//! The envelope: who a message really goes to, and what the client asked for beside it
//! (RFC 5321 §2.3.1, RFC 3461 for DSN, RFC 4865 for FUTURERELEASE, RFC 6152 for the body type).

use std::time::Duration;

use super::address::{ForwardPath, ReversePath};
use super::sms::Sms;
use super::time::Timestamp;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    Email,
    Sms,
}

impl Channel {
    /// The word that the API and the config use.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Sms => "sms",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Channel> {
        [Channel::Email, Channel::Sms].into_iter().find(|c| c.as_str() == text)
    }
}

/// Which way a message goes, seen from the company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Outbound,
    Inbound,
}

impl Direction {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Outbound => "outbound",
            Direction::Inbound => "inbound",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Direction> {
        [Direction::Outbound, Direction::Inbound].into_iter().find(|d| d.as_str() == text)
    }
}

/// How a message travels, with what only that way of travelling has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    Mail(Envelope),
    /// One message has one recipient.
    Sms(Box<Sms>),
}

impl Medium {
    /// Its channel.
    pub fn channel(&self) -> Channel {
        match self {
            Medium::Mail(_) => Channel::Email,
            Medium::Sms(_) => Channel::Sms,
        }
    }

    /// The reverse-path or the originator; `None` for the null reverse-path, or where the provider
    /// picks the originator.
    pub fn sender(&self) -> Option<String> {
        match self {
            Medium::Mail(envelope) => match &envelope.reverse_path {
                ReversePath::Null => None,
                ReversePath::Mailbox(mailbox) => Some(mailbox.to_string()),
            },
            Medium::Sms(sms) => sms.originator.as_ref().map(ToString::to_string),
        }
    }

    /// The address of one recipient.
    pub fn recipient(&self, index: u16) -> Option<String> {
        match self {
            Medium::Mail(envelope) => {
                envelope.recipients.get(usize::from(index)).map(|r| r.path.to_string())
            }
            Medium::Sms(sms) => (index == 0).then(|| sms.destination.to_string()),
        }
    }

    /// The addresses of all recipients, in order.
    pub fn recipients(&self) -> Vec<String> {
        match self {
            Medium::Mail(envelope) => {
                envelope.recipients.iter().map(|r| r.path.to_string()).collect()
            }
            Medium::Sms(sms) => vec![sms.destination.to_string()],
        }
    }

    /// The envelope of a mail.
    pub fn mail(&self) -> Option<&Envelope> {
        match self {
            Medium::Mail(envelope) => Some(envelope),
            Medium::Sms(_) => None,
        }
    }

    /// The SMS.
    pub fn sms(&self) -> Option<&Sms> {
        match self {
            Medium::Mail(_) => None,
            Medium::Sms(sms) => Some(sms),
        }
    }
}

/// What MAIL and RCPT said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub reverse_path: ReversePath,
    /// At least one; in the order of the RCPT commands.
    pub recipients: Vec<EnvelopeRecipient>,
    pub body: BodyType,
    /// The client gave SMTPUTF8 (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// What a bounce should bring back.
    pub ret: Option<DsnReturn>,
    /// The client's own envelope id, decoded from xtext; at most 100 printable ASCII characters.
    pub envid: Option<String>,
    /// FUTURERELEASE: not before.
    pub release: Option<FutureRelease>,
}

/// One accepted RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeRecipient {
    pub path: ForwardPath,
    /// `None` when the client did not say.
    pub notify: Option<Notify>,
    pub original: Option<OriginalRecipient>,
}

/// `BODY=` (RFC 6152 §2, RFC 3030 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    SevenBit,
    EightBitMime,
}

/// `RET=` (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DsnReturn {
    Full,
    Headers,
}

/// `NOTIFY=` (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    Never,
    On { success: bool, failure: bool, delay: bool },
}

/// What a sender can be told of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    Success,
    Failure,
    Delay,
}

impl EnvelopeRecipient {
    /// Whether the sender wants to be told. Who said nothing wants to know of failures
    /// (RFC 3461 §5.1, RFC 5321 §6.1).
    pub fn wants(&self, notice: Notice) -> bool {
        let (success, failure, delay) = match self.notify {
            None => (false, true, false),
            Some(Notify::Never) => (false, false, false),
            Some(Notify::On { success, failure, delay }) => (success, failure, delay),
        };
        match notice {
            Notice::Success => success,
            Notice::Failure => failure,
            Notice::Delay => delay,
        }
    }
}

/// `ORCPT=` (RFC 3461 §4.2), decoded from xtext or, for `utf-8`, from its own form (RFC 6533 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// `rfc822`, `utf-8`: letters, digits and dashes, in lower case.
    pub address_type: String,
    /// Without control characters; at most 500 bytes.
    pub address: String,
}

/// RFC 4865 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutureRelease {
    /// `HOLDFOR=` seconds, counted from the acceptance.
    HoldFor(Duration),
    /// `HOLDUNTIL=`
    HoldUntil(Timestamp),
}

impl Envelope {
    /// Whether any address needs SMTPUTF8 on the way out (RFC 6531 §3.6).
    pub fn needs_smtputf8(&self) -> bool {
        self.reverse_path.needs_smtputf8()
            || self.recipients.iter().any(|r| r.path.needs_smtputf8())
    }
}
