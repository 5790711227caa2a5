//! Groups of fields with an empty line between them, as the machine parts of reports hold them
//! (RFC 3464 §2.1.1).

use std::collections::HashMap;

use crate::mime;

/// Groups that are read from one part.
const MAX_GROUPS: usize = 4000;
/// Longest value that is kept, in bytes.
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// The fields of one group, by their names in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Block(HashMap<String, Vec<String>>);

impl Block {
    /// What stands in a field, the first if there are several; the name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What stands in all fields of a name.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether any of the fields is there.
    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.contains_key(*name))
    }

    /// The field's value without the type before it: `dns; mx.example.com`.
    pub(super) fn untyped(&self, name: &str) -> Option<&str> {
        let value = self.get(name)?;
        let (kind, rest) = value.split_once(';').unwrap_or(("", value));
        let is_type = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        Some(if is_type { rest.trim() } else { value })
    }
}

/// The groups of a part.
pub(super) fn blocks(body: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut rest = body;
    while !rest.is_empty() && found.len() < MAX_GROUPS {
        let mut block = Block::default();
        let mut fields = mime::fields(rest);
        for field in fields.by_ref() {
            let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
            let value = field.unfolded();
            let value = &value[..value.len().min(MAX_VALUE_BYTES)];
            let value = printable(&String::from_utf8_lossy(value));
            block.0.entry(name).or_default().push(value);
        }
        // At a limit of the scan the rest is not read as another group.
        let stop = fields.overflow() || fields.position() == 0;
        rest = &rest[fields.position().min(rest.len())..];
        if !block.0.is_empty() {
            found.push(block);
        }
        if stop {
            break;
        }
    }
    found
}

/// White space folded, no control characters.
pub(super) fn printable(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_at_empty_lines() {
        let read = blocks(
            b"\r\n\r\nA: 1\r\n\r\n\r\nB: dns; x\r\n y\r\nb: 2\nC: not a type; x\n\nno field\n",
        );
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].get("a"), Some("1"));
        assert_eq!(read[1].get("b"), Some("dns; x y"));
        assert_eq!(read[1].all("b"), ["dns; x y", "2"]);
        assert_eq!(read[1].untyped("b"), Some("x y"));
        assert_eq!(read[1].untyped("c"), Some("not a type; x"));
        assert!(blocks(b"").is_empty());
    }
}
