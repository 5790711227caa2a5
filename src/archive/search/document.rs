//! What can be found of one message: the same for the index and for the scan of what the index does
//! not have yet. Only what never changes is here; where a message stands is in `standings`.

use std::cmp::Ordering;

use super::words::{self, Piece};
use crate::archive::message::Message;
use crate::archive::read::{self, Reader};
use crate::archive::volume::Volumes;
use crate::archive::writer::Failure;
use crate::mime;
use crate::model::{AppName, Channel, Direction, MessageId, Reference, Tag};

/// Text of one body that is searched; encoded.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Heads of one scope of one message: a million single letters must not become a million terms.
const MAX_HEADS: usize = 60_000;
/// Words of one scope of one message.
const MAX_WORDS: usize = 250_000;
/// Bytes of a head that are compared at once.
const FIRST_BYTES: usize = size_of::<u64>();
/// Digits of a phone number that can be searched for, at least and at most.
pub(super) const DIGITS: std::ops::RangeInclusive<usize> = 4..=15;

/// Where a word may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Subject, text, addresses with their names, attachment names, references.
    Anywhere,
    From,
    To,
    Subject,
    Filename,
    Reference,
    Tag,
}

impl Scope {
    pub(super) const ALL: [Scope; 7] = [
        Scope::Anywhere,
        Scope::From,
        Scope::To,
        Scope::Subject,
        Scope::Filename,
        Scope::Reference,
        Scope::Tag,
    ];

    /// The name of its fields in the index.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Scope::Anywhere => "anywhere",
            Scope::From => "from",
            Scope::To => "to",
            Scope::Subject => "subject",
            Scope::Filename => "filename",
            Scope::Reference => "reference",
            Scope::Tag => "tag",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// A value that a message has as a whole, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact<'a> {
    App(&'a AppName),
    Tag(&'a Tag),
    Channel(Channel),
    Direction(Direction),
    HasAttachment,
    Sender(&'a str),
    Recipient(&'a str),
    Reference(&'a Reference),
}

impl Fact<'_> {
    /// Its term in the index.
    pub(super) fn term(&self) -> String {
        match self {
            Fact::App(app) => format!("a{}", app.as_str()),
            Fact::Tag(tag) => format!("t{}", tag.as_str()),
            Fact::Channel(channel) => format!("c{}", channel.as_str()),
            Fact::Direction(direction) => format!("d{}", direction.as_str()),
            Fact::HasAttachment => "h".to_owned(),
            Fact::Sender(address) => format!("s{}", address.to_lowercase()),
            Fact::Recipient(address) => format!("r{}", address.to_lowercase()),
            Fact::Reference(reference) => format!("f{}", reference.canonical()),
        }
    }
}

/// Words and heads of one scope, each a line: a message has hundreds, and one allocation for each
/// would be most of what reading it costs.
#[derive(Default)]
pub(super) struct Text {
    /// In order; an empty line ends a text, and no phrase goes over it. Each is the beginning of a
    /// head, and in most texts there is no other.
    words: String,
    word_count: usize,
    /// Heads that are more than one word.
    heads: String,
    head_count: usize,
    /// Runs of digits of phone numbers.
    pub numbers: Vec<String>,
}

impl Text {
    fn add(&mut self, text: &str) {
        let folded = words::fold(text);
        for piece in words::pieces(&folded) {
            let mut word_count = 0;
            words::words(piece, |word| {
                word_count += 1;
                if self.word_count < MAX_WORDS {
                    self.words.push_str(words::cut(word));
                    self.words.push('\n');
                    self.word_count += 1;
                }
            });
            // The head of a single word is that word.
            if word_count > 1 || matches!(piece, Piece::Run(run) if run.contains('@')) {
                words::heads(piece, |head| {
                    if self.head_count < MAX_HEADS {
                        self.heads.push_str(head);
                        self.heads.push('\n');
                        self.head_count += 1;
                    }
                });
            }
        }
        self.words.push('\n');
    }

    /// The words, in order, each a line; an empty one ends a text.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Everything whose beginning can be asked for: each once, sorted.
    pub(super) fn all(&self) -> Vec<&str> {
        // Most are told apart by their first bytes, without a look at where they lie.
        let mut heads: Vec<(u64, &str)> =
            self.beginnings().map(|head| (first_bytes(head), head)).collect();
        heads.sort_unstable_by(in_order);
        heads.dedup_by(|one, other| in_order(one, other).is_eq());
        heads.into_iter().map(|(_, head)| head).collect()
    }

    /// The same as it stands.
    pub(super) fn beginnings(&self) -> impl Iterator<Item = &str> {
        self.words.lines().chain(self.heads.lines()).filter(|head| !head.is_empty())
    }

    /// Heads of more than one word.
    pub(super) fn heads(&self) -> impl Iterator<Item = &str> {
        self.heads.lines()
    }

    fn add_number(&mut self, number: &str) {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let digits: String = digits.chars().take(*DIGITS.end()).collect();
        if digits.len() >= *DIGITS.start() && !self.numbers.contains(&digits) {
            self.numbers.push(digits);
        }
    }
}

/// The order of texts, each with its first bytes. Where both are short, those and the lengths are all of them.
fn in_order((first, text): &(u64, &str), (other_first, other): &(u64, &str)) -> Ordering {
    first.cmp(other_first).then_with(|| match text.len().max(other.len()) <= FIRST_BYTES {
        true => text.len().cmp(&other.len()),
        false => text.cmp(other),
    })
}

/// The first bytes of a text as a number that sorts as they do; what is missing comes first.
fn first_bytes(text: &str) -> u64 {
    let mut bytes = [0; FIRST_BYTES];
    bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    u64::from_be_bytes(bytes)
}

/// One message as the search sees it.
pub(super) struct Document {
    texts: [Text; Scope::ALL.len()],
    pub facts: Vec<String>,
}

impl Document {
    /// `raw` is the message as submitted; empty where it can not be read.
    pub(super) fn new(message: &Message, raw: &[u8]) -> Document {
        let mut document = Document { texts: Default::default(), facts: facts(message) };
        document.add_addresses(message);
        let summary = &message.summary;
        if let Some(subject) = &summary.subject {
            document.add(Scope::Subject, subject);
        }
        for name in summary.attachments.iter().filter_map(|a| a.filename.as_ref()) {
            document.add(Scope::Filename, name);
        }
        for reference in &message.references {
            document.add(Scope::Reference, &reference.canonical());
        }
        if let Some(tag) = &message.tag {
            document.texts[Scope::Tag.index()].add(tag.as_str());
        }
        let anywhere = &mut document.texts[Scope::Anywhere.index()];
        match message.medium.sms() {
            Some(sms) => anywhere.add(sms.text()),
            None => anywhere.add(&mime::searchable(raw, MAX_BODY_BYTES)),
        }
        document
    }

    fn add_addresses(&mut self, message: &Message) {
        let is_sms = message.medium.sms().is_some();
        let sender = message.medium.sender();
        let author = message.summary.author.as_ref();
        if let Some(name) = author.and_then(|author| author.name.as_ref()) {
            self.add(Scope::From, name);
        }
        if let Some(person) = &message.on_behalf_of {
            self.add(Scope::From, person);
        }
        let author = author.map(|author| author.address.clone());
        let mut senders: Vec<String> = author.into_iter().chain(sender).collect();
        senders.dedup();
        for (scope, address) in senders
            .into_iter()
            .map(|sender| (Scope::From, sender))
            .chain(message.medium.recipients().into_iter().map(|to| (Scope::To, to)))
        {
            self.add(scope, &address);
            if is_sms {
                self.texts[scope.index()].add_number(&address);
                self.texts[Scope::Anywhere.index()].add_number(&address);
            }
        }
        for name in message.recipients.iter().filter_map(|r| r.name.as_ref()) {
            self.add(Scope::To, name);
        }
    }

    /// Adds a text to a scope, and to what is searched without one.
    fn add(&mut self, scope: Scope, text: &str) {
        self.texts[scope.index()].add(text);
        self.texts[Scope::Anywhere.index()].add(text);
    }

    pub(super) fn text(&self, scope: Scope) -> &Text {
        &self.texts[scope.index()]
    }
}

/// A message with its document; `None` where there is none, or where it can not be read, which is told
/// in the log. The bytes of one that is not wanted are not read. One whose bytes are damaged is found by its record.
pub(super) fn read(
    reader: &Reader,
    volumes: &Volumes,
    id: MessageId,
    is_wanted: impl FnOnce(&Message) -> bool,
) -> Result<Option<(Message, Document)>, Failure> {
    let (message, content) = match reader.with_content(id) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(Failure::Corrupt(error)) => {
            tracing::error!(%id, %error, "a message can not be read");
            return Ok(None);
        }
        Err(error @ Failure::Storage(_)) => return Err(error),
    };
    if message.redacted_at.is_some() || !is_wanted(&message) {
        return Ok(None);
    }
    let raw = match message.medium.sms() {
        Some(_) => bytes::Bytes::new(),
        None => read::raw(volumes, &content).unwrap_or_default(),
    };
    let document = Document::new(&message, &raw);
    Ok(Some((message, document)))
}

fn facts(message: &Message) -> Vec<String> {
    let mut facts = vec![
        Fact::App(&message.app).term(),
        Fact::Channel(message.channel()).term(),
        Fact::Direction(message.direction).term(),
    ];
    facts.extend(message.tag.iter().map(|tag| Fact::Tag(tag).term()));
    facts.extend(message.references.iter().map(|r| Fact::Reference(r).term()));
    facts.extend(message.medium.sender().map(|sender| Fact::Sender(&sender).term()));
    facts.extend(message.summary.author.iter().map(|a| Fact::Sender(&a.address).term()));
    facts.extend(message.medium.recipients().iter().map(|r| Fact::Recipient(r).term()));
    if message.summary.attachments.iter().any(|attachment| !attachment.inline) {
        facts.push(Fact::HasAttachment.term());
    }
    facts.sort_unstable();
    facts.dedup();
    facts
}

/// The pieces of what somebody searches for.
pub(super) fn needles(text: &str) -> Vec<String> {
    let folded = words::fold(text);
    words::pieces(&folded).flat_map(words::needles).collect()
}

/// The words of a phrase.
pub(super) fn phrase(text: &str) -> Vec<String> {
    let folded = words::fold(text);
    let mut found = Vec::new();
    for piece in words::pieces(&folded) {
        let piece: Piece<'_> = piece;
        words::words(piece, |word| found.push(words::cut(word).to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn heads_are_sorted_as_texts_are(heads in proptest::collection::vec("[ab\u{0}\u{e5}]{0,11}", 0..9)) {
            let mut keyed: Vec<(u64, &str)> =
                heads.iter().map(|head| (first_bytes(head), head.as_str())).collect();
            keyed.sort_unstable_by(in_order);
            let mut expected: Vec<&str> = heads.iter().map(String::as_str).collect();
            expected.sort_unstable();
            let sorted: Vec<&str> = keyed.iter().map(|(_, head)| *head).collect();
            prop_assert_eq!(sorted, expected);
        }
    }
}
