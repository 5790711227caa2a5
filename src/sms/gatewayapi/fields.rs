//! A request's fields as one JSON value, whether they came as JSON, as a form or in the query.
//!
//! Forms name what lies inside with dots (`recipients.0.msisdn=45…`; brackets are taken as well).
//! Credentials are no fields. Where JSON and query say the same thing, JSON counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value};

use super::super::call::{Refusal, quoted};
use super::super::form::Fields;
use super::super::masked::is_json;

/// How deep names lie inside each other: `recipients.0.charge.amount` is 4.
const MAX_DEPTH: usize = 5;

/// Parameters that are not the message's.
const CREDENTIALS: [&str; 3] = ["token", "user", "password"];

/// An object for one message, a list for many.
pub(super) fn read(request: &Request<Bytes>) -> Result<Value, Refusal> {
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let body = request.body();
    if !is_json(body) {
        return tree(&query.and(Fields::parse(body)));
    }
    let document = serde_json::from_slice(body);
    let document =
        document.map_err(|error| Refusal::Malformed(format!("invalid JSON: {error}")))?;
    match (document, tree(&query)?) {
        (Value::Object(mut object), Value::Object(others)) => {
            for (name, value) in others {
                object.entry(name).or_insert(value);
            }
            Ok(Value::Object(object))
        }
        (document, _) => Ok(document),
    }
}

/// What a dotted name leads to.
enum Node {
    Leaf(String),
    Inner(BTreeMap<Key, Node>),
}

/// Numbers in their order, before words.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Index(u32),
    Name(String),
}

fn tree(fields: &Fields) -> Result<Value, Refusal> {
    let mut root = BTreeMap::new();
    for (name, value) in fields.iter() {
        if CREDENTIALS.contains(&name) || name.starts_with("oauth_") || name.is_empty() {
            continue;
        }
        let Ok(value) = std::str::from_utf8(value) else {
            return Err(Refusal::Malformed(format!("{} is no UTF-8", quoted(name))));
        };
        let dotted = name.replace("][", ".").replace('[', ".").replace(']', "");
        let keys: Vec<&str> = dotted.split('.').collect();
        if keys.len() > MAX_DEPTH || !insert(&mut root, &keys, value) {
            return Err(Refusal::Malformed(format!("{} fits no other field", quoted(name))));
        }
    }
    Ok(value_of(Node::Inner(root), true))
}

/// `false` when the name leads through a value, or ends at an object.
fn insert(into: &mut BTreeMap<Key, Node>, keys: &[&str], value: &str) -> bool {
    let Some((first, rest)) = keys.split_first() else { return false };
    let key = first.parse().map_or_else(|_| Key::Name((*first).to_owned()), Key::Index);
    if rest.is_empty() {
        // The last one of a name counts, as in every form.
        let before = into.insert(key, Node::Leaf(value.to_owned()));
        return !matches!(before, Some(Node::Inner(_)));
    }
    match into.entry(key).or_insert_with(|| Node::Inner(BTreeMap::new())) {
        Node::Inner(inner) => insert(inner, rest, value),
        Node::Leaf(_) => false,
    }
}

/// Names that are all numbers make a list; without any name it is an empty object.
fn value_of(node: Node, is_root: bool) -> Value {
    let inner = match node {
        Node::Leaf(text) => return Value::String(text),
        Node::Inner(inner) => inner,
    };
    let is_list = !(is_root && inner.is_empty())
        && inner.keys().all(|key| match key {
            Key::Index(_) => true,
            Key::Name(_) => false,
        });
    let values = inner.into_iter().map(|(key, node)| {
        let name = match key {
            Key::Index(index) => index.to_string(),
            Key::Name(name) => name,
        };
        (name, value_of(node, false))
    });
    if is_list {
        return Value::Array(values.map(|(_, value)| value).collect());
    }
    Value::Object(values.collect::<Map<String, Value>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, body: &'static str, expected: Option<&str>) {
        let request = Request::post(target).body(Bytes::from_static(body.as_bytes())).unwrap();
        let found = read(&request).ok().map(|value| value.to_string());
        assert_eq!(found.as_deref(), expected, "{target} {body}");
    }

    #[test]
    fn fields_come_in_every_form() {
        check("/", "{", None);
        check("/?a=%ff", "", None);
        check("/?a=1&a.b=2", "", None);
        check("/?a.b=2&a=1", "", None);
        check("/?a.b.c.d.e.f=1", "", None);
        check("/", "", Some("{}"));
        check("/?token=s&user=u&password=p&oauth_nonce=1&a=1", "", Some(r#"{"a":"1"}"#));
        check(
            "/",
            "recipients.10.msisdn=2&recipients.9.msisdn=1&message=a+b",
            Some(r#"{"message":"a b","recipients":[{"msisdn":"1"},{"msisdn":"2"}]}"#),
        );
        check("/", "tags[0]=x&r[0][msisdn]=1", Some(r#"{"r":[{"msisdn":"1"}],"tags":["x"]}"#));
        check("/", "0.message=x&1.message=y", Some(r#"[{"message":"x"},{"message":"y"}]"#));
        check("/?a=1&b=2", r#" {"a":3}"#, Some(r#"{"a":3,"b":"2"}"#));
        check("/?token=s", r#"[{"a":3}]"#, Some(r#"[{"a":3}]"#));
    }
}
