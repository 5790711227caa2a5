//! An SMTP client that shows every reply, for tests that must know what was acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// One reply, its lines joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub text: String,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.code / 100 == 2
    }

    /// The id in `250 2.0.0 Ok: queued as ID`.
    pub fn id(&self) -> Option<&str> {
        self.text.split("queued as ").nth(1).map(str::trim).filter(|_| self.code == 250)
    }
}

/// A connection after EHLO.
pub struct Submitter {
    socket: TcpStream,
    replies: BufReader<TcpStream>,
}

/// A server that is silent for so long has failed the test.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

impl Submitter {
    pub fn connect(port: u16) -> std::io::Result<Submitter> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(REPLY_LIMIT))?;
        socket.set_write_timeout(Some(REPLY_LIMIT))?;
        socket.set_nodelay(true)?;
        let replies = BufReader::new(socket.try_clone()?);
        let mut submitter = Submitter { socket, replies };
        let greeting = submitter.answer()?;
        if greeting.code != 220 {
            return Err(std::io::Error::other(format!("{greeting:?}")));
        }
        submitter.command("EHLO client.example.com")?;
        Ok(submitter)
    }

    /// One transaction; the first reply that refuses it, or the reply to the final dot. RSET makes the connection
    /// ready for the next one after a refusal.
    pub fn submit(
        &mut self,
        from: &str,
        recipients: &[&str],
        message: &[u8],
    ) -> std::io::Result<Answer> {
        let body = if message.is_ascii() { "" } else { " BODY=8BITMIME" };
        let mut commands = vec![format!("MAIL FROM:<{from}>{body}")];
        commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
        commands.push("DATA".to_owned());
        for command in &commands {
            let answer = self.command(command)?;
            if answer.code >= 400 {
                self.command("RSET")?;
                return Ok(answer);
            }
        }
        self.socket.write_all(&stuffed(message))?;
        self.answer()
    }

    /// One line, and the reply to it.
    pub fn command(&mut self, line: &str) -> std::io::Result<Answer> {
        self.socket.write_all(format!("{line}\r\n").as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.replies.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.ok_or_else(|| std::io::Error::other(format!("no reply: {line}")))?;
            text.push_str(line.get(4..).unwrap_or_default().trim_end());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Answer { code, text });
            }
            text.push('\n');
        }
    }
}

/// As it goes over the wire: dots doubled at line starts, a line end at the end, and the final dot.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|b| *b == b'\n') {
        let at_line_start = out.is_empty() || out.ends_with(b"\r\n");
        if at_line_start && line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[test]
fn dots_are_doubled() {
    let check = |message: &str, wire: &str| {
        assert_eq!(String::from_utf8(stuffed(message.as_bytes())).unwrap(), wire, "{message:?}");
    };
    check("", ".\r\n");
    check("a", "a\r\n.\r\n");
    check(".\r\n..a\r\n", "..\r\n...a\r\n.\r\n");
}
