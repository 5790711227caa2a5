//! Reads a password: from the terminal, twice and unseen, or from stdin.

use std::io::{IsTerminal, Read};

use super::Failure;
use crate::model::Secret;

/// More is a file that was given by mistake.
const MAX_PASSWORD_CHARS: usize = 1_024;
const MAX_PASSWORD_BYTES: u64 = 4 * MAX_PASSWORD_CHARS as u64;

/// Asks at the terminal, twice, or reads all of stdin less one line break at its end.
pub(super) fn read_password(from_stdin: bool) -> Result<Secret, Failure> {
    if from_stdin {
        return read_from(std::io::stdin().lock());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(String::from(
            "there is no terminal to ask for the password; give it with --password-stdin",
        )));
    }
    let ask = |prompt: &str| {
        let answer = rpassword::prompt_password(prompt);
        answer.map_err(|error| Failure::Failed(format!("the password can not be read: {error}")))
    };
    let password = Secret::new(ask("Password: ")?);
    let again = Secret::new(ask("Again: ")?);
    if password != again {
        return Err(Failure::Failed(String::from("the two passwords differ")));
    }
    check(password)
}

fn read_from(input: impl Read) -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = input.take(MAX_PASSWORD_BYTES + 2).read_to_string(&mut text);
    let mut password = zeroize::Zeroizing::new(text);
    read.map_err(|error| Failure::Failed(format!("the password can not be read: {error}")))?;
    if password.ends_with('\n') {
        password.pop();
        if password.ends_with('\r') {
            password.pop();
        }
    }
    check(Secret::new(password.as_str().to_owned()))
}

fn check(password: Secret) -> Result<Secret, Failure> {
    let text = password.expose();
    let wrong = match text {
        "" => "the password is empty",
        _ if text.chars().count() > MAX_PASSWORD_CHARS => {
            "the password is longer than 1024 characters"
        }
        _ if text.chars().any(char::is_control) => "the password holds a control character",
        _ => return Ok(password),
    };
    Err(Failure::Failed(wrong.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_is_taken_off() {
        let read = |bytes: &[u8]| read_from(bytes).ok().map(|secret| secret.expose().to_owned());
        assert_eq!(read(b""), None);
        assert_eq!(read(b"\n"), None);
        assert_eq!(read(b"a\nb\n"), None);
        assert_eq!(read(b"\xff\xfe"), None);
        assert_eq!(read(&[b'x'; 1_025]), None);
        assert_eq!(read(&[b'x'; 9_000]), None);
        assert_eq!(read(format!("{}\r\n", "𝄞".repeat(1_025)).as_bytes()), None);
        assert!(read(format!("{}\r\n", "𝄞".repeat(1_024)).as_bytes()).is_some());
        assert_eq!(read(b"correct horse\r\n").as_deref(), Some("correct horse"));
        assert_eq!(read(b" kept ").as_deref(), Some(" kept "));
    }
}
