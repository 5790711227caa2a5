//! One body part: where it stands in the message, and what its header says it is (RFC 2045).
//!
//! A header that is missing or makes no sense falls back to the defaults of RFC 2045 §5.2, so every
//! part has a media type; what was wrong is told as a defect.

use std::ops::Range;

use mail_parser::ContentType;

use super::field::Fields;
use super::filename;
use super::value;

/// Longest media type that is kept.
const MAX_TYPE_BYTES: usize = 127;
/// Longest boundary that is looked for; RFC 2046 §5.1.1 allows 70.
const MAX_BOUNDARY_BYTES: usize = 256;

/// What a part is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `multipart/*` whose boundary was found; its body is other parts.
    Multipart(Multipart),
    /// `text/plain`.
    Plain,
    /// `text/html`.
    Html,
    /// Everything else, attached messages too: they are not opened.
    Other,
}

/// The multiparts whose meaning matters here (RFC 2046 §5.1, RFC 2387).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Multipart {
    Alternative,
    Related,
    Digest,
    Mixed,
}

/// `Content-Transfer-Encoding` (RFC 2045 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
}

/// `Content-Disposition` (RFC 2183).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    Inline,
    Attachment,
}

/// What the header of a part says.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub kind: Kind,
    /// `type/subtype` in lower case.
    pub content_type: String,
    pub charset: Option<String>,
    /// Lines go on behind a space that does not count (RFC 3676 §4.1, `DelSp`).
    pub deletes_space: bool,
    pub encoding: Encoding,
    pub disposition: Option<Disposition>,
    /// Cleaned.
    pub filename: Option<String>,
    /// Without angle brackets.
    pub content_id: Option<String>,
    /// Of a multipart.
    pub boundary: Option<Vec<u8>>,
}

/// A part and its place.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub parent: Option<usize>,
    /// Where its header section begins.
    pub start: usize,
    /// From after the empty line to before the line break of the next delimiter.
    pub body: Range<usize>,
    pub media: Media,
}

impl Part {
    /// Whether its body is content, not other parts.
    pub fn is_leaf(&self) -> bool {
        !matches!(self.media.kind, Kind::Multipart(_))
    }

    /// Whether it is listed as an attachment instead of shown as the text of the message.
    pub fn is_attachment(&self) -> bool {
        let named = self.media.filename.is_some() && self.parent.is_some();
        let attached = self.media.disposition == Some(Disposition::Attachment);
        match self.media.kind {
            Kind::Multipart(_) => false,
            Kind::Plain | Kind::Html => attached || named,
            Kind::Other => true,
        }
    }
}

/// Reads the header section of a part. `in_digest`: its default type is a message (RFC 2046 §5.1.5).
pub(crate) fn read_media(fields: &mut Fields<'_>, in_digest: bool, defects: &mut Defects) -> Media {
    let (mut media_type, mut disposition) = (None, None);
    let (mut encoding, mut content_id) = (None, None);
    // Of a field that is given twice the first counts, as for most readers.
    for field in fields {
        if field.is("Content-Type") {
            first(&mut media_type, || value::media(field.folded), defects);
        } else if field.is("Content-Disposition") {
            first(&mut disposition, || value::media(field.folded), defects);
        } else if field.is("Content-Transfer-Encoding") {
            first(&mut encoding, || field.text(), defects);
        } else if field.is("Content-ID") {
            first(&mut content_id, || value::message_id(field.folded), defects);
        }
    }
    if let Some(None) = media_type {
        defects.add("a Content-Type field names no media type");
    }
    let (media_type, disposition) = (media_type.flatten(), disposition.flatten());
    let mut media = of_type(media_type.as_ref(), in_digest, defects);
    media.encoding = encoding.map_or(Encoding::Identity, |text| read_encoding(&text, defects));
    media.content_id = content_id.flatten();
    media.filename = filename(disposition.as_ref(), media_type.as_ref());
    media.disposition = disposition.map(|d| match d.is_inline() {
        true => Disposition::Inline,
        // RFC 2183 §2.8: an unknown disposition is an attachment.
        false => Disposition::Attachment,
    });
    media
}

/// Keeps what the first field of a name says.
fn first<T>(place: &mut Option<T>, read: impl FnOnce() -> T, defects: &mut Defects) {
    match place {
        Some(_) => defects.add("a field that says what a part is comes twice"),
        None => *place = Some(read()),
    }
}

fn of_type(given: Option<&ContentType<'_>>, in_digest: bool, defects: &mut Defects) -> Media {
    let (main, sub) = match given {
        Some(given) => (given.ctype(), given.subtype().unwrap_or_default()),
        None if in_digest => ("message", "rfc822"),
        None => ("text", "plain"),
    };
    let sub = match (main, leading_token(sub)) {
        ("text", "") => "plain",
        (_, sub) => sub,
    };
    let attribute = |name| given.and_then(|g| g.attribute(name));
    let boundary = attribute("boundary").map(|b| b.trim_end().as_bytes().to_vec());
    let boundary = boundary.filter(|b| !b.is_empty() && b.len() <= MAX_BOUNDARY_BYTES);
    let kind = match (main, sub) {
        ("multipart", sub) if boundary.is_some() => Kind::Multipart(match sub {
            "alternative" => Multipart::Alternative,
            "related" => Multipart::Related,
            "digest" => Multipart::Digest,
            _ => Multipart::Mixed,
        }),
        ("multipart", _) => {
            defects.add("a multipart part names no boundary");
            Kind::Plain
        }
        ("text", "plain") => Kind::Plain,
        ("text", "html") => Kind::Html,
        _ => Kind::Other,
    };
    let charset = attribute("charset").map(str::to_owned);
    if matches!(kind, Kind::Plain | Kind::Html)
        && charset.as_deref().is_some_and(|c| !value::knows_charset(c))
    {
        defects.add("a part is in a charset that is not known");
    }
    Media {
        kind,
        content_type: type_name(main, sub),
        charset,
        deletes_space: attribute("delsp").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
        encoding: Encoding::Identity,
        disposition: None,
        filename: None,
        content_id: None,
        boundary,
    }
}

/// `type/subtype` when both are tokens (RFC 2045 §5.1), else the type of unknown bytes.
fn type_name(main: &str, sub: &str) -> String {
    let is_token = |text: &str| !text.is_empty() && leading_token(text) == text;
    if is_token(main) && is_token(sub) && main.len() + sub.len() < MAX_TYPE_BYTES {
        format!("{main}/{sub}")
    } else {
        String::from("application/octet-stream")
    }
}

/// What stands before the first character that a type can not hold: some senders forget the
/// semicolon after it.
fn leading_token(text: &str) -> &str {
    let ok = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
    text.find(|c| !ok(c)).map_or(text, |end| &text[..end])
}

fn filename(
    disposition: Option<&ContentType<'_>>,
    media_type: Option<&ContentType<'_>>,
) -> Option<String> {
    let named = disposition.and_then(|d| d.attribute("filename"));
    let named = named.or_else(|| media_type.and_then(|m| m.attribute("name")));
    named.and_then(filename::clean)
}

fn read_encoding(text: &str, defects: &mut Defects) -> Encoding {
    // Some senders add a parameter or a comment; the mechanism is one token.
    let mechanism = text.split([' ', ';', '(']).next().unwrap_or_default();
    match mechanism.to_ascii_lowercase().as_str() {
        "base64" => Encoding::Base64,
        "quoted-printable" => Encoding::QuotedPrintable,
        "" | "7bit" | "8bit" | "binary" => Encoding::Identity,
        _ => {
            defects.add("a part has a transfer encoding that is not known");
            Encoding::Identity
        }
    }
}

/// What was wrong with a message: each sentence once, in the order in which it was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defects(pub Vec<String>);

impl Defects {
    /// Adds a sentence unless it is there.
    pub fn add(&mut self, sentence: &str) {
        if !self.0.iter().any(|s| s == sentence) {
            self.0.push(sentence.to_owned());
        }
    }
}
