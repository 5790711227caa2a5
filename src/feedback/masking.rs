//! A callback as it is archived: in the form of `message/http` (RFC 9112 §10.1), without secrets.
//!
//! Kept are the request line, `Content-Type` and the body. Fields that hold a secret or a signature
//! are masked in query, form and JSON alike; other header fields are left out, because providers
//! sign and authenticate in them.

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::sms::form::Fields;

/// Names of fields, in lower case, that must not be kept.
const SECRETS: [&str; 16] = [
    "token",
    "sig",
    "signature",
    "password",
    "pass",
    "secret",
    "api_secret",
    "api-secret",
    "apisecret",
    "api_key",
    "api-key",
    "apikey",
    "auth",
    "auth_token",
    "proof",
    "jwt",
];
const MASK: &str = "***";

/// The bytes to archive.
pub(super) fn masked(request: &Request<Bytes>) -> Bytes {
    let uri = request.uri();
    let mut out = format!("{} {}", request.method(), uri.path());
    if let Some(query) = uri.query() {
        out.push('?');
        out.push_str(&masked_fields(query.as_bytes()));
    }
    out.push_str(" HTTP/1.1\r\n");
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(content_type) = content_type {
        out.push_str("Content-Type: ");
        out.push_str(content_type);
        out.push_str("\r\n");
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();
    out.extend_from_slice(&masked_body(request.body(), content_type.unwrap_or_default()));
    Bytes::from(out)
}

fn masked_body(body: &Bytes, content_type: &str) -> Vec<u8> {
    if let Ok(Value::Object(mut object)) = serde_json::from_slice(body) {
        let secrets: Vec<String> = object.keys().filter(|name| is_secret(name)).cloned().collect();
        if secrets.is_empty() {
            return body.to_vec();
        }
        for name in secrets {
            object.insert(name, Value::String(MASK.to_owned()));
        }
        return Value::Object(object).to_string().into_bytes();
    }
    match content_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        true => masked_fields(body).into_bytes(),
        false => body.to_vec(),
    }
}

/// As it came where there is nothing to mask.
fn masked_fields(text: &[u8]) -> String {
    let pairs = text.split(|b| *b == b'&').map(|pair| {
        let name = Fields::parse(pair).iter().next().map(|(name, _)| name.to_owned());
        match name.filter(|name| is_secret(name)) {
            Some(name) => format!("{name}={MASK}"),
            None => String::from_utf8_lossy(pair).into_owned(),
        }
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, content_type: &str, body: &'static str, expected: &str) {
        let request = Request::post(uri)
            .header(CONTENT_TYPE, content_type)
            .header("x-twilio-signature", "hush")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        let kept = String::from_utf8(masked(&request).to_vec()).unwrap();
        assert_eq!(kept, expected);
        assert!(!kept.contains("hush"), "{kept}");
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        check(
            "/hooks/a/inbound?token=hush&x=1&to%6ben=hush",
            "application/x-www-form-urlencoded",
            "From=%2B45&Password=hush&Body=a%26b",
            "POST /hooks/a/inbound?token=***&x=1&token=*** HTTP/1.1\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n\
             From=%2B45&Password=***&Body=a%26b",
        );
        check(
            "/h",
            "application/json",
            r#"{"sig":"hush","text":"a"}"#,
            "POST /h HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"sig\":\"***\",\"text\":\"a\"}",
        );
        check(
            "/h",
            "application/json",
            r#"{ "text" : "a" }"#,
            "POST /h HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{ \"text\" : \"a\" }",
        );
    }
}
