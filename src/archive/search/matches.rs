//! Whether one message is an answer to a question: what the index says with its terms, said by
//! looking at the message. It decides for what the index does not have yet, and a test holds the
//! index against it.

use super::document::Document;
use super::language::{Leaf, Node};
use super::standings::Standing;
use crate::model::MessageId;

/// One message with everything that a question may ask about.
pub(super) struct Candidate<'a> {
    pub id: MessageId,
    pub document: &'a Document,
    pub standing: Standing,
}

pub(super) fn matches(node: &Node, candidate: &Candidate<'_>) -> bool {
    match node {
        Node::All(nodes) => nodes.iter().all(|node| matches(node, candidate)),
        Node::Any(nodes) => nodes.iter().any(|node| matches(node, candidate)),
        Node::Not(node) => !matches(node, candidate),
        Node::Leaf(leaf) => has(leaf, candidate),
    }
}

fn has(leaf: &Leaf, candidate: &Candidate<'_>) -> bool {
    let document = candidate.document;
    match leaf {
        Leaf::Head(scope, head) => {
            document.text(*scope).beginnings().any(|found| found.starts_with(head.as_str()))
        }
        Leaf::Phrase(scope, words) => {
            let text: Vec<&str> = document.text(*scope).words().split('\n').collect();
            text.windows(words.len().max(1)).any(|found| found == words)
        }
        Leaf::Digits(scope, digits) => {
            document.text(*scope).numbers.iter().any(|number| number.contains(digits.as_str()))
        }
        Leaf::Fact(fact) => document.facts.contains(fact),
        Leaf::Mark(mark) => candidate.standing.has(*mark),
        Leaf::Since(id) => candidate.id >= *id,
        Leaf::Until(id) => candidate.id < *id,
    }
}
