//! Accounts: how an application proves itself in each dialect, and how Waybill proves itself to a
//! provider of the same protocol. Values only: who compares them is `call::Port::verify`.

use crate::model::Secret;

/// What one app proves itself with; a dialect without an account is `None`.
#[derive(Clone, Debug, Default)]
pub struct SmsAccounts {
    pub twilio: Option<TwilioAccount>,
    pub vonage: Option<VonageAccount>,
    pub kannel: Option<KannelAccount>,
    pub gatewayapi: Option<TokenAccount>,
    pub waybill: Option<TokenAccount>,
}

/// Where an app takes what comes back by itself: inbound messages, and receipts of messages that
/// named no URL of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackUrls {
    /// Inbound messages to this app's numbers. For Kannel a template with `%p`, `%P`, `%b` and others.
    pub inbound: Option<String>,
    /// Receipts of messages that named no URL.
    pub status: Option<String>,
}

/// HTTP Basic of Twilio's API.
#[derive(Clone, Debug)]
pub struct TwilioAccount {
    pub account_sid: String,
    pub auth_token: Secret,
    pub callbacks: CallbackUrls,
}

/// Vonage's key and secret, and how its calls are signed.
#[derive(Clone, Debug)]
pub struct VonageAccount {
    pub api_key: String,
    pub api_secret: Secret,
    pub signature: Option<VonageSignature>,
    pub callbacks: CallbackUrls,
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
    pub callbacks: CallbackUrls,
}

/// One token (GatewayAPI, Waybill's own), and the secret that signs what goes back: without one
/// the token does.
#[derive(Clone, Debug)]
pub struct TokenAccount {
    pub token: Secret,
    pub callback_secret: Option<Secret>,
    pub callbacks: CallbackUrls,
}
