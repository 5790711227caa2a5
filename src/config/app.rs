//! `[[app]]`: who submits, how it is known, what it may do.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::address::{APP_NAME, NETWORK};
use super::app_sms::read_sms_credentials;
use super::general::RetentionKind;
use super::kind::{Choice, Count, Flag, Kind, List, Spot, TEXT};
use super::later::AppLater;
use super::measure::duration_advice;
use super::pattern::{ORIGINATOR, REGEX, SENDER, URL_GLOB};
use super::problem::Place;
use super::secret::OneLine;
use super::section::Section;
use super::sms::COUNTRY;
use crate::model::{AppName, parse_duration, write_duration};
use crate::policy::{
    AddressPattern, App, HoldRule, OnUnknown, OnUnknownByChannel, Rate, SmsPolicy, SmtpCredential,
    Track, UrlPattern,
};
use crate::sms::number::{self, Country, NumberStyle};

/// The name of the app that exists when none is written.
const DEFAULT_APP: &str = "default";

const RATE: Count = Count(1..=1_000_000_000);

const ON_UNKNOWN: Choice<OnUnknown> =
    Choice(&[("retry", OnUnknown::Retry), ("hold", OnUnknown::Hold)]);

/// A message that waits longer was meant to wait for a person.
const LONGEST_HOLD: Duration = Duration::from_secs(366 * 86_400);

/// One app with the places that later checks point at.
pub(super) struct ReadApp {
    pub(super) app: Arc<App>,
    pub(super) later: AppLater,
    places: Places,
    /// Which ways to submit are written, well or not.
    has_networks: bool,
    has_sms: bool,
}

struct Places {
    table: Place,
    name: Place,
    networks: Place,
    smtp: Place,
    track: Place,
}

/// All apps; without any, one for clients on loopback. And whether any has a password, even one
/// that could not be read.
pub(super) fn read_apps(top: &Section<'_, '_>) -> (Vec<ReadApp>, bool) {
    let mut has_credentials = false;
    let apps = top.tables_or_default("app", |section| {
        has_credentials |= section.is_set("smtp");
        read_app(section)
    });
    let apps: Vec<ReadApp> = apps.into_iter().flatten().collect();
    check_names(top, &apps);
    check_networks(top, &apps);
    check_usernames(top, &apps);
    super::app_sms::check_credentials(top, &apps);
    (apps, has_credentials)
}

fn read_app(section: &Section<'_, '_>) -> Option<ReadApp> {
    let (name, networks) = read_identity(section);
    let senders = section.get("senders", &List(SENDER), Vec::new());
    let hold = section.get("hold", &HoldKind, HoldRule::None);
    let track = read_track(section);
    let references = section.get("references", &List(REGEX), Vec::new());
    let rate = read_rate(section);
    let on_unknown = read_on_unknown(section);
    let retention = section.optional("retention", &RetentionKind);
    let callbacks = section.get("callbacks", &List(URL_GLOB), Vec::new());
    let originators = section.get("originators", &List(ORIGINATOR), Vec::new());
    section.no_effect_yet("retention");
    let smtp = section.optional_table("smtp", read_smtp_credential);
    let country = section.optional("country", &COUNTRY).unwrap_or_default();
    let accounts = section.optional_table("sms", read_sms_credentials).unwrap_or_default();
    let places = Places {
        table: section.place(""),
        name: section.place("name"),
        networks: section.place("networks"),
        smtp: section.is_set("smtp").then(|| section.place("smtp")).flatten(),
        track: section.place("track"),
    };
    let name = name?;
    let later = AppLater { name: name.clone(), retention };
    let sms = SmsPolicy {
        accounts,
        callbacks: callbacks.iter().map(|glob| UrlPattern::new(&glob.text)).collect(),
        originators: originators.iter().map(|text| AddressPattern::new(&normal(text))).collect(),
        country,
    };
    let senders = senders.into_iter().map(|(_, pattern)| pattern).collect();
    let app = Arc::new(App {
        name,
        networks,
        senders,
        hold,
        track,
        references,
        rate,
        on_unknown,
        smtp,
        sms,
    });
    let has_networks = !app.networks.is_empty() || section.is_filled("networks");
    Some(ReadApp { app, later, places, has_networks, has_sms: section.is_filled("sms") })
}

/// An originator in the form in which it is compared: a number with its plus sign.
fn normal(text: &str) -> String {
    let found = number::originator(text, NumberStyle::International, &Country::NONE);
    found.map_or_else(|| text.to_owned(), |originator| originator.to_string())
}

fn read_identity(section: &Section<'_, '_>) -> (Option<AppName>, Vec<IpNet>) {
    if section.is_written() {
        let name = section.required("name", &APP_NAME);
        return (name, section.get("networks", &List(NETWORK), Vec::new()));
    }
    let name = AppName::parse(DEFAULT_APP);
    if let Some(name) = &name {
        section.show("name", &APP_NAME, name);
    }
    let loopback = ["127.0.0.0/8", "::1/128"].iter().filter_map(|network| network.parse().ok());
    (name, section.get("networks", &List(NETWORK), loopback.collect()))
}

fn read_track(section: &Section<'_, '_>) -> Track {
    section.table("track", |track| Track {
        opens: track.get("opens", &Flag, false),
        clicks: track.get("clicks", &Flag, false),
    })
}

fn read_rate(section: &Section<'_, '_>) -> Rate {
    section.table("rate", |rate| Rate {
        per_minute: rate.optional("per_minute", &RATE),
        per_day: rate.optional("per_day", &RATE),
    })
}

fn read_on_unknown(section: &Section<'_, '_>) -> OnUnknownByChannel {
    let default = OnUnknownByChannel::default();
    section.table("on_unknown", |on_unknown| {
        let email = on_unknown.get("email", &ON_UNKNOWN, default.email);
        let sms = on_unknown.get("sms", &ON_UNKNOWN, default.sms);
        OnUnknownByChannel { email, sms }
    })
}

fn read_smtp_credential(smtp: &Section<'_, '_>) -> Option<SmtpCredential> {
    let username = smtp.required("username", &TEXT);
    let password = smtp.required("password", &OneLine);
    Some(SmtpCredential { username: username?, password: password? })
}

fn check_names(top: &Section<'_, '_>, apps: &[ReadApp]) {
    for (index, later) in apps.iter().enumerate() {
        if later.app.name.is_reserved() {
            let what = format!("an app has the name {:?}", later.app.name.as_str());
            let advice = "give it another name: this one is kept for mail that belongs to no app";
            top.context.report.error(later.places.name.clone(), what, advice);
        }
        let same = |other: &&ReadApp| {
            other.app.name.as_str().eq_ignore_ascii_case(later.app.name.as_str())
        };
        if apps[..index].iter().find(same).is_some() {
            let what = format!("two apps have the name {:?}", later.app.name.as_str());
            let advice = "give each its own name (case does not count)";
            top.context.report.error(later.places.name.clone(), what, advice);
        }
    }
}

fn check_networks(top: &Section<'_, '_>, apps: &[ReadApp]) {
    let report = &top.context.report;
    for (index, read) in apps.iter().enumerate() {
        let place = &read.places.networks;
        for network in &read.app.networks {
            if network.prefix_len() == 0 {
                let what = format!("{network} is everybody: whoever reaches the port may submit");
                let advice = "write the networks of your own applications";
                report.warning(place.clone(), what, advice);
            }
            let owner = apps[..index].iter().find(|other| other.app.networks.contains(network));
            if let Some(owner) = owner {
                let what =
                    format!("{network} belongs to the app {:?} already", owner.app.name.as_str());
                let advice = "give each network to one app (the first one has it)";
                report.warning(place.clone(), what, advice);
            }
        }
    }
}

fn check_usernames(top: &Section<'_, '_>, apps: &[ReadApp]) {
    for (index, read) in apps.iter().enumerate() {
        let Some(credential) = &read.app.smtp else {
            continue;
        };
        let same = |other: &&ReadApp| {
            other.app.smtp.as_ref().is_some_and(|smtp| smtp.username == credential.username)
        };
        if let Some(owner) = apps[..index].iter().find(same) {
            let name = owner.app.name.as_str();
            let what =
                format!("username {:?} belongs to the app {name:?} already", credential.username);
            let advice = "give each app its own user name, so that it can be told by it";
            top.context.report.error(read.places.smtp.clone(), what, advice);
        }
    }
}

/// Warns of apps that nobody can submit as. Last, when the listeners are known.
pub(super) fn check_reachable(top: &Section<'_, '_>, apps: &[ReadApp], offers_auth: bool) {
    for read in apps.iter().filter(|read| !read.has_networks && !read.has_sms) {
        let (what, advice) = match (&read.places.smtp, offers_auth) {
            (Some(_), true) => continue,
            (Some(_), false) => (
                "is known by its password alone, but no listener offers auth",
                "write auth = \"required\" at a listener with TLS, or networks at the app",
            ),
            (None, _) => (
                "has neither networks nor credentials, so nobody can submit as it",
                "write networks = [\"10.0.0.0/8\"], or [app.smtp] with username and password",
            ),
        };
        let what = format!("the app {:?} {what}", read.app.name.as_str());
        top.context.report.warning(read.places.table.clone(), what, advice);
    }
}

/// Tracking links need a host that they point to.
pub(super) fn check_tracking(top: &Section<'_, '_>, apps: &[ReadApp], has_public_url: bool) {
    for read in apps {
        if (read.app.track.opens || read.app.track.clicks) && !has_public_url {
            let what = format!(
                "the app {:?} tracks, but nothing says where its links point to",
                read.app.name.as_str()
            );
            let advice = "write [tracking] with public_url = \"https://t.example.com\"";
            top.context.report.error(read.places.track.clone(), what, advice);
        }
    }
}

impl ReadApp {
    /// Where its table stands.
    pub(super) fn place(&self) -> Place {
        self.places.table.clone()
    }

    /// Whether it has an account of some dialect.
    pub(super) fn speaks_sms(&self) -> bool {
        self.has_sms
    }
}

/// `"manual"`, or a duration of which `"0s"` is none.
struct HoldKind;

impl Kind for HoldKind {
    type Value = HoldRule;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<HoldRule> {
        let text = value.as_str().unwrap_or_default();
        if text == "manual" {
            return Some(HoldRule::Manual);
        }
        match parse_duration(text) {
            Some(Duration::ZERO) => Some(HoldRule::None),
            Some(hold) if hold <= LONGEST_HOLD => Some(HoldRule::For(hold)),
            Some(_) => spot.is_not(value, "at most 366d", "write \"manual\""),
            None => {
                let advice = format!("{}, or \"manual\"", duration_advice(value, "30s"));
                spot.is_not(value, "a duration or \"manual\"", advice)
            }
        }
    }

    fn show(&self, value: &HoldRule) -> toml::Value {
        match value {
            HoldRule::None => "0s".into(),
            HoldRule::For(hold) => write_duration(*hold).into(),
            HoldRule::Manual => "manual".into(),
        }
    }

    fn example(&self) -> String {
        String::from("\"30s\"")
    }
}
