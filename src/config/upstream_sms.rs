//! What an `[[upstream]]` of each SMS provider is told. SMPP is not spoken yet.

use std::net::IpAddr;

use regex::Regex;
use toml::de::DeValue;
use url::Url;

use super::address::NETWORK;
use super::app_sms::{Side, read_kannel, read_token, read_twilio, read_vonage};
use super::kind::{Choice, Kind, List, Spot, TEXT, Word};
use super::later::SmppProvider;
use super::pattern::{HTTP_URL, REGEX};
use super::secret::OneLine;
use super::section::Section;
use super::upstream::PORT;
use crate::model::{Channel, Secret};
use crate::sms::ProviderProtocol;
use crate::sms::generic::{HttpMethod, HttpProvider, check};
use crate::sms::provider::ProviderCallbacks;

/// Which protocol an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamKind {
    Smtp,
    Twilio,
    Vonage,
    Kannel,
    GatewayApi,
    Http,
    Smpp,
}

impl UpstreamKind {
    pub(super) fn channel(self) -> Channel {
        match self {
            UpstreamKind::Smtp => Channel::Email,
            UpstreamKind::Twilio
            | UpstreamKind::Vonage
            | UpstreamKind::Kannel
            | UpstreamKind::GatewayApi
            | UpstreamKind::Http
            | UpstreamKind::Smpp => Channel::Sms,
        }
    }
}

/// Whether the connection to an SMSC is encrypted; SMPP has no STARTTLS.
const SMPP_TLS: Choice<bool> = Choice(&[("implicit", true), ("off", false)]);

const METHOD: Choice<HttpMethod> =
    Choice(&[("POST", HttpMethod::Post), ("GET", HttpMethod::Get), ("PUT", HttpMethod::Put)]);

/// SMPP over TCP as IANA has it registered.
const SMPP_PORT: u32 = 2775;

/// A body of any length and lines.
const BODY: Word<String> = Word {
    expected: "a text",
    example: "{\"to\": …}",
    parse: |text| Ok(text.to_owned()),
    write: String::clone,
};

/// The protocol of an SMS provider with an HTTP API.
pub(super) fn read_protocol(
    section: &Section<'_, '_>,
    kind: UpstreamKind,
) -> Option<ProviderProtocol> {
    match kind {
        UpstreamKind::Smtp | UpstreamKind::Smpp => None,
        UpstreamKind::Twilio => {
            let url = read_base(
                section,
                "https://api.twilio.com",
                &["/2010-04-01", "/2010-04-01/Accounts"],
            );
            let account = read_twilio(section, Side::Provider);
            Some(ProviderProtocol::Twilio { url: url?, account: account? })
        }
        UpstreamKind::Vonage => {
            let url = read_base(section, "https://rest.nexmo.com", &["/sms/json"]);
            let account = read_vonage(section, Side::Provider);
            Some(ProviderProtocol::Vonage { url: url?, account: account? })
        }
        UpstreamKind::Kannel => {
            let url = read_url(section, None);
            let account = read_kannel(section, Side::Provider);
            Some(ProviderProtocol::Kannel { url: url?, account: account? })
        }
        UpstreamKind::GatewayApi => {
            let url = read_base(section, "https://gatewayapi.com", &["/rest", "/rest/mtsms"]);
            let account = read_token(section, Side::Provider);
            Some(ProviderProtocol::GatewayApi { url: url?, account: account? })
        }
        UpstreamKind::Http => read_http(section).map(ProviderProtocol::Http),
    }
}

/// What tells callbacks that the provider does not sign from forgeries.
pub(super) fn read_callbacks(section: &Section<'_, '_>, kind: UpstreamKind) -> ProviderCallbacks {
    // Twilio signs all of its callbacks.
    let is_signed = kind == UpstreamKind::Twilio;
    let token = || section.optional("callback_token", &OneLine);
    ProviderCallbacks {
        token: if is_signed { None } else { token() },
        networks: section.get("callback_networks", &List(NETWORK), Vec::new()),
    }
}

/// The base URL of an API whose path we write ourselves: behind one of `endings` it would stand twice.
fn read_base(section: &Section<'_, '_>, default: &str, endings: &[&str]) -> Option<Url> {
    let url = read_url(section, Some(default))?;
    let text = url.as_str().trim_end_matches('/');
    if let Some((base, ending)) = endings.iter().find_map(|e| Some((text.strip_suffix(*e)?, e))) {
        let what = format!("url ends in {ending}, which is added to it");
        section.context.report.error(section.place("url"), what, format!("write {base:?}"));
    }
    Some(url)
}

/// The base URL; the provider's own by default.
fn read_url(section: &Section<'_, '_>, default: Option<&str>) -> Option<Url> {
    let url = match default.and_then(|text| Url::parse(text).ok()) {
        Some(default) => Some(section.get("url", &HTTP_URL, default)),
        None => section.required("url", &HTTP_URL),
    };
    let is_clear = |url: &Url| url.scheme() == "http" && !is_private_url(url);
    if url.as_ref().is_some_and(is_clear) {
        let what = "the credentials are sent in clear, because this is not https";
        section.context.report.warning(section.place("url"), what, "write an https:// URL");
    }
    url
}

fn is_private_url(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare.parse::<IpAddr>().is_ok();
    super::address::is_private(if is_address { bare } else { host })
}

fn read_http(section: &Section<'_, '_>) -> Option<HttpProvider> {
    let url = read_url(section, None);
    let method = section.get("method", &METHOD, HttpMethod::Post);
    let headers = section.get("headers", &Headers, Vec::new());
    let body = section.optional("body", &BODY);
    if method == HttpMethod::Get && section.is_set("body") {
        let what = "a GET request has no body";
        let advice = "write method = \"POST\", or leave body out";
        section.context.report.error(section.place("body"), what, advice);
    }
    let pattern = |key| -> Option<Regex> { section.optional(key, &REGEX) };
    let (success, permanent) = (pattern("success"), pattern("permanent"));
    let temporary = pattern("temporary");
    let described =
        HttpProvider { url: url?, method, headers, body, success, permanent, temporary };
    if let Err(what) = check(&described) {
        let advice = "see the placeholders in config/waybill.toml";
        section.context.report.error(section.place("body"), what, advice);
    }
    Some(described)
}

pub(super) fn read_smpp(section: &Section<'_, '_>, host: Option<String>) -> Option<SmppProvider> {
    let port = section.get("port", &PORT, SMPP_PORT);
    let is_encrypted = section.get("tls", &SMPP_TLS, false);
    let system_id = section.required("system_id", &TEXT);
    let password = section.required("password", &OneLine);
    let system_type = section.optional("system_type", &TEXT);
    // Fields of a bind (SMPP 3.4 §4.1.1), less the NUL that ends them.
    let too_long = [
        ("system_id", system_id.as_deref(), 15),
        ("password", password.as_ref().map(Secret::expose), 8),
        ("system_type", system_type.as_deref(), 12),
    ];
    for (key, text, most) in too_long {
        if text.is_some_and(|text| text.len() > most) {
            let what = format!("{key} is longer than the {most} bytes that SMPP has for it");
            let advice = "write the one that the provider gave you for SMPP";
            section.context.report.error(section.place(key), what, advice);
        }
    }
    Some(SmppProvider {
        host: host?,
        port: u16::try_from(port).ok()?,
        is_encrypted,
        system_id: system_id?,
        password: password?,
        system_type,
    })
}

/// Header fields of a request; every value may be a secret.
struct Headers;

impl Kind for Headers {
    type Value = Vec<(String, Secret)>;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Self::Value> {
        let Some(table) = value.as_table() else {
            return spot.is_not(value, "a table", format!("write {}", self.example()));
        };
        let mut headers = Vec::new();
        for (name, node) in table.iter() {
            let key = name.get_ref().as_ref();
            if !is_field_name(key) {
                let what = format!("{key:?} is not the name of a header field");
                let _: Option<()> =
                    spot.at(name.span()).wrong(what, "write a name such as X-Api-Key");
                continue;
            }
            let spot = Spot { context: spot.context, key, span: node.span() };
            if let Some(secret) = OneLine.read(node.get_ref(), &spot) {
                headers.push((key.to_owned(), secret));
            }
        }
        Some(headers)
    }

    fn show(&self, value: &Self::Value) -> toml::Value {
        let hidden = value.iter().map(|(name, secret)| (name.clone(), OneLine.show(secret)));
        toml::Value::Table(hidden.collect())
    }

    fn example(&self) -> String {
        String::from("{ X-Api-Key = { file = \"/etc/waybill/api.key\" } }")
    }
}

/// `token` of RFC 9110 §5.6.2.
fn is_field_name(text: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_token)
}
