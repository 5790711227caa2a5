//! A small SMS provider on loopback: the demo's upstream for SMS.
//!
//! It speaks Twilio's API over real HTTP: takes messages, reports what becomes of them, and lets the
//! people at the other end answer. Two things happen on purpose, so that the demo can show them: a
//! number that ends in `99` is out of reach, and whoever is asked to reply YES does so.
//!
//! It is no provider for real messages: it keeps nothing and forgets all when it stops.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::Secret;
use crate::net::client::{FetchLimits, HttpClient, Reach};
use crate::net::http::{HttpLimits, serve};
use crate::sms::form::Fields;
use crate::sms::hex;
use crate::sms::twilio::sign_callback;

/// The account that the demo's gateway has here.
pub(super) const ACCOUNT_SID: &str = "AC00000000000000000000000000000000";
/// How long a message is on its way, and how long a person thinks.
const ON_THE_WAY: Duration = Duration::from_millis(800);
const THINKING: Duration = Duration::from_secs(2);

/// The provider; it stops when it is dropped.
pub(super) struct SmsProvider {
    address: SocketAddr,
    auth_token: Secret,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    auth_token: Secret,
    client: HttpClient,
    /// Where inbound messages go, as an account's setting says; known once the gateway runs.
    inbound_url: OnceCell<String>,
    received: AtomicU64,
    tasks: TaskTracker,
}

impl Drop for SmsProvider {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SmsProvider {
    /// Listens on a loopback port of the system's choice.
    pub(super) async fn start() -> io::Result<SmsProvider> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
        let auth_token = Secret::new(hex::digits(&random));
        let shared = Arc::new(Shared {
            auth_token: auth_token.clone(),
            client: HttpClient::new(None).map_err(io::Error::other)?,
            inbound_url: OnceCell::new(),
            received: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        });
        let path = "/2010-04-01/Accounts/{sid}/Messages.json";
        let router = Router::new().route(path, post(create)).with_state(shared.clone());
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, router, HttpLimits::default(), stop.clone()));
        Ok(SmsProvider { address, auth_token, shared, stop })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its account proves itself with.
    pub(super) fn auth_token(&self) -> &Secret {
        &self.auth_token
    }

    /// Sets where inbound messages go.
    pub(super) fn deliver_inbound_to(&self, url: String) {
        // Only the first one counts; there is one gateway.
        let _ = self.shared.inbound_url.set(url);
    }

    /// A person writes to a number of the account.
    pub(super) fn person_writes(&self, person: &str, number: &str, text: &str) {
        let (shared, message) = (self.shared.clone(), Sms::new(person, number, text));
        self.shared.tasks.spawn(async move { shared.deliver_inbound(message).await });
    }

    /// How many messages it took.
    pub(super) fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }
}

struct Sms {
    sid: String,
    from: String,
    to: String,
    text: String,
}

impl Sms {
    fn new(from: &str, to: &str, text: &str) -> Sms {
        let mut random = [0; 16];
        // Without randomness two messages share an id, which the demo survives.
        let _ = aws_lc_rs::rand::fill(&mut random);
        let (from, to, text) = (from.to_owned(), to.to_owned(), text.to_owned());
        Sms { sid: format!("SM{}", hex::digits(&random)), from, to, text }
    }
}

/// `POST …/Messages.json`.
async fn create(
    State(shared): State<Arc<Shared>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let expected = format!("{ACCOUNT_SID}:{}", shared.auth_token.expose());
    let expected = Secret::new(format!("Basic {}", BASE64_STANDARD.encode(expected)));
    let given = headers.get(http::header::AUTHORIZATION).map(|field| field.as_bytes());
    if account != ACCOUNT_SID || !given.is_some_and(|given| expected.matches(given)) {
        let text = r#"{"code":20003,"message":"Authenticate","status":401}"#;
        return (StatusCode::UNAUTHORIZED, text).into_response();
    }
    let fields = Fields::parse(&body);
    let field = |name: &str| fields.get(name).unwrap_or_default().into_owned();
    let message = Sms::new(&field("From"), &field("To"), &field("Body"));
    shared.received.fetch_add(1, Ordering::Relaxed);
    let answer = serde_json::json!({
        "sid": message.sid, "status": "queued", "to": message.to, "from": message.from,
        "body": message.text, "error_code": null,
    });
    let status_url = field("StatusCallback");
    let on_its_way = shared.clone();
    shared.tasks.spawn(async move { on_its_way.carry(message, &status_url).await });
    (StatusCode::CREATED, axum::Json(answer)).into_response()
}

impl Shared {
    /// What becomes of a message, told step by step.
    async fn carry(&self, message: Sms, status_url: &str) {
        tokio::time::sleep(ON_THE_WAY).await;
        self.report(&message, status_url, "sent", None).await;
        tokio::time::sleep(ON_THE_WAY).await;
        if message.to.ends_with("99") {
            self.report(&message, status_url, "undelivered", Some("30003")).await;
            return;
        }
        self.report(&message, status_url, "delivered", None).await;
        if message.text.contains("Reply YES") {
            tokio::time::sleep(THINKING).await;
            let answer = Sms::new(&message.to, &message.from, "Yes, I will be there.");
            self.deliver_inbound(answer).await;
        }
    }

    async fn report(&self, message: &Sms, url: &str, status: &str, error: Option<&str>) {
        let mut fields = Fields::default();
        let of_message = [("MessageSid", &*message.sid), ("SmsSid", &message.sid)];
        let of_status = [("MessageStatus", status), ("SmsStatus", status)];
        let addresses =
            [("From", &*message.from), ("To", &message.to), ("AccountSid", ACCOUNT_SID)];
        for (name, value) in of_message.into_iter().chain(of_status).chain(addresses) {
            fields.push(name, value);
        }
        if let Some(code) = error {
            fields.push("ErrorCode", code);
        }
        self.call(url, &fields).await;
    }

    async fn deliver_inbound(&self, message: Sms) {
        let Some(url) = self.inbound_url.get() else { return };
        let mut fields = Fields::default();
        for (name, value) in [
            ("MessageSid", &*message.sid),
            ("SmsSid", &message.sid),
            ("SmsMessageSid", &message.sid),
            ("AccountSid", ACCOUNT_SID),
            ("From", &message.from),
            ("To", &message.to),
            ("Body", &message.text),
            ("NumMedia", "0"),
            ("NumSegments", "1"),
            ("SmsStatus", "received"),
            ("ApiVersion", "2010-04-01"),
        ] {
            fields.push(name, value);
        }
        self.call(url, &fields).await;
    }

    /// Calls the gateway as the real provider does, with its signature.
    async fn call(&self, url: &str, fields: &Fields) {
        let signature = sign_callback(&self.auth_token, url, fields);
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("X-Twilio-Signature", signature)
            .body(Bytes::from(fields.encode()));
        let Ok(request) = request else { return };
        let answer = self.client.fetch(request, Reach::Configured, FetchLimits::default()).await;
        match answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => {
                tracing::warn!(status = %answer.status(), "the demo's callback was refused")
            }
            Err(error) => tracing::warn!(%error, "the demo's callback did not arrive"),
        }
    }
}
