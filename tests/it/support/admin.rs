//! A gateway without its SMTP side: archive, accounts and the admin port on a real socket, and a client for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use waybill::account::{Accounts, AppScope, NewToken, Role};
use waybill::admin::{self, AdminState, LoginRules, Records, UpstreamHealth};
use waybill::archive::StagingLimits;
use waybill::archive::{Archive, ArchiveSettings, ClaimRequest, Client, Judgement, Message};
use waybill::evidence;
use waybill::intake::{Intake, Resender, SmsSubmission, Submission};
use waybill::model::envelope::BodyType;
use waybill::model::{
    AppName, Channel, Dialect, Digest, Envelope, EnvelopeRecipient, ForwardPath, MessageId,
    Outcome, Reply, ReversePath, SmsBody, Timestamp, UpstreamName,
};
use waybill::net::http::{self, HttpLimits};
use waybill::policy::{App, Apps, HoldRule, OnUnknownByChannel, Rate, Routes, SmsPolicy, Track};
use waybill::sms::call::Draft;
use waybill::sms::number::NumberStyle;

/// A small mail with text, HTML that would like to run, a picture and a document.
pub const MAIL: &str = "From: Anna Berg <anna@example.com>\r\n\
To: Kim <kim@example.org>\r\n\
Subject: Invoice INV-12345\r\n\
Message-ID: <1@example.com>\r\n\
Date: Sun, 22 Nov 2026 04:27:51 +0000\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\
\r\n\
--b\r\n\
Content-Type: multipart/alternative; boundary=a\r\n\
\r\n\
--a\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
\r\n\
Please find your invoice.\r\n\
--a\r\n\
Content-Type: text/html; charset=utf-8\r\n\
\r\n\
<p onclick=\"steal()\">Please find <b>your</b> invoice.</p><script>steal()</script>\r\n\
<img src=\"https://tracker.example/x.gif\">\r\n\
--a--\r\n\
--b\r\n\
Content-Type: text/html; name=\"../år \\\"1\\\".html\"\r\n\
Content-Disposition: attachment; filename=\"../evil.html\"\r\n\
\r\n\
<script>steal()</script>\r\n\
--b--\r\n";

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {text}", self.status))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The last part of a problem's type, after a look at its shape.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let json = self.json();
        assert_eq!(json["status"], self.status);
        for field in ["title", "detail"] {
            assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        }
        assert!(json["errors"].is_array(), "{json}");
        json["type"].as_str().unwrap().strip_prefix("urn:waybill:problem:").unwrap().to_owned()
    }
}

/// The admin port with what stands behind it.
pub struct Gateway {
    pub archive: Archive,
    pub accounts: Accounts,
    pub address: SocketAddr,
    /// How the API is told that the upstream is doing.
    pub health: Arc<ArcSwap<UpstreamHealth>>,
    /// What the daemon finishes at its end.
    pub records: Option<Records>,
    intake: Intake,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn archive_settings(dir: &std::path::Path) -> ArchiveSettings {
    ArchiveSettings {
        data_dir: dir.to_owned(),
        cache_bytes: 1 << 20,
        volume_bytes: 1 << 30,
        reserve_bytes: 0,
        staging: StagingLimits::default(),
    }
}

fn app(name: &str, hold: HoldRule) -> App {
    App {
        name: AppName::parse(name).unwrap(),
        networks: Vec::new(),
        senders: Vec::new(),
        hold,
        track: Track::default(),
        references: Vec::new(),
        rate: Rate::default(),
        on_unknown: OnUnknownByChannel::default(),
        sms: SmsPolicy::default(),
        smtp: None,
    }
}

pub fn upstream() -> UpstreamName {
    UpstreamName::parse("provider").unwrap()
}

/// An upstream that does well.
pub fn healthy() -> UpstreamHealth {
    UpstreamHealth {
        name: upstream(),
        connections: 2,
        idle_connections: 1,
        max_connections: 10,
        down_until: None,
        last_error: None,
    }
}

pub fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

impl Gateway {
    pub async fn start() -> Gateway {
        Gateway::start_with(HttpLimits::default()).await
    }

    pub async fn start_with(limits: HttpLimits) -> Gateway {
        Gateway::start_ruled(limits, LoginRules::default()).await
    }

    pub async fn start_ruled(limits: HttpLimits, rules: LoginRules) -> Gateway {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&archive_settings(dir.path())).unwrap();
        let routes = Routes {
            routes: Vec::new(),
            upstreams: vec![(Channel::Email, upstream()), (Channel::Sms, upstream())],
        };
        let rate = Rate { per_minute: Some(2), ..Rate::default() };
        let slow = App { rate, ..app("slow", HoldRule::Manual) };
        let apps = [app("erp", HoldRule::Manual), app("crm", HoldRule::Manual), slow];
        let apps = Apps(apps.map(Arc::new).to_vec());
        let intake = Intake::new(archive.clone(), Arc::new(ArcSwap::from_pointee(routes)), &apps);
        let resender = Resender::new(
            intake.clone(),
            Arc::new(ArcSwap::from_pointee(apps)),
            "gateway.example.com",
        );
        let accounts = Accounts::new(archive.clone());
        let health = Arc::new(ArcSwap::from_pointee(healthy()));
        let told = health.clone();
        let upstreams = Arc::new(move || vec![UpstreamHealth::clone(&told.load())]);
        let state = AdminState::new(archive.clone(), accounts.clone(), upstreams);
        let state = state.with_rules(rules).resending_through(resender);
        state.run_jobs();
        let records = Some(state.records());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, admin::router(state), limits, stop.clone()));
        Gateway { archive, accounts, address, health, records, intake, stop, _dir: dir }
    }

    /// Archives a message of an app; `manual` holds it until it is released.
    pub async fn submit(&self, name: &str, to: &[&str], raw: &str, manual: bool) -> Message {
        let hold = if manual { HoldRule::Manual } else { HoldRule::None };
        let recipient = |path: &&str| EnvelopeRecipient {
            path: ForwardPath::parse(path).unwrap(),
            notify: None,
            original: None,
        };
        let submission = Submission {
            app: Arc::new(app(name, hold)),
            envelope: Envelope {
                reverse_path: ReversePath::parse("bounce@example.com").unwrap(),
                recipients: to.iter().map(recipient).collect(),
                body: BodyType::EightBitMime,
                smtputf8: false,
                ret: None,
                envid: None,
                release: None,
            },
            client: Client {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                helo: "erp".into(),
                protocol: "ESMTP".into(),
                tls: None,
                authenticated: None,
                gateway: "gateway.example.com".into(),
            },
            raw: Bytes::copy_from_slice(raw.as_bytes()),
            newlines_fixed: false,
            received_at: now(),
        };
        let id = self.intake.submit(submission).await.unwrap().get();
        self.message(id)
    }

    /// Archives an SMS of an app.
    pub async fn submit_sms(&self, name: &str, to: &str, text: &str) -> Message {
        let body = SmsBody::Text(text.to_owned());
        let mut draft = Draft::new(to.to_owned(), NumberStyle::International, body);
        draft.from = Some("Shop".into());
        let call = SmsSubmission {
            app: Arc::new(app(name, HoldRule::None)),
            client: Client {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                helo: String::new(),
                protocol: "HTTP".into(),
                tls: None,
                authenticated: None,
                gateway: "gateway.example.com".into(),
            },
            dialect: Dialect::Waybill,
            account: None,
            raw: Bytes::from_static(b"POST /v1/sms HTTP/1.1\r\n\r\n{}"),
            fingerprint: [1; 16],
            drafts: vec![draft],
            idempotency_key: None,
            received_at: now(),
            reply_to: None,
            confirms_opt_out: false,
        };
        let accepted = self.intake.submit_sms(call).await.unwrap();
        self.message(accepted.ids[0].get())
    }

    pub fn message(&self, id: MessageId) -> Message {
        self.archive.message(id).unwrap().unwrap()
    }

    /// Claims one recipient, as `dispatch` does before an attempt.
    pub async fn claim(&self, id: MessageId, recipient: u16) -> Vec<u16> {
        let request = ClaimRequest {
            message: id,
            recipients: vec![recipient],
            upstream: upstream(),
            rank: 0,
            now: now(),
        };
        self.archive.claim(request).await.unwrap()
    }

    /// Records that a claimed recipient was sent; gives the digest of what was sent.
    pub async fn sent(&self, id: MessageId, recipient: u16, digest: Option<Digest>) -> Digest {
        let raw = self.archive.raw(id).unwrap().unwrap();
        let digest = digest.unwrap_or(evidence::untouched(&self.message(id), &raw).digest);
        let reply = Reply::new(250, None, "2.0.0 queued as 4X");
        let judgement = Judgement {
            message: id,
            outcomes: vec![(
                recipient,
                Outcome::Sent { reply, digest, parts: Vec::new(), owes_report: false },
            )],
            touch: None,
            is_last_upstream: true,
            hold_unknown: false,
            now: now(),
        };
        self.archive.judge(judgement, Arc::default()).await.unwrap();
        digest
    }

    /// A token that is good for ever.
    pub async fn token(&self, role: Role, apps: &[&str]) -> String {
        let apps = apps.iter().map(|name| AppName::parse(name).unwrap()).collect();
        let new = NewToken {
            role,
            scope: AppScope::of(apps),
            expires_at: None,
            note: None,
            created_by: "the test".into(),
        };
        let (_, secret) = self.accounts.create_token(new, now()).await.unwrap();
        secret.expose().to_owned()
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(Method::GET, path, Some(token), None).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask(Method::POST, path, Some(token), body).await
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "x");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|json| json.to_string()).unwrap_or_default();
        ask(self.address, request.body(body.into()).unwrap()).await
    }
}

/// One request over a connection of its own.
pub async fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    // A live stream has no end.
    if headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event")) {
        return Answer { status, headers, body: Bytes::new() };
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, headers, body }
}
