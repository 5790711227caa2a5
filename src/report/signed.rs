//! What an opaque signature wraps (RFC 8551 §3.5.2): programs that sign all they send sign receipts as well.
//!
//! The MIME entity inside stands in the clear, and is found by the field that it begins with. The signature
//! is not checked: a report is a claim in any case. What is encrypted has no such field, and is not read.

use memchr::memmem;

use crate::mime::Leaf;

const KINDS: [&str; 2] = ["application/pkcs7-mime", "application/x-pkcs7-mime"];
/// Fields that an entity may begin with.
const FIELDS: [&[u8]; 3] = [b"content-type:", b"mime-version:", b"content-transfer-encoding:"];
/// Of the wrapping, what is looked at for the beginning.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The entity in the only part of a message, if that wraps one.
pub(super) fn inside(parts: &[Leaf<'_>]) -> Option<Vec<u8>> {
    let [part] = parts else { return None };
    if !KINDS.contains(&part.content_type.as_str()) {
        return None;
    }
    let body = part.decoded();
    let head = body[..body.len().min(MAX_HEAD_BYTES)].to_ascii_lowercase();
    let at = FIELDS.iter().filter_map(|field| memmem::find(&head, field)).min()?;
    Some(body[at..].to_vec())
}
