//! What the index does not have yet, in short: a few bits for each message, from which most questions
//! can be told not to be about it.
//!
//! A burst of submissions may leave the index tens of thousands of messages behind, and to read all of
//! them for each question takes seconds. So the feeding thread makes a *signature* of each on the way,
//! which costs a small part of indexing it, and a search reads only the messages whose signature does
//! not rule them out. A signature is a Bloom filter over three bytes in a row of each head, over the
//! beginnings of heads, and over facts. Searches bring the signatures up to date themselves when few
//! are missing and there are some; what has none is read.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::document::{self, Document, Scope};
use super::language::{Leaf, Node};
use super::standings::Mark;
use crate::archive::read::Reader;
use crate::archive::volume::Volumes;
use crate::archive::writer::Failure;
use crate::model::MessageId;

/// Signatures that are kept, of the newest messages: 50 MiB.
pub(super) const MAX_SIGNATURES: usize = 50_000;
/// Bits of a signature, as a power of two. A text of 5 KiB sets a quarter of them.
const BITS: u32 = 13;
const WORDS: usize = (1 << BITS) / 64;
/// Signatures that are added together.
const TOGETHER: usize = 64;

/// What one message may be an answer to.
struct Signature(Box<[u64; WORDS]>);

impl Signature {
    fn empty() -> Signature {
        Signature(Box::new([0; WORDS]))
    }

    fn of(document: &Document) -> Signature {
        let mut signature = Signature::empty();
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
    /// Adds what follows on `after`, if that is still the last one.
    fn append(&mut self, after: MessageId, added: Vec<Entry>) {
        if self.entries.back().is_some_and(|last| last.id != after) {
            return;
        }
        self.entries.extend(added);
        let surplus = self.entries.len().saturating_sub(MAX_SIGNATURES);
        self.entries.drain(..surplus);
    }

    /// Whether there are none: where the first one would be takes long to find out.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether one more would drive out the oldest.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_SIGNATURES
    }

    /// Forgets what the index has by now.
    pub(super) fn forget(&mut self, until: MessageId) {
        let known = self.entries.partition_point(|entry| entry.id <= until);
        self.entries.drain(..known);
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    /// Asks all of them.
    pub(super) fn sift(&self, sieve: &Sieve, has: &dyn Fn(u64, Mark) -> bool) -> Option<Sifted> {
        let (first, last) = (self.entries.front()?.id.as_u128(), self.entries.back()?.id.as_u128());
        let passed = self.entries.iter().filter(|entry| {
            sieve.lets_through(&entry.signature, &|mark| has(entry.sequence, mark))
        });
        Some(Sifted { first, last, passed: passed.map(|entry| entry.id.as_u128()).collect() })
    }
}

/// Adds what is missing of the messages behind `watermark`, but no more than `most`, and says how many.
/// Nobody waits meanwhile: the feeding thread has little weight, and must not keep a search from its
/// answer.
pub(super) fn catch_up(
    tail: &RwLock<Tail>,
    reader: &Reader,
    volumes: &Volumes,
    watermark: MessageId,
    most: usize,
) -> Result<usize, Failure> {
    let last = read(tail).entries.back().map(|last| last.id);
    let mut after = match last {
        Some(last) => last,
        None => first_place(reader, watermark)?,
    };
    let (mut added, mut count) = (Vec::with_capacity(TOGETHER), 0);
    let from = after.as_u128().saturating_add(1);
    for entry in reader.messages().range(from..)?.take(most) {
        let id = MessageId::from_u128(entry?.0.value());
        let (sequence, signature) = match document::read(reader, volumes, id, |_| true)? {
            Some((message, document)) => (message.sequence.0, Signature::of(&document)),
            // What can not be read is no answer to anything.
            None => (0, Signature::empty()),
        };
        added.push(Entry { id, sequence, signature });
        count += 1;
        if added.len() == TOGETHER {
            write(tail).append(after, std::mem::take(&mut added));
            after = id;
        }
    }
    if !added.is_empty() {
        write(tail).append(after, added);
    }
    Ok(count)
}

/// A panic while it was held left it shorter, and it is brought up to date by whoever asks next.
pub(super) fn read(tail: &RwLock<Tail>) -> RwLockReadGuard<'_, Tail> {
    tail.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write(tail: &RwLock<Tail>) -> RwLockWriteGuard<'_, Tail> {
    tail.write().unwrap_or_else(PoisonError::into_inner)
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

/// What the signatures say of a question: which messages between two, both included, may be answers,
/// ascending.
pub(super) struct Sifted {
    pub first: u128,
    pub last: u128,
    pub passed: Vec<u128>,
}

/// Whether the signature of one message rules it out.
#[cfg(test)]
pub(super) fn rules_out(node: &Node, document: &Document, has: &dyn Fn(Mark) -> bool) -> bool {
    !Sieve::of(node).lets_through(&Signature::of(document), has)
}
