//! Who sent a request that came through proxies: the last address that nobody whom we trust has.
//!
//! Takes the peer of the connection, the header and the networks of the proxies. What a client claims
//! counts only where a trusted proxy stands before us, and of a list of hops only what trusted proxies
//! wrote: it is read from the end. `X-Forwarded-For`, which almost all proxies write, goes before
//! `Forwarded` (RFC 7239): a proxy that writes the one often lets the other through as it came.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;

/// Hops that are looked at; more than this is no real chain of proxies.
const MAX_HOPS: usize = 20;

/// The client of a request; the peer where no trusted proxy says otherwise.
pub fn client_behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    for hop in hops(headers).into_iter().take(MAX_HOPS) {
        // Behind something that is no address nothing can be believed.
        let Some(hop) = hop else { break };
        client = hop;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// The hops from the nearest on; `None` for one that is no address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let listed = |name: &str| {
        let fields = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        fields.flat_map(|field| field.split(',')).collect::<Vec<_>>()
    };
    let forwarded_for = listed("x-forwarded-for");
    match forwarded_for.is_empty() {
        false => forwarded_for.into_iter().rev().map(address).collect(),
        true => {
            let elements = listed(FORWARDED.as_str());
            elements.into_iter().rev().map(|element| address(for_of(element)?)).collect()
        }
    }
}

/// The value of `for=` in one element of `Forwarded`.
fn for_of(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `"[2001:db8::1]:80"`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    parsed.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, fields: &[(&'static str, &str)], expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let found = client_behind(peer.parse().unwrap(), &headers, &trusted);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {fields:?}");
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let claim = [("x-forwarded-for", "192.0.2.9"), ("forwarded", "for=192.0.2.9")];
        check("192.0.2.1", &claim, "192.0.2.1");
        check("::ffff:192.0.2.1", &claim, "192.0.2.1");
        check("192.0.2.1", &[], "192.0.2.1");
        // Nor through a proxy: what it wrote itself stands last.
        check("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, 192.0.2.9")], "192.0.2.9");
        check("10.0.0.1", &[("x-forwarded-for", "10.9.9.9, 192.0.2.9")], "192.0.2.9");
        check(
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.9"), ("forwarded", "for=198.51.100.1")],
            "192.0.2.9",
        );
        // What is no address ends the chain.
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.9, unknown")], "10.0.0.1");
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.9, unknown, 10.0.0.2")], "10.0.0.2");
        check("10.0.0.1", &[("forwarded", "for=_hidden")], "10.0.0.1");
        check("10.0.0.1", &[("forwarded", "by=192.0.2.9")], "10.0.0.1");
        let long = format!("192.0.2.9{}", ", 10.0.0.3".repeat(50));
        check("10.0.0.1", &[("x-forwarded-for", &long)], "10.0.0.3");
    }

    #[test]
    fn trusted_proxies_say_who_it_is() {
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.9")], "192.0.2.9");
        check("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.9")], "192.0.2.9");
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.9, 10.0.0.2")], "192.0.2.9");
        check(
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.9"), ("x-forwarded-for", "10.0.0.2")],
            "192.0.2.9",
        );
        check("10.0.0.1", &[("x-forwarded-for", "2001:db8::9")], "2001:db8::9");
        check("::1", &[("x-forwarded-for", "192.0.2.9:4711")], "192.0.2.9");
        check("::1", &[("x-forwarded-for", "::ffff:192.0.2.9")], "192.0.2.9");
        check("10.0.0.1", &[("forwarded", "for=192.0.2.9;proto=https")], "192.0.2.9");
        let by = "proto=https; For=\"[2001:db8::9]:4711\", for=10.0.0.2";
        check("10.0.0.1", &[("forwarded", by)], "2001:db8::9");
        check("10.0.0.1", &[("x-forwarded-for", "10.0.0.7")], "10.0.0.7");
    }
}
