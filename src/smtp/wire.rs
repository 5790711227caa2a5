//! Replies as bytes for the client (RFC 5321 §4.2, RFC 2034).
//!
//! Takes a `Reply`, gives lines that end in CRLF and never exceed 512 octets (RFC 5321 §4.5.3.1.5).
//! Only printable ASCII leaves here, whatever the text holds: a client that did not ask for
//! SMTPUTF8 must not get anything else, and no text can forge a second reply.

use crate::model::{EnhancedCode, Reply};

/// Longest text of one reply line; with code, enhanced code and CRLF it stays below 512 octets.
const MAX_LINE_TEXT_BYTES: usize = 480;

/// A reply of our own; the text is a constant or was made safe by `Reply::new`.
pub(super) fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
    Reply::new(code, Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2)), text)
}

/// Appends the reply to what goes to the client.
pub(super) fn write(reply: &Reply, out: &mut Vec<u8>) {
    let enhanced = reply.enhanced.map(|code| format!("{code} ")).unwrap_or_default();
    let text: String = reply.text().chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    let lines: Vec<&str> = text.split('\n').flat_map(cut).collect();
    for (index, line) in lines.iter().enumerate() {
        let separator = if index + 1 == lines.len() { ' ' } else { '-' };
        let line = format!("{}{separator}{enhanced}{line}", reply.code);
        out.extend_from_slice(line.trim_end().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Pieces of one line of text that fit; the text is ASCII by now, so any index may be cut at.
fn cut(line: &str) -> Vec<&str> {
    if line.is_empty() {
        return vec![line];
    }
    let piece = |start: usize| &line[start..line.len().min(start + MAX_LINE_TEXT_BYTES)];
    (0..line.len()).step_by(MAX_LINE_TEXT_BYTES).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &Reply, expected: &str) {
        let mut out = Vec::new();
        write(reply, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn replies_are_written_line_by_line() {
        check(&reply(250, (2, 0, 0), "Ok"), "250 2.0.0 Ok\r\n");
        check(&Reply::new(250, None, "a\nb"), "250-a\r\n250 b\r\n");
        check(&reply(214, (2, 0, 0), "a\nb"), "214-2.0.0 a\r\n214 2.0.0 b\r\n");
        check(&Reply::new(250, None, ""), "250\r\n");
    }

    #[test]
    fn nothing_but_short_lines_of_ascii_leaves() {
        check(&reply(550, (5, 7, 1), "nø\r\t"), "550 5.7.1 n?\r\n");
        let mut out = Vec::new();
        write(&reply(550, (5, 7, 1), &"x".repeat(990)), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(text.split_inclusive("\r\n").all(|line| line.len() <= 512));
    }
}
