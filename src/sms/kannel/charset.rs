//! Octets to text, by the charset that the other side names (its labels are those of the WHATWG Encoding
//! standard); and the user data header (3GPP TS 23.040 §9.2.3.24).

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE};

use super::super::hex;

/// Kannel's word for a body that is no text.
pub(super) const EIGHT_BIT: &str = "8-BIT";

/// How a text is to be taken when it is not what its charset promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Refuse,
    /// Each fault becomes U+FFFD.
    Replace,
}

/// Decodes a text. Without a charset it is UTF-8, or UTF-16BE where `is_ucs2`. A byte order mark wins
/// over both. `None`: nobody knows the charset, or the text is none.
pub(super) fn decode(
    octets: &[u8],
    charset: Option<&str>,
    is_ucs2: bool,
    fault: Fault,
) -> Option<String> {
    let encoding = match charset.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => find(name)?,
        None if is_ucs2 => UTF_16BE,
        None => UTF_8,
    };
    let (text, _, has_fault) = encoding.decode(octets);
    (!has_fault || fault == Fault::Replace).then(|| text.into_owned())
}

/// The Web's list of labels takes UCS-2 for little-endian; on phones it never is
/// (3GPP TS 23.038 §6.2.3).
fn find(name: &str) -> Option<&'static Encoding> {
    let big_endian = ["ucs-2", "ucs2", "ucs-2be", "utf16", "utf-16", "utf16be", "iso-10646-ucs-2"];
    if big_endian.iter().any(|label| name.eq_ignore_ascii_case(label)) {
        return Some(UTF_16BE);
    }
    Encoding::for_label(name.as_bytes()).filter(|found| *found != REPLACEMENT)
}

/// Reads a user data header, in octets or as hexadecimal digits. Its first octet counts the others
/// (3GPP TS 23.040 §9.2.3.24).
pub(super) fn udh(value: &[u8]) -> Option<Vec<u8>> {
    let is_whole = |header: &[u8]| {
        header.first().is_some_and(|count| usize::from(*count) + 1 == header.len())
            && header.len() <= MAX_UDH_OCTETS
    };
    match hex::octets(value) {
        Some(header) if is_whole(&header) => Some(header),
        Some(_) | None => is_whole(value).then(|| value.to_vec()),
    }
}

/// What fits into one message.
const MAX_UDH_OCTETS: usize = 140;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded_as_named_or_not_at_all() {
        let check = |octets: &[u8], charset, is_ucs2, expected: Option<&str>| {
            let found = decode(octets, charset, is_ucs2, Fault::Refuse);
            assert_eq!(found.as_deref(), expected, "{octets:?} {charset:?}");
        };
        check(b"x", Some("nonsense"), false, None);
        check(b"x", Some("iso-2022-kr"), false, None);
        check(b"\xff", None, false, None);
        check(b"\0H\0", None, true, None);
        check(b"\xd8\x3d", None, true, None);
        check("æ😀".as_bytes(), None, false, Some("æ😀"));
        check(b"\0H\xd8\x3d\xde\0", None, true, Some("H😀"));
        check(b"\0H", Some("UCS-2"), true, Some("H"));
        check(b"\xff\xfeH\0", None, true, Some("H"));
        check("😀".as_bytes(), Some("utf-8"), true, Some("😀"));
        check(b"\xe6\x80", Some("ISO-8859-1"), false, Some("æ€"));
        assert_eq!(decode(b"\xd8\x3d", None, true, Fault::Replace).as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn a_header_is_octets_or_digits() {
        for bad in [&b""[..], b"zz", b"05000301", b"\x05\0\x03", b"0"] {
            assert_eq!(udh(bad), None, "{bad:?}");
        }
        assert_eq!(udh(b"\x02\x70\0"), Some(vec![2, 0x70, 0]));
        assert_eq!(udh(b"027000"), Some(vec![2, 0x70, 0]));
        // 24 octets as digits: the first digit, taken as an octet, would count them as well.
        let long = "18".to_owned() + &"0a".repeat(24);
        assert_eq!(udh(long.as_bytes()).map(|h| h.len()), Some(25));
        assert_eq!(udh(&[200; 201]), None);
    }
}
