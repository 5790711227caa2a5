//! Changing places of an encoded body (RFC 2045 §6) and leaving every other byte of it.
//!
//! Takes a body in its transfer encoding; gives its decoded bytes, and turns changes of those into changes of the
//! message. An identity body (7bit, 8bit, binary) is spliced as it stands, quoted-printable between two soft line
//! breaks, so that no other line changes; base64 has no such places and is encoded again as a whole.
//!
//! Invariants: decoding what comes out gives exactly the changed bytes. No line becomes longer than 998 bytes
//! (RFC 5322 §2.1.1) that was not: a change that would make one takes its other form, or is left out.
//! A body whose encoding makes no sense somewhere is not read at all: two readers might differ on it.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::body;
use super::part::Encoding;

/// Longest line without its line break (RFC 5322 §2.1.1).
const MAX_LINE_BYTES: usize = 998;
/// Longest line of an encoded body (RFC 2045 §6.7, §6.8).
const MAX_ENCODED_COLUMNS: usize = 76;
/// Larger bodies are not changed.
const MAX_BODY_BYTES: usize = 8 << 20;

/// One change of decoded bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub span: Range<usize>,
    pub with: Vec<u8>,
    /// The same change in lines that are shorter, for a body in which lines are what they are.
    pub folded: Option<(Range<usize>, Vec<u8>)>,
}

/// What became of the changes of one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spliced {
    /// Positions in the message and what stands there instead; ascending and disjoint.
    pub changes: Vec<(Range<usize>, Vec<u8>)>,
    /// Which edits were left out, because a line would have become too long.
    pub left_out: Vec<usize>,
}

/// A decoded body that knows where it stands.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    pub bytes: Cow<'a, [u8]>,
    body: &'a [u8],
    base: usize,
    places: Places,
}

#[derive(Clone, Debug)]
enum Places {
    /// The body is its content.
    Same,
    /// Where each decoded byte begins in the body.
    Each(Vec<u32>),
    /// Only the whole can change.
    Whole,
}

impl<'a> Content<'a> {
    pub(super) fn read(raw: &'a [u8], span: Range<usize>, encoding: Encoding) -> Option<Self> {
        let (base, body) = (span.start, &raw[span]);
        if body.len() > MAX_BODY_BYTES {
            return None;
        }
        let (bytes, places) = match encoding {
            Encoding::Identity => (Cow::Borrowed(body), Places::Same),
            Encoding::QuotedPrintable => {
                let (bytes, starts) = quoted_printable(body)?;
                (Cow::Owned(bytes), Places::Each(starts))
            }
            Encoding::Base64 => {
                let decoded = body::decode(body, encoding);
                if !decoded.intact {
                    return None;
                }
                (decoded.bytes, Places::Whole)
            }
        };
        Some(Content { bytes, body, base, places })
    }

    /// The line break of the body.
    pub fn line_break(&self) -> &'static [u8] {
        match memchr::memchr(b'\n', self.body) {
            Some(at) if at == 0 || self.body[at - 1] != b'\r' => b"\n",
            Some(_) | None => b"\r\n",
        }
    }

    /// What the message must change for these edits, which are ascending and disjoint; none begins within a CRLF.
    pub fn splice(&self, edits: &[Edit]) -> Spliced {
        match &self.places {
            Places::Same => self.splice_lines(edits),
            Places::Each(starts) => self.splice_quoted(starts, edits),
            Places::Whole => self.encode_again(edits),
        }
    }

    /// From right to left, so that each edit knows what follows it in its line; what was left out once is then left out
    /// again.
    fn splice_lines(&self, edits: &[Edit]) -> Spliced {
        let mut spliced = Spliced::default();
        let mut lines =
            Lines { body: self.body, line: None, right: self.body.len(), right_columns: 0 };
        for (index, edit) in edits.iter().enumerate().rev() {
            let folded = edit.folded.as_ref().map(|(span, with)| (span, with));
            let forms = [Some((&edit.span, &edit.with)), folded];
            match forms.into_iter().flatten().find(|(span, with)| lines.fits(span, with)) {
                Some((span, with)) => {
                    lines.take(span, with);
                    let span = self.base + span.start..self.base + span.end;
                    spliced.changes.push((span, with.clone()));
                }
                None => spliced.left_out.push(index),
            }
        }
        spliced.changes.reverse();
        spliced
    }

    /// What the changed message holds, read again as its receiver does.
    pub fn after(&self, spliced: &Spliced) -> Option<Vec<u8>> {
        let edit = |(span, with): &(Range<usize>, Vec<u8>)| Edit {
            span: span.start - self.base..span.end - self.base,
            with: with.clone(),
            folded: None,
        };
        let body = apply(self.body, &spliced.changes.iter().map(edit).collect::<Vec<_>>());
        let encoding = match self.places {
            Places::Same => Encoding::Identity,
            Places::Each(_) => Encoding::QuotedPrintable,
            Places::Whole => Encoding::Base64,
        };
        Content::read(&body, 0..body.len(), encoding).map(|content| content.bytes.into_owned())
    }

    fn splice_quoted(&self, starts: &[u32], edits: &[Edit]) -> Spliced {
        let line_break = self.line_break();
        let after = |index: usize| {
            let start = starts[index] as usize;
            start + if self.body[start] == b'=' { 3 } else { 1 }
        };
        let place = |edit: &Edit| {
            let Range { start, end } = edit.span;
            // Right behind the byte before: white space that was added on the way stays at the end of its line.
            let from = start.checked_sub(1).map_or(0, after);
            let to = if end > start { after(end - 1) } else { from };
            from..to
        };
        let change = |edit: &Edit| {
            let span = place(edit);
            let with = quoted(&edit.with, line_break, span.start > 0);
            (self.base + span.start..self.base + span.end, with)
        };
        Spliced { changes: edits.iter().map(change).collect(), left_out: Vec::new() }
    }

    fn encode_again(&self, edits: &[Edit]) -> Spliced {
        if edits.is_empty() {
            return Spliced::default();
        }
        let changed = apply(&self.bytes, edits);
        let kept = self.body.trim_ascii_end().len();
        let encoded = STANDARD.encode(changed);
        let mut with = Vec::with_capacity(encoded.len() + encoded.len() / 32);
        for (number, line) in encoded.as_bytes().chunks(MAX_ENCODED_COLUMNS).enumerate() {
            if number > 0 {
                with.extend_from_slice(self.line_break());
            }
            with.extend_from_slice(line);
        }
        Spliced { changes: vec![(self.base..self.base + kept, with)], left_out: Vec::new() }
    }
}

/// The bytes with all edits made.
pub fn apply(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let grown: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut out = Vec::with_capacity(bytes.len() + grown);
    let mut at = 0;
    for edit in edits {
        out.extend_from_slice(&bytes[at..edit.span.start]);
        out.extend_from_slice(&edit.with);
        at = edit.span.end;
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

/// How long the lines become while edits are made from right to left.
struct Lines<'a> {
    body: &'a [u8],
    /// The line of the body in which the last edit stood.
    line: Option<Range<usize>>,
    /// Where the last edit begins, and how much of its line follows from there.
    right: usize,
    right_columns: usize,
}

impl Lines<'_> {
    /// The line that holds a place; each line of the body is looked at once.
    fn line(&mut self, at: usize) -> Range<usize> {
        if let Some(line) = self.line.clone().filter(|line| line.start <= at && at <= line.end) {
            return line;
        }
        let start = memchr::memrchr(b'\n', &self.body[..at]).map_or(0, |found| found + 1);
        let rest = &self.body[at..];
        let end = at + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.line = Some(start..end);
        start..end
    }

    /// What follows `at` until the line ends.
    fn rest(&mut self, at: usize) -> usize {
        let line = self.line(at);
        if self.right < line.end { self.right - at + self.right_columns } else { line.end - at }
    }

    fn fits(&mut self, span: &Range<usize>, with: &[u8]) -> bool {
        if span.end > self.right {
            return false;
        }
        // An edit may begin in one line and end in another.
        let rest = self.rest(span.end);
        let line = self.line(span.start);
        let limit = MAX_LINE_BYTES.max(line.len());
        let before = span.start - line.start;
        let mut segments = with.split(|b| *b == b'\n');
        let first = segments.next().map_or(0, <[u8]>::len);
        match segments.next_back() {
            None => before + first + rest <= limit,
            Some(last) => {
                before + first <= limit
                    && last.len() + rest <= limit
                    && segments.all(|segment| segment.len() <= MAX_LINE_BYTES)
            }
        }
    }

    fn take(&mut self, span: &Range<usize>, with: &[u8]) {
        let rest = self.rest(span.end);
        self.right_columns = match memchr::memchr(b'\n', with) {
            Some(found) => found,
            None => with.len() + rest,
        };
        self.right = span.start;
    }
}

/// Bytes as quoted-printable between two soft line breaks, so that the lines around them keep their length.
fn quoted(bytes: &[u8], line_break: &[u8], break_before: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16 + 8);
    let mut column = 0;
    let soft = |out: &mut Vec<u8>| {
        out.push(b'=');
        out.extend_from_slice(line_break);
    };
    if break_before {
        soft(&mut out);
    }
    for byte in bytes {
        let is_plain = matches!(byte, b' '..=b'~') && *byte != b'=';
        let width = if is_plain { 1 } else { 3 };
        if column + width >= MAX_ENCODED_COLUMNS {
            soft(&mut out);
            column = 0;
        }
        column += width;
        if is_plain {
            out.push(*byte);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'=', DIGITS[high], DIGITS[low]]);
        }
    }
    soft(&mut out);
    out
}

/// Decodes and tells where each byte began; `None` for anything that RFC 2045 §6.7 does not allow.
fn quoted_printable(body: &[u8]) -> Option<(Vec<u8>, Vec<u32>)> {
    let mut bytes = Vec::with_capacity(body.len());
    let mut starts = Vec::with_capacity(body.len());
    let mut line_start = 0;
    while line_start < body.len() {
        let rest = &body[line_start..];
        let line_end = line_start + memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
        let line = &body[line_start..line_end];
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // White space at the end of a line was added on the way (rule 3).
        let shown = text.trim_ascii_end();
        let (shown, soft) = match shown.strip_suffix(b"=") {
            Some(shown) => (shown, true),
            None => (shown, false),
        };
        let mut at = 0;
        while at < shown.len() {
            let (value, width) = match shown[at] {
                b'=' => (hex_byte(shown.get(at + 1..at + 3)?)?, 3),
                byte => (byte, 1),
            };
            bytes.push(value);
            starts.push(u32::try_from(line_start + at).ok()?);
            at += width;
        }
        if !soft {
            let line_break = line_start + text.len()..line_end;
            bytes.extend_from_slice(&body[line_break.clone()]);
            for at in line_break {
                starts.push(u32::try_from(at).ok()?);
            }
        }
        line_start = line_end;
    }
    Some((bytes, starts))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| (digit as char).to_digit(16);
    let (high, low) = (value(*digits.first()?)?, value(*digits.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn splice(body: &[u8], encoding: Encoding, edits: &[Edit]) -> Option<(Vec<u8>, Spliced)> {
        let content = Content::read(body, 0..body.len(), encoding)?;
        let spliced = content.splice(edits);
        let (mut out, mut at) = (Vec::new(), 0);
        for (span, with) in &spliced.changes {
            out.extend_from_slice(&body[at..span.start]);
            out.extend_from_slice(with);
            at = span.end;
        }
        out.extend_from_slice(&body[at..]);
        Some((out, spliced))
    }

    fn edit(span: Range<usize>, with: &str) -> Edit {
        Edit { span, with: with.into(), folded: None }
    }

    #[test]
    fn what_makes_no_sense_is_not_read() {
        for body in ["a=b", "a=4", "a=4G", "==", "=\u{e9}"] {
            assert!(
                Content::read(body.as_bytes(), 0..body.len(), Encoding::QuotedPrintable).is_none()
            );
        }
        for body in ["a*b=", "\u{e9}"] {
            assert!(Content::read(body.as_bytes(), 0..body.len(), Encoding::Base64).is_none());
        }
    }

    #[test]
    fn quoted_printable_changes_between_two_soft_breaks() {
        let check = |body: &str, span: Range<usize>, with: &str, expected: &str| {
            let (out, _) =
                splice(body.as_bytes(), Encoding::QuotedPrintable, &[edit(span, with)]).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check("", 0..0, "x", "x=\r\n");
        check("ab=3Dc\r\n", 2..3, "x=y", "ab=\r\nx=3Dy=\r\nc\r\n");
        check("ab=\r\ncd\r\nef  \r\n", 1..3, "x", "a=\r\nx=\r\nd\r\nef  \r\n");
        check("a\nb\n", 4..4, "x", "a\nb\n=\nx=\n");
        check("a b", 3..3, "x", "a b=\r\nx=\r\n");
    }

    #[test]
    fn no_line_becomes_too_long() {
        let body = format!("short\r\n{} here {}\r\n", "x".repeat(480), "y".repeat(480));
        let at = 7 + 480 + 1;
        let long = "z".repeat(40);
        let (out, spliced) =
            splice(body.as_bytes(), Encoding::Identity, &[edit(at..at + 4, &long)]).unwrap();
        assert_eq!((out, spliced.left_out), (body.clone().into_bytes(), vec![0]));
        let folded = Some((at - 1..at + 4, format!("\r\n{long}").into_bytes()));
        let edits = [Edit { folded, ..edit(at..at + 4, &long) }, edit(at + 10..at + 11, "w")];
        let (out, spliced) = splice(body.as_bytes(), Encoding::Identity, &edits).unwrap();
        assert!(spliced.left_out.is_empty());
        assert!(out.split(|b| *b == b'\n').all(|line| line.len() <= 999));
    }

    fn edits(bytes: Vec<u8>, cuts: Vec<(prop::sample::Index, u8, String)>) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        let mut places: Vec<_> =
            cuts.into_iter().map(|(i, n, with)| (i.index(bytes.len() + 1), n, with)).collect();
        places.sort();
        for (start, len, with) in places {
            let end = (start + usize::from(len)).min(bytes.len());
            if bytes[..start].ends_with(b"\r") && bytes[start..].starts_with(b"\n") {
                continue;
            }
            if edits.last().is_none_or(|last| last.span.end < start) {
                edits.push(edit(start..end, &with));
            }
        }
        edits
    }

    proptest! {
        #[test]
        fn decoding_gives_exactly_the_changed_bytes(
            body in "([ a-z=\r\n\t]|=3D|=0A|=\r\n|\r\n){0,80}",
            encoding in prop::sample::select(vec![Encoding::Identity, Encoding::QuotedPrintable, Encoding::Base64]),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..5, "[ -~é=]{0,90}"), 0..6),
        ) {
            let body = match encoding {
                Encoding::Base64 => STANDARD.encode(&body),
                Encoding::Identity | Encoding::QuotedPrintable => body,
            };
            let Some(content) = Content::read(body.as_bytes(), 0..body.len(), encoding) else {
                return Ok(());
            };
            let edits = edits(content.bytes.to_vec(), cuts);
            let (out, spliced) = splice(body.as_bytes(), encoding, &edits).unwrap();
            prop_assert!(spliced.left_out.is_empty());
            let again = Content::read(&out, 0..out.len(), encoding).unwrap();
            prop_assert_eq!(&*again.bytes, apply(&content.bytes, &edits));
        }
    }
}
