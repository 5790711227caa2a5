//! `[smtp]`, `[[smtp.listener]]`, and the rule that no two ports take the same address.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::address::LISTEN;
use super::kind::{Choice, Count, TEXT};
use super::measure::{LONGEST, Period};
use super::problem::Place;
use super::section::Section;
use crate::submission::settings::{AuthMode, BareNewline, ListenerTls, SmtpListener, SmtpSettings};

const LISTENER_TLS: Choice<ListenerTls> = Choice(&[
    ("starttls", ListenerTls::StartTls),
    ("off", ListenerTls::Off),
    ("implicit", ListenerTls::Implicit),
]);

const AUTH: Choice<AuthMode> = Choice(&[
    ("required", AuthMode::Required),
    ("optional", AuthMode::Optional),
    ("off", AuthMode::Off),
]);

const BARE_NEWLINE: Choice<BareNewline> =
    Choice(&[("refuse", BareNewline::Refuse), ("fix", BareNewline::Fix)]);

/// A recipient's number in its message is 16 bits wide.
const RECIPIENTS: Count = Count(1..=50_000);
const CONNECTIONS: Count = Count(1..=100_000);
const ERRORS: Count = Count(1..=1_000);
const TIMEOUT: Period = Period::new(Duration::from_secs(1), LONGEST, "5m");

/// What a server must take in one transaction (RFC 5321 §4.5.3.1.8).
const LEAST_RECIPIENTS: u32 = 100;
/// Shorter than this, clients on slow links are cut off (RFC 5321 §4.5.3.2.7 asks for 5 minutes).
const SHORT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the rest of the file says that listeners depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    pub(super) has_tls: bool,
    pub(super) has_credentials: bool,
}

/// `[smtp]` with its listeners.
pub(super) fn read_smtp(
    top: &Section<'_, '_>,
    hostname: &str,
    max_message_size_bytes: u64,
    around: Surroundings,
    ports: &mut Ports,
) -> SmtpSettings {
    top.table("smtp", |smtp| {
        let report = &smtp.context.report;
        let max_recipients = smtp.get("max_recipients", &RECIPIENTS, 1_000);
        if max_recipients < LEAST_RECIPIENTS {
            let what =
                format!("max_recipients = {max_recipients} is less than clients may rely on");
            let advice = "write 100 or more (RFC 5321 §4.5.3.1.8)";
            report.warning(smtp.place("max_recipients"), what, advice);
        }
        let max_connections = smtp.get("max_connections", &CONNECTIONS, 1_000);
        // One client leaves a fifth to the others.
        let share = (max_connections / 5 * 4).max(1);
        let per_client = smtp.get("max_connections_per_client", &CONNECTIONS, share);
        if per_client > max_connections {
            let what = "max_connections_per_client is more than max_connections";
            let place = smtp.place("max_connections_per_client");
            report.warning(place, what, format!("write at most {max_connections}"));
        }
        let max_errors = smtp.get("max_errors", &ERRORS, 20);
        let timeout = smtp.get("timeout", &TIMEOUT, Duration::from_secs(300));
        if timeout < SHORT_TIMEOUT {
            let what = "so short a timeout cuts off clients on slow lines";
            report.warning(smtp.place("timeout"), what, "write \"5m\" (RFC 5321 §4.5.3.2.7)");
        }
        let greeting = smtp.get("greeting", &TEXT, String::from("ESMTP Waybill"));
        if !greeting.is_ascii() {
            let what = "the greeting is not ASCII, and no client has agreed on more yet";
            report.error(smtp.place("greeting"), what, "write it in ASCII");
        }
        let bare_newline = smtp.get("bare_newline", &BARE_NEWLINE, BareNewline::Refuse);
        let read = |listener: &Section<'_, '_>| read_listener(listener, around, ports);
        let listeners = smtp.tables_or_default("listener", read);
        SmtpSettings {
            listeners: listeners.into_iter().flatten().collect(),
            hostname: hostname.to_owned(),
            greeting,
            max_message_size_bytes,
            max_recipients: max_recipients as usize,
            max_connections: max_connections as usize,
            max_connections_per_client: per_client as usize,
            max_errors: max_errors as usize,
            timeout,
            bare_newline,
        }
    })
}

fn read_listener(
    listener: &Section<'_, '_>,
    around: Surroundings,
    ports: &mut Ports,
) -> Option<SmtpListener> {
    let listen = match listener.is_written() {
        true => listener.required("listen", &LISTEN).flatten(),
        false => {
            let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 2525));
            listener.get("listen", &LISTEN, Some(default))
        }
    };
    let is_local = listen.is_some_and(|address| address.ip().to_canonical().is_loopback());
    let tls = read_listener_tls(listener, around.has_tls);
    let may_offer = is_local || tls != ListenerTls::Off;
    let default = match around.has_credentials && may_offer {
        true => AuthMode::Optional,
        false => AuthMode::Off,
    };
    let auth = listener.get("auth", &AUTH, default);
    if let Some(listen) = listen {
        check_auth(listener, auth, may_offer, around.has_credentials);
        ports.take(listen, listener);
    }
    listen.map(|listen| SmtpListener { listen, tls, auth })
}

/// `tls` of a listener: STARTTLS where there is a certificate, unless it is said otherwise.
pub(super) fn read_listener_tls(listener: &Section<'_, '_>, has_tls: bool) -> ListenerTls {
    let default = if has_tls { ListenerTls::StartTls } else { ListenerTls::Off };
    let tls = listener.get("tls", &LISTENER_TLS, default);
    if tls != ListenerTls::Off && !has_tls {
        let what = "this listener needs a certificate, but there is no [tls]";
        let advice = "write [tls] with certificate and key, or tls = \"off\"";
        listener.context.report.error(listener.place("tls"), what, advice);
    }
    tls
}

/// Whether a client can log in anywhere.
pub(super) fn offers_auth(smtp: &SmtpSettings) -> bool {
    smtp.listeners.iter().any(|listener| {
        let is_local = listener.listen.ip().to_canonical().is_loopback();
        listener.auth != AuthMode::Off && (is_local || listener.tls != ListenerTls::Off)
    })
}

fn check_auth(listener: &Section<'_, '_>, auth: AuthMode, may_offer: bool, has_credentials: bool) {
    let report = &listener.context.report;
    let place = listener.place("auth");
    let encrypt = "write tls = \"starttls\" or \"implicit\", or listen on 127.0.0.1";
    match auth {
        AuthMode::Off => {}
        AuthMode::Required if !may_offer => {
            let what = "auth is required here, but without TLS it is offered on loopback only, \
                        so nobody could submit";
            report.error(place, what, encrypt);
        }
        AuthMode::Optional if !may_offer => {
            let what =
                "auth is never offered here, because without TLS it is offered on loopback only";
            report.warning(place, what, format!("{encrypt}, or write auth = \"off\""));
        }
        AuthMode::Required if !has_credentials => {
            let what = "auth is required here, but no app has a user name and password";
            let advice = "write [app.smtp] with username and password, or auth = \"off\"";
            report.error(place, what, advice);
        }
        AuthMode::Optional | AuthMode::Required => {}
    }
}

/// All addresses that are listened on.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<(SocketAddr, String, Place)>);

impl Ports {
    /// Takes an address for the `listen` of a section, or reports who has it already.
    pub(super) fn take(&mut self, address: SocketAddr, section: &Section<'_, '_>) {
        let place = section.place("listen");
        let label = section.label();
        for (other, owner, other_place) in &self.0 {
            // Report at the one that is written in the file, if only one is.
            let at = if section.is_set("listen") { &place } else { other_place };
            match clash(address, *other) {
                Clash::None => {}
                Clash::Sure => {
                    let what = format!("{label} listens on {address}, which {owner} takes already");
                    section.context.report.error(at.clone(), what, "give each its own port");
                }
                Clash::DualStack => {
                    let what = format!(
                        "{label} on {address} and {owner} on {other}: on most machines [::] takes IPv4 as well"
                    );
                    section.context.report.warning(at.clone(), what, "keep only the one on [::]");
                }
            }
        }
        self.0.push((address, label, place));
    }

    /// Whether this gateway itself listens there.
    pub(super) fn has_local(&self, port: u16) -> bool {
        self.0.iter().any(|(address, _, _)| {
            let ip = address.ip().to_canonical();
            address.port() == port && (ip.is_loopback() || ip.is_unspecified())
        })
    }
}

enum Clash {
    None,
    Sure,
    /// Depends on `net.ipv6.bindv6only`.
    DualStack,
}

fn clash(a: SocketAddr, b: SocketAddr) -> Clash {
    // Port 0 is a free port each time.
    if a.port() != b.port() || a.port() == 0 {
        return Clash::None;
    }
    let (one, two) = (a.ip(), b.ip());
    let same_family = one.is_ipv4() == two.is_ipv4();
    if one == two || (same_family && (one.is_unspecified() || two.is_unspecified())) {
        return Clash::Sure;
    }
    let dual = |v6: std::net::IpAddr, v4: std::net::IpAddr| {
        v6.is_ipv6() && v6.is_unspecified() && v4.is_ipv4()
    };
    if dual(one, two) || dual(two, one) { Clash::DualStack } else { Clash::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_take_every_address_of_their_family() {
        let check = |a: &str, b: &str, expected: &str| {
            let found = match clash(a.parse().unwrap(), b.parse().unwrap()) {
                Clash::None => "none",
                Clash::Sure => "sure",
                Clash::DualStack => "dual",
            };
            assert_eq!(found, expected, "{a} {b}");
        };
        check("127.0.0.1:25", "127.0.0.1:25", "sure");
        check("0.0.0.0:25", "127.0.0.1:25", "sure");
        check("[::]:25", "[::1]:25", "sure");
        check("[::]:25", "0.0.0.0:25", "dual");
        check("10.0.0.1:25", "[::]:25", "dual");
        check("127.0.0.1:25", "127.0.0.2:25", "none");
        check("127.0.0.1:25", "[::1]:25", "none");
        check("0.0.0.0:0", "0.0.0.0:0", "none");
    }
}
