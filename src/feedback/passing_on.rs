//! What of the mail to a return path of ours goes on to the sender's own, where it would have come without us.
//!
//! Everything does: bounces, receipts, answers. But not what the sender said that he does not want
//! (RFC 3461 §5.1), since a system without that extension sends it all the same; and not without end, because
//! whoever has seen a return path can write to it. How it goes is `intake`'s.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::mail_match::Verdict;
use crate::archive::{MailReportKind, Message};
use crate::model::envelope::Notice;
use crate::model::{Envelope, MessageId};

/// For each recipient of a message; a mail system tells of a delay some times, and then of the end.
const MAX_PER_RECIPIENT: usize = 20;
/// Messages that are remembered.
const MAX_MESSAGES: usize = 10_000;

/// Whether the sender wants any of what a report says. Who did not say what he wants gets everything.
pub(super) fn wanted(envelope: &Envelope, verdicts: &[Verdict]) -> bool {
    let is_wanted = |verdict: &Verdict| {
        let notice = match verdict.kind {
            MailReportKind::Failed { .. } => Notice::Failure,
            MailReportKind::Delayed => Notice::Delay,
            MailReportKind::Delivered => Notice::Success,
            MailReportKind::Displayed | MailReportKind::Complained => return true,
        };
        let recipient = envelope.recipients.get(usize::from(verdict.recipient));
        recipient.is_none_or(|one| one.notify.is_none() || one.wants(notice))
    };
    verdicts.is_empty() || verdicts.iter().any(is_wanted)
}

/// How much was passed on of which message.
#[derive(Debug, Default)]
pub(super) struct PassedOn(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    of: HashMap<MessageId, usize>,
    order: VecDeque<MessageId>,
}

impl PassedOn {
    pub(super) fn has_room(&self, message: &Message) -> bool {
        let most = message.recipients.len().saturating_mul(MAX_PER_RECIPIENT);
        // Nothing panics while the lock is held.
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.of.get(&message.id).is_none_or(|count| *count < most)
    }

    pub(super) fn count(&self, message: MessageId) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.of.get_mut(&message) {
            *count = count.saturating_add(1);
            return;
        }
        if counts.order.len() >= MAX_MESSAGES
            && let Some(oldest) = counts.order.pop_front()
        {
            counts.of.remove(&oldest);
        }
        counts.order.push_back(message);
        counts.of.insert(message, 1);
    }
}
