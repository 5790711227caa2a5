//! Cleaning HTML by allow-lists (ammonia), for mail: its tables and colours stay, everything active or
//! remote goes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ammonia::{Builder, UrlRelative};

use super::picture::Pictures;
use super::style;

/// Elements that stay. Others are taken out and their content stays, except for `EMPTIED`.
const TAGS: [&str; 66] = [
    "a",
    "abbr",
    "acronym",
    "address",
    "article",
    "aside",
    "b",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "main",
    "mark",
    "nav",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "u",
];
const MORE_TAGS: [&str; 5] = ["time", "tt", "ul", "var", "wbr"];
/// Elements that go with all that is in them.
const EMPTIED: [&str; 16] = [
    "script",
    "style",
    "title",
    "svg",
    "math",
    "template",
    "iframe",
    "noembed",
    "noframes",
    "noscript",
    "select",
    "textarea",
    "xmp",
    "plaintext",
    "audio",
    "video",
];
/// Attributes that stay on every element that stays. None of them is ever a URL.
const ATTRIBUTES: [&str; 12] = [
    "align", "bgcolor", "border", "color", "dir", "height", "lang", "role", "style", "title",
    "valign", "width",
];
/// What stands in front of a remote address until the cleaned HTML is written. No attribute can get
/// it otherwise: a URL of this scheme is refused, and quotes are escaped inside of attributes.
const REMOTE: &str = "waybill-remote:";

/// The HTML without anything that acts or fetches.
pub(super) fn clean(html: &str, pictures: &Pictures) -> String {
    let pictures = pictures.clone();
    let mut builder = Builder::empty();
    builder
        .tags(TAGS.into_iter().chain(MORE_TAGS).collect())
        .clean_content_tags(HashSet::from(EMPTIED))
        .generic_attributes(HashSet::from(ATTRIBUTES))
        .tag_attributes(element_attributes())
        .url_schemes(HashSet::from(["http", "https", "mailto", "tel", "sms", "cid", "data"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer"))
        .set_tag_attribute_value("a", "target", "_blank")
        .strip_comments(true)
        .attribute_filter(move |element, attribute, value| {
            filter(element, attribute, value, &pictures)
        });
    let cleaned = builder.clean(html).to_string();
    cleaned.replace(&format!("src=\"{REMOTE}"), "data-remote-src=\"")
}

fn element_attributes() -> HashMap<&'static str, HashSet<&'static str>> {
    HashMap::from([
        ("a", HashSet::from(["href"])),
        ("img", HashSet::from(["src", "alt", "hspace", "vspace"])),
        ("table", HashSet::from(["cellpadding", "cellspacing", "summary"])),
        ("td", HashSet::from(["colspan", "rowspan", "nowrap"])),
        ("th", HashSet::from(["colspan", "rowspan", "nowrap", "scope"])),
        ("col", HashSet::from(["span"])),
        ("colgroup", HashSet::from(["span"])),
        ("font", HashSet::from(["face", "size"])),
        ("hr", HashSet::from(["size", "noshade"])),
        ("ol", HashSet::from(["start", "type", "reversed"])),
        ("ul", HashSet::from(["type"])),
        ("li", HashSet::from(["type", "value"])),
    ])
}

/// The last word on each attribute that the allow-list let through.
fn filter<'v>(
    element: &str,
    attribute: &str,
    value: &'v str,
    pictures: &Pictures,
) -> Option<Cow<'v, str>> {
    match (element, attribute) {
        ("a", "href") => link(value).map(Cow::Borrowed),
        ("img", "src") => picture(value, pictures).map(Cow::Owned),
        (_, "style") => style::filter(value).map(Cow::Owned),
        // These name a URL wherever they appear; no other element may have them.
        (_, "href" | "src" | "background") => None,
        (_, _) => Some(Cow::Borrowed(value)),
    }
}

/// A link to somewhere else. Browsers pass over control characters within a URL, so none may be left
/// that would hide what it is.
fn link(url: &str) -> Option<&str> {
    let url = url.trim_matches(|c: char| c.is_control() || c.is_whitespace());
    let known = matches!(scheme(url).as_str(), "http" | "https" | "mailto" | "tel" | "sms");
    (known && !url.contains(char::is_control)).then_some(url)
}

fn picture(url: &str, pictures: &Pictures) -> Option<String> {
    let url = url.trim();
    match scheme(url).as_str() {
        "cid" => pictures.by_content_id(url.get("cid:".len()..)?),
        "data" => pictures.written_out(url),
        "http" | "https" => Some(format!("{REMOTE}{url}")),
        _ => None,
    }
}

/// What stands before the first colon, in lower case, as a browser reads it: without the white space
/// and control characters that it passes over (WHATWG URL §4.4).
fn scheme(url: &str) -> String {
    let (scheme, _) = url.split_once(':').unwrap_or_default();
    let kept = scheme.chars().filter(|c| !c.is_control() && !c.is_whitespace());
    kept.map(|c| c.to_ascii_lowercase()).collect()
}
