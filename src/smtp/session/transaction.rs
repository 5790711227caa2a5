//! MAIL, RCPT and RSET (RFC 5321 §4.1.1.2, §4.1.1.3, §4.1.1.5).
//!
//! A transaction begins only for a client that is known or has authenticated: whoever else asks is
//! refused at MAIL, whatever the recipient looks like, so this is never an open relay.

use super::state::{Draft, Hello, State};
use super::{AuthOffer, Output, Session, Wish};
use crate::model::envelope::{EnvelopeRecipient, FutureRelease};
use crate::model::{Reply, Timestamp};
use crate::smtp::command::{Mail, Rcpt};
use crate::smtp::wire::reply;

impl Session {
    pub(super) fn mail(
        &mut self,
        now: Timestamp,
        state: State,
        mail: Mail,
        out: &mut Output,
    ) -> State {
        let refusal = self
            .mail_is_timely(&state)
            .and_then(|()| self.client_may_send())
            .and_then(|()| self.parameters_are_possible(now, &mail));
        if let Err(reply) = refusal {
            return self.refuse(state, "MAIL", reply, out);
        }
        out.wish = Some(Wish::CheckSender(mail.path.clone()));
        State::SenderVerdict(Draft { mail, recipients: Vec::new() })
    }

    fn mail_is_timely(&self, state: &State) -> Result<(), Reply> {
        match (&self.hello, state) {
            (Hello::NotYet, _) => Err(reply(503, (5, 5, 1), "Say EHLO or HELO first")),
            (Hello::Helo(_) | Hello::Ehlo(_), State::Command) => Ok(()),
            _ => Err(reply(503, (5, 5, 1), "A transaction is open already")),
        }
    }

    fn client_may_send(&self) -> Result<(), Reply> {
        let known = self.client.known;
        match self.settings.auth {
            _ if self.authenticated => Ok(()),
            AuthOffer::Off | AuthOffer::Optional if known => Ok(()),
            AuthOffer::Off => Err(reply(550, (5, 7, 1), "Relaying denied")),
            AuthOffer::Optional | AuthOffer::Required => Err(match self.may_authenticate() {
                true => reply(530, (5, 7, 0), "Authentication required"),
                false if self.may_start_tls() => {
                    reply(530, (5, 7, 0), "Must issue a STARTTLS command first")
                }
                false => reply(550, (5, 7, 1), "Relaying denied"),
            }),
        }
    }

    fn parameters_are_possible(&self, now: Timestamp, mail: &Mail) -> Result<(), Reply> {
        let parameters = &mail.parameters;
        if parameters.size_bytes.is_some_and(|size| size > self.settings.max_message_size_bytes) {
            return Err(too_big());
        }
        if mail.path.needs_smtputf8() && !parameters.smtputf8 {
            return Err(needs_smtputf8());
        }
        let latest = now.plus(self.settings.max_hold);
        let too_late = match parameters.release {
            None => false,
            Some(FutureRelease::HoldFor(interval)) => interval > self.settings.max_hold,
            // A time that is past asks for no hold at all, so it is not an error (RFC 4865 §4).
            Some(FutureRelease::HoldUntil(at)) => at > latest,
        };
        match too_late {
            true => Err(reply(501, (5, 5, 4), "The requested release is too far ahead")),
            false => Ok(()),
        }
    }

    pub(super) fn sender_judged(&mut self, verdict: Result<(), Reply>, out: &mut Output) {
        self.state = match (std::mem::replace(&mut self.state, State::Closed), verdict) {
            (State::SenderVerdict(draft), Ok(())) => {
                self.answer(State::Transaction(draft), 250, (2, 1, 0), "Ok", out)
            }
            (State::SenderVerdict(_), Err(reply)) => {
                self.refuse(State::Command, "MAIL", reply, out)
            }
            (other, _) => unasked(other),
        };
    }

    pub(super) fn rcpt(&mut self, state: State, rcpt: Rcpt, out: &mut Output) -> State {
        let State::Transaction(draft) = state else {
            let text = "There is no transaction to add a recipient to";
            return self.refuse(state, "RCPT", reply(503, (5, 5, 1), text), out);
        };
        let refusal = if draft.recipients.len() >= self.settings.max_recipients {
            // RFC 5321 §4.5.3.1.10: the client sends the others in a further transaction.
            reply(452, (4, 5, 3), "Too many recipients")
        } else if rcpt.path.needs_smtputf8() && !draft.mail.parameters.smtputf8 {
            needs_smtputf8()
        } else {
            out.wish = Some(Wish::CheckRecipient(rcpt.path.clone()));
            let Rcpt { path, parameters } = rcpt;
            let (notify, original) = (parameters.notify, parameters.original);
            return State::RecipientVerdict(draft, EnvelopeRecipient { path, notify, original });
        };
        self.refuse(State::Transaction(draft), "RCPT", refusal, out)
    }

    pub(super) fn recipient_judged(&mut self, verdict: Result<(), Reply>, out: &mut Output) {
        self.state = match (std::mem::replace(&mut self.state, State::Closed), verdict) {
            (State::RecipientVerdict(mut draft, recipient), Ok(())) => {
                draft.recipients.push(recipient);
                self.answer(State::Transaction(draft), 250, (2, 1, 5), "Ok", out)
            }
            (State::RecipientVerdict(draft, _), Err(reply)) => {
                self.refuse(State::Transaction(draft), "RCPT", reply, out)
            }
            (other, _) => unasked(other),
        };
    }

    pub(super) fn rset(&mut self, out: &mut Output) -> State {
        out.discard();
        self.answer(State::Command, 250, (2, 0, 0), "Ok", out)
    }
}

/// A verdict that nobody asked for is a bug of the driver; the session goes on as it was.
pub(super) fn unasked(state: State) -> State {
    debug_assert!(false, "a verdict that was not asked for in {state:?}");
    state
}

pub(super) fn too_big() -> Reply {
    reply(552, (5, 3, 4), "Message size exceeds the limit")
}

fn needs_smtputf8() -> Reply {
    reply(553, (5, 6, 7), "This address needs the SMTPUTF8 parameter of MAIL")
}
