//! SMS that answer an inbound one: what an application said in its response, and what a rule says.
//!
//! They pass the door like every other SMS, with an idempotency key that is made from what they
//! answer: told twice because of a crash, they are sent once. A rule answers a person once an hour,
//! never a name or a short code, and never its own words, so that two machines do not talk for ever.

use std::time::Duration;

use super::Flows;
use super::rule::{Flow, FlowAction};
use crate::archive::{ArchiveError, Filter, Message, Order};
use crate::intake::SmsSubmission;
use crate::model::{
    Channel, Dialect, Digest, Direction, Originator, ReceiptRequest, Sms, SmsBody, Tag, Timestamp,
};
use crate::sms::call::{Draft, Refusal, SmsReply};
use crate::sms::number::NumberStyle;

/// By which what a rule answered is found again.
const TAG: &str = "auto-reply";
/// A rule answers one person once in so long.
const QUIET: Duration = Duration::from_secs(3600);

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// It was taken, or will never be.
    Settled,
    /// It is to be tried again: the door is closed for the moment.
    NotNow,
}

/// Answers an inbound SMS as a rule says.
pub(super) async fn by_rule(
    with: &Flows,
    flows: &[Flow],
    message: &Message,
    text: &str,
) -> Result<Answered, ArchiveError> {
    let Some(sms) = message.medium.sms() else { return Ok(Answered::Settled) };
    let now = (with.clock)();
    if !may_answer(sms, flows) || was_answered(with, sms, now)? {
        return Ok(Answered::Settled);
    }
    let reply = SmsReply { to: None, from: None, text: text.to_owned(), status_url: None };
    submit(with, message, sms, reply, Key { what: "rule", number: 0 }, Tag::parse(TAG)).await
}

/// Sends what an application answered to an inbound SMS, in the order in which it said it.
pub(super) async fn by_app(
    with: &Flows,
    message: &Message,
    replies: Vec<SmsReply>,
) -> Result<Answered, ArchiveError> {
    let Some(sms) = message.medium.sms() else { return Ok(Answered::Settled) };
    for (number, reply) in replies.into_iter().enumerate() {
        let key = Key { what: "app", number };
        if submit(with, message, sms, reply, key, None).await? == Answered::NotNow {
            return Ok(Answered::NotNow);
        }
    }
    Ok(Answered::Settled)
}

/// A person with a number, who does not say what a rule of ours says.
fn may_answer(sms: &Sms, flows: &[Flow]) -> bool {
    let is_person = match &sms.originator {
        Some(Originator::Number(_) | Originator::Opaque(_)) => true,
        Some(Originator::ShortCode(_) | Originator::Alphanumeric(_) | Originator::Service(_))
        | None => false,
    };
    let heard = sms.text().trim();
    let says_so = |flow: &Flow| match &flow.action {
        FlowAction::Reply { text } => text.trim() == heard,
        FlowAction::Webhook { .. } => false,
    };
    is_person && !flows.iter().any(says_so)
}

fn was_answered(with: &Flows, sms: &Sms, now: Timestamp) -> Result<bool, ArchiveError> {
    let hour = i64::try_from(QUIET.as_millis()).unwrap_or(i64::MAX);
    let filter = Filter {
        channel: Some(Channel::Sms),
        direction: Some(Direction::Outbound),
        recipient: sms.originator.as_ref().map(ToString::to_string),
        tag: Tag::parse(TAG),
        since: Some(Timestamp::from_millis(now.as_millis() - hour)),
        ..Filter::default()
    };
    Ok(!with.archive.list(&filter, Order::Newest, None, 1)?.items.is_empty())
}

/// Which reply to a message it is.
struct Key {
    what: &'static str,
    number: usize,
}

async fn submit(
    with: &Flows,
    answered: &Message,
    sms: &Sms,
    reply: SmsReply,
    key: Key,
    tag: Option<Tag>,
) -> Result<Answered, ArchiveError> {
    let id = answered.id;
    let apps = with.apps.load();
    let Some(app) = apps.0.iter().find(|app| app.name == answered.app) else {
        tracing::warn!(%id, "a reply was dropped: the app is no longer configured");
        return Ok(Answered::Settled);
    };
    let person = sms.originator.as_ref().map(ToString::to_string);
    let Some(to) = reply.to.or(person) else { return Ok(Answered::Settled) };
    let idempotency_key = format!("reply {id} {} {}", key.what, key.number);
    let hash = Digest::of_parts([idempotency_key.as_bytes(), reply.text.as_bytes()]);
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.0[..16]);
    let raw = reply.text.clone().into();
    let mut draft = Draft::new(to, NumberStyle::International, SmsBody::Text(reply.text));
    draft.from = Some(reply.from.unwrap_or_else(|| sms.destination.to_string()));
    draft.tag = tag;
    // The dialects that have no mask read every bit as wanted.
    draft.receipt = reply.status_url.map(|url| ReceiptRequest { url, mask: u8::MAX });
    let submission = SmsSubmission {
        app: app.clone(),
        client: answered.client.clone(),
        dialect: if key.what == "app" { sms.dialect } else { Dialect::Waybill },
        account: None,
        raw,
        fingerprint,
        drafts: vec![draft],
        idempotency_key: Some(idempotency_key),
        received_at: (with.clock)(),
        reply_to: Some(id),
        confirms_opt_out: false,
    };
    match with.intake.submit_sms(submission).await {
        Ok(_) => Ok(Answered::Settled),
        Err(Refusal::NotNow) => Ok(Answered::NotNow),
        Err(refusal) => {
            // An application that answers with something else when it is asked again has been
            // answered for already.
            tracing::warn!(%id, refusal = refusal_word(&refusal), "a reply was refused");
            Ok(Answered::Settled)
        }
    }
}

/// Refusals may quote what was given; the log does not.
fn refusal_word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::OptedOut(_) => "the recipient has opted out",
        Refusal::RateLimited { .. } => "the app's rate",
        Refusal::KeyReused => "it was answered before",
        Refusal::TooLong { .. } => "it is too long",
        Refusal::BadCallback(_) => "its callback is not allowed",
        Refusal::OriginatorNotAllowed(_) => "the app may not send as this",
        Refusal::Credentials
        | Refusal::BadSignature
        | Refusal::NoDestination
        | Refusal::BadDestination(_)
        | Refusal::NoOriginator
        | Refusal::BadOriginator(_)
        | Refusal::NoBody
        | Refusal::BadSchedule(_)
        | Refusal::Unsupported(_)
        | Refusal::Field { .. }
        | Refusal::Malformed(_)
        | Refusal::TooManyDestinations { .. }
        | Refusal::NotNow
        | Refusal::UnknownMessage
        | Refusal::TooLate
        | Refusal::NotFinished => "it can not be sent",
    }
}
