//! A text with placeholders (`tags`), filled for each recipient (`tagvalues`).
//!
//! Every placeholder is replaced once, in one go from left to right: what a value says is never read
//! as a placeholder.

use super::super::call::Refusal;
use super::request::wrong;

/// More placeholders than this are no template of a text message.
const MAX_TAGS: usize = 100;
/// A text of 39,015 characters, all of four octets.
const MAX_FILLED_BYTES: usize = 156_060;

/// A text, taken apart.
pub(super) struct Template<'a> {
    pieces: Vec<Piece<'a>>,
}

enum Piece<'a> {
    Text(&'a str),
    /// The value with this number.
    Tag(usize),
}

impl<'a> Template<'a> {
    /// The longest of the tags that begin at a place is meant.
    pub(super) fn new(text: &'a str, tags: &[String]) -> Template<'a> {
        let mut tags: Vec<(usize, &String)> =
            tags.iter().take(MAX_TAGS).enumerate().filter(|(_, tag)| !tag.is_empty()).collect();
        tags.sort_by_key(|(_, tag)| std::cmp::Reverse(tag.len()));
        let (mut pieces, mut rest, mut at) = (Vec::new(), text, 0);
        while let Some(c) = rest[at..].chars().next() {
            match tags.iter().find(|(_, tag)| rest[at..].starts_with(tag.as_str())) {
                Some((index, tag)) => {
                    pieces.push(Piece::Text(&rest[..at]));
                    pieces.push(Piece::Tag(*index));
                    (rest, at) = (&rest[at + tag.len()..], 0);
                }
                None => at += c.len_utf8(),
            }
        }
        pieces.push(Piece::Text(rest));
        Template { pieces }
    }

    /// Whether any placeholder stands in the text.
    pub(super) fn has_tags(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Tag(_) => true,
            Piece::Text(_) => false,
        })
    }

    /// Nobody is to read `Dear %NAME%`: a missing value is refused.
    pub(super) fn fill(&self, values: &[String]) -> Result<String, Refusal> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Tag(index) => {
                    let value = values.get(*index);
                    out.push_str(value.ok_or_else(|| wrong("tagvalues", "a tag has no value"))?);
                }
            }
            if out.len() > MAX_FILLED_BYTES {
                return Err(wrong("tagvalues", "the text becomes too long"));
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, tags: &[&str], values: &[&str], expected: Option<&str>) {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let found = Template::new(text, &owned(tags)).fill(&owned(values)).ok();
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn each_recipient_reads_its_own_values() {
        check("Hej %A%", &["%A%"], &[], None);
        check("Hej %A%%B%", &["%A%", "%B%"], &["x"], None);
        check(&"%A%".repeat(2), &["%A%"], &[&"x".repeat(80_000)], None);
        check("Hej", &["%A%"], &[], Some("Hej"));
        check("", &["%A%", ""], &[], Some(""));
        check("Hej %A% og %B%%A%!", &["%A%", "%B%"], &["å", "b"], Some("Hej å og bå!"));
        // A value that looks like a placeholder is a text; the longest placeholder counts.
        check("%A% %B%", &["%A%", "%B%"], &["%B%", "b"], Some("%B% b"));
        check("%AB", &["%A", "%AB"], &["1", "2"], Some("2"));
    }
}
