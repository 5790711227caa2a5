//! From archived bytes to relayed bytes.
//!
//! Takes the bytes as submitted and the record of how they came, gives the bytes to send. A pure
//! function: the same message and the same record give the same bytes for ever, so what was sent is
//! never stored, only proven by its digest. Time comes from the record, never from a clock.
//!
//! What changes: the fields that steer this gateway and the `Bcc` fields are cut out, one `Received`
//! field is put in front. For a recipient who is tracked, links lead through the public port and a pixel
//! is put in (`tracking`); the keys of the author's domain sign what came out (`dkim`). Every other byte
//! stays, whatever it is, and is not even copied.
//! Nothing here can fail: a message that makes no sense is relayed as it came.
//! Line breaks are not mended here: the relay's encoder sees to it that no bare CR or LF leaves.

mod charset;
mod dkim;
mod dkim_record;
mod document;
mod html;
mod link;
mod public_url;
mod received;
mod target;
mod text;
mod token;
mod tracking;
mod verp;
mod zone_text;

use std::ops::Range;

use bytes::Bytes;

pub use dkim::{DkimKeyError, DkimSigner};
pub use dkim_record::{Mismatch, compare};
pub use public_url::PublicUrl;
pub use received::{Stamp, Trace};
pub use target::location;
pub use token::{MAX_URL_BYTES, Token, TokenKeys};
pub use tracking::{RULES, Tokens, Tracking};
pub use verp::{SEVERAL, VerpKeys, token_of};
pub use zone_text::{ZoneText, zone_record};

use crate::mime;
use crate::model::{Outgoing, SteeringField, TouchReport};
use tracking::Changes;

/// What is done to a message beyond what is done to every one.
#[derive(Clone, Copy, Default)]
pub struct Treatment<'a> {
    /// For this one recipient.
    pub tracking: Option<&'a Tracking<'a>>,
    pub signing: Signing<'a>,
}

/// Where the signatures come from.
#[derive(Clone, Copy)]
pub enum Signing<'a> {
    /// All keys; those of the author's domain sign.
    With(&'a [DkimSigner]),
    /// It was signed before, with these fields.
    As(&'a Bytes),
}

impl Default for Signing<'_> {
    fn default() -> Self {
        Signing::With(&[])
    }
}

/// A message as it is relayed, and how it came to be so.
#[derive(Clone, Debug)]
pub struct Rendition {
    pub outgoing: Outgoing,
    /// The `DKIM-Signature` fields that were put in front, whole.
    pub signatures: Bytes,
    /// What tracking did.
    pub report: TouchReport,
}

/// The message as it is relayed when nobody is tracked and nothing is signed.
pub fn render(raw: &Bytes, trace: &Trace<'_>) -> Outgoing {
    render_for(raw, trace, Treatment::default()).outgoing
}

/// The message as it is relayed to a recipient.
pub fn render_for(raw: &Bytes, trace: &Trace<'_>, treatment: Treatment<'_>) -> Rendition {
    let (signers, domains) = match treatment.signing {
        Signing::With(all) => {
            let signers = dkim::signers_for(raw, all);
            let domains =
                signers.iter().map(|signer| signer.domain().as_str().to_owned()).collect();
            (signers, domains)
        }
        Signing::As(fields) => (Vec::new(), dkim::domains_of(fields)),
    };
    let (mut changes, report, replaced) = match treatment.tracking {
        None if domains.is_empty() => (Changes::new(), TouchReport::default(), Vec::new()),
        tracking => {
            let incoming = dkim::incoming(raw, &domains);
            let (changes, report) = match tracking {
                Some(tracking) => tracking::touch(raw, tracking, incoming.is_vouched_for),
                None => (Changes::new(), TouchReport::default()),
            };
            (changes, report, incoming.replaced)
        }
    };
    let cuts = removed(raw).into_iter().chain(replaced);
    changes.extend(cuts.map(|cut| (cut, Vec::new())));
    changes.sort_by_key(|(span, _)| span.start);
    let segments = segments(raw, trace, changes);
    let signatures = match treatment.signing {
        Signing::As(fields) => fields.clone(),
        Signing::With(_) if signers.is_empty() => Bytes::new(),
        Signing::With(_) => dkim::sign(&segments.concat(), &signers, trace.accepted_at).into(),
    };
    let (place, _) = received_place(raw);
    let outgoing = Outgoing::new(with_signatures(segments, place, signatures.clone()));
    Rendition { outgoing, signatures, report }
}

/// The message with its changes, which are ascending and disjoint, and the `Received` field.
fn segments(raw: &Bytes, trace: &Trace<'_>, changes: Changes) -> Vec<Bytes> {
    let (place, separator) = received_place(raw);
    let mut segments = Vec::with_capacity(4 + 2 * changes.len());
    keep(&mut segments, raw, 0..place);
    segments.push(Bytes::from(received::field(trace)));
    segments.extend(separator);
    let mut kept_from = place;
    // No field stands before the place, so all changes are behind it.
    for (span, with) in changes {
        keep(&mut segments, raw, kept_from..span.start);
        if !with.is_empty() {
            segments.push(Bytes::from(with));
        }
        kept_from = span.end;
    }
    keep(&mut segments, raw, kept_from..raw.len());
    segments
}

/// Signatures stand where `Received` does, above it: what is in front of the place is its first segment.
fn with_signatures(mut segments: Vec<Bytes>, place: usize, signatures: Bytes) -> Vec<Bytes> {
    if !signatures.is_empty() {
        segments.insert(usize::from(place > 0), signatures);
    }
    segments
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
