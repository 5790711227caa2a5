//! Pictures inside a preview: only such as can do nothing but be seen.
//!
//! A picture is PNG, JPEG, GIF or WebP by its first bytes, whatever its header claims; SVG is a
//! program and never a picture here. What a message repeats is counted each time, so that a thousand
//! references to one photograph do not make a document of gigabytes.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::mime::body;
use crate::mime::part::Kind;
use crate::mime::structure::Structure;

/// Pictures of a message that can be shown.
const MAX_PICTURES: usize = 100;
/// One picture, encoded in the message.
const MAX_PICTURE_BYTES: usize = 8 << 20;
/// All pictures in one document, as text.
const MAX_SHOWN_BYTES: usize = 24 << 20;

/// The pictures of a message by their Content-ID, as `data:` URLs.
#[derive(Clone)]
pub(super) struct Pictures {
    by_id: Arc<Vec<(String, String)>>,
    /// Bytes that may still be shown.
    left: Arc<AtomicUsize>,
}

impl Pictures {
    /// Those of a message that have an id.
    pub fn of(raw: &[u8], structure: &Structure) -> Pictures {
        let mut by_id = Vec::new();
        let mut left = MAX_SHOWN_BYTES;
        for (_, part) in structure.leaves() {
            let Some(id) = &part.media.content_id else { continue };
            let fits = part.body.len() <= MAX_PICTURE_BYTES.min(left);
            if part.media.kind != Kind::Other || !fits || by_id.len() >= MAX_PICTURES {
                continue;
            }
            let decoded = body::decode(&raw[part.body.clone()], part.media.encoding);
            if let Some(kind) = kind(&decoded.bytes) {
                let url = format!("data:image/{kind};base64,{}", STANDARD.encode(&decoded.bytes));
                left = left.saturating_sub(url.len());
                by_id.push((id.clone(), url));
            }
        }
        Pictures { by_id: Arc::new(by_id), left: Arc::new(AtomicUsize::new(MAX_SHOWN_BYTES)) }
    }

    /// The picture for `cid:id` (RFC 2392), percent-encoding undone.
    pub fn by_content_id(&self, id: &str) -> Option<String> {
        let id = percent_decoded(id);
        let (_, url) = self.by_id.iter().find(|(own, _)| own.as_bytes() == &*id)?;
        self.take(url.len()).then(|| url.clone())
    }

    /// A picture that is written into the HTML itself: `data:image/png;base64,…`.
    pub fn written_out(&self, url: &str) -> Option<String> {
        let (head, data) = url.split_once(',')?;
        let head = head.trim().to_ascii_lowercase();
        if !head.starts_with("data:image/") || !head.ends_with(";base64") || !self.take(url.len()) {
            return None;
        }
        let clean: Vec<u8> = data.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let bytes = STANDARD.decode(clean).ok()?;
        let kind = kind(&bytes)?;
        Some(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)))
    }

    fn take(&self, size: usize) -> bool {
        let take = |left: usize| left.checked_sub(size);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// The subtype of a picture by its first bytes.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}
