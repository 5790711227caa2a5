//! Message ids (ULID) and the gap-free sequence number of accepted messages.
//!
//! The archive's one writer gives both out, so ids grow with time and with the sequence:
//! sorting by id is sorting by acceptance. Shape: 26 characters of Crockford's base 32.

use std::fmt;

use ulid::Ulid;

use super::time::Timestamp;

/// The id of an archived message: 48 bits of milliseconds, then 80 bits of randomness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u128);

impl MessageId {
    /// The smallest id; the start of every range.
    pub const MIN: MessageId = MessageId(0);
    /// The largest id; the end of every range.
    pub const MAX: MessageId = MessageId(u128::MAX);

    /// An id from a time and 80 random bits (the upper bits of `random` are dropped).
    pub fn new(at: Timestamp, random: u128) -> MessageId {
        MessageId(Ulid::from_parts(at.as_millis() as u64, random).0)
    }

    /// The next larger id, used when two messages share a millisecond or the clock went back.
    pub fn successor(self) -> MessageId {
        MessageId(self.0.saturating_add(1))
    }

    /// From the stored number.
    pub fn from_u128(value: u128) -> MessageId {
        MessageId(value)
    }

    /// The number that is stored.
    pub fn as_u128(self) -> u128 {
        self.0
    }

    /// Reads the 26 characters, in either case; `None` for anything else.
    pub fn parse(text: &str) -> Option<MessageId> {
        if text.len() != ulid::ULID_LEN {
            return None;
        }
        Ulid::from_string(text).ok().map(|id| MessageId(id.0))
    }

    /// When it was made, to the millisecond.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(Ulid(self.0).timestamp_ms()).unwrap_or(i64::MAX))
    }

    /// The smallest id that a message accepted at `at` can have.
    pub fn first_at(at: Timestamp) -> MessageId {
        MessageId::new(at, 0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Ulid(self.0).to_string())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number of a gap-free sequence, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The number after this one.
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written() {
        let id = MessageId::new(Timestamp::from_millis(1_700_000_000_000), 7);
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        assert_eq!(MessageId::parse(&id.to_string().to_lowercase()), Some(id));
        assert_eq!(MessageId::parse("01JD5V"), None);
        assert_eq!(MessageId::parse("01JD5VU0000000000000000!!!"), None);
        assert_eq!(MessageId::parse("ééééééééééééé"), None);
    }

    #[test]
    fn ids_sort_by_time() {
        let id = |ms| MessageId::new(Timestamp::from_millis(ms), u128::MAX);
        assert!(id(1) < id(2));
        assert!(MessageId::first_at(Timestamp::from_millis(2)) > id(1));
        assert_eq!(id(7).time(), Timestamp::from_millis(7));
        assert!(id(1).successor() > id(1));
    }
}
