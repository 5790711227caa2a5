//! The parts that hold content, for rooms that look into a message part by part.
//!
//! Takes any bytes, gives the leaves in document order with what their headers say they are. Nothing
//! is decoded before somebody asks. Attached messages are one leaf: who wants to see into one reads
//! its decoded bytes again.

use std::borrow::Cow;

use mail_parser::decoders::html::html_to_text;

use super::body;
use super::part::{Encoding, Kind};
use super::structure::Structure;
use super::value;

/// Elements after which a reader sees a new line.
const LINES: [&str; 14] =
    ["p", "br", "div", "tr", "td", "li", "ul", "ol", "h1", "h2", "h3", "h4", "hr", "pre"];
/// Stands for a line break while HTML is turned to text, which folds white space.
const LINE_MARK: char = '\u{1}';

/// A part that holds content, not other parts.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// `type/subtype` in lower case; `text/plain` where the header says nothing.
    pub content_type: String,
    /// The body as it stands in the message.
    pub encoded: &'a [u8],
    encoding: Encoding,
    charset: Option<String>,
    is_html: bool,
}

/// The first `max` leaves of a message.
pub fn leaves(raw: &[u8], max: usize) -> Vec<Leaf<'_>> {
    super::guarded(|| read(raw, max)).unwrap_or_default()
}

fn read(raw: &[u8], max: usize) -> Vec<Leaf<'_>> {
    let structure = Structure::read(raw);
    let leaf = |part: &super::part::Part| Leaf {
        content_type: part.media.content_type.clone(),
        encoded: &raw[part.body.clone()],
        encoding: part.media.encoding,
        charset: part.media.charset.clone(),
        is_html: part.media.kind == Kind::Html,
    };
    structure.leaves().take(max).map(|(_, part)| leaf(part)).collect()
}

impl<'a> Leaf<'a> {
    /// The body without its transfer encoding, as far as that makes sense.
    pub fn decoded(&self) -> Cow<'a, [u8]> {
        let (body, encoding) = (self.encoded, self.encoding);
        super::guarded(|| body::decode(body, encoding).bytes).unwrap_or_default()
    }

    /// The body as text, of at most `max_bytes` of it; HTML becomes the lines that its reader sees.
    pub fn text(&self, max_bytes: usize) -> String {
        let encoded = body::prefix(self.encoded, max_bytes);
        super::guarded(|| {
            let bytes = body::decode(encoded, self.encoding).bytes;
            let text = value::charset(&bytes, self.charset.as_deref());
            if self.is_html { html_lines(&text) } else { text.into_owned() }
        })
        .unwrap_or_default()
    }
}

/// The text of HTML, a line for each block.
fn html_lines(html: &str) -> String {
    let mut marked = String::with_capacity(html.len() + html.len() / 8);
    let mut from = 0;
    for at in memchr::memchr_iter(b'<', html.as_bytes()) {
        let name = html[at + 1..].trim_start_matches('/');
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        if LINES.iter().any(|line| line.eq_ignore_ascii_case(name)) {
            marked.push_str(&html[from..at]);
            marked.push_str(" \u{1} ");
            from = at;
        }
    }
    marked.push_str(&html[from..]);
    html_to_text(&marked).replace(LINE_MARK, "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_in_order_and_say_what_they_are() {
        let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n--b\r\n\
            Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogYQ==\r\n\
            --b\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<p>bl\xe5 <b>b</b></p>b&aelig;r\r\n--b--\r\n";
        let leaves = leaves(raw, 10);
        let types: Vec<&str> = leaves.iter().map(|leaf| leaf.content_type.as_str()).collect();
        assert_eq!(types, ["text/plain", "message/rfc822", "text/html"]);
        assert_eq!(leaves[0].text(100), "plain");
        assert_eq!(&*leaves[1].decoded(), b"Subject: a");
        let lines: Vec<String> = leaves[2].text(100).lines().map(|l| l.trim().to_owned()).collect();
        let lines: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["bl\u{e5} b", "b\u{e6}r"]);
        assert_eq!(super::leaves(raw, 1).len(), 1);
        assert_eq!(super::leaves(b"", 1).len(), 1);
    }
}
