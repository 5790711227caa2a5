//! `POST /hooks/{upstream}/events`: what a mail provider tells of the mail that it took.
//!
//! Read within limits, proven and read by `events`, recorded by `tellings`, and answered with success when
//! all of it is durable. What it keeps: a token that proves a call proves that one body; a certificate is
//! fetched and a subscription confirmed only where `events` found that it is Amazon's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
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
    upstream: Result<Path<String>, PathRejection>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    answer(&desk, &hooks::named(upstream), peer.ip(), request).await
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
            if let Some(token) = token
                && !is_of(desk, upstream, &token, &body, now).await?
            {
                return Err(EventRefusal::Forged.into());
            }
            events
        }
        Told::Sns(message) => proven(desk, upstream, *message, now).await?,
    };
    tellings::record(desk, upstream, events, now).await
}

/// Whether a token, which does not cover what stands beside it, proves this body. That is durable: who saw
/// one call can not put another event beside its token after a restart either.
async fn is_of(
    desk: &Desk,
    upstream: &UpstreamName,
    token: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<bool, HookError> {
    let token = Digest::of([upstream.as_str(), token].join("\0").as_bytes());
    Ok(desk.with.archive.take_token(token, Digest::of(body), now).await?)
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
