//! `Content-Disposition` for downloads (RFC 6266, RFC 8187): always `attachment`.
//!
//! The name comes from a stranger's message. It becomes the name of a file on somebody's machine, so
//! folders, control and direction characters are taken out of it and it is cut; it becomes a header
//! field, so what is not plain goes into `filename*` in percent-encoding, beside a plain `filename`
//! for old clients.

use axum::http::HeaderValue;

/// Longest name, in characters; also cut so that no file system refuses it.
const MAX_NAME_CHARS: usize = 150;
const MAX_NAME_BYTES: usize = 200;

/// The field's value; `fallback` is plain ASCII and stands for a name that is none.
pub(super) fn attachment(name: Option<&str>, fallback: &str) -> HeaderValue {
    let name = name.map(clean).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| fallback.to_owned());
    let plain = plain(&name);
    let field = match plain == name {
        true => format!("attachment; filename=\"{plain}\""),
        false => format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", encoded(&name)),
    };
    // Both halves are visible ASCII, so this is always a header value.
    HeaderValue::from_str(&field).unwrap_or(HeaderValue::from_static("attachment"))
}

/// The last part of the path, without what could disguise it or hide it.
fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible = last.chars().filter(|c| !c.is_control() && !is_invisible(*c));
    let mut kept: String = visible.take(MAX_NAME_CHARS).collect();
    kept.truncate(kept.floor_char_boundary(MAX_NAME_BYTES));
    // A leading dot hides a file, a trailing dot or space is dropped by some systems.
    let dot_or_space = |c: char| c == '.' || c.is_whitespace();
    kept.trim_matches(dot_or_space).to_owned()
}

/// Direction marks and overrides (`invoice\u{202e}fdp.exe`), zero-width characters, separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// In quotes: ASCII without quotes, backslashes and percent signs, which browsers read differently
/// (RFC 6266 appendix D).
fn plain(name: &str) -> String {
    let plain = |c: char| (' '..='~').contains(&c) && !matches!(c, '"' | '\\' | '%');
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

/// RFC 8187 §3.2.1: everything but `attr-char` in percent-encoding.
fn encoded(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b);
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_become_harmless() {
        let check = |name: &str, expected: &str| {
            let value = attachment(Some(name), "attachment-0");
            assert_eq!(value.to_str().unwrap(), expected, "{name:?}");
        };
        check("", "attachment; filename=\"attachment-0\"");
        check("..", "attachment; filename=\"attachment-0\"");
        check("../../etc/passwd", "attachment; filename=\"passwd\"");
        check("C:\\temp\\a.pdf", "attachment; filename=\"a.pdf\"");
        check("/", "attachment; filename=\"attachment-0\"");
        check(".bashrc", "attachment; filename=\"bashrc\"");
        check("a\r\nX-Evil: 1.pdf", "attachment; filename=\"aX-Evil: 1.pdf\"");
        check("invoice\u{202e}fdp.exe", "attachment; filename=\"invoicefdp.exe\"");
        check("a\"b.pdf", "attachment; filename=\"a_b.pdf\"; filename*=UTF-8''a%22b.pdf");
        check("100%.pdf", "attachment; filename=\"100_.pdf\"; filename*=UTF-8''100%25.pdf");
        check("år.pdf", "attachment; filename=\"_r.pdf\"; filename*=UTF-8''%C3%A5r.pdf");
        check("INV-12345.pdf", "attachment; filename=\"INV-12345.pdf\"");
        assert_eq!(attachment(None, "m.eml"), "attachment; filename=\"m.eml\"");
    }

    #[test]
    fn long_names_are_cut() {
        assert!(attachment(Some(&"x".repeat(10_000)), "f").len() < 200);
        assert!(attachment(Some(&"日".repeat(10_000)), "f").len() < 1_000);
    }

    proptest! {
        #[test]
        fn any_name_gives_one_quoted_name(name in "\\PC*|[\\x00-\\x7f]*") {
            let value = attachment(Some(&name), "f");
            let text = value.to_str().unwrap();
            prop_assert!(text.starts_with("attachment; filename=\""));
            prop_assert_eq!(text.matches('"').count(), 2, "{}", text);
            prop_assert!(!text.contains(['/', '\\', '\r', '\n']));
        }
    }
}
