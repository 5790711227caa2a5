//! Names of attachments, made safe to show and to save.
//!
//! A name from a stranger keeps its letters and loses what could harm: directories, control and
//! direction characters, characters that file systems reserve, and everything after 150 characters,
//! where the extension is kept.

use super::value::is_direction;

/// Longest name, in characters.
const MAX_CHARS: usize = 150;
/// Longest extension that survives shortening, with its dot.
const MAX_EXTENSION_CHARS: usize = 16;

/// The cleaned name; `None` when nothing is left.
pub(crate) fn clean(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).find(|piece| !piece.trim().is_empty())?;
    let kept: String = last
        .chars()
        .filter(|c| !is_direction(*c) && !is_invisible(*c))
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        .map(|c| if "<>:\"|?*".contains(c) { '_' } else { c })
        .collect();
    let kept = kept.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    // A leading dot hides a file, a trailing one is lost on Windows.
    let kept = kept.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']);
    (!kept.is_empty()).then(|| shorten(kept))
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= MAX_CHARS {
        return name.to_owned();
    }
    let extension = match name.rfind('.') {
        Some(dot) if name[dot..].chars().count() <= MAX_EXTENSION_CHARS => &name[dot..],
        Some(_) | None => "",
    };
    let stem = MAX_CHARS - extension.chars().count();
    name.chars().take(stem).chain(extension.chars()).collect()
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}' | '\u{feff}' | '\u{fffd}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_could_harm() {
        let check =
            |name: &str, expected: Option<&str>| assert_eq!(clean(name).as_deref(), expected);
        for nothing in ["", " ", "/", "..", "../..", ".", "\u{202e}", "\r\n", "\\\\", "/\0/"] {
            assert_eq!(clean(nothing), None, "{nothing:?}");
        }
        check("../../etc/passwd", Some("passwd"));
        check("C:\\Users\\kim\\invoice.pdf", Some("invoice.pdf"));
        check("invoice\r\nBcc: x.pdf", Some("invoice Bcc_ x.pdf"));
        check("invoice\u{202e}fdp.exe", Some("invoicefdp.exe"));
        check(".htaccess", Some("htaccess"));
        check("a\0b.txt", Some("a b.txt"));
        check("report  2026 .", Some("report 2026"));
        check("bl\u{e5}b\u{e6}r.pdf", Some("bl\u{e5}b\u{e6}r.pdf"));
        check("dir/", Some("dir"));
    }

    #[test]
    fn long_names_keep_their_extension() {
        let cleaned = clean(&format!("{}.pdf", "\u{e5}".repeat(400))).unwrap();
        assert_eq!(cleaned.chars().count(), 150);
        assert!(cleaned.ends_with("\u{e5}.pdf"));
        assert_eq!(clean(&"x".repeat(400)).unwrap().len(), 150);
    }
}
