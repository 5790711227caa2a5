//! `X-Twilio-Signature`: base64 of HMAC-SHA-1 (RFC 2104) under the auth token, over the URL and then
//! each form field's name and value, sorted by name (twilio.com/docs/usage/security).
//!
//! Other bodies are covered by their SHA-256 in the URL's `bodySHA256`. A name that stands twice
//! counts once for each different value, as the vendor's own libraries do it. A port that may or
//! may not stand in the URL is tried both ways.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use url::Url;

use crate::model::{Digest, Secret};
use crate::sms::form::Fields;

/// The header that carries it.
pub(super) const HEADER: &str = "x-twilio-signature";
/// The parameter with the hash of a body that is no form.
const BODY_HASH: &str = "bodySHA256";

/// Signs a form that goes to `url`, which has no fragment.
pub fn sign(token: &Secret, url: &str, fields: &Fields) -> String {
    STANDARD.encode(mac(token, url, fields).as_ref())
}

/// What a signature covers beside the URL.
pub(super) enum Covered<'a> {
    Form(&'a Fields),
    /// The hash in the URL must be this body's.
    Body(&'a [u8]),
    /// All there is stands in the URL.
    Nothing,
}

/// Whether `signature` is the one of this URL and content, in constant time.
pub(super) fn holds(token: &Secret, url: &str, covered: &Covered<'_>, signature: &str) -> bool {
    let Ok(shown) = STANDARD.decode(signature.trim()) else { return false };
    let none = Fields::default();
    let fields = match covered {
        Covered::Form(fields) => *fields,
        Covered::Body(body) if !is_hash_right(url, body) => return false,
        Covered::Body(_) | Covered::Nothing => &none,
    };
    let of = |url: &str| bool::from(mac(token, url, fields).as_ref().ct_eq(&shown));
    spellings(url).iter().any(|url| of(url))
}

fn mac(token: &Secret, url: &str, fields: &Fields) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(url.as_bytes());
    for (name, value) in fields.iter().collect::<BTreeSet<_>>() {
        context.update(name.as_bytes());
        context.update(value);
    }
    context.sign()
}

fn is_hash_right(url: &str, body: &[u8]) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let fields = Fields::parse(query.as_bytes());
    let hash = Digest::of(body).to_string();
    fields.get(BODY_HASH).is_some_and(|said| said.eq_ignore_ascii_case(&hash))
}

/// The URL as it is, without its port, and with the port that its scheme implies.
fn spellings(url: &str) -> Vec<String> {
    let mut all = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return all };
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    let Ok(parsed) = Url::parse(url) else { return all };
    let Some(port) = parsed.port_or_known_default() else { return all };
    let host = authority.strip_suffix(&format!(":{port}")).unwrap_or(authority);
    all.push(format!("{scheme}://{host}{path}"));
    all.push(format!("{scheme}://{host}:{port}{path}"));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Secret {
        Secret::new("12345".into())
    }

    fn form(text: &str) -> Fields {
        Fields::parse(text.as_bytes())
    }

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const FORM: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
    /// The example of the vendor's documentation.
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    #[test]
    fn the_documented_example_is_signed_and_held() {
        assert_eq!(sign(&token(), URL, &form(FORM)), SIGNATURE);
        let fields = form(FORM);
        assert!(holds(&token(), URL, &Covered::Form(&fields), SIGNATURE));
    }

    #[test]
    fn nothing_else_holds() {
        let fields = form(FORM);
        let check = |token: &str, url: &str, fields: &Fields, signature: &str| {
            let token = Secret::new(token.into());
            assert!(!holds(&token, url, &Covered::Form(fields), signature), "{url} {signature}");
        };
        check("12346", URL, &fields, SIGNATURE);
        check("12345", "https://mycompany.com/myapp.php?foo=1&bar=3", &fields, SIGNATURE);
        check("12345", "http://mycompany.com/myapp.php?foo=1&bar=2", &fields, SIGNATURE);
        check("12345", "https://mycompany.org/myapp.php?foo=1&bar=2", &fields, SIGNATURE);
        check("12345", URL, &form("From=1"), SIGNATURE);
        check("12345", URL, &fields, "");
        check("12345", URL, &fields, "RSOYDt4T1cUTdK1PDd93");
        check("12345", URL, &fields, "no base64");
        assert!(!holds(&token(), URL, &Covered::Body(FORM.as_bytes()), SIGNATURE));
    }

    #[test]
    fn the_port_may_stand_or_not() {
        let fields = form("a=1");
        for (signed, seen) in [
            ("https://a.example/x?y=1", "https://a.example:443/x?y=1"),
            ("https://a.example:443/x?y=1", "https://a.example/x?y=1"),
            ("http://a.example:80?y=1", "http://a.example?y=1"),
            ("http://a.example:8080/x", "http://a.example:8080/x"),
            ("http://a.example/x", "http://a.example:8080/x"),
            ("http://[::1]:80/x", "http://[::1]/x"),
        ] {
            let signature = sign(&token(), signed, &fields);
            assert!(holds(&token(), seen, &Covered::Form(&fields), &signature), "{seen}");
        }
    }

    #[test]
    fn a_body_is_covered_by_its_hash() {
        let body = b"{\"MessageSid\":\"SM1\"}";
        let url = format!("https://a.example/x?bodySHA256={}", Digest::of(body));
        let signature = sign(&token(), &url, &Fields::default());
        assert!(holds(&token(), &url, &Covered::Body(body), &signature));
        assert!(!holds(&token(), &url, &Covered::Body(b"{}"), &signature));
        let bare = sign(&token(), "https://a.example/x", &Fields::default());
        assert!(!holds(&token(), "https://a.example/x", &Covered::Body(body), &bare));
        assert!(holds(&token(), "https://a.example/x", &Covered::Nothing, &bare));
    }

    #[test]
    fn a_repeated_field_counts_once_for_each_value() {
        let of = |text: &str| sign(&token(), URL, &form(text));
        assert_eq!(of("a=1&a=1"), of("a=1"));
        assert_eq!(of("a=2&a=1"), of("a=1&a=2"));
        assert_ne!(of("a=2&a=1"), of("a=1"));
    }
}
