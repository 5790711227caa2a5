//! What the index does not have yet, in short: a few bits for each message, from which most questions
//! can be told not to be about it.
//!
//! A burst of submissions may leave the index tens of thousands of messages behind, and to read all of
//! them for each question takes seconds. So the feeding thread makes a *signature* of each on the way,
//! which costs a small part of indexing it, and a search reads only the messages whose signature does
//! not rule them out. A signature is a Bloom filter over three bytes in a row of each head, over the
//! beginnings of heads, and over facts. Searches bring the signatures up to date themselves when few
//! are missing; what has none is read.

use std::collections::VecDeque;

use super::document::{self, Document, Scope};
use super::language::{Leaf, Node};
use super::standings::Mark;
use crate::archive::read::Reader;
use crate::archive::volume::Volumes;
use crate::archive::writer::Failure;
use crate::model::MessageId;

/// Signatures that are kept, of the newest messages: 64 MiB.
pub(super) const MAX_SIGNATURES: usize = 65_536;
/// Bits of a signature, as a power of two. A text of 5 KiB sets a quarter of them.
const BITS: u32 = 13;
const WORDS: usize = (1 << BITS) / 64;

/// What one message may be an answer to.
struct Signature(Box<[u64; WORDS]>);

impl Signature {
    fn of(document: &Document) -> Signature {
        let mut signature = Signature(Box::new([0; WORDS]));
        // All but tags are there in the first as well.
        for scope in [Scope::Anywhere, Scope::Tag] {
            let text = document.text(scope);
            text.beginnings().for_each(|head| each_key(head, |key| signature.set(key)));
            text.numbers.iter().for_each(|number| each_key(number, |key| signature.set(key)));
        }
        document.facts.iter().for_each(|fact| signature.set(fact_key(fact)));
        signature
    }

    fn set(&mut self, key: u64) {
        let (word, bit) = place(key);
        self.0[word] |= bit;
    }

    fn has(&self, key: u64) -> bool {
        let (word, bit) = place(key);
        self.0[word] & bit != 0
    }
}

fn place(key: u64) -> (usize, u64) {
    // Fibonacci hashing: the upper bits of the product depend on all of the key.
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
    let hash = usize::try_from(hash).unwrap_or(0);
    (hash / 64 % WORDS, 1 << (hash % 64))
}

/// What a head gives: its first byte, its first two, and each three in a row.
fn each_key(head: &str, mut each: impl FnMut(u64)) {
    let bytes = head.as_bytes();
    let key = |kind: u64, bytes: &[u8]| bytes.iter().fold(kind, |key, b| key << 8 | u64::from(*b));
    for length in 1..=2 {
        if let Some(beginning) = bytes.get(..length) {
            each(key(length as u64, beginning));
        }
    }
    bytes.windows(3).for_each(|three| each(key(3, three)));
}

fn fact_key(fact: &str) -> u64 {
    // FNV-1a; a stranger who finds two facts with one key makes one search slower.
    fact.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A question as keys that a signature must have.
pub(super) enum Sieve {
    All(Vec<Sieve>),
    Any(Vec<Sieve>),
    Keys(Vec<u64>),
    Mark(Mark),
    NotMark(Mark),
    /// It says nothing of this.
    Open,
}

impl Sieve {
    pub(super) fn of(node: &Node) -> Sieve {
        match node {
            Node::All(nodes) => Sieve::All(nodes.iter().map(Sieve::of).collect()),
            Node::Any(nodes) => Sieve::Any(nodes.iter().map(Sieve::of).collect()),
            Node::Not(node) => match &**node {
                Node::Leaf(Leaf::Mark(mark)) => Sieve::NotMark(*mark),
                Node::Leaf(_) | Node::All(_) | Node::Any(_) | Node::Not(_) => Sieve::Open,
            },
            Node::Leaf(leaf) => match leaf {
                Leaf::Head(_, text) => Sieve::keys(&[text]),
                Leaf::Phrase(_, words) => Sieve::keys(&words.iter().collect::<Vec<_>>()),
                // A run from the middle of a number begins no head.
                Leaf::Digits(_, digits) => {
                    let Sieve::Keys(mut keys) = Sieve::keys(&[digits]) else { return Sieve::Open };
                    keys.drain(..2.min(keys.len()));
                    Sieve::Keys(keys)
                }
                Leaf::Fact(fact) => Sieve::Keys(vec![fact_key(fact)]),
                Leaf::Mark(mark) => Sieve::Mark(*mark),
                Leaf::Since(_) | Leaf::Until(_) => Sieve::Open,
            },
        }
    }

    fn keys(texts: &[&String]) -> Sieve {
        let mut keys = Vec::new();
        texts.iter().for_each(|text| each_key(text, |key| keys.push(key)));
        Sieve::Keys(keys)
    }

    fn lets_through(&self, signature: &Signature, has: &dyn Fn(Mark) -> bool) -> bool {
        match self {
            Sieve::All(all) => all.iter().all(|sieve| sieve.lets_through(signature, has)),
            Sieve::Any(any) => any.iter().any(|sieve| sieve.lets_through(signature, has)),
            Sieve::Keys(keys) => keys.iter().all(|key| signature.has(*key)),
            Sieve::Mark(mark) => has(*mark),
            Sieve::NotMark(mark) => !has(*mark),
            Sieve::Open => true,
        }
    }
}

struct Entry {
    id: MessageId,
    sequence: u64,
    signature: Signature,
}

/// The signatures, ascending by id, without a gap from the first to the last.
#[derive(Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
}

impl Tail {
    /// Adds what is missing of the messages behind `watermark`, but no more than `most`.
    pub(super) fn catch_up(
        &mut self,
        reader: &Reader,
        volumes: &Volumes,
        watermark: MessageId,
        most: usize,
    ) -> Result<(), Failure> {
        let after = match self.entries.back() {
            Some(last) => last.id,
            None => first_place(reader, watermark)?,
        };
        let from = after.as_u128().saturating_add(1);
        for entry in reader.messages().range(from..)?.take(most) {
            let id = MessageId::from_u128(entry?.0.value());
            let Some((message, document)) = document::read(reader, volumes, id, |_| true)? else { continue };
            if self.entries.len() >= MAX_SIGNATURES {
                self.entries.pop_front();
            }
            let signature = Signature::of(&document);
            self.entries.push_back(Entry { id, sequence: message.sequence.0, signature });
        }
        Ok(())
    }

    /// Forgets what the index has by now.
    pub(super) fn forget(&mut self, until: MessageId) {
        let known = self.entries.partition_point(|entry| entry.id <= until);
        self.entries.drain(..known);
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries = VecDeque::new();
    }

    /// Those of the messages between two ids, both included, that have a signature: the ids from which
    /// to which that is so, and which of them may be answers, ascending.
    pub(super) fn sift(
        &self,
        sieve: &Sieve,
        has: &dyn Fn(u64, Mark) -> bool,
    ) -> Option<Sifted> {
        let (first, last) = (self.entries.front()?.id, self.entries.back()?.id);
        let passed = self.entries.iter().filter(|entry| {
            sieve.lets_through(&entry.signature, &|mark| has(entry.sequence, mark))
        });
        Some(Sifted { first, last, passed: passed.map(|entry| entry.id.as_u128()).collect() })
    }
}

/// The message behind which signatures begin: there are not more of them than are kept.
fn first_place(reader: &Reader, watermark: MessageId) -> Result<MessageId, Failure> {
    let from = watermark.as_u128().saturating_add(1);
    let mut newest = reader.messages().range(from..)?.rev();
    Ok(match newest.nth(MAX_SIGNATURES) {
        Some(entry) => MessageId::from_u128(entry?.0.value()),
        None => watermark,
    })
}

/// What the signatures say of a question.
pub(super) struct Sifted {
    first: MessageId,
    last: MessageId,
    passed: Vec<u128>,
}

impl Sifted {
    /// Whether this message need not be read.
    pub(super) fn rules_out(&self, id: MessageId) -> bool {
        (self.first..=self.last).contains(&id) && self.passed.binary_search(&id.as_u128()).is_err()
    }
}
