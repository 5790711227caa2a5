//! The search language of `q`: text in, a question out, or a mistake with its place and what to
//! write instead.
//!
//! ```text
//! question = each *( "OR" each )
//! each     = 1*( [ "-" ] term )            ; all of them
//! term     = "(" question ")" / [ field ":" ] ( word / DQUOTE phrase DQUOTE )
//! field    = from / to / subject / filename / ref / tag / app / channel
//!          / status / is / has / before / after
//! ```
//!
//! A word finds everything that begins with it; a phrase finds its words as they stand. `OR` is
//! written large, `NOT` is the same as `-`, and `AND` says nothing.

use std::ops::Range;

use super::document::{self, DIGITS, Fact, Scope};
use super::standings::Mark;
use crate::model::{AppName, Channel, Direction, MessageId, Reference, Status, Timestamp};

/// Longest question, in bytes.
const MAX_BYTES: usize = 2_000;
/// Words and phrases in one question.
const MAX_TERMS: usize = 64;
/// Parentheses in parentheses.
const MAX_DEPTH: usize = 16;

/// Digits of a number that is written in groups, without a `+` before it, at least.
const MIN_GROUPED_DIGITS: usize = 7;
/// Digits of one of its groups, at most.
const MAX_GROUP_DIGITS: usize = 5;

/// What the parameters beside `q` are called, and what the same is called here.
const PARAMETERS: [(&str, &str); 7] = [
    ("sender", "from"),
    ("recipient", "to"),
    ("reference", "ref"),
    ("attachment", "filename"),
    ("read", "is"),
    ("since", "after"),
    ("until", "before"),
];
const FIELDS: [&str; 13] = [
    "from", "to", "subject", "filename", "ref", "tag", "app", "channel", "status", "is", "has",
    "before", "after",
];

/// What is wrong with a question, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionError {
    /// In characters from the start of `q`, counted from 0.
    pub position: usize,
    /// What is wrong and what to write, as a sentence.
    pub detail: String,
}

/// A question that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub(super) root: Node,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Leaf(Leaf),
}

/// One thing that a message has or has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// A head begins with this.
    Head(Scope, String),
    /// The words follow each other.
    Phrase(Scope, Vec<String>),
    /// A phone number has these digits in a row.
    Digits(Scope, String),
    /// See `Fact::term`.
    Fact(String),
    /// Where it stands has one of these marks.
    Mark(Mark),
    /// Accepted at this id's time or later.
    Since(MessageId),
    /// Accepted before.
    Until(MessageId),
}

/// One term as it was written, to say that nothing has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub span: Range<usize>,
    pub node: Node,
}

impl Question {
    /// Reads a question.
    pub fn parse(text: &str) -> Result<Question, QuestionError> {
        let mut parser = Parser { text, at: 0, terms: Vec::new(), depth: 0, count: 0 };
        let parsed = parser.whole();
        let root = parsed.map_err(|(at, detail)| QuestionError {
            position: text[..at.min(text.len())].chars().count(),
            detail,
        })?;
        Ok(Question { root, text: text.to_owned() })
    }

    /// Its terms that a message must have, each as it was written.
    pub(super) fn terms(&self) -> Vec<(String, Node)> {
        let mut parser = Parser { text: &self.text, at: 0, terms: Vec::new(), depth: 0, count: 0 };
        // It was read before.
        let _ = parser.whole();
        let written = parser.terms.into_iter();
        written.map(|one| (self.text[one.span].to_owned(), one.node)).collect()
    }
}

type Parsed<T> = Result<T, (usize, String)>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Terms outside of negations.
    terms: Vec<Written>,
    depth: usize,
    count: usize,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Parsed<Node> {
        if self.text.len() > MAX_BYTES {
            return Err((MAX_BYTES, format!("q is longer than {MAX_BYTES} bytes.")));
        }
        if let Some(at) = self.text.find(|c: char| c.is_control() && !c.is_whitespace()) {
            return Err((at, "q has a control character; leave it out.".into()));
        }
        self.skip_spaces();
        if self.rest().is_empty() {
            return Err((0, "q is empty; write a word, or leave q out.".into()));
        }
        let node = self.any()?;
        match self.rest().is_empty() {
            true => Ok(node),
            // Only a closing parenthesis ends a question early.
            false => Err((
                self.at,
                "there is no ( for this ); leave it out, or put it in quotes.".into(),
            )),
        }
    }

    fn any(&mut self) -> Parsed<Node> {
        let mut choices = vec![self.all()?];
        while self.take_word("OR") {
            choices.push(self.all()?);
        }
        Ok(match choices.len() {
            1 => choices.remove(0),
            _ => Node::Any(choices),
        })
    }

    fn all(&mut self) -> Parsed<Node> {
        let begin = self.at;
        let mut parts = Vec::new();
        loop {
            self.skip_spaces();
            while self.take_word("AND") {}
            if self.rest().is_empty() || self.rest().starts_with(')') || self.peeks_word("OR") {
                break;
            }
            parts.push(self.part()?);
        }
        match parts.len() {
            0 => {
                let at = if self.rest().is_empty() { begin } else { self.at };
                Err((at, "a word is missing here; OR stands between two, ( ) around some.".into()))
            }
            1 => Ok(parts.remove(0)),
            _ => Ok(Node::All(parts)),
        }
    }

    fn part(&mut self) -> Parsed<Node> {
        let begin = self.at;
        let is_dash = self.rest().starts_with('-');
        if is_dash || self.take_word("NOT") {
            self.at += usize::from(is_dash);
            let missing = self.rest().chars().next().is_none_or(|c| c.is_whitespace() || c == ')');
            if missing {
                let what = "what is to be left out is missing; write it right behind the -.";
                return Err((begin, what.into()));
            }
            self.deeper()?;
            let known = self.terms.len();
            let node = self.part()?;
            self.terms.truncate(known);
            self.depth -= 1;
            return Ok(Node::Not(Box::new(node)));
        }
        if self.rest().starts_with('(') {
            self.at += 1;
            self.deeper()?;
            let node = self.any()?;
            self.depth -= 1;
            if !self.rest().starts_with(')') {
                return Err((begin, "this ( has no ); write it behind the last word.".into()));
            }
            self.at += 1;
            return Ok(node);
        }
        self.term()
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err((
                self.at,
                format!("there are more than {MAX_DEPTH} parentheses in each other."),
            )),
            false => Ok(()),
        }
    }

    fn term(&mut self) -> Parsed<Node> {
        let begin = self.at;
        self.count += 1;
        if self.count > MAX_TERMS {
            return Err((
                begin,
                format!("there are more than {MAX_TERMS} terms; ask for less at one time."),
            ));
        }
        let field = self.field()?;
        let value_at = self.at;
        let node = match self.rest().strip_prefix('"') {
            Some(quoted) => {
                let Some(end) = quoted.find('"') else {
                    return Err((
                        value_at,
                        "this quote has no end; write a \" behind the phrase.".into(),
                    ));
                };
                let phrase = &quoted[..end];
                let node = quoted_node(field, phrase).map_err(|detail| (value_at, detail))?;
                self.at += end + 2;
                node
            }
            None => {
                let rest = self.rest();
                let grouped = grouped_number(rest).filter(|_| has_numbers(field));
                let word = &rest[..grouped.unwrap_or_else(|| end_of_word(rest))];
                if word.is_empty() {
                    let name = field.unwrap_or_default();
                    return Err((
                        begin,
                        format!("{name}: has no value; write it right behind the colon."),
                    ));
                }
                let node = word_node(field, word).map_err(|detail| (value_at, detail))?;
                self.at += word.len();
                node
            }
        };
        self.terms.push(Written { span: begin..self.at, node: node.clone() });
        Ok(node)
    }

    /// The field before a colon. A colon behind another word belongs to the word (`10:30`).
    fn field(&mut self) -> Parsed<Option<&'static str>> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        if end == 0 || !rest[end..].starts_with(':') {
            return Ok(None);
        }
        let name = rest[..end].to_ascii_lowercase();
        if let Some(field) = FIELDS.into_iter().find(|field| *field == name) {
            self.at += end + 1;
            return Ok(Some(field));
        }
        let written = |field: &str| {
            format!("there is no field {name}:; write {field}:, or put the text in quotes.")
        };
        if let Some((_, field)) = PARAMETERS.into_iter().find(|(parameter, _)| *parameter == name) {
            return Err((self.at, written(field)));
        }
        let near =
            FIELDS.into_iter().map(|field| (strsim::damerau_levenshtein(field, &name), field));
        match near.min() {
            Some((distance, field)) if distance == 1 && name.len() > 2 => {
                Err((self.at, written(field)))
            }
            _ => Ok(None),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn peeks_word(&self, word: &str) -> bool {
        let after = self.rest().trim_start().strip_prefix(word);
        after.is_some_and(|after| {
            after.chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')'))
        })
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_next = self.peeks_word(word);
        self.skip_spaces();
        if is_next {
            self.at += word.len();
            self.skip_spaces();
        }
        is_next
    }
}

fn end_of_word(text: &str) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"'));
    end.unwrap_or(text.len())
}

/// Whether a phone number may stand in this field.
fn has_numbers(field: Option<&str>) -> bool {
    matches!(field, None | Some("from" | "to"))
}

/// Where a phone number ends that is written in groups (`+45 12 34 56 78`), if one begins here.
fn grouped_number(text: &str) -> Option<usize> {
    let (mut at, mut end, mut groups, mut digits) = (usize::from(text.starts_with('+')), 0, 0, 0);
    let fewest = if at == 1 { *DIGITS.start() } else { MIN_GROUPED_DIGITS };
    loop {
        let group = &text[at..at + end_of_word(&text[at..])];
        let is_group = (1..=MAX_GROUP_DIGITS).contains(&group.len())
            && group.bytes().all(|byte| byte.is_ascii_digit());
        if !is_group {
            break;
        }
        (groups, digits, end) = (groups + 1, digits + group.len(), at + group.len());
        at = text.len() - text[end..].trim_start().len();
    }
    (groups > 1 && digits >= fewest && DIGITS.contains(&digits)).then_some(end)
}

fn word_node(field: Option<&str>, word: &str) -> Result<Node, String> {
    let value = word.strip_suffix('*').unwrap_or(word);
    match field {
        None => heads(Scope::Anywhere, value),
        Some(field) => field_node(field, value, heads),
    }
}

fn quoted_node(field: Option<&str>, phrase: &str) -> Result<Node, String> {
    match field {
        None => phrase_node(Scope::Anywhere, phrase),
        Some(field) => field_node(field, phrase, phrase_node),
    }
}

fn field_node(
    field: &str,
    value: &str,
    text: fn(Scope, &str) -> Result<Node, String>,
) -> Result<Node, String> {
    let word = value.to_ascii_lowercase();
    match field {
        "from" => text(Scope::From, value),
        "to" => text(Scope::To, value),
        "subject" => text(Scope::Subject, value),
        "filename" => text(Scope::Filename, value),
        // A reference is one code however it is written.
        "ref" => match Reference::parse(value) {
            Some(reference) => heads(Scope::Reference, &reference.canonical()),
            None => Err("ref: is followed by a reference of at most 64 characters.".into()),
        },
        "tag" => heads(Scope::Tag, value),
        "app" => match AppName::parse(value) {
            Some(app) => Ok(fact(&Fact::App(&app))),
            None => Err("app: is followed by the name of an app.".into()),
        },
        "channel" => match Channel::parse(&word) {
            Some(channel) => Ok(fact(&Fact::Channel(channel))),
            None => Err("channel: is followed by email or sms.".into()),
        },
        "status" => match Status::parse(&word) {
            Some(status) => Ok(Node::Leaf(Leaf::Mark(Mark::Status(status)))),
            None => {
                let words = Status::ALL.map(Status::as_str).join(", ");
                Err(format!("status: is followed by one of {words}."))
            }
        },
        "is" => is_node(&word),
        "has" => match word.as_str() {
            "attachment" | "attachments" => Ok(fact(&Fact::HasAttachment)),
            _ => Err("has: is followed by attachment.".into()),
        },
        "before" => Ok(Node::Leaf(Leaf::Until(time(field, value)?))),
        _ => Ok(Node::Leaf(Leaf::Since(time(field, value)?))),
    }
}

fn is_node(value: &str) -> Result<Node, String> {
    let mark = |mark| Ok(Node::Leaf(Leaf::Mark(mark)));
    match value {
        "opened" => mark(Mark::Opened),
        "clicked" => mark(Mark::Clicked),
        "held" => mark(Mark::Held),
        "bounced" => mark(Mark::Bounced),
        "unread" => Ok(unread()),
        _ => Err("is: is followed by one of opened, unread, clicked, held, bounced.".into()),
    }
}

/// Outbound, and nobody is known to have opened it.
pub(super) fn unread() -> Node {
    let opened = Node::Leaf(Leaf::Mark(Mark::Opened));
    Node::All(vec![fact(&Fact::Direction(Direction::Outbound)), Node::Not(Box::new(opened))])
}

pub(super) fn fact(fact: &Fact<'_>) -> Node {
    Node::Leaf(Leaf::Fact(fact.term()))
}

fn heads(scope: Scope, value: &str) -> Result<Node, String> {
    let mut needles = document::needles(value);
    needles.dedup();
    let mut leaves: Vec<Node> =
        needles.into_iter().map(|needle| Node::Leaf(Leaf::Head(scope, needle))).collect();
    let found = match leaves.len() {
        0 => return Err(format!("there is no letter and no digit in {value}; leave it out.")),
        1 => leaves.remove(0),
        _ => Node::All(leaves),
    };
    Ok(or_digits(scope, value, found))
}

fn phrase_node(scope: Scope, phrase: &str) -> Result<Node, String> {
    let mut words = document::phrase(phrase);
    let found = match words.len() {
        0 => return Err("there is no letter and no digit in this phrase; leave it out.".into()),
        _ => Node::Leaf(Leaf::Phrase(scope, std::mem::take(&mut words))),
    };
    Ok(or_digits(scope, phrase, found))
}

/// A phone number is found by any run of its digits, however they are grouped.
fn or_digits(scope: Scope, value: &str, otherwise: Node) -> Node {
    let is_number = |c: char| c.is_ascii_digit() || c.is_whitespace() || "+-.()/".contains(c);
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let has_numbers = matches!(scope, Scope::Anywhere | Scope::From | Scope::To);
    if !has_numbers || !value.chars().all(is_number) || !DIGITS.contains(&digits.len()) {
        return otherwise;
    }
    Node::Any(vec![otherwise, Node::Leaf(Leaf::Digits(scope, digits))])
}

/// A date is its first instant in UTC.
fn time(field: &str, value: &str) -> Result<MessageId, String> {
    let is_date = value.len() == 10 && value.parse::<jiff::civil::Date>().is_ok();
    let text = if is_date { format!("{value}T00:00:00Z") } else { value.to_owned() };
    let time = Timestamp::parse_rfc3339(&text).map(MessageId::first_at);
    time.ok_or_else(|| {
        format!("{field}: is followed by a date such as 2026-01-31, or a time such as 2026-01-31T08:00:00Z.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mistake_says_where_and_what_to_write() {
        let check = |text: &str, position: usize, expected: &str| match Question::parse(text) {
            Ok(question) => panic!("{text}: {question:?}"),
            Err(error) => {
                assert_eq!(error.position, position, "{text}: {}", error.detail);
                assert!(error.detail.contains(expected), "{text}: {}", error.detail);
            }
        };
        check("", 0, "write a word");
        check("   ", 0, "write a word");
        check("\"open", 0, "this quote has no end");
        check("blå \"open", 4, "this quote has no end");
        check("a OR", 4, "a word is missing");
        check("OR a", 0, "a word is missing");
        check("a OR OR b", 5, "a word is missing");
        check("(a b", 0, "this ( has no )");
        check("a ) b", 2, "there is no ( for this )");
        check("()", 1, "a word is missing");
        check("a -", 2, "what is to be left out");
        check("a - b", 2, "what is to be left out");
        check("from:", 0, "from: has no value");
        check("from: x", 0, "from: has no value");
        check("x !!!", 2, "no letter and no digit");
        check("\"...\"", 0, "no letter and no digit");
        check("form:x", 0, "write from:");
        check("subjekt:x", 0, "write subject:");
        check("x sender:anna", 2, "write from:");
        check("recipient:\"kim\"", 0, "write to:");
        check("Since:2026-01-31", 0, "write after:");
        check("x is:red", 5, "opened, unread, clicked, held, bounced");
        check("has:x", 4, "followed by attachment");
        check("status:sended", 7, "not_sent, pending, sent, stopped, failed");
        check("channel:fax", 8, "email or sms");
        check("app:\"a b\"", 4, "the name of an app");
        check("before:yesterday", 7, "a date such as");
        check("after:2026-13-01", 6, "a date such as");
        check(&"x".repeat(2_001), 2_000, "longer than");
        check(&"x ".repeat(65), 128, "more than 64 terms");
        check(&"(".repeat(17), 17, "more than 16 parentheses");
        check(&format!("{}x", "-".repeat(500)), 17, "more than 16");
        check("a\u{7}", 1, "control character");
    }

    #[test]
    fn questions_are_read() {
        let leaf = |scope, text: &str| Node::Leaf(Leaf::Head(scope, text.into()));
        let any = |text| leaf(Scope::Anywhere, text);
        let check = |text: &str, expected: Node| {
            assert_eq!(Question::parse(text).unwrap().root, expected, "{text}");
        };
        check("Invoice", any("invoice"));
        check("inv-12*", any("inv12"));
        check("10:30a", any("1030a"));
        check("a b OR c", Node::Any(vec![Node::All(vec![any("a"), any("b")]), any("c")]));
        check("a (b OR c)", Node::All(vec![any("a"), Node::Any(vec![any("b"), any("c")])]));
        check("a -b", Node::All(vec![any("a"), Node::Not(Box::new(any("b")))]));
        check("a NOT b", Node::All(vec![any("a"), Node::Not(Box::new(any("b")))]));
        check("a AND b", Node::All(vec![any("a"), any("b")]));
        check("ORDER", any("order"));
        check("from:Kim@ex", leaf(Scope::From, "kim@ex"));
        check("foo,bar", Node::All(vec![any("foo"), any("bar")]));
        let phrase = vec!["two".to_owned(), "words".to_owned()];
        check("\"Two words\"", Node::Leaf(Leaf::Phrase(Scope::Anywhere, phrase)));
        let digits = Node::Leaf(Leaf::Digits(Scope::To, "4567".into()));
        check("to:4567", Node::Any(vec![leaf(Scope::To, "4567"), digits]));
        check("status:failed", Node::Leaf(Leaf::Mark(Mark::Status(Status::Failed))));
        check("Status:FAILED", Node::Leaf(Leaf::Mark(Mark::Status(Status::Failed))));
        check("is:Held", Node::Leaf(Leaf::Mark(Mark::Held)));
    }

    #[test]
    fn a_number_in_groups_is_one_number() {
        let ends = |text: &str, expected: Option<&str>| {
            assert_eq!(grouped_number(text).map(|end| &text[..end]), expected, "{text}");
        };
        ends("", None);
        ends("12345678", None);
        ends("+4512345678 kim", None);
        ends("12 34", None);
        ends("1000 2026-01", None);
        ends("1000 200000", None);
        ends("1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6", None);
        ends("+45 12 34 56 78", Some("+45 12 34 56 78"));
        ends("12 34 56 78 kim", Some("12 34 56 78"));
        ends("1234  5678) OR x", Some("1234  5678"));
        let digits = Node::Leaf(Leaf::Digits(Scope::To, "12345678".into()));
        let Node::All(parts) = Question::parse("to:12 34 56 78 kim").unwrap().root else {
            panic!("one term")
        };
        assert!(matches!(&parts[0], Node::Any(either) if either.contains(&digits)), "{parts:?}");
        assert_eq!(parts.len(), 2);
        assert!(Question::parse("subject:1234 5678").unwrap().terms().len() == 2);
    }

    #[test]
    fn terms_are_told_as_they_were_written() {
        let question = Question::parse("Blå \"to ord\" -x (from:kim OR is:held)").unwrap();
        let written: Vec<String> = question.terms().into_iter().map(|(text, _)| text).collect();
        assert_eq!(written, ["Blå", "\"to ord\"", "from:kim", "is:held"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a-z:\"() -]|OR|is:|æ|京|\\PC){0,60}") {
            match Question::parse(&text) {
                Ok(question) => drop(question.terms()),
                Err(error) => prop_assert!(error.position <= text.chars().count()),
            }
        }
    }
}
