//! Writes a message as the body of DATA: line ends made CRLF, lines that start with a dot given a
//! second one, and the final `.` line (RFC 5321 §2.3.8, §4.1.1.4, §4.5.2).
//!
//! It takes the segments of a message and yields blocks to write; no block is much larger than
//! [`BLOCK_BYTES`], whatever the message is. It cannot fail.
//!
//! Invariants: no CR leaves without its LF, no LF without its CR; a bare one is made a whole line
//! end, so the next server sees the same lines as this one. The only `CRLF . CRLF` is the last five
//! octets (or, for an empty message, the three that follow the CRLF of the DATA command). A message that
//! ends in CRLF gets no second one. Every other octet, NUL and 8-bit included, passes unchanged.
//!
//! The reading side is in the server's DATA decoder; the two share the rule that
//! `decode(encode(x)) == canonical(x)`.

use bytes::Bytes;
use memchr::memchr2;

/// A block is handed out when it has grown to this size: four TLS records.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// What a message written by [`DataEncoder`] ends in.
const TERMINATOR: &[u8] = b".\r\n";

/// Encodes one message. Ask for blocks until there is none.
#[derive(Debug)]
pub struct DataEncoder<'a> {
    segments: std::slice::Iter<'a, Bytes>,
    /// What is left of the segment at hand.
    rest: &'a [u8],
    block: Vec<u8>,
    /// The next octet begins a line, so a dot there is doubled.
    at_line_start: bool,
    /// The last octet was a CR, which was written as CRLF: an LF right after it belongs to it.
    after_cr: bool,
    finished: bool,
}

impl<'a> DataEncoder<'a> {
    /// An encoder over the concatenation of `segments`.
    pub fn new(segments: &'a [Bytes]) -> DataEncoder<'a> {
        DataEncoder {
            segments: segments.iter(),
            rest: &[],
            block: Vec::with_capacity(BLOCK_BYTES + 4),
            at_line_start: true,
            after_cr: false,
            finished: false,
        }
    }

    /// The next block to write, never empty; `None` after the one that ends in the final dot.
    pub fn next_block(&mut self) -> Option<&[u8]> {
        if self.finished {
            return None;
        }
        self.block.clear();
        while self.block.len() < BLOCK_BYTES {
            if self.rest.is_empty() {
                match self.segments.next() {
                    Some(segment) => self.rest = segment,
                    None => {
                        self.finish();
                        break;
                    }
                }
            } else {
                self.take_run();
            }
        }
        Some(&self.block)
    }

    /// Whether the block that was handed out last ends in the final dot.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Moves one run into the block: text up to a line end, or a line end.
    fn take_run(&mut self) {
        if std::mem::take(&mut self.after_cr) && self.rest[0] == b'\n' {
            self.rest = &self.rest[1..];
            return;
        }
        match self.rest[0] {
            ending @ (b'\r' | b'\n') => {
                self.block.extend_from_slice(b"\r\n");
                self.after_cr = ending == b'\r';
                self.at_line_start = true;
                self.rest = &self.rest[1..];
            }
            first => {
                if std::mem::take(&mut self.at_line_start) && first == b'.' {
                    self.block.push(b'.');
                }
                let room = BLOCK_BYTES.saturating_sub(self.block.len()).max(1);
                let window = &self.rest[..room.min(self.rest.len())];
                let end = memchr2(b'\r', b'\n', window).unwrap_or(window.len());
                self.block.extend_from_slice(&self.rest[..end]);
                self.rest = &self.rest[end..];
            }
        }
    }

    fn finish(&mut self) {
        if !self.at_line_start {
            self.block.extend_from_slice(b"\r\n");
        }
        self.block.extend_from_slice(TERMINATOR);
        self.finished = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(segments: &[&[u8]]) -> Vec<u8> {
        let segments: Vec<Bytes> = segments.iter().map(|s| Bytes::copy_from_slice(s)).collect();
        let mut encoder = DataEncoder::new(&segments);
        let mut out = Vec::new();
        while let Some(block) = encoder.next_block() {
            assert!(!block.is_empty() && block.len() <= BLOCK_BYTES + 8, "{}", block.len());
            out.extend_from_slice(block);
        }
        assert!(encoder.is_finished() && encoder.next_block().is_none());
        out
    }

    /// CR, LF and CRLF each become one CRLF; a last line without an end gets one.
    fn canonical(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut i = 0;
        while i < message.len() {
            match (message[i], message.get(i + 1)) {
                (b'\r', Some(b'\n')) => {
                    out.extend_from_slice(b"\r\n");
                    i += 1;
                }
                (b'\r' | b'\n', _) => out.extend_from_slice(b"\r\n"),
                (other, _) => out.push(other),
            }
            i += 1;
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// What a server that only knows CRLF makes of it; `None` when the end comes early or never.
    fn decode(mut wire: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let end = memchr::memmem::find(wire, b"\r\n")?;
            let (line, rest) = wire.split_at(end + 2);
            wire = rest;
            match line {
                b".\r\n" => return wire.is_empty().then_some(out),
                [b'.', stuffed @ ..] => out.extend_from_slice(stuffed),
                plain => out.extend_from_slice(plain),
            }
        }
    }

    fn has_bare_line_end(wire: &[u8]) -> bool {
        (0..wire.len()).any(|i| match wire[i] {
            b'\r' => wire.get(i + 1) != Some(&b'\n'),
            b'\n' => i == 0 || wire[i - 1] != b'\r',
            _ => false,
        })
    }

    #[test]
    fn nothing_smuggles_an_end() {
        let check = |message: &[u8], expected: &[u8]| {
            assert_eq!(encode(&[message]), expected, "{:?}", message.escape_ascii().to_string());
        };
        check(b"a\n.\nMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n");
        check(b"a\r.\rMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n");
        check(b"a\n.\r\nMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n");
        check(b"a\r\n.\r\r\nb", b"a\r\n..\r\n\r\nb\r\n.\r\n");
        check(b"a\r\n\0.\r\nb\r\n", b"a\r\n\0.\r\nb\r\n.\r\n");
        check(b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n");
        check(b"a\r", b"a\r\n.\r\n");
        check(b"a\r\n.", b"a\r\n..\r\n.\r\n");
    }

    #[test]
    fn plain_messages_keep_their_bytes() {
        assert_eq!(encode(&[]), b".\r\n");
        assert_eq!(encode(&[b"", b""]), b".\r\n");
        assert_eq!(encode(&[b"A: b\r\n\r\nx\r\n"]), b"A: b\r\n\r\nx\r\n.\r\n");
        assert_eq!(encode(&[b"x"]), b"x\r\n.\r\n");
        assert_eq!(encode(&[b"..x\r\n"]), b"...x\r\n.\r\n");
        assert_eq!(encode(&[b"x\r", b"\n", b".", b"y\r\n"]), b"x\r\n..y\r\n.\r\n");
        assert_eq!(encode(&["é\r\n".as_bytes()]), "é\r\n.\r\n".as_bytes());
    }

    #[test]
    fn a_large_message_comes_in_blocks() {
        let line = [b".".as_slice(), &[b'x'; 300_000], b"\r\n"].concat();
        let message = line.repeat(3);
        let wire = encode(&[&message]);
        assert_eq!(decode(&wire).as_deref(), Some(&message[..]));
        let dots = b".\r\n".repeat(100_000);
        assert_eq!(decode(&encode(&[&dots])).as_deref(), Some(&dots[..]));
    }

    proptest! {
        #[test]
        fn decoding_gives_the_canonical_message(
            segments in prop::collection::vec(
                prop::collection::vec(prop::sample::select(&b"\r\n.a\0\xff"[..]), 0..12), 0..6)
        ) {
            let slices: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
            let wire = encode(&slices);
            prop_assert!(!has_bare_line_end(&wire));
            prop_assert_eq!(decode(&wire), Some(canonical(&slices.concat())));
        }

        #[test]
        fn any_bytes_survive(message in prop::collection::vec(any::<u8>(), 0..4_000)) {
            let wire = encode(&[&message]);
            prop_assert!(!has_bare_line_end(&wire));
            prop_assert_eq!(decode(&wire), Some(canonical(&message)));
        }
    }
}
