//! Reads replies from an upstream that may be broken or hostile (RFC 5321 §4.2).
//!
//! It takes octets and gives [`Reply`] values, one for each command, however they are cut into
//! packets; what comes behind a reply is kept for the next one.
//! Limits: one absolute deadline for each reply, so that dripping octets does not help; a line is
//! kept up to [`MAX_LINE_BYTES`]; a reply has at most [`MAX_LINES`] lines and [`MAX_REPLY_BYTES`].
//! Beyond them the peer does not speak SMTP, and the connection is given up.
//!
//! mail-send's own reader is not used here because it clips enhanced codes at 255 (Exchange says
//! `5.7.509`), loses what follows a reply in the same packet, and has no deadline of its own.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::error::Broken;
use crate::model::{EnhancedCode, Reply};

/// What is kept of a line; RFC 5321 §4.5.3.1.5 allows 512.
const MAX_LINE_BYTES: usize = 2 * 1024;
/// Lines in one reply.
const MAX_LINES: usize = 100;
/// Octets in one reply, whether kept or not.
const MAX_REPLY_BYTES: usize = 64 * 1024;
/// What is read at once.
const READ_BYTES: usize = 4 * 1024;

/// The reading half of a conversation.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    buffer: Vec<u8>,
    /// Where the unread octets of `buffer` begin.
    start: usize,
}

impl ReplyReader {
    /// The next reply, whole, before `patience` is over.
    pub(super) async fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        patience: Duration,
    ) -> Result<Reply, Broken> {
        let deadline = Instant::now() + patience;
        let mut parser = ReplyParser::default();
        loop {
            let (used, reply) = parser.feed(&self.buffer[self.start..])?;
            self.start += used;
            if let Some(reply) = reply {
                return Ok(reply);
            }
            self.buffer.resize(READ_BYTES, 0);
            self.start = READ_BYTES;
            let count = timeout_at(deadline, stream.read(&mut self.buffer))
                .await
                .map_err(|_| Broken::Timeout(patience))??;
            self.buffer.truncate(count);
            self.start = 0;
            if count == 0 {
                return Err(Broken::Closed);
            }
        }
    }

    /// Whether the upstream said something that nobody asked for.
    pub(super) fn has_unread(&self) -> bool {
        self.start < self.buffer.len()
    }
}

/// One reply in the making.
#[derive(Debug, Default)]
struct ReplyParser {
    line: Vec<u8>,
    code: Option<u16>,
    enhanced: Option<EnhancedCode>,
    text: String,
    lines: usize,
    octets: usize,
}

impl ReplyParser {
    /// Takes octets; says how many were used and, when the last line is complete, the reply.
    fn feed(&mut self, octets: &[u8]) -> Result<(usize, Option<Reply>), Broken> {
        let mut used = 0;
        while used < octets.len() {
            let rest = &octets[used..];
            let end = memchr::memchr(b'\n', rest);
            let piece = &rest[..end.unwrap_or(rest.len())];
            used += piece.len() + usize::from(end.is_some());
            self.octets += piece.len() + 1;
            if self.octets > MAX_REPLY_BYTES {
                return Err(Broken::Malformed("a reply without end"));
            }
            let room = MAX_LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if end.is_some() && self.end_line()? {
                return Ok((used, Some(self.reply())));
            }
        }
        Ok((used, None))
    }

    /// Reads the line that is complete now; true when it is the last of its reply.
    fn end_line(&mut self) -> Result<bool, Broken> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let (code, last, text) = split_line(line)?;
        if self.code.is_some_and(|first| first != code) {
            return Err(Broken::Malformed("the lines of a reply bear different codes"));
        }
        self.lines += 1;
        if self.lines > MAX_LINES {
            return Err(Broken::Malformed("a reply of too many lines"));
        }
        let text = String::from_utf8_lossy(text);
        let (enhanced, text) = split_enhanced(code, &text);
        if self.code.replace(code).is_none() {
            self.enhanced = enhanced;
        } else {
            self.text.push('\n');
        }
        self.text.push_str(text);
        Ok(last)
    }

    fn reply(&mut self) -> Reply {
        Reply::new(self.code.unwrap_or_default(), self.enhanced, &self.text)
    }
}

/// `250-text`, `250 text` or `250` into code, whether it is the last line, and text.
fn split_line(line: &[u8]) -> Result<(u16, bool, &[u8]), Broken> {
    let malformed = Broken::Malformed("a line that does not start with a reply code");
    let Some((code, rest)) = line.split_at_checked(3) else { return Err(malformed) };
    if !code.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&code[0]) {
        return Err(malformed);
    }
    let code = code.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        [_, ..] => Err(malformed),
    }
}

/// Takes the enhanced code off the text; its class must be that of the reply (RFC 2034 §4).
fn split_enhanced(code: u16, text: &str) -> (Option<EnhancedCode>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match EnhancedCode::parse(word) {
        Some(enhanced) if u16::from(enhanced.0) == code / 100 => (Some(enhanced), rest),
        Some(_) | None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(octets: &[u8]) -> Result<Option<String>, String> {
        let mut parser = ReplyParser::default();
        let fed = parser.feed(octets).map_err(|broken| broken.to_string())?;
        Ok(fed.1.map(|reply| reply.to_string()))
    }

    #[test]
    fn what_is_not_a_reply_breaks_the_conversation() {
        for bad in [
            &b"\r\n"[..],
            b"25\r\n",
            b"2x0 ok\r\n",
            b"150 soon\r\n",
            b"650 what\r\n",
            b"2500 ok\r\n",
            b"250\tok\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"250-a\r\n550 b\r\n",
            b"250-a\r\n\r\n",
        ] {
            assert!(parse(bad).is_err(), "{:?}", bad.escape_ascii().to_string());
        }
        assert!(parse(&b"250-x\r\n".repeat(MAX_LINES + 1)).is_err());
        assert!(parse(&b"x".repeat(MAX_REPLY_BYTES + 1)).is_err());
    }

    #[test]
    fn replies_are_read_whole() {
        let check = |octets: &[u8], expected: Option<&str>| {
            assert_eq!(parse(octets).unwrap().as_deref(), expected);
        };
        check(b"", None);
        check(b"250 ok", None);
        check(b"250-ok\r\n", None);
        check(b"250 ok\r\n", Some("250 ok"));
        check(b"250 ok\n", Some("250 ok"));
        check(b"354\r\n", Some("354"));
        check(b"250 2.0.0\r\n", Some("250 2.0.0"));
        check(b"550 5.7.509 no\r\n", Some("550 5.7.509 no"));
        check(b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", Some("550 5.1.1 no such user"));
        // A class that contradicts the code is only text.
        check(b"450 5.1.1 odd\r\n", Some("450 5.1.1 odd"));
        check(b"550 \x1b[31mred\x07\xff\r\n", Some("550  [31mred \u{fffd}"));
    }

    #[test]
    fn a_long_line_is_cut_and_its_end_still_found() {
        let mut parser = ReplyParser::default();
        let octets = [b"250 ".as_slice(), &[b'x'; 10_000], b"\r\n220 next\r\n"].concat();
        let (used, reply) = parser.feed(&octets).unwrap();
        assert_eq!(reply.unwrap().code, 250);
        assert_eq!(&octets[used..], b"220 next\r\n");
    }

    #[tokio::test]
    async fn a_dripping_peer_meets_the_deadline() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let drip = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if tokio::io::AsyncWriteExt::write_all(&mut theirs, b"2").await.is_err() {
                    return;
                }
            }
        });
        let patience = Duration::from_millis(60);
        let read = ReplyReader::default().read(&mut ours, patience).await;
        assert!(matches!(read, Err(Broken::Timeout(limit)) if limit == patience));
        drip.abort();
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_cuts_do_not_matter(
            octets in "[2-5][0-9][0-9][ -][\\PC\r\n.0-9-]{0,60}|.{0,80}", cut in 0usize..80
        ) {
            let octets = octets.as_bytes();
            let mut parser = ReplyParser::default();
            let whole = parser.feed(octets);
            let (head, tail) = octets.split_at(cut.min(octets.len()));
            let mut parser = ReplyParser::default();
            let halves = match parser.feed(head) {
                Ok((_, None)) => parser.feed(tail),
                done => done,
            };
            let text = |fed: Result<(usize, Option<Reply>), Broken>| {
                fed.map(|(_, reply)| reply).map_err(|broken| broken.to_string())
            };
            prop_assert_eq!(text(whole), text(halves));
        }
    }
}
