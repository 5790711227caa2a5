//! `GET /o/{token}` and `GET /c/{token}`: the pixel and the links of tracked mail.
//!
//! Everything that an answer needs is in the token, so an answer waits for nothing and comes when the
//! archive is full, closed or gone: first the redirect, then a place in a bounded queue, and where there
//! is none the hit is lost and counted. What it keeps: nobody is sent anywhere but to the URL under our
//! MAC, and only over http and https; a token that is not ours is 404 and nothing else, whatever is wrong
//! with it; HEAD is answered alike and never counts; no cookie, no validator, nothing that names a reader.
//! One client fills no more than its share of the queue; it is answered all the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, LOCATION, PRAGMA, REFERRER_POLICY, USER_AGENT,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use super::Desk;
use crate::archive::{HitOf, NewHit};
use crate::model::{Hit, HitKind, HitMethod, Sequence};
use crate::net::client_behind;
use crate::rewrite::{Token, location};
use crate::telemetry;

/// One transparent point.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\
    \x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// Where programs say that they fetch before anybody asked.
const PURPOSES: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
/// What is kept of a field that a client writes, in bytes.
const MAX_FIELD_BYTES: usize = 300;
/// Hits of one client in a minute that are recorded: more than the proxy of a large provider brings.
pub(super) const MAX_HITS_OF_CLIENT: u32 = 6_000;
/// With `anonymize_ip` an address is kept as its network.
const KEPT_V4_BITS: u8 = 24;
const KEPT_V6_BITS: u8 = 48;

/// Whether it was said that one client brings too many; once is enough.
static IS_FLOOD_TOLD: AtomicBool = AtomicBool::new(false);

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// `GET /o/{token}`.
pub(super) async fn open(
    State(desk): State<Arc<Desk>>,
    token: Result<Path<String>, PathRejection>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let Some(method) = method(request.method()) else { return not_found() };
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let Some(Token::Open { message, recipient }) = desk.with.tokens.read(&token) else {
        return not_found();
    };
    let mut response = Response::new(Body::from(&PIXEL[..]));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    let never = HeaderValue::from_static("no-store, no-cache, private, max-age=0");
    headers.insert(CACHE_CONTROL, never);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Mail is read on pages of other origins.
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    let hit = Seen { message, recipient, kind: HitKind::Open, method };
    desk.note(hit, peer.ip(), request.headers());
    response
}

/// `GET /c/{token}`.
pub(super) async fn click(
    State(desk): State<Arc<Desk>>,
    token: Result<Path<String>, PathRejection>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let Some(method) = method(request.method()) else { return not_found() };
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let Some(Token::Click { message, recipient, link, url }) = desk.with.tokens.read(&token) else {
        return not_found();
    };
    let target = location(&url).and_then(|target| HeaderValue::try_from(target).ok());
    let Some(target) = target else { return not_found() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(LOCATION, target);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The token in our URL is the recipient's; where they go must not learn it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let hit = Seen { message, recipient, kind: HitKind::Click { link }, method };
    desk.note(hit, peer.ip(), request.headers());
    response
}

/// What a token and a request say, before anything is known of the client.
struct Seen {
    message: Sequence,
    recipient: u16,
    kind: HitKind,
    method: HitMethod,
}

impl Desk {
    /// Gives the hit to the recorder, where there is room.
    fn note(&self, seen: Seen, peer: IpAddr, headers: &HeaderMap) {
        let now = (self.with.clock)();
        let client = client_behind(peer, headers, &self.with.trusted_proxies);
        if self.visits.add(client, now) {
            self.tell_of_flood(client);
            return telemetry::record::feedback("hit_dropped");
        }
        let hit = Hit {
            kind: seen.kind,
            at: now,
            client: Some(kept_address(client, self.with.anonymize_ip)),
            user_agent: field(headers, USER_AGENT.as_str()).unwrap_or_default(),
            method: seen.method,
            purpose: PURPOSES.into_iter().find_map(|name| field(headers, name)),
            delay_ms: None,
            told_automated: None,
        };
        let of = HitOf::Number(seen.message);
        self.hits.offer(NewHit { of, recipient: seen.recipient, hit });
    }

    /// A proxy that is not known as one looks like a single client that brings everybody's hits.
    fn tell_of_flood(&self, client: IpAddr) {
        if !IS_FLOOD_TOLD.swap(true, Ordering::Relaxed) {
            let client = kept_address(client, self.with.anonymize_ip);
            tracing::warn!(
                %client,
                "one client brings more opens and clicks than are recorded of one; if it is a proxy of \
                 yours, name its address in trusted_proxies of [public]"
            );
        }
    }
}

fn method(method: &Method) -> Option<HitMethod> {
    match *method {
        Method::GET => Some(HitMethod::Get),
        Method::HEAD => Some(HitMethod::Head),
        _ => None,
    }
}

fn not_found() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// A field as text, without what can not be printed, cut to a bounded length.
fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    let bytes = bytes.get(..bytes.len().min(MAX_FIELD_BYTES)).unwrap_or_default();
    let printable = |c: &char| !c.is_control();
    Some(String::from_utf8_lossy(bytes).chars().filter(printable).collect())
}

pub(super) fn kept_address(client: IpAddr, anonymize: bool) -> IpNet {
    let bits = match (client, anonymize) {
        (IpAddr::V4(_), true) => KEPT_V4_BITS,
        (IpAddr::V6(_), true) => KEPT_V6_BITS,
        (IpAddr::V4(_), false) => 32,
        (IpAddr::V6(_), false) => 128,
    };
    // The length fits its family.
    IpNet::new_assert(client, bits).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_as_its_network() {
        let check = |address: &str, anonymize, expected: &str| {
            let kept = kept_address(address.parse().unwrap(), anonymize);
            assert_eq!(kept.to_string(), expected);
        };
        check("192.0.2.77", true, "192.0.2.0/24");
        check("2001:db8:1:2:3:4:5:6", true, "2001:db8:1::/48");
        check("192.0.2.77", false, "192.0.2.77/32");
        check("2001:db8::7", false, "2001:db8::7/128");
    }

    #[test]
    fn what_a_client_writes_is_bounded_and_printable() {
        let mut headers = HeaderMap::new();
        headers.insert("x-moz", HeaderValue::from_bytes(b"pre\tfetch\xff").unwrap());
        headers.insert(USER_AGENT, "ü".repeat(1_000).parse().unwrap());
        assert_eq!(field(&headers, "x-moz").as_deref(), Some("prefetch\u{fffd}"));
        assert_eq!(field(&headers, "user-agent").map(|text| text.len()), Some(MAX_FIELD_BYTES));
        assert_eq!(field(&headers, "purpose"), None);
    }
}
