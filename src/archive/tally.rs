//! What is counted of a message, and by what; and the page of an answer.
//!
//! A tally counts recipients by where they stand, and messages; the value of a message in a dimension
//! is a text of bounded length. There may be as many values as messages, so a page is made by a ranking
//! that only ever holds its own rows. Keeping the numbers is the business of `ledger`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::Message;
use super::stored::Record;
use crate::model::{Channel, Direction, RecipientState, Timestamp};

/// What is kept of a value.
const MAX_VALUE_CHARS: usize = 200;
pub(super) const DAY_MS: i64 = 86_400_000;

impl Record for Tally {
    const KIND: &'static str = "tally";
}

/// By what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Sender,
    App,
    Tag,
    Subject,
    Day,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Dimension; 5] =
        [Dimension::Sender, Dimension::App, Dimension::Tag, Dimension::Subject, Dimension::Day];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Dimension::Sender => "sender",
            Dimension::App => "app",
            Dimension::Tag => "tag",
            Dimension::Subject => "subject",
            Dimension::Day => "day",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Dimension> {
        Dimension::ALL.into_iter().find(|dimension| dimension.as_str() == text)
    }

    /// The stored number; it never changes.
    pub(super) fn number(self) -> u8 {
        match self {
            Dimension::Sender => 0,
            Dimension::App => 1,
            Dimension::Tag => 2,
            Dimension::Subject => 3,
            Dimension::Day => 4,
        }
    }
}

/// How many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub messages: u64,
    pub recipients: u64,
    pub not_sent: u64,
    pub pending: u64,
    pub sent: u64,
    pub stopped: u64,
    pub failed: u64,
    pub delivered: u64,
    /// By persons, as far as hits and read receipts tell.
    pub opened: u64,
    pub clicked: u64,
    pub opened_by_machines: u64,
    pub clicked_by_machines: u64,
}

impl Tally {
    /// What one message counts.
    pub fn of(message: &Message) -> Tally {
        let mut tally = Tally { messages: 1, ..Tally::default() };
        for recipient in &message.recipients {
            tally.recipients += 1;
            tally.delivered += u64::from(recipient.delivered_at.is_some());
            let seen = &recipient.engagement;
            tally.opened += u64::from(seen.is_opened());
            tally.clicked += u64::from(seen.is_clicked());
            tally.opened_by_machines += u64::from(seen.automated_opens > 0);
            tally.clicked_by_machines += u64::from(seen.automated_clicks > 0);
            *match recipient.state {
                RecipientState::Held { .. }
                | RecipientState::Due { .. }
                | RecipientState::Claimed { .. } => &mut tally.pending,
                RecipientState::Sent { .. } => &mut tally.sent,
                RecipientState::Stopped { .. } => &mut tally.stopped,
                RecipientState::Failed { .. } => &mut tally.failed,
                RecipientState::NotSent { .. } => &mut tally.not_sent,
            } += 1;
        }
        tally
    }

    fn fields(&mut self) -> [&mut u64; 12] {
        // All by name, so that none is forgotten.
        let Tally {
            messages,
            recipients,
            not_sent,
            pending,
            sent,
            stopped,
            failed,
            delivered,
            opened,
            clicked,
            opened_by_machines,
            clicked_by_machines,
        } = self;
        [
            messages,
            recipients,
            not_sent,
            pending,
            sent,
            stopped,
            failed,
            delivered,
            opened,
            clicked,
            opened_by_machines,
            clicked_by_machines,
        ]
    }

    /// Adds the numbers of another one.
    pub fn add(&mut self, mut other: Tally) {
        for (to, from) in self.fields().into_iter().zip(other.fields()) {
            *to = to.saturating_add(*from);
        }
    }

    pub(super) fn take(&mut self, mut other: Tally) {
        for (to, from) in self.fields().into_iter().zip(other.fields()) {
            *to = to.saturating_sub(*from);
        }
    }
}

/// Where a value stands in an answer: days in their order, everything else with the most messages first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TallyPlace {
    pub rank: u64,
    pub value: String,
}

/// A page of the values of one dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// In the order of their places. An empty value is of the messages that have none.
    pub rows: Vec<(TallyPlace, Tally)>,
    pub has_more: bool,
    /// Of all values, also those of other pages.
    pub total: Tally,
}

/// Takes in every value once, in any order, and keeps those of one page.
#[derive(Clone, Debug)]
pub struct Ranking {
    by: Dimension,
    after: Option<TallyPlace>,
    limit: usize,
    found: Tallies,
    kept: BTreeMap<TallyPlace, Tally>,
}

impl Ranking {
    /// The first `limit` values behind this place.
    pub fn new(by: Dimension, after: Option<TallyPlace>, limit: usize) -> Ranking {
        Ranking { by, after, limit, found: Tallies::default(), kept: BTreeMap::new() }
    }

    pub fn by(&self) -> Dimension {
        self.by
    }

    /// Takes in values that were not taken in yet.
    pub fn add_all(&mut self, sums: BTreeMap<String, Tally>) {
        for (value, tally) in sums {
            self.found.total.add(tally);
            let rank = match self.by {
                Dimension::Day => 0,
                Dimension::Sender | Dimension::App | Dimension::Tag | Dimension::Subject => {
                    u64::MAX - tally.messages
                }
            };
            let place = TallyPlace { rank, value };
            if self.after.as_ref().is_none_or(|after| place > *after) {
                self.kept.insert(place, tally);
            }
            if self.kept.len() > self.limit {
                self.kept.pop_last();
                self.found.has_more = true;
            }
        }
    }

    pub fn finish(self) -> Tallies {
        Tallies { rows: self.kept.into_iter().collect(), ..self.found }
    }
}

/// The value of a message in one dimension; an empty text where it has none.
pub fn value_of(message: &Message, by: Dimension) -> String {
    let value = match by {
        Dimension::Sender => match &message.summary.author {
            Some(author) => author.address.to_lowercase(),
            None => message.medium.sender().unwrap_or_default().to_lowercase(),
        },
        Dimension::App => message.app.to_string(),
        Dimension::Tag => message.tag.as_ref().map(ToString::to_string).unwrap_or_default(),
        Dimension::Subject => message.summary.subject.clone().unwrap_or_default(),
        Dimension::Day => return day_word(day(message.accepted_at)),
    };
    value.chars().take(MAX_VALUE_CHARS).collect()
}

pub(super) fn day(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis().max(0) / DAY_MS).unwrap_or(u32::MAX)
}

/// `2026-01-31`
pub(super) fn day_word(day: u32) -> String {
    let at = Timestamp::from_millis(i64::from(day).saturating_mul(DAY_MS));
    at.to_string().chars().take(10).collect()
}

pub(super) fn way(channel: Channel, direction: Direction) -> u8 {
    let channel = match channel {
        Channel::Email => 0,
        Channel::Sms => 2,
    };
    match direction {
        Direction::Outbound => channel,
        Direction::Inbound => channel + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(messages: u64) -> Tally {
        Tally { messages, ..Tally::default() }
    }

    #[test]
    fn a_ranking_holds_no_more_than_its_page() {
        let mut ranking = Ranking::new(Dimension::Subject, None, 3);
        for number in 0..10_000_u64 {
            let sum = (format!("subject {number}"), messages(number % 7 + 1));
            ranking.add_all(BTreeMap::from([sum]));
            assert!(ranking.kept.len() <= 3);
        }
        let found = ranking.finish();
        let first: Vec<&str> = found.rows.iter().map(|(place, _)| &*place.value).collect();
        assert_eq!(first, ["subject 1000", "subject 1007", "subject 1014"]);
        assert!(found.has_more);
    }

    proptest! {
        /// Page by page is the same as all at one time.
        #[test]
        fn pages_leave_nothing_out(
            sums in prop::collection::btree_map("[a-c]{0,3}", (1_u64..4).prop_map(messages), 0..30),
            limit in 1_usize..5,
            by in prop::sample::select(Dimension::ALL.to_vec()),
        ) {
            let mut whole = Ranking::new(by, None, usize::MAX);
            whole.add_all(sums.clone());
            let whole = whole.finish();
            let (mut rows, mut after) = (Vec::new(), None);
            loop {
                let mut ranking = Ranking::new(by, after, limit);
                sums.iter().for_each(|(value, tally)| {
                    ranking.add_all(BTreeMap::from([(value.clone(), *tally)]));
                });
                let page = ranking.finish();
                prop_assert_eq!(page.total, whole.total);
                rows.extend(page.rows);
                if !page.has_more {
                    break;
                }
                after = rows.last().map(|(place, _)| place.clone());
            }
            prop_assert_eq!(rows, whole.rows);
        }
    }
}
