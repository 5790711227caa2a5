//! `[[upstream]]`: where messages go. Smarthosts are here, SMS providers in `upstream_sms`.

use super::address::{HOST, UPSTREAM_NAME, is_loopback, is_private};
use super::kind::{Choice, Count, Kind, TEXT};
use super::later::SmppUpstream;
use super::listener::Ports;
use super::pem::read_ca;
use super::problem::Place;
use super::secret::OneLine;
use super::section::Section;
use super::sms::PublicSettings;
use super::upstream_events::read_events;
use super::upstream_sms::{UpstreamKind, read_callbacks, read_protocol, read_smpp};
use crate::events::EventSource;
use crate::model::{Channel, UpstreamName};
use crate::relay::settings::{RelayTimeouts, SmtpUpstream, UpstreamCredential, UpstreamTls};
use crate::sms::{ProviderProtocol, SmsUpstream};

const KIND: Choice<UpstreamKind> = Choice(&[
    ("smtp", UpstreamKind::Smtp),
    ("twilio", UpstreamKind::Twilio),
    ("vonage", UpstreamKind::Vonage),
    ("kannel", UpstreamKind::Kannel),
    ("gatewayapi", UpstreamKind::GatewayApi),
    ("http", UpstreamKind::Http),
    ("smpp", UpstreamKind::Smpp),
]);

const TLS: Choice<UpstreamTls> = Choice(&[
    ("starttls", UpstreamTls::StartTls),
    ("off", UpstreamTls::Off),
    ("opportunistic", UpstreamTls::Opportunistic),
    ("implicit", UpstreamTls::Implicit),
]);

pub(super) const PORT: Count = Count(1..=65_535);
const CONNECTIONS: Count = Count(1..=1_000);
const PER_SECOND: Count = Count(1..=1_000_000);

/// Enough for a smarthost, and few providers allow more from one sender.
const DEFAULT_CONNECTIONS: u32 = 10;

/// One upstream as far as it could be read; its name counts even where the rest is wrong.
pub(super) struct ReadUpstream {
    pub(super) name: Option<UpstreamName>,
    /// `None` when its kind could not be read.
    pub(super) channel: Option<Channel>,
    pub(super) settings: Option<UpstreamSettings>,
    /// Who tells what became of the mail that it took.
    pub(super) events: Option<EventSource>,
    place: Place,
}

pub(super) enum UpstreamSettings {
    Smtp(SmtpUpstream),
    Sms(Box<SmsUpstream>),
    Smpp(SmppUpstream),
}

pub(super) fn read_upstreams(
    top: &Section<'_, '_>,
    hostname: &str,
    ports: &Ports,
) -> Vec<ReadUpstream> {
    let upstreams = top.tables("upstream", |section| read_upstream(section, hostname, ports));
    for (index, upstream) in upstreams.iter().enumerate() {
        let Some(name) = &upstream.name else {
            continue;
        };
        let same = |other: &UpstreamName| other.as_str().eq_ignore_ascii_case(name.as_str());
        if upstreams[..index].iter().any(|other| other.name.as_ref().is_some_and(same)) {
            let what = format!("two upstreams have the name {:?}", name.as_str());
            let advice = "give each its own name (case does not count)";
            top.context.report.error(upstream.place.clone(), what, advice);
        }
    }
    upstreams
}

fn read_upstream(section: &Section<'_, '_>, hostname: &str, ports: &Ports) -> ReadUpstream {
    let written = section.optional("name", &UPSTREAM_NAME);
    let kind = section.optional("kind", &KIND);
    if kind.is_none() && section.is_set("kind") {
        section.abandon();
        let place = section.place("name");
        return ReadUpstream { name: written, channel: None, settings: None, events: None, place };
    }
    let kind = kind.unwrap_or(UpstreamKind::Smtp);
    section.show("kind", &KIND, &kind);
    let word = KIND.show(&kind).as_str().unwrap_or_default().to_owned();
    section.qualify(&format!("of kind {word:?}"));
    let has_host = matches!(kind, UpstreamKind::Smtp | UpstreamKind::Smpp);
    let host = if has_host { section.required("host", &HOST) } else { None };
    let name = name_of(section, written, host.as_deref(), &word);
    let mut events = None;
    let settings = match kind.channel() {
        Channel::Email => {
            events = read_events(section);
            let place = Peer { hostname, ports };
            read_smtp(section, name.clone(), host, place).map(UpstreamSettings::Smtp)
        }
        Channel::Sms => read_sms(section, name.clone(), kind, host),
    };
    let (channel, place) = (Some(kind.channel()), section.place("name"));
    ReadUpstream { name, channel, settings, events, place }
}

/// What no upstream takes is only archived. Who has no SMS need not hear of it.
pub(super) fn check_channels(top: &Section<'_, '_>, read: &[ReadUpstream], speaks_sms: bool) {
    if !read.iter().any(|upstream| upstream.channel != Some(Channel::Sms)) {
        let what = "there is no [[upstream]] for mail, so mail is archived as not_sent";
        let advice = "write [[upstream]] with its host to have it relayed";
        top.context.report.notice(None, what, advice);
    }
    if speaks_sms && !read.iter().any(|upstream| upstream.channel != Some(Channel::Email)) {
        let what = "there is no [[upstream]] for SMS, so SMS are archived as not_sent";
        let advice = "write [[upstream]] with kind = \"twilio\" or another to have them relayed";
        top.context.report.notice(None, what, advice);
    }
}

/// Events are told to the public port.
pub(super) fn check_events(top: &Section<'_, '_>, read: &[ReadUpstream], public: &PublicSettings) {
    if public.listen.is_some() {
        return;
    }
    for upstream in read.iter().filter(|upstream| upstream.events.is_some()) {
        let name = upstream.name.as_ref().map_or("", UpstreamName::as_str);
        let what = format!("the events of {name:?} reach nobody, because [public] is off");
        let advice = "write [public] with listen = \"127.0.0.1:8027\", or leave events out";
        top.context.report.warning(upstream.place.clone(), what, advice);
    }
}

/// A provider elsewhere that does not know where to call is silent; who turned the public port off knows.
pub(super) fn check_receipts(
    top: &Section<'_, '_>,
    read: &[ReadUpstream],
    public: &PublicSettings,
) {
    if public.url.is_some() || public.listen.is_none() {
        return;
    }
    for upstream in read {
        let Some(UpstreamSettings::Sms(settings)) = &upstream.settings else { continue };
        if settings.protocol.is_on_this_machine() || !is_told_where_to_call(&settings.protocol) {
            continue;
        }
        let what = format!(
            "no receipts come from {:?}: nobody said at which URL it reaches [public]",
            settings.name.as_str()
        );
        let advice = "write [public] with url = \"https://t.example.com\", or listen = \"off\"";
        top.context.report.warning(upstream.place.clone(), what, advice);
    }
}

/// Whether requests to it name the URL for receipts; those of `http` do where their template does.
fn is_told_where_to_call(protocol: &ProviderProtocol) -> bool {
    match protocol {
        ProviderProtocol::Twilio { .. }
        | ProviderProtocol::Vonage { .. }
        | ProviderProtocol::Kannel { .. }
        | ProviderProtocol::GatewayApi { .. } => true,
        ProviderProtocol::Http(described) => {
            let body = described.body.as_deref().unwrap_or_default();
            [described.url.as_str(), body].iter().any(|text| text.contains("status_url"))
        }
    }
}

/// The name that is written; else the host where that is a good name; else the kind.
fn name_of(
    section: &Section<'_, '_>,
    written: Option<UpstreamName>,
    host: Option<&str>,
    kind: &str,
) -> Option<UpstreamName> {
    if section.is_set("name") {
        return written;
    }
    let name = host.and_then(UpstreamName::parse).or_else(|| UpstreamName::parse(kind))?;
    section.show("name", &UPSTREAM_NAME, &name);
    Some(name)
}

/// What a smarthost meets: our name, and our own ports.
#[derive(Clone, Copy)]
struct Peer<'p> {
    hostname: &'p str,
    ports: &'p Ports,
}

fn read_smtp(
    section: &Section<'_, '_>,
    name: Option<UpstreamName>,
    host: Option<String>,
    us: Peer<'_>,
) -> Option<SmtpUpstream> {
    let written_port = section.optional("port", &PORT);
    let tls = section.get("tls", &TLS, default_tls(host.as_deref(), written_port));
    let port = written_port.unwrap_or_else(|| default_port(tls));
    section.show("port", &PORT, &port);
    let tls_ca = read_ca(section);
    let credential = read_credential(section);
    let connections = read_connections(section);
    let rate_per_second = read_rate(section);
    check_tls(section, tls, port);
    if let Some(host) = &host {
        check_clear_password(section, tls, host, credential.is_some());
        check_loop(section, host, port, us.ports);
    }
    Some(SmtpUpstream {
        name: name?,
        host: host?,
        port: u16::try_from(port).ok()?,
        tls,
        tls_ca,
        credential,
        connections,
        rate_per_second,
        hostname: us.hostname.to_owned(),
        timeouts: RelayTimeouts::default(),
    })
}

fn read_sms(
    section: &Section<'_, '_>,
    name: Option<UpstreamName>,
    kind: UpstreamKind,
    host: Option<String>,
) -> Option<UpstreamSettings> {
    let connections = read_connections(section);
    let rate_per_second = read_rate(section);
    if kind == UpstreamKind::Smpp {
        section.whole_has_no_effect_yet();
        let provider = read_smpp(section, host)?;
        let smpp = SmppUpstream { name: name?, connections, rate_per_second, provider };
        return Some(UpstreamSettings::Smpp(smpp));
    }
    let protocol = read_protocol(section, kind);
    let callbacks = read_callbacks(section, kind);
    let tls_ca = read_ca(section);
    Some(UpstreamSettings::Sms(Box::new(SmsUpstream {
        name: name?,
        connections,
        rate_per_second,
        protocol: protocol?,
        callbacks,
        tls_ca,
    })))
}

/// Port 465 is TLS from the first byte (RFC 8314 §3.3). Else nothing may be read or changed on the
/// way, except where the host is written as an address of this machine or of a private network:
/// relays there seldom have a certificate that could be checked.
fn default_tls(host: Option<&str>, port: Option<u32>) -> UpstreamTls {
    match port {
        Some(465) => UpstreamTls::Implicit,
        Some(_) | None if host.is_some_and(is_private) => UpstreamTls::Opportunistic,
        Some(_) | None => UpstreamTls::StartTls,
    }
}

fn default_port(tls: UpstreamTls) -> u32 {
    match tls {
        UpstreamTls::Off | UpstreamTls::Opportunistic => 25,
        UpstreamTls::StartTls => 587,
        UpstreamTls::Implicit => 465,
    }
}

fn read_connections(section: &Section<'_, '_>) -> usize {
    section.get("connections", &CONNECTIONS, DEFAULT_CONNECTIONS) as usize
}

fn read_rate(section: &Section<'_, '_>) -> Option<u32> {
    section.table("rate", |rate| rate.optional("per_second", &PER_SECOND))
}

fn read_credential(section: &Section<'_, '_>) -> Option<UpstreamCredential> {
    let username = section.optional("username", &TEXT);
    let password = section.optional("password", &OneLine);
    for (has, lacks) in [("username", "password"), ("password", "username")] {
        if section.is_set(has) && !section.is_set(lacks) {
            let what = format!("{} has {has:?} but no {lacks:?}", section.label());
            let advice = format!("write {lacks} too, or leave {has} out");
            section.context.report.error(section.place(has), what, advice);
        }
    }
    Some(UpstreamCredential { username: username?, password: password? })
}

fn check_tls(section: &Section<'_, '_>, tls: UpstreamTls, port: u32) {
    let report = &section.context.report;
    let is_implicit = tls == UpstreamTls::Implicit;
    if port == 465 && !is_implicit {
        let what = "port 465 speaks TLS from the first byte, and this setting waits for a greeting";
        report.warning(section.place("tls"), what, "write tls = \"implicit\", or port = 587");
    }
    if matches!(port, 25 | 587) && is_implicit {
        let what = format!("port {port} begins without TLS, and this setting begins with it");
        report.warning(section.place("tls"), what, "write tls = \"starttls\", or port = 465");
    }
    let checks_certificate = matches!(tls, UpstreamTls::StartTls | UpstreamTls::Implicit);
    if section.is_set("tls_ca") && !checks_certificate {
        let what = "tls_ca has no effect, because this setting of tls checks no certificate";
        let advice = "write tls = \"starttls\" or \"implicit\", or leave tls_ca out";
        report.warning(section.place("tls_ca"), what, advice);
    }
}

fn check_clear_password(section: &Section<'_, '_>, tls: UpstreamTls, host: &str, has: bool) {
    if !has || is_loopback(host) {
        return;
    }
    let what = match tls {
        UpstreamTls::Off => "the password is sent in clear, because tls is \"off\"",
        UpstreamTls::Opportunistic => {
            "the password is sent to whoever answers, because \"opportunistic\" checks no certificate, \
             and not at all where TLS is not offered"
        }
        UpstreamTls::StartTls | UpstreamTls::Implicit => return,
    };
    let advice = "write tls = \"starttls\" or \"implicit\"";
    section.context.report.warning(section.place("password"), what, advice);
}

/// Mail that is relayed to our own port would come back for ever.
fn check_loop(section: &Section<'_, '_>, host: &str, port: u32, ports: &Ports) {
    if is_loopback(host) && u16::try_from(port).is_ok_and(|port| ports.has_local(port)) {
        let what = format!("{host} port {port} is Waybill itself, so mail would go in circles");
        let advice = "write the host and port of the next server";
        section.context.report.error(section.place("host"), what, advice);
    }
}
