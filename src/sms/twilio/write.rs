//! A view as JSON, or as the XML that Twilio makes of the same view: `num_segments` is
//! `<NumSegments>`, and everything stands in one `<TwilioResponse>`.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::sms::call::Format;
use crate::sms::response;

/// One view, called `name` in XML.
pub(super) fn response(
    status: StatusCode,
    format: Format,
    name: &str,
    view: &Value,
) -> Response<Bytes> {
    let (media, body) = match format {
        Format::Json | Format::Text | Format::Gateway => ("application/json", view.to_string()),
        Format::Xml => {
            let mut out = String::from(DECLARATION);
            out.push_str("<TwilioResponse>");
            element(&mut out, name, view);
            out.push_str("</TwilioResponse>");
            ("application/xml", out)
        }
    };
    response::document(status, media, body)
}

/// A page: in XML its numbers and links are attributes, and `items` its children.
pub(super) fn page(format: Format, names: (&str, &str), view: &Value) -> Response<Bytes> {
    let (many, one) = names;
    if format != Format::Xml {
        return response(StatusCode::OK, format, many, view);
    }
    let mut out = format!("{DECLARATION}<TwilioResponse><{}", camel(many));
    for (key, value) in view.as_object().into_iter().flatten().filter(|(key, _)| *key != many) {
        let text = escape(&scalar(value));
        out.push_str(&format!(" {}=\"{text}\"", key.replace('_', "")));
    }
    out.push('>');
    for item in view[many].as_array().into_iter().flatten() {
        element(&mut out, one, item);
    }
    out.push_str(&format!("</{}></TwilioResponse>", camel(many)));
    response::document(StatusCode::OK, "application/xml", out)
}

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Names are ours, values are not.
fn element(out: &mut String, name: &str, value: &Value) {
    let name = camel(name);
    match value {
        Value::Null => out.push_str(&format!("<{name}/>")),
        Value::Object(fields) => {
            out.push_str(&format!("<{name}>"));
            fields.iter().for_each(|(key, value)| element(out, key, value));
            out.push_str(&format!("</{name}>"));
        }
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&format!("<{name}>{}</{name}>", escape(&scalar(value))));
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// `more_info` is `MoreInfo`.
fn camel(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect::<String>()
    };
    name.split('_').map(word).collect()
}

/// XML 1.0 §2.2 has no place for most control characters, not even escaped.
pub(super) fn escape(text: &str) -> String {
    let is_char = |c: char| {
        matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
    };
    let clean: String = text.chars().map(|c| if is_char(c) { c } else { '\u{fffd}' }).collect();
    // A bare carriage return would be read as a line feed (§2.11).
    quick_xml::escape::escape(clean).replace('\r', "&#13;")
}
