//! What a session gives out: replies, octets to keep, wishes.

use crate::model::{Envelope, ForwardPath, Reply, ReversePath, Secret};
use crate::smtp::wire;

/// What follows from an input. The driver empties `reply` when it writes it, and owns `body` until
/// the message is submitted or discarded.
#[derive(Debug, Default)]
pub struct Output {
    /// Octets for the client, in order.
    pub reply: Vec<u8>,
    /// Octets of the message, decoded; more is appended as it comes.
    pub body: Vec<u8>,
    /// Whatever was kept of a message before this output is to be forgotten; `body` holds what came
    /// after. Set by the session, cleared by the driver.
    pub discarded: bool,
    /// What the session needs next; it executes nothing more until it has got it.
    pub wish: Option<Wish>,
    /// What was refused, for the log.
    pub refusals: Vec<Refusal>,
}

/// What a session needs from the world.
#[derive(Debug)]
pub enum Wish {
    /// Are these credentials right? Answer with `Input::Authenticated`.
    Authenticate { username: String, password: Secret },
    /// May the client send as this? Answer with `Input::SenderJudged`.
    CheckSender(ReversePath),
    /// May the client send to this? Answer with `Input::RecipientJudged`.
    CheckRecipient(ForwardPath),
    /// Make this message durable; its octets are what was kept. Answer with `Input::MessageJudged`.
    Submit(Transaction),
    /// The reply has to go out, then TLS begins. Answer with `Input::TlsEstablished`, or hang up.
    StartTls,
    /// Hang up when the reply is out.
    Close,
}

/// A complete transaction, but for its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub envelope: Envelope,
    /// What the client called itself: letters, digits and `-._:[]?`, at most 255 of them.
    pub helo: String,
    /// The protocol for `Received`: `ESMTPSA` and its like (RFC 3848, RFC 6531 §4.3).
    pub protocol: &'static str,
    /// A bare CR or LF was made CRLF.
    pub newlines_fixed: bool,
}

/// A refused command or message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The verb, or `message`, `line`, `command`, `session`.
    pub command: &'static str,
    pub reply: Reply,
}

impl Output {
    /// Adds a reply.
    pub(super) fn say(&mut self, reply: &Reply) {
        wire::write(reply, &mut self.reply);
    }

    /// Forgets what was kept of the message.
    pub(super) fn discard(&mut self) {
        // The memory goes too: a session that waits must not hold what a message needed.
        self.body = Vec::new();
        self.discarded = true;
    }
}
