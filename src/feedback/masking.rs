//! A callback as it is archived: in the form of `message/http` (RFC 9112 §10.1), without secrets.
//!
//! Fields that hold a secret or a signature are masked in query, form and JSON alike; most header fields
//! are left out, because providers sign and authenticate in them.

use bytes::Bytes;
use http::Request;

use crate::sms::masked::masked_http;

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

/// The bytes to archive.
pub(super) fn masked(request: &Request<Bytes>) -> Bytes {
    masked_http(request, &[], &SECRETS)
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

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
            "POST /hooks/a/inbound?token=***&x=1&to%6ben=*** HTTP/1.1\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n\
             From=%2B45&Password=***&Body=a%26b",
        );
        check(
            "/h",
            "application/json",
            r#"{"sig":"hush","text":"a"}"#,
            "POST /h HTTP/1.1\r\ncontent-type: application/json\r\n\r\n{\"sig\":\"***\",\"text\":\"a\"}",
        );
        check(
            "/h",
            "application/json",
            r#"{ "text" : "a" }"#,
            "POST /h HTTP/1.1\r\ncontent-type: application/json\r\n\r\n{ \"text\" : \"a\" }",
        );
    }
}
