//! Bodies decoded: transfer encodings (RFC 2045 §6), charsets, and which parts are the text that a
//! reader sees.
//!
//! Decoding never fails: what does not decode stays as it is, and the caller is told. mail-parser
//! does the decoding; since it gives up at the first wrong byte, a damaged body is decoded again
//! without its wrong bytes (base64) or line by line (quoted-printable), so that one bad line does not
//! hide the rest.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::parsers::MessageStream;

use super::part::{Encoding, Kind, Multipart, Part};
use super::structure::Structure;
use super::value;

/// Decoded text or HTML of one message; what is longer is cut.
pub(crate) const MAX_TEXT_BYTES: usize = 16 << 20;

/// A decoded body, and whether all of it made sense.
pub(crate) struct Decoded<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub intact: bool,
}

/// Undoes the transfer encoding of a part's body.
pub(crate) fn decode<'a>(body: &'a [u8], encoding: Encoding) -> Decoded<'a> {
    match encoding {
        Encoding::Identity => Decoded { bytes: Cow::Borrowed(body), intact: true },
        Encoding::Base64 => match base64_decode(body) {
            Some(bytes) => Decoded { bytes: Cow::Owned(bytes), intact: true },
            None => Decoded { bytes: Cow::Owned(base64_without_noise(body)), intact: false },
        },
        Encoding::QuotedPrintable => match quoted_printable(body) {
            Some(bytes) => Decoded { bytes: Cow::Owned(bytes), intact: true },
            None => Decoded { bytes: Cow::Owned(quoted_printable_by_line(body)), intact: false },
        },
    }
}

/// RFC 2045 §6.8: characters outside the alphabet are ignored.
fn base64_without_noise(body: &[u8]) -> Vec<u8> {
    let kept = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let clean: Vec<u8> = body.iter().copied().filter(kept).collect();
    base64_decode(&clean).unwrap_or_default()
}

fn quoted_printable(body: &[u8]) -> Option<Vec<u8>> {
    let (end, bytes) = MessageStream::new(body).decode_quoted_printable_mime(b"");
    (end != usize::MAX).then(|| bytes.into_owned())
}

fn quoted_printable_by_line(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|b| *b == b'\n') {
        match quoted_printable(line) {
            Some(decoded) => out.extend_from_slice(&decoded),
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// The text of a part, at most `max_bytes` of its encoded body looked at.
pub(crate) fn text_of<'a>(raw: &'a [u8], part: &Part, max_bytes: usize) -> Cow<'a, str> {
    let body = prefix(&raw[part.body.clone()], max_bytes);
    let charset = part.media.charset.as_deref();
    match decode(body, part.media.encoding).bytes {
        Cow::Borrowed(bytes) => value::charset(bytes, charset),
        Cow::Owned(bytes) => Cow::Owned(value::charset(&bytes, charset).into_owned()),
    }
}

/// The first `max_bytes` of a body, cut after a line where there is one, so that neither an encoded
/// byte nor a character of several bytes is cut in two.
pub(crate) fn prefix(body: &[u8], max_bytes: usize) -> &[u8] {
    if body.len() <= max_bytes {
        return body;
    }
    let window = &body[..max_bytes];
    memchr::memrchr(b'\n', window).map_or(window, |i| &window[..=i])
}

/// The parts that a reader shows as the message, in order: text and HTML that is not an attachment.
pub(crate) fn shown(structure: &Structure) -> Vec<usize> {
    let leaves = structure.leaves();
    leaves.filter(|(_, part)| !part.is_attachment()).map(|(index, _)| index).collect()
}

/// Of those, the ones that a reader of HTML shows: plain text is left out where the same
/// `multipart/alternative` offers HTML.
pub(crate) fn shown_as_html(structure: &Structure) -> Vec<usize> {
    let shown = shown(structure);
    let alternative = |index: usize| structure.within(index, Multipart::Alternative);
    let offers_html: Vec<usize> = shown
        .iter()
        .filter(|i| structure.parts[**i].media.kind == Kind::Html)
        .filter_map(|i| alternative(*i))
        .collect();
    let replaced = |index: usize| {
        structure.parts[index].media.kind == Kind::Plain
            && alternative(index).is_some_and(|a| offers_html.binary_search(&a).is_ok())
    };
    shown.into_iter().filter(|index| !replaced(*index)).collect()
}

/// The shown parts of one kind, decoded and joined; `None` when there is none.
pub(crate) fn joined(raw: &[u8], structure: &Structure, kind: Kind) -> Option<String> {
    let mut left = MAX_TEXT_BYTES;
    let mut whole: Option<String> = None;
    for index in shown(structure) {
        let part = &structure.parts[index];
        if part.media.kind != kind || left == 0 {
            continue;
        }
        let text = text_of(raw, part, left);
        left = left.saturating_sub(part.body.len());
        match &mut whole {
            Some(whole) => {
                whole.push('\n');
                whole.push_str(&text);
            }
            None => whole = Some(text.into_owned()),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bodies_keep_what_makes_sense() {
        let check = |body: &[u8], encoding, expected: &[u8], intact| {
            let decoded = decode(body, encoding);
            assert_eq!((&*decoded.bytes, decoded.intact), (expected, intact));
        };
        check(b"", Encoding::Base64, b"", true);
        check(b"aGVsbG8=\r\n", Encoding::Base64, b"hello", true);
        check(b"aGVs\r\n bG8", Encoding::Base64, b"hello", true);
        check(b"aGVs*!bG8=", Encoding::Base64, b"hello", false);
        check(b"aGVsbG8=aGVsbG8=", Encoding::Base64, b"hellohello", true);
        check(b"bl=C3=A5=\r\nb\xe6r", Encoding::QuotedPrintable, b"bl\xc3\xa5b\xe6r", true);
        check(b"a =\t\r\nb", Encoding::QuotedPrintable, b"a b", true);
        check(b"1 + 1 == 2\r\n=41", Encoding::QuotedPrintable, b"1 + 1 == 2\r\nA", false);
        check(b"a=3D1", Encoding::Identity, b"a=3D1", true);
    }
}
