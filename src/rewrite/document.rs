//! What a browser makes of HTML, and whether it is the same after a change.
//!
//! Takes a text before and after its links were rewritten; says whether the trees that html5ever builds of both are the
//! same but for the values of those links and what was put in. Places are found in another way (`html`), by a reader that
//! sees no tree: where the two do not agree, a link would stand in somebody's text, or a pixel in a title. So nothing is
//! sent that was not read again here.
//!
//! What is put in behind a formatting element that was never closed stands in a copy of that element, as any text in its
//! place would; a copy that holds nothing else belongs to it (WHATWG HTML, "reconstruct the active formatting elements").
//! Limits: elements, depth, attributes of a tag, because a parser has to repair anything, and some repairs multiply.
//! What is beyond them is not the same.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::{Attribute, ParseOpts, QualName, local_name, ns, parse_document};

/// Nodes of a document; large newsletters have some 10,000, a report of 10,000 rows ten times as many.
const MAX_NODES: usize = 250_000;
/// Depth; browsers stop at 512.
const MAX_DEPTH: usize = 500;
/// What may separate attributes within one tag: each is compared with all others.
const MAX_SEPARATORS: usize = 12_000;
/// How much is parsed between two looks at the limits.
const BITE_BYTES: usize = 1024;

/// What was changed in a text.
#[derive(Default)]
pub(super) struct Changed {
    /// From a link of ours to where it leads.
    pub links: BTreeMap<String, String>,
    /// The URLs of what was put in.
    pub added: BTreeSet<String>,
}

/// Whether a reader sees the same.
pub(super) fn is_same(before: &str, after: &str, changed: &Changed) -> bool {
    // Who reads mail in a browser may have scripts, and what is `noscript` is read in another way then.
    let noscript = memchr::memmem::find_iter(before.as_bytes(), b"<").any(|at| {
        before.as_bytes().get(at + 1..at + 9).is_some_and(|n| n.eq_ignore_ascii_case(b"noscript"))
    });
    [false, true].into_iter().filter(|scripts| !scripts || noscript).all(|scripts| {
        let trees = (read(before, scripts), read(after, scripts));
        let (Some(old), Some(new)) = trees else { return false };
        old.quirks == new.quirks
            && new.is_as(&old, changed)
            && changed.added.iter().all(|url| new.has_once(url))
    })
}

fn read(html: &str, with_scripts: bool) -> Option<Tree> {
    let mut options = ParseOpts::default();
    options.tree_builder.scripting_enabled = with_scripts;
    let mut parser = parse_document(Builder::default(), options);
    let (mut rest, mut seen, mut separators) = (html, 0, 0);
    while !rest.is_empty() {
        let (bite, after) = rest.split_at(rest.ceil_char_boundary(BITE_BYTES));
        rest = after;
        parser.process(StrTendril::from(bite));
        let sink = &parser.tokenizer.sink.sink;
        // As long as the parser gives nothing back, it may be collecting the attributes of one tag.
        let count = sink.calls.get();
        separators = if count == seen { separators } else { 0 };
        separators += bite.bytes().filter(|b| is_separator(*b)).count();
        seen = count;
        if sink.is_too_much.get() || separators > MAX_SEPARATORS {
            return None;
        }
    }
    let builder = parser.finish();
    let quirks = builder.quirks.get();
    let tree = Tree { nodes: builder.nodes.into_inner(), quirks };
    (!builder.is_too_much.get()).then_some(tree)
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'/' | b'"' | b'\'')
}

struct Node {
    /// Of everything that has to be the same.
    digest: u64,
    text: Option<StrTendril>,
    /// The value of a link.
    link: Option<StrTendril>,
    /// The source of a picture.
    source: Option<StrTendril>,
    parent: Option<usize>,
    children: Vec<usize>,
    depth: usize,
    /// HTML goes on within it (`annotation-xml`).
    is_point: bool,
}

struct Tree {
    nodes: Vec<Node>,
    quirks: QuirksMode,
}

impl Tree {
    fn is_as(&self, old: &Tree, changed: &Changed) -> bool {
        // Depth is limited, but elements that were moved may stand deeper: so no recursion.
        let mut pairs = vec![(0, 0)];
        while let Some((mine, its)) = pairs.pop() {
            let theirs = &old.nodes[its].children;
            let Some(kept) = self.kept(mine, theirs, old, changed) else { return false };
            pairs.extend(kept);
        }
        true
    }

    /// The children of a node, each with the one that it is in the old document; `None` where there is none.
    fn kept(
        &self,
        mine: usize,
        theirs: &[usize],
        old: &Tree,
        changed: &Changed,
    ) -> Option<Vec<(usize, usize)>> {
        let children = &self.nodes[mine].children;
        let is_kept = |node: &&usize| !self.is_added(**node, changed);
        let mut kept: Vec<usize> = children.iter().filter(is_kept).copied().collect();
        if kept.len() > theirs.len() {
            kept.retain(|node| !self.holds_added_alone(*node, changed));
        }
        let mut pairs = Vec::with_capacity(theirs.len());
        let mut kept = kept.into_iter().peekable();
        for its in theirs {
            let mine = kept.next()?;
            let (node, other) = (&self.nodes[mine], &old.nodes[*its]);
            match (&node.text, &other.text) {
                (Some(text), Some(other)) => {
                    // What was put in may divide a text.
                    let mut rest = other.strip_prefix(&**text)?;
                    while let Some(more) = kept.next_if(|next| self.nodes[*next].text.is_some()) {
                        rest = rest.strip_prefix(self.nodes[more].text.as_deref()?)?;
                    }
                    if !rest.is_empty() {
                        return None;
                    }
                }
                (None, None) if is_same_node(node, other, changed) => pairs.push((mine, *its)),
                (None | Some(_), None | Some(_)) => return None,
            }
        }
        kept.next().is_none().then_some(pairs)
    }

    fn is_added(&self, node: usize, changed: &Changed) -> bool {
        let Node { link, source, .. } = &self.nodes[node];
        [link, source].into_iter().flatten().any(|url| changed.added.contains(&**url))
    }

    /// Whether nothing is in an element but what was put in.
    fn holds_added_alone(&self, node: usize, changed: &Changed) -> bool {
        let (mut stack, mut has_added) = (vec![node], false);
        while let Some(node) = stack.pop() {
            if self.is_added(node, changed) {
                has_added = true;
            } else if self.nodes[node].children.is_empty() {
                return false;
            } else {
                stack.extend(&self.nodes[node].children);
            }
        }
        has_added
    }

    fn has_once(&self, url: &str) -> bool {
        let is_it = |node: &&Node| {
            let urls = [&node.link, &node.source];
            node.parent.is_some() && urls.into_iter().flatten().any(|value| &**value == url)
        };
        self.nodes.iter().filter(is_it).count() == 1
    }
}

fn is_same_node(new: &Node, old: &Node, changed: &Changed) -> bool {
    let is_same_link = match (new.link.as_deref(), old.link.as_deref()) {
        (Some(new), Some(old)) if new != old => {
            let led = old.trim_matches(|c: char| c <= ' ');
            changed.links.get(new).is_some_and(|leads| leads == led)
        }
        (new, old) => new == old,
    };
    new.digest == old.digest && new.source == old.source && is_same_link
}

/// Builds the tree, with numbers for nodes; the document is 0.
struct Builder {
    nodes: RefCell<Vec<Node>>,
    names: RefCell<Vec<QualName>>,
    quirks: Cell<QuirksMode>,
    /// Calls of the parser, which show that it has finished a token.
    calls: Cell<usize>,
    is_too_much: Cell<bool>,
}

impl Default for Builder {
    fn default() -> Builder {
        let builder = Builder {
            nodes: RefCell::default(),
            names: RefCell::default(),
            quirks: Cell::new(QuirksMode::NoQuirks),
            calls: Cell::new(0),
            is_too_much: Cell::new(false),
        };
        builder.node(no_name(), 0);
        builder
    }
}

/// The name of what is no element; the parser never asks for it.
fn no_name() -> QualName {
    QualName::new(None, ns!(), local_name!(""))
}

fn digest(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Builder {
    fn node(&self, name: QualName, digest: u64) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node {
            digest,
            text: None,
            link: None,
            source: None,
            parent: None,
            children: Vec::new(),
            depth: 0,
            is_point: false,
        });
        self.names.borrow_mut().push(name);
        self.calls.set(self.calls.get() + 1);
        if nodes.len() > MAX_NODES {
            self.is_too_much.set(true);
        }
        nodes.len() - 1
    }

    /// Puts a child at a place among those of a node.
    fn place(&self, parent: usize, at: usize, child: NodeOrText<usize>) {
        self.calls.set(self.calls.get() + 1);
        let child = match child {
            NodeOrText::AppendNode(child) => child,
            NodeOrText::AppendText(text) => {
                let mut nodes = self.nodes.borrow_mut();
                let before = at.checked_sub(1).map(|before| nodes[parent].children[before]);
                if let Some(kept) = before.and_then(|before| nodes[before].text.as_mut()) {
                    return kept.push_tendril(&text);
                }
                drop(nodes);
                let child = self.node(no_name(), 0);
                self.nodes.borrow_mut()[child].text = Some(text);
                child
            }
        };
        self.detach(child);
        let mut nodes = self.nodes.borrow_mut();
        let depth = nodes[parent].depth + 1;
        (nodes[child].parent, nodes[child].depth) = (Some(parent), depth);
        let at = at.min(nodes[parent].children.len());
        nodes[parent].children.insert(at, child);
        if depth > MAX_DEPTH {
            self.is_too_much.set(true);
        }
    }

    fn detach(&self, child: usize) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(parent) = nodes[child].parent.take() else { return };
        // Who is moved was mostly put in last.
        if let Some(at) = nodes[parent].children.iter().rposition(|node| *node == child) {
            nodes[parent].children.remove(at);
        }
    }

    fn last_place(&self, parent: usize) -> usize {
        self.nodes.borrow()[parent].children.len()
    }
}

impl TreeSink for Builder {
    type Handle = usize;
    type Output = Builder;
    type ElemName<'a> = NameOf;

    fn finish(self) -> Builder {
        self
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> usize {
        0
    }

    fn elem_name<'a>(&'a self, target: &'a usize) -> NameOf {
        NameOf(self.names.borrow()[*target].clone())
    }

    fn create_element(&self, name: QualName, attrs: Vec<Attribute>, flags: ElementFlags) -> usize {
        let is_html = name.ns == ns!(html);
        let is_link = is_html && matches!(name.local, local_name!("a") | local_name!("area"));
        let is_picture = is_html && name.local == local_name!("img");
        let (mut link, mut source, mut kept) = (None, None, Vec::with_capacity(attrs.len()));
        for Attribute { name, value } in attrs {
            match name.local {
                local_name!("href") if is_link => link = Some(value),
                local_name!("src") if is_picture => source = Some(value),
                _ => kept.push((name.ns, name.local, value)),
            }
        }
        let digest = digest((&name.ns, &name.local, &kept));
        let node = self.node(name, digest);
        let mut nodes = self.nodes.borrow_mut();
        (nodes[node].link, nodes[node].source) = (link, source);
        nodes[node].is_point = flags.mathml_annotation_xml_integration_point;
        node
    }

    fn create_comment(&self, text: StrTendril) -> usize {
        self.node(no_name(), digest(("comment", &*text)))
    }

    fn create_pi(&self, target: StrTendril, data: StrTendril) -> usize {
        self.node(no_name(), digest(("instruction", &*target, &*data)))
    }

    fn append(&self, parent: &usize, child: NodeOrText<usize>) {
        self.place(*parent, self.last_place(*parent), child);
    }

    fn append_based_on_parent_node(
        &self,
        element: &usize,
        previous: &usize,
        child: NodeOrText<usize>,
    ) {
        let has_parent = self.nodes.borrow()[*element].parent.is_some();
        match has_parent {
            true => self.append_before_sibling(element, child),
            false => self.append(previous, child),
        }
    }

    fn append_doctype_to_document(&self, name: StrTendril, id: StrTendril, system: StrTendril) {
        let node = self.node(no_name(), digest(("doctype", &*name, &*id, &*system)));
        self.append(&0, NodeOrText::AppendNode(node));
    }

    /// What is in a template is its children here; nothing else can be.
    fn get_template_contents(&self, target: &usize) -> usize {
        *target
    }

    fn same_node(&self, x: &usize, y: &usize) -> bool {
        x == y
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.quirks.set(mode);
    }

    fn append_before_sibling(&self, sibling: &usize, child: NodeOrText<usize>) {
        let nodes = self.nodes.borrow();
        let Some(parent) = nodes[*sibling].parent else { return };
        let at = nodes[parent].children.iter().rposition(|node| node == sibling);
        drop(nodes);
        self.place(parent, at.unwrap_or_default(), child);
    }

    fn add_attrs_if_missing(&self, target: &usize, attrs: Vec<Attribute>) {
        let attrs: Vec<_> = attrs.into_iter().map(|a| (a.name.ns, a.name.local, a.value)).collect();
        let node = &mut self.nodes.borrow_mut()[*target];
        node.digest = digest((node.digest, attrs));
    }

    fn remove_from_parent(&self, target: &usize) {
        self.detach(*target);
    }

    fn reparent_children(&self, node: &usize, new_parent: &usize) {
        let mut nodes = self.nodes.borrow_mut();
        let children = std::mem::take(&mut nodes[*node].children);
        for child in &children {
            nodes[*child].parent = Some(*new_parent);
        }
        nodes[*new_parent].children.extend(children);
    }

    fn is_mathml_annotation_xml_integration_point(&self, node: &usize) -> bool {
        self.nodes.borrow()[*node].is_point
    }
}

/// The name of an element, which the parser holds while it calls.
#[derive(Debug)]
struct NameOf(QualName);

impl html5ever::tree_builder::ElemName for NameOf {
    fn ns(&self) -> &html5ever::Namespace {
        &self.0.ns
    }

    fn local_name(&self) -> &html5ever::LocalName {
        &self.0.local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://t.example/c/x";

    fn check(before: &str, after: &str, expected: bool) {
        let changed = Changed {
            links: [(OURS.to_owned(), "https://e.com".to_owned())].into(),
            added: [String::from("https://t.example/o/x")].into(),
        };
        let after = after.replace("PIXEL", "<img src=\"https://t.example/o/x\">");
        assert_eq!(is_same(before, &after.replace("OURS", OURS), &changed), expected, "{after}");
    }

    #[test]
    fn what_a_reader_would_see_is_not_the_same() {
        check("", "", false);
        check("<p>a", "<p>bPIXEL", false);
        check("<p>a", "<p>aPIXELPIXEL", false);
        check("<p>a", "<p>a<i>PIXEL</i>", true);
        check("<p>a", "<p>a<i>bPIXEL</i>", false);
        check("<title/>", "<title/>PIXEL", false);
        check("<p>a", "<p>a<!--PIXEL-->", false);
        check("<a href=https://e.com>", "<a href=https://other.com>PIXEL", false);
        check("<a href=https://f.com>", "<a href=OURS>PIXEL", false);
        check("<a href=https://e.com>", "<b href=OURS>PIXEL", false);
        check("<p title=https://e.com>", "<p title=OURS>PIXEL", false);
        check("<noscript><a href=https://e.com>", "<noscript><a href=OURS>PIXEL", false);
        check("<p>a", &format!("<p>a{}PIXEL", "<i>".repeat(600)), false);
        let lines = "<br>".repeat(MAX_NODES);
        check(&lines, &format!("{lines}PIXEL"), false);
        let many: String = (0..20_000).map(|i| format!("a{i} ")).collect();
        check(&format!("<a {many}>"), &format!("<a {many}>PIXEL"), false);
    }

    #[test]
    fn links_and_what_was_put_in_make_no_other_document() {
        check("a", "aPIXEL", true);
        check("ab", "aPIXELb", true);
        check("<p><b>a</p>", "<p><b>a</p>PIXEL", true);
        check("<a href=' https://e.com'>x</a>", "<a href=OURS>x</a>PIXEL", true);
        check("<table><tr><td>a", "<table><tr><td>aPIXEL", true);
        check("<table>a<tr>b<td>c</table>d", "<table>a<tr>b<td>c</table>dPIXEL", true);
        check("<template><p>a</template>", "<template><p>a</template>PIXEL", true);
        check("<b>1<p>2</b>3</p>", "<b>1<p>2</b>3</p>PIXEL", true);
    }
}
