//! Reading mail (RFC 5322, RFC 2045 to 2049) with byte spans: fields, text, attachments, safe
//! previews.
//!
//! Takes the bytes of a message and gives values; it keeps nothing. Reading never decides whether a
//! message is accepted: any bytes give a `Reading`, what is wrong with them is a list of sentences.
//! Every call is linear in the length of the message, has limits on depth, parts, fields and
//! decoded bytes, and never recurses on what it reads. mail-parser reads the fields and decodes the
//! bodies; should it panic, the message counts as not parsed.
//! Changing a message is not here but in `rewrite`.

mod attachment;
mod body;
mod field;
mod filename;
mod glance;
mod hops;
mod leaf;
mod part;
mod preview;
mod structure;
mod value;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use attachment::{AttachmentContent, AttachmentInfo, AttachmentPlace, AttachmentSource};
pub use field::{Field, Fields, MAX_FIELDS, MAX_HEADER_BYTES, all_fields, fields};
pub use hops::{AGENT, Hops, hops};
pub use leaf::{Leaf, leaves};

use crate::model::Named;
use part::{Defects, Kind, Part};
use structure::Structure;

/// Encoded bodies of this size and more are worth storing once.
const SHARED_BYTES: usize = 16 * 1024;
/// Addresses that are read from all fields of one kind.
const MAX_ADDRESSES: usize = 2000;

/// What reading a message found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub subject: Option<String>,
    /// The first address of the From field.
    pub author: Option<Named>,
    pub to: Vec<Named>,
    pub cc: Vec<Named>,
    pub bcc: Vec<Named>,
    /// Without the angle brackets.
    pub message_id: Option<String>,
    /// The first 200 characters of the text, white space folded; from HTML when there is no text.
    pub preview: String,
    pub attachments: Vec<AttachmentInfo>,
    /// What is wrong with the message, one sentence each.
    pub defects: Vec<String>,
    /// Some byte is 128 or above.
    pub eight_bit: bool,
    pub received_fields: usize,
    /// Where the encoded bodies of 16 KiB and more stand, ascending and disjoint.
    pub shared: Vec<Range<usize>>,
}

/// Reads a message; any bytes will do.
pub fn read(raw: &[u8]) -> Reading {
    let mut reading = guarded(|| read_all(raw)).unwrap_or_else(|| Reading {
        defects: vec![String::from("not parsed: the message confused the reader")],
        ..Reading::default()
    });
    reading.eight_bit = !raw.is_ascii();
    reading
}

/// The text of the message, decoded; `None` when it has none. Cut at 16 MiB.
pub fn text(raw: &[u8]) -> Option<String> {
    guarded(|| body::joined(raw, &Structure::read(raw), Kind::Plain)).flatten()
}

/// What a search through the message should see: its text, or the text of its HTML when it has none;
/// of each part at most `max_bytes`, encoded. For previews and lists there is `Reading::preview`.
pub fn searchable(raw: &[u8], max_bytes: usize) -> String {
    guarded(|| glance::searchable(raw, &Structure::read(raw), max_bytes)).unwrap_or_default()
}

/// The HTML of the message as its author wrote it, decoded; `None` when it has none. Cut at 16 MiB.
/// It may hold anything: `preview_html` is what can be shown.
pub fn html(raw: &[u8]) -> Option<String> {
    guarded(|| body::joined(raw, &Structure::read(raw), Kind::Html)).flatten()
}

/// A complete HTML document that shows the message and does nothing: no script, no form, no
/// request to anywhere. Images that the message brings along are inside it.
pub fn preview_html(raw: &[u8]) -> String {
    guarded(|| preview::document(raw, &Structure::read(raw))).unwrap_or_else(preview::unreadable)
}

/// The same for a plain text, such as an SMS.
pub fn preview_text(text: &str) -> String {
    preview::text_document(text)
}

/// The content of attachment number `index` of `Reading::attachments`.
pub fn attachment(raw: &[u8], index: usize) -> Option<AttachmentContent> {
    guarded(|| attachment::content(raw, &Structure::read(raw), index)).flatten()
}

/// All attachments of `Reading::attachments` as they stand in the message.
pub fn attachment_sources(raw: &[u8]) -> Vec<AttachmentSource> {
    guarded(|| attachment::sources(raw, &Structure::read(raw))).unwrap_or_default()
}

/// Whether some part is signed or encrypted as a whole (RFC 1847, RFC 3156, RFC 8551), so that nobody
/// can put the message together anew without breaking it.
pub fn is_sealed(raw: &[u8]) -> bool {
    const TYPES: [&str; 4] = [
        "multipart/signed",
        "multipart/encrypted",
        "application/pkcs7-mime",
        "application/x-pkcs7-mime",
    ];
    let is_sealed = |part: &Part| TYPES.contains(&part.media.content_type.as_str());
    // What can not be read may be sealed.
    guarded(|| Structure::read(raw).parts.iter().any(is_sealed)).unwrap_or(true)
}

/// Where the body begins: after the empty line that ends the header section.
pub fn body_start(raw: &[u8]) -> usize {
    guarded(|| Structure::read(raw).parts.first().map_or(0, |root| root.body.start))
        .unwrap_or(raw.len())
}

/// Runs code that calls mail-parser or the HTML parser on a stranger's bytes. A panic in there is a
/// bug of theirs, and no reason to lose a message.
fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

/// Whether the first line is the separator of an mbox file. `From :` is not: it is an old form of the
/// field (RFC 5322 §4.5).
pub fn begins_with_mbox_line(raw: &[u8]) -> bool {
    let line = raw.strip_prefix(b">").unwrap_or(raw);
    let after = line.strip_prefix(b"From ").map(|rest| rest.iter().find(|b| !b" \t".contains(b)));
    after.is_some_and(|first| first != Some(&b':'))
}

fn read_all(raw: &[u8]) -> Reading {
    let structure = Structure::read(raw);
    let mut defects = structure.defects.clone();
    let mut reading = Reading::default();
    read_fields(raw, &mut reading, &mut defects);
    reading.preview = glance::preview(raw, &structure);
    reading.attachments = attachment::list(raw, &structure, &mut defects);
    let bodies = structure.leaves().map(|(_, part)| part.body.clone());
    reading.shared = bodies.filter(|body| body.len() >= SHARED_BYTES).collect();
    reading.defects = defects.0;
    reading
}

fn read_fields(raw: &[u8], reading: &mut Reading, defects: &mut Defects) {
    if begins_with_mbox_line(raw) {
        defects.add("the first line is the separator of an mbox file");
    }
    let mut seen = Seen::default();
    for field in fields(raw) {
        let name = field.name.to_ascii_lowercase();
        match name.as_slice() {
            b"subject" if seen.first(0) => {
                reading.subject = Some(value::printable(&field.text(), value::MAX_TEXT_CHARS));
            }
            b"from" if seen.first(1) => {
                reading.author = value::addresses(field.folded).into_iter().next();
            }
            b"message-id" if seen.first(2) => reading.message_id = value::message_id(field.folded),
            b"date" => _ = seen.first(3),
            b"to" => add_addresses(&mut reading.to, &field, defects),
            b"cc" => add_addresses(&mut reading.cc, &field, defects),
            b"bcc" => add_addresses(&mut reading.bcc, &field, defects),
            b"received" => reading.received_fields += 1,
            _ => {}
        }
    }
    seen.report(reading, defects);
}

fn add_addresses(list: &mut Vec<Named>, field: &Field<'_>, defects: &mut Defects) {
    let found = value::addresses(field.folded);
    let room = MAX_ADDRESSES.saturating_sub(list.len());
    if found.len() > room || field.folded.len() > value::MAX_ADDRESS_BYTES {
        defects.add("there are more addresses in the header than are read");
    }
    list.extend(found.into_iter().take(room));
}

/// How often the fields came that may come only once (RFC 5322 §3.6).
#[derive(Default)]
struct Seen([usize; 4]);

impl Seen {
    /// Counts one more; whether it is the first.
    fn first(&mut self, which: usize) -> bool {
        self.0[which] += 1;
        self.0[which] == 1
    }

    fn report(&self, reading: &Reading, defects: &mut Defects) {
        for (count, name) in self.0.iter().zip(["Subject", "From", "Message-ID", "Date"]) {
            if *count > 1 {
                defects.add(&format!("there is more than one {name} field"));
            }
        }
        if self.0[1] == 0 {
            defects.add("there is no From field");
        } else if reading.author.is_none() {
            defects.add("the From field holds no address");
        }
        if self.0[3] == 0 {
            defects.add("there is no Date field");
        }
    }
}
