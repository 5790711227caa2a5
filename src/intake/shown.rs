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
    let (moved_at, sent_at, done_at) = moments(recipient);
    Some(Shown {
        id: message.id,
        sequence: message.sequence,
        direction: message.direction,
        sms: sms.clone(),
        state,
        failure: failure(recipient),
        provider_code: provider_code(recipient),
        accepted_at: message.accepted_at,
        updated_at: moved_at.unwrap_or(message.accepted_at),
        sent_at,
        done_at: done_at.or((state == ShownState::NotSent).then_some(message.accepted_at)),
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
        Cause::Unanswered { .. } | Cause::Bounced { .. } => ShownState::Undelivered,
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
            Cause::Refused { .. } | Cause::Bounced { .. } => FailureReason::Unknown,
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
        RecipientState::Failed { .. }
        | RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::NotSent { .. } => None,
    }
}

/// When it last moved, when a provider took it, and when it came to its end; `None` for what is
/// as it was accepted.
fn moments(recipient: &Recipient) -> (Option<Timestamp>, Option<Timestamp>, Option<Timestamp>) {
    match &recipient.state {
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::NotSent { .. } => (None, None, None),
        RecipientState::Claimed { at, .. } => (Some(*at), None, None),
        RecipientState::Sent { at, .. } => {
            let delivered = recipient.delivered_at;
            (delivered.or(Some(*at)), Some(*at), delivered)
        }
        // What was lost on its way had been taken before.
        RecipientState::Stopped { at, .. } | RecipientState::Failed { at, .. } => {
            (Some(*at), recipient.sent_at, Some(*at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Part;
    use crate::model::{Digest, Engagement, RecipientKind, Reply, UpstreamName};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn upstream() -> UpstreamName {
        UpstreamName::parse("provider").unwrap()
    }

    fn recipient(state: RecipientState, parts: &[ReceiptState]) -> Recipient {
        let part = |state: &ReceiptState| Part { provider_id: "1".into(), state: *state };
        Recipient {
            index: 0,
            name: None,
            kind: RecipientKind::To,
            state,
            attempts: 1,
            first_due_at: at(0),
            upstream: None,
            reply: None,
            possible_duplicate: false,
            sent_at: None,
            delivered_at: None,
            parts: parts.iter().map(part).collect(),
            engagement: Engagement::default(),
        }
    }

    #[test]
    fn failures_say_who_failed() {
        let check = |cause: Cause, parts: &[ReceiptState], state, reason| {
            let recipient =
                recipient(RecipientState::Failed { at: at(1), cause: cause.clone() }, parts);
            assert_eq!(failed(&cause, &recipient), state, "{cause:?} {parts:?}");
            assert_eq!(failure(&recipient), Some(reason));
        };
        let undelivered = |reason| Cause::Undelivered { upstream: upstream(), reason, code: None };
        use FailureReason as Reason;
        use ReceiptState::{Delivered, Expired, Rejected, Undelivered};
        let reply = Reply::new(400, None, "no");
        check(
            Cause::Refused { upstream: upstream(), reply },
            &[],
            ShownState::Rejected,
            Reason::Unknown,
        );
        check(undelivered(Reason::Barred), &[], ShownState::Rejected, Reason::Barred);
        check(undelivered(Reason::Barred), &[Rejected], ShownState::Rejected, Reason::Barred);
        check(
            undelivered(Reason::Unreachable),
            &[Delivered, Undelivered],
            ShownState::Undelivered,
            Reason::Unreachable,
        );
        check(undelivered(Reason::Expired), &[Expired], ShownState::Expired, Reason::Expired);
        check(
            Cause::Expired { last_reply: None, detail: String::new() },
            &[],
            ShownState::Expired,
            Reason::Expired,
        );
        check(
            Cause::Unanswered { upstream: upstream(), detail: String::new() },
            &[],
            ShownState::Undelivered,
            Reason::NetworkError,
        );
    }

    #[test]
    fn a_delivery_is_the_last_that_happened() {
        let reply = Reply::new(200, None, "ok");
        let digest = Digest([0; 32]);
        let sent = RecipientState::Sent { at: at(2), upstream: upstream(), reply, digest };
        let mut recipient = recipient(sent, &[ReceiptState::Delivered]);
        assert_eq!(moments(&recipient), (Some(at(2)), Some(at(2)), None));
        recipient.delivered_at = Some(at(3));
        assert_eq!(moments(&recipient), (Some(at(3)), Some(at(2)), Some(at(3))));
    }

    #[test]
    fn what_was_lost_on_its_way_had_been_sent() {
        let reason = FailureReason::Unreachable;
        let cause = Cause::Undelivered { upstream: upstream(), reason, code: None };
        let failed = RecipientState::Failed { at: at(4), cause };
        let mut recipient = recipient(failed, &[ReceiptState::Undelivered]);
        assert_eq!(moments(&recipient), (Some(at(4)), None, Some(at(4))));
        recipient.sent_at = Some(at(2));
        assert_eq!(moments(&recipient), (Some(at(4)), Some(at(2)), Some(at(4))));
    }
}
