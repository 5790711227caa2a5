//! Header fields as byte spans (RFC 5322 §2.2), found by one linear scan.
//!
//! Takes the raw message, gives each field of its top-level header section with the span of all its
//! lines, line breaks included. Tolerates what real senders write: lines that end in LF alone, a
//! first line `From …` of an mbox file, lines that are no field, a header section without an empty
//! line after it. Only an empty line ends the section: a message whose `Bcc` stands below a junk line
//! must not give away its blind recipients because the scan stopped too early.
//!
//! The scan is ours, not mail-parser's, because cutting a field out needs its exact span, and because
//! mail-parser has no limit on the number or the size of fields.
//! Decoding of what stands in a field is in `value`.

use std::borrow::Cow;
use std::ops::Range;

use super::value;

/// Beyond this many bytes of header section nothing more is read (Postfix reads 100 KiB).
pub const MAX_HEADER_BYTES: usize = 256 * 1024;
/// Beyond this many fields nothing more is read.
pub const MAX_FIELDS: usize = 2000;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What stands before the colon, without white space around it.
    pub name: &'a [u8],
    /// What stands after the colon, still folded, without the last line break.
    pub folded: &'a [u8],
    /// The whole field with its last line break, as positions in the message.
    pub span: Range<usize>,
}

impl<'a> Field<'a> {
    /// Whether this is its name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The body with its line breaks taken out (RFC 5322 §2.2.3), trimmed.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        let body = self.folded.trim_ascii();
        if memchr::memchr2(b'\r', b'\n', body).is_none() {
            return Cow::Borrowed(body);
        }
        Cow::Owned(body.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect())
    }

    /// The body as text for people: unfolded, encoded-words decoded (RFC 2047), no control
    /// characters.
    pub fn text(&self) -> String {
        value::unstructured(self.folded)
    }
}

/// The fields of a header section, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    raw: &'a [u8],
    /// Start of the next line, relative to `raw`.
    at: usize,
    /// Position of `raw` in the message.
    base: usize,
    max_bytes: usize,
    fields_left: usize,
    junk_lines: usize,
    overflow: bool,
    done: bool,
}

/// The top-level fields of a message, within the limits on header bytes and fields.
pub fn fields(raw: &[u8]) -> Fields<'_> {
    Fields::new(raw, 0, MAX_HEADER_BYTES, MAX_FIELDS)
}

/// The top-level fields of a message without a limit; for cutting fields out, where a field that is
/// overlooked would be sent. Linear in the length of the message.
pub fn all_fields(raw: &[u8]) -> Fields<'_> {
    Fields::new(raw, 0, usize::MAX, usize::MAX)
}

impl<'a> Fields<'a> {
    fn new(raw: &'a [u8], base: usize, max_bytes: usize, max_fields: usize) -> Fields<'a> {
        let fields_left = max_fields;
        Fields {
            raw,
            at: 0,
            base,
            max_bytes,
            fields_left,
            junk_lines: 0,
            overflow: false,
            done: false,
        }
    }

    /// The fields of a body part whose header section is `span` of the message.
    pub(crate) fn of_part(message: &'a [u8], span: Range<usize>) -> Fields<'a> {
        let base = span.start;
        Fields::new(&message[span], base, MAX_HEADER_BYTES, MAX_FIELDS)
    }

    /// How many lines so far were neither a field nor part of one.
    pub fn junk_lines(&self) -> usize {
        self.junk_lines
    }

    /// Whether the scan stopped at a limit.
    pub fn overflow(&self) -> bool {
        self.overflow
    }

    /// Where the scan stands in the message: after the last field, and after the empty line once the
    /// iterator has ended.
    pub fn position(&self) -> usize {
        self.base + self.at
    }

    /// The end of the line that starts at `at`, with its line break.
    fn line_end(&self, at: usize) -> usize {
        memchr::memchr(b'\n', &self.raw[at..]).map_or(self.raw.len(), |i| at + i + 1)
    }

    /// The end of the folded line that starts at `at`: the start of the next line that does not
    /// begin with white space (RFC 5322 §2.2.3).
    fn field_end(&self, at: usize) -> usize {
        let mut end = self.line_end(at);
        while end < self.raw.len() && matches!(self.raw[end], b' ' | b'\t') {
            end = self.line_end(end);
        }
        end
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while !self.done && self.at < self.raw.len() {
            let start = self.at;
            let first_line = &self.raw[start..self.line_end(start)];
            if is_blank(first_line) {
                self.at = start + first_line.len();
                self.done = true;
                break;
            }
            let end = self.field_end(start);
            if end > self.max_bytes || self.fields_left == 0 {
                self.overflow = true;
                self.done = true;
                break;
            }
            self.at = end;
            match split_name(first_line) {
                Some((name, colon)) => {
                    self.fields_left -= 1;
                    let folded = without_line_break(&self.raw[start + colon + 1..end]);
                    return Some(Field { name, folded, span: self.base + start..self.base + end });
                }
                None => self.junk_lines += 1,
            }
        }
        None
    }
}

/// A line without anything before its line break. A line of spaces is not blank: it continues the
/// field above it (RFC 5322 §4.2).
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.ends_with(b"\n") && line[..line.len() - 1].iter().all(|b| *b == b'\r')
}

/// The field name and the position of its colon: printable ASCII without a colon, then white space
/// that RFC 5322 §4.5 still allows.
fn split_name(line: &[u8]) -> Option<(&[u8], usize)> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let ok = !name.is_empty() && name.iter().all(|b| (33..=126).contains(b));
    ok.then_some((name, colon))
}

fn without_line_break(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: &[(&str, &str)], junk_lines: usize, end: usize) {
        let mut scan = fields(raw.as_bytes());
        let found: Vec<(String, String)> = scan
            .by_ref()
            .map(|f| {
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                (text(f.name), text(&f.unfolded()))
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(n, b)| ((*n).into(), (*b).into())).collect();
        assert_eq!(found, expected, "{raw:?}");
        assert_eq!((scan.junk_lines(), scan.position()), (junk_lines, end), "{raw:?}");
    }

    #[test]
    fn what_is_no_field_is_counted_and_passed_over() {
        check("", &[], 0, 0);
        check("\r\n", &[], 0, 2);
        check("\r\nA: b\r\n", &[], 0, 2);
        check("no colon\r\nA: b\r\n\r\n", &[("A", "b")], 1, 18);
        check(" folded: nothing\r\nA: b\r\n\r\n", &[("A", "b")], 1, 26);
        check("From a@b Mon Jan 1 00:00:00 2026\nA: b\n\n", &[("A", "b")], 1, 39);
        check(">From x\nA: b\n\n", &[("A", "b")], 1, 14);
        check("two words: x\nA: b\n\n", &[("A", "b")], 1, 19);
        check("Ünicode: x\n: y\n\n", &[], 2, 17);
    }

    #[test]
    fn fields_keep_their_folds_and_their_spans() {
        check("A: b\r\n\r\nC: d", &[("A", "b")], 0, 8);
        check("A:b\n c\n\td\nB : e\n\n", &[("A", "b c\td"), ("B", "e")], 0, 17);
        check("A: b\r\n \r\n c\r\n\r\n", &[("A", "b  c")], 0, 15);
        check("A: b\r\nC: d", &[("A", "b"), ("C", "d")], 0, 10);
        check("A:\r\n\r\n", &[("A", "")], 0, 6);
        check("A: b\r\r\nC: d\r\n\r\r\nx", &[("A", "b"), ("C", "d")], 0, 16);
        let raw = b"A: b\r\n c\r\nD: e\r\n\r\n";
        let spans: Vec<_> = fields(raw).map(|f| f.span).collect();
        assert_eq!(spans, [0..10, 10..16]);
    }

    #[test]
    fn the_limits_hold_and_are_told() {
        let many = "A: b\r\n".repeat(MAX_FIELDS + 1);
        let mut scan = fields(many.as_bytes());
        assert_eq!(scan.by_ref().count(), MAX_FIELDS);
        assert!(scan.overflow());
        assert_eq!(all_fields(many.as_bytes()).count(), MAX_FIELDS + 1);

        let long = format!("A: b\r\nB: {}\r\n\r\n", "x".repeat(MAX_HEADER_BYTES));
        let mut scan = fields(long.as_bytes());
        assert_eq!(scan.by_ref().count(), 1);
        assert!(scan.overflow());
        assert_eq!(all_fields(long.as_bytes()).count(), 2);
    }
}
