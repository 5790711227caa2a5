//! The SMS port: HTTP requests of every dialect, each to its dialect, its app and its answer.
//!
//! One handler for all paths, because a path means something only within its dialect. It reads the
//! whole request, within limits, and hands it to a task of its own: a client that goes away does not
//! cut off a commit, and a bug ends its call and nothing else. An answer is written after the commit
//! and never waits for a hold.
//!
//! Not here: connections and TLS (`net`), what a dialect means (`sms`), what is accepted (`intake`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, StatusCode, Uri};

use super::guard::AuthGuard;
use super::now;
use super::sms_body::{BodyRoom, Unread};
use super::sms_dispatch::{dispatch, prefixes};
use super::sms_identity::identify;
use super::sms_operation::Doing;
use super::sms_settings::SmsPortSettings;
use crate::archive::{Archive, Client};
use crate::intake::{Intake, ReplyFate};
use crate::model::Dialect;
use crate::net::ReplyWatch;
use crate::net::http::{CloseWithoutReply, HttpLimits};
use crate::policy::Apps;
use crate::sms::call::{Answer, CloseConnection, Refusal};
use crate::sms::{self, Port};
use crate::telemetry::record;

/// How long a connection may wait for its next request: clients keep theirs for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Idle connections cost little, and pools of clients keep many.
const MAX_CONNECTIONS: usize = 4_096;

/// The SMS port, before it is opened.
pub struct SmsPort {
    hosts: Vec<(String, Dialect)>,
    /// The name that this gateway bears.
    gateway: String,
    apps: Arc<ArcSwap<Apps>>,
    intake: Intake,
    archive: Archive,
    guard: AuthGuard,
    bodies: BodyRoom,
}

impl SmsPort {
    /// A port for these apps; they are looked up anew for each call. Reads the last minute of the
    /// archive if it was not closed.
    pub fn new(
        settings: &SmsPortSettings,
        gateway: String,
        apps: Arc<ArcSwap<Apps>>,
        intake: Intake,
        archive: Archive,
    ) -> SmsPort {
        if let Err(error) = intake.remember_calls(now()) {
            tracing::error!(%error, "the calls before the crash are not remembered");
        }
        let (hosts, guard, bodies) =
            (settings.hosts.clone(), AuthGuard::default(), BodyRoom::new());
        SmsPort { hosts, gateway, apps, intake, archive, guard, bodies }
    }

    /// What the listener grants.
    pub fn limits() -> HttpLimits {
        HttpLimits {
            header_timeout: KEEP_ALIVE,
            idle_timeout: KEEP_ALIVE + Duration::from_secs(15),
            max_connections: MAX_CONNECTIONS,
            ..HttpLimits::default()
        }
    }

    /// Everything that the port serves.
    pub fn router(self) -> Router {
        Router::new().fallback(handle).with_state(Arc::new(self))
    }

    /// Reads the request as its dialect, finds its app, does what it wants.
    async fn respond(
        &self,
        (dialect, request): (Dialect, http::Request<Bytes>),
        peer: SocketAddr,
        watch: ReplyWatch,
    ) -> http::Response<Bytes> {
        let port = sms::port(dialect);
        let call = match port.read(&request) {
            Ok(call) => call,
            Err(response) => return *response,
        };
        let now = now();
        let client = peer.ip().to_canonical();
        let apps = self.apps.load_full();
        let who = identify(&apps, &self.guard, port, (&request, &call), (client, now)).await;
        let caller = match who {
            Ok(caller) => caller,
            Err(refusal) => {
                record::submission("sms", "", "refused");
                return port.answer(&call, &Answer::Refused(&refusal));
            }
        };
        let client = Client {
            address: client,
            helo: String::new(),
            protocol: format!("{:?}", request.version()),
            tls: None,
            authenticated: caller.proven.clone(),
            gateway: self.gateway.clone(),
        };
        let doing = Doing {
            intake: &self.intake,
            archive: &self.archive,
            port,
            request: &request,
            call: &call,
            caller: &caller,
            client,
            reply: Arc::new(Watched(watch)),
            now,
        };
        doing.respond().await
    }
}

/// The fate of an answer, as the door asks for it.
struct Watched(ReplyWatch);

impl ReplyFate for Watched {
    fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    fn when_delivered(&self, call: Box<dyn FnOnce() + Send>) {
        self.0.when_delivered(call);
    }
}

/// One request, from its header to its answer.
async fn handle(
    State(port): State<Arc<SmsPort>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(watch): Extension<ReplyWatch>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let mut head = http::Request::from_parts(parts, Bytes::new());
    head.extensions_mut().clear();
    name_host(&mut head);
    let length = head.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let Some((dialect, mut request)) = dispatch(head, &port.hosts) else {
        record::http_request("sms", "none", 404, started.elapsed());
        return nobodys();
    };
    let response = match port.bodies.read(body, length).await {
        Ok(body) => {
            *request.body_mut() = body.bytes;
            // In a task of its own: from here the call is done, whether or not the client waits.
            let done = async move {
                let response = port.respond((dialect, request), peer, watch).await;
                drop(body.room);
                response
            };
            tokio::spawn(done).await.map_or_else(|bug| went_wrong(&bug), finished)
        }
        Err(unread) => refuse_body(sms::port(dialect), &request, unread),
    };
    record::http_request("sms", dialect.as_str(), response.status().as_u16(), started.elapsed());
    response
}

/// HTTP/2 names the host in the request's target alone (RFC 9113 §8.3.1).
fn name_host(request: &mut http::Request<Bytes>) {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let Some(authority) = authority else { return };
    if let Ok(value) = HeaderValue::from_str(&authority) {
        request.headers_mut().entry(HOST).or_insert(value);
    }
    // The dialects see every request in its origin form (RFC 9112 §3.2.1).
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
}

/// Says so in the dialect's words. Those that put errors into a success keep its status.
fn refuse_body(port: &dyn Port, request: &http::Request<Bytes>, unread: Unread) -> Response {
    let refused = |why: &str| Refusal::Malformed(why.into());
    let (status, refusal) = match unread {
        Unread::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, refused("The body is larger than 4 MiB"))
        }
        Unread::TooSlow => {
            (StatusCode::REQUEST_TIMEOUT, refused("The body did not arrive in time"))
        }
        Unread::Broken => (StatusCode::BAD_REQUEST, refused("The body can not be read")),
        Unread::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, Refusal::NotNow),
    };
    let mut response = match port.read(request) {
        Ok(call) => port.answer(&call, &Answer::Refused(&refusal)),
        Err(response) => *response,
    };
    if !response.status().is_success() {
        *response.status_mut() = status;
    }
    finished(response)
}

fn finished(response: http::Response<Bytes>) -> Response {
    let mut response = response.map(Body::from);
    if response.extensions().get::<CloseConnection>().is_some() {
        response.extensions_mut().insert(CloseWithoutReply);
    }
    response
}

/// No dialect knows it.
fn nobodys() -> Response {
    let detail = format!(
        "No dialect has this path. Put the one that you speak before it: {}.",
        prefixes().join(" ")
    );
    problem(StatusCode::NOT_FOUND, "not-found", "There is no such thing", &detail)
}

fn went_wrong(bug: &tokio::task::JoinError) -> Response {
    tracing::error!(error = %bug, "a call about SMS met a bug");
    let detail = "The call could not be handled.";
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here", detail)
}

/// RFC 9457.
fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": format!("urn:waybill:problem:{kind}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "errors": [],
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
