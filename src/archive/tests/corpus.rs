//! The search over real mail, where `WAYBILL_CORPUS` names a folder of it, against a plain scan.
//!
//! The scan knows nothing of heads, terms and documents: it walks through the folded text of each
//! message and compares letters. What it shares with the search is folding and the text of a body
//! (`mime::searchable`). The questions are made of what stands in the mail itself.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{acceptance, settings};
use crate::archive::search::tests::{find, folded, settle};
use crate::archive::{Acceptance, Accepted, Archive, Attachment, Question, SearchOrder};
use crate::mime;
use crate::model::{Digest, MessageId, Reference};

/// Larger files are of other tests.
const MAX_FILE_BYTES: usize = 200 << 10;
/// Messages of one transaction.
const BATCH: usize = 100;
/// Of the messages, so many give words to ask for.
const ASKED: usize = 24;

/// What is asked, in a form that writes itself as `q`.
enum Ask {
    /// The field (or nothing), and the beginning of a word.
    Word(&'static str, String),
    Phrase(&'static str, Vec<String>),
    HasAttachment,
    Not(Box<Ask>),
    All(Vec<Ask>),
    Any(Vec<Ask>),
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field =
            |field: &str| if field.is_empty() { String::new() } else { format!("{field}:") };
        let join = |asks: &[Ask], between: &str| {
            asks.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
        };
        match self {
            Ask::Word(of, word) => write!(f, "{}{word}", field(of)),
            Ask::Phrase(of, words) => write!(f, "{}\"{}\"", field(of), words.join(" ")),
            Ask::HasAttachment => f.write_str("has:attachment"),
            Ask::Not(ask) => write!(f, "-{ask}"),
            Ask::All(asks) => write!(f, "({})", join(asks, " ")),
            Ask::Any(asks) => write!(f, "({})", join(asks, " OR ")),
        }
    }
}

/// One message as plain texts.
struct Plain {
    id: MessageId,
    /// By field (the body has none), with their words.
    texts: Vec<(&'static str, String, Vec<String>)>,
    has_attachment: bool,
}

impl Plain {
    fn new(id: MessageId, message: &Acceptance) -> Plain {
        let mut texts = vec![("", mime::searchable(&message.raw, 1 << 20))];
        let summary = &message.summary;
        texts.extend(summary.subject.iter().map(|subject| ("subject", subject.clone())));
        if let Some(author) = &summary.author {
            texts.push(("from", author.address.clone()));
            texts.extend(author.name.iter().map(|name| ("from", name.clone())));
        }
        texts.extend(message.medium.sender().map(|sender| ("from", sender)));
        texts.extend(message.medium.recipients().into_iter().map(|to| ("to", to)));
        let names = summary.attachments.iter().filter_map(|found| found.filename.clone());
        texts.extend(names.map(|name| ("filename", name)));
        texts.extend(message.references.iter().map(|found| ("ref", found.canonical())));
        let texts = texts.into_iter().map(|(of, text)| {
            let text = folded(&text);
            let parts = parts(&text);
            (of, text, parts)
        });
        let has_attachment = summary.attachments.iter().any(|found| !found.inline);
        Plain { id, texts: texts.collect(), has_attachment }
    }

    fn is_answer(&self, ask: &Ask) -> bool {
        let of = |field: &str| {
            let field = field.to_owned();
            self.texts.iter().filter(move |(of, ..)| field.is_empty() || *of == field)
        };
        match ask {
            Ask::Word(field, word) => of(field).any(|(_, text, _)| has_word(text, word)),
            Ask::Phrase(field, words) => of(field)
                .any(|(_, _, parts)| (0..parts.len()).any(|at| parts[at..].starts_with(words))),
            Ask::HasAttachment => self.has_attachment,
            Ask::Not(ask) => !self.is_answer(ask),
            Ask::All(asks) => asks.iter().all(|ask| self.is_answer(ask)),
            Ask::Any(asks) => asks.iter().any(|ask| self.is_answer(ask)),
        }
    }
}

/// A letter of a script without spaces: a word by itself.
fn is_alone(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// What stands within a code (`INV-1`) and is not asked for.
fn is_inner(c: char) -> bool {
    "_-+/#=:&'’‐‑".contains(c)
}

fn is_letter(c: char) -> bool {
    let is_sign =
        matches!(c, '\u{591}'..='\u{6ff}' | '\u{900}'..='\u{dff}' | '\u{e00}'..='\u{eff}');
    (c.is_alphanumeric() || is_sign) && !is_alone(c)
}

/// The text has a word, or a part of a code or address, that begins so.
fn has_word(text: &str, word: &str) -> bool {
    if word.chars().all(is_alone) {
        return text.contains(word);
    }
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let begins = c == '@' || !is_letter(before);
        before = c;
        if !begins || !word.starts_with(c) {
            continue;
        }
        let mut rest = text[at..].chars().filter(|c| !is_inner(*c));
        if word.chars().all(|wanted| rest.next() == Some(wanted)) {
            return true;
        }
    }
    false
}

/// All words of a text.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match (is_alone(c), is_letter(c)) {
            (true, _) => parts.extend([c.to_string(), String::new()]),
            (false, true) => parts.last_mut().unwrap().push(c),
            (false, false) => parts.push(String::new()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

fn message(number: u64, raw: Vec<u8>) -> Acceptance {
    let mut message = acceptance(number, 1, raw.into());
    let reading = mime::read(&message.raw);
    message.summary.subject = reading.subject;
    message.summary.author = reading.author;
    let attachments = reading.attachments.into_iter().map(|found| Attachment {
        filename: found.filename,
        content_type: found.content_type,
        size_bytes: found.size_bytes,
        sha256: found.sha256,
        inline: found.inline,
    });
    message.summary.attachments = attachments.collect();
    message.references =
        Reference::parse(&format!("INV-{}", number % 50 + 100)).into_iter().collect();
    message.digest = Digest::of(&message.raw);
    message
}

async fn fill(archive: &Archive, corpus: &Path) -> Vec<Plain> {
    let raws = files(corpus).into_iter().map(|path| std::fs::read(path).unwrap());
    let raws = raws.filter(|raw| raw.len() <= MAX_FILE_BYTES);
    let messages: Vec<Acceptance> = (0..).zip(raws).map(|(n, raw)| message(n, raw)).collect();
    let mut plain = Vec::new();
    for batch in messages.chunks(BATCH) {
        let accepted = archive.accept_all(batch.to_vec(), None).await.unwrap();
        let Accepted::New(ids) = accepted else { panic!("{accepted:?}") };
        plain.extend(ids.iter().zip(batch).map(|(id, message)| Plain::new(id.get(), message)));
    }
    plain.sort_by_key(|plain| std::cmp::Reverse(plain.id));
    plain
}

/// Words, their beginnings, phrases and fields out of some messages, and what is made of them.
fn questions(all: &[Plain]) -> Vec<Ask> {
    let mut questions = vec![Ask::HasAttachment, Ask::Word("ref", "inv11".into())];
    let mut seen: Vec<String> = Vec::new();
    for plain in all.iter().step_by(all.len() / ASKED + 1) {
        for (field, _, parts) in &plain.texts {
            let parts = &parts[..parts.len().min(400)];
            let is_good = |part: &&String| part.chars().count() <= 20 && part.len() > 1;
            // The longest word says the most; the one in the middle is one of many.
            let longest = parts.iter().filter(is_good).max_by_key(|part| part.len());
            let Some(word) = longest.cloned() else { continue };
            questions.push(Ask::Word(field, word.clone()));
            let half: String = word.chars().take(word.chars().count().div_ceil(2)).collect();
            questions.push(Ask::Word("", half.clone()));
            let middle = parts.len() / 2;
            let phrase: Vec<String> = parts[middle..].iter().take(3).cloned().collect();
            questions.push(Ask::Phrase(field, phrase));
            if let Some(other) = seen.last() {
                let (one, other) = (Ask::Word("", half), Ask::Word("", other.clone()));
                questions.push(match seen.len() % 3 {
                    0 => Ask::Any(vec![one, other]),
                    1 => Ask::All(vec![one, Ask::Not(Box::new(other))]),
                    _ => Ask::All(vec![one, Ask::Any(vec![other, Ask::HasAttachment])]),
                });
            }
            seen.push(word);
        }
        let address = plain.texts.iter().find(|(field, ..)| *field == "from");
        questions.extend(address.map(|(_, text, _)| Ask::Word("from", text.clone())));
    }
    // Words of the language itself, and what it reads as something else, are not what is tried here.
    questions.retain(|ask| {
        let text = ask.to_string();
        Question::parse(&text).is_ok() && !text.contains(" or ") && is_plain(ask)
    });
    questions
}

/// Whether the scan can say what is meant.
fn is_plain(ask: &Ask) -> bool {
    match ask {
        Ask::Word(_, word) => {
            let is_code = |c: char| is_letter(c) || c == '@' || c == '.';
            let ends = [word.chars().next(), word.chars().next_back()];
            let is_script = word.chars().all(is_alone) && word.chars().count() <= 4;
            is_script
                || (word.chars().all(is_code) && ends.iter().flatten().all(|c| c.is_alphanumeric()))
        }
        Ask::Phrase(_, words) => !words.is_empty(),
        Ask::HasAttachment => true,
        Ask::Not(ask) => is_plain(ask),
        Ask::All(asks) | Ask::Any(asks) => asks.iter().all(is_plain),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_the_corpus_is_found_as_by_a_plain_scan() {
    let Some(corpus) = std::env::var_os("WAYBILL_CORPUS") else { return };
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let all = fill(&archive, Path::new(&corpus)).await;
    settle(&archive).await;
    let questions = questions(&all);
    assert!(questions.len() > 200, "{} questions over {} messages", questions.len(), all.len());
    let mut answers = 0;
    for ask in &questions {
        let q = ask.to_string();
        let expected: Vec<MessageId> =
            all.iter().filter(|plain| plain.is_answer(ask)).map(|plain| plain.id).collect();
        assert_eq!(find(&archive, &q, SearchOrder::Newest, 500), expected, "{q}");
        answers += expected.len();
    }
    assert!(answers > questions.len(), "most questions find what they were made of");
    archive.close().await;
}
