//! Previews of any HTML: nothing active and nothing remote is left, and cleaning is done in time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill::mime;

fuzz_target!(|html: &str| {
    let raw = format!(
        "Subject: {}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}",
        html.replace(['\r', '\n'], " ")
    );
    let document = mime::preview_html(raw.as_bytes());
    assert!(document.starts_with("<!DOCTYPE html>") && document.ends_with("</html>\n"));
    assert!(document.len() <= 64 * raw.len() + 4096);
    for tag in document.split('<').skip(1) {
        // The serializer escapes `<` in text and `"` in attributes, so this is a tag and its attributes
        // are what stands outside of quotes.
        let tag = tag.split('>').next().unwrap_or_default().to_ascii_lowercase();
        let outside: String = tag.split('"').step_by(2).collect();
        let name = outside.split([' ', '\n', '\t']).next().unwrap_or_default();
        let active = [
            "script", "iframe", "object", "embed", "form", "input", "style", "link", "base", "svg",
            "math",
        ];
        assert!(!active.contains(&name), "<{tag}>");
        assert!(
            !outside.contains(" on")
                && !outside.contains("srcset")
                && !outside.contains("background="),
            "<{tag}>"
        );
        if let Some(url) = tag.split(" src=\"").nth(1) {
            assert!(url.starts_with("data:image/"), "<{tag}>");
        }
        if let Some(url) = tag.split(" href=\"").nth(1) {
            let known = ["http:", "https:", "mailto:", "tel:", "sms:"];
            assert!(known.iter().any(|scheme| url.trim_start().starts_with(scheme)), "<{tag}>");
        }
        if let Some(style) = tag.split(" style=\"").nth(1) {
            let style = style.split('"').next().unwrap_or_default();
            assert!(
                !style.contains("url") && !style.contains('\\') && !style.contains('@'),
                "<{tag}>"
            );
        }
    }
});
