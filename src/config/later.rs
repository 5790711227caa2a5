//! Settings of rooms that do not exist yet: checked as strictly as all others and kept in typed
//! form, so that a room can take its own over when it is built. Until then `waybill check` says of
//! each of them that it has no effect.

use std::net::SocketAddr;
use std::time::Duration;

use regex::Regex;
use url::Url;
use wildmatch::WildMatch;

use super::pattern::Glob;
use crate::model::{AppName, Channel, Domain, EventKind, Mailbox, Secret, UpstreamName};
use crate::submission::settings::ListenerTls;

/// Everything without effect yet.
#[derive(Clone, Debug)]
pub struct Later {
    /// `[archive] retention`
    pub retention: Retention,
    /// In the order of the apps.
    pub apps: Vec<AppLater>,
    /// The upstreams of all kinds but `smtp`.
    pub upstreams: Vec<SmsUpstream>,
    pub tracking: Option<TrackingSettings>,
    pub dkim: Vec<DkimKey>,
    pub feedback: Option<FeedbackSettings>,
    pub flows: Vec<Flow>,
    /// `[sms] listen`; `None` is off.
    pub sms: Option<SocketAddr>,
    /// `[public] listen`; `None` is off.
    pub public: Option<SocketAddr>,
}

/// How long messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Forever,
    For(Duration),
}

/// What an app is told beside its policy.
#[derive(Clone, Debug)]
pub struct AppLater {
    pub name: AppName,
    /// `None`: as `[archive]` says.
    pub retention: Option<Retention>,
    /// Where its SMS callbacks may go; empty means public addresses only.
    pub callbacks: Vec<Glob>,
    /// What it may send SMS as; empty means anything.
    pub originators: Vec<String>,
    pub sms: SmsCredentials,
}

/// `[app.sms]`: how the app proves itself in each dialect.
#[derive(Clone, Debug, Default)]
pub struct SmsCredentials {
    pub twilio: Option<TwilioAccount>,
    pub vonage: Option<VonageAccount>,
    pub kannel: Option<KannelAccount>,
    pub gatewayapi: Option<Token>,
    pub waybill: Option<Token>,
}

/// HTTP Basic of Twilio's API.
#[derive(Clone, Debug)]
pub struct TwilioAccount {
    pub account_sid: String,
    pub auth_token: Secret,
}

/// Vonage's key and secret, or its signed calls.
#[derive(Clone, Debug)]
pub struct VonageAccount {
    pub api_key: String,
    pub api_secret: Secret,
    pub signature: Option<VonageSignature>,
}

/// How Vonage's calls are signed.
#[derive(Clone, Debug)]
pub struct VonageSignature {
    pub secret: Secret,
    pub method: SignatureMethod,
}

/// The five methods of Vonage's SMS API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureMethod {
    Md5Hash,
    HmacMd5,
    HmacSha1,
    HmacSha256,
    HmacSha512,
}

/// User name and password of a sendsms user.
#[derive(Clone, Debug)]
pub struct KannelAccount {
    pub username: String,
    pub password: Secret,
}

/// One token.
#[derive(Clone, Debug)]
pub struct Token {
    pub token: Secret,
}

/// An `[[upstream]]` that carries SMS.
#[derive(Clone, Debug)]
pub struct SmsUpstream {
    pub name: UpstreamName,
    pub connections: usize,
    /// Messages per second; `None` is no limit.
    pub rate_per_second: Option<u32>,
    pub provider: SmsProvider,
}

/// Which protocol it speaks.
#[derive(Clone, Debug)]
pub enum SmsProvider {
    Twilio { url: Url, account: TwilioAccount },
    Vonage { url: Url, account: VonageAccount },
    Kannel { url: Url, account: KannelAccount },
    GatewayApi { url: Url, token: Token },
    Http(HttpProvider),
    Smpp(SmppProvider),
}

/// A provider whose HTTP API is described in the configuration.
#[derive(Clone, Debug)]
pub struct HttpProvider {
    pub url: Url,
    pub method: HttpMethod,
    /// Names in the spelling of the file; the values may hold tokens.
    pub headers: Vec<(String, Secret)>,
    /// Template of the request's body.
    pub body: Option<String>,
    /// What a good answer looks like; `None` is any 2xx.
    pub success: Option<Regex>,
    pub permanent: Option<Regex>,
    pub temporary: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Post,
    Put,
}

/// An SMSC.
#[derive(Clone, Debug)]
pub struct SmppProvider {
    pub host: String,
    pub port: u16,
    pub is_encrypted: bool,
    pub system_id: String,
    pub password: Secret,
    pub system_type: Option<String>,
}

/// `[tracking]`.
#[derive(Clone, Debug)]
pub struct TrackingSettings {
    pub public_url: Url,
    /// Links that are left alone.
    pub exclude: Vec<Glob>,
    pub anonymize_ip: bool,
}

/// One `[[dkim.key]]`.
#[derive(Clone, Debug)]
pub struct DkimKey {
    pub domain: Domain,
    pub selector: Domain,
    /// PEM
    pub private_key: Secret,
}

/// `[feedback]`.
#[derive(Clone, Debug)]
pub struct FeedbackSettings {
    pub return_path: Mailbox,
    pub listeners: Vec<FeedbackListener>,
}

/// One `[[feedback.listener]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackListener {
    pub listen: SocketAddr,
    pub tls: ListenerTls,
}

/// One `[[flow]]`.
#[derive(Clone, Debug)]
pub struct Flow {
    /// `None`: both.
    pub channel: Option<Channel>,
    pub event: EventKind,
    pub matcher: FlowMatcher,
    pub webhook: Webhook,
}

/// What an event must be like; every matcher that is given must match.
#[derive(Clone, Debug, Default)]
pub struct FlowMatcher {
    pub text: Option<Regex>,
    pub app: Option<WildMatch>,
    pub sender: Option<WildMatch>,
    pub recipient: Option<WildMatch>,
    pub tag: Option<WildMatch>,
}

/// Where a signed notice goes.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: Url,
    pub secret: Option<Secret>,
}
