//! Which hosts an application may make this gateway call: the public internet, and nothing beside it.
//!
//! The rule names what is public, not what is private: an address that no rule knows is refused.
//! Names are refused where they can only mean this machine or this network; every other name is judged
//! by the addresses that it has when it is called. Special-purpose addresses: RFC 6890 and the IANA
//! registries for IPv4 and IPv6, RFC 6598 (CGNAT), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// What is not public of IPv4.
const NOT_PUBLIC_V4: [Ipv4Net; 18] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    // Link-local, and the metadata services of most clouds.
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 52, 193, 0], 24),
    // Relays of 6to4, which lead anywhere.
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    // Multicast, reserved, broadcast.
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
    // A public address at which every machine in Azure finds its metadata service.
    v4([168, 63, 129, 16], 32),
];

/// Of IPv6 only this is routed to anybody.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// And of that not these: protocol assignments with Teredo and benchmarking, documentation, 6to4.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// The well-known prefix of NAT64: what counts is the IPv4 address at its end.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// Names that mean this machine, or that only an own name server knows (RFC 6761, RFC 6762, RFC 8375,
/// and ICANN's `internal`), with everything below them.
const NOT_PUBLIC_NAMES: [&str; 12] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
];

const fn v4(octets: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), length)
}

const fn v6(s: [u16; 8], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), length)
}

/// Whether an address belongs to the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., high, low] = address.segments();
            is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        // IPv4-mapped and -compatible addresses, ULA, link-local, site-local and multicast lie
        // outside of what is global.
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address)
                && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&address))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|network| network.contains(&address))
}

/// Whether a URL names what a public URL can name. Says why not; looks nothing up.
pub(super) fn check_public(url: &Url) -> Result<(), String> {
    if url.scheme() != "https" {
        return Err("the URL does not begin with https".into());
    }
    match url.host() {
        None => Err("the URL names no host".into()),
        Some(Host::Domain(name)) => check_name(name),
        Some(Host::Ipv4(address)) => check_address(address.into()),
        Some(Host::Ipv6(address)) => check_address(address.into()),
    }
}

/// The same of an address that a name led to.
pub(super) fn check_address(address: IpAddr) -> Result<(), String> {
    match is_public(address) {
        true => Ok(()),
        false => Err("the URL leads to an address that is not public".into()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let name = plain(name);
    let labels = name.split('.');
    if name.is_empty() || labels.clone().any(str::is_empty) {
        return Err("the URL names no host".into());
    }
    // A name of one label is completed by the search list of this machine.
    if labels.count() < 2 {
        return Err("the host name has no dot, so it is not public".into());
    }
    let is_below = |zone: &&str| {
        name.strip_suffix(*zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    match NOT_PUBLIC_NAMES.iter().any(is_below) {
        true => Err("the host name is not public".into()),
        false => Ok(()),
    }
}

/// In lower case, without the dot at the end of an absolute name.
pub(super) fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_be_called(text: &str) -> bool {
        Url::parse(text).is_ok_and(|url| check_public(&url).is_ok())
    }

    #[test]
    fn what_is_not_public_is_refused_however_it_is_spelled() {
        let spellings = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0x7F.0x0.0x0.0x1",
            "0177.0.0.1",
            "0177.1",
            "017700000001",
            "127.0.0.1.",
            "127.8.9.10",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "⑫7.0.0.1",
            "0",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "012.0.0.1",
            "167772161",
            "100.64.0.1",
            "100.127.255.254",
            "100.100.100.200",
            "169.254.169.254",
            "2852039166",
            "0xA9FEA9FE",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.254.169.254.",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "0300.0250.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "4294967295",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[0000::0001]",
            "[::127.0.0.1]",
            "[::7f00:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::FFFF:A9FE:A9FE]",
            "[::ffff:10.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b::10.1.2.3]",
            "[64:ff9b:1::8.8.8.8]",
            "[2002:7f00:1::1]",
            "[2002:a9fe:a9fe::]",
            "[2001:0:7f00:1::]",
            "[2001:2::1]",
            "[2001:10::1]",
            "[2001:db8::1]",
            "[3fff::1]",
            "[100::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fe80::1%25eth0]",
            "[fec0::1]",
            "[ff02::1]",
            "[5f00::1]",
            "localhost",
            "LOCALHOST",
            "LocalHost.",
            "ｌｏｃａｌｈｏｓｔ",
            "ⓛocalhost",
            "loc%61lhost",
            "localhost..",
            "a.localhost",
            "a.b.localhost.",
            "localhost.localdomain",
            "ip6-localhost",
            "printer.local",
            "printer.LOCAL.",
            "metadata.google.internal",
            "metadata.google.internal.",
            "metadata",
            "instance-data.ec2.internal",
            "internal",
            "db.intranet",
            "nas.home.arpa",
            "1.0.0.127.in-addr.arpa",
            ".",
            "..",
            "",
            "a..example.com",
        ];
        assert!(spellings.len() >= 40);
        for host in spellings {
            for rest in ["/", ":8443/hook?x=1"] {
                assert!(!may_be_called(&format!("https://{host}{rest}")), "{host}{rest}");
            }
        }
    }

    #[test]
    fn what_is_public_may_be_called() {
        for host in [
            "example.com",
            "example.com.",
            "EXAMPLE.com:8443",
            "localhost.example.com",
            "mylocalhost.dk",
            "notinternal.dk",
            "xn--mller-kva.example",
            "8.8.8.8",
            "134744072",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "[2606:4700:4700::1111]",
            "[2a00:1450:4001:81b::200e]",
            "[64:ff9b::8.8.8.8]",
        ] {
            assert!(may_be_called(&format!("https://{host}/")), "{host}");
        }
        assert!(!may_be_called("http://example.com/"));
        assert!(!may_be_called("ftp://example.com/"));
        assert!(!may_be_called("file:///etc/passwd"));
        assert!(!may_be_called("data:text/plain,x"));
    }
}
