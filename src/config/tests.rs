//! The configuration as a whole. What wrong files lead to is in `tests/config_bad`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use toml::de::DeTable;

use super::problem::Report;
use super::section::{Context, Section};
use super::{Config, Environment, Loaded, Problem, Severity};
use crate::events::EventSource;
use crate::model::Channel;
use crate::policy::HoldRule;
use crate::relay::settings::UpstreamTls;
use crate::submission::settings::{AuthMode, ListenerTls};

const SAMPLE: &str = include_str!("../../config/waybill.toml");
const MINIMAL: &str = include_str!("../../config/minimal.toml");

fn environment() -> Environment {
    Environment { machine_name: "Build-7".into(), ..Environment::default() }
}

fn load(source: &str) -> Result<Loaded, Vec<Problem>> {
    Config::parse(Some(Path::new("w.toml")), source, &environment())
}

fn good(source: &str) -> Loaded {
    load(source).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The sample with every setting turned on, and every file that it names in `folder`.
fn whole_sample(folder: &Path) -> String {
    let folder = folder.display().to_string();
    let uncommented = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => {
            setting
        }
        Some(_) | None => line,
    });
    uncommented.map(|line| line.replace("/etc/waybill", &folder) + "\n").collect()
}

/// Writes the files of the sample: certificate, keys, and a password of each other name.
fn write_files(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["gateway.example.com".into()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::create_dir(folder.join("tls")).unwrap();
    std::fs::write(folder.join("tls/fullchain.pem"), &certificate).unwrap();
    std::fs::write(folder.join("tls/privkey.pem"), &key).unwrap();
    std::fs::write(folder.join("ca.pem"), &certificate).unwrap();
    let signing = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    std::fs::write(folder.join("dkim.pem"), signing.serialize_pem()).unwrap();
    for name in [
        "erp.password",
        "erp.vonage",
        "erp.signature",
        "erp.kannel",
        "erp.gatewayapi",
        "erp.token",
        "erp.callbacks",
        "vonage.callbacks",
        "kannel.callbacks",
        "gatewayapi.callbacks",
        "gatewayapi.webhooks",
        "http.callbacks",
        "erp-twilio",
        "provider-password",
        "twilio-token",
        "vonage.secret",
        "vonage.signature",
        "kannel.password",
        "gatewayapi.token",
        "http.key",
        "smpp.password",
        "hook.secret",
        "postmark.events",
        "brevo.events",
        "mailgun.events",
    ] {
        std::fs::write(folder.join(name), "hunter2\n").unwrap();
    }
}

fn with_credentials(folder: &Path) -> Environment {
    let variable = ("CREDENTIALS_DIRECTORY".into(), folder.as_os_str().to_owned());
    Environment { variables: BTreeMap::from([variable]), ..environment() }
}

#[test]
fn the_sample_names_every_key_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    let source = whole_sample(folder.path());
    let environment = with_credentials(folder.path());
    let context =
        Context::new(Report::new(Some("w.toml".into()), &source), &environment, Path::new(""));
    let document = DeTable::parse(&source).unwrap();
    let read = |top: &Section<'_, '_>| super::read(top, &environment);
    Section::document(&context, Some(document.get_ref()), read);
    context.report_unknown_keys();
    // The second upstream is there for the routes, and shows how little is needed.
    assert_eq!(context.unset(), []);
    let errors: Vec<Problem> = context.report.into_sorted();
    let errors: Vec<_> = errors.iter().filter(|p| p.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_sample_as_it_is_shipped_is_good() {
    let loaded = good(SAMPLE);
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.data_dir, Path::new("/var/lib/waybill"));
}

#[test]
fn the_effective_configuration_reads_back_as_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    let source = whole_sample(folder.path());
    let environment = with_credentials(folder.path());
    let first = Config::parse(Some(Path::new("w.toml")), &source, &environment).unwrap();
    assert!(!first.effective.contains("hunter2"), "{}", first.effective);
    assert!(!first.effective.contains("PRIVATE"), "{}", first.effective);
    for key in ["callback_token", "callback_secret", "signature_secret", "X-Api-Key", "secret"] {
        let hidden = format!("{key} = \"[hidden]\"");
        assert!(first.effective.contains(&hidden), "{key}: {}", first.effective);
    }
    // A hidden DKIM key is no key any more; everything else is taken as it was printed.
    let hidden = "private_key = \"[hidden]\"";
    let pem = format!("private_key = {{ file = {:?} }}", folder.path().join("dkim.pem"));
    let again = first.effective.replace(hidden, &pem);
    let second = Config::parse(Some(Path::new("w.toml")), &again, &environment);
    assert_eq!(second.map(|loaded| loaded.effective), Ok(first.effective));
}

#[test]
fn nothing_prints_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    let environment = with_credentials(folder.path());
    let path = Some(Path::new("w.toml"));
    let loaded = Config::parse(path, &whole_sample(folder.path()), &environment).unwrap();
    let text = format!("{loaded:?}");
    assert!(!text.contains("hunter2") && !text.contains("PRIVATE"), "{text}");
}

#[test]
fn without_a_file_everything_is_on_loopback() {
    let loaded = Config::load(None, &environment()).unwrap();
    let config = loaded.config;
    assert_eq!(loaded.notices.len(), 1, "{:?}", loaded.notices);
    assert_eq!(config.data_dir, Path::new("./waybill-data"));
    assert_eq!(config.hostname, "build-7");
    let ports = [
        config.smtp.listeners.first().map(|listener| listener.listen),
        config.admin.map(|admin| admin.listen),
        config.metrics,
        config.sms.map(|sms| sms.listen),
        config.public.listen,
    ];
    let ports = ports.map(|port| port.map(|address| (address.ip(), address.port())));
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    assert_eq!(ports, [2525, 8025, 9025, 8026, 8027].map(|port| Some((loopback, port))));
    let listener = config.smtp.listeners[0];
    assert_eq!((listener.tls, listener.auth), (ListenerTls::Off, AuthMode::Off));
    let app = |address: &str| config.apps.by_network(address.parse().unwrap());
    assert!(app("10.0.0.1").is_none());
    assert_eq!(app("127.9.9.9").unwrap().name.as_str(), "default");
    assert_eq!(app("::1").unwrap().name.as_str(), "default");
    assert!(config.upstreams.is_empty() && config.routes.upstreams.is_empty());
}

#[test]
fn three_lines_are_enough() {
    let loaded = good(MINIMAL);
    assert!(loaded.warnings.is_empty() && loaded.notices.is_empty(), "{loaded:?}");
    let upstream = &loaded.config.upstreams[0];
    assert_eq!(upstream.name.as_str(), "smtp.example.com");
    assert_eq!((upstream.port, upstream.tls), (587, UpstreamTls::StartTls));
    assert_eq!(loaded.config.routes.upstreams, [(Channel::Email, upstream.name.clone())]);
}

#[test]
fn the_host_and_the_port_choose_the_encryption() {
    let check = |keys: &str, tls, port| {
        let loaded = good(&format!("[[upstream]]\n{keys}\n"));
        let upstream = &loaded.config.upstreams[0];
        assert_eq!((upstream.tls, upstream.port), (tls, port), "{keys}");
    };
    check("host = 'a.example'", UpstreamTls::StartTls, 587);
    check("host = 'a.example'\nport = 465", UpstreamTls::Implicit, 465);
    check("host = 'a.example'\nport = 25", UpstreamTls::StartTls, 25);
    check("host = 'a.example'\ntls = 'implicit'", UpstreamTls::Implicit, 465);
    check("host = 'a.example'\ntls = 'off'", UpstreamTls::Off, 25);
    check("host = '127.0.0.1'", UpstreamTls::Opportunistic, 25);
    check("host = 'localhost'\nport = 1025", UpstreamTls::Opportunistic, 1025);
    check("host = '10.1.2.3'", UpstreamTls::Opportunistic, 25);
    check("host = '8.8.8.8'", UpstreamTls::StartTls, 587);
}

#[test]
fn a_machine_without_a_usable_name_is_localhost() {
    for name in ["", "bad name", "blåbær", "-x"] {
        let environment = Environment { machine_name: name.into(), ..Environment::default() };
        let loaded = Config::load(None, &environment).unwrap();
        assert_eq!(loaded.config.hostname, "localhost", "{name:?}");
    }
}

#[test]
fn every_port_can_be_turned_off() {
    let ports = ["admin", "metrics", "sms", "public"];
    let mut source: String = ports.map(|port| format!("[{port}]\nlisten = 'off'\n")).concat();
    source += "[[smtp.listener]]\nlisten = 'off'\n";
    let config = good(&source).config;
    assert!(config.admin.is_none() && config.metrics.is_none());
    assert!(config.sms.is_none() && config.public.listen.is_none());
    assert!(config.smtp.listeners.is_empty());
}

#[test]
fn an_app_is_taken_as_it_is_written() {
    let loaded = good(
        "[[app]]\nname = 'erp'\nnetworks = ['10.0.0.0/8', '192.0.2.7']\nhold = 'manual'\n\
         rate = { per_minute = 60 }\nreferences = ['X-\\d+']\n\
         [app.smtp]\nusername = 'u'\npassword = 'p'\n",
    );
    let app = &loaded.config.apps.0[0];
    assert_eq!(app.hold, HoldRule::Manual);
    assert_eq!((app.rate.per_minute, app.rate.per_day), (Some(60), None));
    assert_eq!(app.networks[1].to_string(), "192.0.2.7/32");
    assert_eq!(app.references[0].as_str(), "X-\\d+");
    assert!(loaded.config.apps.by_credential("u", b"p").is_some());
    // A password makes the default listener offer AUTH, for it is on loopback.
    assert_eq!(loaded.config.smtp.listeners[0].auth, AuthMode::Optional);
}

#[test]
fn a_route_takes_the_channel_of_its_upstreams() {
    let sms = "[[upstream]]\nkind = 'gatewayapi'\nname = 's'\ntoken = 't'\n";
    let mail = "[[upstream]]\nname = 'm'\nhost = 'a.example'\n";
    let routes = "[[route]]\nupstreams = ['s']\n[[route]]\nupstreams = ['m']\n";
    let config = good(&format!("{sms}{mail}{routes}")).config;
    let channels: Vec<_> = config.routes.routes.iter().map(|route| route.channel).collect();
    assert_eq!(channels, [Some(Channel::Sms), Some(Channel::Email)]);
    assert_eq!(config.sms_upstreams.len(), 1);
}

#[test]
fn relative_paths_start_at_the_file() {
    let source = "data_dir = 'data'\n";
    let path = Some(Path::new("/etc/waybill/w.toml"));
    let config = Config::parse(path, source, &environment()).unwrap().config;
    assert_eq!(config.data_dir, Path::new("/etc/waybill/data"));
}

#[test]
fn the_proxies_that_are_trusted_are_taken_as_they_are_written() {
    let config = good("[public]\ntrusted_proxies = ['10.0.0.0/8', '::1']\n").config;
    let proxies: Vec<_> = config.public.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert!(good("").config.public.trusted_proxies.is_empty());
    assert!(load("[public]\ntrusted_proxies = ['proxy.example.com']\n").is_err());
}

#[test]
fn the_events_of_an_upstream_are_proven_by_what_is_written() {
    let events = |keys: &str| {
        let source =
            format!("[[upstream]]\nname = 'm'\nhost = 'a.example'\nevents = {{ {keys} }}\n");
        load(&source).map(|loaded| loaded.config.mail_events)
    };
    for wrong in [
        "",
        "kind = 'other'",
        "kind = 'ses'",
        "kind = 'ses', topic = 'waybill'",
        "kind = 'sendgrid', key = 'AAAA'",
        "kind = 'mailgun'",
        "kind = 'mailgun', key = 'k', token = 't'",
        "kind = 'postmark'",
        "kind = 'postmark', user = 'u'",
        "kind = 'brevo', token = 't', user = 'u', password = 'p'",
    ] {
        assert!(events(wrong).is_err(), "{wrong}");
    }
    let topic = "topic = 'arn:aws:sns:eu-west-1:123456789012:waybill'";
    let good = events(&format!("kind = 'ses', {topic}")).unwrap();
    let [(name, EventSource::Ses { topic })] = &good[..] else { panic!("{good:?}") };
    assert_eq!((name.as_str(), topic.as_str().len()), ("m", 42));
    let good = events("kind = 'mailjet', user = 'u', password = 'hunter2'").unwrap();
    assert!(!format!("{good:?}").contains("hunter2"));
    assert!(events("kind = 'brevo', token = 't'").is_ok());
    // An SMS provider has callbacks of its own.
    let sms = "[[upstream]]\nkind = 'gatewayapi'\ntoken = 't'\nevents = { kind = 'ses' }\n";
    assert!(load(sms).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|(\\[{0,2}[a-z.]{0,12}\\]{0,2}|[a-z_]{1,12} ?=|[\"'{},0-9a-z@:/*\\[\\] ]|\n){0,60}") {
        let _ = load(&text);
    }
}
