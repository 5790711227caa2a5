//! A request as it may be archived: `message/http` (RFC 9112 §10.1) without its secrets.
//!
//! Takes the request and the names of what is secret in it; gives request line, `Host`,
//! `Content-Type` and the dialect's own fields, an empty line, and the body. Everything but the
//! values of secrets stays as it came. Of `Authorization` only a scheme that is known stays, and a JSON
//! document that can not be read is left out: nobody can tell where its secrets are.

use bytes::Bytes;
use http::{HeaderName, Request, header};

use super::form::Fields;

/// What stands where a secret stood.
const MASK: &[u8] = b"***";
/// What may stand before credentials; every other word may be a part of them.
const SCHEMES: [&str; 4] = ["Basic", "Bearer", "Token", "OAuth"];

/// Writes the request; `fields` are headers to keep as they are, `secrets` the names of parameters
/// of query, form and JSON object whose values are masked, in small letters.
pub fn masked_http(request: &Request<Bytes>, fields: &[HeaderName], secrets: &[&str]) -> Bytes {
    let mut out = Vec::with_capacity(request.body().len() + 256);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.uri().path().as_bytes());
    if let Some(query) = request.uri().query() {
        out.push(b'?');
        out.extend(masked_pairs(query.as_bytes(), secrets));
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for name in [header::HOST, header::CONTENT_TYPE].iter().chain(fields) {
        for value in request.headers().get_all(name) {
            write_field(&mut out, name, value.as_bytes());
        }
    }
    for value in request.headers().get_all(header::AUTHORIZATION) {
        let word = value.as_bytes().split(|b| *b == b' ').next().unwrap_or_default();
        let is_scheme = SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()));
        let shown = if is_scheme { [word, b" ", MASK].concat() } else { MASK.to_vec() };
        write_field(&mut out, &header::AUTHORIZATION, &shown);
    }
    out.extend_from_slice(b"\r\n");
    out.extend(masked_body(request.body(), secrets));
    out.into()
}

fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A JSON document is left as it came unless it holds a secret at its top: then it is written anew.
fn masked_body(body: &[u8], secrets: &[&str]) -> Vec<u8> {
    if !is_json(body) {
        return masked_pairs(body, secrets);
    }
    let mut object = match serde_json::from_slice(body) {
        Ok(serde_json::Value::Object(object)) => object,
        Ok(_) => return body.to_vec(),
        Err(_) => return MASK.to_vec(),
    };
    let mut is_changed = false;
    for (_, value) in object.iter_mut().filter(|(name, _)| is_secret(name, secrets)) {
        *value = String::from_utf8_lossy(MASK).into();
        is_changed = true;
    }
    if !is_changed {
        return body.to_vec();
    }
    serde_json::Value::Object(object).to_string().into_bytes()
}

/// Whether a body is a JSON document, by its first character: clients leave `Content-Type` out, and
/// no form of any dialect begins like this.
pub(super) fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// `name=value&…` with the values of secrets masked, by their decoded names.
fn masked_pairs(pairs: &[u8], secrets: &[&str]) -> Vec<u8> {
    let mask = |pair: &[u8]| {
        let is_secret = Fields::parse(pair).iter().any(|(name, _)| is_secret(name, secrets));
        match pair.iter().position(|b| *b == b'=') {
            Some(at) if is_secret => [&pair[..=at], MASK].concat(),
            Some(_) | None => pair.to_vec(),
        }
    };
    pairs.split(|b| *b == b'&').map(mask).collect::<Vec<_>>().join(&b'&')
}

fn is_secret(name: &str, secrets: &[&str]) -> bool {
    secrets.iter().any(|secret| name.trim().eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, headers: &[(&str, &str)], body: &str, expected: &str) {
        let mut request = Request::post(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        let kept = [HeaderName::from_static("idempotency-key")];
        let masked = masked_http(&request, &kept, &["token", "password"]);
        assert_eq!(String::from_utf8_lossy(&masked), expected);
    }

    #[test]
    fn what_may_be_a_secret_is_left_out() {
        let expected = "POST /x HTTP/1.1\r\nauthorization: ***\r\n\r\n";
        check("/x", &[("Authorization", "s3")], "", expected);
        check("/x", &[("Authorization", "s3 cret")], "", expected);
        check("/x", &[], r#"{"token":"s3""#, "POST /x HTTP/1.1\r\n\r\n***");
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        check(
            "/x?token=s3&a=1&%74oken=s3",
            &[],
            "",
            "POST /x?token=***&a=1&%74oken=*** HTTP/1.1\r\n\r\n",
        );
        check(
            "/x",
            &[("Authorization", "Basic czM6"), ("Cookie", "s3"), ("Idempotency-Key", "k")],
            "password=s3&text=a%26b",
            "POST /x HTTP/1.1\r\nidempotency-key: k\r\nauthorization: Basic ***\r\n\r\npassword=***&text=a%26b",
        );
        check("/x", &[], r#"{"token":"s3"}"#, "POST /x HTTP/1.1\r\n\r\n{\"token\":\"***\"}");
        check("/x", &[], r#"{ "a": 1}"#, "POST /x HTTP/1.1\r\n\r\n{ \"a\": 1}");
        check("/x", &[], r#"["token"]"#, "POST /x HTTP/1.1\r\n\r\n[\"token\"]");
        check(
            "/x?",
            &[("Host", "h")],
            r#"{"t":1, "\u0074oken":"s3"}"#,
            "POST /x? HTTP/1.1\r\nhost: h\r\n\r\n{\"t\":1,\"token\":\"***\"}",
        );
        check("/x", &[], "a=1&&TOKEN=s3&x", "POST /x HTTP/1.1\r\n\r\na=1&&TOKEN=***&x");
    }
}
