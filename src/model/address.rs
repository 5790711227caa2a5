//! Envelope addresses: `Mailbox`, `ReversePath`, `ForwardPath` (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! An address is parsed once and written again from its parts, so nothing that was not parsed can
//! reach a wire. The local part keeps its spelling, quotes included, because only the receiver may
//! interpret it (RFC 5321 §2.3.11). Headers are another matter: see `mime`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;
/// RFC 5321 §4.5.3.1.2.
const MAX_DOMAIN_BYTES: usize = 255;
/// RFC 5321 §4.5.3.1.3, less the angle brackets.
const MAX_PATH_BYTES: usize = 254;

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("there is no @ with a domain after it")]
    NoDomain,
    #[error("the local part is not a dot-string or a quoted string")]
    LocalPart,
    #[error("the domain is not a host name or an address literal")]
    Domain,
    #[error("it is longer than 254 octets, or its local part is longer than 64")]
    TooLong,
}

/// A host name or an address literal such as `[192.0.2.1]`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// Reads a host name (U-labels allowed, RFC 6531) or a bracketed address literal.
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        // What is kept is what is judged: some letters take more octets in lower case.
        let text = text.to_lowercase();
        if text.len() > MAX_DOMAIN_BYTES {
            return Err(AddressError::TooLong);
        }
        let ok = match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            Some(literal) => is_address_literal(literal),
            None => text.split('.').all(is_label),
        };
        ok.then_some(Domain(text)).ok_or(AddressError::Domain)
    }

    /// The domain in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `local-part@domain`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    local: String,
    domain: Domain,
}

impl Mailbox {
    /// Reads an address without angle brackets.
    pub fn parse(text: &str) -> Result<Mailbox, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoDomain)?;
        if domain.is_empty() {
            return Err(AddressError::NoDomain);
        }
        if text.len() > MAX_PATH_BYTES || local.len() > MAX_LOCAL_BYTES {
            return Err(AddressError::TooLong);
        }
        if !is_dot_string(local) && !is_quoted_string(local) {
            return Err(AddressError::LocalPart);
        }
        let domain = Domain::parse(domain)?;
        if local.len() + 1 + domain.0.len() > MAX_PATH_BYTES {
            return Err(AddressError::TooLong);
        }
        Ok(Mailbox { local: local.to_owned(), domain })
    }

    /// The local part as it was written, with its quotes if it had any.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether it can only travel with SMTPUTF8 (RFC 6531 §3.1).
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii() || !self.domain.0.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// The envelope's return address: where bounces go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: a notification, to which no bounce may ever be sent.
    Null,
    /// `<local@domain>`
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The address, or an empty string for the null reverse-path: what goes between `<` and `>`.
    pub fn parse(text: &str) -> Result<ReversePath, AddressError> {
        if text.is_empty() {
            return Ok(ReversePath::Null);
        }
        Mailbox::parse(text).map(ReversePath::Mailbox)
    }

    /// Whether it can only travel with SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        match self {
            ReversePath::Null => false,
            ReversePath::Mailbox(mailbox) => mailbox.needs_smtputf8(),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => Ok(()),
            ReversePath::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// One address that the message goes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, which every server must take (RFC 5321 §4.1.1.3).
    Postmaster,
    /// `<local@domain>`
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// What stands between `<` and `>`.
    pub fn parse(text: &str) -> Result<ForwardPath, AddressError> {
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(ForwardPath::Postmaster);
        }
        Mailbox::parse(text).map(ForwardPath::Mailbox)
    }

    /// Whether it can only travel with SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        match self {
            ForwardPath::Postmaster => false,
            ForwardPath::Mailbox(mailbox) => mailbox.needs_smtputf8(),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("Postmaster"),
            ForwardPath::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// `sub-domain` of RFC 5321, with U-labels; underscores are taken because real hosts have them.
fn is_label(label: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_utf8_text(c);
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(ok)
}

/// RFC 5321 §4.1.3: an IPv4 address, `IPv6:` and an address, or a tagged general literal.
fn is_address_literal(literal: &str) -> bool {
    if literal.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    match literal.split_once(':') {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("ipv6") => rest.parse::<Ipv6Addr>().is_ok(),
        Some(_) | None => false,
    }
}

fn is_dot_string(local: &str) -> bool {
    local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3, with the non-ASCII characters of RFC 6531 §3.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
}

/// RFC 5321 §4.1.2 `Quoted-string`: printable ASCII and spaces, `\` before any of them.
fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return false;
    };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let printable = |c: char| (' '..='~').contains(&c) || is_utf8_text(c);
        let ok = match c {
            '"' => false,
            '\\' => chars.next().is_some_and(|c| (' '..='~').contains(&c)),
            c => printable(c),
        };
        if !ok {
            return false;
        }
    }
    local.len() >= 2
}

/// Non-ASCII text, without the invisible and control characters that could disguise an address.
fn is_utf8_text(c: char) -> bool {
    let invisible = matches!(c, '\u{80}'..='\u{a0}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}');
    !c.is_ascii() && !c.is_control() && !invisible
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_an_address_is_refused() {
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b c",
            "a>b@c",
            "a@b\r\nRCPT",
            "a..b@c",
            ".a@c",
            "a.@c",
            "a@-b.c",
            "a@b..c",
            "a@.",
            "a@[1.2.3]",
            "a@[IPv6:zz]",
            "\"a@b",
            "\"a\"b\"@c",
            "a\u{0}@b",
            "\"a\\\"@b",
            "a@b>",
            "<a@b>",
            "a\u{202e}@b.c",
            "\"@b.c",
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Mailbox::parse(&format!("{}@b.c", "x".repeat(65))).is_err());
        assert!(Mailbox::parse(&format!("a@{}.c", "x".repeat(250))).is_err());
    }

    #[test]
    fn addresses_are_written_as_they_were_read() {
        for good in [
            "a@b",
            "kim@example.org",
            "kim+tag@sub.example.org",
            "\"a b\"@c.d",
            "\"a>b\"@c.d",
            "\"a\\\"b\"@c.d",
            "kim@[192.0.2.1]",
            "kim@[ipv6:2001:db8::1]",
            "jøran@blåbær.example",
            "a%b@c.d",
            "host_name@under_score.example",
        ] {
            assert_eq!(Mailbox::parse(good).map(|m| m.to_string()).as_deref(), Ok(good));
        }
        assert_eq!(Mailbox::parse("Kim@Example.ORG").unwrap().to_string(), "Kim@example.org");
    }

    #[test]
    fn a_domain_that_grows_in_lower_case_is_judged_by_what_is_kept() {
        let label = "\u{130}".repeat(31);
        assert_eq!(Domain::parse(&label), Err(AddressError::Domain));
        let label = "\u{130}".repeat(20);
        let domain = format!("{label}.{label}.{label}.{label}");
        assert_eq!(
            Mailbox::parse(&format!("{}@{domain}", "x".repeat(60))),
            Err(AddressError::TooLong)
        );
        let fits = Mailbox::parse(&format!("x@{label}")).unwrap().to_string();
        assert_eq!(Mailbox::parse(&fits).unwrap().to_string(), fits);
    }

    #[test]
    fn null_and_postmaster_are_not_mailboxes() {
        assert_eq!(ReversePath::parse(""), Ok(ReversePath::Null));
        assert_eq!(ForwardPath::parse("PostMaster"), Ok(ForwardPath::Postmaster));
        assert!(ForwardPath::parse("").is_err());
        assert!(ReversePath::parse("postmaster").is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_its_brackets(text in "\\PC*|[\\x00-\\x7f]{0,40}@[\\x00-\\x7f]{0,20}") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                let written = mailbox.to_string();
                prop_assert!(!written.contains(['\r', '\n', '\0']));
                prop_assert_eq!(Mailbox::parse(&written).unwrap(), mailbox);
            }
        }
    }
}
