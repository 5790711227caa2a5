//! Complaints from mailbox providers (RFC 5965; RFC 6591 for failed authentication), and those of
//! Hotmail, which have no machine part. A reader's program that leaves a list in the reader's name counts as well.

use std::collections::HashSet;

use crate::mime::Leaf;
use crate::model::Mailbox;

use super::address;
use super::block::{self, Block};
use super::finding::{Class, Clues, Complaint, ComplaintKind};
use super::header::Header;
use super::notice::key;
use super::{MAX_RECIPIENTS, wording};

/// Names under which a report says who complained, the most exact first.
const RECIPIENT_FIELDS: [&str; 4] =
    ["original-rcpt-to", "removal-recipient", "original-recipient", "final-recipient"];

/// The complaint, if the message is one.
pub(super) fn read(
    header: &Header,
    parts: &[Leaf<'_>],
    notice: &str,
    clues: &Clues,
) -> Option<Complaint> {
    let is_named = |part: &&Leaf<'_>| part.content_type == "message/feedback-report";
    // Some forget to label the part.
    let is_like_one = |part: &&Leaf<'_>| {
        header.content_type.contains("feedback-report")
            && block::blocks(part.encoded).iter().any(|b| b.get("feedback-type").is_some())
    };
    let part = parts.iter().find(is_named).or_else(|| parts.iter().find(is_like_one));
    let kind = match part {
        Some(part) => {
            let blocks = block::blocks(&part.decoded());
            let block = blocks.into_iter().find(|b| b.get("feedback-type").is_some());
            let block = block.unwrap_or_default();
            let kind = block.get("feedback-type").map_or(ComplaintKind::Abuse, kind_of);
            let recipients = told(&block);
            if !recipients.is_empty() {
                return Some(Complaint { kind, class: class_of(kind), recipients });
            }
            kind
        }
        None if !header.complained.is_empty() => {
            let (kind, recipients) = (ComplaintKind::Abuse, header.complained.clone());
            return Some(Complaint { kind, class: class_of(kind), recipients });
        }
        None if header.is_unsubscribing => {
            let (kind, recipients) = (ComplaintKind::OptOut, header.from.iter().cloned().collect());
            return Some(Complaint { kind, class: class_of(kind), recipients });
        }
        None if is_of_hotmail(header, notice) => ComplaintKind::Abuse,
        None => return None,
    };
    let recipients = clues.recipients.iter().filter(|one| !is_redacted(one)).cloned().collect();
    Some(Complaint { kind, class: class_of(kind), recipients })
}

fn told(block: &Block) -> Vec<Mailbox> {
    let values = RECIPIENT_FIELDS.iter().flat_map(|name| block.all(name));
    let mailboxes = values.take(MAX_RECIPIENTS).filter_map(|value| address::of_field(value));
    let mut seen = HashSet::new();
    mailboxes.filter(|one| !is_redacted(one) && seen.insert(key(one))).collect()
}

/// A provider that keeps its users secret writes something that only looks like an address.
fn is_redacted(mailbox: &Mailbox) -> bool {
    let (local, domain) =
        (mailbox.local().to_lowercase(), mailbox.domain().as_str().to_lowercase());
    let is_crossed_out = local.len() >= 3 && local.bytes().all(|b| b == b'*' || b == b'x');
    is_crossed_out
        || ["redacted", "undisclosed", "hidden"].iter().any(|word| local.contains(word))
        || domain.contains("redacted")
}

fn kind_of(text: &str) -> ComplaintKind {
    match text.trim().to_ascii_lowercase().as_str() {
        "abuse" | "complaint" | "spam" => ComplaintKind::Abuse,
        "fraud" | "phishing" => ComplaintKind::Fraud,
        "virus" => ComplaintKind::Virus,
        "not-spam" | "nospam" | "not_spam" => ComplaintKind::NotSpam,
        "opt-out" | "opt-out-list" | "unsubscribe" => ComplaintKind::OptOut,
        "auth-failure" | "dmarc" | "dkim" => ComplaintKind::AuthFailure,
        _ => ComplaintKind::Other,
    }
}

fn class_of(kind: ComplaintKind) -> Class {
    match kind {
        ComplaintKind::Abuse
        | ComplaintKind::Fraud
        | ComplaintKind::Virus
        | ComplaintKind::OptOut
        | ComplaintKind::Other => Class::Complaint,
        ComplaintKind::NotSpam | ComplaintKind::AuthFailure => Class::Unknown,
    }
}

fn is_of_hotmail(header: &Header, notice: &str) -> bool {
    let subject = wording::folded(&header.subject);
    let is_staff = header.from.as_ref().is_some_and(|from| {
        from.local().eq_ignore_ascii_case("staff") && from.domain().as_str().contains("hotmail")
    });
    subject.starts_with("complaint about message from")
        || (is_staff && wording::says(&wording::folded(notice), &["complaint", "junk"]))
}
