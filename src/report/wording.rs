//! Which trouble the words of a mail system name.
//!
//! A table of phrases, looked for in this order: a phrase that says more stands before one that says less,
//! and what is said of the sender before what is said of the recipient. The phrases themselves are in
//! `phrases` and `refusals`, the sentences that tell that something became of a message in `sentences`.

use std::sync::LazyLock;

use regex::Regex;

use super::finding::Trouble;
use super::phrases::{FULL, INACTIVE, UNKNOWN_DOMAIN, UNKNOWN_USER};
use super::refusals::{
    BLOCKED, CONTENT, EXPIRED, LOOP, REFUSED, SENDER, TEMPORARY, TOO_LARGE, UNKNOWN_USER_PERHAPS,
};

/// How much a phrase says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// What is wrong.
    Clear,
    /// That it was refused: a number beside it may know why.
    Vague,
}

/// Looks for the first phrase, in the order of the table, in a text: one pass over it for each row.
pub(super) fn trouble(text: &str) -> Option<(Trouble, Weight)> {
    static ROWS: LazyLock<Vec<(Trouble, Weight, Regex)>> = LazyLock::new(|| {
        let pattern = |phrases: &[&str]| {
            let escaped: Vec<String> = phrases.iter().map(|p| regex::escape(p)).collect();
            Regex::new(&escaped.join("|")).ok()
        };
        let rows = TABLE.iter().map(|row| Some((row.0, row.1, pattern(row.2)?)));
        rows.flatten().collect()
    });
    let text = folded(text);
    ROWS.iter().find(|row| row.2.is_match(&text)).map(|row| (row.0, row.1))
}

/// Lower case, typographic apostrophes made plain, white space folded: phrases run over lines.
pub(super) fn folded(text: &str) -> String {
    // A Turkish capital I becomes a letter with a dot of its own.
    let plain = text.to_lowercase().replace(['\u{2019}', '\u{2018}'], "'").replace('\u{307}', "");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a folded text holds one of the phrases.
pub(super) fn says(folded: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| folded.contains(phrase))
}

const TABLE: [(Trouble, Weight, &[&str]); 13] = [
    (Trouble::MailboxFull, Weight::Clear, FULL),
    (Trouble::TooLarge, Weight::Clear, TOO_LARGE),
    (Trouble::Blocked, Weight::Clear, SENDER),
    (Trouble::Loop, Weight::Clear, LOOP),
    (Trouble::MailboxInactive, Weight::Clear, INACTIVE),
    (Trouble::DomainUnknown, Weight::Clear, UNKNOWN_DOMAIN),
    (Trouble::UserUnknown, Weight::Clear, UNKNOWN_USER),
    (Trouble::Expired, Weight::Clear, EXPIRED),
    (Trouble::Content, Weight::Clear, CONTENT),
    (Trouble::Temporary, Weight::Clear, TEMPORARY),
    (Trouble::Blocked, Weight::Clear, BLOCKED),
    (Trouble::Blocked, Weight::Vague, REFUSED),
    (Trouble::UserUnknown, Weight::Vague, UNKNOWN_USER_PERHAPS),
];
