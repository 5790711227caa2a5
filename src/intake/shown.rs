//! An archived SMS as the dialects show it.
//!
//! The five public words are too few for them: where a message stands is told from its recipient's
//! state, its parts and what was asked for. Nothing is read or decided here.

use crate::archive::{Message, Recipient};
use crate::model::{
    Cause, Direction, FailureReason, Hold, ReceiptState, RecipientState, Sms, Timestamp,
};
use crate::sms::call::{Shown, ShownState};

/// `None` when it is no SMS.
pub fn shown(message: &Message) -> Option<Shown> {
    let sms = message.medium.sms()?;
    let recipient = message.recipients.first()?;
    let state = match message.direction {
        Direction::Inbound => ShownState::Received,
        Direction::Outbound => state(message, sms, recipient),
    };
    let (updated_at, sent_at, done_at) = times(message, recipient);
    Some(Shown {
        id: message.id,
        sequence: message.sequence,
        direction: message.direction,
        sms: sms.clone(),
        state,
        failure: failure(recipient),
        provider_code: provider_code(recipient),
        accepted_at: message.accepted_at,
        updated_at,
        sent_at,
        done_at,
        parts: recipient.parts.iter().map(|part| part.state).collect(),
    })
}

fn state(message: &Message, sms: &Sms, recipient: &Recipient) -> ShownState {
    match &recipient.state {
        RecipientState::Held { hold: Hold::Manual } => ShownState::Held,
        // The later of hold and schedule is what it waits for.
        RecipientState::Held { hold: Hold::Until(until) } => match sms.send_at {
            Some(at) if at >= *until => ShownState::Scheduled,
            Some(_) | None => ShownState::Held,
        },
        RecipientState::Due { .. } => ShownState::Queued,
        RecipientState::Claimed { .. } => ShownState::Sending,
        RecipientState::Sent { .. } if recipient.delivered_at.is_some() => ShownState::Delivered,
        RecipientState::Sent { .. } => ShownState::Sent,
        RecipientState::Stopped { by, .. } if *by == by_app(message) => ShownState::Canceled,
        RecipientState::Stopped { .. } => ShownState::Stopped,
        RecipientState::Failed { cause, .. } => failed(cause, recipient),
        RecipientState::NotSent { .. } => ShownState::NotSent,
    }
}

/// Who an application is in the history of its own messages.
fn by_app(message: &Message) -> String {
    format!("app {}", message.app)
}

fn failed(cause: &Cause, recipient: &Recipient) -> ShownState {
    let lost = |state| recipient.parts.iter().any(|part| part.state == state);
    match cause {
        Cause::Refused { .. } => ShownState::Rejected,
        Cause::Unanswered { .. } => ShownState::Undelivered,
        Cause::Expired { .. } => ShownState::Expired,
        Cause::Undelivered { reason: FailureReason::Expired, .. } => ShownState::Expired,
        // Without parts the provider never took it.
        Cause::Undelivered { .. } if recipient.parts.is_empty() => ShownState::Rejected,
        Cause::Undelivered { .. } if lost(ReceiptState::Undelivered) => ShownState::Undelivered,
        Cause::Undelivered { .. } if lost(ReceiptState::Expired) => ShownState::Expired,
        Cause::Undelivered { .. } if lost(ReceiptState::Rejected) => ShownState::Rejected,
        Cause::Undelivered { .. } => ShownState::Undelivered,
    }
}

fn failure(recipient: &Recipient) -> Option<FailureReason> {
    match &recipient.state {
        RecipientState::Failed { cause, .. } => Some(match cause {
            Cause::Refused { .. } => FailureReason::Unknown,
            Cause::Unanswered { .. } => FailureReason::NetworkError,
            Cause::Undelivered { reason, .. } => *reason,
            Cause::Expired { .. } => FailureReason::Expired,
        }),
        RecipientState::NotSent { .. } => Some(FailureReason::NoRoute),
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. } => None,
    }
}

fn provider_code(recipient: &Recipient) -> Option<String> {
    match &recipient.state {
        RecipientState::Failed { cause: Cause::Undelivered { code, .. }, .. } => code.clone(),
        _ => None,
    }
}

/// When it last moved, when a provider took it, and when it came to its end.
fn times(
    message: &Message,
    recipient: &Recipient,
) -> (Timestamp, Option<Timestamp>, Option<Timestamp>) {
    let accepted = message.accepted_at;
    match &recipient.state {
        RecipientState::Held { .. } | RecipientState::Due { .. } => (accepted, None, None),
        RecipientState::Claimed { at, .. } => (*at, None, None),
        RecipientState::Sent { at, .. } => {
            let delivered = recipient.delivered_at;
            (delivered.unwrap_or(*at), Some(*at), delivered)
        }
        RecipientState::Stopped { at, .. } | RecipientState::Failed { at, .. } => {
            (*at, None, Some(*at))
        }
        RecipientState::NotSent { .. } => (accepted, None, Some(accepted)),
    }
}
