//! Receipts of the reader's program (RFC 8098, RFC 6533 §5), and the plain ones of old groupware.

use crate::mime::Leaf;

use super::address;
use super::block::{self, Block};
use super::finding::{Class, Disposition, DispositionKind};
use super::header::Header;
use super::wording;

/// Subjects of receipts that have no machine part.
const READ_SUBJECTS: [&str; 14] = [
    "read:",
    "read receipt",
    "return receipt",
    "gelesen:",
    "lesebest\u{e4}tigung",
    "lu :",
    "lu:",
    "l\u{e6}st:",
    "kvittering for",
    "l\u{e4}st:",
    "le\u{ed}do:",
    "letto:",
    "gelezen:",
    "lida:",
];
const UNREAD_SUBJECTS: [&str; 5] =
    ["not read:", "ungelesen", "non lu", "ikke l\u{e6}st:", "no le\u{ed}do:"];
/// What their text says.
const READ_WORDS: &[&str] = &[
    "was read on",
    "was read by",
    "was displayed",
    "has been read",
    "was seen by",
    "was opened by",
    "confirms that",
    "wurde am",
    "wurde gelesen",
    "gelesen",
    "a \u{e9}t\u{e9} lu",
    "blev l\u{e6}st",
    "er l\u{e6}st",
    "return receipt",
    "read receipt",
    "has been displayed",
    "has been opened",
    "ha sido le\u{ed}do",
    "is gelezen",
];
const DELETED_WORDS: &[&str] = &[
    "deleted without being read",
    "ungelesen gel\u{f6}scht",
    "supprim\u{e9} sans",
    "slettet uden",
];

/// The receipt, if the message is one.
pub(super) fn read(header: &Header, parts: &[Leaf<'_>], notice: &str) -> Option<Disposition> {
    let part = parts.iter().find(|part| part.content_type.ends_with("disposition-notification"));
    match part {
        Some(part) => of_part(&part.decoded(), header),
        None => of_words(header, notice),
    }
}

fn of_part(body: &[u8], header: &Header) -> Option<Disposition> {
    let blocks = block::blocks(body);
    let block = blocks.iter().find(|block| block.get("disposition").is_some());
    let block = block.or(blocks.first())?;
    let (modes, kind) = match block.get("disposition") {
        Some(text) => text.split_once(';').unwrap_or(("", text)),
        None => ("", ""),
    };
    let modes = modes.to_ascii_lowercase();
    let kind = kind_of(kind).unwrap_or(DispositionKind::Processed);
    Some(Disposition {
        kind,
        class: class_of(kind),
        sent_by_person: if modes.contains("mdn-sent-manually") {
            Some(true)
        } else if modes.contains("mdn-sent-automatically") {
            Some(false)
        } else {
            None
        },
        is_manual: modes.contains("manual-action"),
        recipient: field(block, "final-recipient").or_else(|| header.from.clone()),
        original: field(block, "original-recipient"),
    })
}

fn field(block: &Block, name: &str) -> Option<crate::model::Mailbox> {
    block.get(name).and_then(address::of_field)
}

/// `displayed/error`: what stands after the slash modifies it.
fn kind_of(text: &str) -> Option<DispositionKind> {
    let word = text.trim().split(|c: char| !c.is_ascii_alphabetic()).next()?.to_ascii_lowercase();
    match word.as_str() {
        "displayed" | "read" => Some(DispositionKind::Displayed),
        "deleted" => Some(DispositionKind::Deleted),
        "denied" => Some(DispositionKind::Denied),
        "failed" | "error" => Some(DispositionKind::Failed),
        "dispatched" => Some(DispositionKind::Dispatched),
        "processed" => Some(DispositionKind::Processed),
        _ => None,
    }
}

fn class_of(kind: DispositionKind) -> Class {
    match kind {
        DispositionKind::Displayed => Class::Displayed,
        // It arrived, which is all that can be said.
        DispositionKind::Deleted | DispositionKind::Dispatched | DispositionKind::Processed => {
            Class::Delivered
        }
        DispositionKind::Denied | DispositionKind::Failed => Class::Unknown,
    }
}

fn of_words(header: &Header, notice: &str) -> Option<Disposition> {
    let subject = wording::folded(&header.subject);
    let text = wording::folded(notice);
    let begins = |list: &[&str]| list.iter().any(|start| subject.starts_with(start));
    let is_deleted = wording::says(&text, DELETED_WORDS);
    let is_receipt = begins(&READ_SUBJECTS) || begins(&UNREAD_SUBJECTS);
    let kind = if is_receipt && is_deleted {
        DispositionKind::Deleted
    } else if begins(&READ_SUBJECTS) && wording::says(&text, READ_WORDS) {
        DispositionKind::Displayed
    } else {
        return None;
    };
    let recipient = header.from.clone();
    let class = class_of(kind);
    Some(Disposition {
        kind,
        class,
        sent_by_person: None,
        is_manual: false,
        recipient,
        original: None,
    })
}
