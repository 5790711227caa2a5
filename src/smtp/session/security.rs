//! AUTH (RFC 4954) and STARTTLS (RFC 3207).

use super::state::{Hello, State};
use super::transaction::unasked;
use super::{AuthOffer, AuthVerdict, Output, Session, Wish};
use crate::model::Reply;
use crate::smtp::sasl::{self, Exchange, Step};
use crate::smtp::wire::reply;

impl Session {
    pub(super) fn auth(
        &mut self,
        state: State,
        mechanism: &str,
        initial: Option<&str>,
        out: &mut Output,
    ) -> State {
        if let Err(reply) = self.auth_is_timely(&state) {
            return self.refuse(state, "AUTH", reply, out);
        }
        let step = sasl::start(mechanism, initial);
        self.auth_step(step, out)
    }

    fn auth_is_timely(&self, state: &State) -> Result<(), Reply> {
        if self.settings.auth == AuthOffer::Off {
            return Err(reply(502, (5, 5, 1), "AUTH is not offered here"));
        }
        if !self.may_authenticate() {
            return Err(reply(538, (5, 7, 11), "Encryption required"));
        }
        match (&self.hello, state) {
            (Hello::NotYet | Hello::Helo(_), _) => Err(reply(503, (5, 5, 1), "Say EHLO first")),
            _ if self.authenticated => Err(reply(503, (5, 5, 1), "Already authenticated")),
            (Hello::Ehlo(_), State::Command) => Ok(()),
            (Hello::Ehlo(_), _) => Err(reply(503, (5, 5, 1), "A transaction is open")),
        }
    }

    /// A line of the exchange.
    pub(super) fn auth_line(&mut self, exchange: Exchange, line: &[u8], out: &mut Output) -> State {
        let step = exchange.answer(line);
        self.auth_step(step, out)
    }

    fn auth_step(&mut self, step: Result<Step, Reply>, out: &mut Output) -> State {
        match step {
            Ok(Step::Challenge(exchange)) => {
                out.reply.extend_from_slice(format!("334 {}\r\n", exchange.challenge()).as_bytes());
                State::Auth(exchange)
            }
            Ok(Step::Complete(credentials)) => {
                let (username, password) = (credentials.username, credentials.password);
                out.wish = Some(Wish::Authenticate { username, password });
                State::Authenticating
            }
            Err(reply) => self.refuse(State::Command, "AUTH", reply, out),
        }
    }

    pub(super) fn authenticated(&mut self, verdict: AuthVerdict, out: &mut Output) {
        if !matches!(self.state, State::Authenticating) {
            self.state = unasked(std::mem::replace(&mut self.state, State::Closed));
            return;
        }
        self.state = match verdict {
            AuthVerdict::Accepted => {
                self.authenticated = true;
                self.answer(State::Command, 235, (2, 7, 0), "Authentication successful", out)
            }
            // The same for an unknown user as for a wrong password (RFC 4954 §6).
            AuthVerdict::Refused => {
                let refusal = reply(535, (5, 7, 8), "Authentication credentials invalid");
                self.refuse(State::Command, "AUTH", refusal, out)
            }
            AuthVerdict::Unavailable => {
                let refusal = reply(454, (4, 7, 0), "Temporary authentication failure");
                self.refuse(State::Command, "AUTH", refusal, out)
            }
        };
    }

    /// `more`: octets stand behind the command. They came in clear and must not be taken for what
    /// TLS protects (CVE-2011-0411), and a client that sends them is broken or under attack.
    pub(super) fn start_tls(&mut self, state: State, more: bool, out: &mut Output) -> State {
        if self.client.encrypted {
            return self.refuse(state, "STARTTLS", reply(503, (5, 5, 1), "TLS is active"), out);
        }
        if !self.may_start_tls() {
            return self.refuse(
                state,
                "STARTTLS",
                reply(502, (5, 5, 1), "TLS is not offered"),
                out,
            );
        }
        out.discard();
        if more {
            let refusal = reply(554, (5, 5, 1), "Data behind STARTTLS");
            self.refuse(State::Closed, "STARTTLS", refusal, out);
            out.wish = Some(Wish::Close);
            return State::Closed;
        }
        out.say(&reply(220, (2, 0, 0), "Ready to start TLS"));
        out.wish = Some(Wish::StartTls);
        State::TlsHandshake
    }

    /// RFC 3207 §4.2: everything that was learnt before is forgotten.
    pub(super) fn tls_established(&mut self) {
        if !matches!(self.state, State::TlsHandshake) {
            self.state = unasked(std::mem::replace(&mut self.state, State::Closed));
            return;
        }
        self.client.encrypted = true;
        self.hello = Hello::NotYet;
        self.authenticated = false;
        // Octets that came in clear while the handshake was due are never executed.
        self.pending.clear();
        self.state = State::Command;
    }
}
