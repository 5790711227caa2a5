//! Links in plain text, where it is certain what is one and where it ends.
//!
//! Takes markup as `charset` gives it, gives places in it. A text says nowhere where a link ends, so its reader's
//! program guesses; a link is taken only where every guess is the same: in angle brackets (RFC 3986 appendix C), or
//! alone between white space. What might go on in the next line, or ends with a point that might be the sentence's, is
//! told as unclear.

use std::ops::Range;

/// Lines of this length and more may have been broken where the link was.
const BROKEN_COLUMNS: usize = 60;

/// How far the words around a link may reach in each direction. Rewriting makes lines longer and never shorter, so a link
/// that was left stays left.
const MAX_BESIDE_BYTES: usize = 4096;

/// A link in plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextLink {
    pub span: Range<usize>,
    pub is_clear: bool,
    /// The words around it: its line and the one before. All links of a line have the same.
    pub beside: Range<usize>,
}

/// All links, ascending. `deletes_space`: a line that ends in a space goes on in the next one, without it.
pub(super) fn find(text: &[u8], deletes_space: bool) -> Vec<TextLink> {
    let mut links: Vec<TextLink> = Vec::new();
    for separator in memchr::memmem::find_iter(text, b"://") {
        let Some(start) = scheme_start(text, separator) else { continue };
        if links.last().is_some_and(|last| last.span.end > start) {
            continue;
        }
        let length = text[start..].iter().take_while(|b| is_of_url(**b)).count();
        let span = start..start + length;
        let beside = beside(text, &span);
        let is_clear = beside.is_some() && is_clear(text, &span, deletes_space);
        let beside = beside.unwrap_or(span.clone());
        links.push(TextLink { span, is_clear, beside });
    }
    links
}

fn scheme_start(text: &[u8], separator: usize) -> Option<usize> {
    let before = &text[separator.saturating_sub(5)..separator];
    let ends_with = |scheme: &[u8]| {
        before
            .get(before.len().checked_sub(scheme.len())?..)?
            .eq_ignore_ascii_case(scheme)
            .then_some(())
    };
    let length = ends_with(b"https").map(|()| 5).or_else(|| ends_with(b"http").map(|()| 4))?;
    let start = separator - length;
    let is_word = start > 0 && (text[start - 1].is_ascii_alphanumeric() || text[start - 1] >= 0x80);
    (!is_word).then_some(start)
}

/// Printable ASCII but what encloses.
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"')
}

fn is_clear(text: &[u8], span: &Range<usize>, deletes_space: bool) -> bool {
    let before = span.start.checked_sub(1).map(|at| text[at]);
    let after = text.get(span.end).copied();
    let last = text[span.end - 1];
    match (before, after) {
        (Some(b'<'), Some(b'>')) => true,
        (None | Some(b' ' | b'\t' | b'\r' | b'\n'), None | Some(b' ' | b'\t' | b'\r' | b'\n')) => {
            (last.is_ascii_alphanumeric()
                || matches!(last, b'/' | b'=' | b'-' | b'_' | b'&' | b'%'))
                && !may_go_on(text, span, deletes_space)
        }
        _ => false,
    }
}

/// Whether the line may have been broken at its end, being long or of a text in which any may, and the next one begins
/// with what could be the rest.
fn may_go_on(text: &[u8], span: &Range<usize>, deletes_space: bool) -> bool {
    let rest = &text[span.end..];
    let Some(line_end) = memchr::memchr(b'\n', rest) else { return false };
    if !rest[..line_end].iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
        return false;
    }
    let next = rest.get(line_end + 1).copied();
    let window = &text[span.end.saturating_sub(BROKEN_COLUMNS)..span.end];
    let is_long = memchr::memchr(b'\n', window).is_none() && window.len() == BROKEN_COLUMNS;
    (is_long || deletes_space) && next.is_some_and(is_of_url)
}

/// From the start of the line before to the end of the link's own; `None` where lines are so long that they are none.
fn beside(text: &[u8], span: &Range<usize>) -> Option<Range<usize>> {
    let before = &text[span.start.saturating_sub(MAX_BESIDE_BYTES)..span.start];
    let start = match memchr::memrchr_iter(b'\n', before).nth(1) {
        Some(found) => span.start - before.len() + found + 1,
        None if before.len() < MAX_BESIDE_BYTES => 0,
        None => return None,
    };
    let after = &text[span.end..text.len().min(span.end + MAX_BESIDE_BYTES)];
    let end = match memchr::memchr(b'\n', after) {
        Some(found) => found,
        None if after.len() < MAX_BESIDE_BYTES => after.len(),
        None => return None,
    };
    Some(start..span.end + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, bool)]) {
        let found = find(text.as_bytes(), false);
        let found: Vec<_> = found.into_iter().map(|l| (&text[l.span], l.is_clear)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn what_is_unclear_is_said_to_be() {
        check("", &[]);
        check("www.example.com ftp://a xhttp://a ://", &[]);
        check("https://a.b.", &[("https://a.b.", false)]);
        check("(https://a.b)", &[("https://a.b)", false)]);
        check("\"https://a.b\"", &[("https://a.b", false)]);
        check("[x](https://a.b)", &[("https://a.b)", false)]);
        check("https://a.b\u{3002}", &[("https://a.b", false)]);
        check("<https://a.b\r\nc>", &[("https://a.b", false)]);
        let long = format!("https://a.b/{}", "x".repeat(60));
        check(&format!("{long}\r\nrest"), &[(&long, false)]);
    }

    #[test]
    fn a_line_that_goes_on_without_its_space_ends_no_link() {
        let check = |text: &[u8], expected| assert_eq!(find(text, true)[0].is_clear, expected);
        check(b"https://a.b/c \r\nd", false);
        check(b"https://a.b/c\r\n\r\nd", true);
        check(b"https://a.b/c d", true);
    }

    #[test]
    fn what_is_clear_is_taken_whole() {
        check("https://a.b", &[("https://a.b", true)]);
        check("see https://a.b/?c=1&d=%C3 now", &[("https://a.b/?c=1&d=%C3", true)]);
        check("<HTTP://a.b/c.>", &[("HTTP://a.b/c.", true)]);
        check("x\nhttps://a.b?u=http://c.d\r\n", &[("https://a.b?u=http://c.d", true)]);
        let long = format!("https://a.b/{}", "x".repeat(60));
        check(&format!("{long}\r\n\r\nrest"), &[(&long, true)]);
    }
}
