//! A request as it may be archived: `message/http` (RFC 9112 §10.1) with `api_secret`, `sig` and
//! `Authorization` masked, in the query and in the body alike.
//!
//! Everything else stays to the byte, but that a JSON object which holds a secret is written anew. A
//! JSON body that can not be read is left out: nobody can tell where its secrets are.

use bytes::Bytes;
use http::{Request, header};

use super::super::form::Fields;
use super::given::BodyForm;

const MASK: &str = "[hidden]";
/// Fields that prove something. The key names the account and stays.
const SECRETS: [&str; 2] = ["api_secret", "sig"];

/// Writes the request without its secrets.
pub(super) fn masked(request: &Request<Bytes>) -> Bytes {
    let mut out = Vec::with_capacity(request.body().len() + 512);
    let uri = request.uri();
    let query = uri.query().map(|query| mask_fields(query.as_bytes()));
    out.extend_from_slice(format!("{} {}", request.method(), uri.path()).as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(&query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for name in [header::HOST, header::CONTENT_TYPE] {
        if let Some(value) = request.headers().get(&name) {
            out.extend_from_slice(format!("{name}: ").as_bytes());
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    if request.headers().contains_key(header::AUTHORIZATION) {
        out.extend_from_slice(format!("authorization: {MASK}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&match BodyForm::of(request) {
        BodyForm::Fields => mask_fields(request.body()),
        BodyForm::Json => mask_json(request.body()),
    });
    out.into()
}

/// Field by field, so that what is no secret stays as it was written.
fn mask_fields(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (place, pair) in text.split(|b| *b == b'&').enumerate() {
        if place > 0 {
            out.push(b'&');
        }
        // The name may be written with escapes.
        let is_secret = Fields::parse(pair).iter().any(|(name, _)| is_secret(name));
        match pair.iter().position(|b| *b == b'=') {
            Some(at) if is_secret => {
                out.extend_from_slice(&pair[..=at]);
                out.extend_from_slice(MASK.as_bytes());
            }
            Some(_) | None => out.extend_from_slice(pair),
        }
    }
    out
}

fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| name.trim().eq_ignore_ascii_case(secret))
}

fn mask_json(body: &[u8]) -> Vec<u8> {
    if body.trim_ascii().is_empty() {
        return body.to_vec();
    }
    let parsed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body);
    let Ok(mut object) = parsed else { return MASK.as_bytes().to_vec() };
    let mut has_secret = false;
    for (name, value) in &mut object {
        if is_secret(name) {
            *value = MASK.into();
            has_secret = true;
        }
    }
    if has_secret {
        serde_json::Value::Object(object).to_string().into_bytes()
    } else {
        body.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: http::request::Builder, body: &str, expected: &str) {
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let text = String::from_utf8(masked(&request).to_vec()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text, expected);
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let form = "application/x-www-form-urlencoded";
        let get =
            "/sms/json?api_key=k&api_secret=hunter2&text=a+b&api%5Fsecret=hunter2&sig=hunter2";
        let expected = "GET /sms/json?api_key=k&api_secret=[hidden]&text=a+b&api%5Fsecret=[hidden]\
                        &sig=[hidden] HTTP/1.1\r\nhost: a\r\n\r\n";
        check(Request::get(get).header("host", "a"), "", expected);
        let post = Request::post("/sms/xml?").header(header::CONTENT_TYPE, form);
        let expected = "POST /sms/xml? HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n\r\n\
                        sig=[hidden]&to=45&&API_SECRET=[hidden]&x";
        check(post, "sig=hunter2&to=45&&API_SECRET=hunter2&x", expected);
        let basic = Request::post("/sms/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, "Basic aHVudGVyMg==hunter2");
        let expected = "POST /sms/json HTTP/1.1\r\ncontent-type: application/json\r\n\
                        authorization: [hidden]\r\n\r\n{ \"to\": 45 }";
        check(basic, "{ \"to\": 45 }", expected);
    }

    #[test]
    fn a_json_object_with_secrets_is_written_anew() {
        let json = || Request::post("/").header(header::CONTENT_TYPE, "application/json");
        let head = "POST / HTTP/1.1\r\ncontent-type: application/json\r\n\r\n";
        let body = r#"{ "to":"45", "api_secret":"x", "\u0061pi_secret":"hunter2" }"#;
        check(json(), body, &format!(r#"{head}{{"api_secret":"[hidden]","to":"45"}}"#));
        check(json(), r#"{"api_secret":"hunter2""#, &format!("{head}[hidden]"));
        check(json(), "", head);
    }
}
