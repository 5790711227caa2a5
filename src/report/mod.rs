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
mod signed;
#[cfg(test)]
mod tests;
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
    read_header(raw, &Header::read(raw))
}

/// The same, when the envelope is known: a null reverse-path says that a machine wrote it, and the
/// forward-path is where a VERP address stands even when no field repeats it.
pub fn read_envelope(raw: &[u8], reverse: &ReversePath, forward: &Mailbox) -> Option<Report> {
    let mut header = Header::read(raw);
    header.has_null_return_path |= *reverse == ReversePath::Null;
    header.to.insert(0, forward.clone());
    read_header(raw, &header)
}

fn read_header(raw: &[u8], header: &Header) -> Option<Report> {
    let parts = mime::leaves(raw, MAX_PARTS);
    if let Some(inside) = signed::inside(&parts) {
        return read_parts(header, &mime::leaves(&inside, MAX_PARTS));
    }
    read_parts(header, &parts)
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
    if let Some(reply) = auto_reply::read(header, notice) {
        return Some(Finding::AutoReply(reply));
    }
    header.is_from_a_daemon().then_some(Finding::Unknown)
}
