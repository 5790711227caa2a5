//! How callbacks are signed, where more than one protocol does it the same way: Standard Webhooks,
//! and JSON Web Tokens with HMAC-SHA-256.
//!
//! Takes secrets and whole bodies, gives header values and claims. Comparisons take the same time
//! wherever the first difference is. What a signature is worth (its age, whether it was seen before)
//! is decided by who verifies it.
//! Standard Webhooks 1.0.0; RFC 7515 (JWS), RFC 7519 (JWT).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::model::{Secret, Timestamp};

/// Standard Webhooks writes a secret in base64 behind this.
const SECRET_PREFIX: &str = "whsec_";

/// The header of every token that is signed here: `{"alg":"HS256","typ":"JWT"}`.
const JWT_HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;

/// The headers that sign a webhook: `webhook-id`, `webhook-timestamp` and `webhook-signature`.
///
/// The secret is `whsec_` and base64, or else its octets are the key. `id` names the event: it is the
/// same for every attempt, so that the receiver can drop what it has. Characters that no header may
/// hold are left out of it.
pub fn standard_webhook_headers(
    secret: Option<&Secret>,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Vec<(HeaderName, HeaderValue)> {
    let id: String = id.chars().filter(char::is_ascii_graphic).collect();
    let seconds = (now.as_millis() / 1000).to_string();
    // Only graphic ASCII is left in the id, digits in the time, and base64 in the signature.
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    let mut headers = vec![
        (HeaderName::from_static("webhook-id"), value(&id)),
        (HeaderName::from_static("webhook-timestamp"), value(&seconds)),
    ];
    if let Some(secret) = secret {
        let signature = standard_webhook_signature(secret, &id, &seconds, body);
        headers.push((HeaderName::from_static("webhook-signature"), value(&signature)));
    }
    headers
}

fn standard_webhook_signature(secret: &Secret, id: &str, seconds: &str, body: &[u8]) -> String {
    let written = secret.expose();
    let decoded = written.strip_prefix(SECRET_PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
    let key = hmac::Key::new(hmac::HMAC_SHA256, decoded.as_deref().unwrap_or(written.as_bytes()));
    let mut signer = hmac::Context::with_key(&key);
    for piece in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        signer.update(piece);
    }
    format!("v1,{}", STANDARD.encode(signer.sign()))
}

/// A token whose claims are these octets of JSON.
pub fn jwt(secret: &Secret, claims: &[u8]) -> String {
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let signed = format!("{}.{}", encode(JWT_HEADER), encode(claims));
    let tag = hmac::sign(&jwt_key(secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

/// The claims of a token, if it is signed with this secret. Only `HS256` is read: a token may not
/// choose how it is verified (RFC 8725 §3.1).
pub fn jwt_claims(secret: &Secret, token: &str) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let (signed, tag) = token.trim().rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok();
    hmac::verify(&jwt_key(secret), signed.as_bytes(), &decode(tag)?).ok()?;
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    if header.alg != "HS256" {
        return None;
    }
    decode(claims)
}

fn jwt_key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn a_webhook_is_signed_as_the_published_example() {
        let headers = standard_webhook_headers(
            Some(&secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp::from_millis(1_614_265_330_999),
            br#"{"test": 2432232314}"#,
        );
        let shown = headers
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let expected = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ];
        assert!(shown.eq(expected.map(|(name, value)| (name.to_owned(), value.to_owned()))));
    }

    #[test]
    fn what_is_signed_is_all_of_it() {
        let of = |key: &str, id: &str, ms, body: &[u8]| {
            let now = Timestamp::from_millis(ms);
            standard_webhook_headers(Some(&secret(key)), id, now, body)[2].1.clone()
        };
        let signed = of("key", "id", 1_000, b"body");
        for other in [
            of("kex", "id", 1_000, b"body"),
            of("key", "ie", 1_000, b"body"),
            of("key", "id", 2_000, b"body"),
            of("key", "id", 1_000, b"bodx"),
        ] {
            assert_ne!(signed, other);
        }
        // A secret that only looks like base64 is taken by its octets, and no id breaks a header.
        assert_ne!(of("whsec_!", "id", 1_000, b"body"), signed);
        assert_eq!(of("key", "i\r\nd", 1_000, b"body"), signed);
    }

    #[test]
    fn only_a_token_of_the_secret_has_claims() {
        let token = jwt(&secret("key"), br#"{"id":1}"#);
        assert_eq!(jwt_claims(&secret("key"), &token).as_deref(), Some(&br#"{"id":1}"#[..]));
        assert_eq!(jwt_claims(&secret("kex"), &token), None);
        // The same claims and a header that says that nothing is signed.
        let body = token.split('.').nth(1).unwrap();
        let none = URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#);
        for bad in ["", ".", "..", "a.b.c", &format!("{none}.{body}."), &token[..token.len() - 2]] {
            assert_eq!(jwt_claims(&secret("key"), bad), None, "{bad}");
        }
        let signed = format!("{none}.{body}");
        let tag = hmac::sign(&jwt_key(&secret("key")), signed.as_bytes());
        let lying = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(jwt_claims(&secret("key"), &lying), None);
    }

    /// The example of jwt.io, which other libraries verify.
    #[test]
    fn a_token_of_others_is_read() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
            eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
            SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
        let claims = jwt_claims(&secret("your-256-bit-secret"), token).unwrap();
        assert_eq!(claims, br#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#);
    }
}
