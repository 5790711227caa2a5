//! Kinds of values that name a place or a thing: ports, hosts, networks, domains, mailboxes, names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use toml::de::DeValue;

use super::kind::{Complaint, Kind, Spot, Word};
use crate::model::{AppName, Domain, Mailbox, UpstreamName};

/// Where a port listens; `None` when it is turned off.
pub(super) const LISTEN: Word<Option<SocketAddr>> = Word {
    expected: "an address with a port, or \"off\"",
    example: "127.0.0.1:2525",
    parse: |text| match text.trim() {
        "off" => Ok(None),
        text => text.parse().map(Some).map_err(|_| listen_complaint(text)),
    },
    write: |listen| listen.map_or_else(|| String::from("off"), |address| address.to_string()),
};

fn listen_complaint(text: &str) -> Complaint {
    let port_of = |port: &str| port.parse::<u16>().ok();
    let advise = |host: &str, port: u16| Complaint::instead(format!("write \"{host}:{port}\""));
    let port_alone = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if let Some(port) = port_of(port_alone) {
        return advise("0.0.0.0", port).advise(format!(
            "write \"0.0.0.0:{port}\" for every address of this machine, \
             or \"127.0.0.1:{port}\" for this machine alone"
        ));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        return Complaint::because("the port is missing").advise(format!("write \"{host}:2525\""));
    }
    match text.rsplit_once(':').map(|(host, port)| (host, port_of(port))) {
        Some(("localhost", Some(port))) => advise("127.0.0.1", port),
        Some((host, Some(port))) if host.parse::<Ipv6Addr>().is_ok() => {
            advise(&format!("[{host}]"), port)
        }
        Some((host, Some(_)))
            if Domain::parse(host).is_ok() && host.parse::<Ipv4Addr>().is_err() =>
        {
            Complaint::because("a host name can stand for several addresses")
                .advise("write the IP address itself, or \"0.0.0.0\" for every address")
        }
        Some(_) | None => Complaint::plain(),
    }
}

/// The name of this gateway, as it says it to others.
pub(super) const HOSTNAME: Word<String> = Word {
    expected: "a host name",
    example: "gateway.example.com",
    parse: |text| match Domain::parse(text) {
        // EHLO comes before anybody could agree on SMTPUTF8 (RFC 6531 §3.7.1).
        Ok(domain) if !domain.as_str().is_ascii() => Err(Complaint::because("it is not ASCII")
            .advise("write its ASCII form, which begins with \"xn--\"")),
        Ok(domain) => Ok(domain.as_str().to_owned()),
        Err(_) => Err(Complaint::plain()),
    },
    write: String::clone,
};

/// The host of an upstream: a name or an IP address, nothing more.
pub(super) const HOST: Word<String> = Word {
    expected: "a host name or an IP address",
    example: "smtp.example.com",
    parse: |text| {
        let text = text.trim();
        if text.parse::<IpAddr>().is_ok() {
            return Ok(text.to_owned());
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
            return Err(Complaint::because(format!("\"{scheme}://\" belongs to a URL"))
                .advise(format!("write host = {host:?}")));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return Err(Complaint::instead(format!("write {inner:?}, without brackets")));
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && let Ok(port) = port.parse::<u16>()
        {
            return Err(Complaint::because("the port has a key of its own")
                .advise(format!("write host = {host:?} and port = {port}")));
        }
        match Domain::parse(text.strip_suffix('.').unwrap_or(text)) {
            Ok(domain) => Ok(domain.as_str().to_owned()),
            Err(_) => Err(Complaint::plain()),
        }
    },
    write: String::clone,
};

/// Clients that are known by their address.
pub(super) const NETWORK: Word<IpNet> = Word {
    expected: "a network",
    example: "10.0.0.0/8",
    parse: |text| {
        if let Ok(address) = text.trim().parse::<IpAddr>() {
            return Ok(IpNet::from(address));
        }
        match text.trim().parse::<IpNet>() {
            Ok(network) if network.trunc() == network => Ok(network),
            // Who wrote the host bits meant either the network or the one address.
            Ok(network) => {
                Err(Complaint::because("it has bits behind its prefix").advise(format!(
                    "write \"{}\" for the network, or \"{}\" for the one address",
                    network.trunc(),
                    network.addr()
                )))
            }
            Err(_) => Err(Complaint::plain()),
        }
    },
    write: |network| network.to_string(),
};

pub(super) const APP_NAME: Word<AppName> = Word {
    expected: NAME,
    example: "erp",
    parse: |text| AppName::parse(text).ok_or(Complaint::plain()),
    write: AppName::to_string,
};

pub(super) const UPSTREAM_NAME: Word<UpstreamName> = Word {
    expected: NAME,
    example: "provider",
    parse: |text| UpstreamName::parse(text).ok_or(Complaint::plain()),
    write: UpstreamName::to_string,
};

/// Names become metric labels and parts of URLs.
const NAME: &str = "a name (1 to 64 letters, digits, \"-\", \"_\" and \".\")";

pub(super) const MAILBOX: Word<Mailbox> = Word {
    expected: "an e-mail address",
    example: "bounce@bounces.example.com",
    parse: |text| Mailbox::parse(text).map_err(|error| Complaint::because(error.to_string())),
    write: Mailbox::to_string,
};

pub(super) const DOMAIN: Word<Domain> = Word {
    expected: "a domain",
    example: "example.com",
    parse: |text| match Domain::parse(text) {
        Ok(domain) if !text.starts_with('[') => Ok(domain),
        Ok(_) | Err(_) => Err(Complaint::plain()),
    },
    write: Domain::to_string,
};

/// A file or folder; relative ones are seen from the folder of the configuration file.
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn read(&self, value: &DeValue<'_>, spot: &Spot<'_, '_>) -> Option<PathBuf> {
        match value.as_str() {
            Some("") => spot.is_not(value, "a path: it is empty", "write where it is"),
            Some(text) if text.contains('\0') => {
                spot.is_not(value, "a path: it holds a NUL", "leave the NUL out")
            }
            Some(text) => Some(spot.context.resolve(text)),
            None => spot.is_not(value, "a path", "write it in quotes"),
        }
    }

    fn show(&self, value: &PathBuf) -> toml::Value {
        value.to_string_lossy().into_owned().into()
    }

    fn example(&self) -> String {
        String::from("\"/etc/waybill/file.pem\"")
    }
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Whether a host is written as an address that no stranger can be behind: loopback, private
/// (RFC 1918, RFC 4193) or link-local.
pub(super) fn is_private(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => is_loopback(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice<T>(word: &Word<T>, text: &str) -> String {
        match (word.parse)(text) {
            Ok(_) => String::from("taken"),
            Err(complaint) => complaint.advice.unwrap_or_else(|| String::from("refused")),
        }
    }

    #[test]
    fn an_address_to_listen_on_has_a_port() {
        let check = |text, expected: &str| {
            let advice = advice(&LISTEN, text);
            assert!(advice.starts_with(expected), "{text:?}: {advice}");
        };
        check("", "refused");
        check("127.0.0.1:99999", "refused");
        check("127.0.0.1.5:25", "write the IP");
        check("2525", "write \"0.0.0.0:2525\"");
        check(":2525", "write \"0.0.0.0:2525\"");
        check("127.0.0.1", "write \"127.0.0.1:2525\"");
        check("::1", "write \"[::1]:2525\"");
        check("localhost:25", "write \"127.0.0.1:25\"");
        check("mail.example.com:25", "write the IP address itself");
        check("0.0.0.0:25", "taken");
        check("[::]:25", "taken");
        check("off", "taken");
    }

    #[test]
    fn a_host_is_nothing_more() {
        let check = |text, expected: &str| assert_eq!(advice(&HOST, text), expected, "{text:?}");
        check("", "refused");
        check("a b", "refused");
        check("smtp_.example..com", "refused");
        check("smtp.example.com:25", "write host = \"smtp.example.com\" and port = 25");
        check("smtp://smtp.example.com:25/", "write host = \"smtp.example.com\"");
        check("[2001:db8::1]", "write \"2001:db8::1\", without brackets");
        check("2001:db8::1", "taken");
        check("Smtp.Example.com.", "taken");
    }

    #[test]
    fn networks_have_no_host_bits() {
        let check = |text, expected: &str| assert_eq!(advice(&NETWORK, text), expected, "{text:?}");
        check("10.0.0.0/33", "refused");
        check("10.0.0", "refused");
        check(
            "10.1.2.3/8",
            "write \"10.0.0.0/8\" for the network, or \"10.1.2.3\" for the one address",
        );
        check("10.1.2.3", "taken");
        check("2001:db8::/32", "taken");
    }

    #[test]
    fn private_hosts_are_told_from_public_ones() {
        for public in ["example.com", "8.8.8.8", "2001:db8::1", "localhost.example.com"] {
            assert!(!is_private(public), "{public}");
        }
        for private in ["localhost", "127.0.0.9", "::1", "10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_private(private), "{private}");
        }
    }
}
