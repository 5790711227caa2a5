//! One callback over HTTP: read within limits, told from forgeries, answered when it is durable.
//!
//! Refusals are 403 for what is not proven, 400 for what can not be read, 404 for an upstream that
//! does not exist; their bodies are empty.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};

use super::{Caller, Desk, events, inbound, status};
use crate::archive::ArchiveError;
use crate::model::{MessageId, Timestamp, UpstreamName};
use crate::net::client_behind;
use crate::sms::form::Fields;
use crate::sms::provider::{Callback, CallbackRefusal};
use crate::telemetry;

/// Largest callback; those of all providers are far smaller.
const MAX_BODY_BYTES: usize = 256 << 10;
/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A callback that was read whole, from an upstream that exists.
pub(super) struct Hook<'a> {
    pub(super) upstream: UpstreamName,
    pub(super) caller: &'a Caller,
    pub(super) request: http::Request<Bytes>,
    pub(super) peer: IpAddr,
    pub(super) now: Timestamp,
    /// The message whose status URL this is, proven.
    pub(super) proven_message: Option<MessageId>,
    has_token: bool,
}

impl Hook<'_> {
    /// What the provider's protocol reads.
    pub(super) fn callback<'b>(&'b self, public_url: &'b str) -> Callback<'b> {
        Callback {
            request: &self.request,
            public_url,
            peer: self.peer,
            is_proven: self.has_token || self.proven_message.is_some(),
            now: self.now,
        }
    }
}

/// Why a callback was not taken.
#[derive(Debug)]
pub(super) enum HookError {
    /// There is nothing here for this request.
    NotFound,
    TooLarge,
    TooSlow,
    Refused(CallbackRefusal),
    /// Later, or again: it can not be made durable now, or what it belongs to is under way.
    NotNow,
    Archive(ArchiveError),
}

impl From<ArchiveError> for HookError {
    fn from(error: ArchiveError) -> HookError {
        HookError::Archive(error)
    }
}

/// `POST|GET /hooks/{upstream}/status`; of an upstream for mail, its events.
pub(super) async fn status(
    State(desk): State<Arc<Desk>>,
    upstream: Result<Path<String>, PathRejection>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let upstream = named(upstream);
    if desk.teller(&upstream).is_some() {
        return events::answer(&desk, &upstream, peer.ip(), request).await;
    }
    let taken = match read(&desk, &upstream, peer.ip(), request, true).await {
        Ok(hook) => status::take(&desk, &hook).await.map(|()| hook.caller.provider.taken()),
        Err(error) => Err(error),
    };
    answer(&desk, &upstream, peer.ip(), taken)
}

/// `POST|GET /hooks/{upstream}/inbound`.
pub(super) async fn inbound(
    State(desk): State<Arc<Desk>>,
    upstream: Result<Path<String>, PathRejection>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let upstream = named(upstream);
    let taken = match read(&desk, &upstream, peer.ip(), request, false).await {
        Ok(hook) => inbound::take(&desk, &hook).await.map(|()| hook.caller.provider.taken()),
        Err(error) => Err(error),
    };
    answer(&desk, &upstream, peer.ip(), taken)
}

/// The upstream in the path; empty, which no upstream is called, where the path is no text.
pub(super) fn named(upstream: Result<Path<String>, PathRejection>) -> String {
    upstream.map(|Path(upstream)| upstream).unwrap_or_default()
}

/// Everything else.
pub(super) async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn read<'a>(
    desk: &'a Desk,
    upstream: &str,
    peer: IpAddr,
    request: Request,
    is_status: bool,
) -> Result<Hook<'a>, HookError> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Err(HookError::NotFound);
    }
    let named = UpstreamName::parse(upstream).and_then(|n| desk.with.upstreams.get_key_value(&n));
    let Some((name, caller)) = named else { return Err(HookError::NotFound) };
    let networks = &caller.callbacks.networks;
    let peer = client_behind(peer, request.headers(), &desk.with.trusted_proxies);
    if !networks.is_empty() && !networks.iter().any(|network| network.contains(&peer)) {
        return Err(HookError::Refused(CallbackRefusal::Forged));
    }
    let (head, body) = request.into_parts();
    let body = whole(body, MAX_BODY_BYTES).await?;
    let mut request = http::Request::new(body);
    *request.method_mut() = head.method;
    *request.headers_mut() = head.headers;
    // In HTTP/2, and from clients that think that we are a proxy, the URI has an authority.
    let path_and_query = head.uri.path_and_query().cloned();
    *request.uri_mut() = path_and_query.map(http::Uri::from).unwrap_or_default();
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let token = query.bytes("token").unwrap_or_default();
    let has_token = caller.callbacks.token.as_ref().is_some_and(|secret| secret.matches(token));
    let claimed = query.get("message").and_then(|id| MessageId::parse(&id));
    let proof = query.get("proof").unwrap_or_default();
    let proven_message = claimed.filter(|id| is_status && desk.with.key.holds(name, *id, &proof));
    let now = (desk.with.clock)();
    Ok(Hook { upstream: name.clone(), caller, request, peer, now, proven_message, has_token })
}

/// The body, within its limits.
pub(super) async fn whole(body: Body, most: usize) -> Result<Bytes, HookError> {
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, most));
    body.await.map_err(|_| HookError::TooSlow)?.map_err(|_| HookError::TooLarge)
}

pub(super) fn answer(
    desk: &Desk,
    upstream: &str,
    peer: IpAddr,
    taken: Result<http::Response<Bytes>, HookError>,
) -> Response {
    let code = match taken {
        Ok(response) => return response.map(Body::from),
        Err(HookError::NotFound | HookError::Refused(CallbackRefusal::NotSupported)) => {
            StatusCode::NOT_FOUND
        }
        Err(HookError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        Err(HookError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
        Err(HookError::Refused(CallbackRefusal::Malformed)) => {
            refused(desk, upstream, peer, "malformed", StatusCode::BAD_REQUEST)
        }
        Err(HookError::Refused(CallbackRefusal::Forged)) => {
            refused(desk, upstream, peer, "forged", StatusCode::FORBIDDEN)
        }
        Err(HookError::NotNow) => StatusCode::SERVICE_UNAVAILABLE,
        Err(HookError::Archive(error)) => {
            tracing::error!(%error, upstream, "a callback could not be stored");
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// Counts and logs a refusal, unless this client has been refused too often.
fn refused(
    desk: &Desk,
    upstream: &str,
    client: IpAddr,
    kind: &'static str,
    code: StatusCode,
) -> StatusCode {
    telemetry::record::feedback(kind);
    if desk.forgeries.add(client, (desk.with.clock)()) {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    // The name was looked up among ours, so it holds nothing that a stranger chose.
    tracing::warn!(upstream, %client, kind, "a callback was refused");
    code
}
