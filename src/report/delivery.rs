//! Delivery reports with a machine part (RFC 3464, RFC 6533), and with one that lost its label.
//!
//! What is not said is worked out: a missing action from the status, a missing recipient from the
//! original when it had only one.

use std::cell::LazyCell;

use crate::mime::Leaf;
use crate::model::{EnhancedCode, Mailbox};

use super::address;
use super::block::{self, Block};
use super::finding::{Action, Clues, PerRecipient};
use super::header::Header;
use super::notice::Notice;
use super::verdict::Said;
use super::{MAX_RECIPIENTS, MAX_TEXT_BYTES, told, verdict};

const RECIPIENT_FIELDS: [&str; 3] = ["final-recipient", "original-recipient", "x-actual-recipient"];
/// What is looked at of one machine part.
const MAX_PART_BYTES: usize = 1024 * 1024;

/// The recipients of a delivery report; `None` when no part is one.
pub(super) fn read(
    header: &Header,
    parts: &[Leaf<'_>],
    notice: &str,
    clues: &Clues,
) -> Option<Vec<PerRecipient>> {
    let mut found = Vec::new();
    let lines = LazyCell::new(|| Notice::new(notice));
    for part in parts.iter().filter(|part| may_be_status(header, part)) {
        let is_named = part.content_type.ends_with("delivery-status");
        let body = part.decoded();
        let body = &body[..body.len().min(MAX_PART_BYTES)];
        let blocks = block::blocks(body);
        let is_status = |block: &&Block| {
            block.has_any(&RECIPIENT_FIELDS) && (is_named || block.has_any(&["action", "status"]))
        };
        // Some say once for all what happened, in the group of fields of the message.
        let common = blocks.iter().filter(|block| !is_status(block)).find_map(|b| b.get("action"));
        let those = blocks.iter().filter(is_status).take(MAX_RECIPIENTS);
        found.extend(those.map(|block| recipient(block, common, &lines)));
        if found.is_empty() && is_named {
            found.extend(without_recipient(&blocks, &lines));
        }
        if !found.is_empty() {
            break;
        }
    }
    if found.iter().any(|one| one.address.is_none()) {
        complete(&mut found, header, notice, clues);
    }
    (!found.is_empty()).then_some(found)
}

/// Labelled as a status, or what looks like one and comes from a mail system: a person may quote one.
fn may_be_status(header: &Header, part: &Leaf<'_>) -> bool {
    let kind = part.content_type.as_str();
    if kind.ends_with("delivery-status") {
        return true;
    }
    if !header.is_from_a_daemon() && !header.has_null_return_path {
        return false;
    }
    let head = &part.encoded[..part.encoded.len().min(MAX_TEXT_BYTES)];
    (kind == "text/plain" || kind == "application/octet-stream" || kind.starts_with("multipart/"))
        && contains_line(head, b"final-recipient:")
}

fn contains_line(body: &[u8], name: &[u8]) -> bool {
    let begins =
        |line: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    body.split(|b| *b == b'\n').any(begins)
}

fn recipient(block: &Block, common: Option<&str>, notice: &Notice<'_>) -> PerRecipient {
    let original = block.get("original-recipient").and_then(address::of_field);
    let last = block.get("final-recipient").and_then(address::of_field);
    let actual = block.get("x-actual-recipient").and_then(address::of_field);
    let status = block.get("status").and_then(leading_status);
    let diagnostic = block.untyped("diagnostic-code").unwrap_or_default().to_owned();
    let said = block.get("action").or(common).and_then(action_of);
    let action = said.or_else(|| status.and_then(of_class));
    let action = action.unwrap_or(Action::Failed);
    let meant = last.as_ref().or(actual.as_ref()).or(original.as_ref());
    let near = meant.map(|mailbox| notice.around(mailbox)).unwrap_or_default();
    let status_text = block.get("status").unwrap_or_default();
    // What a gateway has from the other side (RFC 2156 §5.1.2).
    let further = block.get("x400-supplementary-info").unwrap_or_default();
    let said = [&diagnostic, further, status_text, &near].map(Said::of);
    let verdict = verdict::judge(action, status, &said);
    PerRecipient {
        address: last.or(actual).or_else(|| original.clone()),
        original,
        action,
        class: verdict.class,
        trouble: verdict.trouble,
        status: verdict.status,
        diagnostic,
        remote_mta: block.untyped("remote-mta").map(str::to_owned),
    }
}

/// A machine part that says what happened, but not to whom.
fn without_recipient(blocks: &[Block], notice: &Notice<'_>) -> Option<PerRecipient> {
    let block = blocks.iter().find(|block| block.has_any(&["action", "status"]))?;
    Some(recipient(block, None, notice))
}

/// `5.1.1 (unknown)`; some write `5.1.1.` or `550 5.1.1`.
fn leading_status(value: &str) -> Option<EnhancedCode> {
    let word = value.split_whitespace().next()?.trim_end_matches(['.', ',', ';', ')']);
    EnhancedCode::parse(word).or_else(|| verdict::enhanced_in(value))
}

fn of_class(status: EnhancedCode) -> Option<Action> {
    match status.0 {
        2 => Some(Action::Delivered),
        4 => Some(Action::Delayed),
        5 => Some(Action::Failed),
        _ => None,
    }
}

fn action_of(value: &str) -> Option<Action> {
    let word = value.trim().to_ascii_lowercase();
    let word = word.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_owned();
    match word.as_str() {
        "failed" | "failure" | "fail" | "expired" | "deleted" | "error" => Some(Action::Failed),
        "delayed" | "delay" | "deferred" => Some(Action::Delayed),
        "delivered" | "deliverable" | "success" => Some(Action::Delivered),
        "relayed" | "relay" => Some(Action::Relayed),
        "expanded" => Some(Action::Expanded),
        _ => None,
    }
}

/// Fills in who is meant where the machine part does not say it as an address.
fn complete(found: &mut [PerRecipient], header: &Header, notice: &str, clues: &Clues) {
    let named: Vec<Mailbox> = found.iter().filter_map(|one| one.address.clone()).collect();
    let told = told::addresses(header, notice, clues);
    let mut free = told.iter().chain(&clues.recipients).filter(|one| !named.contains(one));
    for one in found.iter_mut().filter(|one| one.address.is_none()) {
        one.address = free.next().cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_they_are_written() {
        assert_eq!(action_of("failed"), Some(Action::Failed));
        assert_eq!(action_of(" Failed (bad mailbox)"), Some(Action::Failed));
        assert_eq!(action_of("failure"), Some(Action::Failed));
        assert_eq!(action_of("RELAYED"), Some(Action::Relayed));
        assert_eq!(action_of("delayed"), Some(Action::Delayed));
        assert_eq!(action_of(""), None);
        assert_eq!(action_of("unheard-of"), None);
    }

    #[test]
    fn a_status_is_read_with_what_stands_around_it() {
        let check = |value: &str, expected: &str| {
            let found = leading_status(value).map(|code| code.to_string());
            assert_eq!(found.as_deref().unwrap_or(""), expected);
        };
        check("", "");
        check("unknown", "");
        check("5.1.1", "5.1.1");
        check("5.1.1 (bad destination mailbox address)", "5.1.1");
        check("5.7.1.", "5.7.1");
    }
}
