//! One page of answers on its way, and the places between two pages.

use super::view::MAX_RANKED;
use crate::archive::list;
use crate::archive::message::Message;
use crate::model::MessageId;

/// The score of what the index does not have yet: it comes first.
pub(super) const NEWEST_SCORE: u32 = u32::MAX;

/// A place between two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: MessageId,
    /// The bits of its score; of no meaning but by relevance.
    pub score: u32,
    /// What it was ranked with; of no meaning but by relevance.
    pub tier: Tier,
}

/// Messages that are ranked with each other, by their numbers: the newest first, then those before
/// them. One that is empty is followed by the messages before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    pub first: u64,
    /// One more than the last.
    pub end: u64,
}

impl Place {
    /// Behind a message, where the order is that of acceptance.
    pub fn behind(id: MessageId) -> Place {
        Place { id, score: 0, tier: Tier::default() }
    }

    /// Behind a message that the index does not have.
    pub(super) fn in_tail(id: MessageId) -> Place {
        Place { score: NEWEST_SCORE, ..Place::behind(id) }
    }
}

/// A page on its way.
pub(super) struct Page {
    pub items: Vec<Message>,
    pub next: Option<Place>,
    /// It ended because it took long.
    pub is_cut: bool,
    /// A beginning stands for too many words to look for all of them.
    pub has_too_many_words: bool,
    /// Older messages are not ranked with those on it.
    pub has_tiers: bool,
    limit: usize,
    particulars: usize,
}

impl Page {
    pub(super) fn new(limit: usize) -> Page {
        Page {
            items: Vec::new(),
            next: None,
            is_cut: false,
            has_too_many_words: false,
            has_tiers: false,
            limit,
            particulars: 0,
        }
    }

    pub(super) fn push(&mut self, message: Message) {
        self.particulars += message.recipients.len() + message.summary.attachments.len();
        self.items.push(message);
    }

    /// The place of its last message, of those that the index does not have yet.
    pub(super) fn last(&self) -> Option<Place> {
        self.items.last().map(|message| Place::in_tail(message.id))
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= self.limit || self.particulars >= list::MAX_PARTICULARS
    }

    /// How many hits to ask for: one more than there is room for shows whether there is a next page.
    pub(super) fn wanted(&self) -> usize {
        self.limit.saturating_sub(self.items.len()) + 1
    }

    /// Ends before everything was looked at.
    pub(super) fn cut(&mut self, at: Option<Place>) {
        (self.next, self.is_cut) = (at, true);
    }

    /// What there is to say of it.
    pub(super) fn note(&self) -> Option<String> {
        if self.has_too_many_words {
            return Some("A word is the beginning of too many; write more of it.".to_owned());
        }
        if self.is_cut {
            return Some(
                "Not every message was looked at yet, so that the answer does not take long; the next page goes on."
                    .to_owned(),
            );
        }
        self.has_tiers.then(|| {
            format!(
                "The newest that fit, {MAX_RANKED} or fewer, are ranked with each other; older ones come behind them. \
                 Ask for more words or for a shorter period to have all ranked together."
            )
        })
    }
}
