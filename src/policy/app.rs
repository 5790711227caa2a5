//! An app: an application that submits messages; its credentials and its policy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use regex::Regex;
use wildmatch::WildMatch;

use super::sms::SmsPolicy;
use crate::model::{AppName, Channel, ReversePath, Secret};

/// One `[[app]]` of the configuration.
#[derive(Clone, Debug)]
pub struct App {
    pub name: AppName,
    /// Clients that are known by their address instead of a password.
    pub networks: Vec<IpNet>,
    /// Who it may send as; empty means anyone.
    pub senders: Vec<AddressPattern>,
    pub hold: HoldRule,
    pub track: Track,
    /// Patterns of business codes, beside the built-in ones.
    pub references: Vec<Regex>,
    pub rate: Rate,
    pub on_unknown: OnUnknownByChannel,
    pub smtp: Option<SmtpCredential>,
    pub sms: SmsPolicy,
}

/// How long the app's messages wait before they may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldRule {
    /// Not at all.
    None,
    /// So long after acceptance.
    For(Duration),
    /// Until somebody releases them.
    Manual,
}

/// What is tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    pub opens: bool,
    pub clicks: bool,
}

/// How many messages an app may submit; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: Option<u32>,
    pub per_day: Option<u32>,
}

/// What becomes of a recipient when nobody knows whether the upstream took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Try again with the same Message-ID: it may arrive twice.
    Retry,
    /// Keep it for a person to decide.
    Hold,
}

/// The rule for each channel; mail retries and SMS, which costs money, holds, unless it is said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnUnknownByChannel {
    pub email: OnUnknown,
    pub sms: OnUnknown,
}

impl OnUnknownByChannel {
    /// The rule of one channel.
    pub fn of(self, channel: Channel) -> OnUnknown {
        match channel {
            Channel::Email => self.email,
            Channel::Sms => self.sms,
        }
    }
}

impl Default for OnUnknownByChannel {
    fn default() -> Self {
        OnUnknownByChannel { email: OnUnknown::Retry, sms: OnUnknown::Hold }
    }
}

/// What AUTH is checked against.
#[derive(Clone, Debug)]
pub struct SmtpCredential {
    pub username: String,
    pub password: Secret,
}

/// An address with `*` and `?`, compared without case: `*@example.com`.
#[derive(Clone, Debug)]
pub struct AddressPattern(WildMatch);

impl AddressPattern {
    /// Any text is a pattern.
    pub fn new(pattern: &str) -> AddressPattern {
        AddressPattern(WildMatch::new(&pattern.to_lowercase()))
    }

    /// Whether the whole address matches.
    pub fn matches(&self, address: &str) -> bool {
        self.0.matches(&address.to_lowercase())
    }
}

impl App {
    /// Whether it may use this return address. The null reverse-path belongs to nobody, so it is
    /// always allowed: an application must be able to send notifications (RFC 5321 §4.5.5).
    pub fn may_send_as(&self, reverse_path: &ReversePath) -> bool {
        match reverse_path {
            ReversePath::Null => true,
            ReversePath::Mailbox(mailbox) => {
                let address = mailbox.to_string();
                self.senders.is_empty() || self.senders.iter().any(|p| p.matches(&address))
            }
        }
    }
}

/// All apps, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Apps(pub Vec<Arc<App>>);

impl Apps {
    /// The app whose most specific network holds this client; the first of equals.
    pub fn by_network(&self, client: IpAddr) -> Option<&Arc<App>> {
        let client = client.to_canonical();
        let mut best: Option<(u8, &Arc<App>)> = None;
        for app in &self.0 {
            for network in app.networks.iter().filter(|n| n.contains(&client)) {
                if best.is_none_or(|(length, _)| network.prefix_len() > length) {
                    best = Some((network.prefix_len(), app));
                }
            }
        }
        best.map(|(_, app)| app)
    }

    /// The app whose SMTP credential this is. Every candidate's password is compared, so that the
    /// time does not tell whether the user name exists.
    pub fn by_credential(&self, username: &str, password: &[u8]) -> Option<&Arc<App>> {
        let decoy = Secret::new(String::from("no app has this credential"));
        let found = self.0.iter().find(|app| {
            app.smtp.as_ref().is_some_and(|credential| credential.username == username)
        });
        let expected = found.and_then(|app| app.smtp.as_ref()).map_or(&decoy, |c| &c.password);
        let matches = expected.matches(password);
        found.filter(|_| matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, networks: &[&str]) -> Arc<App> {
        Arc::new(App {
            name: AppName::parse(name).unwrap(),
            networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            senders: vec![AddressPattern::new("*@Example.com")],
            hold: HoldRule::None,
            track: Track::default(),
            references: Vec::new(),
            rate: Rate::default(),
            on_unknown: OnUnknownByChannel::default(),
            sms: SmsPolicy::default(),
            smtp: Some(SmtpCredential {
                username: name.into(),
                password: Secret::new("right".into()),
            }),
        })
    }

    #[test]
    fn the_most_specific_network_wins() {
        let apps = Apps(vec![app("wide", &["10.0.0.0/8"]), app("narrow", &["10.1.0.0/16"])]);
        let name = |ip: &str| apps.by_network(ip.parse().unwrap()).map(|a| a.name.to_string());
        assert_eq!(name("192.0.2.1"), None);
        assert_eq!(name("10.2.0.1").as_deref(), Some("wide"));
        assert_eq!(name("10.1.0.1").as_deref(), Some("narrow"));
        assert_eq!(name("::ffff:10.1.0.1").as_deref(), Some("narrow"));
    }

    #[test]
    fn a_credential_needs_both_halves() {
        let apps = Apps(vec![app("erp", &[])]);
        assert!(apps.by_credential("erp", b"wrong").is_none());
        assert!(apps.by_credential("crm", b"right").is_none());
        assert!(apps.by_credential("erp", b"right").is_some());
    }

    #[test]
    fn senders_are_matched_without_case() {
        let erp = app("erp", &[]);
        let may = |path: &str| erp.may_send_as(&ReversePath::parse(path).unwrap());
        assert!(may("Anna@EXAMPLE.com"));
        assert!(may(""));
        assert!(!may("anna@example.com.evil.example"));
    }
}
