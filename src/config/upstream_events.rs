//! `events` of an `[[upstream]]` for mail: who tells over HTTP what became of it, and what proves it.

use super::kind::{Choice, Complaint, TEXT, Word};
use super::secret::OneLine;
use super::section::Section;
use crate::events::{EventSource, Proof, SendGridKey, Topic};

/// Whose events they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teller {
    Ses,
    SendGrid,
    Mailgun,
    Postmark,
    Mailjet,
    Brevo,
}

const KIND: Choice<Teller> = Choice(&[
    ("ses", Teller::Ses),
    ("sendgrid", Teller::SendGrid),
    ("mailgun", Teller::Mailgun),
    ("postmark", Teller::Postmark),
    ("mailjet", Teller::Mailjet),
    ("brevo", Teller::Brevo),
]);

const TOPIC: Word<Topic> = Word {
    expected: "the ARN of an SNS topic",
    example: "arn:aws:sns:eu-west-1:123456789012:waybill",
    parse: |text| Topic::parse(text).ok_or_else(Complaint::plain),
    write: |topic| topic.as_str().to_owned(),
};

const VERIFICATION_KEY: Word<SendGridKey> = Word {
    expected: "the verification key that SendGrid shows beside its event webhook",
    example: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…",
    parse: |text| SendGridKey::parse(text).ok_or_else(Complaint::plain),
    write: |key| key.as_str().to_owned(),
};

pub(super) fn read_events(upstream: &Section<'_, '_>) -> Option<EventSource> {
    upstream.optional_table("events", |events| {
        let Some(kind) = events.required("kind", &KIND) else {
            events.abandon();
            return None;
        };
        match kind {
            Teller::Ses => {
                let topic = events.required("topic", &TOPIC)?;
                Some(EventSource::Ses { topic })
            }
            Teller::SendGrid => {
                let key = events.required("key", &VERIFICATION_KEY)?;
                Some(EventSource::SendGrid { key })
            }
            Teller::Mailgun => {
                let key = events.required("key", &OneLine)?;
                Some(EventSource::Mailgun { key })
            }
            Teller::Postmark => read_proof(events).map(|proof| EventSource::Postmark { proof }),
            Teller::Mailjet => read_proof(events).map(|proof| EventSource::Mailjet { proof }),
            Teller::Brevo => read_proof(events).map(|proof| EventSource::Brevo { proof }),
        }
    })
}

/// A login or a token: these providers sign nothing.
fn read_proof(events: &Section<'_, '_>) -> Option<Proof> {
    let token = events.optional("token", &OneLine);
    let user = events.optional("user", &TEXT);
    let password = events.optional("password", &OneLine);
    let has_login = events.is_set("user") || events.is_set("password");
    if events.is_set("token") == has_login {
        let label = events.label();
        let what = match has_login {
            true => format!("{label} has both a token and a login"),
            false => format!("{label} does not say how its calls are proven"),
        };
        let advice = "write token = { file = \"…\" }, or user and password";
        events.context.report.error(events.place("kind"), what, advice);
        return None;
    }
    if has_login && !(events.is_set("user") && events.is_set("password")) {
        let what = format!("{} has half a login", events.label());
        let advice = "write both user and password";
        events.context.report.error(events.place("kind"), what, advice);
    }
    match (token, user, password) {
        (Some(token), ..) => Some(Proof::Token(token)),
        (None, Some(user), Some(password)) => Some(Proof::Login { user, password }),
        (None, ..) => None,
    }
}
