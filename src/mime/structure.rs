//! The parts of a message as byte spans (RFC 2046 §5.1).
//!
//! One pass over the message looks at the lines that begin with `--` and at nothing else, so the time
//! is linear in its length whatever it holds; nothing recurses. Parts come in the order in which they
//! stand, the root first, and their bodies never overlap unless one is a multipart around the other.
//! Attached messages are not opened.
//!
//! Why it is ours: mail-parser 0.11 ends a part at a boundary in the middle of a line, searches to
//! the end of the message for each boundary that never comes, decodes everything before anybody
//! asks, and has no limit on depth or parts. Here a delimiter stands at the start of a line and
//! nothing but white space follows it (RFC 2046 §5.1.1). mail-parser reads what stands in the fields
//! and decodes the bodies; a test compares both readings over real mail.

use std::ops::Range;

use super::field::{self, Fields};
use super::part::{self, Defects, Kind, Media, Multipart, Part};

/// Deeper multiparts are not opened: each is one attachment.
pub(crate) const MAX_DEPTH: usize = 100;
/// Beyond so many parts nothing more is split: the last one holds the rest.
pub(crate) const MAX_PARTS: usize = 10_000;

/// The parts of a message.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    /// In document order; the first is the message itself. Never empty.
    pub parts: Vec<Part>,
    pub defects: Defects,
}

/// A multipart whose end has not come yet.
struct Open {
    part: usize,
    boundary: Vec<u8>,
    has_children: bool,
}

/// A delimiter line.
struct Delimiter {
    /// Where the line begins, and where the content above it ends: before its line break.
    content_end: usize,
    /// After the line.
    next: usize,
    /// Which open multipart it belongs to.
    level: usize,
    /// It ends the multipart.
    close: bool,
}

struct Walk<'a> {
    raw: &'a [u8],
    parts: Vec<Part>,
    open: Vec<Open>,
    /// The part whose body is being passed over.
    leaf: Option<usize>,
    defects: Defects,
}

impl Structure {
    /// Reads the structure of any bytes.
    pub fn read(raw: &[u8]) -> Structure {
        let parts = Vec::with_capacity(4);
        let defects = Defects::default();
        let mut walk = Walk { raw, parts, open: Vec::new(), leaf: None, defects };
        let mut at = walk.enter(0, None);
        while let Some(delimiter) = walk.next_delimiter(at) {
            if walk.parts.len() >= MAX_PARTS {
                walk.defects.add("not split any further: there are more than 10000 parts");
                break;
            }
            at = walk.cross(&delimiter);
        }
        walk.finish()
    }

    /// The parts that hold content.
    pub fn leaves(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.parts.iter().enumerate().filter(|(_, part)| part.is_leaf())
    }

    /// The nearest multipart of this kind around a part.
    pub fn within(&self, index: usize, kind: Multipart) -> Option<usize> {
        let mut around = self.parts[index].parent;
        while let Some(parent) = around {
            if self.parts[parent].media.kind == Kind::Multipart(kind) {
                return Some(parent);
            }
            around = self.parts[parent].parent;
        }
        None
    }
}

impl Walk<'_> {
    /// Reads the header of the part that starts at `at`; gives where to look for delimiters.
    fn enter(&mut self, at: usize, parent: Option<usize>) -> usize {
        let (header, body) = self.header_section(at);
        let in_digest =
            parent.is_some_and(|p| self.parts[p].media.kind == Kind::Multipart(Multipart::Digest));
        let mut fields = Fields::of_part(self.raw, header);
        let mut media = part::read_media(&mut fields, in_digest, &mut self.defects);
        if fields.overflow() {
            self.defects.add("the header section is too large to be read to its end");
        }
        if fields.junk_lines() > 0 {
            self.defects.add("a line in a header section is not a field");
        }
        if self.open.len() >= MAX_DEPTH && matches!(media.kind, Kind::Multipart(_)) {
            self.defects.add("not opened any further: multiparts are nested deeper than 100");
            media.kind = Kind::Other;
        }
        let index = self.parts.len();
        match (media.kind, media.boundary.take()) {
            (Kind::Multipart(_), Some(boundary)) => {
                self.open.push(Open { part: index, boundary, has_children: false });
                self.leaf = None;
            }
            _ => self.leaf = Some(index),
        }
        self.parts.push(Part { parent, start: at, body: body..self.raw.len(), media });
        body
    }

    /// The header section that starts at `at`, and where the body begins. It ends at an empty line,
    /// or at a delimiter line of an open multipart when a part has no body.
    fn header_section(&self, at: usize) -> (Range<usize>, usize) {
        let mut line_start = at;
        while line_start < self.raw.len() {
            let rest = &self.raw[line_start..];
            let line_end = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
            let line = &rest[..line_end];
            if line.starts_with(b"--") && self.delimiter_in(line).is_some() {
                return (at..line_start, line_start);
            }
            line_start += line_end;
            if field::is_blank(line) {
                return (at..line_start, line_start);
            }
        }
        (at..line_start, line_start)
    }

    /// The first delimiter line of an open multipart at or after `at`, a line start.
    fn next_delimiter(&self, at: usize) -> Option<Delimiter> {
        if self.open.is_empty() {
            return None;
        }
        let rest = &self.raw[at..];
        let first = rest.starts_with(b"--").then_some(at);
        let others = memchr::memmem::find_iter(rest, b"\n--").map(|i| at + i + 1);
        for start in first.into_iter().chain(others) {
            let line = &self.raw[start..];
            let line = &line[..memchr::memchr(b'\n', line).map_or(line.len(), |i| i + 1)];
            if let Some((level, close)) = self.delimiter_in(line) {
                let above = &self.raw[at..start];
                let above = above.strip_suffix(b"\n").unwrap_or(above);
                let above = above.strip_suffix(b"\r").unwrap_or(above);
                let content_end = at + above.len();
                return Some(Delimiter { content_end, next: start + line.len(), level, close });
            }
        }
        None
    }

    /// Which open multipart a line that begins with `--` belongs to, the innermost first, and whether
    /// it ends it.
    fn delimiter_in(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.get(2..)?.trim_ascii_end();
        let ended = text.strip_suffix(b"--");
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            if text == open.boundary {
                Some((level, false))
            } else if ended == Some(&open.boundary) {
                Some((level, true))
            } else {
                None
            }
        })
    }

    /// Ends what stands above a delimiter and begins what stands below it.
    fn cross(&mut self, delimiter: &Delimiter) -> usize {
        self.close_above(delimiter.level + 1, delimiter.content_end);
        if let Some(leaf) = self.leaf.take() {
            self.end_body(leaf, delimiter.content_end);
        }
        if delimiter.close {
            if let Some(open) = self.open.pop() {
                self.end_body(open.part, delimiter.next);
                self.without_children(&open);
            }
            return delimiter.next;
        }
        let open = &mut self.open[delimiter.level];
        open.has_children = true;
        let parent = open.part;
        self.enter(delimiter.next, Some(parent))
    }

    /// Ends the open multiparts from `level` on, whose own end never came.
    fn close_above(&mut self, level: usize, end: usize) {
        while self.open.len() > level {
            if let Some(open) = self.open.pop() {
                self.defects.add("a multipart part is not closed");
                self.end_body(open.part, end);
                self.without_children(&open);
            }
        }
    }

    /// A multipart without a single part is shown as the text that it is.
    fn without_children(&mut self, open: &Open) {
        if !open.has_children {
            self.defects.add("a multipart part has no parts");
            let media: &mut Media = &mut self.parts[open.part].media;
            media.kind = Kind::Plain;
        }
    }

    fn end_body(&mut self, part: usize, end: usize) {
        let body = &mut self.parts[part].body;
        // An empty part: the delimiter's own line break is the end of the header section above it.
        body.end = end.max(body.start);
    }

    fn finish(mut self) -> Structure {
        self.close_above(0, self.raw.len());
        Structure { parts: self.parts, defects: self.defects }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each part as its type and its body, multiparts in brackets around theirs.
    fn check(raw: &str, expected: &[(&str, &str)]) {
        let raw = format!("Content-Type: multipart/mixed; boundary=a\r\n\r\n{raw}");
        let structure = Structure::read(raw.as_bytes());
        let leaves = structure
            .leaves()
            .map(|(_, part)| (part.media.content_type.clone(), raw[part.body.clone()].to_owned()));
        let leaves: Vec<_> = leaves.collect();
        let expected: Vec<_> = expected.iter().map(|(t, b)| ((*t).into(), (*b).into())).collect();
        assert_eq!(leaves, expected, "{raw:?}");
    }

    #[test]
    fn what_is_no_delimiter_is_text() {
        check("no part\r\n", &[("multipart/mixed", "no part\r\n")]);
        check("--ab\r\n", &[("multipart/mixed", "--ab\r\n")]);
        check(" --a\r\n", &[("multipart/mixed", " --a\r\n")]);
        check(
            "--a\r\n\r\nx--a\r\n--a--x\r\n -- a\r\n--a--",
            &[("text/plain", "x--a\r\n--a--x\r\n -- a")],
        );
        check("--A\r\n\r\nx", &[("multipart/mixed", "--A\r\n\r\nx")]);
    }

    #[test]
    fn the_line_break_above_a_delimiter_belongs_to_it() {
        check("--a\r\n\r\nx\r\n--a--\r\n", &[("text/plain", "x")]);
        check("--a\r\n\r\nx\r\n\r\n--a--\r\n", &[("text/plain", "x\r\n")]);
        check("--a\n\nx\n--a--\n", &[("text/plain", "x")]);
        check("--a\r\n\r\n\r\n--a--", &[("text/plain", "")]);
        check("--a\r\n\r\n--a--", &[("text/plain", "")]);
        check("--a\r\n--a--", &[("text/plain", "")]);
        check("--a\r\nContent-Type: text/html\r\n--a--", &[("text/html", "")]);
        check("--a \t\r\n\r\nx\r\n--a-- \r\nafter", &[("text/plain", "x")]);
        check("before\r\n--a\r\n\r\nx", &[("text/plain", "x")]);
    }

    #[test]
    fn an_outer_delimiter_ends_inner_parts() {
        let inner = "--a\r\nContent-Type: multipart/alternative; boundary=\"b c\"\r\n\r\n--b c\r\n\r\nx\r\n";
        let two = [("text/plain", "x"), ("text/plain", "y")];
        check(&format!("{inner}--b c--\r\n--a\r\n\r\ny\r\n--a--"), &two);
        check(&format!("{inner}--a\r\n\r\ny\r\n--a--"), &two);
        check(&format!("{inner}--b c\r\n\r\ny"), &two);
        check(&format!("{inner}--a--\r\n--b c\r\n\r\nz"), &[("text/plain", "x")]);
    }

    #[test]
    fn boundaries_may_look_like_each_other() {
        let raw = "--a\r\nContent-Type: multipart/mixed; boundary=a--\r\n\r\n--a--\r\n\r\nx\r\n--a----\r\n--a\r\n\r\ny\r\n--a--\r\n";
        check(raw, &[("text/plain", "x"), ("text/plain", "y")]);
        let raw = "--a\r\nContent-Type: multipart/mixed; boundary=a-b\r\n\r\n--a-b\r\n\r\nx\r\n--a-b--\r\n--a--";
        check(raw, &[("text/plain", "x")]);
    }

    #[test]
    fn attached_messages_are_not_opened() {
        let message =
            "From: x\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--";
        let raw = format!("--a\r\nContent-Type: message/rfc822\r\n\r\n{message}\r\n--a--");
        check(&raw, &[("message/rfc822", message)]);
        let raw = "--a\r\nContent-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nFrom: x\r\n\r\ny\r\n--d--\r\n--a--";
        check(raw, &[("message/rfc822", "From: x\r\n\r\ny")]);
    }
}
