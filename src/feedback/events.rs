//! `POST /hooks/{upstream}/events`: what a mail provider tells of the mail that it took.
//!
//! Read within limits, proven and read by `events`, recorded by `tellings`, and answered with success when
//! all of it is durable. What it keeps: a token that proves a call proves that one body; a certificate is
//! fetched and a subscription confirmed only where `events` found that it is Amazon's.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use url::Url;

use super::hooks::{self, HookError};
use super::{Desk, tellings};
use crate::events::{EventCall, EventRefusal, MailEvent, Proven, SnsMessage, Told};
use crate::model::{Digest, Timestamp, UpstreamName};
use crate::net::client_behind;
use crate::sms::form::Fields;
use crate::sms::provider::CallbackRefusal;

/// Largest call; SendGrid joins events up to 768 KiB.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Tokens that are remembered; they are good for some hours.
const MAX_TOKENS: usize = 50_000;

impl From<EventRefusal> for HookError {
    fn from(refusal: EventRefusal) -> HookError {
        HookError::Refused(match refusal {
            EventRefusal::Forged => CallbackRefusal::Forged,
            EventRefusal::Malformed => CallbackRefusal::Malformed,
        })
    }
}

/// `POST /hooks/{upstream}/events`.
pub(super) async fn told(
    State(desk): State<Arc<Desk>>,
    Path(upstream): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    answer(&desk, &upstream, peer.ip(), request).await
}

/// The same at another path.
pub(super) async fn answer(
    desk: &Desk,
    upstream: &str,
    peer: IpAddr,
    request: Request,
) -> Response {
    let client = client_behind(peer, request.headers(), &desk.with.trusted_proxies);
    let taken = take(desk, upstream, request).await;
    hooks::answer(desk, upstream, client, taken.map(|()| http::Response::new(Bytes::new())))
}

/// Returns when everything in a call is durable.
async fn take(desk: &Desk, upstream: &str, request: Request) -> Result<(), HookError> {
    let Some((upstream, source)) = desk.teller(upstream) else { return Err(HookError::NotFound) };
    if request.method() != Method::POST {
        return Err(HookError::NotFound);
    }
    let (head, body) = request.into_parts();
    let body = hooks::whole(body, MAX_BODY_BYTES).await?;
    let query = Fields::parse(head.uri.query().unwrap_or_default().as_bytes());
    let now = (desk.with.clock)();
    let call = EventCall {
        headers: &head.headers,
        token: query.bytes("token").unwrap_or_default(),
        body: &body,
        now,
    };
    let events = match source.read(&call)? {
        Told::Events { events, token } => {
            if token.is_some_and(|token| !desk.tokens.is_of(&token, &body)) {
                return Err(EventRefusal::Forged.into());
            }
            events
        }
        Told::Sns(message) => proven(desk, upstream, *message, now).await?,
    };
    tellings::record(desk, upstream, events, now).await
}

/// What Amazon says, once it is proven; its question whether it may call is answered here.
async fn proven(
    desk: &Desk,
    upstream: &UpstreamName,
    message: SnsMessage,
    now: Timestamp,
) -> Result<Vec<MailEvent>, HookError> {
    let url = message.certificate_url().clone();
    let certificate = desk.certificates.get(&url, &desk.with.fetch, now).await?;
    match message.prove(&certificate)? {
        Proven::Events(events) => Ok(events),
        Proven::Confirm(url) => {
            confirm(desk, upstream, url).await?;
            Ok(Vec::new())
        }
    }
}

async fn confirm(desk: &Desk, upstream: &UpstreamName, url: Url) -> Result<(), HookError> {
    match (desk.with.fetch)(url).await {
        Ok(_) => {
            tracing::info!(%upstream, "the topic of its events was told to call");
            Ok(())
        }
        // Amazon asks again.
        Err(error) => {
            tracing::warn!(%upstream, error, "the topic of its events could not be told to call");
            Err(HookError::NotNow)
        }
    }
}

/// Tokens that proved something, each with the body that it proved.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    bodies: HashMap<Digest, Digest>,
    order: VecDeque<Digest>,
}

impl Tokens {
    /// Whether this token proves this body: it is new, or the same call comes again.
    fn is_of(&self, token: &str, body: &[u8]) -> bool {
        let (token, body) = (Digest::of(token.as_bytes()), Digest::of(body));
        // Nothing panics while the lock is held.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.bodies.get(&token) {
            return *known == body;
        }
        if seen.order.len() >= MAX_TOKENS
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.bodies.remove(&oldest);
        }
        seen.order.push_back(token);
        seen.bodies.insert(token, body);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_proves_one_body() {
        let tokens = Tokens::default();
        assert!(tokens.is_of("a", b"one"));
        assert!(!tokens.is_of("a", b"two"));
        assert!(tokens.is_of("a", b"one"));
        for number in 0..MAX_TOKENS {
            assert!(tokens.is_of(&format!("b{number}"), b"two"));
        }
        let seen = tokens.0.lock().unwrap();
        assert_eq!((seen.bodies.len(), seen.order.len()), (MAX_TOKENS, MAX_TOKENS));
    }
}
