//! What of the mail to a return path of ours goes on to the sender's own, where it would have come without us.
//!
//! Everything does: bounces, receipts, answers. But not what the sender said that he does not want
//! (RFC 3461 §5.1), since a system without that extension sends it all the same; and not without end, because
//! whoever has seen a return path can write to it. How it goes is `intake`'s.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::mail_match::Verdict;
use crate::archive::MailReportKind;
use crate::model::envelope::Notice;
use crate::model::{Envelope, MessageId};

/// For each recipient of a message; a mail system tells of a delay some times, and then of the end.
const MAX_PER_RECIPIENT: usize = 20;
/// For what came to the return path of several recipients, which each of them has seen, together.
const MAX_OF_SEVERAL: usize = 100;
/// Recipients that are remembered.
const MAX_REMEMBERED: usize = 50_000;

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

/// How much was passed on of what came to which return path.
#[derive(Debug, Default)]
pub(super) struct PassedOn(Mutex<Counts>);

/// A message and the recipient that the return path names; `None` is several.
pub(super) type Whose = (MessageId, Option<u16>);

#[derive(Debug, Default)]
struct Counts {
    of: HashMap<Whose, usize>,
    order: VecDeque<Whose>,
}

impl PassedOn {
    pub(super) fn has_room(&self, whose: Whose) -> bool {
        let most = whose.1.map_or(MAX_OF_SEVERAL, |_| MAX_PER_RECIPIENT);
        // Nothing panics while the lock is held.
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.of.get(&whose).is_none_or(|count| *count < most)
    }

    pub(super) fn count(&self, whose: Whose) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.of.get_mut(&whose) {
            *count = count.saturating_add(1);
            return;
        }
        if counts.order.len() >= MAX_REMEMBERED
            && let Some(oldest) = counts.order.pop_front()
        {
            counts.of.remove(&oldest);
        }
        counts.order.push_back(whose);
        counts.of.insert(whose, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_recipient_can_not_use_up_what_the_others_may_send() {
        let (counts, message) = (PassedOn::default(), MessageId::from_u128(1));
        let filled = |recipient| {
            let whose = (message, recipient);
            let room = (0..1_000).take_while(|_| counts.has_room(whose));
            room.map(|_| counts.count(whose)).count()
        };
        assert_eq!(filled(Some(7)), MAX_PER_RECIPIENT);
        assert_eq!(filled(None), MAX_OF_SEVERAL);
        assert_eq!(filled(Some(8)), MAX_PER_RECIPIENT);
        for number in 0..MAX_REMEMBERED as u128 {
            counts.count((MessageId::from_u128(2 + number), Some(0)));
        }
        let counts = counts.0.into_inner().unwrap();
        assert_eq!((counts.of.len(), counts.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}
