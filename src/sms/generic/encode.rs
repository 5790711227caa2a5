//! One encoder for each place of a request, none of which a value can leave.
//!
//! A URL (RFC 3986), a form (WHATWG URL §5), a JSON string (RFC 8259), XML text (XML 1.0), a header field
//! (RFC 9110), plain text. What a place can not hold is an error or becomes a space, as it says.

use serde_json::Value;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyForm {
    Form,
    Json,
    Xml,
    Plain,
}

impl BodyForm {
    /// By the media type; `None` for one that nobody here can write.
    pub(super) fn of(media_type: &str) -> Option<BodyForm> {
        let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-www-form-urlencoded" => Some(BodyForm::Form),
            "text/plain" => Some(BodyForm::Plain),
            _ if kind == "application/json" || kind.ends_with("+json") => Some(BodyForm::Json),
            "application/xml" | "text/xml" => Some(BodyForm::Xml),
            _ if kind.ends_with("+xml") => Some(BodyForm::Xml),
            _ => None,
        }
    }

    /// By how the template begins.
    pub(super) fn guess(template: &str) -> BodyForm {
        match template.trim_start().chars().next() {
            Some('{' | '[') => BodyForm::Json,
            Some('<') => BodyForm::Xml,
            Some(_) | None => BodyForm::Form,
        }
    }

    /// The media type that is sent when none is configured.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            BodyForm::Form => "application/x-www-form-urlencoded",
            BodyForm::Json => "application/json",
            BodyForm::Xml => "application/xml",
            BodyForm::Plain => "text/plain; charset=utf-8",
        }
    }
}

/// Into a URL's path or query: all but letters, digits and `-._~` is escaped (RFC 3986 §2.3), also
/// the blank, which servers read in two ways as a plus sign.
pub(super) fn url(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Into a header: as in a URL, with the plus sign of numbers.
pub(super) fn header(value: &str) -> String {
    url(value).replace("%2B", "+")
}

/// Into a form (WHATWG URL §5).
pub(super) fn form(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// Into a JSON string, whose quotes stand in the template (RFC 8259 §7).
pub(super) fn json(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// Into the text of an element or a quoted attribute (XML 1.0 §2.2 and §2.4). The error names what XML
/// has no way to write.
pub(super) fn xml(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(c))),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                return Err(format!("XML can not hold the character U+{:04X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Into plain text among other values: no control characters, so that lines stay lines.
pub(super) fn plain(value: &str) -> String {
    value.chars().map(|c| if c.is_control() || is_line_break(c) { ' ' } else { c }).collect()
}

/// Into plain text that is nothing but this value: line breaks may stay.
pub(super) fn plain_alone(value: &str) -> String {
    value.chars().map(|c| if c.is_control() && c != '\n' && c != '\r' { ' ' } else { c }).collect()
}

/// Beside the control characters, what Unicode breaks lines at.
fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sms::form::Fields;

    #[test]
    fn values_stay_values() {
        assert!(xml("a\u{c}").is_err());
        assert!(xml("\0").is_err());
        assert_eq!(
            xml("<a b='c'>&\"\r\n").unwrap(),
            "&lt;a b=&apos;c&apos;&gt;&amp;&quot;&#13;&#10;"
        );
        assert_eq!(url("+45 a&b=æ/..?"), "%2B45%20a%26b%3D%C3%A6%2F..%3F");
        assert_eq!(header("+45\r\nA: b"), "+45%0D%0AA%3A%20b");
        assert_eq!(form("a b&c"), "a+b%26c");
        assert_eq!(json("\"\\\r\n\u{0}æ"), "\\\"\\\\\\r\\n\\u0000æ");
        assert_eq!(plain("a\r\nto=1\u{85}\u{2028}"), "a  to=1  ");
        assert_eq!(plain_alone("a\r\nb\u{0}"), "a\r\nb ");
    }

    #[test]
    fn media_types_have_a_form() {
        for bad in ["", "multipart/form-data", "text/csv", "image/png"] {
            assert_eq!(BodyForm::of(bad), None, "{bad}");
        }
        assert_eq!(BodyForm::of("Application/JSON; charset=utf-8"), Some(BodyForm::Json));
        assert_eq!(BodyForm::of("application/soap+xml"), Some(BodyForm::Xml));
        assert_eq!(BodyForm::guess(" [1]"), BodyForm::Json);
        assert_eq!(BodyForm::guess("<a/>"), BodyForm::Xml);
        assert_eq!(BodyForm::guess("to={to}"), BodyForm::Form);
    }

    proptest! {
        #[test]
        fn no_value_changes_another(value in "\\PC*|[\\x00-\\x7f]{0,40}") {
            for encoded in [form(&value), url(&value)] {
                let fields = Fields::parse(format!("a=1&v={encoded}&b=2").as_bytes());
                prop_assert_eq!(fields.iter().count(), 3);
                prop_assert_eq!(fields.get("v").unwrap(), value.as_str());
            }
            let document = format!("{{\"a\":1,\"v\":\"{}\",\"b\":2}}", json(&value));
            let read: Value = serde_json::from_str(&document).unwrap();
            prop_assert_eq!(read.as_object().unwrap().len(), 3);
            prop_assert_eq!(read["v"].as_str().unwrap(), value.as_str());
            prop_assert!(header(&value).bytes().all(|b| b.is_ascii_graphic() && b != b',' && b != b';'));
            prop_assert_eq!(plain(&value).lines().count().min(1), usize::from(!value.is_empty()));
            if let Ok(text) = xml(&value) {
                let is_markup = |c: char| "<>\"'".contains(c) || c.is_control();
                prop_assert!(!text.contains(is_markup));
            }
        }
    }
}
