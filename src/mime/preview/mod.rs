//! A message as a safe HTML document, as its recipient would see it.
//!
//! What comes out does nothing: no script, no form, no request to anywhere. Three things keep it so,
//! one behind the other: an allow-list of elements, attributes and style properties (ammonia's HTML
//! parser, the rules in `sanitise` and `style`), a content security policy inside the document, and
//! the sandboxed frame in which whoever serves it must show it. Pictures that the message brings along
//! stand inside the document; remote ones keep their address in `data-remote-src`, where nothing
//! fetches it. A document that would cost the parser too much is shown as text (`budget`).

mod budget;
mod picture;
mod sanitise;
mod style;

use mail_parser::decoders::html::html_to_text;

use super::body;
use super::part::Kind;
use super::structure::Structure;
use super::value::printable;
use super::{fields, value};
use picture::Pictures;

/// HTML or text of one part that is shown; mail programs cut at much less.
const MAX_PART_BYTES: usize = 4 << 20;
/// Characters of the title.
const MAX_TITLE_CHARS: usize = 200;
/// What stands where something was cut.
const CUT: &str = "<p><em>The rest of this part is too long to be shown.</em></p>";
/// What stands above HTML that is shown as text.
const AS_TEXT: &str = "<p><em>This part is too complex to be shown as HTML.</em></p>";

/// The document for a message.
pub(crate) fn document(raw: &[u8], structure: &Structure) -> String {
    let pictures = Pictures::of(raw, structure);
    let mut content = String::new();
    for index in body::shown_as_html(structure) {
        let part = &structure.parts[index];
        let text = body::text_of(raw, part, body::MAX_TEXT_BYTES);
        let shown = &text[..text.floor_char_boundary(MAX_PART_BYTES)];
        match part.media.kind {
            Kind::Html => content.push_str(&html(shown, &pictures)),
            Kind::Plain => add_text(&mut content, shown),
            Kind::Multipart(_) | Kind::Other => {}
        }
        if shown.len() < text.len() {
            content.push_str(CUT);
        }
    }
    let subject = fields(raw).find(|f| f.is("Subject"));
    let subject = subject.map(|f| value::unstructured(f.folded)).unwrap_or_default();
    page(&printable(&subject, MAX_TITLE_CHARS), &content)
}

/// The document for a text.
pub(crate) fn text_document(text: &str) -> String {
    let mut content = String::new();
    add_text(&mut content, &text[..text.floor_char_boundary(MAX_PART_BYTES)]);
    page("", &content)
}

/// What is shown when a message confuses the reader.
pub(crate) fn unreadable() -> String {
    page("", "<p><em>This message can not be shown.</em></p>")
}

fn html(html: &str, pictures: &Pictures) -> String {
    if budget::is_affordable(html) {
        return sanitise::clean(html, pictures);
    }
    let mut content = String::from(AS_TEXT);
    add_text(&mut content, &html_to_text(html));
    content
}

fn add_text(content: &mut String, text: &str) {
    content.push_str("<div style=\"white-space:pre-wrap;overflow-wrap:anywhere\">");
    escape(content, text);
    content.push_str("</div>");
}

fn page(title: &str, content: &str) -> String {
    // `img-src data:` and inline styles are all that a cleaned message can need.
    let mut page = String::with_capacity(content.len() + 512);
    page.push_str(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         img-src data:; style-src 'unsafe-inline'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>",
    );
    escape(&mut page, title);
    page.push_str("</title>\n</head>\n<body>\n");
    page.push_str(content);
    page.push_str("\n</body>\n</html>\n");
    page
}

/// Text as HTML; control characters other than white space are dropped.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => {}
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}
