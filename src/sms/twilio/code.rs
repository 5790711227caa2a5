//! Twilio's error codes: the number for each of our reasons, and the reason for each of its numbers
//! (twilio.com/docs/api/errors).

use crate::model::FailureReason;

/// A code with the text that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub number: u32,
    pub text: &'static str,
}

const fn code(number: u32, text: &'static str) -> Code {
    Code { number, text }
}

/// An operator stopped it: to the app it looks like what a carrier blocked.
pub(super) const BLOCKED: Code = code(30004, "Message blocked");
/// Refused without a reason.
pub(super) const FILTERED: Code = code(30007, "Message filtered");
/// The reason is not known.
pub(super) const UNKNOWN: Code = code(30008, "Unknown error");
/// It waited longer than its validity period.
pub(super) const EXPIRED: Code = code(30036, "Validity period expired");

/// The code of a message that failed for this reason.
pub(super) fn of(reason: FailureReason) -> Code {
    match reason {
        FailureReason::Unknown => UNKNOWN,
        FailureReason::Unreachable => code(30003, "Unreachable destination handset"),
        FailureReason::InvalidNumber => code(30005, "Unknown destination handset"),
        FailureReason::Landline => code(30006, "Landline or unreachable carrier"),
        FailureReason::Barred => BLOCKED,
        FailureReason::Filtered => FILTERED,
        FailureReason::OptedOut => code(21610, "Attempt to send to unsubscribed recipient"),
        FailureReason::BadOriginator => {
            code(21606, "The 'From' address is not valid for this destination")
        }
        FailureReason::BadContent => code(30019, "Content not accepted by the carrier"),
        FailureReason::NoRoute => code(21612, "The 'To' number is not reachable via SMS"),
        FailureReason::NoCredit => code(30002, "Account suspended"),
        FailureReason::Expired => EXPIRED,
        FailureReason::NetworkError => code(30017, "Carrier network congestion"),
    }
}

/// What a code says of the message. Codes that no table of ours has are `Unknown`.
pub(super) fn reason(number: u32) -> FailureReason {
    match number {
        21211 | 21217 | 21265 | 21401 | 30005 => FailureReason::InvalidNumber,
        21614 | 21635 | 30006 => FailureReason::Landline,
        21408 | 21612 | 30010 => FailureReason::NoRoute,
        21608 | 30004 => FailureReason::Barred,
        21610 => FailureReason::OptedOut,
        21212 | 21603 | 21606 | 21607 | 21618 | 21659 | 21660 | 21661 | 21701..=21712 => {
            FailureReason::BadOriginator
        }
        30018 | 30024 | 30032 | 30034 | 30035 => FailureReason::BadOriginator,
        21602 | 21605 | 21617 | 21619 | 21620 | 21621 | 21623 | 21654..=21656 => {
            FailureReason::BadContent
        }
        30011 | 30019 => FailureReason::BadContent,
        30002 | 30022 | 30454 => FailureReason::NoCredit,
        30003 => FailureReason::Unreachable,
        30007 | 30038 => FailureReason::Filtered,
        30036 => FailureReason::Expired,
        30001 | 30009 | 30017 | 30020 | 30500 => FailureReason::NetworkError,
        _ => FailureReason::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_its_code() {
        for reason_of_ours in FailureReason::ALL {
            assert_eq!(reason(of(reason_of_ours).number), reason_of_ours, "{reason_of_ours:?}");
        }
    }

    #[test]
    fn codes_have_reasons() {
        assert_eq!(reason(0), FailureReason::Unknown);
        assert_eq!(reason(30008), FailureReason::Unknown);
        assert_eq!(reason(21211), FailureReason::InvalidNumber);
        assert_eq!(reason(21408), FailureReason::NoRoute);
        assert_eq!(reason(21703), FailureReason::BadOriginator);
    }
}
