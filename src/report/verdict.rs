//! From what was said about a recipient to its class: the enhanced status, the reply code and the words.
//!
//! A temporary status stays temporary, whatever the words: given up is not the same as gone. Under a permanent status
//! words that name a trouble say more than the number, since many systems send the same number for all; without words, and
//! beside words that only refuse, the number decides (RFC 3463 §3). A failure of which nothing is known is permanent, since the report says that it failed.

use std::sync::LazyLock;

use regex::Regex;

use super::finding::{Action, Class, Trouble};
use super::wording::{self, Weight};
use crate::model::EnhancedCode;

/// What numbers and words a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: Class,
    pub(super) trouble: Trouble,
    pub(super) status: Option<EnhancedCode>,
}

/// The numbers and words of one text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    status: Option<EnhancedCode>,
    code: Option<u16>,
    trouble: Option<(Trouble, Weight)>,
}

impl Said {
    pub(super) fn of(text: &str) -> Said {
        Said { status: enhanced_in(text), code: reply_code(text), trouble: wording::trouble(text) }
    }
}

/// Judges what was said of one recipient. `status`: as the machine part says it. `said`: the most
/// telling first.
pub(super) fn judge(action: Action, status: Option<EnhancedCode>, said: &[Said]) -> Verdict {
    let spoken = said.iter().find_map(|said| said.status);
    let status = match status {
        // `5.0.0` says no more than that it failed.
        Some(EnhancedCode(class, 0, 0)) => match spoken {
            Some(spoken) if spoken.0 == class || action == Action::Failed => Some(spoken),
            Some(_) | None => status,
        },
        Some(_) => status,
        None => spoken,
    };
    let code = said.iter().find_map(|said| said.code);
    let named = said.iter().find_map(|said| said.trouble);
    let trouble = match (named, status) {
        (Some((named, Weight::Clear)), _) => named,
        // `550 5.1.1 Refused due to recipient preferences`: the number says more.
        (Some((named, Weight::Vague)), status) => status.and_then(exact).unwrap_or(named),
        (None, Some(status)) => match of_status(status) {
            // `5.0.0`, `5.5.0`: the code before it may say more.
            Trouble::Other => of_code(code),
            trouble => trouble,
        },
        (None, None) => of_code(code),
    };
    let is_temporary = match (status, code) {
        (Some(EnhancedCode(class, ..)), _) => class == 4,
        (None, Some(code)) => (400..500).contains(&code),
        (None, None) => false,
    };
    let class = match action {
        Action::Failed if is_temporary => Class::Soft,
        Action::Failed => of_trouble(trouble),
        Action::Delayed => Class::Delayed,
        Action::Delivered | Action::Relayed | Action::Expanded => Class::Delivered,
    };
    let trouble = if action == Action::Failed || action == Action::Delayed {
        trouble
    } else {
        Trouble::Other
    };
    Verdict { class, trouble, status }
}

fn of_trouble(trouble: Trouble) -> Class {
    match trouble {
        Trouble::UserUnknown
        | Trouble::DomainUnknown
        | Trouble::MailboxInactive
        | Trouble::Other => Class::Hard,
        Trouble::MailboxFull
        | Trouble::TooLarge
        | Trouble::Blocked
        | Trouble::Content
        | Trouble::Loop
        | Trouble::Expired
        | Trouble::Temporary => Class::Soft,
    }
}

fn of_status(status: EnhancedCode) -> Trouble {
    match (status.1, status.2) {
        (1, 2 | 10) | (4, 4 | 310) => Trouble::DomainUnknown,
        (1, 6) | (2, 1) => Trouble::MailboxInactive,
        (1, 7 | 8) => Trouble::Blocked,
        (1, _) | (4, 1) => Trouble::UserUnknown,
        (2, 2) => Trouble::MailboxFull,
        (2, 3) | (3, 4) => Trouble::TooLarge,
        (4, 6 | 14) => Trouble::Loop,
        (4, 7) => Trouble::Expired,
        (4, _) => Trouble::Expired,
        (3, _) => Trouble::Temporary,
        (6, _) => Trouble::Content,
        (7, _) => Trouble::Blocked,
        (_, _) => Trouble::Other,
    }
}

/// The trouble of a status that can only mean the recipient.
fn exact(status: EnhancedCode) -> Option<Trouble> {
    match (status.1, status.2) {
        (1, 0..=3 | 6 | 10) | (2, 1..=3) | (4, 4 | 310) => Some(of_status(status)),
        (_, _) => None,
    }
}

fn of_code(code: Option<u16>) -> Trouble {
    match code {
        Some(550 | 551 | 553) => Trouble::UserUnknown,
        Some(552) => Trouble::MailboxFull,
        // "Transaction failed" (RFC 5321 §4.2.3): those who do not know the recipient send 550.
        Some(554) => Trouble::Blocked,
        Some(556) => Trouble::DomainUnknown,
        Some(421 | 450 | 451 | 452) => Trouble::Temporary,
        Some(_) | None => Trouble::Other,
    }
}

/// The first enhanced status of a failure in a text: not part of an address of the Internet, not a
/// version. One that stands behind a reply code or a `#` goes before the others.
pub(super) fn enhanced_in(text: &str) -> Option<EnhancedCode> {
    static CODED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(?:\b[245]\d\d[ -]+#?|#|status:? ?|\()([245]\.\d{1,3}\.\d{1,3})(?:[^.\d]|\.\s|\.?$)",
        )
        .ok()
    });
    static PLAIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?:^|[^.\w/-])([245]\.\d{1,3}\.\d{1,3})(?:[^.\w]|\.\s|\.?$)").ok()
    });
    let text = &text[..text.floor_char_boundary(super::MAX_TEXT_BYTES)];
    let lower = text.to_lowercase();
    [&CODED, &PLAIN].into_iter().find_map(|pattern| {
        let found = pattern.as_ref()?.captures_iter(&lower).filter_map(|found| found.get(1));
        let is_version = |at: usize| {
            let before = &lower[..at];
            ["exim ", "version ", "v", "sendmail ", "server "]
                .iter()
                .any(|word| before.ends_with(word))
        };
        found
            .filter(|code| !is_version(code.start()))
            .find_map(|code| EnhancedCode::parse(code.as_str()))
    })
}

/// The first reply code of a failure in a text.
pub(super) fn reply_code(text: &str) -> Option<u16> {
    static CODE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let before = r#"(?m)(?:^\s*|[:(#<>"'=;]\s*|said\s+|error\s+|code\s+|reason\s+|failed\s+|smtp\s+|status\s+)"#;
        Regex::new(&format!(r"{before}([45][0-5]\d)(?:[ \-:)#,;\]]|\.(?:\s|$)|$)")).ok()
    });
    let text = &text[..text.floor_char_boundary(super::MAX_TEXT_BYTES)];
    CODE.as_ref()?.captures(text)?.get(1)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_they_mean_a_status() {
        let check = |text: &str, expected: &str| {
            let found = enhanced_in(text).map(|code| code.to_string());
            assert_eq!(found.as_deref().unwrap_or(""), expected, "{text}");
        };
        check("", "");
        check("host 5.1.1.4 said no", "");
        check("mx-5.1.1.example.com", "");
        check("Exim 4.92.3 says", "");
        check("3.1.1", "");
        check("550 5.1.1 unknown", "5.1.1");
        check("10.5.1.1 (#5.7.1)", "5.7.1");
        check("4.2.2 is full; 550-5.1.1 unknown", "5.1.1");
        check("Status: 5.4.310.", "5.4.310");
        let code = |text: &str| reply_code(text).unwrap_or(0);
        assert_eq!(code("there are 500 messages"), 0);
        assert_eq!(code("host said: 550 no"), 550);
        assert_eq!(code("a\n  452-full"), 452);
        assert_eq!(code("error 599"), 0);
        assert_eq!(code("ERROR_CODE :550, no"), 550);
        assert_eq!(code("it was: 450.5"), 0);
    }

    #[test]
    fn the_class_follows_number_and_words() {
        let check = |text: &str, class: Class, trouble: Trouble| {
            let verdict = judge(Action::Failed, None, &[Said::of(text)]);
            assert_eq!((verdict.class, verdict.trouble), (class, trouble), "{text}");
        };
        check("", Class::Hard, Trouble::Other);
        check("550 5.1.1 User unknown", Class::Hard, Trouble::UserUnknown);
        check("550 5.7.1 mailbox is full", Class::Soft, Trouble::MailboxFull);
        check("450 4.1.1 User unknown", Class::Soft, Trouble::UserUnknown);
        check("550 5.1.8 Sender address rejected: Domain not found", Class::Soft, Trouble::Blocked);
        check("550 5.7.1", Class::Soft, Trouble::Blocked);
        check(
            "550 5.4.1 Recipient address rejected: Access denied",
            Class::Hard,
            Trouble::UserUnknown,
        );
        // A word that only refuses says less than an exact number, and more than a vague one.
        check("550 5.1.1 refused by the recipient", Class::Hard, Trouble::UserUnknown);
        check("550 5.2.2 access denied", Class::Soft, Trouble::MailboxFull);
        check("550 5.0.0 access denied", Class::Soft, Trouble::Blocked);
        check("550 5.7.1 mailbox unavailable", Class::Hard, Trouble::UserUnknown);
        check("554 5.0.0 no", Class::Soft, Trouble::Blocked);
        check("550 5.0.0 no", Class::Hard, Trouble::UserUnknown);
        check("550 not a member of domain example.com", Class::Hard, Trouble::UserUnknown);
        check("550 not a member of the list", Class::Soft, Trouble::Blocked);
        check("552", Class::Soft, Trouble::MailboxFull);
        check("554 5.4.4 no", Class::Hard, Trouble::DomainUnknown);
        check("Status 5.2.1", Class::Hard, Trouble::MailboxInactive);
    }
}
