//! The attachments of a message.
//!
//! A part is an attachment when it says so, when it has a file name, or when it is neither the text
//! nor the HTML of the message. An attached message is one attachment, whatever it holds itself; so is
//! a TNEF file (`winmail.dat`). Attachments are numbered from 0 in document order.

use crate::model::Digest;

use super::body;
use super::field::Fields;
use super::part::{Defects, Disposition, Kind, Multipart, Part};
use super::structure::Structure;

/// What is known of an attachment without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentInfo {
    /// Decoded and cleaned: no directory, control or direction characters, at most 150 characters.
    pub filename: Option<String>,
    /// `type/subtype` in lower case, as the sender claims.
    pub content_type: String,
    /// Decoded.
    pub size_bytes: u64,
    /// Of the decoded content.
    pub sha256: Digest,
    /// Meant to be shown within the text: `inline`, or part of a `multipart/related` with an id.
    pub inline: bool,
}

/// An attachment with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentContent {
    pub filename: Option<String>,
    pub content_type: String,
    /// By which the HTML of its message shows it.
    pub content_id: Option<String>,
    pub bytes: Vec<u8>,
}

/// An attachment as it stands in its message, to be put into another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentSource {
    pub place: AttachmentPlace,
    /// Header section and body, still encoded: nothing that its author said of it is lost.
    pub part: Vec<u8>,
}

/// What an attachment is to the text of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentPlace {
    /// Another form of the text, such as an invitation (RFC 2046 §5.1.4, RFC 6047).
    Alternative,
    /// A part of the HTML, which shows it by its id (RFC 2387).
    Related,
    Beside,
}

/// All attachments, decoded once each to be measured.
pub(crate) fn list(
    raw: &[u8],
    structure: &Structure,
    defects: &mut Defects,
) -> Vec<AttachmentInfo> {
    let mut found = Vec::new();
    for (index, part) in structure.leaves().filter(|(_, part)| part.is_attachment()) {
        let decoded = body::decode(&raw[part.body.clone()], part.media.encoding);
        if !decoded.intact {
            defects.add("an attachment is damaged: its transfer encoding has errors");
        }
        found.push(AttachmentInfo {
            filename: part.media.filename.clone(),
            content_type: part.media.content_type.clone(),
            size_bytes: decoded.bytes.len() as u64,
            sha256: Digest::of(&decoded.bytes),
            inline: is_inline(structure, index, part),
        });
    }
    found
}

/// The content of attachment number `wanted`.
pub(crate) fn content(
    raw: &[u8],
    structure: &Structure,
    wanted: usize,
) -> Option<AttachmentContent> {
    let (_, part) = structure.leaves().filter(|(_, part)| part.is_attachment()).nth(wanted)?;
    Some(AttachmentContent {
        filename: part.media.filename.clone(),
        content_type: part.media.content_type.clone(),
        content_id: part.media.content_id.clone(),
        bytes: body::decode(&raw[part.body.clone()], part.media.encoding).bytes.into_owned(),
    })
}

/// All attachments as they stand in the message, in the order of their numbers.
pub(crate) fn sources(raw: &[u8], structure: &Structure) -> Vec<AttachmentSource> {
    let attachments = structure.leaves().filter(|(_, part)| part.is_attachment());
    let source = |(index, part): (usize, &Part)| AttachmentSource {
        place: place(structure, index, part),
        part: source(raw, structure, part),
    };
    attachments.map(source).collect()
}

fn place(structure: &Structure, index: usize, part: &Part) -> AttachmentPlace {
    let is_form = part.media.disposition.is_none()
        && part.media.filename.is_none()
        && part.parent.is_some_and(|p| {
            structure.parts[p].media.kind == Kind::Multipart(Multipart::Alternative)
        });
    let is_shown = part.media.content_id.is_some() && is_inline(structure, index, part);
    match (is_form, is_shown) {
        (true, _) => AttachmentPlace::Alternative,
        (false, true) => AttachmentPlace::Related,
        (false, false) => AttachmentPlace::Beside,
    }
}

fn source(raw: &[u8], structure: &Structure, part: &Part) -> Vec<u8> {
    let header = raw.get(part.start..part.body.start).unwrap_or_default();
    let body = raw.get(part.body.clone()).unwrap_or_default();
    let mut source = Vec::with_capacity(header.len() + body.len() + 2);
    let in_digest = part
        .parent
        .is_some_and(|p| structure.parts[p].media.kind == Kind::Multipart(Multipart::Digest));
    let mut has_type = false;
    for field in Fields::of_part(raw, part.start..part.body.start) {
        // The header of the message itself says more than what its only part is.
        if part.parent.is_none() && !field.name.to_ascii_lowercase().starts_with(b"content-") {
            continue;
        }
        has_type |= field.is("Content-Type");
        source.extend_from_slice(raw.get(field.span.clone()).unwrap_or_default());
        if !source.ends_with(b"\n") {
            source.extend_from_slice(b"\r\n");
        }
    }
    if in_digest && !has_type {
        // What a part of a digest is without saying so (RFC 2046 §5.1.5).
        source.extend_from_slice(b"Content-Type: message/rfc822\r\n");
    }
    source.extend_from_slice(b"\r\n");
    source.extend_from_slice(body);
    source
}

fn is_inline(structure: &Structure, index: usize, part: &Part) -> bool {
    let related =
        part.media.content_id.is_some() && structure.within(index, Multipart::Related).is_some();
    match part.media.disposition {
        Some(Disposition::Inline) => true,
        Some(Disposition::Attachment) | None => related,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, searchable, text};

    /// Reads one part below a text, and compares the attachments as name, type, size, inline.
    fn check(header: &str, body: &str, expected: &[(Option<&str>, &str, u64, bool)]) {
        let raw = format!(
            "From: a@b\r\nContent-Type: multipart/related; boundary=x\r\n\r\n\
             --x\r\n\r\ntext\r\n--x\r\n{header}\r\n\r\n{body}\r\n--x--\r\n"
        );
        let found = read(raw.as_bytes()).attachments;
        let found: Vec<_> = found
            .iter()
            .map(|a| (a.filename.as_deref(), a.content_type.as_str(), a.size_bytes, a.inline))
            .collect();
        assert_eq!(found, expected, "{header}");
    }

    #[test]
    fn text_without_a_name_is_no_attachment() {
        check("Content-Type: text/plain", "x", &[]);
        check("Content-Type: text/html; charset=utf-8\r\nContent-Disposition: inline", "x", &[]);
        check("X: y", "x", &[]);
    }

    #[test]
    fn everything_else_is_one() {
        let pdf = "application/pdf";
        check("Content-Type: application/pdf", "x", &[(None, pdf, 1, false)]);
        check("Content-Type: APPLICATION/PDF; name=a.pdf", "x", &[(Some("a.pdf"), pdf, 1, false)]);
        check(
            "Content-Type: text/plain; name=a.txt",
            "x",
            &[(Some("a.txt"), "text/plain", 1, false)],
        );
        check("Content-Disposition: attachment", "x", &[(None, "text/plain", 1, false)]);
        check("Content-Disposition: something", "x", &[(None, "text/plain", 1, false)]);
        check("Content-Type: text/calendar", "x", &[(None, "text/calendar", 1, false)]);
        check("Content-Type: message/rfc822", "A: b", &[(None, "message/rfc822", 4, false)]);
        check(
            "Content-Type: application/ms-tnef; name=\"winmail.dat\"\r\nContent-Transfer-Encoding: base64",
            "aGVsbG8=",
            &[(Some("winmail.dat"), "application/ms-tnef", 5, false)],
        );
        check("Content-Type: image/png\r\nContent-ID: <a@b>", "x", &[(None, "image/png", 1, true)]);
        check(
            "Content-Type: image/png\r\nContent-Disposition: inline",
            "x",
            &[(None, "image/png", 1, true)],
        );
        check("Content-Type: a/b c/d", "x", &[(None, "a/b", 1, false)]);
        check("Content-Type: <x>/y", "x", &[(None, "application/octet-stream", 1, false)]);
    }

    #[test]
    fn names_are_decoded_in_all_their_spellings() {
        for parameter in [
            "filename=\"r\u{e9}sum\u{e9}.pdf\"",
            "filename*=utf-8''r%C3%A9sum%C3%A9.pdf",
            "filename*=iso-8859-1'fr'r%E9sum%E9.pdf",
            "filename*0*=utf-8''r%C3%A9su; filename*1=m; filename*2*=%C3%A9.pdf",
            "filename=\"=?utf-8?q?r=C3=A9sum=C3=A9.pdf?=\"",
            "filename==?utf-8?b?csOpc3Vtw6kucGRm?=",
            "filename=\"../../r\u{e9}sum\u{e9}.pdf\"",
            "filename=\"r\u{e9}\r\n sum\u{e9}.pdf\"",
        ] {
            let name = if parameter.contains("\r\n") {
                "r\u{e9} sum\u{e9}.pdf"
            } else {
                "r\u{e9}sum\u{e9}.pdf"
            };
            let header = format!("Content-Disposition: attachment; {parameter}");
            check(&header, "x", &[(Some(name), "text/plain", 1, false)]);
        }
    }

    #[test]
    fn a_message_that_is_one_text_is_no_attachment_but_when_it_says_so() {
        let raw = b"Content-Type: text/plain; name=a.txt\r\n\r\nINV-1\r\n";
        assert_eq!((read(raw).attachments.len(), text(raw).as_deref()), (0, Some("INV-1\r\n")));
        let raw = b"Content-Disposition: attachment\r\n\r\nINV-1\r\n";
        assert_eq!((read(raw).attachments.len(), text(raw)), (1, None));
    }

    #[test]
    fn html_is_searched_only_where_there_is_no_text() {
        let html = b"Content-Type: text/html\r\n\r\n<p>INV-1</p><style>INV-2</style>";
        assert_eq!(searchable(html, 1000).trim(), "INV-1");
        assert_eq!(searchable(b"\r\nINV-1\r\nINV-2\r\n", 8), "INV-1\r\n\n");
    }
}
