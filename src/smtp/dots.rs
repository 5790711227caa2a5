//! Finds the end of DATA and takes the stuffed dots out (RFC 5321 §4.1.1.4, §4.5.2).
//!
//! Only the five octets CRLF `.` CRLF end a message (the first CRLF may be the one that ended the
//! DATA command). Whatever looks like it, with a CR or LF missing, doubled or replaced, is data.
//! The first dot after CRLF goes when something else follows it on its line; a dot that is alone
//! between CRLF and a bare CR or LF stays, because it is neither the end nor stuffed.
//!
//! Gives the octets in between to [`Content`], which judges line breaks and size.

use memchr::memmem;

use super::content::{BareNewline, Content, Fault};

/// What the last octets were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// CRLF, or nothing yet.
    LineStart,
    /// Neither CRLF nor CR.
    Text,
    /// CR, already given to the content.
    Cr,
    /// CRLF and a dot that was not given on.
    Dot,
    /// CRLF, a dot and a CR; neither of the last two was given on.
    DotCr,
}

/// Decodes one message.
#[derive(Debug)]
pub struct DataDecoder {
    position: Position,
    content: Content,
}

/// What came of some octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// All were taken and the end has not come.
    More,
    /// The message ended; so many octets were taken.
    End { taken: usize },
}

impl DataDecoder {
    /// A decoder for the next message.
    pub fn new(policy: BareNewline, max_bytes: u64) -> DataDecoder {
        DataDecoder {
            position: Position::LineStart,
            content: Content::new(policy, max_bytes, true),
        }
    }

    /// Takes octets up to the end of the message; appends what is to be kept to `kept`.
    pub fn decode(&mut self, input: &[u8], kept: &mut Vec<u8>) -> Decoded {
        let stuffed = memmem::Finder::new(b"\r\n.");
        let mut rest = input;
        while let Some(next) = rest.first() {
            rest = match (self.position, *next) {
                (Position::LineStart, b'.') => self.advance(rest, Position::Dot),
                (Position::Cr, b'\n') => {
                    self.content.push(b"\n", kept);
                    self.advance(rest, Position::LineStart)
                }
                (Position::LineStart | Position::Text, _) => self.text(rest, &stuffed, kept),
                (Position::Cr, b'\r') => {
                    self.content.push(b"\r", kept);
                    &rest[1..]
                }
                (Position::Cr, _) => self.text(rest, &stuffed, kept),
                (Position::Dot, b'\r') => self.advance(rest, Position::DotCr),
                (Position::Dot, b'\n') => self.give_back(rest, b".", Position::Text, kept),
                (Position::Dot, _) => self.text(rest, &stuffed, kept),
                (Position::DotCr, b'\n') => {
                    self.content.finish(kept);
                    return Decoded::End { taken: input.len() - rest.len() + 1 };
                }
                (Position::DotCr, _) => self.give_back(rest, b".\r", Position::Cr, kept),
            };
        }
        Decoded::More
    }

    /// The first thing that was wrong with the message.
    pub fn fault(&self) -> Option<Fault> {
        self.content.fault()
    }

    /// Whether a bare CR or LF was made CRLF.
    pub fn newlines_fixed(&self) -> bool {
        self.content.newlines_fixed()
    }

    fn advance<'a>(&mut self, rest: &'a [u8], position: Position) -> &'a [u8] {
        self.position = position;
        &rest[1..]
    }

    /// Gives on what was held back for an end that did not come.
    fn give_back<'a>(
        &mut self,
        rest: &'a [u8],
        held: &[u8],
        position: Position,
        kept: &mut Vec<u8>,
    ) -> &'a [u8] {
        self.content.push(held, kept);
        self.position = position;
        rest
    }

    /// Gives on everything up to the next dot after CRLF.
    fn text<'a>(
        &mut self,
        rest: &'a [u8],
        stuffed: &memmem::Finder<'_>,
        kept: &mut Vec<u8>,
    ) -> &'a [u8] {
        if let Some(index) = stuffed.find(rest) {
            self.content.push(&rest[..index + 2], kept);
            self.position = Position::Dot;
            return &rest[index + 3..];
        }
        self.content.push(rest, kept);
        self.position = match rest {
            [.., b'\r', b'\n'] => Position::LineStart,
            [.., b'\r'] => Position::Cr,
            _ => Position::Text,
        };
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::DataEncoder;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// The decoded message and what follows its end; `None` when there is no end.
    type Found = Option<(Result<Vec<u8>, Fault>, Vec<u8>)>;

    fn decode(policy: BareNewline, chunks: &[&[u8]]) -> Found {
        let mut decoder = DataDecoder::new(policy, 1 << 20);
        let mut kept = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        for chunk in chunks {
            match &mut after {
                Some(after) => after.extend_from_slice(chunk),
                None => match decoder.decode(chunk, &mut kept) {
                    Decoded::More => {}
                    Decoded::End { taken } => after = Some(chunk[taken..].to_vec()),
                },
            }
        }
        after.map(|after| (decoder.fault().map_or(Ok(kept), Err), after))
    }

    /// Checks an input at every split point, and octet by octet.
    fn check(policy: BareNewline, input: &[u8], expected: Found) {
        for split in 0..=input.len() {
            let (head, tail) = input.split_at(split);
            let found = decode(policy, &[head, tail]);
            assert_eq!(
                found,
                expected,
                "{policy:?} {:?} at {split}",
                input.escape_ascii().to_string()
            );
        }
        let octets: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(policy, &octets), expected, "{:?}", input.escape_ascii().to_string());
    }

    fn is(content: &str, after: &str) -> Found {
        Some((Ok(content.into()), after.into()))
    }

    #[test]
    fn no_look_alike_ends_a_message() {
        let breaks: [&[u8]; 10] = [
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\r\n",
            b"\n\r",
            b"\r\n\0",
            b"\0\r\n",
            b"\r\0\n",
            b"\x0b\r\n",
            b"\x85",
        ];
        let dots: [&[u8]; 3] = [b".", b".\0", b"\0."];
        let mut tried = 0;
        for before in breaks {
            for dot in dots {
                for after in breaks {
                    let look_alike = [before, dot, after].concat();
                    let input = [b"a", &look_alike[..], b"MAIL FROM:<x@y>"].concat();
                    let real = memmem::find(&look_alike, b"\r\n.\r\n").is_some();
                    for policy in [BareNewline::Refuse, BareNewline::Fix] {
                        if real {
                            assert!(decode(policy, &[&input]).is_some());
                        } else {
                            check(policy, &input, None);
                            only_the_real_end_counts(policy, &input);
                        }
                    }
                    tried += usize::from(!real);
                }
            }
        }
        assert!(tried >= 60, "{tried}");
    }

    /// With the real end after it, the look-alike is data: refused, or kept without a bare newline.
    fn only_the_real_end_counts(policy: BareNewline, input: &[u8]) {
        let ended = [input, b"\r\n.\r\nQUIT\r\n"].concat();
        let found = decode(policy, &[&ended]);
        let Some((content, after)) = &found else { panic!("no end: {ended:?}") };
        assert_eq!(after, b"QUIT\r\n");
        match content {
            Ok(content) => {
                let without = memmem::find_iter(content, b"\r\n").count();
                assert_eq!(memchr::memchr_iter(b'\n', content).count(), without);
                assert_eq!(memchr::memchr_iter(b'\r', content).count(), without);
            }
            Err(fault) => assert_eq!((policy, *fault), (BareNewline::Refuse, Fault::BareNewline)),
        }
        check(policy, &ended, found);
    }

    #[test]
    fn the_end_is_found() {
        use BareNewline::{Fix, Refuse};
        for policy in [Refuse, Fix] {
            check(policy, b".\r\n", is("", ""));
            check(policy, b".\r\nQUIT\r\n", is("", "QUIT\r\n"));
            check(policy, b"a\r\n.\r\n.\r\n", is("a\r\n", ".\r\n"));
            check(policy, b"\r\n.\r\n", is("\r\n", ""));
        }
    }

    #[test]
    fn stuffed_dots_go() {
        use BareNewline::{Fix, Refuse};
        for policy in [Refuse, Fix] {
            check(policy, b"..\r\n.\r\n", is(".\r\n", ""));
            check(policy, b"..a\r\n...b\r\nc.\r\n.d\r\n.\r\n", is(".a\r\n..b\r\nc.\r\nd\r\n", ""));
            check(policy, b"..\r\n..\r\n.\r\n", is(".\r\n.\r\n", ""));
        }
        check(Fix, b"a\r\n.\nb\r\n.\r\n", is("a\r\n.\r\nb\r\n", ""));
        check(Fix, b"a\r\n.\rb\r\n.\r\n", is("a\r\n.\r\nb\r\n", ""));
        check(Fix, b"a\n.\nb\r\n.\r\n", is("a\r\n.\r\nb\r\n", ""));
        check(Fix, b"a\r\r\n.\r\n", is("a\r\n", ""));
    }

    /// What the relay's encoder makes of these segments.
    fn encode(segments: &[Bytes]) -> Vec<u8> {
        let mut encoder = DataEncoder::new(segments);
        let mut wire = Vec::new();
        while let Some(block) = encoder.next_block() {
            wire.extend_from_slice(block);
        }
        wire
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["", ".", "..", "a", "\r", "\n", "\r\n", "\0", ".\r\n"]), 0..30),
            cut in any::<prop::sample::Index>(),
        ) {
            let message = pieces.concat();
            let (head, tail) = message.split_at(cut.index(message.len() + 1));
            let segments = [Bytes::from(head.to_owned()), Bytes::from(tail.to_owned())];
            let wire = [&encode(&segments)[..], b"QUIT\r\n"].concat();
            let decoded = decode(BareNewline::Refuse, &[&wire]);
            let mut lines = message.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
            if !lines.is_empty() && !lines.ends_with("\r\n") {
                lines.push_str("\r\n");
            }
            prop_assert_eq!(decoded, is(&lines, "QUIT\r\n"));
        }
    }
}
