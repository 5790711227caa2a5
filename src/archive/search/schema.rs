//! The fields of the index, how a document becomes terms, and how a question becomes a query.
//!
//! The beginning of a head is a term of its own where many heads can share it, so that no search walks
//! through the dictionary of all codes and addresses: the first four characters of each head, and up
//! to twenty from where a head holds a digit, an `@` or a dot. What is left is plain words with five
//! letters and more: their beginnings are looked up in the dictionary, of which a language has few.
//! Terms of a head begin with a letter: `e` a beginning, `p` a plain word that is not among the words
//! of phrases, `h` a long code, `n` digits of a phone number. Among the words of phrases, those with a
//! digit begin with `#`.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema as Fields, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};
use tantivy::{Index, Searcher, TantivyDocument, Term};

use super::document::{DIGITS, Document, Scope};
use super::language::{Leaf, Node};
use super::predicate::Predicate;
use crate::model::MessageId;

/// Beginnings of this many characters are terms in every case.
const EDGE_CHARS: usize = 4;
/// And of codes and addresses up to so many.
const CODE_EDGE_CHARS: usize = 20;
/// Plain words that one beginning may stand for.
const MAX_EXPANSIONS: usize = 512;
/// Places between two texts of one field: no phrase is as long.
const GAP: usize = 1_000;

const LINES: &str = "lines";

/// The fields.
#[derive(Clone)]
pub(super) struct Schema {
    pub fields: Fields,
    pub sequence: Field,
    pub id_high: Field,
    pub id_low: Field,
    facts: Field,
    heads: Vec<Field>,
    words: Vec<Field>,
}

/// What a translation needs to know beside the question.
pub(super) struct Translation<'a> {
    pub searcher: &'a Searcher,
    /// Whether the message with this number has a mark.
    pub marked: &'a dyn Fn(super::standings::Mark) -> Arc<dyn Fn(u64) -> bool + Send + Sync>,
    /// The number of the first message from this id on.
    pub number_at: &'a dyn Fn(MessageId) -> u64,
    /// Set where a beginning stands for too many words to look for all of them.
    pub cut: std::cell::Cell<bool>,
}

impl Schema {
    /// The fields that words are looked for in.
    pub(super) fn words(&self) -> impl Iterator<Item = Field> {
        let text = self.heads.iter().chain(&self.words).copied();
        std::iter::once(self.facts).chain(text)
    }

    pub(super) fn new() -> Schema {
        let mut builder = Fields::builder();
        let indexing = |record| {
            let options = TextFieldIndexing::default().set_tokenizer(LINES);
            TextOptions::default()
                .set_indexing_options(options.set_index_option(record).set_fieldnorms(true))
        };
        let sequence = builder.add_u64_field("sequence", FAST | INDEXED);
        let id_high = builder.add_u64_field("id_high", FAST);
        let id_low = builder.add_u64_field("id_low", FAST);
        let facts = builder.add_text_field("facts", indexing(IndexRecordOption::Basic));
        let mut add = |kind: &str, record| {
            let field = |scope: Scope| {
                builder.add_text_field(&format!("{kind}_{}", scope.as_str()), indexing(record))
            };
            Scope::ALL.map(field).to_vec()
        };
        let heads = add("heads", IndexRecordOption::Basic);
        let words = add("words", IndexRecordOption::WithFreqsAndPositions);
        let fields = builder.build();
        Schema { fields, sequence, id_high, id_low, facts, heads, words }
    }

    /// Makes the index able to read what `document` writes; `taken` counts the bytes that it has read.
    pub(super) fn register(index: &Index, taken: &Arc<AtomicU64>) {
        let lines = Lines { taken: taken.clone() };
        index.tokenizers().register(LINES, TextAnalyzer::builder(lines).build());
    }

    /// One message as the index takes it, and how many bytes of text it will read of it.
    pub(super) fn document(
        &self,
        id: MessageId,
        sequence: u64,
        document: &Document,
    ) -> (TantivyDocument, u64) {
        let mut made = TantivyDocument::default();
        made.add_u64(self.sequence, sequence);
        let (high, low) = halves(id);
        made.add_u64(self.id_high, high);
        made.add_u64(self.id_low, low);
        let mut bytes = 0;
        let mut add = |field: Field, text: String| {
            bytes += text.len() as u64;
            made.add_text(field, text);
        };
        add(self.facts, document.facts.join("\n"));
        for scope in Scope::ALL {
            let text = document.text(scope);
            let words = text.words();
            let with_words = has_words(scope) && !words.trim_ascii().is_empty();
            let mut terms = String::with_capacity(2 * words.len());
            add_beginnings(&text.all(), &mut terms);
            text.heads().for_each(|head| add_plain(head, &mut terms));
            if !with_words {
                words.lines().for_each(|word| add_plain(word, &mut terms));
            }
            text.numbers.iter().for_each(|number| add_digits(number, &mut terms));
            if !terms.is_empty() {
                add(self.heads[scope.index()], terms);
            }
            if with_words {
                add(self.words[scope.index()], word_terms(words));
            }
        }
        (made, bytes)
    }

    /// The question as a query.
    pub(super) fn query(&self, node: &Node, with: &Translation<'_>) -> Box<dyn Query> {
        match node {
            Node::All(nodes) => {
                let mut clauses: Vec<_> = nodes
                    .iter()
                    .map(|node| match node {
                        Node::Not(inner) => (Occur::MustNot, self.query(inner, with)),
                        Node::All(_) | Node::Any(_) | Node::Leaf(_) => {
                            (Occur::Must, self.query(node, with))
                        }
                    })
                    .collect();
                if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
                    clauses.push((Occur::Must, everything()));
                }
                Box::new(BooleanQuery::new(clauses))
            }
            Node::Any(nodes) => {
                let clauses = nodes.iter().map(|node| (Occur::Should, self.query(node, with)));
                Box::new(BooleanQuery::new(clauses.collect()))
            }
            Node::Not(inner) => Box::new(BooleanQuery::new(vec![
                (Occur::Must, everything()),
                (Occur::MustNot, self.query(inner, with)),
            ])),
            Node::Leaf(leaf) => self.leaf(leaf, with),
        }
    }

    fn leaf(&self, leaf: &Leaf, with: &Translation<'_>) -> Box<dyn Query> {
        match leaf {
            Leaf::Head(scope, head) => self.head(*scope, head, with),
            Leaf::Phrase(scope, words) => {
                let field = self.words[scope.index()];
                let term = |word: &String| Term::from_field_text(field, &word_term(word));
                match &words[..] {
                    [] => Box::new(EmptyQuery),
                    [word] => Box::new(TermQuery::new(term(word), IndexRecordOption::Basic)),
                    words => Box::new(PhraseQuery::new(words.iter().map(term).collect())),
                }
            }
            Leaf::Digits(scope, digits) => {
                self.term(self.heads[scope.index()], &format!("n{digits}"))
            }
            Leaf::Fact(fact) => self.term(self.facts, fact),
            Leaf::Mark(mark) => Box::new(Predicate::new((with.marked)(*mark))),
            Leaf::Since(id) => {
                let first = (with.number_at)(*id);
                Box::new(Predicate::new(Arc::new(move |number| number >= first)))
            }
            Leaf::Until(id) => {
                let end = (with.number_at)(*id);
                Box::new(Predicate::new(Arc::new(move |number| number < end)))
            }
        }
    }

    fn term(&self, field: Field, text: &str) -> Box<dyn Query> {
        let term = Term::from_field_text(field, text);
        Box::new(TermQuery::new(term, IndexRecordOption::Basic))
    }

    fn head(&self, scope: Scope, head: &str, with: &Translation<'_>) -> Box<dyn Query> {
        let field = self.heads[scope.index()];
        let length = head.chars().count();
        let is_code = head.contains(is_code);
        let beginning = match (length, is_code) {
            (..=EDGE_CHARS, _) | (..=CODE_EDGE_CHARS, true) => {
                return self.term(field, &format!("e{head}"));
            }
            (_, false) => format!("p{head}"),
            (_, true) => format!("h{head}"),
        };
        let mut terms = expand(with.searcher, field, &beginning);
        if has_words(scope) && !is_code {
            terms.extend(expand(with.searcher, self.words[scope.index()], head));
        }
        with.cut.set(with.cut.get() || terms.len() > MAX_EXPANSIONS);
        let query =
            |term| -> Box<dyn Query> { Box::new(TermQuery::new(term, IndexRecordOption::Basic)) };
        let clauses =
            terms.into_iter().take(MAX_EXPANSIONS).map(|term| (Occur::Should, query(term)));
        Box::new(BooleanQuery::new(clauses.collect()))
    }
}

/// Whether phrases are asked for in it.
fn has_words(scope: Scope) -> bool {
    match scope {
        Scope::Anywhere | Scope::From | Scope::To | Scope::Subject | Scope::Filename => true,
        Scope::Reference | Scope::Tag => false,
    }
}

/// Codes have a mark, so that they are not in the way of whoever looks for a beginning among words.
fn word_term(word: &str) -> Cow<'_, str> {
    match word.contains(is_code) {
        true => Cow::Owned(format!("#{word}")),
        false => Cow::Borrowed(word),
    }
}

fn word_terms(words: &str) -> String {
    let mut terms = String::with_capacity(words.len() + words.len() / 16);
    for word in words.lines() {
        if word.contains(is_code) {
            terms.push('#');
        }
        terms.push_str(word);
        terms.push('\n');
    }
    terms
}

fn everything() -> Box<dyn Query> {
    Box::new(AllQuery)
}

/// The two halves of an id, as the index keeps it.
pub(super) fn halves(id: MessageId) -> (u64, u64) {
    let id = id.as_u128();
    let low = id & u128::from(u64::MAX);
    (u64::try_from(id >> 64).unwrap_or(u64::MAX), u64::try_from(low).unwrap_or(u64::MAX))
}

/// The id of two halves.
pub(super) fn whole(high: u64, low: u64) -> MessageId {
    MessageId::from_u128(u128::from(high) << 64 | u128::from(low))
}

fn is_code(c: char) -> bool {
    matches!(c, '@' | '.') || c.is_numeric()
}

/// The terms that begin with this, at most one more than are looked for. A segment that can not be
/// read has none here, and fails the search later.
fn expand(searcher: &Searcher, field: Field, beginning: &str) -> Vec<Term> {
    let mut found = std::collections::BTreeSet::new();
    for segment in searcher.segment_readers() {
        let Ok(inverted) = segment.inverted_index(field) else { continue };
        let mut range = inverted.terms().range().ge(beginning.as_bytes());
        // No text has this byte, so everything that begins with it comes before.
        let end = [beginning.as_bytes(), &[0xff]].concat();
        range = range.lt(&end);
        let Ok(mut terms) = range.into_stream() else { continue };
        while found.len() <= MAX_EXPANSIONS && terms.advance() {
            if let Ok(term) = std::str::from_utf8(terms.key()) {
                found.insert(Term::from_field_text(field, term));
            }
        }
    }
    found.into_iter().collect()
}

/// The terms of beginnings, from heads that are sorted: what two have in common stands beside each
/// other.
fn add_beginnings(heads: &[&str], terms: &mut String) {
    let (mut before, mut plain_before) = ("", "");
    for head in heads {
        let code_at = head.find(is_code).unwrap_or(head.len());
        let is_code = code_at < head.len();
        let common = common(before, head);
        let edges = if is_code { CODE_EDGE_CHARS } else { EDGE_CHARS };
        let mut length = 0;
        for (index, (at, c)) in head.char_indices().take(edges + 1).enumerate() {
            length = index + 1;
            let end = at + c.len_utf8();
            if end > common && (index < EDGE_CHARS || (index < edges && end > code_at)) {
                add_term('e', &head[..end], terms);
            }
        }
        if is_code && head[..code_at] != *plain_before {
            plain_before = &head[..code_at];
            add_plain(plain_before, terms);
        }
        if length > CODE_EDGE_CHARS {
            add_term('h', head, terms);
        }
        before = head;
    }
}

/// The term of a plain word that is no term of its own elsewhere.
fn add_plain(head: &str, terms: &mut String) {
    if head.chars().nth(EDGE_CHARS).is_some() && !head.contains(is_code) {
        add_term('p', head, terms);
    }
}

fn add_term(kind: char, term: &str, terms: &mut String) {
    terms.push(kind);
    terms.push_str(term);
    terms.push('\n');
}

/// How many bytes two texts have in common at their beginning.
fn common(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
}

/// Every run of digits of a number that can be asked for.
fn add_digits(number: &str, terms: &mut String) {
    for from in 0..number.len() {
        for length in DIGITS {
            if let Some(run) = number.get(from..from + length) {
                add_term('n', run, terms);
            }
        }
    }
}

/// A term a line; an empty line is a gap.
#[derive(Clone)]
struct Lines {
    taken: Arc<AtomicU64>,
}

struct LineStream<'a> {
    lines: std::str::Split<'a, char>,
    token: Token,
    next_position: usize,
}

impl Tokenizer for Lines {
    type TokenStream<'a> = LineStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> LineStream<'a> {
        self.taken.fetch_add(text.len() as u64, Ordering::Relaxed);
        LineStream { lines: text.split('\n'), token: Token::default(), next_position: 0 }
    }
}

impl TokenStream for LineStream<'_> {
    fn advance(&mut self) -> bool {
        for line in self.lines.by_ref() {
            if line.is_empty() {
                self.next_position += GAP;
                continue;
            }
            self.token.text.clear();
            self.token.text.push_str(line);
            self.token.position = self.next_position;
            self.next_position += 1;
            return true;
        }
        false
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
