//! What a browser sees of HTML, by html5ever, and whether it is the same before and after links were rewritten.
//!
//! Two documents are the same when their trees are, but for the values of links and one picture. A picture behind a
//! formatting element that was never closed stands in a copy of that element, as any text in its place would; a copy
//! that holds nothing else is part of the picture.

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

use super::tracked::{PUBLIC, target};

/// A node of a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Node {
    Text(String),
    Element { shown: String, children: Vec<Node> },
    Pixel,
}

/// A document; links apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub nodes: Vec<Node>,
    pub links: Vec<String>,
    pub pixels: usize,
}

/// As a browser without scripts reads it, which is how mail is shown.
pub fn document(html: &str) -> Document {
    read(html, false)
}

fn read(html: &str, with_scripts: bool) -> Document {
    let mut options = ParseOpts::default();
    options.tree_builder.scripting_enabled = with_scripts;
    let dom = parse_document(RcDom::default(), options).one(html);
    let mut document = Document::default();
    document.nodes = children(&dom.document, &mut document);
    document
}

fn children(parent: &Handle, document: &mut Document) -> Vec<Node> {
    let mut nodes = Vec::new();
    if let NodeData::Element { template_contents, .. } = &parent.data
        && let Some(contents) = &*template_contents.borrow()
    {
        let children = children(contents, document);
        nodes.push(Node::Element { shown: "template".into(), children });
    }
    for child in parent.children.borrow().iter() {
        let shown = match &child.data {
            NodeData::Document | NodeData::ProcessingInstruction { .. } => continue,
            NodeData::Text { contents } => {
                nodes.push(Node::Text(contents.borrow().to_string()));
                continue;
            }
            NodeData::Doctype { name, public_id, system_id } => {
                format!("!{name} {public_id} {system_id}")
            }
            NodeData::Comment { contents } => format!("<!--{contents}"),
            NodeData::Element { .. } => match element(child, document) {
                Some(shown) => shown,
                None => {
                    nodes.push(Node::Pixel);
                    continue;
                }
            },
        };
        let children = children(child, document);
        nodes.push(Node::Element { shown, children });
    }
    nodes
}

/// The tag of an element without the values of links; `None` for the pixel.
fn element(node: &Handle, document: &mut Document) -> Option<String> {
    let NodeData::Element { name, attrs, .. } = &node.data else { return Some(String::new()) };
    let mut shown = format!("{:?} {}", name.ns, name.local);
    for attribute in attrs.borrow().iter() {
        let (key, value) = (&attribute.name.local, &attribute.value);
        let is_html = name.ns == html5ever::ns!(html);
        if &*name.local == "img" && &**key == "src" && value.starts_with(&format!("{PUBLIC}/o/")) {
            document.pixels += 1;
            return None;
        }
        if is_html && &**key == "href" && matches!(&*name.local, "a" | "area") {
            document.links.push(value.to_string());
        } else {
            shown.push_str(&format!(" {key}={value:?}"));
        }
    }
    Some(shown)
}

/// Whether nothing is in a node but the pixel.
fn is_of_pixel(node: &Node) -> bool {
    match node {
        Node::Pixel => true,
        Node::Text(_) => false,
        Node::Element { children, .. } => !children.is_empty() && children.iter().all(is_of_pixel),
    }
}

/// Without the pixel; a text that it divides is whole again.
fn without_pixel<'a>(nodes: &'a [Node], expected: &[Node]) -> Vec<&'a Node> {
    let mut kept: Vec<&Node> = nodes.iter().filter(|node| **node != Node::Pixel).collect();
    if kept.len() > expected.len() {
        kept.retain(|node| !is_of_pixel(node));
    }
    kept
}

fn is_same(new: &[Node], old: &[Node]) -> bool {
    let new = without_pixel(new, old);
    let mut new = new.into_iter().peekable();
    let is_same_node = |node: &Node| match (node, new.next()) {
        (Node::Text(text), Some(Node::Text(other))) => {
            let mut whole = other.clone();
            while let Some(Node::Text(more)) = new.next_if(|next| matches!(next, Node::Text(_))) {
                whole.push_str(more);
            }
            *text == whole
        }
        (
            Node::Element { shown, children },
            Some(Node::Element { shown: other, children: others }),
        ) => shown == other && is_same(others, children),
        _ => false,
    };
    old.iter().all(is_same_node) && new.next().is_none()
}

/// Holds two documents against each other: all that differs is where links lead, which is to where they led, and at
/// most one pixel. How many links and pixels are ours.
pub fn compare(name: &str, before: &str, after: &str) -> (usize, usize) {
    // Who reads mail in a browser may have scripts, and what is `noscript` is read in another way then.
    if before.to_ascii_lowercase().contains("<noscript") {
        compare_as(name, before, after, true);
    }
    compare_as(name, before, after, false)
}

fn compare_as(name: &str, before: &str, after: &str, with_scripts: bool) -> (usize, usize) {
    let (old, new) = (read(before, with_scripts), read(after, with_scripts));
    assert!(
        is_same(&new.nodes, &old.nodes),
        "{name}\n{before}\n=>\n{after}\n{:#?}\n=>\n{:#?}",
        old.nodes,
        new.nodes
    );
    let mut rewritten = 0;
    let mut links = new.links.iter().filter(|link| !link.contains("/c/65535-")).peekable();
    for old in &old.links {
        let new = links.next().expect("a link less");
        if old != new {
            rewritten += 1;
            let trimmed = old.trim_matches(|c: char| c <= ' ');
            assert_eq!(target(new).as_deref(), Some(trimmed), "{name}");
        } else {
            assert!(!new.starts_with(&format!("{PUBLIC}/c/0")), "{name}");
        }
    }
    // A copy of an element that was never closed may be a link.
    assert!(
        links.all(|link| new.links.iter().filter(|other| *other == link).count() > 1),
        "{name}"
    );
    assert!(new.pixels <= 1, "{name}");
    (rewritten, new.pixels)
}
