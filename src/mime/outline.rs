//! What a message holds, as whoever wants to change it must know it: its text and HTML parts with their places, and
//! what forbids a change.
//!
//! Takes the bytes of a message. Only parts that a reader shows as the message itself are listed: no attachment, no
//! part of an attached message. `Protection` is what makes any change harm, `is_sound` whether two readers would see
//! the same parts. What is changed is decided in `rewrite`; how a changed part is encoded again is in `transfer`.

use std::borrow::Cow;
use std::ops::Range;

use super::body;
use super::part::{Encoding, Kind};
use super::structure::Structure;
use super::transfer::Content;

/// What a text part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    Plain,
    Html,
}

/// Why no byte of a message may change. Ordered: the first that applies is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// `multipart/signed` (RFC 1847 §2.1).
    Signed,
    /// `multipart/encrypted` (RFC 1847 §2.2).
    Encrypted,
    /// `application/pkcs7-mime` and its kin (RFC 8551).
    Smime,
    /// OpenPGP in its own parts (RFC 3156) or within the text (RFC 9580 §6).
    Pgp,
    /// An invitation or an answer to one (RFC 6047): calendars compare and file them.
    Calendar,
    /// A report about another message (RFC 6522), which programs read.
    Report,
}

/// One part that is shown as the message.
#[derive(Clone, Debug)]
pub struct TextPart {
    /// Its encoded body, as positions in the message.
    pub body: Range<usize>,
    pub kind: TextKind,
    /// As its header names it.
    pub charset: Option<String>,
    /// Lines go on behind a space that does not count (RFC 3676 §4.1).
    pub deletes_space: bool,
    encoding: Encoding,
}

impl TextPart {
    /// Its content; `None` when some of its encoding makes no sense.
    pub fn content<'a>(&self, raw: &'a [u8]) -> Option<Content<'a>> {
        Content::read(raw, self.body.clone(), self.encoding)
    }
}

/// The parts of a message that could be changed.
#[derive(Clone, Debug)]
pub struct Outline {
    pub texts: Vec<TextPart>,
    pub protection: Option<Protection>,
    /// Nothing about the structure is in doubt.
    pub is_sound: bool,
}

/// Reads what a message holds; `None` when it confuses the reader.
pub fn outline(raw: &[u8]) -> Option<Outline> {
    super::guarded(|| {
        let structure = Structure::read(raw);
        let texts = texts(&structure);
        let armoured = texts.iter().any(|part| is_armoured(&raw[part.body.clone()], part.encoding));
        let armour = armoured.then_some(Protection::Pgp);
        let types = structure.parts.iter().map(|part| part.media.content_type.as_str());
        let protection = types.filter_map(protection).chain(armour).min();
        Outline { texts, protection, is_sound: structure.defects.0.is_empty() }
    })
}

fn texts(structure: &Structure) -> Vec<TextPart> {
    let shown = body::shown(structure).into_iter().map(|index| &structure.parts[index]);
    let texts = shown.filter_map(|part| {
        let kind = match part.media.kind {
            Kind::Plain => TextKind::Plain,
            Kind::Html => TextKind::Html,
            Kind::Multipart(_) | Kind::Other => return None,
        };
        let charset = part.media.charset.clone();
        let (deletes_space, encoding) = (part.media.deletes_space, part.media.encoding);
        Some(TextPart { body: part.body.clone(), kind, charset, deletes_space, encoding })
    });
    texts.collect()
}

fn protection(content_type: &str) -> Option<Protection> {
    Some(match content_type {
        "multipart/signed" => Protection::Signed,
        "multipart/encrypted" => Protection::Encrypted,
        "application/pkcs7-mime"
        | "application/x-pkcs7-mime"
        | "application/pkcs7-signature"
        | "application/x-pkcs7-signature" => Protection::Smime,
        "application/pgp" | "application/pgp-encrypted" | "application/pgp-signature" => {
            Protection::Pgp
        }
        "text/calendar" | "application/ics" => Protection::Calendar,
        "multipart/report" => Protection::Report,
        _ => return None,
    })
}

/// Whether a line of the text begins an OpenPGP armour.
fn is_armoured(body: &[u8], encoding: Encoding) -> bool {
    const ARMOUR: &[u8] = b"-----BEGIN PGP ";
    let decoded = match encoding {
        Encoding::Base64 => body::decode(body, encoding).bytes,
        // No character of the armour's first line needs to be written otherwise.
        Encoding::Identity | Encoding::QuotedPrintable => Cow::Borrowed(body),
    };
    let mut found = memchr::memmem::find_iter(&decoded, ARMOUR);
    found.any(|at| at == 0 || matches!(decoded[at - 1], b'\n' | b'\r' | b'>' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_change_is_found_wherever_it_stands() {
        let check = |raw: &str, expected: Option<Protection>| {
            assert_eq!(outline(raw.as_bytes()).unwrap().protection, expected, "{raw:?}");
        };
        check("", None);
        check("A: b\r\n\r\ntext -----BEGIN PGP MESSAGE-----", None);
        check("A: b\r\n\r\ntext\r\n-----BEGIN PGP MESSAGE-----", Some(Protection::Pgp));
        let inner = "--a\r\nContent-Type: TEXT/Calendar\r\n\r\nx\r\n--a--\r\n";
        check(
            &format!("Content-Type: multipart/mixed; boundary=a\r\n\r\n{inner}"),
            Some(Protection::Calendar),
        );
        check(
            &format!("Content-Type: multipart/signed; boundary=a\r\n\r\n{inner}"),
            Some(Protection::Signed),
        );
        check("Content-Type: application/x-pkcs7-mime\r\n\r\nx", Some(Protection::Smime));
        check(
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nLS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0t\r\n",
            Some(Protection::Pgp),
        );
    }

    #[test]
    fn only_what_is_shown_is_listed() {
        let raw = "Content-Type: multipart/mixed; boundary=a\r\n\r\n\
            --a\r\n\r\nplain\r\n\
            --a\r\nContent-Type: text/html\r\n\r\n<p>\r\n\
            --a\r\nContent-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n<i>\r\n\
            --a\r\nContent-Type: text/x-amp-html\r\n\r\n<b>\r\n\
            --a\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\n<u>\r\n\
            --a--\r\n";
        let outline = outline(raw.as_bytes()).unwrap();
        let texts: Vec<_> = outline.texts.iter().map(|t| (t.kind, &raw[t.body.clone()])).collect();
        assert_eq!(texts, [(TextKind::Plain, "plain"), (TextKind::Html, "<p>")]);
        assert!(outline.is_sound);
    }
}
