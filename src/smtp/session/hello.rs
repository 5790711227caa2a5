//! Greeting, HELO and EHLO (RFC 5321 §3.1, §4.1.1.1), and the name of the protocol (RFC 3848).

use super::state::{Hello, State};
use super::{AuthOffer, Output, Session, TlsOffer};
use crate::model::{Reply, Timestamp};

impl Session {
    pub(super) fn greet(&mut self, out: &mut Output) {
        let text = format!("{} {}", self.settings.hostname, self.settings.greeting);
        // RFC 2034 §4: the greeting and the reply to EHLO carry no enhanced code.
        out.say(&Reply::new(220, None, text.trim_end()));
    }

    /// Both begin anew: a transaction that was open is forgotten (RFC 5321 §4.1.4).
    pub(super) fn hello(&mut self, now: Timestamp, hello: Hello, out: &mut Output) -> State {
        out.discard();
        let text = match &hello {
            Hello::NotYet | Hello::Helo(_) => self.settings.hostname.clone(),
            Hello::Ehlo(_) => self.extensions(now),
        };
        out.say(&Reply::new(250, None, &text));
        self.hello = hello;
        State::Command
    }

    fn extensions(&self, now: Timestamp) -> String {
        let mut lines = vec![self.settings.hostname.clone()];
        lines.push("PIPELINING".into());
        lines.push(format!("SIZE {}", self.settings.max_message_size_bytes));
        if self.may_start_tls() {
            lines.push("STARTTLS".into());
        }
        if self.may_authenticate() {
            lines.push("AUTH PLAIN LOGIN".into());
        }
        for always in ["ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING"] {
            lines.push(always.into());
        }
        let (seconds, until) = (self.settings.max_hold.as_secs(), now.plus(self.settings.max_hold));
        lines.push(format!("FUTURERELEASE {seconds} {}", whole_seconds(until)));
        lines.join("\n")
    }

    /// STARTTLS is there and not used yet.
    pub(super) fn may_start_tls(&self) -> bool {
        self.settings.tls == TlsOffer::StartTls && !self.client.encrypted
    }

    /// AUTH is there and a password would not travel in clear, unless that was allowed.
    pub(super) fn may_authenticate(&self) -> bool {
        self.settings.auth != AuthOffer::Off
            && (self.client.encrypted || self.settings.auth_in_clear)
    }

    /// What the client called itself; empty before it did.
    pub(super) fn helo_name(&self) -> &str {
        match &self.hello {
            Hello::NotYet => "",
            Hello::Helo(name) | Hello::Ehlo(name) => name,
        }
    }

    /// The `with` protocol of `Received` (RFC 3848; RFC 6531 §4.3).
    pub(super) fn protocol(&self, smtputf8: bool) -> &'static str {
        let extended = matches!(self.hello, Hello::Ehlo(_));
        match (extended, smtputf8, self.client.encrypted, self.authenticated) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// RFC 4865 §3 wants a time without a fraction.
fn whole_seconds(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}Z", text.split('.').next().unwrap_or_default())
}
