//! What puts an address onto the suppression list, against whom and for how long: the one rule, whoever
//! tells it.
//!
//! | ground | against | for |
//! |---|---|---|
//! | a hard bounce: the address does not work | every sender | 90 days |
//! | a complaint | the sender that it is about | good |
//! | an opt-out | the sender that it is about | good |
//!
//! Only what is proven may silence anybody: a report at a return path that we made, a provider's signed
//! event. That is for the callers to know. Not here: the list itself (`archive`), and what it does to a
//! message (`intake`, `dispatch`).

use std::time::Duration;

use super::mail_report::MailReportKind;

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
}
