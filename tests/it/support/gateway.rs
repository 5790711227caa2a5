//! The SMS side of a gateway without its daemon: a real archive and door, the public port over a real
//! socket, and the news for applications.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waybill::archive::{
    Acceptance, Archive, ArchiveError, ArchiveSettings, ClaimRequest, Client, Judgement, Message,
    MessagePolicy, NewRecipient, StagingLimits, Summary,
};
use waybill::feedback::{Caller, FeedbackState, router};
use waybill::flow::{Flow, Flows};
use waybill::intake::{Intake, KeywordSettings};
use waybill::lifecycle::RetrySchedule;
use waybill::model::sms::ReceiptRequest;
use waybill::model::{
    AppName, Channel, Digest, Direction, Medium, MessageId, Outcome, RecipientKind, RecipientState,
    Reference, Reply, Secret, Sms, Timestamp, UpstreamName,
};
use waybill::net::client::HttpClient;
use waybill::net::http::{HttpLimits, serve};
use waybill::policy::{
    AddressPattern, App, Apps, FailureReports, HoldRule, OnUnknownByChannel, Rate, Routes,
    SmsPolicy, Track, UrlPattern,
};
use waybill::rewrite::TokenKeys;
use waybill::sms::account::{
    CallbackUrls, KannelAccount, SignatureMethod, SmsAccounts, TokenAccount, TwilioAccount,
    VonageAccount, VonageSignature,
};
use waybill::sms::generic::{HttpMethod, HttpProvider};
use waybill::sms::proof::ProofKey;
use waybill::sms::provider::ProviderCallbacks;
use waybill::sms::{ProviderProtocol, provider};

use super::mail_providers;
use super::queue::now;
use super::sms::{DESTINATION, ORIGINATOR, sms_to};

pub const PUBLIC_URL: &str = "https://gateway.example.com";
pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";
pub const AUTH_TOKEN: &str = "word-of-the-provider";
pub const CALLBACK_TOKEN: &str = "word-in-the-url";

/// The clock of a test: the machine's, moved.
#[derive(Clone, Default)]
pub struct Shift(Arc<AtomicI64>);

impl Shift {
    pub fn by(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(now().as_millis() + self.0.load(Ordering::SeqCst))
    }
}

/// Of the links in the mail of these tests.
pub fn tokens() -> TokenKeys {
    TokenKeys::new((1, &[9; 32]), [])
}

/// Kannel signs nothing.
fn unsigned(url: &url::Url) -> Caller {
    Caller {
        provider: provider(ProviderProtocol::Kannel {
            url: url.clone(),
            account: KannelAccount {
                username: "waybill".into(),
                password: Secret::new("word".into()),
                callbacks: CallbackUrls::default(),
            },
        }),
        callbacks: ProviderCallbacks {
            token: Some(Secret::new(CALLBACK_TOKEN.into())),
            networks: Vec::new(),
        },
    }
}

/// The house.
pub struct Gateway {
    pub archive: Archive,
    pub intake: Intake,
    pub apps: Arc<ArcSwap<Apps>>,
    pub clock: Shift,
    pub key: ProofKey,
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

/// An app that may do anything, and takes receipts and inbound SMS of two dialects there.
pub fn app(name: &str, callbacks: Option<&str>) -> App {
    let urls = |path: &str| CallbackUrls {
        inbound: callbacks.map(|url| format!("{url}{path}/inbound")),
        status: callbacks.map(|url| format!("{url}{path}/status")),
    };
    App {
        name: AppName::parse(name).unwrap(),
        networks: Vec::new(),
        senders: Vec::new(),
        hold: HoldRule::None,
        track: Track::default(),
        references: Vec::new(),
        rate: Rate::default(),
        on_unknown: OnUnknownByChannel::default(),
        smtp: None,
        sms: SmsPolicy {
            accounts: SmsAccounts {
                waybill: Some(TokenAccount {
                    token: Secret::new("word-of-the-app".into()),
                    callback_secret: Some(Secret::new("whsec_c2VjcmV0".into())),
                    callbacks: urls("waybill"),
                }),
                ..SmsAccounts::default()
            },
            ..SmsPolicy::default()
        },
    }
}

/// The same with a Twilio account as well.
pub fn twilio_app(name: &str, callbacks: &str) -> App {
    let mut app = app(name, None);
    app.sms.accounts.twilio = Some(TwilioAccount {
        account_sid: ACCOUNT_SID.into(),
        auth_token: Secret::new("word-of-the-app".into()),
        callbacks: CallbackUrls {
            inbound: Some(format!("{callbacks}twilio/inbound")),
            status: Some(format!("{callbacks}twilio/status")),
        },
    });
    app
}

/// Lets its callbacks go to addresses of this machine.
pub fn calling_home(mut app: App) -> App {
    app.sms.callbacks = vec![UrlPattern::new("http://127.0.0.1:*")];
    app
}

pub fn sending_as(mut app: App, originator: &str) -> App {
    app.sms.originators = vec![AddressPattern::new(originator)];
    app
}

impl Gateway {
    pub async fn start(dir: &tempfile::TempDir, apps: Vec<App>) -> Gateway {
        Gateway::start_with(dir, apps, KeywordSettings::default()).await
    }

    pub async fn start_with(
        dir: &tempfile::TempDir,
        apps: Vec<App>,
        keywords: KeywordSettings,
    ) -> Gateway {
        let (archive, clock) = (opened(dir).await, Shift::default());
        let apps = Apps(apps.into_iter().map(Arc::new).collect());
        let upstreams = vec![(Channel::Sms, upstream())];
        let routes = Routes { routes: Vec::new(), upstreams };
        let routes = Arc::new(ArcSwap::from_pointee(routes));
        let intake = Intake::new(archive.clone(), routes, &apps);
        let apps = Arc::new(ArcSwap::from_pointee(apps));
        let key = ProofKey::new(&[7; 32]);
        let account = TwilioAccount {
            account_sid: ACCOUNT_SID.into(),
            auth_token: Secret::new(AUTH_TOKEN.into()),
            callbacks: CallbackUrls::default(),
        };
        let url = url::Url::parse("https://api.example.com").unwrap();
        let caller = |networks: &[&str]| Caller {
            provider: provider(ProviderProtocol::Twilio {
                url: url.clone(),
                account: account.clone(),
            }),
            callbacks: ProviderCallbacks {
                token: None,
                networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            },
        };
        let upstreams = HashMap::from([
            (upstream(), caller(&[])),
            (UpstreamName::parse("vonage").unwrap(), vonage(&url)),
            (UpstreamName::parse("gatewayapi").unwrap(), gatewayapi(&url)),
            (UpstreamName::parse("described").unwrap(), described(&url)),
            (UpstreamName::parse("kannel").unwrap(), unsigned(&url)),
            (UpstreamName::parse("far").unwrap(), caller(&["192.0.2.0/24"])),
        ]);
        let time = clock.clone();
        let events = mail_providers::sources();
        archive.keep_reply_ids_of(events.keys().cloned());
        let state = FeedbackState {
            archive: archive.clone(),
            intake: intake.clone(),
            apps: apps.clone(),
            upstreams: Arc::new(upstreams),
            key: key.clone(),
            public_url: PUBLIC_URL.into(),
            tracking_url: None,
            keywords,
            tokens: tokens(),
            return_paths: Some(mail_providers::return_paths()),
            events,
            fetch: mail_providers::fetch(),
            anonymize_ip: true,
            failure_reports: FailureReports::Asked,
            trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()],
            clock: Arc::new(move || time.now()),
        };
        let (listener, stop) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
        let address = listener.local_addr().unwrap();
        let (router, recorder) = router(state);
        let serving = serve(listener, router, HttpLimits::default(), stop.clone());
        let recording = recorder.run(archive.clone());
        let server = tokio::spawn(async move {
            tokio::join!(serving, recording);
        });
        Gateway { archive, intake, apps, clock, key, address, stop, server }
    }

    /// Ends the port, so that the archive can be opened again.
    pub async fn stop(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }

    /// Telling applications, by these rules.
    pub fn flows(&self, flows: Vec<Flow>) -> News {
        let time = self.clock.clone();
        let flows = Flows {
            archive: self.archive.clone(),
            intake: self.intake.clone(),
            apps: self.apps.clone(),
            flows: Arc::new(ArcSwap::from_pointee(flows)),
            client: HttpClient::new(None).unwrap(),
            clock: Arc::new(move || time.now()),
        };
        let stop = CancellationToken::new();
        News { task: tokio::spawn(flows.run(stop.clone())), stop }
    }

    /// One request; gives the answer as it came.
    pub async fn bytes(&self, request: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    /// One request; gives status and body.
    pub async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap_or(0), body.to_owned())
    }

    /// A form to this path, with these further header lines.
    pub async fn post(&self, path: &str, form: &str, headers: &str) -> (u16, String) {
        let length = form.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\
             {headers}\r\n{form}"
        ))
        .await
    }

    /// A callback that Twilio signed.
    pub async fn signed(&self, path: &str, fields: &[(&str, &str)]) -> u16 {
        let form = form(fields);
        self.post(path, &form, &signature(path, fields)).await.0
    }

    /// The path of the status URL that was handed out for this message.
    pub fn status_path(&self, id: MessageId) -> String {
        self.status_path_of(id, "provider")
    }

    /// A message to [`DESTINATION`] that is due.
    pub async fn accepted(&self, sms: Sms) -> MessageId {
        let acceptance = outbound(sms, self.clock.now());
        self.archive.accept(acceptance).await.unwrap().get()
    }

    /// Claims a message, as dispatch does before it sends.
    pub async fn claim(&self, id: MessageId) {
        self.claim_for(id, upstream()).await;
    }

    async fn claim_for(&self, id: MessageId, upstream: UpstreamName) {
        let now = self.clock.now();
        let request = ClaimRequest { message: id, recipients: vec![0], upstream, rank: 0, now };
        assert_eq!(self.archive.claim(request).await.unwrap(), [0]);
    }

    /// The provider took it under this id.
    pub async fn judge_sent(&self, id: MessageId, provider_id: &str) {
        self.judge(id, vec![provider_id.to_owned()]).await;
    }

    async fn judge(&self, id: MessageId, parts: Vec<String>) {
        let outcome = Outcome::Sent {
            reply: Reply::new(201, None, "queued"),
            digest: Digest::of(b"request"),
            parts,
            owes_report: false,
        };
        let judgement = Judgement {
            message: id,
            outcomes: vec![(0, outcome)],
            touch: None,
            is_last_upstream: true,
            hold_unknown: true,
            now: self.clock.now(),
        };
        let schedule = RetrySchedule {
            waits: vec![std::time::Duration::from_secs(60)],
            expire: std::time::Duration::from_secs(3600),
        };
        self.archive.judge(judgement, Arc::new(schedule)).await.unwrap();
    }

    /// A message that this upstream took without an id.
    pub async fn sent_by(&self, sms: Sms, by: &str) -> MessageId {
        self.sent_in_parts(sms, by, &[]).await
    }

    /// A message that this upstream took under these ids.
    pub async fn sent_in_parts(&self, sms: Sms, by: &str, ids: &[&str]) -> MessageId {
        let (id, by) = (self.accepted(sms).await, UpstreamName::parse(by).unwrap());
        self.claim_for(id, by).await;
        self.judge(id, ids.iter().map(|id| (*id).to_owned()).collect()).await;
        id
    }

    /// The path of the status URL that was handed out to this upstream.
    pub fn status_path_of(&self, id: MessageId, upstream: &str) -> String {
        let upstream = UpstreamName::parse(upstream).unwrap();
        let url = self.key.status_url(PUBLIC_URL, &upstream, id);
        url.strip_prefix(PUBLIC_URL).unwrap().to_owned()
    }

    /// A message that was sent under this id.
    pub async fn sent(&self, sms: Sms, provider_id: &str) -> MessageId {
        let id = self.accepted(sms).await;
        self.claim(id).await;
        self.judge_sent(id, provider_id).await;
        id
    }

    /// An SMS comes in from [`DESTINATION`]; gives the message that it became.
    pub async fn comes_in(&self, provider_id: &str, text: &str) -> Message {
        let fields = inbound_fields(provider_id, DESTINATION, text);
        assert_eq!(self.signed("/hooks/provider/inbound", &fields).await, 200, "{text}");
        self.inbound().pop().unwrap()
    }

    /// All that came in, oldest first.
    pub fn inbound(&self) -> Vec<Message> {
        self.listed(Direction::Inbound)
    }

    /// All that goes out, oldest first.
    pub fn outbound(&self) -> Vec<Message> {
        self.listed(Direction::Outbound)
    }

    fn listed(&self, direction: Direction) -> Vec<Message> {
        let filter = waybill::archive::Filter {
            direction: Some(direction),
            ..waybill::archive::Filter::default()
        };
        let order = waybill::archive::Order::Oldest;
        self.archive.list(&filter, order, None, 1_000).unwrap().items
    }
}

/// The news at work.
pub struct News {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ArchiveError>>,
}

impl News {
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The archive of a folder; waits while the one before it lets go of it.
async fn opened(dir: &tempfile::TempDir) -> Archive {
    let settings = ArchiveSettings {
        data_dir: dir.path().to_owned(),
        cache_bytes: 16 << 20,
        volume_bytes: 1 << 30,
        reserve_bytes: 0,
        staging: StagingLimits::default(),
    };
    for _ in 0..1_000 {
        match Archive::open(&settings) {
            Ok(archive) => return archive,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    panic!("the folder is not let go of");
}

pub fn upstream() -> UpstreamName {
    UpstreamName::parse("provider").unwrap()
}

/// Signs its callbacks with [`AUTH_TOKEN`], HMAC-SHA-256.
fn vonage(url: &url::Url) -> Caller {
    let secret = || Secret::new(AUTH_TOKEN.into());
    let account = VonageAccount {
        api_key: "key1".into(),
        api_secret: secret(),
        signature: Some(VonageSignature { secret: secret(), method: SignatureMethod::HmacSha256 }),
        callbacks: CallbackUrls::default(),
    };
    let protocol = ProviderProtocol::Vonage { url: url.clone(), account };
    Caller { provider: provider(protocol), callbacks: ProviderCallbacks::default() }
}

/// Signs its callbacks with [`AUTH_TOKEN`].
fn gatewayapi(url: &url::Url) -> Caller {
    let account = TokenAccount {
        token: Secret::new("word".into()),
        callback_secret: Some(Secret::new(AUTH_TOKEN.into())),
        callbacks: CallbackUrls::default(),
    };
    let protocol = ProviderProtocol::GatewayApi { url: url.clone(), account };
    Caller { provider: provider(protocol), callbacks: ProviderCallbacks::default() }
}

/// A provider that the configuration describes; it signs nothing.
fn described(url: &url::Url) -> Caller {
    let settings = HttpProvider {
        url: url.clone(),
        method: HttpMethod::Post,
        headers: Vec::new(),
        body: Some("to={to}&text={text}".into()),
        success: None,
        permanent: None,
        temporary: None,
    };
    let token = Some(Secret::new(CALLBACK_TOKEN.into()));
    let callbacks = ProviderCallbacks { token, networks: Vec::new() };
    Caller { provider: provider(ProviderProtocol::Http(settings)), callbacks }
}

/// A text to [`DESTINATION`] from our number.
pub fn text(text: &str) -> Sms {
    sms_to(DESTINATION, text)
}

/// Receipts of this message go there.
pub fn with_receipts(mut sms: Sms, url: &str) -> Sms {
    sms.receipt = Some(ReceiptRequest { url: url.to_owned(), mask: u8::MAX });
    sms
}

fn outbound(sms: Sms, at: Timestamp) -> Acceptance {
    let raw = bytes::Bytes::from(sms.text().to_owned());
    Acceptance {
        accepted_at: at,
        direction: Direction::Outbound,
        app: AppName::parse("erp").unwrap(),
        medium: Medium::Sms(Box::new(sms)),
        client: Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: String::new(),
            protocol: "HTTP".into(),
            tls: None,
            authenticated: None,
            gateway: "gateway.example.com".into(),
        },
        digest: Digest::of(&raw),
        raw,
        shared: Vec::new(),
        summary: Summary::default(),
        recipients: vec![NewRecipient {
            name: None,
            kind: RecipientKind::To,
            state: RecipientState::Due { at, rank: 0 },
        }],
        references: vec![Reference::parse("INV-12345").unwrap()],
        tag: None,
        on_behalf_of: None,
        policy: MessagePolicy {
            hold_unknown: true,
            track_opens: false,
            track_clicks: false,
            is_foreign: false,
        },
        resend_of: None,
    }
}

pub fn inbound_fields<'a>(id: &'a str, from: &'a str, text: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("MessageSid", id),
        ("SmsSid", id),
        ("AccountSid", ACCOUNT_SID),
        ("From", from),
        ("To", ORIGINATOR),
        ("Body", text),
        ("NumMedia", "0"),
        ("NumSegments", "1"),
        ("SmsStatus", "received"),
        ("ApiVersion", "2010-04-01"),
    ]
}

pub fn status_fields<'a>(id: &'a str, status: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("MessageSid", id),
        ("SmsSid", id),
        ("MessageStatus", status),
        ("SmsStatus", status),
        ("To", DESTINATION),
        ("From", ORIGINATOR),
        ("AccountSid", ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
    ]
}

pub fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Twilio's: HMAC-SHA1 over the URL and the sorted fields.
pub fn signature(path: &str, fields: &[(&str, &str)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let mut signed = format!("{PUBLIC_URL}{path}");
    for (name, value) in sorted {
        signed.push_str(name);
        signed.push_str(value);
    }
    let key = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        AUTH_TOKEN.as_bytes(),
    );
    let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("X-Twilio-Signature: {}\r\n", STANDARD.encode(tag))
}

/// Addresses on which connections are taken and never answered.
pub struct Silence {
    pub address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    task: JoinHandle<()>,
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Silence {
    pub async fn start() -> Silence {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::<Mutex<Vec<TcpStream>>>::default();
        let held = open.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                held.lock().unwrap().push(stream);
            }
        });
        Silence { address, open, task }
    }

    pub fn connections(&self) -> usize {
        self.open.lock().unwrap().len()
    }
}
