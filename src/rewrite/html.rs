//! Where the links of an HTML text stand, and where an invisible picture may be put.
//!
//! Takes markup as `charset` gives it and gives places in it. lol_html finds the tokens, so that a link in a comment, a
//! style, a script or a text area is none, as for a browser; nothing is rebuilt from its tokens, the places are changed
//! by whoever asked. What must be known of a link, its visible text and the words around it, comes after its tag:
//! so finding and changing are two steps.
//!
//! Every byte of the markup belongs to a token. lol_html tells of start tags, texts, comments and the document type;
//! what lies between them are end tags, read here.
//! Limits: lol_html's memory; the kept text of each link. Markup beyond them is an error and is left alone.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use encoding_rs::WINDOWS_1252;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Token, TokenSink, TokenSinkResult, Tokenizer};
use lol_html::html_content::{Element, TextType};
use lol_html::{
    AsciiCompatibleEncoding, DocumentContentHandlers, ElementContentHandlers, HtmlRewriter,
    MemorySettings, Settings,
};

/// What lol_html may use; deeper or stranger markup than that is not mail.
const MAX_MEMORY_BYTES: usize = 16 << 20;
/// Text of one link that is kept.
const MAX_TEXT_BYTES: usize = 2048;
/// Text beside a link that is kept.
const MAX_BESIDE_BYTES: usize = 200;
/// In these, a picture is no picture, and `</body>` no end.
const ENCLOSED: [&[u8]; 5] = [b"template", b"select", b"svg", b"math", b"frameset"];
const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub anchors: Vec<Anchor>,
    /// Before the last `</body>` that is one, or at the end; `None` where nothing can be put.
    pub end: Option<usize>,
    /// The sources of pictures, as they are written.
    pub pictures: Vec<Range<usize>>,
}

/// A link: `href` of `a` or `area`, its first one.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    /// Between its quotes, if it has any; empty when it has no value.
    pub value: Range<usize>,
    /// Where the attribute begins.
    pub name: usize,
    /// What its reader clicks at.
    pub text: Vec<Range<usize>>,
    /// The text before and after it.
    pub beside: Vec<Range<usize>>,
}

/// The markup could not be read to its end.
#[derive(Debug)]
pub(super) struct Unreadable;

/// Looks through the markup.
pub(super) fn find(markup: &[u8]) -> Result<Found, Unreadable> {
    let walk = RefCell::new(Walk::new(markup));
    let encoding = AsciiCompatibleEncoding::new(WINDOWS_1252).ok_or(Unreadable)?;
    let all = "*".parse().map_err(|_| Unreadable)?;
    let elements = ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| {
        walk.borrow_mut().start_tag(element);
        Ok(())
    });
    let document = DocumentContentHandlers::default()
        .doctype(|doctype: &mut lol_html::html_content::Doctype<'_>| {
            walk.borrow_mut().token(doctype.source_location().bytes());
            Ok(())
        })
        .comments(|comment: &mut lol_html::html_content::Comment<'_>| {
            walk.borrow_mut().comment(comment.source_location().bytes());
            Ok(())
        })
        .text(|text: &mut lol_html::html_content::TextChunk<'_>| {
            walk.borrow_mut().text(text.source_location().bytes(), text.text_type());
            Ok(())
        });
    let settings = Settings::new()
        .append_element_content_handler((Cow::Owned(all), elements))
        .append_document_content_handler(document)
        .with_encoding(encoding)
        .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MAX_MEMORY_BYTES))
        .with_strict(false);
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    rewriter.write(markup).map_err(|_| Unreadable)?;
    rewriter.end().map_err(|_| Unreadable)?;
    Ok(walk.into_inner().finish())
}

struct Walk<'a> {
    markup: &'a [u8],
    /// Up to here all tokens are known.
    at: usize,
    found: Found,
    /// The link whose end has not come.
    is_open: bool,
    /// The last link still waits for the text after it.
    is_closed_now: bool,
    beside: Option<Range<usize>>,
    /// How many elements of `ENCLOSED` are open.
    enclosed: usize,
    body_end: Option<usize>,
    /// Something is put behind what was read so far without becoming a part of it.
    is_clean: bool,
    is_frameset: bool,
}

impl<'a> Walk<'a> {
    fn new(markup: &'a [u8]) -> Walk<'a> {
        Walk {
            markup,
            at: 0,
            found: Found::default(),
            is_open: false,
            is_closed_now: false,
            beside: None,
            enclosed: 0,
            body_end: None,
            is_clean: true,
            is_frameset: false,
        }
    }

    fn token(&mut self, span: Range<usize>) {
        if span.start > self.at {
            self.end_tags(self.at..span.start);
        }
        self.at = self.at.max(span.end);
        self.is_clean = true;
    }

    fn start_tag(&mut self, element: &Element<'_, '_>) {
        self.token(element.source_location().bytes());
        let name = element.tag_name().to_ascii_lowercase();
        let is_html = element.namespace_uri() == XHTML;
        // Of HTML's own elements none closes itself.
        let is_closed = element.is_self_closing() && matches!(name.as_str(), "svg" | "math");
        if ENCLOSED.contains(&name.as_bytes()) && !is_closed {
            self.enclosed += 1;
            self.is_frameset |= name == "frameset";
        }
        match name.as_str() {
            "a" | "area" if is_html => self.anchor(element, name == "a"),
            "img" | "image" if is_html => {
                let source = attribute(element, "src").and_then(|(_, value)| value);
                self.found.pictures.extend(source);
            }
            // The text before a block says nothing about the links in the next.
            "td" | "tr" | "table" | "p" | "div" | "li" | "br" => self.leave_text(),
            _ => {}
        }
    }

    fn leave_text(&mut self) {
        self.beside = None;
        self.is_closed_now = false;
    }

    fn anchor(&mut self, element: &Element<'_, '_>, holds_text: bool) {
        self.is_open = false;
        self.is_closed_now = false;
        let Some((name, value)) = attribute(element, "href") else { return };
        let value = value.unwrap_or(name..name);
        let beside = self.beside.take().into_iter().collect();
        self.found.anchors.push(Anchor { value, name, text: Vec::new(), beside });
        self.is_open = holds_text;
    }

    fn comment(&mut self, span: Range<usize>) {
        let comment = &self.markup[span.clone()];
        self.token(span);
        self.is_clean = match comment.strip_prefix(b"<!--") {
            Some(b">" | b"->") => true,
            Some(rest) => rest.ends_with(b"-->") || rest.ends_with(b"--!>"),
            None => comment.ends_with(b">"),
        };
    }

    fn text(&mut self, span: Range<usize>, kind: TextType) {
        if span.is_empty() {
            return;
        }
        self.token(span.clone());
        self.is_clean = kind == TextType::Data;
        if kind != TextType::Data {
            return;
        }
        let is_blank = self.markup[span.clone()].trim_ascii().is_empty();
        if self.is_open {
            if let Some(anchor) = self.found.anchors.last_mut() {
                let kept: usize = anchor.text.iter().map(Range::len).sum();
                let end = span.end.min(span.start + MAX_TEXT_BYTES.saturating_sub(kept));
                if end > span.start && anchor.text.len() < MAX_TEXT_BYTES / 8 {
                    anchor.text.push(span.start..end);
                }
            }
        } else if !is_blank {
            if std::mem::take(&mut self.is_closed_now)
                && let Some(anchor) = self.found.anchors.last_mut()
            {
                anchor.beside.push(span.start..span.end.min(span.start + MAX_BESIDE_BYTES));
            }
            self.beside = Some(span.end.saturating_sub(MAX_BESIDE_BYTES).max(span.start)..span.end);
        }
    }

    /// Reads the end tags between two tokens.
    fn end_tags(&mut self, gap: Range<usize>) {
        let mut at = gap.start;
        while at < gap.end {
            let rest = &self.markup[at..gap.end];
            let Some(close) = memchr::memchr(b'>', rest).filter(|_| rest.starts_with(b"</")) else {
                self.is_clean = false;
                return;
            };
            let inside = &rest[2..close];
            let length = inside.iter().take_while(|b| !matches!(b, b'/' | b' ' | 9..=13)).count();
            let name = inside[..length].to_ascii_lowercase();
            // An end tag with attributes may have its `>` within them.
            self.is_clean = memchr::memchr2(b'"', b'\'', inside).is_none();
            if self.is_clean {
                self.end_tag(&name, at);
            }
            at += close + 1;
        }
    }

    fn end_tag(&mut self, name: &[u8], at: usize) {
        match name {
            b"a" => {
                self.is_closed_now = self.is_open;
                self.is_open = false;
            }
            b"body" if self.enclosed == 0 => {
                self.body_end = Some(at);
                // What is put in here comes between.
                self.leave_text();
            }
            b"td" | b"tr" | b"table" | b"p" | b"div" | b"li" => self.leave_text(),
            name if ENCLOSED.contains(&name) => self.enclosed = self.enclosed.saturating_sub(1),
            _ => {}
        }
    }

    fn finish(mut self) -> Found {
        if self.at < self.markup.len() {
            self.end_tags(self.at..self.markup.len());
        }
        // Behind the last white space, which may still belong to the head.
        let has_content = !self.markup.trim_ascii().is_empty();
        let is_open = self.is_clean && self.enclosed == 0 && has_content;
        let open_end = is_open.then_some(self.markup.len());
        self.found.end = self.body_end.or(open_end).filter(|_| !self.is_frameset);
        self.found
    }
}

/// Where the first attribute of this name begins, and where its value is.
fn attribute(element: &Element<'_, '_>, name: &str) -> Option<(usize, Option<Range<usize>>)> {
    let attribute = element.attributes().iter().find(|attribute| attribute.name() == name)?;
    let start = attribute.name_source_location()?.bytes().start;
    Some((start, attribute.value_source_location().map(|value| value.bytes())))
}

/// The value of an attribute as a browser reads it: character references decoded once, by the rules for attributes
/// (`&copy=` is none there). html5ever knows them all.
pub(super) fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('&') {
        return Cow::Borrowed(value);
    }
    let quote = if value.contains('"') { '\'' } else { '"' };
    let tag = format!("<a a={quote}{value}{quote}>");
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(tag.as_str()));
    let tokenizer = Tokenizer::new(FirstValue::default(), Default::default());
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    Cow::Owned(tokenizer.sink.0.take())
}

#[derive(Default)]
struct FirstValue(RefCell<String>);

impl TokenSink for FirstValue {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        if let Token::TagToken(tag) = token
            && let Some(attribute) = tag.attrs.first()
        {
            self.0.replace(attribute.value.to_string());
        }
        TokenSinkResult::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(html: &str) -> Vec<&str> {
        find(html.as_bytes()).unwrap().anchors.into_iter().map(|a| &html[a.value]).collect()
    }

    #[test]
    fn what_is_no_link_is_not_found() {
        for html in [
            "",
            "<!-- <a href=x> -->",
            "<!--[if mso]><v:roundrect href=\"x\"><a href=x></v:roundrect><![endif]-->",
            "<v:roundrect href=\"x\">",
            "<style><a href=x></style><script>'<a href=x>'</script><title><a href=x></title>",
            "<textarea><a href=x></textarea><xmp><a href=x></xmp>",
            "<svg><a href=x xlink:href=x></svg>",
            "<base href=x><link href=x><a name=x><a data-href=x>",
            "<a title='<a href=x>'>",
            "<a href=\"x",
        ] {
            assert_eq!(links(html), Vec::<&str>::new(), "{html}");
        }
    }

    #[test]
    fn links_are_found_as_a_browser_finds_them() {
        let check = |html: &str, expected: &[&str]| assert_eq!(links(html), expected, "{html}");
        check("<a href=x>", &["x"]);
        check("<A HREF = 'x y' href=z>", &["x y"]);
        check("<a href=x/>", &["x/"]);
        check("<a\nhref\n=\n\"x\"\n/>", &["x"]);
        check("<a href><a href=\"\">", &["", ""]);
        check("<map><area href=x></map>", &["x"]);
        check("<!--[if !mso]><!--><a href=x><!--<![endif]-->", &["x"]);
        check("<![if !mso]><a href=x><![endif]>", &["x"]);
        check("<p><b><a href=x>open<table><a href=y>", &["x", "y"]);
    }

    #[test]
    fn the_text_of_a_link_is_what_is_clicked_at() {
        let check = |html: &str, expected: &[&str]| {
            let found = find(html.as_bytes()).unwrap();
            let text = |a: &Anchor| a.text.iter().map(|t| &html[t.clone()]).collect::<String>();
            assert_eq!(found.anchors.iter().map(text).collect::<Vec<_>>(), expected, "{html}");
        };
        check("before <a href=x>a<b>b</b><!-- c --><style>d</style> e</a> after", &["ab e"]);
        check("<a href=x>a<a href=y>b</a>c", &["a", "b"]);
        check("<a href=x><img alt=y></a>z", &[""]);
    }

    #[test]
    fn the_end_is_where_a_browser_ends_the_body() {
        let check = |html: &str, expected: Option<&str>| {
            let end = find(html.as_bytes()).unwrap().end;
            assert_eq!(end.map(|end| &html[end..]), expected, "{html}");
        };
        check("", None);
        check("  \r\n", None);
        check("text\r\n", Some(""));
        check("<body>text</BODY ></html>", Some("</BODY ></html>"));
        check("text</div></body></html>\n", Some("</body></html>\n"));
        check("<body>a</body><body>b</body>c", Some("</body>c"));
        check("<body>a<!-- </body> --></body>", Some("</body>"));
        check(
            "<body>a</body><script>'</body>'</script>",
            Some("</body><script>'</body>'</script>"),
        );
        check("<body>a<template></body></template>", Some(""));
        check("a<!-- open", None);
        check("a<a href=\"open", None);
        check("a</p", None);
        check("a<style>open", None);
        check("a<textarea>open</body>", None);
        check("<frameset><frame></frameset>", None);
        check("a<select><option>", None);
        check("a</p title=\"</body>\">", None);
        check("a<!--x-->", Some(""));
        check("a<p/", None);
    }

    #[test]
    fn references_are_decoded_by_the_rules_of_attributes() {
        let check = |value: &str, expected: &str| assert_eq!(decoded(value), expected);
        check("a=1&b=2", "a=1&b=2");
        check("a=1&amp;b=2", "a=1&b=2");
        check("a=1&amp;amp;b=2", "a=1&amp;b=2");
        check("a&ampx", "a&ampx");
        check("a&copy=1", "a&copy=1");
        check("a&copy;1", "a\u{a9}1");
        check("a&copy", "a\u{a9}");
        check("a&#x26;&#38&quot;", "a&&\"");
        check("\"&amp;", "\"&");
    }
}
