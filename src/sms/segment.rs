//! How many segments a body takes, and in which encoding it travels (3GPP TS 23.040 §9.2.3.24.1).
//!
//! One counter for every dialect. A segment holds 140 octets: 160 septets or 70 UTF-16 units when
//! it is alone, 153 or 67 beside the 6 octets that join it to others. An escape and what it leads to,
//! and the two halves of a surrogate pair, are never parted.

use super::gsm;
use crate::model::{SmsBody, SmsEncoding};

/// Octets of user data in one segment.
const SEGMENT_OCTETS: usize = 140;
/// Of which the header of a part takes these: length, and the element with an 8-bit reference.
const PART_HEADER_OCTETS: usize = 6;
/// The concatenation element counts to 255.
pub const MAX_SEGMENTS: u32 = 255;
/// No longer text fits: so many segments of 153 characters.
pub const MAX_TEXT_CHARS: usize = 39_015;

/// What a body comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    pub encoding: SmsEncoding,
    /// At least 1; not bounded by what can be sent.
    pub segments: u32,
}

/// Measures a body; `udh` is the header that the client put before it itself.
pub fn measure(body: &SmsBody, udh: &[u8]) -> Measure {
    let (encoding, alone, joined) = match body {
        SmsBody::Binary(_) => (SmsEncoding::Binary, octets(udh.len()), octets(PART_HEADER_OCTETS)),
        SmsBody::Text(text) if gsm::holds(text) => {
            let septets = |header: usize| octets(header) * 8 / 7;
            (SmsEncoding::Gsm7, septets(udh.len()), septets(PART_HEADER_OCTETS))
        }
        SmsBody::Text(_) => {
            let units = |header: usize| octets(header) / 2;
            (SmsEncoding::Ucs2, units(udh.len()), units(PART_HEADER_OCTETS))
        }
    };
    let segments = match body {
        SmsBody::Binary(bytes) => pack(std::iter::repeat_n(1, bytes.len()), alone, joined),
        SmsBody::Text(text) => pack(text.chars().map(|c| width(c, encoding)), alone, joined),
    };
    Measure { encoding, segments }
}

fn octets(header: usize) -> usize {
    SEGMENT_OCTETS.saturating_sub(header)
}

fn width(c: char, encoding: SmsEncoding) -> usize {
    match encoding {
        // Every character was found in the alphabet before.
        SmsEncoding::Gsm7 => gsm::septets(c).unwrap_or(1),
        SmsEncoding::Ucs2 => c.len_utf16(),
        SmsEncoding::Binary => 1,
    }
}

/// Fills segments one after the other, with whole characters.
fn pack(widths: impl Iterator<Item = usize> + Clone, alone: usize, joined: usize) -> u32 {
    if widths.clone().sum::<usize>() <= alone {
        return 1;
    }
    // A header of the client's own may leave less room than that of a part.
    let joined = joined.min(alone).max(1);
    let (mut segments, mut filled) = (1, 0);
    for width in widths {
        if filled + width > joined {
            segments += 1;
            filled = 0;
        }
        filled += width;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, encoding: SmsEncoding, segments: u32) {
        let found = measure(&SmsBody::Text(text.into()), &[]);
        assert_eq!(found, Measure { encoding, segments }, "{} chars", text.chars().count());
    }

    #[test]
    fn the_edges_of_each_encoding() {
        use SmsEncoding::{Gsm7, Ucs2};
        check("", Gsm7, 1);
        check(&"a".repeat(160), Gsm7, 1);
        check(&"a".repeat(161), Gsm7, 2);
        check(&"a".repeat(306), Gsm7, 2);
        check(&"a".repeat(307), Gsm7, 3);
        check(&"€".repeat(80), Gsm7, 1);
        check(&"€".repeat(81), Gsm7, 2);
        check(&"ж".repeat(70), Ucs2, 1);
        check(&"ж".repeat(71), Ucs2, 2);
        check(&"ж".repeat(134), Ucs2, 2);
        check(&"ж".repeat(135), Ucs2, 3);
        check(&"😀".repeat(35), Ucs2, 1);
        check(&"😀".repeat(36), Ucs2, 2);
    }

    #[test]
    fn pairs_are_not_parted() {
        let escape = format!("{}€{}", "a".repeat(152), "a".repeat(152));
        check(&escape, SmsEncoding::Gsm7, 3);
        let surrogates = format!("{}😀{}", "ж".repeat(66), "ж".repeat(66));
        check(&surrogates, SmsEncoding::Ucs2, 3);
    }

    #[test]
    fn a_header_of_the_client_takes_its_room() {
        let udh = [5, 0, 3, 7, 2, 1];
        let of = |body: SmsBody| measure(&body, &udh).segments;
        assert_eq!(of(SmsBody::Text("a".repeat(153))), 1);
        assert_eq!(of(SmsBody::Text("a".repeat(154))), 2);
        assert_eq!(of(SmsBody::Text("ж".repeat(67))), 1);
        assert_eq!(of(SmsBody::Binary(vec![0; 134])), 1);
        assert_eq!(measure(&SmsBody::Binary(vec![0; 134]), &[0; 7]).segments, 2);
        assert_eq!(measure(&SmsBody::Binary(vec![0; 140]), &[]).segments, 1);
        assert_eq!(measure(&SmsBody::Binary(vec![0; 141]), &[]).segments, 2);
    }
}
