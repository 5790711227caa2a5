//! What a sender is told by mail of what became of a message: a pure decision over one event and its message.
//!
//! | event | told as | who wants it |
//! |---|---|---|
//! | `failed`, `expired`; left out at the door or stopped by the suppression list | failed | `NOTIFY=FAILURE`; with `FailureReports::Always` everybody who does not say otherwise |
//! | `bounced`, told by a provider over HTTP alone | failed | the same |
//! | `deferred`, for the first time after an hour | delayed | `NOTIFY=DELAY` |
//! | `sent` through an upstream without the extension | relayed | `NOTIFY=SUCCESS` |
//!
//! A bounce that comes by mail is passed on as it came and not told a second time (`archive::bounces`); what a person stopped can be
//! restarted and is told when it fails. Nothing is told of a message with the null reverse-path
//! (RFC 3461 §5.2, RFC 5321 §6.1). Our own words say nothing of hosts and rules of this house.

use std::time::Duration;

use crate::archive::{Event, Message, ON_THE_LIST, OWES_REPORT, SENDER_IS_TOLD};
use crate::model::envelope::Notice;
use crate::model::{
    Direction, EnhancedCode, Envelope, EventKind, RecipientState, Reply, ReversePath, Timestamp,
};
use crate::policy::FailureReports;
use crate::report::Action;

/// How long a message waits before its sender, who asked for that, is told of the delay.
pub(super) const DELAY: Duration = Duration::from_secs(3600);

/// What is told of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub recipient: u16,
    pub action: Action,
    pub status: EnhancedCode,
    /// What the upstream said.
    pub reply: Option<Reply>,
    /// Our own words, where it said nothing.
    pub words: Option<&'static str>,
    /// When it was tried; `None` when it never was.
    pub tried_at: Option<Timestamp>,
}

/// Whether anything could be told of an event, so that most of the journal is passed without a look at
/// its messages.
pub(super) fn concerns(event: &Event) -> bool {
    match event.kind {
        EventKind::Failed | EventKind::Expired | EventKind::Deferred => true,
        EventKind::Sent => event.detail.as_deref() == Some(OWES_REPORT),
        EventKind::Bounced => is_ours_to_tell(event),
        // Where somebody was left out it says so.
        EventKind::Accepted => event.detail.is_some(),
        EventKind::Suppressed => event.recipient.is_some(),
        EventKind::Held
        | EventKind::Released
        | EventKind::Stopped
        | EventKind::Restarted
        | EventKind::Attempted
        | EventKind::Delivered
        | EventKind::Complained
        | EventKind::Opened
        | EventKind::Clicked
        | EventKind::Read
        | EventKind::Received
        | EventKind::Replied
        | EventKind::Resent
        | EventKind::Viewed
        | EventKind::Exported
        | EventKind::Deleted => false,
    }
}

/// The envelope of a message whose sender can be told anything.
pub(super) fn tellable(message: &Message) -> Option<&Envelope> {
    let is_ours = message.direction == Direction::Outbound && message.deleted_at.is_none();
    let envelope = message.medium.mail().filter(|_| is_ours)?;
    (envelope.reverse_path != ReversePath::Null).then_some(envelope)
}

/// What is told of an event. `is_first_delay`: nobody was told of a delay of this recipient before.
pub(super) fn told(
    event: &Event,
    message: &Message,
    reports: FailureReports,
    is_first_delay: impl FnOnce(Timestamp) -> bool,
) -> Vec<Told> {
    let Some(envelope) = tellable(message) else { return Vec::new() };
    if event.kind == EventKind::Accepted {
        return left_out(envelope, message, reports);
    }
    let Some(recipient) = event.recipient else { return Vec::new() };
    let reply = event.reply.as_deref().and_then(Reply::parse);
    let said = reply.as_ref().and_then(|reply| reply.enhanced);
    let (notice, action, status, words) = match event.kind {
        EventKind::Failed => {
            let words = "the message can not be carried there";
            (Notice::Failure, Action::Failed, refused(event, said), Some(words))
        }
        EventKind::Expired => {
            // RFC 3463 §3.5: the time for delivery is over.
            let status = EnhancedCode(4, 4, 7);
            (Notice::Failure, Action::Failed, status, Some("it was tried for too long"))
        }
        EventKind::Suppressed => {
            let (status, words) = SUPPRESSED;
            (Notice::Failure, Action::Failed, status, Some(words))
        }
        EventKind::Bounced if !is_ours_to_tell(event) => return Vec::new(),
        EventKind::Bounced => {
            let status = came_back(reply.as_ref());
            (Notice::Failure, Action::Failed, status, Some("it came back"))
        }
        EventKind::Sent => {
            let status = said.filter(|code| code.0 == 2).unwrap_or(EnhancedCode(2, 0, 0));
            (Notice::Success, Action::Relayed, status, None)
        }
        EventKind::Deferred => {
            // RFC 3463 §3.5: no answer.
            let status = said.filter(|code| code.0 == 4).unwrap_or(EnhancedCode(4, 4, 1));
            (Notice::Delay, Action::Delayed, status, Some("nobody took it yet"))
        }
        EventKind::Accepted
        | EventKind::Held
        | EventKind::Released
        | EventKind::Stopped
        | EventKind::Restarted
        | EventKind::Attempted
        | EventKind::Delivered
        | EventKind::Complained
        | EventKind::Opened
        | EventKind::Clicked
        | EventKind::Read
        | EventKind::Received
        | EventKind::Replied
        | EventKind::Resent
        | EventKind::Viewed
        | EventKind::Exported
        | EventKind::Deleted => return Vec::new(),
    };
    let wanted = envelope.recipients.get(usize::from(recipient));
    if !wanted.is_some_and(|one| reports.wanted(one, notice)) {
        return Vec::new();
    }
    if notice == Notice::Delay && !is_late(event, message, recipient, is_first_delay) {
        return Vec::new();
    }
    let words = words.filter(|_| reply.is_none());
    let tried_at = (event.kind != EventKind::Suppressed).then_some(event.at);
    vec![Told { recipient, action, status, reply, words, tried_at }]
}

/// Whether it has waited for so long now, and had not before.
fn is_late(
    event: &Event,
    message: &Message,
    recipient: u16,
    is_first_delay: impl FnOnce(Timestamp) -> bool,
) -> bool {
    let stands = message.recipients.get(usize::from(recipient));
    let late = stands.map(|one| one.first_due_at.plus(DELAY));
    late.is_some_and(|late| event.at >= late && is_first_delay(late))
}

/// RFC 3463 §3.8: delivery is not authorized.
const SUPPRESSED: (EnhancedCode, &str) =
    (EnhancedCode(5, 7, 1), "this gateway does not write to this address any more");

/// RFC 3463 §3.5: unable to route.
const NO_ROUTE: (EnhancedCode, &str) =
    (EnhancedCode(5, 4, 4), "this gateway has no way to this address");

/// Who does not get it from the start: who is on the suppression list, or where nothing leads to.
fn left_out(envelope: &Envelope, message: &Message, reports: FailureReports) -> Vec<Told> {
    let of = |(recipient, stands): (u16, &crate::archive::Recipient)| {
        let RecipientState::NotSent { why } = &stands.state else { return None };
        let wanted = envelope.recipients.get(usize::from(recipient));
        if !wanted.is_some_and(|one| reports.wanted(one, Notice::Failure)) {
            return None;
        }
        let (status, words) = if why.starts_with(ON_THE_LIST) { SUPPRESSED } else { NO_ROUTE };
        let (reply, words) = (None, Some(words));
        Some(Told { recipient, action: Action::Failed, status, reply, words, tried_at: None })
    };
    (0..).zip(&message.recipients).filter_map(of).collect()
}

/// Whether a bounce is told by nobody else.
fn is_ours_to_tell(event: &Event) -> bool {
    event.detail.as_deref().is_some_and(|detail| detail.ends_with(SENDER_IS_TOLD))
}

/// The code of a bounce: what was said, else as much as the class of the reply says. What was given up after
/// a while failed with a code of the moment (as in RFC 3464 E.1).
fn came_back(reply: Option<&Reply>) -> EnhancedCode {
    let said = reply.and_then(|reply| reply.enhanced).filter(|code| matches!(code.0, 4 | 5));
    let class = if reply.is_some_and(|reply| reply.class() == 4) { 4 } else { 5 };
    said.unwrap_or(EnhancedCode(class, 0, 0))
}

/// The code of a refusal: the upstream's own, else the one that our own words begin with.
fn refused(event: &Event, said: Option<EnhancedCode>) -> EnhancedCode {
    let first = event.detail.as_deref().and_then(|detail| detail.split(' ').next());
    let ours = || first.and_then(EnhancedCode::parse);
    said.or_else(ours).filter(|code| code.0 == 5).unwrap_or(EnhancedCode(5, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageId, Sequence};

    fn event(kind: EventKind, recipient: Option<u16>, detail: Option<&str>) -> Event {
        Event {
            sequence: Sequence(1),
            message: MessageId::MIN,
            at: Timestamp::from_millis(0),
            kind,
            recipient,
            by: None,
            upstream: None,
            reply: None,
            detail: detail.map(str::to_owned),
            digest: None,
            automated: None,
        }
    }

    #[test]
    fn most_of_the_journal_is_passed_without_a_look() {
        let check = |kind, recipient, detail, expected| {
            let event = event(kind, recipient, detail);
            assert_eq!(concerns(&event), expected, "{event:?}");
        };
        check(EventKind::Accepted, None, None, false);
        check(EventKind::Sent, Some(0), None, false);
        check(EventKind::Sent, Some(0), Some("something else"), false);
        check(EventKind::Bounced, Some(0), Some("told"), false);
        check(EventKind::Bounced, Some(0), Some("told; the sender is told by mail"), true);
        check(EventKind::Stopped, Some(0), None, false);
        check(EventKind::Attempted, Some(0), Some("outcome unknown"), false);
        // At the door it is told with the acceptance.
        check(EventKind::Suppressed, None, Some("recipient 0: bounce"), false);
        check(EventKind::Suppressed, Some(0), Some("bounce"), true);
        check(EventKind::Accepted, None, Some("not sent to 1 of 2 recipients"), true);
        check(EventKind::Sent, Some(0), Some(OWES_REPORT), true);
        check(EventKind::Failed, Some(0), None, true);
        check(EventKind::Expired, Some(0), None, true);
        check(EventKind::Deferred, Some(0), None, true);
    }

    #[test]
    fn a_bounce_has_the_code_that_was_said() {
        let check = |said: &str, expected: &str| {
            assert_eq!(came_back(Reply::parse(said).as_ref()).to_string(), expected, "{said}");
        };
        check("", "5.0.0");
        check("550 General", "5.0.0");
        check("450 given up", "4.0.0");
        check("250 2.0.0 odd", "5.0.0");
        check("450 4.4.7 too old", "4.4.7");
        check("550 5.1.1 no such user", "5.1.1");
    }

    #[test]
    fn a_refusal_has_the_code_that_was_given_for_it() {
        let check = |said: &str, detail: &str, expected: &str| {
            let event = event(EventKind::Failed, Some(0), Some(detail));
            let code = refused(&event, EnhancedCode::parse(said));
            assert_eq!(code.to_string(), expected, "{said} {detail}");
        };
        check("", "", "5.0.0");
        check("", "RCPT was refused", "5.0.0");
        check("4.2.2", "", "5.0.0");
        check("", "5.6.3 the message needs 8BITMIME", "5.6.3");
        check("5.1.1", "5.6.3 the message needs 8BITMIME", "5.1.1");
    }
}
