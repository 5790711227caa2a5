//! `[sms]` and `[public]`: the port of the dialects, and the port that providers reach.

use std::net::SocketAddr;

use ipnet::IpNet;
use toml::de::DeValue;
use url::Url;

use super::address::{HOST, NETWORK};
use super::general::read_listen;
use super::kind::{Choice, Kind, List, Spot, TEXT, Word};
use super::listener::Ports;
use super::pattern::HTTP_URL;
use super::section::Section;
use crate::intake::KeywordSettings;
use crate::model::Dialect;
use crate::sms::number::Country;
use crate::submission::SmsPortSettings;

/// HTTP has no STARTTLS.
const HTTP_TLS: Choice<bool> = Choice(&[("off", false), ("implicit", true)]);

/// A longer reply would cost several segments in any alphabet.
const MAX_REPLY_CHARS: usize = 1_600;

/// A word that people write: compared without case.
const KEYWORD: Word<String> = Word {
    expected: "a word that people write",
    example: "STOP",
    parse: |text| (TEXT.parse)(text.trim()),
    write: String::clone,
};

/// A text that is sent back.
pub(super) const REPLY: Word<String> = Word {
    expected: "a text of at most 1600 characters",
    example: "You will get no more messages.",
    parse: |text| {
        let is_clean = text.chars().all(|c| c == '\n' || !c.is_control());
        let fits = (1..=MAX_REPLY_CHARS).contains(&text.chars().count());
        if is_clean && fits { Ok(text.to_owned()) } else { Err(super::kind::Complaint::plain()) }
    },
    write: String::clone,
};

/// A country calling code.
pub(super) const COUNTRY: Word<Country> = Word {
    expected: "a country calling code",
    example: "45",
    parse: |text| Country::parse(text).ok_or_else(super::kind::Complaint::plain),
    write: |country| country.digits().unwrap_or_default().to_owned(),
};

/// `[public]`.
#[derive(Clone, Debug)]
pub struct PublicSettings {
    /// `None` is off.
    pub listen: Option<SocketAddr>,
    pub tls: bool,
    /// How providers and recipients reach it; `None` when nobody said so.
    pub url: Option<Url>,
    /// Of the proxies before it: what they say of their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// `None` is off. Keywords count even then.
pub(super) fn read_sms(
    top: &Section<'_, '_>,
    has_tls: bool,
    ports: &mut Ports,
) -> (Option<SmsPortSettings>, KeywordSettings) {
    top.table("sms", |sms| {
        let listen = read_listen(sms, 8026, ports);
        let tls = read_tls(sms, has_tls);
        let hosts = sms.get("hosts", &Hosts, Vec::new());
        let default = KeywordSettings::default();
        let keywords = KeywordSettings {
            stop: sms.get("stop_words", &List(KEYWORD), default.stop),
            start: sms.get("start_words", &List(KEYWORD), default.start),
            help: sms.get("help_words", &List(KEYWORD), default.help),
            stop_reply: sms.optional("stop_reply", &REPLY),
            start_reply: sms.optional("start_reply", &REPLY),
            help_reply: sms.optional("help_reply", &REPLY),
        };
        (listen.map(|listen| SmsPortSettings { listen, hosts, tls }), keywords)
    })
}

pub(super) fn read_public(
    top: &Section<'_, '_>,
    has_tls: bool,
    ports: &mut Ports,
) -> PublicSettings {
    top.table("public", |public| PublicSettings {
        listen: read_listen(public, 8027, ports),
        tls: read_tls(public, has_tls),
        url: public.optional("url", &HTTP_URL),
        trusted_proxies: public.get("trusted_proxies", &List(NETWORK), Vec::new()),
    })
}

fn read_tls(section: &Section<'_, '_>, has_tls: bool) -> bool {
    let tls = section.get("tls", &HTTP_TLS, false);
    if tls && !has_tls {
        let what = "this port needs a certificate, but there is no [tls]";
        let advice = "write [tls] with certificate and key, or tls = \"off\"";
        section.context.report.error(section.place("tls"), what, advice);
    }
    tls
}

/// Host names by which clients reach the port, each with its dialect.
struct Hosts;

impl Kind for Hosts {
    type Value = Vec<(String, Dialect)>;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<Self::Value> {
        let Some(table) = value.as_table() else {
            return spot.is_not(value, "a table", format!("write {}", self.example()));
        };
        let mut hosts = Vec::new();
        for (name, node) in table.iter() {
            let key = name.get_ref().as_ref();
            if (HOST.parse)(key).is_err() {
                let what = format!("{key:?} is not a host name");
                let _: Option<()> =
                    spot.at(name.span()).wrong(what, "write a name such as sms.example.com");
                continue;
            }
            let spot = Spot { context: spot.context, key, span: node.span() };
            let dialects = Dialect::ALL.map(Dialect::as_str).join("\", \"");
            match node.get_ref().as_str().and_then(Dialect::parse) {
                Some(dialect) => hosts.push((key.to_ascii_lowercase(), dialect)),
                None => {
                    let advice = format!("write one of \"{dialects}\"");
                    let _: Option<()> = spot.is_not(node.get_ref(), "a dialect", advice);
                }
            }
        }
        Some(hosts)
    }

    fn show(&self, value: &Self::Value) -> toml::Value {
        let entry = |(host, dialect): &(String, Dialect)| (host.clone(), dialect.as_str().into());
        toml::Value::Table(value.iter().map(entry).collect())
    }

    fn example(&self) -> String {
        String::from("{ \"sms.example.com\" = \"twilio\" }")
    }
}
