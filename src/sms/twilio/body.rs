//! The fields of a request, whichever way they came: query, form or JSON.
//!
//! The body's stand behind the query's, so that the body wins where only one can count. JSON `null`
//! is a field that was not given; numbers and truth values are taken as their text.

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use serde_json::Value;

use crate::sms::form::Fields;
use crate::sms::masked;

/// The body is neither a form nor a flat JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Query and body.
pub(super) fn fields(request: &Request<Bytes>) -> Result<Fields, Unreadable> {
    Ok(query(request).and(body(request)?))
}

/// The query alone.
pub(super) fn query(request: &Request<Bytes>) -> Fields {
    Fields::parse(request.uri().query().unwrap_or_default().as_bytes())
}

/// The body alone.
pub(super) fn body(request: &Request<Bytes>) -> Result<Fields, Unreadable> {
    // Clients leave `Content-Type` out, and no form begins like a document.
    match is_json(request.headers()) || masked::is_json(request.body()) {
        true => from_json(request.body()),
        false => Ok(Fields::parse(request.body())),
    }
}

/// Whether the body says that it is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json") || media.to_ascii_lowercase().ends_with("+json")
}

fn from_json(body: &[u8]) -> Result<Fields, Unreadable> {
    let mut fields = Fields::default();
    if body.trim_ascii().is_empty() {
        return Ok(fields);
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return Err(Unreadable) };
    for (name, value) in &object {
        match value {
            Value::Array(values) => {
                values.iter().try_for_each(|value| push(&mut fields, name, value))?;
            }
            value => push(&mut fields, name, value)?,
        }
    }
    Ok(fields)
}

fn push(fields: &mut Fields, name: &str, value: &Value) -> Result<(), Unreadable> {
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => fields.push(name, &value.to_string()),
        Value::String(text) => fields.push(name, text),
        Value::Array(_) | Value::Object(_) => return Err(Unreadable),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str, media: &str, body: &'static str) -> Result<String, Unreadable> {
        let request = Request::post(uri).header(header::CONTENT_TYPE, media);
        fields(&request.body(Bytes::from(body)).unwrap()).map(|fields| fields.encode())
    }

    #[test]
    fn every_form_gives_the_same_fields() {
        let json = "application/json; charset=utf-8";
        for bad in ["[]", "1", "{", "{\"a\":{}}", "{\"a\":[[1]]}", "{\"a\":1}{}"] {
            assert_eq!(read("/", json, bad), Err(Unreadable), "{bad}");
        }
        let form = "application/x-www-form-urlencoded";
        assert_eq!(read("/?a=1", form, "b=2&c=").unwrap(), "a=1&b=2&c=");
        assert_eq!(read("/?a=1", "", "b=2").unwrap(), "a=1&b=2");
        assert_eq!(read("/", "", "{\"a\":1}").unwrap(), "a=1");
        assert_eq!(read("/?a=1", json, "").unwrap(), "a=1");
        assert_eq!(
            read("/", json, "{\"a\":\"\",\"b\":2,\"c\":true,\"d\":null,\"e\":[1,\"x\"]}").unwrap(),
            "a=&b=2&c=true&e=1&e=x"
        );
    }
}
