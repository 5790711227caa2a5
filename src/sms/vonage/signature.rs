//! Signed calls of Vonage's SMS API: `&name=value` of every field but `sig`, sorted by name, hashed with
//! the signature secret in one of five ways.
//!
//! `&` and `=` inside a value count as `_`. Hexadecimal digits are compared in either case and in constant
//! time. A signature is good for five minutes around its `timestamp`. Vonage: "Signing messages".

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::super::account::{SignatureMethod, VonageSignature};
use super::super::hex;
use super::given::Given;
use crate::model::Timestamp;

/// How far the `timestamp` of a signed request may lie from our clock, either way.
const WINDOW: Duration = Duration::from_secs(300);

/// Fields that vonage-py 4.9.1 hashes as `None` and does not send when they are not set. `sig` is
/// one of them: it hashes the empty place of the signature itself.
const HASHED_AS_NONE: [&str; 14] = [
    "sig",
    "client-ref",
    "type",
    "ttl",
    "status-report-req",
    "callback",
    "message-class",
    "body",
    "udh",
    "protocol-id",
    "account-ref",
    "entity-id",
    "content-id",
    "trusted-number",
];

/// The block of MD5, SHA-1 and SHA-256 (RFC 2104 §2).
const MD5_BLOCK_BYTES: usize = 64;

/// Whether `sig` is the signature of all other fields, and fresh. `without` names fields that the signer
/// may not have seen: those of the URL itself.
pub(super) fn verify(
    given: &Given,
    without: &[&str],
    signature: &VonageSignature,
    now: Timestamp,
) -> bool {
    let shown = given.text("sig").and_then(|text| hex::octets(text.trim().as_bytes()));
    let (Some(shown), true) = (shown, is_fresh(given, now)) else { return false };
    // A name with a separator could stand for two fields, and so take one out of a signed call.
    if given.all().keys().any(|name| name.contains(['&', '='])) {
        return false;
    }
    let sent: BTreeMap<&str, &[u8]> = given
        .all()
        .iter()
        .map(|(name, value)| (name.as_str(), &value[..]))
        .filter(|(name, _)| *name != "sig")
        .collect();
    let mut as_python = sent.clone();
    for name in HASHED_AS_NONE {
        as_python.entry(name).or_insert(b"None");
    }
    let mut of_the_body = sent.clone();
    of_the_body.retain(|name, _| !without.contains(name));
    // All three are always computed, so that the time does not tell which one matched.
    [&sent, &as_python, &of_the_body].iter().fold(false, |found, fields| {
        found | bool::from(digest(fields, signature)[..].ct_eq(&shown[..]))
    })
}

fn is_fresh(given: &Given, now: Timestamp) -> bool {
    let seconds = given.text("timestamp").and_then(|text| text.trim().parse::<u32>().ok());
    seconds.is_some_and(|seconds| {
        let at = Timestamp::from_millis(i64::from(seconds) * 1000);
        at.since(now) <= WINDOW && now.since(at) <= WINDOW
    })
}

/// The signature of these fields, in lower-case hexadecimal digits.
pub(super) fn sign<'a>(
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    signature: &VonageSignature,
) -> String {
    hex::digits(&digest(&fields.collect(), signature))
}

fn digest(fields: &BTreeMap<&str, &[u8]>, signature: &VonageSignature) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in fields {
        text.push(b'&');
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend(value.iter().map(|b| if matches!(b, b'&' | b'=') { b'_' } else { *b }));
    }
    let secret = signature.secret.expose().as_bytes();
    let with = |algorithm| hmac::sign(&hmac::Key::new(algorithm, secret), &text).as_ref().to_vec();
    match signature.method {
        SignatureMethod::Md5Hash => {
            Md5::new().chain_update(&text).chain_update(secret).finalize().to_vec()
        }
        SignatureMethod::HmacMd5 => hmac_md5(secret, &text),
        SignatureMethod::HmacSha1 => with(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SignatureMethod::HmacSha256 => with(hmac::HMAC_SHA256),
        SignatureMethod::HmacSha512 => with(hmac::HMAC_SHA512),
    }
}

/// HMAC (RFC 2104 §2) over MD5, which the rest of our cryptography does not have.
fn hmac_md5(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut key = [0_u8; MD5_BLOCK_BYTES];
    let hashed = Md5::digest(secret);
    let short = if secret.len() > MD5_BLOCK_BYTES { &hashed[..] } else { secret };
    for (place, byte) in key.iter_mut().zip(short) {
        *place = *byte;
    }
    let inner = Md5::new().chain_update(key.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Md5::new().chain_update(key.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;
    use crate::model::Secret;

    const NOW: u32 = 1_795_321_671;
    pub(in super::super) const METHODS: [SignatureMethod; 5] = [
        SignatureMethod::Md5Hash,
        SignatureMethod::HmacMd5,
        SignatureMethod::HmacSha1,
        SignatureMethod::HmacSha256,
        SignatureMethod::HmacSha512,
    ];

    pub(in super::super) fn account(method: SignatureMethod) -> VonageSignature {
        VonageSignature { secret: Secret::new("sigsecret".into()), method }
    }

    fn check(query: &str, method: SignatureMethod, now: u32) -> bool {
        let request = Request::get(format!("/sms/json?{query}")).body(Bytes::new()).unwrap();
        let now = Timestamp::from_millis(i64::from(now) * 1000);
        verify(&Given::of(&request), &["proof"], &account(method), now)
    }

    /// `query` with its signature.
    fn signed(query: &str, method: SignatureMethod) -> String {
        let request = Request::get(format!("/?{query}")).body(Bytes::new()).unwrap();
        let given = Given::of(&request);
        let fields = given.all().iter().map(|(name, value)| (name.as_str(), &value[..]));
        format!("{query}&sig={}", sign(fields, &account(method)))
    }

    #[test]
    fn hmac_over_md5_is_that_of_rfc_2202() {
        let check = |key: &[u8], text: &[u8], expected: &str| {
            assert_eq!(hex::digits(&hmac_md5(key, text)), expected);
        };
        check(&[0x0b; 16], b"Hi There", "9294727a3638bb1c13f48ef8158bfc9d");
        check(b"Jefe", b"what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        check(&[0xaa; 80], long, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn forged_and_stale_calls_are_refused() {
        let query = format!("api_key=k&text=a%26b%3Dc&to=45&timestamp={NOW}");
        for method in METHODS {
            let good = signed(&query, method);
            assert!(check(&good, method, NOW), "{method:?}");
            assert!(!check(&query, method, NOW), "no signature");
            assert!(!check(&format!("{query}&sig="), method, NOW));
            assert!(!check(&format!("{query}&sig=00"), method, NOW));
            assert!(!check(&good.replace("to=45", "to=46"), method, NOW));
            assert!(!check(&format!("{good}&callback=x"), method, NOW));
            assert!(!check(&good[..good.len() - 2], method, NOW));
            assert!(!check(&good, method, NOW + 301), "stale");
            assert!(!check(&good, method, NOW - 301), "from the future");
            assert!(check(&good, method, NOW + 300));
            for other in METHODS.into_iter().filter(|other| *other != method) {
                assert!(!check(&good, other, NOW), "{method:?} as {other:?}");
            }
        }
    }

    #[test]
    fn a_call_without_a_time_is_refused() {
        for timestamp in ["", "&timestamp=", "&timestamp=now", "&timestamp=-1", "&timestamp=1e9"] {
            let query = signed(&format!("a=1{timestamp}"), SignatureMethod::Md5Hash);
            assert!(!check(&query, SignatureMethod::Md5Hash, NOW), "{timestamp}");
        }
    }

    #[test]
    fn no_field_can_be_folded_into_the_name_of_another() {
        let method = SignatureMethod::HmacSha256;
        let good = signed(&format!("callback=x&from=A&timestamp={NOW}&to=45"), method);
        assert!(check(&good, method, NOW));
        let folded = good.replace("callback=x&from=A", "callback%3Dx%26from=A");
        assert!(!check(&folded, method, NOW));
    }

    #[test]
    fn digits_are_read_in_either_case() {
        let method = SignatureMethod::HmacSha512;
        let (query, sig) = (format!("a=1&timestamp={NOW}"), "&sig=");
        let good = signed(&query, method);
        let upper = good.split(sig).nth(1).unwrap().to_uppercase();
        assert!(check(&format!("{query}{sig}{upper}"), method, NOW));
    }

    #[test]
    fn fields_of_the_url_itself_may_be_left_out() {
        let method = SignatureMethod::HmacSha256;
        let good = signed(&format!("status=delivered&timestamp={NOW}"), method);
        assert!(check(&format!("proof=1&{good}"), method, NOW));
        assert!(!check(&format!("other=1&{good}"), method, NOW));
    }

    /// Computed by vonage-py 4.9.1: `Auth(api_key='abcd1234', signature_secret='sigsecret',
    /// signature_method='sha256')` over what it hashes, of which it sends less.
    #[test]
    fn fields_that_python_hashes_as_none_are_put_back() {
        let given = format!("api_key=abcd1234&from=Example&text=Hej&timestamp={NOW}&to=4512345678");
        let mut hashed = given.clone();
        for name in HASHED_AS_NONE.into_iter().filter(|name| *name != "sig") {
            hashed.push_str(&format!("&{name}=None"));
        }
        let request = Request::get(format!("/?{hashed}&sig=None")).body(Bytes::new()).unwrap();
        let all = Given::of(&request);
        for method in METHODS {
            let fields = all.all().iter().map(|(name, value)| (name.as_str(), &value[..]));
            let sig = sign(fields, &account(method));
            assert!(check(&format!("{given}&sig={sig}"), method, NOW), "{method:?}");
            assert!(!check(&format!("{given}&ttl=20000&sig={sig}"), method, NOW));
        }
    }
}
