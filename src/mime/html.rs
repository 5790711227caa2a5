//! A message as a safe HTML document.

use super::body;
use super::part::Kind;
use super::structure::Structure;

/// The document for a message.
pub(crate) fn document(raw: &[u8], structure: &Structure) -> String {
    let mut content = String::new();
    for index in body::shown_as_html(structure) {
        let part = &structure.parts[index];
        let text = body::text_of(raw, part, body::MAX_TEXT_BYTES);
        if part.media.kind == Kind::Html {
            content.push_str(&ammonia::clean(&text));
        } else {
            content.push_str(&ammonia::clean_text(&text));
        }
    }
    content
}

/// What is shown when a message confuses the reader.
pub(crate) fn unreadable() -> String {
    String::from("<p>This message can not be shown.</p>")
}
