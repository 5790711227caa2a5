//! How an application proves that it has the token of an account, in each way that GatewayAPI takes.
//!
//! HTTP Basic with the token as user or as password, `Authorization: Token`, `token` or `password`
//! in query or form, and OAuth 1.0a without a token (two legs, RFC 5849) with the token or the
//! callback secret as the client's shared secret. No request names an account, so what does not
//! prove one is a stranger to it and may be another's.

use std::borrow::Cow;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, header};

use super::super::account::TokenAccount;
use super::super::basic;
use super::super::form::{self, Fields};
use super::super::masked::is_json;
use crate::model::{Secret, Timestamp};

/// A signature is good for so long before and after its time.
const WINDOW_SECONDS: i64 = 300;

/// The hosts for which vendors' libraries sign even where the request is sent elsewhere.
const PROVIDER_HOSTS: [&str; 2] = ["gatewayapi.com", "gatewayapi.eu"];

/// What the daemon takes off a path before it gets here, and the client signed.
const PREFIX: &str = "/d/gatewayapi";

/// Whether the request proves that it comes from this account.
pub(super) fn proves(request: &Request<Bytes>, account: &TokenAccount, now: Timestamp) -> bool {
    let fields = parameters(request);
    let mut is_proven = false;
    for candidate in tokens(request, &fields) {
        is_proven |= !candidate.is_empty() && account.token.matches(&candidate);
    }
    is_proven || signature_holds(request, &fields, account, now)
}

/// Query and form.
fn parameters(request: &Request<Bytes>) -> Fields {
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    if is_json(request.body()) { query } else { query.and(Fields::parse(request.body())) }
}

/// Everything in the request that may be a token.
fn tokens(request: &Request<Bytes>, fields: &Fields) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    // `token:` is the documented form; some clients leave the colon out, and with a password the
    // user may be anything.
    let headers = request.headers();
    found.extend(basic::pair(headers).map(basic::token).or_else(|| basic::decoded(headers)));
    if let Some((scheme, value)) = authorization(request)
        && ["Token", "Bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    {
        found.push(value.as_bytes().to_vec());
    }
    let named = ["token", "password"].iter().filter_map(|name| fields.bytes(name));
    found.extend(named.map(<[u8]>::to_vec));
    found
}

fn authorization(request: &Request<Bytes>) -> Option<(&str, &str)> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    value.split_once(' ').map(|(scheme, rest)| (scheme, rest.trim()))
}

/// The parameters of an OAuth request: those of its header, and those of query and form.
struct Signed {
    /// Name and value, decoded; with those of OAuth, without the signature.
    all: Vec<(String, Vec<u8>)>,
    signature: Vec<u8>,
    method: String,
    timestamp: i64,
}

fn signed(request: &Request<Bytes>, fields: &Fields) -> Option<Signed> {
    let mut all: Vec<(String, Vec<u8>)> =
        fields.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    if let Some((scheme, value)) = authorization(request)
        && scheme.eq_ignore_ascii_case("OAuth")
    {
        all.extend(header_parameters(value));
    }
    let get = |name: &str| {
        let found = all.iter().find(|(found, _)| found == name)?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    };
    let signature = STANDARD.decode(get("oauth_signature")?).ok()?;
    let (method, timestamp) = (get("oauth_signature_method")?, get("oauth_timestamp")?);
    all.retain(|(name, _)| name != "oauth_signature" && name != "realm");
    Some(Signed { all, signature, method, timestamp: timestamp.parse().ok()? })
}

/// `a="1", b="2"` (RFC 5849 §3.5.1): escaped, with a plus sign that stands for itself.
fn header_parameters(text: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    let decode = |text: &str| form::unescape(text.as_bytes(), b'+');
    text.split(',').filter_map(move |pair| {
        let (name, value) = pair.trim().split_once('=')?;
        let name = String::from_utf8(decode(name)).ok()?;
        Some((name, decode(value.trim().trim_matches('"'))))
    })
}

fn signature_holds(
    request: &Request<Bytes>,
    fields: &Fields,
    account: &TokenAccount,
    now: Timestamp,
) -> bool {
    let Some(signed) = signed(request, fields) else { return false };
    let algorithm = match signed.method.as_str() {
        "HMAC-SHA1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "HMAC-SHA256" => hmac::HMAC_SHA256,
        _ => return false,
    };
    if (now.as_millis() / 1000).abs_diff(signed.timestamp) > WINDOW_SECONDS.unsigned_abs() {
        return false;
    }
    let parameters = normalised(&signed.all);
    let secrets = account.callback_secret.iter().chain([&account.token]);
    let keys: Vec<hmac::Key> = secrets.map(|secret| key(algorithm, secret)).collect();
    urls(request).iter().any(|url| {
        let base = base_string(request.method().as_str(), url, &parameters);
        keys.iter().any(|key| hmac::verify(key, base.as_bytes(), &signed.signature).is_ok())
    })
}

/// RFC 5849 §3.4.2: the client's secret, and no token's secret behind the ampersand.
fn key(algorithm: hmac::Algorithm, secret: &Secret) -> hmac::Key {
    hmac::Key::new(algorithm, format!("{}&", escape(secret.expose().as_bytes())).as_bytes())
}

/// RFC 5849 §3.4.1.3.2: escaped, then sorted by name and value.
fn normalised(all: &[(String, Vec<u8>)]) -> String {
    let mut pairs: Vec<(String, String)> =
        all.iter().map(|(name, value)| (escape(name.as_bytes()), escape(value))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// RFC 5849 §3.4.1.1.
fn base_string(method: &str, url: &str, parameters: &str) -> String {
    let (url, parameters) = (escape(url.as_bytes()), escape(parameters.as_bytes()));
    format!("{}&{url}&{parameters}", method.to_ascii_uppercase())
}

/// The URLs that the client may have signed. It does not tell, and what stands before us (TLS, a
/// name of the provider that leads to us) changes scheme and host.
fn urls(request: &Request<Bytes>) -> Vec<String> {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
    let path = request.uri().path();
    let mut found = Vec::new();
    for path in [Cow::from(path), format!("{PREFIX}{path}").into()] {
        for scheme in ["https", "http"] {
            if let Some(host) = host {
                found.push(format!("{scheme}://{}{path}", without_default_port(host, scheme)));
            }
        }
    }
    found.extend(PROVIDER_HOSTS.iter().map(|host| format!("https://{host}{path}")));
    found
}

/// RFC 5849 §3.4.1.2: in lower case, and a default port is left out.
fn without_default_port(host: &str, scheme: &str) -> String {
    let port = if scheme == "https" { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase()
}

/// RFC 5849 §3.6: everything but letters, digits and `-._~` is escaped.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_321_671;

    fn account() -> TokenAccount {
        TokenAccount {
            token: Secret::new("s3cret&token".into()),
            callback_secret: Some(Secret::new("signing".into())),
            callbacks: Default::default(),
        }
    }

    fn check(target: &str, headers: &[(&str, &str)], body: &str, expected: bool) {
        let mut request = Request::post(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        let found = proves(&request, &account(), Timestamp::from_millis(NOW * 1000));
        assert_eq!(found, expected, "{target} {headers:?} {body}");
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn only_the_token_proves_an_account() {
        let auth = |value: &str, expected| {
            check("/rest/mtsms", &[("authorization", value)], "{}", expected);
        };
        for bad in ["", "Basic", "Basic !", "Token", "Token ", "Token s3cret", "s3cret&token"] {
            auth(bad, false);
        }
        for bad in ["", ":", "s3cret&token:x", "x:", "s3cret&toke:", "a:s3cret&tokens"] {
            auth(&basic(bad), false);
        }
        check("/rest/mtsms", &[], "", false);
        check("/rest/mtsms?token=&password=", &[], "", false);
        check("/rest/mtsms?user=s3cret%26token", &[], "", false);
        check("/rest/mtsms?message=s3cret%26token", &[], "token", false);
        // Inside of a JSON document nothing is a form.
        check("/rest/mtsms", &[], "{&token=s3cret%26token", false);

        auth(&basic("s3cret&token:"), true);
        auth(&basic("s3cret&token"), true);
        auth(&basic("anybody:s3cret&token"), true);
        auth("Token s3cret&token", true);
        auth("token s3cret&token", true);
        check("/rest/mtsms?token=s3cret%26token", &[], "{}", true);
        check("/rest/mtsms?user=a&password=s3cret%26token", &[], "", true);
        check("/rest/mtsms", &[], "message=x&token=s3cret%26token", true);
    }

    /// Signs as a client does.
    fn sign(method: &str, url: &str, pairs: &[(&str, &str)], secret: &str, at: i64) -> String {
        let mut all: Vec<(String, Vec<u8>)> =
            pairs.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        let at = at.to_string();
        let oauth = [
            ("oauth_consumer_key", "key"),
            ("oauth_nonce", "n+1"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", at.as_str()),
            ("oauth_version", "1.0"),
        ];
        all.extend(oauth.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())));
        let base = base_string(method, url, &normalised(&all));
        let key = key(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &Secret::new(secret.into()));
        let tag = escape(STANDARD.encode(hmac::sign(&key, base.as_bytes())).as_bytes());
        let written = oauth.map(|(n, v)| format!("{n}=\"{}\"", escape(v.as_bytes())));
        format!("OAuth realm=\"x\", {}, oauth_signature=\"{tag}\"", written.join(", "))
    }

    #[test]
    fn a_signature_covers_method_url_parameters_and_time() {
        let url = "https://gw.example/rest/mtsms";
        let target = "/rest/mtsms?message=a%20b";
        let pairs = [("message", "a b")];
        let with = |authorization: &str, target: &str, body: &str, expected| {
            let headers = [("host", "GW.example"), ("authorization", authorization)];
            check(target, &headers, body, expected);
        };
        for bad in [
            sign("POST", url, &pairs, "other", NOW),
            sign("GET", url, &pairs, "signing", NOW),
            sign("POST", "https://else.example/rest/mtsms", &pairs, "signing", NOW),
            sign("POST", url, &[("message", "a c")], "signing", NOW),
            sign("POST", url, &pairs, "signing", NOW - 301),
            sign("POST", url, &pairs, "signing", NOW + 301),
            sign("POST", url, &pairs, "signing", NOW).replace("HMAC-SHA1", "PLAINTEXT"),
            sign("POST", url, &pairs, "signing", NOW)
                .replace("oauth_signature=\"", "oauth_signature=\"A"),
        ] {
            with(&bad, target, "{}", false);
        }
        let good = sign("POST", url, &pairs, "signing", NOW - 299);
        with(&good, target, "{}", true);
        with(&good, "/rest/mtsms?message=a%20c", "{}", false);
        with(&good, "/rest/me?message=a%20b", "{}", false);
        // A form's fields are signed as well.
        with(&good, "/rest/mtsms", "message=a+b", true);
        with(&good, target, "x=1", false);
    }

    #[test]
    fn the_url_is_one_that_leads_here() {
        for (url, secret) in [
            ("http://gw.example:8026/rest/mtsms", "signing"),
            ("https://gw.example:8026/rest/mtsms", "s3cret&token"),
            ("http://gw.example:8026/d/gatewayapi/rest/mtsms", "signing"),
            ("https://gatewayapi.com/rest/mtsms", "signing"),
            ("https://gatewayapi.eu/rest/mtsms", "signing"),
        ] {
            let authorization = sign("POST", url, &[], secret, NOW);
            let headers = [("host", "gw.example:8026"), ("authorization", &*authorization)];
            check("/rest/mtsms", &headers, "{}", true);
        }
        assert_eq!(without_default_port("A.example:443", "https"), "a.example");
        assert_eq!(without_default_port("a.example:443", "http"), "a.example:443");
    }
}
