//! `[app.sms]`: how an app proves itself in each dialect. The same tables, filled with the
//! provider's own values, are the credentials of an upstream.

use super::app::ReadApp;
use super::kind::{Choice, TEXT, Word};
use super::pattern::HTTP_URL;
use super::secret::OneLine;
use super::section::Section;
use crate::sms::SmsAccounts;
use crate::sms::account::{
    CallbackUrls, KannelAccount, SignatureMethod, TokenAccount, TwilioAccount, VonageAccount,
    VonageSignature,
};

const SIGNATURE_METHOD: Choice<SignatureMethod> = Choice(&[
    ("md5hash", SignatureMethod::Md5Hash),
    ("md5", SignatureMethod::HmacMd5),
    ("sha1", SignatureMethod::HmacSha1),
    ("sha256", SignatureMethod::HmacSha256),
    ("sha512", SignatureMethod::HmacSha512),
]);

pub(super) fn read_sms_credentials(sms: &Section<'_, '_>) -> Option<SmsAccounts> {
    Some(SmsAccounts {
        twilio: sms.optional_table("twilio", |section| read_twilio(section, Side::App)),
        vonage: sms.optional_table("vonage", |section| read_vonage(section, Side::App)),
        kannel: sms.optional_table("kannel", |section| read_kannel(section, Side::App)),
        gatewayapi: sms.optional_table("gatewayapi", |section| read_token(section, Side::App)),
        waybill: sms.optional_table("waybill", |section| read_token(section, Side::App)),
    })
}

pub(super) fn read_twilio(section: &Section<'_, '_>, side: Side) -> Option<TwilioAccount> {
    let account_sid = section.required("account_sid", &TEXT);
    let auth_token = section.required("auth_token", &OneLine);
    if account_sid.as_deref().is_some_and(|sid| !is_account_sid(sid)) {
        let what = "account_sid is not \"AC\" and 32 hexadecimal digits, \
                    and some client libraries refuse any other";
        let advice = "write one of that form";
        section.context.report.warning(section.place("account_sid"), what, advice);
    }
    let callbacks = read_callbacks(section, side);
    Some(TwilioAccount { account_sid: account_sid?, auth_token: auth_token?, callbacks })
}

fn is_account_sid(text: &str) -> bool {
    let digits = text.strip_prefix("AC");
    digits.is_some_and(|d| d.len() == 32 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

pub(super) fn read_vonage(section: &Section<'_, '_>, side: Side) -> Option<VonageAccount> {
    let api_key = section.required("api_key", &TEXT);
    let api_secret = section.required("api_secret", &OneLine);
    let secret = section.optional("signature_secret", &OneLine);
    let method = section.get("signature_method", &SIGNATURE_METHOD, SignatureMethod::Md5Hash);
    if secret.is_none() && section.is_set("signature_method") && !section.is_set("signature_secret")
    {
        let what = "signature_method signs nothing without signature_secret";
        let advice = "write signature_secret too, or leave signature_method out";
        section.context.report.error(section.place("signature_method"), what, advice);
    }
    let signature = secret.map(|secret| VonageSignature { secret, method });
    let callbacks = read_callbacks(section, side);
    Some(VonageAccount { api_key: api_key?, api_secret: api_secret?, signature, callbacks })
}

pub(super) fn read_kannel(section: &Section<'_, '_>, side: Side) -> Option<KannelAccount> {
    let username = section.required("username", &TEXT);
    let password = section.required("password", &OneLine);
    let callbacks = read_callbacks(section, side);
    Some(KannelAccount { username: username?, password: password?, callbacks })
}

pub(super) fn read_token(section: &Section<'_, '_>, side: Side) -> Option<TokenAccount> {
    let token = section.required("token", &OneLine);
    let callback_secret = section.optional("callback_secret", &OneLine);
    let callbacks = read_callbacks(section, side);
    Some(TokenAccount { token: token?, callback_secret, callbacks })
}

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// An application's, which takes callbacks.
    App,
    /// Ours at a provider.
    Provider,
}

/// A URL of an application, kept as it is written: for Kannel it holds `%p` and others.
const CALLBACK_URL: Word<String> = Word {
    expected: "a URL",
    example: "https://erp.example.com/sms",
    parse: |text| (HTTP_URL.parse)(text).map(|_| text.trim().to_owned()),
    write: String::clone,
};

fn read_callbacks(section: &Section<'_, '_>, side: Side) -> CallbackUrls {
    match side {
        Side::App => CallbackUrls {
            inbound: section.optional("inbound_url", &CALLBACK_URL),
            status: section.optional("status_url", &CALLBACK_URL),
        },
        Side::Provider => CallbackUrls::default(),
    }
}

/// Two apps with the same credential could not be told apart.
pub(super) fn check_credentials(top: &Section<'_, '_>, apps: &[ReadApp]) {
    for (index, read) in apps.iter().enumerate() {
        for other in &apps[..index] {
            if let Some(what) = shared(&read.app.sms.accounts, &other.app.sms.accounts) {
                let name = other.app.name.as_str();
                let what = format!("{what} belongs to the app {name:?} already");
                let advice = "give each app its own, so that it can be told by it";
                top.context.report.error(read.place(), what, advice);
            }
        }
    }
}

/// Which credential two apps share. A token is not quoted.
fn shared(a: &SmsAccounts, b: &SmsAccounts) -> Option<String> {
    if let (Some(a), Some(b)) = (&a.twilio, &b.twilio)
        && a.account_sid == b.account_sid
    {
        return Some(format!("account_sid {:?}", a.account_sid));
    }
    if let (Some(a), Some(b)) = (&a.vonage, &b.vonage)
        && a.api_key == b.api_key
    {
        return Some(format!("api_key {:?}", a.api_key));
    }
    if let (Some(a), Some(b)) = (&a.kannel, &b.kannel)
        && a.username == b.username
    {
        return Some(format!("the Kannel username {:?}", a.username));
    }
    let same = |a: &Option<TokenAccount>, b: &Option<TokenAccount>| {
        a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| a.token == b.token)
    };
    if same(&a.gatewayapi, &b.gatewayapi) {
        return Some(String::from("the GatewayAPI token"));
    }
    same(&a.waybill, &b.waybill).then(|| String::from("the token of [app.sms.waybill]"))
}
