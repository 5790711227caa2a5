//! The first words of a message, for lists and notifications.
//!
//! Only the beginning of a body is decoded: at most 16 KiB of text, or 64 KiB of HTML where there is
//! no text, so that a megabyte of newsletter costs no more than a letter.

use mail_parser::decoders::html::html_to_text;

use super::body;
use super::part::Kind;
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

/// The first 200 characters of the text, white space folded; of the HTML when there is no text.
pub(crate) fn preview(raw: &[u8], structure: &Structure) -> String {
    let shown = body::shown(structure);
    let first =
        |kind| shown.iter().map(|i| &structure.parts[*i]).filter(move |p| p.media.kind == kind);
    for part in first(Kind::Plain).take(4) {
        let text = printable(&body::text_of(raw, part, TEXT_WINDOW), MAX_CHARS);
        if !text.is_empty() {
            return text;
        }
    }
    for part in first(Kind::Html).take(2) {
        let text = of_html(&body::text_of(raw, part, HTML_WINDOW));
        if !text.is_empty() {
            return text;
        }
    }
    String::new()
}

fn of_html(html: &str) -> String {
    let start = memchr::memmem::find(html.as_bytes(), b"<body").unwrap_or(0);
    let visible = &html[start..];
    let window = &visible[..visible.floor_char_boundary(FIRST_HTML_WINDOW)];
    let text = printable(&html_to_text(window), MAX_CHARS);
    if text.chars().count() >= MAX_CHARS || window.len() == visible.len() {
        return text;
    }
    printable(&html_to_text(visible), MAX_CHARS)
}
