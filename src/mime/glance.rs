//! The first words of a message, for lists, and the words that a search looks through.
//!
//! For the first words only the beginning of a body is decoded: at most 16 KiB of text, or 64 KiB of HTML where there is
//! no text, so that a megabyte of newsletter costs no more than a letter.

use mail_parser::decoders::html::html_to_text;

use super::body;
use super::part::{Kind, Part};
use super::structure::Structure;
use super::value::printable;

/// Length of the preview, in characters.
const MAX_CHARS: usize = 200;
/// How much of an encoded text is looked at.
const TEXT_WINDOW: usize = 16 * 1024;
/// How much of an encoded HTML body is looked at.
const HTML_WINDOW: usize = 64 * 1024;
/// How much HTML after `<body>` is turned to text at first; most mail says enough within it.
const FIRST_HTML_WINDOW: usize = 8 * 1024;

/// Elements that stand apart from the text before them.
const BLOCKS: [&str; 16] = [
    "td", "th", "tr", "table", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "p", "hr", "dt",
    "dd",
];

/// The first 200 characters of the text, white space folded; of the HTML when there is no text.
pub(crate) fn preview(raw: &[u8], structure: &Structure) -> String {
    for part in shown(structure, Kind::Plain).take(4) {
        let text = printable(&body::text_of(raw, part, TEXT_WINDOW), MAX_CHARS);
        if !text.is_empty() {
            return text;
        }
    }
    for part in shown(structure, Kind::Html).take(2) {
        let text = of_html(&body::text_of(raw, part, HTML_WINDOW));
        if !text.is_empty() {
            return text;
        }
    }
    String::new()
}

/// The text of all parts that are shown, HTML only where there is no text.
pub(crate) fn searchable(raw: &[u8], structure: &Structure, max_bytes: usize) -> String {
    let mut whole = String::new();
    for part in shown(structure, Kind::Plain) {
        whole.push_str(&body::text_of(raw, part, max_bytes));
        whole.push('\n');
    }
    if whole.trim().is_empty() {
        for part in shown(structure, Kind::Html) {
            whole.push_str(&html_to_text(&spaced(&body::text_of(raw, part, max_bytes))));
            whole.push('\n');
        }
    }
    whole
}

/// The parts of one kind that a reader shows.
fn shown(structure: &Structure, kind: Kind) -> impl Iterator<Item = &Part> {
    let parts = body::shown(structure).into_iter().map(|index| &structure.parts[index]);
    parts.filter(move |part| part.media.kind == kind)
}

fn of_html(html: &str) -> String {
    let start = memchr::memmem::find(html.as_bytes(), b"<body").unwrap_or(0);
    let visible = &html[start..];
    let window = &visible[..visible.floor_char_boundary(FIRST_HTML_WINDOW)];
    let text = printable(&html_to_text(&spaced(window)), MAX_CHARS);
    if text.chars().count() >= MAX_CHARS || window.len() == visible.len() {
        return text;
    }
    printable(&html_to_text(&spaced(visible)), MAX_CHARS)
}

/// A space before each tag that begins a block or a cell, which mail-parser would otherwise join to
/// the word before it.
fn spaced(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + html.len() / 8);
    let mut from = 0;
    for at in memchr::memchr_iter(b'<', html.as_bytes()) {
        let name = html[at + 1..].trim_start_matches('/');
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        if BLOCKS.iter().any(|block| block.eq_ignore_ascii_case(name)) {
            out.push_str(&html[from..at]);
            out.push(' ');
            from = at;
        }
    }
    out.push_str(&html[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_says_what_its_reader_would_read() {
        let check = |html: &str, expected: &str| assert_eq!(of_html(html), expected);
        check("", "");
        check("<style>p{}</style><!-- <p>no</p> --><script>x</script>", "");
        check("<head><title>no</title></head><body><p>a</p>b", "a b");
        check("<td>a</td><td>b</td><b>bo</b>ld&amp;&#229;", "a b bold&\u{e5}");
        check("a < b<br>c", "a c");
    }
}
