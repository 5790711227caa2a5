//! What comes back by mail: bounces, receipts, complaints and automatic answers, recognised and read;
//! and the delivery reports that Waybill writes itself.
//!
//! Takes the bytes of a message that came to the return path and gives a `Report`, or `None` for a
//! message that a person wrote. Pure: the same bytes give the same report for ever. It trusts nothing
//! that it reads: a report is a claim with clues, and whether a message of ours is meant by it is
//! for the archive to say. What a call costs grows with the length of the message alone: there are
//! limits on parts, text, recipients and clues, and on what is searched for all recipients together.
//!
//! Reports that follow a specification (RFC 3464, RFC 6533, RFC 8098, RFC 5965) are read from their
//! machine part; the others by what their words say. Why it is ours: mail-parser stops at MIME, and
//! mail-auth reads feedback reports only, with the whole message parsed before.

mod address;
mod auto_reply;
mod block;
mod complaint;
mod delivery;
mod disposition;
mod finding;
mod header;
mod notice;
mod original;
mod phrases;
mod prose;
mod refusals;
mod sentences;
mod signed;
#[cfg(test)]
mod tests;
mod told;
mod verdict;
mod wording;
mod write;

pub use finding::{
    Action, AutoReply, AutoReplyKind, Class, Clues, Complaint, ComplaintKind, Disposition,
    DispositionKind, Finding, PerRecipient, Report, Trouble,
};
pub use write::{Dsn, DsnRecipient, write_dsn};

use crate::mime;
use crate::model::{Mailbox, ReversePath};
use header::Header;

/// Parts that are looked at; a report has three.
const MAX_PARTS: usize = 64;
/// Of the text for people, and of each machine part, what is read.
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Recipients of one report.
const MAX_RECIPIENTS: usize = 1000;

/// Reads what came to the return path; `None` when no machine wrote it, as far as can be seen.
pub fn read(raw: &[u8]) -> Option<Report> {
    let raw = beginning(raw);
    read_header(raw, &Header::read(raw))
}

/// The same, when the envelope is known: a null reverse-path says that a machine wrote it, and the
/// forward-path is where a VERP address stands even when no field repeats it.
pub fn read_envelope(raw: &[u8], reverse: &ReversePath, forward: &Mailbox) -> Option<Report> {
    let raw = beginning(raw);
    let mut header = Header::read(raw);
    header.has_null_return_path |= *reverse == ReversePath::Null;
    header.to.insert(0, forward.clone());
    read_header(raw, &header)
}

/// Without the empty lines that some programs leave before the header.
fn beginning(raw: &[u8]) -> &[u8] {
    raw.trim_ascii_start()
}

fn read_header(raw: &[u8], header: &Header) -> Option<Report> {
    let parts = mime::leaves(raw, MAX_PARTS);
    if let Some(inside) = signed::inside(&parts) {
        return read_parts(header, &mime::leaves(&inside, MAX_PARTS));
    }
    wrapped(header, &parts).or_else(|| read_parts(header, &parts))
}

/// The report that a mail system passes on in one of its own, which has no machine part.
fn wrapped(header: &Header, parts: &[mime::Leaf<'_>]) -> Option<Report> {
    let is_plain = !parts.iter().any(|part| part.content_type.ends_with("delivery-status"));
    let attached = |part: &&mime::Leaf<'_>| part.content_type == "message/rfc822";
    let part = parts.iter().find(attached).filter(|_| is_plain && header.is_from_a_daemon())?;
    let inside = part.decoded();
    let inside = inside.trim_ascii_start();
    let mut inner = Header::read(inside);
    inner.to.splice(0..0, header.to.iter().cloned());
    let report = read_parts(&inner, &mime::leaves(inside, MAX_PARTS))?;
    let names = matches!(&report.finding, Finding::Delivery(all) if all.iter().any(|one| one.address.is_some()));
    (inner.is_from_a_daemon() && names).then_some(report)
}

fn read_parts(header: &Header, parts: &[mime::Leaf<'_>]) -> Option<Report> {
    let text = prose::notification(parts);
    let (notice, quoted) = prose::split(&text);
    let clues = original::clues(header, parts, quoted);
    let finding = finding_of(header, parts, notice, &clues)?;
    Some(Report { finding, clues, text: notice.trim().to_owned() })
}

/// The machine parts speak first, then the sender's words.
fn finding_of(
    header: &Header,
    parts: &[mime::Leaf<'_>],
    notice: &str,
    clues: &Clues,
) -> Option<Finding> {
    if let Some(recipients) = delivery::read(header, parts, notice, clues) {
        return Some(Finding::Delivery(recipients));
    }
    if let Some(disposition) = disposition::read(header, parts, notice) {
        return Some(Finding::Disposition(disposition));
    }
    if let Some(complaint) = complaint::read(header, parts, notice, clues) {
        return Some(Finding::Feedback(complaint));
    }
    if let Some(recipients) = prose::read(header, notice, clues) {
        return Some(Finding::Delivery(recipients));
    }
    if header.is_from_a_daemon() {
        return Some(Finding::Unknown);
    }
    auto_reply::read(header, notice).map(Finding::AutoReply)
}
