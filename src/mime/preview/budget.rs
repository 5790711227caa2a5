//! How much work a stranger's HTML would make for a parser.
//!
//! The HTML standard obliges a parser to repair anything, and some repairs multiply: each paragraph
//! opens again all bold and link elements that were never closed, each tag searches the stack of open
//! elements, each attribute is compared with all others of its tag. A megabyte made for the purpose
//! costs hours and gigabytes. So the HTML is first parsed without building anything, in small bites, and
//! the count of elements, their depth and the size of tags are looked at after each bite. What passes is
//! cheap to clean.
//!
//! html5ever itself counts, because only the same parser repairs the same way.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::{Attribute, ExpandedName, QualName, local_name, ns, parse_fragment};

/// Elements of a document; large newsletters have some 5,000.
const MAX_ELEMENTS: usize = 100_000;
/// Depth; browsers stop at 512.
const MAX_DEPTH: usize = 500;
/// What may separate attributes within one tag; a picture written into its tag has many `/`.
const MAX_SEPARATORS: usize = 12_000;
/// How much is parsed between two looks.
const BITE_BYTES: usize = 256;

/// Whether cleaning this HTML takes time and memory in proportion to its length.
pub(super) fn is_affordable(html: &str) -> bool {
    let counts = Rc::new(Counts::default());
    let context = QualName::new(None, ns!(html), local_name!("div"));
    let counter = Counter { counts: Rc::clone(&counts) };
    let mut parser = parse_fragment(counter, Default::default(), context, Vec::new(), false);
    let (mut rest, mut seen, mut separators) = (html, 0, 0);
    while !rest.is_empty() {
        let cut = rest.ceil_char_boundary(BITE_BYTES);
        let (bite, after) = rest.split_at(cut);
        rest = after;
        parser.process(StrTendril::from(bite));
        // As long as the parser gives nothing back, it may be collecting the attributes of one tag.
        if counts.calls.get() == seen {
            separators += bite.bytes().filter(|b| is_separator(*b)).count();
        } else {
            separators = 0;
        }
        seen = counts.calls.get();
        if counts.is_too_much() || separators > MAX_SEPARATORS {
            return false;
        }
    }
    parser.finish();
    !counts.is_too_much()
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'/' | b'"' | b'\'')
}

#[derive(Default)]
struct Counts {
    /// Calls of the parser, which show that it has finished a token.
    calls: Cell<usize>,
    elements: Cell<usize>,
    depth: Cell<usize>,
}

impl Counts {
    fn is_too_much(&self) -> bool {
        self.elements.get() > MAX_ELEMENTS || self.depth.get() > MAX_DEPTH
    }
}

/// Stands where a tree would be built.
struct Counter {
    counts: Rc<Counts>,
}

struct Element {
    name: QualName,
    depth: Cell<usize>,
}

impl Counter {
    fn node(&self, name: QualName) -> Rc<Element> {
        self.counts.elements.set(self.counts.elements.get() + 1);
        self.called();
        Rc::new(Element { name, depth: Cell::new(0) })
    }

    fn called(&self) {
        self.counts.calls.set(self.counts.calls.get() + 1);
    }

    fn place(&self, parent: &Element, child: &NodeOrText<Rc<Element>>) {
        self.called();
        if let NodeOrText::AppendNode(child) = child {
            child.depth.set(parent.depth.get() + 1);
            self.counts.depth.set(self.counts.depth.get().max(child.depth.get()));
        }
    }
}

/// The name of what is no element; the parser never asks for it.
fn no_name() -> QualName {
    QualName::new(None, ns!(), local_name!(""))
}

impl TreeSink for Counter {
    type Handle = Rc<Element>;
    type Output = ();
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) {}

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Rc<Element> {
        Rc::new(Element { name: no_name(), depth: Cell::new(0) })
    }

    fn elem_name<'a>(&'a self, target: &'a Rc<Element>) -> ExpandedName<'a> {
        target.name.expanded()
    }

    fn create_element(&self, name: QualName, _: Vec<Attribute>, _: ElementFlags) -> Rc<Element> {
        self.node(name)
    }

    fn create_comment(&self, _: StrTendril) -> Rc<Element> {
        self.node(no_name())
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Rc<Element> {
        self.node(no_name())
    }

    fn append(&self, parent: &Rc<Element>, child: NodeOrText<Rc<Element>>) {
        self.place(parent, &child);
    }

    fn append_based_on_parent_node(
        &self,
        element: &Rc<Element>,
        _: &Rc<Element>,
        child: NodeOrText<Rc<Element>>,
    ) {
        self.place(element, &child);
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Rc<Element>) -> Rc<Element> {
        Rc::clone(target)
    }

    fn same_node(&self, x: &Rc<Element>, y: &Rc<Element>) -> bool {
        Rc::ptr_eq(x, y)
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Rc<Element>, node: NodeOrText<Rc<Element>>) {
        self.place(sibling, &node);
    }

    fn add_attrs_if_missing(&self, _: &Rc<Element>, _: Vec<Attribute>) {}

    fn remove_from_parent(&self, _: &Rc<Element>) {}

    fn reparent_children(&self, _: &Rc<Element>, _: &Rc<Element>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_that_multiplies_is_too_expensive() {
        let numbered = |f: &dyn Fn(usize) -> String| (0..60_000).map(f).collect::<String>();
        for (what, html) in [
            ("deep", "<div>".repeat(200_000)),
            ("deep, searched", format!("{}{}", "<span>".repeat(50_000), "<p>".repeat(50_000))),
            ("open formatting", numbered(&|i| format!("<p><b id={i}></p>"))),
            ("behind a table", numbered(&|i| format!("<b id={i}><table></b></table>"))),
            ("attributes", format!("<a {}>", numbered(&|i| format!("a{i} ")))),
            ("attributes, slashes", format!("<a {}", numbered(&|i| format!("a{i}/")))),
            ("elements", "<br>".repeat(300_000)),
        ] {
            assert!(!is_affordable(&html), "{what}");
        }
    }

    #[test]
    fn mail_is_affordable() {
        let row =
            "<tr><td style=\"color:red\"><font face=x><b>a</td><td><a href=\"https://a.b\">c</a>";
        for html in [
            String::new(),
            String::from("no tags"),
            format!("<table>{}</table>", row.repeat(2_000)),
            format!("<img src=\"data:image/png;base64,{}\">", "AB/+".repeat(10_000)),
            format!("<!-- {} -->", "comment ".repeat(1_000)),
            "<p>text".repeat(5_000),
        ] {
            assert!(is_affordable(&html), "{}", &html[..html.len().min(60)]);
        }
    }
}
