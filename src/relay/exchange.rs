//! One mail transaction over one connection: MAIL, RCPT for each recipient, DATA, the message
//! (RFC 5321 §3.3), pipelined where that is offered (RFC 2920).
//!
//! It takes a connection and gives one outcome for each recipient, and what the connection is good
//! for afterwards. It is written here and not left to mail-send because that stops at the first
//! refused recipient, writes its strings as they are, and adds a line end to every message.
//!
//! The instant that divides everything is the one at which the last octet of the final dot was handed
//! to the system: before it, whatever goes wrong, nothing was sent; after it, and until its reply,
//! nobody knows (RFC 1047).
//!
//! What a message cannot be sent for lack of an extension is refused here and never converted: a
//! converted message would no longer be the one that was archived, and its signatures would break.

use std::time::Duration;

use tokio::time::Instant;

use super::command;
use super::connection::Connection;
use super::error::Broken;
use super::pool::Pooled;
use super::transaction::Transaction;
use crate::model::envelope::Notice;
use crate::model::{EnvelopeRecipient, Outcome, Reply, Scope};
use crate::smtp::DataEncoder;

/// Commands that are written before their replies are read. More could fill the buffers of both
/// sides, so that each waits for the other to read.
const MAX_GROUP_COMMANDS: usize = 200;
/// Octets of such a group, for the same reason.
const MAX_GROUP_BYTES: usize = 48 * 1024;
/// The slowest pace at which an upstream may take a message, so that one that takes an octet a minute
/// does not hold a connection for days.
const MIN_BYTES_PER_SECOND: usize = 2 * 1024;
/// Replies to one group may take this many times what one reply may take.
const GROUP_PATIENCE: u32 = 4;
/// How long a reply is looked for after the upstream stopped taking the message.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What came of a transaction.
pub(super) struct Exchanged {
    /// One for each recipient, in order.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) fate: Fate,
}

/// What the connection is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Reusable,
    /// It broke in the middle, or said that it will close.
    Broken,
    /// It was dead before the first reply, so the transaction never began.
    Stale,
}

/// How a transaction ended, for those recipients whose RCPT was not refused.
enum Ending {
    Sent(Reply),
    /// MAIL, DATA or the message was refused.
    Refused(Reply, &'static str),
    /// Every RCPT was refused.
    Nobody,
    /// The conversation ended before the final dot was out.
    Lost(Broken),
    /// The final dot went out and was not answered.
    Unanswered(Broken),
    /// The upstream lacks what the message needs.
    Unfit(String),
}

/// Runs `transaction` for `recipients`, which are some of its own.
pub(super) async fn exchange(
    connection: &mut Connection,
    transaction: &Transaction,
    recipients: &[&EnvelopeRecipient],
) -> Exchanged {
    let mut exchange = Exchange {
        connection,
        transaction,
        recipients,
        mail: None,
        answers: Vec::with_capacity(recipients.len()),
        data: None,
        answered: false,
    };
    let ending = exchange.run().await;
    Exchanged { fate: exchange.fate(&ending), outcomes: exchange.outcomes(ending) }
}

struct Exchange<'a> {
    connection: &'a mut Connection,
    transaction: &'a Transaction,
    recipients: &'a [&'a EnvelopeRecipient],
    mail: Option<Reply>,
    /// To the RCPT commands so far.
    answers: Vec<Reply>,
    data: Option<Reply>,
    /// Whether the upstream said anything at all.
    answered: bool,
}

/// The commands of the envelope by number: 0 is MAIL, then each RCPT, then DATA.
#[derive(Clone, Copy)]
enum Step {
    Mail,
    Rcpt(usize),
    Data,
}

impl Exchange<'_> {
    async fn run(&mut self) -> Ending {
        if let Some(lack) = self.lack() {
            return Ending::Unfit(lack);
        }
        self.connection.transactions += 1;
        if let Err(broken) = self.reset().await {
            return Ending::Lost(broken);
        }
        self.connection.needs_reset = true;
        if let Err(broken) = self.envelope().await {
            return Ending::Lost(broken);
        }
        let ready = self.data.as_ref().is_some_and(|reply| reply.code == 354);
        let refused = match (&self.mail, &self.data) {
            (Some(mail), _) if mail.class() != 2 => Ending::Refused(mail.clone(), "MAIL"),
            _ if !self.has_recipients() => Ending::Nobody,
            (_, Some(data)) if !ready => Ending::Refused(data.clone(), "DATA"),
            _ => return self.message().await,
        };
        if ready {
            // A server may ask for the message although nobody is left: it gets an empty one,
            // which it must refuse (RFC 2920 §3.1).
            if let Err(broken) = self.lone_dot().await {
                self.connection.needs_reset = true;
                tracing::debug!(%broken, "the connection broke after an empty transaction");
                self.answered = true;
                return match refused {
                    Ending::Nobody => Ending::Lost(broken),
                    other => other,
                };
            }
        }
        refused
    }

    /// What the message needs and the upstream did not offer.
    fn lack(&self) -> Option<String> {
        let offered = &self.connection.offered;
        let size_bytes = self.transaction.message.size_bytes();
        if self.transaction.has_utf8_address() && !offered.smtputf8 {
            return Some("5.6.7 an address needs SMTPUTF8, which the upstream lacks".into());
        }
        if self.transaction.smtputf8 && !offered.smtputf8 {
            return Some("5.6.7 the message needs SMTPUTF8, which the upstream lacks".into());
        }
        if self.transaction.eight_bit && !offered.eight_bit_mime {
            return Some("5.6.3 the message needs 8BITMIME, which the upstream lacks".into());
        }
        let limit = offered.max_size_bytes.filter(|&limit| size_bytes > limit)?;
        Some(format!("5.3.4 the message has {size_bytes} bytes, the upstream takes {limit}"))
    }

    async fn reset(&mut self) -> Result<(), Broken> {
        if !self.connection.needs_reset {
            return Ok(());
        }
        let patience = self.connection.timeouts.command;
        self.connection.send(b"RSET\r\n", patience).await?;
        let reply = self.connection.reply(patience).await?;
        match reply.class() {
            2 => Ok(()),
            _ => Err(Broken::Unexpected(reply)),
        }
    }

    async fn envelope(&mut self) -> Result<(), Broken> {
        let timeouts = self.connection.timeouts;
        let mut next = 0;
        while next < self.recipients.len() + 2 && self.goes_on(next) {
            let (group, end) = self.group(next);
            self.connection.send(&group, timeouts.command).await?;
            let deadline = Instant::now() + timeouts.command * GROUP_PATIENCE;
            for number in next..end {
                let step = self.step(number);
                let patience = match step {
                    Step::Mail | Step::Rcpt(_) => timeouts.command,
                    Step::Data => timeouts.data_start,
                };
                let left = deadline.saturating_duration_since(Instant::now());
                let reply = self.connection.reply(patience.min(left)).await?;
                self.note(step, reply)?;
            }
            next = end;
        }
        Ok(())
    }

    /// Whether the commands from `next` on are worth writing.
    fn goes_on(&self, next: usize) -> bool {
        let refused = self.mail.as_ref().is_some_and(|mail| mail.class() != 2);
        !refused && (next <= self.recipients.len() || self.has_recipients())
    }

    /// The commands from `next` on that are written together, and the number after the last one.
    fn group(&self, next: usize) -> (Vec<u8>, usize) {
        let max = if self.connection.offered.pipelining { MAX_GROUP_COMMANDS } else { 1 };
        let mut octets = Vec::new();
        let mut end = next;
        while end < self.recipients.len() + 2 && end - next < max && octets.len() < MAX_GROUP_BYTES
        {
            let offered = &self.connection.offered;
            let line = match self.step(end) {
                Step::Mail => command::mail(self.transaction, offered),
                Step::Rcpt(index) => command::rcpt(self.recipients[index], offered),
                Step::Data => "DATA\r\n".to_owned(),
            };
            octets.extend_from_slice(line.as_bytes());
            end += 1;
        }
        (octets, end)
    }

    fn step(&self, number: usize) -> Step {
        match number.checked_sub(1) {
            None => Step::Mail,
            Some(index) if index < self.recipients.len() => Step::Rcpt(index),
            Some(_) => Step::Data,
        }
    }

    fn note(&mut self, step: Step, reply: Reply) -> Result<(), Broken> {
        if reply.code == 421 {
            return Err(Broken::Closing(reply));
        }
        self.answered = true;
        let expected = match step {
            Step::Mail | Step::Rcpt(_) => reply.class() != 3,
            Step::Data => reply.code == 354 || reply.class() > 3,
        };
        if !expected {
            return Err(Broken::Unexpected(reply));
        }
        match step {
            Step::Mail => self.mail = Some(reply),
            Step::Rcpt(_) => self.answers.push(reply),
            Step::Data => self.data = Some(reply),
        }
        Ok(())
    }

    fn has_recipients(&self) -> bool {
        self.answers.iter().any(|answer| answer.class() == 2)
    }

    async fn lone_dot(&mut self) -> Result<(), Broken> {
        let patience = self.connection.timeouts.command;
        self.connection.send(b".\r\n", patience).await?;
        self.connection.reply(patience).await.map(|_| ())
    }

    async fn message(&mut self) -> Ending {
        // A reply too many would be taken for the one to the final dot.
        if !self.connection.is_quiet().await {
            let early = "it spoke or closed before it was its turn";
            return Ending::Lost(Broken::Malformed(early));
        }
        let timeouts = self.connection.timeouts;
        let message = &self.transaction.message;
        let seconds = message.size_bytes() / MIN_BYTES_PER_SECOND;
        let pace = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
        let deadline = Instant::now() + timeouts.data_block + pace;
        let mut encoder = DataEncoder::new(&message.segments);
        while let Some(block) = encoder.next_block() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(broken) = self.connection.send(block, timeouts.data_block.min(left)).await {
                return self.last_words(broken).await;
            }
        }
        // From here the message may be theirs.
        match self.connection.reply(timeouts.data_end).await {
            Ok(reply) => match reply.class() {
                2 => {
                    self.connection.needs_reset = false;
                    Ending::Sent(reply)
                }
                4 | 5 => {
                    self.connection.needs_reset = false;
                    Ending::Refused(reply, "the message")
                }
                _ => Ending::Unanswered(Broken::Unexpected(reply)),
            },
            Err(broken) => Ending::Unanswered(broken),
        }
    }

    /// An upstream that stops taking the message often says why.
    async fn last_words(&mut self, broken: Broken) -> Ending {
        let patience = LAST_WORDS.min(self.connection.timeouts.command);
        match self.connection.reply(patience).await {
            Ok(reply) if reply.code == 421 => Ending::Lost(Broken::Closing(reply)),
            Ok(reply) if reply.class() > 3 => Ending::Refused(reply, "the message"),
            Ok(_) | Err(_) => Ending::Lost(broken),
        }
    }

    fn fate(&self, ending: &Ending) -> Fate {
        match ending {
            Ending::Refused(reply, _) if reply.code == 421 => Fate::Broken,
            Ending::Sent(_) | Ending::Refused(..) | Ending::Nobody | Ending::Unfit(_) => {
                Fate::Reusable
            }
            Ending::Lost(broken) if !self.answered => match broken {
                Broken::Timeout(_) => Fate::Broken,
                Broken::Closed
                | Broken::Io(_)
                | Broken::Malformed(_)
                | Broken::Unexpected(_)
                | Broken::Closing(_) => Fate::Stale,
            },
            Ending::Lost(_) | Ending::Unanswered(_) => Fate::Broken,
        }
    }

    fn outcomes(self, ending: Ending) -> Vec<Outcome> {
        let mail_taken = self.mail.as_ref().is_some_and(|mail| mail.class() == 2);
        let shared = self.shared(ending);
        let own = |index: usize| {
            let answer = self.answers.get(index).filter(|_| mail_taken)?;
            (answer.class() > 3).then(|| refused(answer.clone(), Scope::Recipient, "RCPT"))
        };
        let is_told = self.connection.offered.dsn;
        let of = |(index, recipient): (usize, &&EnvelopeRecipient)| {
            let mut outcome = own(index).unwrap_or_else(|| shared.clone());
            if let Outcome::Sent { owes_report, .. } = &mut outcome {
                *owes_report = !is_told && recipient.wants(Notice::Success);
            }
            outcome
        };
        self.recipients.iter().enumerate().map(of).collect()
    }

    /// The outcome of those whose RCPT was not refused.
    fn shared(&self, ending: Ending) -> Outcome {
        match ending {
            Ending::Sent(reply) => {
                let digest = self.transaction.message.digest;
                Outcome::Sent { reply, digest, parts: Vec::new(), owes_report: false }
            }
            Ending::Refused(reply, what) => refused(reply, Scope::Message, what),
            Ending::Nobody => Outcome::Temporary {
                scope: Scope::Session,
                reply: None,
                detail: "no recipient was accepted".into(),
            },
            Ending::Lost(broken) => Outcome::Temporary {
                scope: Scope::Session,
                detail: broken.to_string(),
                reply: broken.into_reply(),
            },
            Ending::Unanswered(broken) => Outcome::Unknown {
                detail: format!("the end of the message was not answered: {broken}"),
            },
            Ending::Unfit(detail) => {
                Outcome::Permanent { scope: Scope::Message, reply: None, detail }
            }
        }
    }
}

/// The outcome of a 4yz or 5yz reply to `what`.
fn refused(reply: Reply, scope: Scope, what: &str) -> Outcome {
    let detail = format!("{what} was refused");
    let reply_code = reply.code;
    let too_many = reply_code == 552 && scope == Scope::Recipient && is_too_many(&reply);
    let reply = Some(reply);
    match reply_code {
        421 => Outcome::Temporary { scope: Scope::Session, reply, detail },
        // RFC 4954 §6, RFC 3207 §4: it wants AUTH or TLS first. That is the operator's mistake,
        // and must not fail anybody's mail.
        530 | 534 | 535 | 538 => Outcome::Temporary { scope: Scope::Upstream, reply, detail },
        // RFC 5321 §4.5.3.1.10: too many recipients, in the words of RFC 821.
        552 if too_many => Outcome::Temporary { scope, reply, detail },
        500.. => Outcome::Permanent { scope, reply, detail },
        _ => Outcome::Temporary { scope, reply, detail },
    }
}

/// Whether a 452 or 552 to RCPT can mean that the transaction has enough recipients.
fn is_too_many(reply: &Reply) -> bool {
    reply.enhanced.is_none_or(|enhanced| (enhanced.1, enhanced.2) == (5, 3))
}

/// Whether a recipient was only too many for its transaction and deserves one of its own.
pub(super) fn was_too_many(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Temporary { scope: Scope::Recipient, reply: Some(reply), .. } => {
            matches!(reply.code, 452 | 552) && is_too_many(reply)
        }
        Outcome::Temporary { .. }
        | Outcome::Rejected { .. }
        | Outcome::Sent { .. }
        | Outcome::Permanent { .. }
        | Outcome::Unknown { .. } => false,
    }
}
