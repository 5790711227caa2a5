//! The attachments of a message.
//!
//! A part is an attachment when it says so, when it has a file name, or when it is neither the text
//! nor the HTML of the message. An attached message is one attachment, whatever it holds itself; so is
//! a TNEF file (`winmail.dat`). Attachments are numbered from 0 in document order.

use crate::model::Digest;

use super::body;
use super::part::{Defects, Disposition, Multipart, Part};
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
    pub bytes: Vec<u8>,
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
        bytes: body::decode(&raw[part.body.clone()], part.media.encoding).bytes.into_owned(),
    })
}

fn is_inline(structure: &Structure, index: usize, part: &Part) -> bool {
    let related =
        part.media.content_id.is_some() && structure.within(index, Multipart::Related).is_some();
    match part.media.disposition {
        Some(Disposition::Inline) => true,
        Some(Disposition::Attachment) | None => related,
    }
}
