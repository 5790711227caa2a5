//! An SMTP reply (RFC 5321 §4.2) with its enhanced status code (RFC 3463, RFC 2034).
//!
//! The text is made safe where a reply is made: no control characters, bounded length. So the reply
//! of a hostile upstream can be stored, logged, shown and quoted.

use std::fmt;

/// Longest reply text that is kept, in bytes; longer ones are cut at a character.
const MAX_REPLY_TEXT_BYTES: usize = 1_000;

/// `class.subject.detail`, such as `5.7.1`; details above 255 exist (`5.7.509`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl EnhancedCode {
    /// Reads `5.7.1`; the class must be 2, 4 or 5 and no number longer than three digits.
    pub fn parse(text: &str) -> Option<EnhancedCode> {
        let mut numbers = text.split('.').map(|n| {
            let digits = (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| n.parse::<u16>().ok()).flatten()
        });
        let class = numbers.next()??;
        let (subject, detail) = (numbers.next()??, numbers.next()??);
        let known = matches!(class, 2 | 4 | 5) && numbers.next().is_none();
        known.then_some(EnhancedCode(class as u8, subject, detail))
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The answer of an SMTP server, ours or an upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    pub enhanced: Option<EnhancedCode>,
    /// The text without codes; lines of a multi-line reply are joined by `\n`.
    text: String,
}

impl Reply {
    /// A reply; control characters other than line breaks become spaces and the text is bounded.
    pub fn new(code: u16, enhanced: Option<EnhancedCode>, text: &str) -> Reply {
        let mut clean: String =
            text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        if clean.len() > MAX_REPLY_TEXT_BYTES {
            clean.truncate(clean.floor_char_boundary(MAX_REPLY_TEXT_BYTES));
        }
        Reply { code, enhanced, text: clean }
    }

    /// Reads the one line that a reply is shown as: `550 5.1.1 no such user`.
    pub fn parse(line: &str) -> Option<Reply> {
        let (code, rest) = line.split_at_checked(3)?;
        let is_code = matches!(code.as_bytes(), [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']);
        let rest = match rest.strip_prefix(' ') {
            Some(rest) => rest,
            None if rest.is_empty() => rest,
            None => return None,
        };
        let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let code = code.parse().ok().filter(|_| is_code)?;
        Some(match EnhancedCode::parse(first) {
            Some(enhanced) => Reply::new(code, Some(enhanced), behind),
            None => Reply::new(code, None, rest),
        })
    }

    /// The text without its codes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The class of the code: 2, 3, 4 or 5.
    pub fn class(&self) -> u16 {
        self.code / 100
    }
}

/// One line: `250 2.0.0 Ok: queued as …`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        match self.text.is_empty() {
            true => Ok(()),
            false => write!(f, " {}", self.text.replace('\n', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_read() {
        for bad in ["", "5", "5.7", "3.0.0", "5.7.1.1", "5..1", "5.7.1000", "5.7.x", "+5.7.1"] {
            assert_eq!(EnhancedCode::parse(bad), None, "{bad}");
        }
        assert_eq!(EnhancedCode::parse("5.7.509"), Some(EnhancedCode(5, 7, 509)));
    }

    #[test]
    fn a_shown_reply_is_read_again() {
        for bad in ["", "25", "650 no", "2500 no", "250-no", "é50 x", "25x no"] {
            assert_eq!(Reply::parse(bad), None, "{bad}");
        }
        for good in ["250", "250 Ok", "550 5.1.1 no such user", "450 4.2.0", "550 5 users"] {
            assert_eq!(Reply::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(Reply::parse("550 5.1.1 no").unwrap().enhanced, Some(EnhancedCode(5, 1, 1)));
    }

    #[test]
    fn a_reply_is_one_clean_line() {
        let reply = Reply::new(550, EnhancedCode::parse("5.1.1"), "no\u{1b}[2J such\r\nuser");
        assert_eq!(reply.to_string(), "550 5.1.1 no [2J such  user");
        assert_eq!(Reply::new(250, None, &"é".repeat(2_000)).text().len(), 1_000);
    }
}
