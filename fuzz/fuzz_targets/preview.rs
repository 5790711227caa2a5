//! Previews of any HTML: nothing active and nothing remote is left, by the word of a real tokenizer.
#![no_main]

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer};
use libfuzzer_sys::fuzz_target;
use waybill::mime;

/// Elements that act or fetch.
const ACTIVE: &str = " script iframe object embed form input button style link base svg math frame frameset \
    applet audio video source track template portal area map marquee select textarea ";

#[derive(Default)]
struct Inspector(RefCell<Vec<String>>);

impl TokenSink for Inspector {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        if let Token::TagToken(tag) = token
            && tag.kind == TagKind::StartTag
        {
            let bad = tag.attrs.iter().any(|attribute| {
                let value = attribute.value.trim_start().to_ascii_lowercase();
                match &*attribute.name.local {
                    "href" => !["http:", "https:", "mailto:", "tel:", "sms:"]
                        .iter()
                        .any(|scheme| value.starts_with(scheme)),
                    "src" => !value.starts_with("data:image/"),
                    "style" => ["url(", "\\", "@", "expression", "position"]
                        .iter()
                        .any(|bad| value.contains(bad)),
                    name => name.starts_with("on") || name == "srcset" || name == "background",
                }
            });
            if bad || ACTIVE.contains(&format!(" {} ", &*tag.name)) {
                self.0.borrow_mut().push(format!("{tag:?}"));
            }
        }
        TokenSinkResult::Continue
    }
}

fuzz_target!(|html: &str| {
    let subject = html.replace(['\r', '\n'], " ");
    let head = "Content-Type: text/html; charset=utf-8\r\n\r\n";
    let document = mime::preview_html(format!("Subject: {subject}\r\n{head}{html}").as_bytes());
    assert!(document.starts_with("<!DOCTYPE html>") && document.ends_with("</html>\n"));
    assert!(document.len() <= 64 * html.len() + 8192);
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(&*document));
    let tokenizer = Tokenizer::new(Inspector::default(), Default::default());
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let faults = tokenizer.sink.0.take();
    assert!(faults.is_empty(), "{faults:?}");
});
