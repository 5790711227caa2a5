//! What a message may hold: its size, its lines, its line breaks (RFC 5321 §2.3.8, §4.5.3.1).
//!
//! Takes the octets of a message as DATA (after `dots`) or BDAT carried them, appends to the
//! caller's buffer what is to be kept, and remembers the first fault. After a fault nothing more is
//! kept, but the octets are still taken, so that the session stays in step. How the stream is split
//! makes no difference.
//!
//! A CR or LF alone is what message smuggling is made of: another server may read it as the end of a
//! line, or of the message. Under [`BareNewline::Refuse`] it is a fault; under [`BareNewline::Fix`]
//! it becomes CRLF, so that in either case nothing that is kept holds one. A line that holds nothing
//! but a dot may come out of that; it is data, and the relay's encoder stuffs it.

use memchr::memchr2;

/// Longest line of a message: no mail program writes such a line, and readers choke on it.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What a CR or LF alone inside a message leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// 550 5.6.0, after the real end of the message.
    Refuse,
    /// It is made CRLF; `<LF>.<LF>` still never ends the message.
    Fix,
}

/// Why a message can not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    TooBig,
    BareNewline,
    LineTooLong,
}

/// What came last and waits for the next octet to decide what it is.
#[derive(Clone, Copy, Debug)]
enum Held {
    Nothing,
    /// So many CRs, not kept yet.
    Crs(u64),
    /// A line break that was made out of a bare one; it is kept.
    FixedBreak,
    /// A dot after such a line break, not kept yet.
    Dot,
}

/// Judges one message.
#[derive(Debug)]
pub struct Content {
    policy: BareNewline,
    max_bytes: u64,
    size_bytes: u64,
    line_bytes: usize,
    held: Held,
    /// Dots are stuffed in this transport (DATA), so a client doubles them after its own kind of
    /// line break as well.
    stuffed: bool,
    fixed: bool,
    fault: Option<Fault>,
}

impl Content {
    /// For a message that came by DATA (`stuffed`) or by BDAT.
    pub fn new(policy: BareNewline, max_bytes: u64, stuffed: bool) -> Content {
        Content {
            policy,
            max_bytes,
            size_bytes: 0,
            line_bytes: 0,
            held: Held::Nothing,
            stuffed,
            fixed: false,
            fault: None,
        }
    }

    /// Takes the next octets; appends to `kept`.
    pub fn push(&mut self, input: &[u8], kept: &mut Vec<u8>) {
        let mut rest = input;
        while !rest.is_empty() && self.fault.is_none() {
            rest = match std::mem::replace(&mut self.held, Held::Nothing) {
                Held::Nothing => self.run(rest, kept),
                Held::Crs(count) => self.resolve_crs(count, rest, kept),
                Held::FixedBreak => self.after_fixed_break(rest),
                Held::Dot => self.resolve_dot(rest, kept),
            };
        }
    }

    /// There is nothing after this: a CR that was held back is a bare one.
    pub fn finish(&mut self, kept: &mut Vec<u8>) {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing | Held::FixedBreak => {}
            Held::Crs(count) => self.bare_breaks(count, kept),
            Held::Dot => self.keep(b".", kept),
        }
    }

    /// The first thing that was wrong.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether a bare CR or LF was made CRLF.
    pub fn newlines_fixed(&self) -> bool {
        self.fixed
    }

    /// Keeps everything up to the next CR or LF that is not part of a CRLF; gives what is left.
    fn run<'a>(&mut self, input: &'a [u8], kept: &mut Vec<u8>) -> &'a [u8] {
        let mut end = 0;
        loop {
            let found = memchr2(b'\r', b'\n', &input[end..]);
            let line_end = found.map_or(input.len(), |index| end + index);
            self.line_bytes += line_end - end;
            if self.line_bytes > MAX_LINE_BYTES {
                self.fail(Fault::LineTooLong);
                return &[];
            }
            if input.get(line_end..line_end + 2) != Some(b"\r\n") {
                return self.end_run(input, line_end, kept);
            }
            self.line_bytes = 0;
            end = line_end + 2;
        }
    }

    /// Keeps `input[..end]`, which ends at a CR, an LF or the end of the input.
    fn end_run<'a>(&mut self, input: &'a [u8], end: usize, kept: &mut Vec<u8>) -> &'a [u8] {
        self.keep(&input[..end], kept);
        match input.get(end) {
            Some(b'\r') => self.held = Held::Crs(1),
            Some(_) => self.bare_breaks(1, kept),
            None => return &[],
        }
        &input[end + 1..]
    }

    /// `held` CRs came before `input`. CRLF is a line break; several CRs and an LF are one bare
    /// line break, because they are what a double conversion makes of CRLF; anything else makes
    /// each of the CRs a bare line break.
    fn resolve_crs<'a>(&mut self, held: u64, input: &'a [u8], kept: &mut Vec<u8>) -> &'a [u8] {
        let more = input.iter().take_while(|byte| **byte == b'\r').count();
        let crs = held.saturating_add(more as u64);
        match (input.get(more), crs) {
            (None, _) => {
                self.held = Held::Crs(crs);
                // However many there are, they must not be free.
                if crs > self.max_bytes {
                    self.fail(Fault::TooBig);
                }
                &[]
            }
            (Some(b'\n'), 1) => {
                self.keep(b"\r\n", kept);
                self.line_bytes = 0;
                &input[more + 1..]
            }
            (Some(b'\n'), _) => {
                self.bare_breaks(1, kept);
                &input[more + 1..]
            }
            (Some(_), _) => {
                self.bare_breaks(crs, kept);
                &input[more..]
            }
        }
    }

    fn bare_breaks(&mut self, count: u64, kept: &mut Vec<u8>) {
        if self.policy == BareNewline::Refuse {
            return self.fail(Fault::BareNewline);
        }
        for _ in 0..count {
            if self.fault.is_some() {
                return;
            }
            self.keep(b"\r\n", kept);
        }
        self.line_bytes = 0;
        self.fixed = true;
        if self.stuffed {
            self.held = Held::FixedBreak;
        }
    }

    fn after_fixed_break<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        match input.strip_prefix(b".") {
            Some(rest) => {
                self.held = Held::Dot;
                rest
            }
            None => input,
        }
    }

    /// A client that stuffs dots after its bare line breaks always writes two, so the first of two
    /// goes; a client that does not stuff keeps its single dot.
    fn resolve_dot<'a>(&mut self, input: &'a [u8], kept: &mut Vec<u8>) -> &'a [u8] {
        if input.first() != Some(&b'.') {
            self.keep(b".", kept);
            self.line_bytes += 1;
        }
        input
    }

    fn keep(&mut self, bytes: &[u8], kept: &mut Vec<u8>) {
        self.size_bytes = self.size_bytes.saturating_add(bytes.len() as u64);
        match self.size_bytes > self.max_bytes {
            true => self.fail(Fault::TooBig),
            false => kept.extend_from_slice(bytes),
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BareNewline::{Fix, Refuse};

    fn judge(policy: BareNewline, stuffed: bool, chunks: &[&[u8]]) -> Result<String, Fault> {
        let mut content = Content::new(policy, 1_000, stuffed);
        let mut kept = Vec::new();
        for chunk in chunks {
            content.push(chunk, &mut kept);
        }
        content.finish(&mut kept);
        content.fault().map_or(Ok(String::from_utf8(kept).unwrap()), Err)
    }

    fn check(policy: BareNewline, stuffed: bool, input: &str, expected: Result<&str, Fault>) {
        for split in 0..=input.len() {
            let (head, tail) = input.as_bytes().split_at(split);
            let found = judge(policy, stuffed, &[head, tail]);
            assert_eq!(found.as_deref().map_err(|f| *f), expected, "{input:?} split at {split}");
        }
        let octets: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        let found = judge(policy, stuffed, &octets);
        assert_eq!(found.as_deref().map_err(|f| *f), expected, "{input:?} octet by octet");
    }

    #[test]
    fn a_bare_newline_is_refused() {
        for bad in ["\r", "\n", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "a\r\n\n", "\r\n\r", "\n\r\n"] {
            check(Refuse, true, bad, Err(Fault::BareNewline));
            check(Refuse, false, bad, Err(Fault::BareNewline));
        }
        check(Refuse, true, "a\r\n\r\n..b\r\n", Ok("a\r\n\r\n..b\r\n"));
    }

    #[test]
    fn a_bare_newline_is_fixed() {
        check(Fix, true, "a\nb\rc\r\n", Ok("a\r\nb\r\nc\r\n"));
        check(Fix, true, "a\r\r\nb\r\r\r\n", Ok("a\r\nb\r\n"));
        check(Fix, true, "a\r\rb", Ok("a\r\n\r\nb"));
        check(Fix, true, "a\n\nb\r", Ok("a\r\n\r\nb\r\n"));
        check(Fix, false, "a\n..b\n.\n", Ok("a\r\n..b\r\n.\r\n"));
    }

    #[test]
    fn dots_after_a_fixed_line_break_stay_data() {
        check(Fix, true, "a\n.\nb\r\n", Ok("a\r\n.\r\nb\r\n"));
        check(Fix, true, "a\n.\r\nb\r\n", Ok("a\r\n.\r\nb\r\n"));
        check(Fix, true, "a\n.b\r..c\r\n..d\r\n", Ok("a\r\n.b\r\n.c\r\n..d\r\n"));
        check(Fix, true, "a\n...\n.", Ok("a\r\n..\r\n."));
    }

    #[test]
    fn sizes_and_lines_have_limits() {
        let long = "x".repeat(1_000);
        check(Refuse, true, &long, Ok(&long));
        check(Refuse, true, &format!("{long}x"), Err(Fault::TooBig));
        check(Fix, true, &"\n".repeat(501), Err(Fault::TooBig));
        check(Fix, true, &"\r".repeat(2_000), Err(Fault::TooBig));
        let mut content = Content::new(Refuse, u64::MAX, true);
        let mut kept = Vec::new();
        for _ in 0..17 {
            content.push(&[b'x'; 1 << 16], &mut kept);
        }
        assert_eq!(content.fault(), Some(Fault::LineTooLong));
    }
}
