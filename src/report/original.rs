//! What a report tells about the message that it is about: from the original that it carries, whole or
//! in part, attached or quoted.

use crate::mime::{self, Leaf};
use crate::model::Mailbox;

use super::address;
use super::block;
use super::finding::Clues;
use super::header::{self, Header};

/// Of each list of clues.
const MAX_CLUES: usize = 50;
/// Fields that say where the original was delivered to.
const DELIVERED: [&str; 6] =
    ["to", "cc", "delivered-to", "x-original-to", "x-hmxmroriginalrecipient", "x-rcpt-to"];

/// Gathers them. `quoted`: what follows the notice in the text.
pub(super) fn clues(header: &Header, parts: &[Leaf<'_>], quoted: &str) -> Clues {
    let mut clues = Clues { referenced: header.references.clone(), ..Clues::default() };
    for to in &header.to {
        push(&mut clues.return_paths, to.clone());
    }
    for part in parts {
        match part.content_type.as_str() {
            "message/rfc822"
            | "message/global"
            | "text/rfc822-headers"
            | "text/rfc822-header"
            | "message/rfc822-headers"
            | "message/global-headers"
            | "text/rfc822"
            | "message/partial"
            | "message/news" => {
                let bytes = part.decoded();
                read_fields(bytes.trim_ascii_start(), &mut clues);
            }
            kind if is_machine(kind) => read_machine_part(&part.decoded(), &mut clues),
            _ => {}
        }
    }
    read_lines(quoted, &mut clues);
    clues
}

fn is_machine(kind: &str) -> bool {
    kind.ends_with("delivery-status")
        || kind.ends_with("disposition-notification")
        || kind.ends_with("feedback-report")
}

fn push<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if list.len() < MAX_CLUES && !list.contains(&value) {
        list.push(value);
    }
}

fn push_ids(list: &mut Vec<String>, text: &str) {
    let before = list.len();
    header::add_ids(list, text);
    let bare = text.trim();
    if list.len() == before && !text.contains('<') && bare.contains('@') && !bare.contains(' ') {
        push(list, bare.to_owned());
    }
}

fn read_fields(raw: &[u8], clues: &mut Clues) {
    for field in mime::fields(raw) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        read_one(&name, &field.text(), clues);
    }
}

fn read_one(name: &str, value: &str, clues: &mut Clues) {
    match name {
        "message-id" | "x-original-message-id" => push_ids(&mut clues.message_ids, value),
        "return-path" => add_addresses(&mut clues.return_paths, value),
        "x-waybill-id" if clues.waybill_id.is_none() => {
            clues.waybill_id = Some(value.trim().chars().take(64).collect());
        }
        name if DELIVERED.contains(&name) => add_addresses(&mut clues.recipients, value),
        _ => {}
    }
}

fn add_addresses(list: &mut Vec<Mailbox>, value: &str) {
    for (_, mailbox) in address::in_line(value) {
        push(list, mailbox);
    }
}

fn read_machine_part(body: &[u8], clues: &mut Clues) {
    for block in block::blocks(body) {
        if let Some(id) = block.get("original-envelope-id") {
            clues.envelope_id.get_or_insert_with(|| id.chars().take(100).collect());
        }
        for name in ["original-message-id", "x-original-message-id", "message-id"] {
            if let Some(id) = block.get(name) {
                push_ids(&mut clues.message_ids, id);
            }
        }
        for name in ["original-mail-from", "x-postfix-sender"] {
            if let Some(path) = block.get(name) {
                add_addresses(&mut clues.return_paths, path);
            }
        }
    }
}

/// Header lines that are quoted somewhere in a text.
fn read_lines(text: &str, clues: &mut Clues) {
    for line in unfolded(text) {
        let Some((name, value)) = line.split_once(':') else { continue };
        read_one(&name.trim().to_ascii_lowercase(), value, clues);
    }
}

/// Lines without quote marks, each with the lines that continue it.
fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start_matches(['>', '|', ' ', '\t']);
        let is_field = bare.split_once(':').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        match lines.last_mut() {
            Some(last) if !is_field && line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(bare);
            }
            _ => lines.push(bare.to_owned()),
        }
    }
    lines
}
