//! How often a message has travelled already: its `Received` fields (RFC 5321 §6.3).
//!
//! A gateway that relays to itself, or to a server that relays back, would pass a message on for
//! ever. Mail may rightly pass the same gateway twice, for instance out to a mailing list of its own
//! company and back, so one earlier visit is no loop.

use super::field;

/// What our own `Received` fields say in a comment after `by <hostname>`.
pub const AGENT: &str = "Waybill";
/// More `Received` fields than this are a loop; RFC 5321 §6.3 asks for a limit of at least 100 only
/// where nothing better is known, and other gateways use 25 to 50.
const MAX_HOPS: usize = 50;
/// More visits of this gateway than this are a loop.
const MAX_OWN_HOPS: usize = 5;

/// The hops that a message has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hops {
    /// All `Received` fields.
    pub total: usize,
    /// Those that this gateway wrote.
    pub own: usize,
}

impl Hops {
    /// Whether the message must be refused with `554 5.4.6`.
    pub fn is_loop(self) -> bool {
        self.total > MAX_HOPS || self.own > MAX_OWN_HOPS
    }
}

/// Counts the hops of a message that arrives at the gateway with this EHLO name.
pub fn hops(raw: &[u8], hostname: &str) -> Hops {
    let mut hops = Hops::default();
    for field in field::fields(raw).filter(|f| f.is("Received")) {
        hops.total += 1;
        hops.own += usize::from(is_own(&String::from_utf8_lossy(&field.unfolded()), hostname));
    }
    hops
}

/// Whether a `Received` field says `by <hostname> (Waybill)`.
fn is_own(received: &str, hostname: &str) -> bool {
    let words: Vec<&str> = received.split_ascii_whitespace().collect();
    words.windows(3).any(|w| {
        w[0].eq_ignore_ascii_case("by")
            && w[1].eq_ignore_ascii_case(hostname)
            && w[2].trim_end_matches(';') == format!("({AGENT})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_hops_are_not_our_own() {
        let raw = b"Received: from a by gw.example (Postfix) with SMTP; date\r\n\
            Received: from a by other.example (Waybill); date\r\n\
            Received: from gw.example (Waybill) by other.example; date\r\n\
            received: from b\r\n\tby GW.example\r\n\t(Waybill) with ESMTP id 1; date\r\n\r\n\
            Received: from a by gw.example (Waybill); date\r\n";
        let found = hops(raw, "gw.example");
        assert_eq!(found, Hops { total: 4, own: 1 });
        assert!(!found.is_loop());
    }

    #[test]
    fn too_many_hops_are_a_loop() {
        let loops = |field: &str, times| hops(field.repeat(times).as_bytes(), "gw").is_loop();
        assert!(!loops("Received: by a; d\r\n", 50));
        assert!(loops("Received: by a; d\r\n", 51));
        assert!(!loops("Received: by gw (Waybill); d\r\n", 5));
        assert!(loops("Received: by gw (Waybill); d\r\n", 6));
    }
}
