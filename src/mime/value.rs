//! What stands in a header field: text, addresses, message ids, media types.
//!
//! mail-parser reads the values (RFC 5322 §3, RFC 2045 §5, RFC 2047, RFC 2231) and knows the
//! charsets. Around it stand the limits that it lacks: an encoded-word that never ends makes it read
//! the rest of the field for each `=?`, and parameters in many pieces are joined quadratically, so
//! the bytes given to it are bounded by the kind of field. Everything that comes back is text for
//! people: control characters have become spaces and lengths are limited.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, Address, ContentType, HeaderValue};

use crate::model::Named;

/// Bytes of a text field that are read (a subject is 998 at most, RFC 5322 §2.1.1).
const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Bytes of one address field that are read: 1000 recipients with names.
pub(crate) const MAX_ADDRESS_BYTES: usize = 128 * 1024;
/// Bytes of a media type or disposition that are read.
const MAX_MEDIA_BYTES: usize = 16 * 1024;
/// Unfinished encoded-words in a field above which none is decoded.
const MAX_UNFINISHED_WORDS: usize = 8;
/// How far the end of an encoded-word is looked for (RFC 2047 §2 allows 75).
const MAX_WORD_BYTES: usize = 2048;
/// Longest text that is kept, in characters.
pub(crate) const MAX_TEXT_CHARS: usize = 1000;
/// Longest address that is kept, in characters.
const MAX_ADDRESS_CHARS: usize = 320;

/// Unstructured text with encoded-words, from the first 8 KiB of the field.
pub(crate) fn unstructured(folded: &[u8]) -> String {
    let input = prepared(folded, MAX_TEXT_BYTES);
    match MessageStream::new(&input).parse_unstructured() {
        HeaderValue::Text(text) => printable(&text, MAX_TEXT_BYTES),
        _ => String::new(),
    }
}

/// The addresses of a field, groups opened; members without an address are left out.
pub(crate) fn addresses(folded: &[u8]) -> Vec<Named> {
    let input = prepared(folded, MAX_ADDRESS_BYTES);
    let members = match MessageStream::new(&input).parse_address() {
        HeaderValue::Address(Address::List(list)) => list,
        HeaderValue::Address(Address::Group(groups)) => {
            groups.into_iter().flat_map(|group| group.addresses).collect()
        }
        _ => Vec::new(),
    };
    members.iter().filter_map(named).collect()
}

fn named(member: &Addr<'_>) -> Option<Named> {
    let address = printable(member.address.as_deref()?, MAX_ADDRESS_CHARS);
    let name = member.name.as_deref().map(|n| printable(n, MAX_TEXT_CHARS));
    (!address.is_empty()).then(|| Named { name: name.filter(|n| !n.is_empty()), address })
}

/// The first message id, without angle brackets.
pub(crate) fn message_id(folded: &[u8]) -> Option<String> {
    let input = prepared(folded, MAX_TEXT_BYTES);
    let id = match MessageStream::new(&input).parse_id() {
        HeaderValue::Text(id) => id,
        HeaderValue::TextList(ids) => ids.into_iter().next()?,
        _ => return None,
    };
    Some(printable(&id, MAX_TEXT_CHARS)).filter(|id| !id.is_empty())
}

/// A media type or disposition with its parameters (RFC 2045 §5.1, RFC 2183, RFC 2231).
pub(crate) fn media(folded: &[u8]) -> Option<ContentType<'static>> {
    let input = prepared(folded, MAX_MEDIA_BYTES);
    match MessageStream::new(&input).parse_content_type().into_owned() {
        HeaderValue::ContentType(media) => Some(media),
        _ => None,
    }
}

/// Bytes in a charset as text. A label that is missing, unknown or plain ASCII says nothing about
/// bytes above 127: UTF-8 when it is valid, else windows-1252, which old applications write.
pub(crate) fn charset<'a>(bytes: &'a [u8], label: Option<&str>) -> Cow<'a, str> {
    let label = label.map(|l| l.trim().to_ascii_lowercase()).unwrap_or_default();
    let is_utf8 = matches!(label.as_str(), "utf-8" | "utf8");
    let says_nothing = matches!(label.as_str(), "" | "us-ascii" | "ascii");
    let decoder = charset_decoder(label.as_bytes());
    match decoder {
        Some(decode) if !is_utf8 && !says_nothing => return Cow::Owned(decode(bytes)),
        Some(_) | None => {}
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // A character that is cut off at the end of a window is no reason to doubt the rest.
        Err(error) if is_utf8 || (error.error_len().is_none() && error.valid_up_to() > 0) => {
            String::from_utf8_lossy(bytes)
        }
        Err(_) => Cow::Owned(windows_1252(bytes)),
    }
}

/// Whether a label names a charset that can be decoded.
pub(crate) fn knows_charset(label: &str) -> bool {
    let label = label.trim().to_ascii_lowercase();
    matches!(label.as_str(), "utf-8" | "utf8") || charset_decoder(label.as_bytes()).is_some()
}

/// Text for people: white space folded to single spaces, no control or direction characters, at
/// most `max_chars` long.
pub(crate) fn printable(text: &str, max_chars: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max_chars));
    let (mut chars, mut gap) = (0, false);
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            gap = true;
            continue;
        }
        if is_direction(c) {
            continue;
        }
        let space = std::mem::take(&mut gap) && chars > 0;
        chars += 1 + usize::from(space);
        if chars > max_chars {
            break;
        }
        if space {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// Characters that turn the direction of text, with which `exe.txt` is shown for `txt.exe`.
pub(crate) fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What mail-parser is given: bounded, with the line break that it needs to see the end of a field,
/// UTF-8, and without encoded-words when too many of them never end.
fn prepared(folded: &[u8], max_bytes: usize) -> Vec<u8> {
    let bounded = &folded[..folded.len().min(max_bytes)];
    let text = charset(bounded, None);
    let mut input = Vec::with_capacity(text.len() + 2);
    input.extend_from_slice(text.as_bytes());
    if has_endless_words(&input) {
        let mut last = 0;
        input.retain(|b| !(std::mem::replace(&mut last, *b) == b'=' && *b == b'?'));
    }
    input.extend_from_slice(b"\r\n");
    input
}

/// Whether many `=?` have no `?=` within reach. Linear: stops at the limit, and a word that ends is
/// searched no further than its end.
fn has_endless_words(input: &[u8]) -> bool {
    let mut unfinished = 0;
    for start in memchr::memmem::find_iter(input, b"=?") {
        let reach = &input[start + 2..input.len().min(start + 2 + MAX_WORD_BYTES)];
        let data = reach.splitn(3, |b| *b == b'?').nth(2).unwrap_or_default();
        if memchr::memmem::find(data, b"?=").is_none() {
            unfinished += 1;
            if unfinished > MAX_UNFINISHED_WORDS {
                return true;
            }
        }
    }
    false
}

fn windows_1252(bytes: &[u8]) -> String {
    match charset_decoder(b"windows-1252") {
        Some(decode) => decode(bytes),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_and_cleaned() {
        let check = |input: &[u8], expected: &str| {
            assert_eq!(unstructured(input), expected, "{:?}", String::from_utf8_lossy(input));
        };
        check(b"", "");
        check(b" \r\n ", "");
        check(b" a\r\n  b\tc ", "a b c");
        check(b" =?utf-8?q?bl=C3=A5b=C3=A6r?=", "bl\u{e5}b\u{e6}r");
        check(b" =?utf-8?q?a?= =?utf-8?q?b?=", "ab");
        check(b" =?utf-8?q?a=0D=0ABcc:_x?=", "a Bcc: x");
        check(b" =?utf-8?b?4oCudHh0LmV4ZQ==?=", "txt.exe");
        check(b" =?utf-8?q?open", "=?utf-8?q?open");
        check("bl\u{e5}b\u{e6}r".as_bytes(), "bl\u{e5}b\u{e6}r");
        check(b"bl\xe5b\xe6r", "bl\u{e5}b\u{e6}r");
    }

    #[test]
    fn addresses_lose_groups_and_members_without_address() {
        let check = |input: &str, expected: &[(Option<&str>, &str)]| {
            let found = addresses(input.as_bytes());
            let found: Vec<_> =
                found.iter().map(|n| (n.name.as_deref(), n.address.as_str())).collect();
            assert_eq!(found, expected, "{input:?}");
        };
        check("", &[]);
        check("undisclosed-recipients:;", &[]);
        check(" kim@example.org", &[(None, "kim@example.org")]);
        check(
            "\"Kim, K.\" <kim@example.org>,\r\n bo@example.net",
            &[(Some("Kim, K."), "kim@example.org"), (None, "bo@example.net")],
        );
        check("team: a@b.c, D <d@e.f>;", &[(None, "a@b.c"), (Some("D"), "d@e.f")]);
        check("=?utf-8?q?J=C3=B8ran?= <j@b.c>", &[(Some("J\u{f8}ran"), "j@b.c")]);
    }

    #[test]
    fn ids_lose_their_brackets() {
        assert_eq!(message_id(b""), None);
        assert_eq!(message_id(b" <a@b>\r\n").as_deref(), Some("a@b"));
        assert_eq!(message_id(b" a@b").as_deref(), Some("a@b"));
        assert_eq!(message_id(b"<a@b> <c@d>").as_deref(), Some("a@b"));
    }

    #[test]
    fn charsets_that_say_nothing_are_guessed() {
        assert_eq!(charset("\u{f8}".as_bytes(), None), "\u{f8}");
        assert_eq!(charset(b"\xf8", None), "\u{f8}");
        assert_eq!(charset(b"\xf8", Some("US-ASCII")), "\u{f8}");
        assert_eq!(charset("\u{f8}".as_bytes(), Some("iso-8859-1")), "\u{c3}\u{b8}");
        assert_eq!(charset(b"\xf8", Some("utf-8")), "\u{fffd}");
        assert_eq!(charset(b"bl\xc3\xa5b\xc3", None), "bl\u{e5}b\u{fffd}");
        assert_eq!(charset(b"\x83n", Some("shift_jis")), "\u{30cf}");
        assert_eq!(charset(b"abc", Some("klingon")), "abc");
        assert!(!knows_charset("klingon"));
    }
}
