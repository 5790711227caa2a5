//! The `Received` field that this gateway adds (RFC 5321 §4.4).
//!
//! Everything in it is either ours or cleaned here: what a client says in EHLO may be anything, and
//! none of it may end the line, open a comment or start another clause. The field is ASCII, so that
//! adding it never makes a message need 8BITMIME or SMTPUTF8.

use std::net::IpAddr;

use crate::mime::AGENT;
use crate::model::{ForwardPath, MessageId, Timestamp};

/// Where a line of the field is folded (RFC 5322 §2.1.1).
const MAX_COLUMNS: usize = 78;
/// Words of a field that are looked at.
const MAX_WORDS: usize = 200;
/// Longest word that a client's claim may become.
const MAX_WORD_BYTES: usize = 255;

/// How a message came here, from its record.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    pub id: MessageId,
    /// The EHLO name of this gateway.
    pub hostname: &'a str,
    /// What the client said in EHLO or HELO; anything at all.
    pub client_helo: &'a str,
    pub client_address: IpAddr,
    /// `ESMTPSA` and its kin (RFC 3848).
    pub protocol: &'a str,
    /// TLS version and cipher suite.
    pub tls: Option<&'a str>,
    pub accepted_at: Timestamp,
    /// The only recipient of the transaction. With several it must be `None`: naming them would tell
    /// each about the others (RFC 5321 §7.6).
    pub recipient: Option<&'a ForwardPath>,
}

/// Who wrote a field of this form, and the message that it is about. Anybody can write one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    by: &'a str,
    pub id: MessageId,
}

impl<'a> Stamp<'a> {
    /// Reads the value of a `Received` field; `None` if no gateway of this kind wrote it.
    pub fn read(value: &'a str) -> Option<Stamp<'a>> {
        let words: Vec<&str> = value.split_ascii_whitespace().take(MAX_WORDS).collect();
        let agent = format!("({AGENT})");
        let place = words.windows(3).position(|three| three[0] == "by" && three[2] == agent)?;
        let behind = words.get(place + 3..)?;
        let mut ids = behind.windows(2).filter(|two| two[0] == "id");
        let id = ids.find_map(|two| MessageId::parse(two[1].trim_end_matches(';')))?;
        let by = *words.get(place + 1)?;
        Some(Stamp { by, id })
    }

    /// Whether a gateway of this name wrote it.
    pub fn is_by(&self, hostname: &str) -> bool {
        self.by.eq_ignore_ascii_case(&atom(hostname))
    }
}

/// The whole field with its line break.
pub(super) fn field(trace: &Trace<'_>) -> String {
    let literal = address_literal(trace.client_address);
    let mut words = vec![String::from("Received:")];
    if is_host(trace.client_helo) {
        words.extend(["from".into(), trace.client_helo.to_owned(), format!("({literal})")]);
    } else {
        // RFC 5321 §4.1.3: a client whose name is no name is known by its address.
        let claim = comment(trace.client_helo);
        words.extend(["from".into(), literal, format!("(helo={claim})")]);
    }
    words.extend(["by".into(), atom(trace.hostname), format!("({AGENT})")]);
    words.extend(["with".into(), atom(trace.protocol)]);
    if let Some(tls) = trace.tls {
        words.push(format!("({})", comment(tls)));
    }
    words.extend(["id".into(), trace.id.to_string()]);
    let path = trace.recipient.map(ToString::to_string);
    // A name beyond ASCII would make the header section need SMTPUTF8 (RFC 6532 §3.7).
    if let Some(path) = path.filter(|path| path.is_ascii()) {
        words.extend(["for".into(), format!("<{path}>")]);
    }
    if let Some(last) = words.last_mut() {
        last.push(';');
    }
    let date = trace.accepted_at.to_rfc5322();
    words.extend(date.split(' ').map(str::to_owned));
    fold(&words)
}

/// Joins words, with a new line before the one that would pass the last column. A word that is longer
/// than a line stands on its own.
fn fold(words: &[String]) -> String {
    let mut out = String::with_capacity(256);
    let mut column = 0;
    for word in words {
        let first = out.is_empty();
        // A tab counts as one character here; how wide it is shown is the reader's affair.
        if !first && column + 1 + word.len() > MAX_COLUMNS {
            out.push_str("\r\n\t");
            column = 1;
        } else if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push_str("\r\n");
    out
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

/// Whether the client's claim can stand as it is: a host name or an address literal in ASCII.
fn is_host(text: &str) -> bool {
    text.is_ascii() && crate::model::Domain::parse(text).is_ok()
}

/// What stands where one word must stand.
fn atom(text: &str) -> String {
    let kept: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.:[]".contains(*c))
        .take(MAX_WORD_BYTES)
        .collect();
    if kept.is_empty() { String::from("unknown") } else { kept }
}

/// What stands inside a comment (RFC 5322 §3.2.2): printable ASCII without brackets, backslash and
/// what could be taken for the end of a clause.
fn comment(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| if (' '..='~').contains(&c) && !"()\\<>;\"".contains(c) { c } else { '?' })
        .take(MAX_WORD_BYTES)
        .collect();
    if kept.is_empty() { String::from("none") } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_field_is_read_again_and_no_other() {
        let accepted_at = Timestamp::from_millis(1_795_321_671_000);
        let id = MessageId::new(accepted_at, 7);
        let trace = Trace {
            id,
            hostname: "gateway.example.com",
            // Whatever the client calls itself.
            client_helo: "by",
            client_address: "192.0.2.1".parse().unwrap(),
            protocol: "ESMTPS",
            tls: Some("TLSv1.3 id"),
            accepted_at,
            recipient: None,
        };
        let field = field(&trace);
        let value = field.strip_prefix("Received:").unwrap();
        let stamp = Stamp::read(value).unwrap();
        assert_eq!(stamp.id, id);
        assert!(stamp.is_by("Gateway.Example.com") && !stamp.is_by("gateway.example.net"));
        for other in [
            "",
            "by",
            "by gateway.example.com (Waybill)",
            "by gateway.example.com (Waybill) with ESMTP id",
            "by gateway.example.com (Waybill) with ESMTP id 4X7; date",
            &value.replace("(Waybill)", "(Postfix)"),
            &value.replace(&id.to_string(), "4X7"),
        ] {
            assert_eq!(Stamp::read(other), None, "{other}");
        }
    }
}
