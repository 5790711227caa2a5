//! From archived bytes to relayed bytes.
//!
//! Takes the bytes as submitted and the record of how they came, gives the bytes to send. A pure
//! function: the same message and the same record give the same bytes for ever, so what was sent is
//! never stored, only proven by its digest. Time comes from the record, never from a clock.
//!
//! What changes: the fields that steer this gateway and the `Bcc` fields are cut out, one `Received`
//! field is put in front. Every other byte stays, whatever it is, and is not even copied.
//! Nothing here can fail: a message that makes no sense is relayed as it came.
//! Line breaks are not mended here: the relay's encoder sees to it that no bare CR or LF leaves.

mod received;
mod target;
mod token;
mod verp;

use std::ops::Range;

use bytes::Bytes;

pub use received::Trace;
pub use target::location;
pub use token::{MAX_URL_BYTES, Token, TokenKeys};
pub use verp::{VerpKeys, token_of};

use crate::mime;
use crate::model::{Outgoing, SteeringField};

/// The message as it is relayed.
pub fn render(raw: &Bytes, trace: &Trace<'_>) -> Outgoing {
    let (place, separator) = received_place(raw);
    let mut segments = Vec::with_capacity(4);
    keep(&mut segments, raw, 0..place);
    segments.push(Bytes::from(received::field(trace)));
    segments.extend(separator);
    let mut kept_from = place;
    // No field stands before the place, so all cuts are behind it.
    for cut in removed(raw) {
        keep(&mut segments, raw, kept_from..cut.start);
        kept_from = cut.end;
    }
    keep(&mut segments, raw, kept_from..raw.len());
    Outgoing::new(segments)
}

/// The spans of the fields that are not relayed, ascending and disjoint: those that steer this
/// gateway, and those that would give away blind recipients (RFC 5322 §3.6.3, §3.6.6). Only the
/// top-level header section is looked at.
pub fn removed(raw: &[u8]) -> Vec<Range<usize>> {
    let is_removed = |field: &mime::Field<'_>| {
        SteeringField::of_name(field.name).is_some() || field.is("Bcc") || field.is("Resent-Bcc")
    };
    mime::all_fields(raw).filter(is_removed).map(|field| field.span).collect()
}

/// Where the `Received` field goes, and what has to stand behind it: in front of everything
/// (RFC 5321 §4.4), except that it must not change what the first lines mean. Behind it, the
/// `From …` line of an mbox file would no longer be recognised and would end the header section for
/// many receivers; and a line that begins with white space would become part of our field, and so
/// vanish from the reader's sight. A message of nothing but such lines has no place between them and
/// no header section; it gets an empty line in front.
fn received_place(raw: &[u8]) -> (usize, Option<Bytes>) {
    let mut place = 0;
    loop {
        let rest = &raw[place..];
        let mbox = place == 0 && mime::begins_with_mbox_line(rest);
        let fold = rest.starts_with(b" ") || rest.starts_with(b"\t");
        match memchr::memchr(b'\n', rest) {
            Some(line_break) if mbox || fold => place += line_break + 1,
            None if fold => return (0, Some(Bytes::from_static(b"\r\n"))),
            Some(_) | None => return (place, None),
        }
    }
}

fn keep(segments: &mut Vec<Bytes>, raw: &Bytes, span: Range<usize>) {
    if !span.is_empty() {
        segments.push(raw.slice(span));
    }
}
