//! One SMTP session as a pure state machine (RFC 5321 §3, §4).
//!
//! Takes an [`Input`] and the time, appends to an [`Output`]: reply bytes in order, octets of the
//! message to keep, and at most one [`Wish`]. While a wish waits for its verdict nothing more is
//! executed; what the client pipelined behind it (RFC 2920) is kept and goes on with the verdict.
//! How the stream is split makes no difference to what comes out.
//!
//! Invariants: a message is told of only after its real end; nothing that came before TLS survives
//! it; no transaction begins for a client that is neither known nor authenticated; after
//! [`Wish::Close`] nothing is executed. Memory is bounded by the recipients, one line and what was
//! received while a verdict was due.
//!
//! This file only dispatches. `state` holds the states, `hello` greets, `transaction` does MAIL,
//! RCPT and RSET, `message` DATA and BDAT, `security` AUTH and STARTTLS.

mod hello;
mod message;
mod output;
mod security;
mod state;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::command::{self, Command};
use super::content::BareNewline;
use super::line::{Framed, LineFramer, MAX_COMMAND_LINE_BYTES};
use super::wire::reply;
use crate::model::{Reply, Timestamp};
pub use output::{Output, Refusal, Transaction, Wish};
use state::{Hello, State};

/// What a listener promises and how far it goes.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// The name in the greeting and in replies.
    pub hostname: String,
    /// Text after the host name in the greeting.
    pub greeting: String,
    pub max_message_size_bytes: u64,
    pub max_recipients: usize,
    /// Refused commands before the session is closed; an accepted message starts the count again.
    pub max_errors: usize,
    /// How far ahead a client may ask for a release (RFC 4865).
    pub max_hold: Duration,
    pub bare_newline: BareNewline,
    pub tls: TlsOffer,
    pub auth: AuthOffer,
    /// AUTH may be used without TLS: the listener is on loopback.
    pub auth_in_clear: bool,
}

/// Whether STARTTLS is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOffer {
    None,
    StartTls,
}

/// Whether AUTH is offered, and whether MAIL needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthOffer {
    Off,
    Optional,
    Required,
}

/// What is known of the client when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address alone says who it is.
    pub known: bool,
    /// TLS was established before the greeting.
    pub encrypted: bool,
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input<'a> {
    /// The client is there; it gets the greeting.
    Connected,
    /// Octets from the client.
    Received(&'a [u8]),
    /// The verdict on [`Wish::Authenticate`].
    Authenticated(AuthVerdict),
    /// The verdict on [`Wish::CheckSender`].
    SenderJudged(Result<(), Reply>),
    /// The verdict on [`Wish::CheckRecipient`].
    RecipientJudged(Result<(), Reply>),
    /// The verdict on [`Wish::Submit`]: a 2yz reply is the promise that the message is durable.
    MessageJudged(Reply),
    /// The answer to [`Wish::StartTls`].
    TlsEstablished,
    /// A deadline passed.
    TimedOut,
    /// The service goes down: a message that is on its way may still end.
    ShuttingDown,
}

/// Whether credentials are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthVerdict {
    Accepted,
    Refused,
    /// Not judged: too many failures, or nobody can tell now.
    Unavailable,
}

/// What a session waits for, so that its driver can set a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first octet of a command.
    Idle,
    /// The rest of a line.
    Line,
    /// The rest of a message or chunk.
    Message,
    /// A verdict.
    Verdict,
    /// Nothing: it has ended.
    Closed,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    client: Client,
    hello: Hello,
    authenticated: bool,
    errors: usize,
    /// Messages refused for a bare CR or LF.
    bare_newlines: usize,
    shutting_down: bool,
    lines: LineFramer,
    /// What came while a verdict was due.
    pending: BytesMut,
    state: State,
}

impl Session {
    /// A session that has not greeted yet.
    pub fn new(settings: Arc<SessionSettings>, client: Client) -> Session {
        Session {
            settings,
            client,
            hello: Hello::NotYet,
            authenticated: false,
            errors: 0,
            bare_newlines: 0,
            shutting_down: false,
            lines: LineFramer::default(),
            pending: BytesMut::new(),
            state: State::Command,
        }
    }

    /// What it waits for.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Command | State::Auth(_) | State::Transaction(_) | State::BetweenChunks(_) => {
                match self.lines.is_inside_line() {
                    true => Phase::Line,
                    false => Phase::Idle,
                }
            }
            State::Data(..) | State::Chunk(..) | State::RefusedChunk { .. } => Phase::Message,
            State::Authenticating
            | State::SenderVerdict(_)
            | State::RecipientVerdict(..)
            | State::MessageVerdict
            | State::TlsHandshake => Phase::Verdict,
            State::Closed => Phase::Closed,
        }
    }

    /// Takes what happened; appends what follows from it to `out`.
    pub fn handle(&mut self, now: Timestamp, input: Input<'_>, out: &mut Output) {
        if self.phase() == Phase::Closed {
            return;
        }
        match input {
            Input::Connected => self.greet(out),
            Input::Received(bytes) => return self.receive(now, bytes, out),
            Input::Authenticated(verdict) => self.authenticated(verdict, out),
            Input::SenderJudged(verdict) => self.sender_judged(verdict, out),
            Input::RecipientJudged(verdict) => self.recipient_judged(verdict, out),
            Input::MessageJudged(reply) => self.message_judged(&reply, out),
            Input::TlsEstablished => self.tls_established(),
            Input::TimedOut => {
                self.close(out, (4, 4, 2), "Timeout");
            }
            Input::ShuttingDown => self.shutting_down = true,
        }
        self.limit(out);
        self.resume(now, out);
    }

    fn receive(&mut self, now: Timestamp, bytes: &[u8], out: &mut Output) {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(bytes);
            return self.resume(now, out);
        }
        let taken = self.consume(now, bytes, out);
        self.pending.extend_from_slice(&bytes[taken..]);
    }

    /// Goes on with what was kept.
    fn resume(&mut self, now: Timestamp, out: &mut Output) {
        let mut pending = std::mem::take(&mut self.pending);
        let taken = self.consume(now, &pending, out);
        pending.advance(taken);
        if !pending.is_empty() {
            self.pending = pending;
        }
    }

    /// Executes octets until a verdict is due; gives how many were taken.
    fn consume(&mut self, now: Timestamp, bytes: &[u8], out: &mut Output) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match std::mem::replace(&mut self.state, State::Closed) {
                State::Closed => rest.len(),
                State::Data(incoming, decoder) => self.data_octets(incoming, decoder, rest, out),
                State::Chunk(chunk) => self.chunk_octets(chunk, rest, out),
                State::RefusedChunk { remaining, reply } => {
                    self.refused_octets(remaining, reply, rest, out)
                }
                state @ (State::Command
                | State::Auth(_)
                | State::Transaction(_)
                | State::BetweenChunks(_)) => {
                    let (taken, framed) = self.lines.take(rest);
                    self.state = match framed {
                        Some(framed) => self.line(now, state, framed, taken < rest.len(), out),
                        None => state,
                    };
                    taken
                }
                waiting @ (State::Authenticating
                | State::SenderVerdict(_)
                | State::RecipientVerdict(..)
                | State::MessageVerdict
                | State::TlsHandshake) => {
                    self.state = waiting;
                    return at;
                }
            };
            self.limit(out);
        }
        at
    }

    /// Ends a session that made too many errors, or that the service's end leaves nothing to do.
    fn limit(&mut self, out: &mut Output) {
        match self.phase() {
            Phase::Closed | Phase::Verdict | Phase::Message => {}
            Phase::Idle | Phase::Line if self.errors >= self.settings.max_errors => {
                self.close(out, (4, 7, 0), "Too many errors");
            }
            Phase::Idle | Phase::Line => {
                if self.shutting_down && !matches!(self.state, State::BetweenChunks(_)) {
                    self.close(out, (4, 3, 2), "Service shutting down");
                }
            }
        }
    }

    /// One line: of an AUTH exchange, or a command. `more` says whether octets stand behind it.
    fn line(
        &mut self,
        now: Timestamp,
        state: State,
        framed: Framed,
        more: bool,
        out: &mut Output,
    ) -> State {
        let line = match framed {
            Framed::Line(line) => line,
            Framed::Malformed => {
                let text = "Syntax error: a line ends in CRLF and holds no other CR, LF or NUL";
                return self.refuse(state, "line", reply(500, (5, 5, 2), text), out);
            }
            Framed::TooLong => return self.line_too_long(state, out),
            Framed::Endless => return self.close(out, (4, 5, 2), "Line too long"),
        };
        match state {
            State::Auth(exchange) => self.auth_line(exchange, &line, out),
            state if line.len() > MAX_COMMAND_LINE_BYTES && !command::is_auth(&line) => {
                self.line_too_long(state, out)
            }
            state => match command::parse(&line) {
                Ok(command) => self.command(now, state, command, more, out),
                Err(reply) => self.refuse(state, "command", reply, out),
            },
        }
    }

    fn command(
        &mut self,
        now: Timestamp,
        state: State,
        command: Command,
        more: bool,
        out: &mut Output,
    ) -> State {
        match command {
            Command::Helo(name) => self.hello(now, Hello::Helo(name), out),
            Command::Ehlo(name) => self.hello(now, Hello::Ehlo(name), out),
            Command::Mail(mail) => self.mail(now, state, mail, out),
            Command::Rcpt(rcpt) => self.rcpt(state, rcpt, out),
            Command::Data => self.data(state, out),
            Command::Bdat { size_bytes, last } => self.bdat(state, size_bytes, last, out),
            Command::BdatBeyondMeasure => self.bdat_beyond_measure(out),
            Command::Rset => self.rset(out),
            Command::Auth { mechanism, initial } => {
                self.auth(state, &mechanism, initial.as_deref(), out)
            }
            Command::StartTls => self.start_tls(state, more, out),
            Command::Noop => self.answer(state, 250, (2, 0, 0), "Ok", out),
            Command::Help => self.answer(state, 214, (2, 0, 0), "See RFC 5321", out),
            Command::Vrfy => {
                self.answer(state, 252, (2, 0, 0), "Send a message and see what becomes of it", out)
            }
            Command::Expn => {
                self.refuse(state, "EXPN", reply(502, (5, 5, 1), "Not implemented"), out)
            }
            Command::Quit => self.quit(out),
            Command::Http => self.close(out, (4, 7, 0), "This is not a web server"),
        }
    }

    fn answer(
        &self,
        state: State,
        code: u16,
        enhanced: (u8, u16, u16),
        text: &str,
        out: &mut Output,
    ) -> State {
        out.say(&reply(code, enhanced, text));
        state
    }

    /// Refuses a command and stays where it was.
    fn refuse(
        &mut self,
        state: State,
        command: &'static str,
        reply: Reply,
        out: &mut Output,
    ) -> State {
        out.say(&reply);
        if reply.class() == 5 {
            self.errors += 1;
        }
        out.refusals.push(Refusal { command, reply });
        state
    }

    fn line_too_long(&mut self, state: State, out: &mut Output) -> State {
        let (enhanced, state) = match state {
            // RFC 4954 §6; the exchange is over.
            State::Auth(_) => ((5, 5, 6), State::Command),
            state => ((5, 5, 2), state),
        };
        self.refuse(state, "line", reply(500, enhanced, "Line too long"), out)
    }

    fn quit(&mut self, out: &mut Output) -> State {
        out.discard();
        out.say(&reply(221, (2, 0, 0), "Bye"));
        out.wish = Some(Wish::Close);
        State::Closed
    }

    /// Says 421 with the reason, and good-bye.
    fn close(&mut self, out: &mut Output, enhanced: (u8, u16, u16), why: &str) -> State {
        let reply = reply(421, enhanced, &format!("{}: {why}", self.settings.hostname));
        out.discard();
        out.say(&reply);
        out.refusals.push(Refusal { command: "session", reply });
        out.wish = Some(Wish::Close);
        self.state = State::Closed;
        State::Closed
    }
}

#[cfg(test)]
mod tests;
