//! The SMS port on a real archive and a real socket, and clients that speak raw HTTP to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use waybill::archive::{Archive, Filter, Message, Order};
use waybill::intake::Intake;
use waybill::model::{AppName, Channel, Secret};
use waybill::net::http;
use waybill::policy::{App, Apps, HoldRule, OnUnknownByChannel, Rate, Routes, SmsPolicy, Track};
use waybill::sms::account::{CallbackUrls, TokenAccount, TwilioAccount};
use waybill::submission::{SmsPort, SmsPortSettings};

use super::admin::{archive_settings, now, upstream};

/// An account of Twilio's form.
pub fn sid(last: char) -> String {
    format!("AC{}", String::from(last).repeat(32))
}

/// An app without any account.
pub fn bare_app(name: &str) -> App {
    App {
        name: AppName::parse(name).unwrap(),
        networks: Vec::new(),
        senders: Vec::new(),
        hold: HoldRule::None,
        track: Track::default(),
        references: Vec::new(),
        rate: Rate::default(),
        on_unknown: OnUnknownByChannel::default(),
        sms: SmsPolicy::default(),
        smtp: None,
    }
}

/// An app with a Twilio account (`token`) and a GatewayAPI token.
pub fn app(name: &str, last: char) -> App {
    let mut app = bare_app(name);
    app.sms.accounts.twilio = Some(TwilioAccount {
        account_sid: sid(last),
        auth_token: Secret::new("token".into()),
        callbacks: CallbackUrls::default(),
    });
    app.sms.accounts.gatewayapi = Some(TokenAccount {
        token: Secret::new(format!("token-of-{name}")),
        callback_secret: None,
        callbacks: CallbackUrls::default(),
    });
    app
}

/// The port with what stands behind it.
pub struct SmsGateway {
    pub archive: Archive,
    pub address: SocketAddr,
    pub dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for SmsGateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SmsGateway {
    pub async fn start(apps: Vec<App>) -> SmsGateway {
        SmsGateway::over(tempfile::tempdir().unwrap(), apps).await
    }

    /// Over a folder that may hold an archive already.
    pub async fn over(dir: tempfile::TempDir, apps: Vec<App>) -> SmsGateway {
        let archive = Archive::open(&archive_settings(dir.path())).unwrap();
        let routes = Routes { routes: Vec::new(), upstreams: vec![(Channel::Sms, upstream())] };
        let apps = Apps(apps.into_iter().map(Arc::new).collect());
        let routes = Arc::new(ArcSwap::from_pointee(routes));
        let intake = Intake::new(archive.clone(), routes, &apps);
        intake.remember_calls(now()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = SmsPortSettings { listen: address, hosts: Vec::new(), tls: false };
        let apps = Arc::new(ArcSwap::from_pointee(apps));
        let gateway = "gateway.example".to_owned();
        let port = SmsPort::new(&settings, gateway, apps, intake, archive.clone());
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, port.router(), SmsPort::limits(), stop.clone()));
        SmsGateway { archive, address, dir, stop }
    }

    /// Every SMS, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        let filter = Filter { channel: Some(Channel::Sms), ..Filter::default() };
        self.archive.list(&filter, Order::Oldest, None, 1_000).unwrap().items
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own; the whole answer.
    pub async fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        answer(&mut stream).await
    }
}

/// Reads one answer with a length; what came if the connection ends before.
pub async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let whole = async {
        let mut piece = [0; 4096];
        while !is_whole(&read) {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(count) => read.extend_from_slice(&piece[..count]),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), whole).await.expect("no answer in time");
    String::from_utf8(read).unwrap()
}

fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    body.len() >= length || head.starts_with("http/1.1 204")
}

/// The SID in an answer of Twilio's.
pub fn sid_of(answer: &str) -> String {
    let json = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}")).1;
    let json: serde_json::Value =
        serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {answer}"));
    json["sid"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// A request in Twilio's dialect with HTTP Basic.
pub fn twilio(account: &str, secret: &str, rest: &str, fields: &str) -> Vec<u8> {
    use base64::Engine as _;
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{account}:{secret}"));
    let (method, path) = rest.split_once(' ').unwrap();
    let (path, extra) = path.split_once('\n').unwrap_or((path, ""));
    let mut request = format!(
        "{method} /2010-04-01/Accounts/{account}/{path} HTTP/1.1\r\nhost: x\r\n\
         authorization: Basic {basic}\r\n{extra}"
    );
    if method == "POST" {
        request += "content-type: application/x-www-form-urlencoded\r\n";
        request += &format!("content-length: {}\r\n", fields.len());
    }
    format!("{request}\r\n{fields}").into_bytes()
}

/// A message in Twilio's dialect.
pub fn send(account: &str, secret: &str, fields: &str) -> Vec<u8> {
    twilio(account, secret, "POST Messages.json", fields)
}

/// Copies the files of an archive as a crash would leave them.
pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
