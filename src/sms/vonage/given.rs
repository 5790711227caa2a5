//! What a request gives, wherever it stands: query, form and JSON body are one list of fields, and HTTP
//! Basic stands beside it.
//!
//! The vendor's own libraries use each of these places: one signs a form, one posts JSON under HTTP
//! Basic, one writes everything into the query of an empty POST. A field of the body wins over one of the
//! query, and the last one of a name over those before it; whoever reads a field and whoever checks the
//! signature see the same one. JSON `null` is as good as absent, and numbers are as good as
//! strings.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, header};

use super::super::basic;
use super::super::form::Fields;
use crate::model::Secret;

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Given {
    fields: BTreeMap<String, Vec<u8>>,
    /// User name and password of HTTP Basic (RFC 7617).
    pub basic: Option<(String, Secret)>,
    /// What is wrong with the body, none of which is among the fields then.
    pub trouble: Option<&'static str>,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyForm {
    Json,
    Fields,
}

impl BodyForm {
    /// By the content type; without a telling one, what begins as a JSON object is one.
    pub(super) fn of(request: &Request<Bytes>) -> BodyForm {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let begins_as_json = request.body().trim_ascii_start().starts_with(b"{");
        match kind.split(';').next().unwrap_or_default().trim() {
            "application/json" => BodyForm::Json,
            "application/x-www-form-urlencoded" => BodyForm::Fields,
            _ if begins_as_json => BodyForm::Json,
            _ => BodyForm::Fields,
        }
    }
}

impl Given {
    /// Takes a request apart.
    pub(super) fn of(request: &Request<Bytes>) -> Given {
        let mut fields = BTreeMap::new();
        let mut add = |text: &[u8]| {
            let parsed = Fields::parse(text);
            fields.extend(parsed.iter().map(|(name, value)| (name.to_owned(), value.to_vec())));
        };
        add(request.uri().query().unwrap_or_default().as_bytes());
        let mut trouble = None;
        if !request.body().trim_ascii().is_empty() {
            match BodyForm::of(request) {
                BodyForm::Fields => add(request.body()),
                BodyForm::Json => match json_fields(request.body()) {
                    Ok(found) => fields.extend(found),
                    Err(why) => trouble = Some(why),
                },
            }
        }
        Given { fields, basic: texts(basic::pair(request.headers())), trouble }
    }

    /// A field as text; one that is empty or not there is `None`. What is no UTF-8 becomes U+FFFD.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// A field as it was sent; one that is empty or not there is `None`.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.fields.get(name).map(|value| &value[..]).filter(|value| !value.is_empty())
    }

    /// Whether the field was sent, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A yes: `1` and `true` in any case, as `True` of Python's forms.
    pub(super) fn is_yes(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"))
    }

    /// Every field once, sorted by name, empty ones included.
    pub(super) fn all(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.fields
    }
}

fn texts(pair: Option<(Vec<u8>, Vec<u8>)>) -> Option<(String, Secret)> {
    let (name, password) = pair?;
    let password = String::from_utf8(password).ok()?;
    Some((String::from_utf8(name).ok()?, Secret::new(password)))
}

/// An object of strings, numbers and booleans.
fn json_fields(body: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, &'static str> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|_| "the body is no JSON object")?;
    let mut fields = BTreeMap::new();
    for (name, value) in object {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::Bool(value) => value.to_string(),
            serde_json::Value::Number(value) => value.to_string(),
            serde_json::Value::String(value) => value,
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err("a field of the JSON object is a list or an object");
            }
        };
        fields.insert(name, text.into_bytes());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(uri: &str, kind: &str, body: &str) -> Given {
        let request = Request::post(uri).header(header::CONTENT_TYPE, kind);
        Given::of(&request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap())
    }

    #[test]
    fn what_is_no_object_of_plain_values_is_not_read() {
        for bad in ["{", "[]", "1", "{\"a\":[1]}", "{\"a\":{\"b\":1}}", "{\"a\":1}x"] {
            let given = given("/?a=2", "application/json", bad);
            assert!(given.trouble.is_some(), "{bad}");
            assert_eq!(given.text("a").as_deref(), Some("2"), "{bad}");
        }
    }

    #[test]
    fn every_place_is_read_and_the_body_wins() {
        let form = "application/x-www-form-urlencoded";
        let json = "application/json; charset=utf-8";
        let check = |uri, kind, body, expected: &[(&str, Option<&str>)]| {
            let given = given(uri, kind, body);
            for (name, value) in expected {
                assert_eq!(given.text(name).as_deref(), *value, "{name} of {uri} {body}");
            }
        };
        check("/?a=1&b=2&a=3", form, "", &[("a", Some("3")), ("b", Some("2")), ("c", None)]);
        check("/?a=1&b=2", form, "a=x+y%26&c=", &[("a", Some("x y&")), ("c", None)]);
        check("/?a=1", json, r#"{"a":45,"b":null,"c":true}"#, &[("a", Some("45")), ("b", None)]);
        check("/", "text/plain", r#" {"a":"1"}"#, &[("a", Some("1"))]);
        check("/", "", "a=1", &[("a", Some("1"))]);
    }
}
