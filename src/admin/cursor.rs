//! Cursors: where the next part of a list begins, opaque to clients.
//!
//! A cursor names its list and the question that the list answered, so that one from another list,
//! another filter or another order is refused instead of giving a page from nowhere. It carries no
//! rights: whoever makes one up only reads what they may read anyway, from another place.
//!
//! Shape: base64url without padding of version, kind, 8 bytes of the question's SHA-256, key.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::archive::{Place, Tier};
use crate::model::{Digest, MessageId, Sequence};

const VERSION: u8 = 1;
const QUESTION_BYTES: usize = 8;
/// Longer than any cursor of ours.
const MAX_CHARS: usize = 2_048;

/// What is wrong with a cursor, in words.
pub(super) const NOT_OURS: &str =
    "The cursor is not one that this list gave with these parameters; begin again without it.";

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Messages,
    Events,
    Tokens,
    Users,
    Suppressions,
    Deliveries,
    Threads,
    Thread,
    Contact,
    Job,
    Jobs,
    Statistics,
    Log,
}

impl List {
    fn byte(self) -> u8 {
        match self {
            List::Messages => b'm',
            List::Events => b'e',
            List::Tokens => b't',
            List::Users => b'u',
            List::Suppressions => b's',
            List::Deliveries => b'd',
            List::Threads => b'T',
            List::Thread => b'r',
            List::Contact => b'c',
            List::Job => b'j',
            List::Jobs => b'J',
            List::Statistics => b'n',
            List::Log => b'l',
        }
    }
}

/// The cursor after `key` in the list that answers `question`.
pub(super) fn encode(list: List, question: &str, key: &[u8]) -> String {
    let mut bytes = vec![VERSION, list.byte()];
    bytes.extend_from_slice(&mark(question));
    bytes.extend_from_slice(key);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The key in a cursor of this list and question.
pub(super) fn decode(list: List, question: &str, cursor: &str) -> Option<Vec<u8>> {
    if cursor.len() > MAX_CHARS {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let key = bytes.strip_prefix(&[VERSION, list.byte()])?.strip_prefix(&mark(question))?;
    Some(key.to_vec())
}

/// The key of a list or a search of messages.
pub(super) fn place_key(place: Place) -> [u8; 36] {
    let Place { id, score, tier } = place;
    let mut key = [0; 36];
    let bytes = id.as_u128().to_be_bytes().into_iter().chain(score.to_be_bytes());
    let bytes = bytes.chain(tier.first.to_be_bytes()).chain(tier.end.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

/// Reads it back.
pub(super) fn read_place_key(key: &[u8]) -> Option<Place> {
    let (id, rest) = key.split_first_chunk()?;
    let (score, rest) = rest.split_first_chunk()?;
    let (first, rest) = rest.split_first_chunk()?;
    let (first, end) = (u64::from_be_bytes(*first), u64::from_be_bytes(rest.try_into().ok()?));
    let id = MessageId::from_u128(u128::from_be_bytes(*id));
    Some(Place { id, score: u32::from_be_bytes(*score), tier: Tier { first, end } })
}

/// The key of a list that can not be searched.
pub(super) fn message_key(id: MessageId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

/// Reads it back.
pub(super) fn read_message_key(key: &[u8]) -> Option<MessageId> {
    Some(MessageId::from_u128(u128::from_be_bytes(key.try_into().ok()?)))
}

/// The key of a list of events.
pub(super) fn sequence_key(sequence: Sequence) -> [u8; 8] {
    sequence.0.to_be_bytes()
}

/// Reads it back.
pub(super) fn read_sequence_key(key: &[u8]) -> Option<Sequence> {
    Some(Sequence(u64::from_be_bytes(key.try_into().ok()?)))
}

fn mark(question: &str) -> [u8; QUESTION_BYTES] {
    let digest = Digest::of(question.as_bytes()).0;
    let mut mark = [0; QUESTION_BYTES];
    mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cursors_of_other_lists_and_questions_are_refused() {
        let cursor = encode(List::Messages, "status=sent", &[7; 16]);
        assert_eq!(decode(List::Events, "status=sent", &cursor), None);
        assert_eq!(decode(List::Messages, "status=failed", &cursor), None);
        assert_eq!(decode(List::Messages, "status=sent", &cursor[1..]), None);
        assert_eq!(decode(List::Messages, "status=sent", ""), None);
        assert_eq!(decode(List::Messages, "status=sent", &"A".repeat(100_000)), None);
        assert_eq!(decode(List::Messages, "status=sent", &cursor), Some(vec![7; 16]));
        assert_eq!(read_place_key(&[1; 15]), None);
        assert_eq!(read_sequence_key(&[1; 9]), None);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            id: u128,
            score: u32,
            tier: (u64, u64),
            sequence: u64,
            question in ".*",
        ) {
            let id = MessageId::from_u128(id);
            let place = Place { id, score, tier: Tier { first: tier.0, end: tier.1 } };
            let cursor = encode(List::Messages, &question, &place_key(place));
            let key = decode(List::Messages, &question, &cursor).unwrap();
            prop_assert_eq!(read_place_key(&key), Some(place));
            let cursor = encode(List::Events, &question, &sequence_key(Sequence(sequence)));
            let key = decode(List::Events, &question, &cursor).unwrap();
            prop_assert_eq!(read_sequence_key(&key), Some(Sequence(sequence)));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*") {
            let _ = decode(List::Tokens, "", &text);
        }
    }
}
