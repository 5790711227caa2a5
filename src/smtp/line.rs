//! Cuts command lines out of the stream of octets (RFC 5321 §2.3.8, §4.5.3.1.4).
//!
//! Takes octets as they come, gives one [`Framed`] after the other; how the stream is split makes no
//! difference. Only CRLF ends a line that may be executed. A piece that ends in a bare LF is told of
//! at once, so that a client which never sends CR is not left waiting, but neither it nor anything
//! up to the next CRLF is ever a command. What is too long is skipped in bounded memory.

use memchr::memchr;

/// Longest line that is kept, without its CRLF (RFC 4954 §4.3 for AUTH; commands get less).
pub(super) const MAX_AUTH_LINE_BYTES: usize = 12_288;
/// Longest command line: 512 octets and room for every extension's parameters (RFC 5321 §4.1.1.11).
pub(super) const MAX_COMMAND_LINE_BYTES: usize = 2_048;
/// So many octets without CRLF and the peer does not speak SMTP.
const MAX_ENDLESS_BYTES: usize = 65_536;

/// What the stream held next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// A line that ended in CRLF and holds no NUL, CR or LF, without its CRLF.
    Line(Vec<u8>),
    /// A line with a NUL or a bare CR in it, or a piece that ended in, or came after, a bare LF.
    Malformed,
    /// A line longer than [`MAX_AUTH_LINE_BYTES`]; it has been skipped.
    TooLong,
    /// 64 KiB without CRLF.
    Endless,
}

/// Holds the beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct LineFramer {
    kept: Vec<u8>,
    /// Octets since the last CRLF, kept or not.
    length: usize,
    /// The last octet was CR, and is not in `kept`.
    after_cr: bool,
    too_long: bool,
    malformed: bool,
}

impl LineFramer {
    /// Takes octets up to the end of the next line. Gives how many were taken, and the line if its
    /// end was among them; call again with the rest.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, Option<Framed>) {
        let line_feed = memchr(b'\n', input);
        let piece = &input[..line_feed.unwrap_or(input.len())];
        self.keep(piece);
        if self.length > MAX_ENDLESS_BYTES {
            *self = LineFramer::default();
            return (input.len(), Some(Framed::Endless));
        }
        match line_feed {
            Some(index) => (index + 1, Some(self.end_piece())),
            None => (input.len(), None),
        }
    }

    /// Whether the beginning of a line has come and its end has not.
    pub(super) fn is_inside_line(&self) -> bool {
        self.length > 0
    }

    fn keep(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.length = self.length.saturating_add(piece.len());
        // A CR that was held back turned out not to be followed by LF.
        self.malformed |= self.after_cr;
        self.after_cr = piece.last() == Some(&b'\r');
        let text = piece.strip_suffix(b"\r").unwrap_or(piece);
        self.malformed |= text.iter().any(|byte| matches!(byte, b'\r' | 0));
        self.too_long |= self.kept.len() + text.len() > MAX_AUTH_LINE_BYTES;
        if !self.too_long && !self.malformed {
            self.kept.extend_from_slice(text);
        }
    }

    fn end_piece(&mut self) -> Framed {
        let line = std::mem::take(self);
        if !line.after_cr {
            // The rest, up to the next CRLF, must not become a command.
            self.malformed = true;
            self.length = line.length.saturating_add(1);
        }
        match (line.after_cr && !line.malformed, line.too_long) {
            (false, _) => Framed::Malformed,
            (true, true) => Framed::TooLong,
            (true, false) => Framed::Line(line.kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(chunks: &[&[u8]]) -> Vec<Framed> {
        let mut framer = LineFramer::default();
        let mut found = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while !rest.is_empty() {
                let (taken, framed) = framer.take(rest);
                found.extend(framed);
                rest = &rest[taken..];
            }
        }
        found
    }

    fn check(input: &[u8], expected: &[Framed]) {
        assert_eq!(frames(&[input]), expected, "{input:?}");
        for split in 0..input.len().min(100) {
            let (head, tail) = input.split_at(split);
            assert_eq!(frames(&[head, tail]), expected, "{input:?} split at {split}");
        }
    }

    fn line(text: &str) -> Framed {
        Framed::Line(text.into())
    }

    #[test]
    fn nothing_but_crlf_ends_a_command() {
        use Framed::Malformed;
        check(b"NOOP\n", &[Malformed]);
        check(b"NOOP\nRSET\r\nQUIT\r\n", &[Malformed, Malformed, line("QUIT")]);
        check(b"NOOP\n\nQUIT\n", &[Malformed, Malformed, Malformed]);
        check(b"NOOP\rRSET\r\nQUIT\r\n", &[Malformed, line("QUIT")]);
        check(b"NOOP\r\rRSET\r\n", &[Malformed]);
        check(b"NOOP\r\r\nRSET\r\n", &[Malformed, line("RSET")]);
        check(b"NO\0OP\r\nRSET\r\n", &[Malformed, line("RSET")]);
        check(b"\n\r\nRSET\r\n", &[Malformed, Malformed, line("RSET")]);
        check(b"NOOP\r", &[]);
        check(b"\r\n\r\n", &[line(""), line("")]);
    }

    #[test]
    fn long_lines_are_skipped_in_bounded_memory() {
        let long = |count: usize| [&vec![b'x'; count][..], b"\r\nNOOP\r\n"].concat();
        check(&long(MAX_AUTH_LINE_BYTES + 1), &[Framed::TooLong, line("NOOP")]);
        let longest = &frames(&[&long(MAX_AUTH_LINE_BYTES)])[0];
        assert!(matches!(longest, Framed::Line(text) if text.len() == MAX_AUTH_LINE_BYTES));
        assert_eq!(frames(&[&[b'x'; 65_537]]), [Framed::Endless]);
        let mut framer = LineFramer::default();
        for _ in 0..60 {
            assert_eq!(framer.take(&[b'x'; 1_000]), (1_000, None));
        }
        assert!(framer.kept.capacity() <= 2 * MAX_AUTH_LINE_BYTES);
    }
}
