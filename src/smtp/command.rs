//! One command line as a value (RFC 5321 §4.1.1).
//!
//! Takes a line without its CRLF that holds no CR, LF or NUL; gives a [`Command`] or the reply that
//! refuses it. Verbs are read without regard to case and trailing white space is taken (§4.1.1);
//! every other control character and everything that is not UTF-8 is refused, so that what was
//! parsed here can be logged and stored.

use super::parameter::{self, MailParameters, RcptParameters};
use super::path;
use super::wire::reply;
use crate::model::{ForwardPath, Reply, ReversePath};

/// Longest name from EHLO or HELO that is kept (RFC 5321 §4.5.3.1.2).
const MAX_HELLO_BYTES: usize = 255;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// HELO with the name that the client gave itself, made harmless.
    Helo(String),
    /// EHLO, likewise.
    Ehlo(String),
    Mail(Mail),
    Rcpt(Rcpt),
    Data,
    /// A chunk of so many octets follows (RFC 3030 §2).
    Bdat {
        size_bytes: u64,
        last: bool,
    },
    /// BDAT with a size that does not fit into 64 bits: nobody can stay in step after it.
    BdatBeyondMeasure,
    Rset,
    Noop,
    Help,
    Vrfy,
    Expn,
    Quit,
    StartTls,
    /// AUTH with the mechanism in upper case and the initial response, still encoded (RFC 4954 §4).
    Auth {
        mechanism: String,
        initial: Option<String>,
    },
    /// The first line of an HTTP request: a web page tries to speak SMTP to us through a browser.
    Http,
}

/// `MAIL FROM:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) path: ReversePath,
    pub(super) parameters: MailParameters,
}

/// `RCPT TO:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rcpt {
    pub(super) path: ForwardPath,
    pub(super) parameters: RcptParameters,
}

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> Result<Command, Reply> {
    let line = std::str::from_utf8(line).map_err(|_| unreadable())?;
    let line = line.trim_end_matches([' ', '\t']);
    if line.chars().any(char::is_control) {
        return Err(unreadable());
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => hello(rest).map(Command::Helo),
        "EHLO" => hello(rest).map(Command::Ehlo),
        "MAIL" => mail(rest).map(Command::Mail),
        "RCPT" => rcpt(rest).map(Command::Rcpt),
        "DATA" => alone(rest, Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => alone(rest, Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" => Ok(Command::Expn),
        "QUIT" => alone(rest, Command::Quit),
        "STARTTLS" => alone(rest, Command::StartTls),
        "AUTH" => auth(rest),
        "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" | "DELETE" | "PATCH" => {
            Ok(Command::Http)
        }
        _ => Err(reply(500, (5, 5, 1), "Command not recognized")),
    }
}

/// Whether a line may be as long as an AUTH exchange allows (RFC 4954 §4.3).
pub(super) fn is_auth(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "))
}

fn unreadable() -> Reply {
    reply(500, (5, 5, 2), "Syntax error: the line holds a character that no command may")
}

fn syntax(usage: &str) -> Reply {
    reply(501, (5, 5, 4), &format!("Syntax: {usage}"))
}

fn alone(rest: &str, command: Command) -> Result<Command, Reply> {
    match rest.is_empty() {
        true => Ok(command),
        false => Err(reply(501, (5, 5, 4), "This command takes no argument")),
    }
}

/// The name is text of a stranger that ends up in `Received`, where a parenthesis or a bracket
/// would mean something: whatever is not part of a host name or an address literal becomes `?`.
fn hello(rest: &str) -> Result<String, Reply> {
    let name = rest.trim_matches(' ');
    if name.is_empty() {
        return Err(reply(501, (5, 5, 4), "Syntax: EHLO or HELO and the name of your host"));
    }
    let keep = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let clean = name.chars().map(|c| if keep(c) { c } else { '?' });
    Ok(clean.take(MAX_HELLO_BYTES).collect())
}

fn mail(rest: &str) -> Result<Mail, Reply> {
    let after = keyword(rest, "FROM:").ok_or_else(|| syntax("MAIL FROM:<address>"))?;
    let path = path::split(after).ok_or_else(|| syntax("MAIL FROM:<address>"))?;
    let parameters = parameter::mail(path.rest)?;
    let bad = |error| reply(501, (5, 1, 7), &format!("Bad sender address: {error}"));
    Ok(Mail { path: ReversePath::parse(path.address).map_err(bad)?, parameters })
}

fn rcpt(rest: &str) -> Result<Rcpt, Reply> {
    let after = keyword(rest, "TO:").ok_or_else(|| syntax("RCPT TO:<address>"))?;
    let path = path::split(after).ok_or_else(|| syntax("RCPT TO:<address>"))?;
    let parameters = parameter::rcpt(path.rest)?;
    let bad = |error| reply(501, (5, 1, 3), &format!("Bad recipient address: {error}"));
    Ok(Rcpt { path: ForwardPath::parse(path.address).map_err(bad)?, parameters })
}

/// What follows `keyword`, which is compared without case.
fn keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let head = text.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| &text[keyword.len()..])
}

/// RFC 3030 §2: `BDAT chunk-size [LAST]`.
fn bdat(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let size = words.next().unwrap_or_default();
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(syntax("BDAT size [LAST]")),
    };
    let digits = !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
    if !digits || words.next().is_some() {
        return Err(syntax("BDAT size [LAST]"));
    }
    match size.parse() {
        Ok(size_bytes) => Ok(Command::Bdat { size_bytes, last }),
        Err(_) => Ok(Command::BdatBeyondMeasure),
    }
}

fn auth(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Command::Auth {
            mechanism: mechanism.to_ascii_uppercase(),
            initial: initial.map(str::to_owned),
        }),
        (None, _, _) | (_, _, Some(_)) => Err(syntax("AUTH mechanism [initial-response]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_command_is_refused() {
        let check = |line: &str, code: u16| {
            assert_eq!(parse(line.as_bytes()).map_err(|reply| reply.code), Err(code), "{line:?}");
        };
        for line in [
            "",
            " NOOP",
            "FOO",
            "MAILFROM:<a@b>",
            "ETRN x",
            "XCLIENT ADDR=1",
            "\u{1}",
            "RSET\u{b}x",
            "NOOP\t\u{1b}",
        ] {
            check(line, 500);
        }
        for line in [
            "EHLO",
            "HELO ",
            "MAIL",
            "MAIL <a@b>",
            "MAIL FROM",
            "MAIL FROM:",
            "MAIL FROM:a@b",
            "MAIL FROM:<a@b>x",
            "MAIL FROM :<a@b>",
            "MAIL  FROM:<a@b>",
            "MAIL FROM:  <a@b>",
            "RCPT TO:<>",
            "RCPT TO:a@b",
            "RCPT TO:<a@b",
            "RCPT TO:<a@b>, <c@d>",
            "RCPT FROM:<a@b>",
            "RCPT TO:<a b@c>",
            "DATA x",
            "RSET x",
            "QUIT x",
            "STARTTLS x",
            "BDAT",
            "BDAT x",
            "BDAT -1",
            "BDAT +1",
            "BDAT 0x1",
            "BDAT 1 2",
            "BDAT 1 LAST x",
            "BDAT LAST",
            "AUTH",
            "AUTH PLAIN a b",
        ] {
            check(line, 501);
        }
        assert!(parse(b"NOOP \xff").is_err());
    }

    #[test]
    fn commands_are_read_without_case() {
        let check = |line: &str, expected: Command| {
            assert_eq!(parse(line.as_bytes()), Ok(expected), "{line}")
        };
        check("noop anything  ", Command::Noop);
        check("Bdat 18446744073709551615 last", Command::Bdat { size_bytes: u64::MAX, last: true });
        check("BDAT 18446744073709551616", Command::BdatBeyondMeasure);
        check("BDAT 00", Command::Bdat { size_bytes: 0, last: false });
        check(
            "auth plain AGE=",
            Command::Auth { mechanism: "PLAIN".into(), initial: Some("AGE=".into()) },
        );
        check("GET / HTTP/1.1", Command::Http);
        check("EHLO a b(c)\u{e9}", Command::Ehlo("a?b?c??".into()));
        let mail = Mail { path: ReversePath::Null, parameters: MailParameters::default() };
        check("mail from: <>", Command::Mail(mail));
        let rcpt = Rcpt { path: ForwardPath::Postmaster, parameters: RcptParameters::default() };
        check("rcpt to:<postmaster>", Command::Rcpt(rcpt));
    }
}
