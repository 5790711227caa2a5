//! The little XML of Kannel's `text/xml` submission: elements, their text, and where it stands.
//!
//! No schema, no namespaces, no entities of one's own: a document with an internal subset is refused,
//! so nothing can grow. The text of an element is what stands directly in it (XML 1.0, §2 and §4.6).

use std::ops::Range;

const MAX_DEPTH: usize = 16;
const MAX_ELEMENTS: usize = 50_000;

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// `/message/submit/da/number`.
    pub path: String,
    /// As they stand in the start tag.
    pub attributes: String,
    pub text: String,
    /// What is between its tags.
    pub span: Range<usize>,
}

/// The elements in the order of their ends; `None` when it is no such document.
pub(super) fn read(document: &str) -> Option<Vec<Element>> {
    let mut open: Vec<Element> = Vec::new();
    let mut done = Vec::new();
    let mut at = 0;
    while at < document.len() {
        let rest = document.get(at..)?;
        let Some(markup) = rest.strip_prefix('<') else {
            let text = rest.get(..rest.find('<').unwrap_or(rest.len()))?;
            add_text(&mut open, &unescape(text)?)?;
            at += text.len();
            continue;
        };
        if let Some(body) = markup.strip_prefix("![CDATA[") {
            let text = body.get(..body.find("]]>")?)?;
            open.last_mut()?.text.push_str(text);
            at += "<![CDATA[]]>".len() + text.len();
        } else if markup.starts_with("!--") {
            at += "-->".len() + rest.find("-->")?;
        } else if markup.starts_with('?') {
            at += "?>".len() + rest.find("?>")?;
        } else if markup.starts_with('!') {
            let end = rest.find('>')?;
            if rest.get(..end)?.contains('[') {
                return None;
            }
            at += end + 1;
        } else {
            let tag = markup.get(..tag_end(markup)?)?;
            tag_read(tag, at..at + tag.len() + 2, &mut open, &mut done)?;
            at += tag.len() + 2;
        }
        if open.len() > MAX_DEPTH || done.len() > MAX_ELEMENTS {
            return None;
        }
    }
    (open.is_empty() && !done.is_empty()).then_some(done)
}

/// Text outside of every element is white space.
fn add_text(open: &mut [Element], text: &str) -> Option<()> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_start_matches('\u{feff}').trim().is_empty() => {}
        None => return None,
    }
    Some(())
}

/// Where the tag's `>` stands; one within quotes is none.
fn tag_end(markup: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in markup.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some(_), _) => {}
        }
    }
    None
}

/// A start tag, an end tag or both in one; `whole` is where it stands.
fn tag_read(
    tag: &str,
    whole: Range<usize>,
    open: &mut Vec<Element>,
    done: &mut Vec<Element>,
) -> Option<()> {
    if let Some(name) = tag.strip_prefix('/') {
        let mut element = open.pop()?;
        element.span.end = whole.start;
        let is_its_end = element.path.rsplit('/').next() == Some(name.trim());
        done.push(element);
        return is_its_end.then_some(());
    }
    let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let cut = tag.find(char::is_whitespace).unwrap_or(tag.len());
    let (name, attributes) = tag.split_at(cut);
    let is_name = !name.is_empty() && !name.contains(['<', '/', '"', '\'', '=']);
    let parent = open.last().map_or("", |element| &element.path);
    let element = Element {
        path: format!("{parent}/{name}"),
        attributes: attributes.trim().to_owned(),
        text: String::new(),
        span: whole.end..whole.end,
    };
    match is_empty {
        true => done.push(element),
        false => open.push(element),
    }
    is_name.then_some(())
}

/// Character references and the five entities that every document has.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(rest.get(..at)?);
        rest = rest.get(at + 1..)?;
        let name = rest.get(..rest.find(';')?)?;
        rest = rest.get(name.len() + 1..)?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in [
            "",
            "text",
            "<a>",
            "</a>",
            "<a></b>",
            "<a>&unknown;</a>",
            "<a>&#xd800;</a>",
            "<a>&amp</a>",
            "<a b=\">",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a/>after",
            "<a><![CDATA[x</a>",
            "<>x</>",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&"<a>".repeat(100_000)), None);
    }

    #[test]
    fn elements_have_a_path_and_a_text() {
        let document = "<?xml version=\"1.0\"?><!DOCTYPE m SYSTEM \"m.dtd\">\n<m><!-- no --><n>1</n>\
            <n x=\"a>b\">2 &amp;&#230;&#xE6;<![CDATA[<&]]></n><e/></m>";
        let found = read(document).unwrap();
        let shown: Vec<_> = found.iter().map(|e| (e.path.as_str(), e.text.as_str())).collect();
        assert_eq!(shown, [("/m/n", "1"), ("/m/n", "2 &ææ<&"), ("/m/e", ""), ("/m", "")]);
        assert_eq!(document.get(found[0].span.clone()), Some("1"));
        assert_eq!(found[1].attributes, "x=\"a>b\"");
    }
}
