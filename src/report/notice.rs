//! The words of a report for people, as they are searched for what they say of each recipient.
//!
//! A hostile report names a thousand recipients in a notice of many lines: the lines are read once, and
//! what is searched and copied for all recipients together has a limit.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use super::{MAX_TEXT_BYTES, address, verdict, wording};
use crate::model::Mailbox;

/// Longest line that is looked at.
pub(super) const MAX_LINE_BYTES: usize = 2000;
/// What is said of one recipient.
const MAX_BLOCK_BYTES: usize = 4 * 1024;
/// What is said of all of them; several may share a line.
const MAX_BLOCKS_BYTES: usize = 4 * MAX_TEXT_BYTES;
/// What is searched for addresses that no line names in a form of its own.
const MAX_SEARCHED_BYTES: usize = 16 * MAX_TEXT_BYTES;
/// Lines among which the one is looked for that tells the trouble.
const MAX_TELLING_LINES: usize = 200;

pub(super) struct Notice<'a> {
    lines: Vec<Line<'a>>,
    /// The first line that names an address.
    first: HashMap<String, usize>,
    blocks_left: Cell<usize>,
    search_left: Cell<usize>,
    telling: OnceCell<Option<&'a str>>,
}

struct Line<'a> {
    text: &'a str,
    lower: String,
    begins_with_address: bool,
}

impl<'a> Notice<'a> {
    pub(super) fn new(notice: &'a str) -> Notice<'a> {
        let (mut lines, mut first) = (Vec::new(), HashMap::new());
        for line in notice.lines() {
            let text = &line[..line.floor_char_boundary(MAX_LINE_BYTES)];
            let start = text.len() - text.trim_start_matches(['<', ' ', '\t', '*', '"']).len();
            let mut begins_with_address = false;
            for (place, (at, mailbox)) in address::in_line(text).enumerate() {
                begins_with_address |= place == 0 && at <= start;
                first.entry(key(&mailbox)).or_insert(lines.len());
            }
            lines.push(Line { text, lower: text.to_lowercase(), begins_with_address });
        }
        Notice {
            lines,
            first,
            blocks_left: Cell::new(MAX_BLOCKS_BYTES),
            search_left: Cell::new(MAX_SEARCHED_BYTES),
            telling: OnceCell::new(),
        }
    }

    /// What it says of one recipient: from the line that names it to the next that names another.
    pub(super) fn around(&self, mailbox: &Mailbox) -> String {
        let wanted = key(mailbox);
        let mut block = String::new();
        let known = self.first.get(&wanted).copied();
        let Some(start) = known.or_else(|| self.search(&wanted)) else { return block };
        for line in &self.lines[start..] {
            let may_be_other = !block.is_empty() && line.begins_with_address;
            let is_other = may_be_other && !line.lower.contains(&wanted);
            let is_full = block.len() > MAX_BLOCK_BYTES;
            if is_other || is_full || !spend(&self.blocks_left, line.text) {
                break;
            }
            block.push_str(line.text);
            block.push('\n');
        }
        block
    }

    fn search(&self, wanted: &str) -> Option<usize> {
        for (place, line) in self.lines.iter().enumerate() {
            if !spend(&self.search_left, line.text) {
                return None;
            }
            if line.lower.contains(wanted) {
                return Some(place);
            }
        }
        None
    }

    /// The line of a block that tells the trouble, or the first one after the address; of the whole
    /// notice where there is no block.
    pub(super) fn diagnostic(&self, block: &str, mailbox: Option<&Mailbox>) -> String {
        let wanted = mailbox.map(key).unwrap_or_default();
        let is_more =
            |line: &&str| line.trim_matches(['<', '>', ':', ' ']).to_lowercase() != wanted;
        let line = match block.is_empty() {
            true => {
                let own = || self.lines.iter().map(|line| line.text);
                let telling = self.telling.get_or_init(|| filled(own()).find(|line| tells(line)));
                telling.or_else(|| filled(own()).find(is_more))
            }
            false => {
                let telling = filled(block.lines()).find(|line| tells(line));
                telling.or_else(|| filled(block.lines()).find(is_more))
            }
        };
        super::block::printable(line.unwrap_or_default())
    }
}

fn filled<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    lines.take(MAX_TELLING_LINES).map(str::trim).filter(|line| !line.is_empty())
}

fn tells(line: &str) -> bool {
    verdict::reply_code(line).is_some()
        || verdict::enhanced_in(line).is_some()
        || wording::trouble(line).is_some()
}

/// Takes a line from what is left; `false` when it is too long for that.
fn spend(left: &Cell<usize>, line: &str) -> bool {
    // An empty line is work too.
    let rest = left.get().checked_sub(line.len() + 1);
    left.set(rest.unwrap_or_default());
    rest.is_some()
}

/// Upper and lower case are one (RFC 5321 §2.4 lets nobody rely on it).
pub(super) fn key(mailbox: &Mailbox) -> String {
    mailbox.to_string().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_recipients_of_a_hostile_notice_are_searched_within_the_limits() {
        let named: String = (0..150).map(|number| format!("a{number}@b.io,")).collect();
        let filler = "none of them is here\n".repeat(3_000);
        let text = format!("x {named}\n{filler}");
        let notice = Notice::new(&text);
        let of = |text: String| notice.around(&Mailbox::parse(&text).unwrap());
        let copied: usize = (0..1000).map(|n| of(format!("a{}@b.io", n % 150)).len()).sum();
        assert!((MAX_BLOCK_BYTES..=MAX_BLOCKS_BYTES).contains(&copied), "{copied}");
        assert_eq!(notice.search_left.get(), MAX_SEARCHED_BYTES);
        for number in 0..1000 {
            assert_eq!(of(format!("z{number}@c.io")), "");
        }
        assert_eq!(notice.search_left.get(), 0);
    }
}
