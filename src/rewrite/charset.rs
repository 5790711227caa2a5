//! A text in any charset, as markup that can be read byte by byte.
//!
//! Takes decoded bytes of a part and the name of their charset; gives bytes in which every ASCII byte is the ASCII
//! character that a reader sees, for finding tags and links, and turns changes of those into changes of the text.
//! No character is ever decoded and encoded again: what is not changed keeps its bytes, even invalid ones.
//!
//! Most charsets keep ASCII as it is, at least the characters that markup is made of. ISO-2022-JP (RFC 1468) writes
//! kanji in ASCII bytes between escape sequences; those are masked. UTF-16 is read as UTF-8 and its places are counted.
//! A charset that is not known, that hides ASCII in another way, or that is not the text's own gives `None`: such a text
//! is left alone.

use std::borrow::Cow;
use std::ops::Range;

use encoding_rs::{Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::mime::Edit;

/// Stands for what is not ASCII; the bytes that follow are the same in windows-1252.
const MASK: u8 = 0xA4;

/// A text and its readable form.
pub(super) struct Markup<'a> {
    /// What to look through.
    pub bytes: Cow<'a, [u8]>,
    original: &'a [u8],
    form: Form,
}

enum Form {
    /// Positions are the same in both.
    Aligned(&'static Encoding),
    /// The readable form is UTF-8.
    Utf16 { little_endian: bool },
}

impl<'a> Markup<'a> {
    /// Reads a text in the charset that its part names.
    pub fn new(original: &'a [u8], label: Option<&str>) -> Option<Markup<'a>> {
        let label = label.map(|label| label.trim().to_ascii_lowercase()).unwrap_or_default();
        let encoding = match label.as_str() {
            // Both say nothing about bytes above 127.
            "" | "us-ascii" | "ascii" | "utf8" => UTF_8,
            label => Encoding::for_label(label.as_bytes())?,
        };
        if encoding == UTF_16BE || encoding == UTF_16LE {
            return utf16(original, &label, encoding);
        }
        // A NUL in mail is a sign of UTF-16 under another name.
        if encoding == REPLACEMENT || memchr::memchr(0, original).is_some() {
            return None;
        }
        let bytes = match encoding == ISO_2022_JP {
            true => Cow::Owned(masked(original)?),
            // ISO-2022 under another name, where kanji are written in the bytes of tags.
            false if memchr::memmem::find(original, b"\x1b$").is_some() => return None,
            false if encoding.is_ascii_compatible() => Cow::Borrowed(original),
            false => return None,
        };
        Some(Markup { bytes, original, form: Form::Aligned(encoding) })
    }

    /// What a reader sees of some places.
    pub fn text(&self, places: &[Range<usize>]) -> String {
        let mut joined = Vec::new();
        let source = match self.form {
            Form::Aligned(_) => self.original,
            Form::Utf16 { .. } => &self.bytes,
        };
        places.iter().for_each(|place| joined.extend_from_slice(&source[place.clone()]));
        match self.form {
            Form::Utf16 { .. } => String::from_utf8_lossy(&joined).into_owned(),
            Form::Aligned(encoding) if encoding == UTF_8 => match String::from_utf8(joined) {
                Ok(text) => text,
                Err(bytes) => WINDOWS_1252.decode(bytes.as_bytes()).0.into_owned(),
            },
            Form::Aligned(encoding) => encoding.decode_without_bom_handling(&joined).0.into_owned(),
        }
    }

    /// What a reader sees of all of it.
    pub fn whole(&self) -> String {
        let all = 0..self.bytes.len();
        self.text(std::slice::from_ref(&all))
    }

    /// Whether what is beyond ASCII in a URL means the same everywhere: a browser writes a URL of a text in another
    /// charset differently before and after its `?`.
    pub fn keeps_unicode(&self) -> bool {
        match self.form {
            Form::Utf16 { .. } => true,
            Form::Aligned(encoding) => {
                encoding == UTF_8 && std::str::from_utf8(self.original).is_ok()
            }
        }
    }

    /// Changes of the readable form, ascending, as changes of the text; they bring only ASCII.
    pub fn edits(&self, edits: Vec<Edit>) -> Vec<Edit> {
        let Form::Utf16 { little_endian } = self.form else { return edits };
        let mut counted = Counted { bytes: &self.bytes, at: 0, place: 0 };
        let edit = |edit: Edit| {
            let start = counted.place(edit.span.start);
            let span = start..counted.place(edit.span.end);
            let unit = |byte: &u8| match little_endian {
                true => [*byte, 0],
                false => [0, *byte],
            };
            Edit { span, with: edit.with.iter().flat_map(unit).collect(), folded: None }
        };
        edits.into_iter().map(edit).collect()
    }
}

/// Counts along UTF-8 how many bytes the same text takes in UTF-16.
struct Counted<'a> {
    bytes: &'a [u8],
    at: usize,
    place: usize,
}

impl Counted<'_> {
    fn place(&mut self, at: usize) -> usize {
        let passed = &self.bytes[self.at..at];
        // A character has one first byte, and two units where that is 0xF0 or above.
        let units = |byte: &u8| match byte {
            0x80..=0xBF => 0,
            0xF0.. => 2,
            _ => 1,
        };
        self.place += 2 * passed.iter().map(units).sum::<usize>();
        self.at = at;
        self.place
    }
}

fn utf16<'a>(original: &'a [u8], label: &str, encoding: &Encoding) -> Option<Markup<'a>> {
    let little_endian = match original.get(..2)? {
        [0xFF, 0xFE] => true,
        [0xFE, 0xFF] => false,
        // RFC 2781 §4.3 and browsers differ on what it is then.
        _ if !label.ends_with("le") && !label.ends_with("be") => return None,
        _ => encoding == UTF_16LE,
    };
    let units = original.chunks_exact(2);
    if !units.remainder().is_empty() {
        return None;
    }
    let unit = |pair: &[u8]| match little_endian {
        true => u16::from_le_bytes([pair[0], pair[1]]),
        false => u16::from_be_bytes([pair[0], pair[1]]),
    };
    let text: Result<String, _> = char::decode_utf16(units.map(unit)).collect();
    let bytes = Cow::Owned(text.ok()?.into_bytes());
    Some(Markup { bytes, original, form: Form::Utf16 { little_endian } })
}

/// ISO-2022-JP with everything but its ASCII masked. A text that does not end in ASCII, or breaks a line outside of it
/// (RFC 1468), is left alone: what is put in there would be read as something else.
fn masked(original: &[u8]) -> Option<Vec<u8>> {
    const ESCAPE: u8 = 0x1B;
    let mut bytes = original.to_vec();
    let (mut at, mut is_ascii) = (0, true);
    while at < bytes.len() {
        if bytes[at] == ESCAPE {
            let (sequence, ascii) = match original.get(at + 1..)? {
                [b'(', b'B', ..] => (3, true),
                [b'(', b'J' | b'I', ..] => (3, false),
                [b'$', b'@' | b'B', ..] => (3, false),
                [b'$', b'(', b'D', ..] => (4, false),
                _ => return None,
            };
            bytes[at..at + sequence].fill(MASK);
            (at, is_ascii) = (at + sequence, ascii);
            continue;
        }
        if !is_ascii {
            if matches!(bytes[at], b'\r' | b'\n') {
                return None;
            }
            bytes[at] = MASK;
        }
        at += 1;
    }
    is_ascii.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_read_byte_by_byte_is_left_alone() {
        for (bytes, label) in [
            (&b"a"[..], "klingon"),
            (b"a", "utf-7"),
            (b"a", "iso-2022-kr"),
            (b"a\0", "utf-8"),
            (b"a\0", "utf-16"),
            (b"a\0b", "utf-16le"),
            (b"\x00\xd8", "utf-16le"),
            (b"\x1b$B<a", "iso-2022-jp"),
            (b"\x1b$B<\n\x1b(B", "iso-2022-jp"),
            (b"\x1b$Z", "iso-2022-jp"),
            (b"\x1b$B<a>\x1b(B", ""),
            (b"\x1b$B<a>\x1b(B", "utf-8"),
        ] {
            assert!(Markup::new(bytes, Some(label)).is_none(), "{bytes:?} {label}");
        }
    }

    #[test]
    fn markup_is_found_where_it_is() {
        let check = |bytes: &[u8], label: Option<&str>, text: &str| {
            let markup = Markup::new(bytes, label).unwrap();
            let start = memchr::memmem::find(&markup.bytes, b"<a>").unwrap();
            let whole = 0..markup.bytes.len();
            assert_eq!(markup.text(std::slice::from_ref(&whole)), text);
            let edit = Edit { span: start + 1..start + 2, with: b"b".to_vec(), folded: None };
            crate::mime::apply(bytes, &markup.edits(vec![edit]))
        };
        let both = |bytes: &[u8], label, text| {
            let changed = check(bytes, label, text);
            let markup = Markup::new(&changed, label).unwrap();
            let whole = 0..markup.bytes.len();
            assert_eq!(markup.text(std::slice::from_ref(&whole)), text.replace("<a>", "<b>"));
        };
        both("\u{e5}<a>".as_bytes(), None, "\u{e5}<a>");
        both(b"\xe5<a>", None, "\u{e5}<a>");
        both(b"\xe5<a>", Some("ISO-8859-1"), "\u{e5}<a>");
        both(b"\x80<a>", Some("windows-1252"), "\u{20ac}<a>");
        both(b"\x83\x5c<a>", Some("Shift_JIS"), "\u{30bd}<a>");
        both(
            b"\x1b$B<a>\x3c\x1b(B<a>\x1b$B$\"\x1b(B",
            Some("iso-2022-jp"),
            "\u{91c8}\u{662d}<a>\u{3042}",
        );
        let utf16: Vec<u8> =
            "\u{feff}\u{1f600}\u{e5}<a>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        both(&utf16, Some("utf-16"), "\u{feff}\u{1f600}\u{e5}<a>");
    }
}
