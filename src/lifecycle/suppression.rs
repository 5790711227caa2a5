//! What puts an address onto the suppression list, against whom and for how long: the one rule, whoever
//! tells it.
//!
//! | ground | against | for |
//! |---|---|---|
//! | a hard bounce, or an upstream that refuses RCPT as one would say it: the address does not work | every sender | 90 days |
//! | a complaint | the sender that it is about | good |
//! | an opt-out | the sender that it is about | good |
//!
//! Only what is proven may silence anybody: a report at a return path that we made, a provider's signed
//! event, an upstream's reply to RCPT of that address and no other. That is for the callers to know, but for the last. Not here: the list itself (`archive`), and what it does to a
//! message (`intake`, `dispatch`).

use std::time::Duration;

use super::mail_report::MailReportKind;
use crate::model::{EnhancedCode, Outcome, Scope};

/// A mailbox that does not exist may exist again: providers give names out anew after months, and
/// a domain may have been broken for some days.
const BOUNCE_KEPT: Duration = Duration::from_secs(90 * 86_400);

/// Why an address is put onto the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    HardBounce,
    Complaint,
    OptOut,
}

impl Ground {
    /// What a report is a ground for.
    pub fn of(kind: MailReportKind) -> Option<Ground> {
        match kind {
            MailReportKind::Failed { is_hard: true } => Some(Ground::HardBounce),
            MailReportKind::Complained => Some(Ground::Complaint),
            MailReportKind::Failed { is_hard: false }
            | MailReportKind::Delayed
            | MailReportKind::Delivered
            | MailReportKind::Displayed => None,
        }
    }

    /// What an upstream's refusal is a ground for.
    ///
    /// Only its reply to RCPT counts, which is about one address: what it says to MAIL or to the message may
    /// be meant for anybody. And only with an enhanced code (RFC 3463 §3.2) that blames the mailbox and
    /// nothing else: a plain 550 is said of policies, quotas and senders as well.
    ///
    /// | code | because |
    /// |---|---|
    /// | 5.1.1 | there is no such mailbox |
    /// | 5.1.3 | the address is written as none can be |
    /// | 5.1.6 | it has moved and left no address |
    /// | 5.1.10 | its domain says that it takes no mail (RFC 7505 §4.2) |
    ///
    /// Not 5.1.2, there is no such domain: who is asked at RCPT says that out of the DNS of this moment, and
    /// of everybody when it is its own DNS that does not work. A report comes after days of trying.
    pub fn of_refusal(outcome: &Outcome) -> Option<Ground> {
        let Outcome::Permanent { scope: Scope::Recipient, reply: Some(reply), .. } = outcome else {
            return None;
        };
        let is_hard = matches!(reply.enhanced, Some(EnhancedCode(5, 1, 1 | 3 | 6 | 10)))
            && reply.class() == 5;
        is_hard.then_some(Ground::HardBounce)
    }

    /// The word that stands in the list.
    pub fn as_str(self) -> &'static str {
        match self {
            Ground::HardBounce => "bounce",
            Ground::Complaint => "complaint",
            Ground::OptOut => "opt-out",
        }
    }

    /// Whether nobody may write there, and not only the sender that it is about.
    pub fn is_against_everybody(self) -> bool {
        match self {
            Ground::HardBounce => true,
            Ground::Complaint | Ground::OptOut => false,
        }
    }

    /// How long it counts; `None` is for good.
    pub fn kept(self) -> Option<Duration> {
        match self {
            Ground::HardBounce => Some(BOUNCE_KEPT),
            Ground::Complaint | Ground::OptOut => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reply;

    #[test]
    fn only_what_will_not_work_and_who_complained_is_a_ground() {
        let check = |kind, expected| assert_eq!(Ground::of(kind), expected, "{kind:?}");
        check(MailReportKind::Failed { is_hard: false }, None);
        check(MailReportKind::Delayed, None);
        check(MailReportKind::Delivered, None);
        check(MailReportKind::Displayed, None);
        check(MailReportKind::Failed { is_hard: true }, Some(Ground::HardBounce));
        check(MailReportKind::Complained, Some(Ground::Complaint));
    }
    #[test]
    fn only_a_refused_recipient_that_does_not_exist_is_a_ground() {
        let refusal = |scope, said: &str| {
            let (reply, detail) = (Reply::parse(said), String::new());
            Outcome::Permanent { scope, reply, detail }
        };
        let check = |outcome: Outcome, expected| {
            assert_eq!(Ground::of_refusal(&outcome), expected, "{outcome:?}");
        };
        for said in [
            "550 no such user here",
            "550 5.0.0 no",
            "550 5.1.0 address rejected",
            "550 5.1.2 no such domain",
            "550 5.1.4 ambiguous",
            "550 5.1.7 bad sender",
            "550 5.1.8 no such sender",
            "550 5.2.1 disabled",
            "552 5.2.2 full",
            "550 5.4.1 access denied",
            "550 5.7.1 relaying denied",
            "554 5.7.1 5.1.1",
            "450 5.1.1 odd",
            "550 4.1.1 odd",
        ] {
            check(refusal(Scope::Recipient, said), None);
        }
        for scope in [Scope::Message, Scope::Session, Scope::Upstream] {
            check(refusal(scope, "550 5.1.1 no such user"), None);
        }
        check(refusal(Scope::Recipient, ""), None);
        let reply = Reply::parse("550 5.1.1 no such user");
        let (scope, detail) = (Scope::Recipient, String::new());
        check(Outcome::Temporary { scope, reply, detail }, None);
        let hard = Some(Ground::HardBounce);
        for said in ["550 5.1.1 no", "553 5.1.3 bad", "551 5.1.6 moved", "556 5.1.10 null MX"] {
            check(refusal(Scope::Recipient, said), hard);
        }
    }
}
