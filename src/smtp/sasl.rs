//! The AUTH exchange: PLAIN (RFC 4616) and LOGIN, with and without an initial response (RFC 4954).
//!
//! Takes the AUTH command and the lines after it, gives the next challenge, the credentials, or the
//! reply that ends the exchange. Whether the credentials are right is somebody else's verdict.
//! Nothing here prints or keeps a password outside [`Secret`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::wire::reply;
use crate::model::{Reply, Secret};

/// Longest user name that is looked up.
const MAX_USERNAME_BYTES: usize = 255;

/// What a client claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: Secret,
}

/// What the next line of the exchange will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Plain,
    LoginUsername,
    LoginPassword { username: String },
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A 334 reply goes out, and a line comes back.
    Challenge(Exchange),
    Complete(Credentials),
}

impl Exchange {
    /// The text after `334 `: `Username:` and `Password:` in base64, as every client expects them.
    pub(super) fn challenge(&self) -> &'static str {
        match self {
            Exchange::Plain => "",
            Exchange::LoginUsername => "VXNlcm5hbWU6",
            Exchange::LoginPassword { .. } => "UGFzc3dvcmQ6",
        }
    }

    /// Takes the client's answer to the challenge.
    pub(super) fn answer(self, line: &[u8]) -> Result<Step, Reply> {
        if line == b"*" {
            return Err(reply(501, (5, 7, 0), "Authentication cancelled"));
        }
        let text = decode(line)?;
        match self {
            Exchange::Plain => plain(&text).map(Step::Complete),
            Exchange::LoginUsername => {
                let username = username(&text)?;
                Ok(Step::Challenge(Exchange::LoginPassword { username }))
            }
            Exchange::LoginPassword { username } => {
                Ok(Step::Complete(Credentials { username, password: Secret::new(text) }))
            }
        }
    }
}

/// Begins an exchange; `initial` is the argument behind the mechanism.
pub(super) fn start(mechanism: &str, initial: Option<&str>) -> Result<Step, Reply> {
    let exchange = match mechanism {
        "PLAIN" => Exchange::Plain,
        "LOGIN" => Exchange::LoginUsername,
        _ => return Err(reply(504, (5, 5, 4), "This mechanism is not offered")),
    };
    match initial {
        None => Ok(Step::Challenge(exchange)),
        // RFC 4954 §4: an initial response of no length is written as one `=`.
        Some("=") => exchange.answer(b""),
        Some(initial) => exchange.answer(initial.as_bytes()),
    }
}

fn decode(line: &[u8]) -> Result<String, Reply> {
    let bytes = STANDARD.decode(line).map_err(|_| undecodable())?;
    String::from_utf8(bytes).map_err(|_| undecodable())
}

fn undecodable() -> Reply {
    reply(501, (5, 5, 2), "Cannot decode this response")
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`. Nobody may act for somebody else.
fn plain(text: &str) -> Result<Credentials, Reply> {
    let mut parts = text.split('\0');
    let (Some(authorize), Some(authenticate), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(undecodable());
    };
    if !authorize.is_empty() && authorize != authenticate {
        return Err(reply(535, (5, 7, 8), "Authentication credentials invalid"));
    }
    Ok(Credentials {
        username: username(authenticate)?,
        password: Secret::new(password.to_owned()),
    })
}

/// A user name is stored and logged, so it holds no control characters and is bounded.
fn username(text: &str) -> Result<String, Reply> {
    let ok =
        !text.is_empty() && text.len() <= MAX_USERNAME_BYTES && !text.chars().any(char::is_control);
    ok.then(|| text.to_owned()).ok_or_else(undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(step: Result<Step, Reply>) -> u16 {
        step.map_or_else(|reply| reply.code, |step| panic!("{step:?}"))
    }

    fn credentials(step: Result<Step, Reply>) -> (String, String) {
        match step {
            Ok(Step::Complete(c)) => (c.username, c.password.expose().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn broken_exchanges_end() {
        assert_eq!(code(start("CRAM-MD5", None)), 504);
        assert_eq!(code(start("PLAIN", Some("!"))), 501);
        assert_eq!(code(start("PLAIN", Some("="))), 501);
        assert_eq!(code(start("PLAIN", Some("*"))), 501);
        assert_eq!(code(Exchange::Plain.answer(b"*")), 501);
        for bad in ["", "a", "\0", "\0a", "\0\0b", "\0a\0b\0c", "\0a\nb\0c"] {
            assert_eq!(code(start("PLAIN", Some(&STANDARD.encode(bad)))), 501, "{bad:?}");
        }
        assert_eq!(code(start("PLAIN", Some(&STANDARD.encode("bo\0kim\0pass")))), 535);
        assert_eq!(code(start("LOGIN", Some("="))), 501);
        assert_eq!(code(Exchange::LoginUsername.answer(b"////")), 501);
    }

    #[test]
    fn plain_is_read() {
        let expected = ("kim".to_owned(), "pass".to_owned());
        let initial = STANDARD.encode("\0kim\0pass");
        assert_eq!(credentials(start("PLAIN", Some(&initial))), expected);
        assert_eq!(start("PLAIN", None), Ok(Step::Challenge(Exchange::Plain)));
        assert_eq!(credentials(Exchange::Plain.answer(initial.as_bytes())), expected);
        let same = STANDARD.encode("kim\0kim\0pass");
        assert_eq!(credentials(start("PLAIN", Some(&same))), expected);
    }

    #[test]
    fn login_is_read() {
        let step = start("LOGIN", Some(&STANDARD.encode("kim")));
        let Ok(Step::Challenge(exchange)) = step else { panic!("{step:?}") };
        assert_eq!(exchange.challenge(), STANDARD.encode("Password:"));
        assert_eq!(credentials(exchange.answer(b"cGFzcw==")), ("kim".into(), "pass".into()));
        assert_eq!(Exchange::LoginUsername.challenge(), STANDARD.encode("Username:"));
    }
}
