//! What becomes of a message, in Vonage's words: the status and `err-code` of a delivery receipt, both
//! ways. Vonage: "Delivery receipts", "SMS API errors".

use super::super::call::ShownState;
use crate::model::{FailureReason, ReceiptState};

/// Status and error code of one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiptWords {
    pub status: &'static str,
    pub err_code: u8,
}

const fn words(status: &'static str, err_code: u8) -> ReceiptWords {
    ReceiptWords { status, err_code }
}

/// How an application is told; `None` for what has no receipt: nothing happened that concerns it.
pub(super) fn receipt(state: ShownState, reason: Option<FailureReason>) -> Option<ReceiptWords> {
    match state {
        ShownState::Held
        | ShownState::Scheduled
        | ShownState::Queued
        | ShownState::Sending
        | ShownState::Received => None,
        ShownState::Sent => Some(words("accepted", 0)),
        ShownState::Delivered => Some(words("delivered", 0)),
        ShownState::Undelivered => Some(words("failed", err_code(reason))),
        ShownState::Expired => Some(words("expired", err_code(reason))),
        ShownState::Canceled | ShownState::Stopped => Some(words("rejected", 99)),
        ShownState::Rejected => Some(words("rejected", err_code(reason))),
        ShownState::NotSent => Some(words("rejected", 11)),
    }
}

/// The state of one part, when the provider told of it and nothing more comes.
pub(super) fn part_state(state: ReceiptState) -> Option<ShownState> {
    match state {
        ReceiptState::Underway => None,
        ReceiptState::Delivered => Some(ShownState::Delivered),
        ReceiptState::Undelivered => Some(ShownState::Undelivered),
        ReceiptState::Expired => Some(ShownState::Expired),
        ReceiptState::Rejected => Some(ShownState::Rejected),
    }
}

fn err_code(reason: Option<FailureReason>) -> u8 {
    match reason {
        None | Some(FailureReason::Unknown | FailureReason::Expired) => 1,
        Some(FailureReason::Unreachable) => 12,
        Some(FailureReason::InvalidNumber | FailureReason::Landline) => 9,
        Some(FailureReason::Barred) => 4,
        Some(FailureReason::Filtered) => 6,
        Some(FailureReason::OptedOut) => 14,
        Some(FailureReason::BadOriginator) => 51,
        Some(FailureReason::BadContent) => 10,
        Some(FailureReason::NoRoute) => 11,
        Some(FailureReason::NoCredit) => 16,
        Some(FailureReason::NetworkError) => 8,
    }
}

/// What a provider's status word means. A word that we do not know, and `unknown` itself, end nothing.
pub(super) fn state(status: &str) -> ReceiptState {
    match status.to_ascii_lowercase().as_str() {
        "delivered" => ReceiptState::Delivered,
        "expired" => ReceiptState::Expired,
        "failed" | "deleted" => ReceiptState::Undelivered,
        "rejected" => ReceiptState::Rejected,
        _ => ReceiptState::Underway,
    }
}

/// What a provider's `err-code` means beside a final status.
pub(super) fn reason(err_code: Option<u8>) -> FailureReason {
    match err_code {
        // 7 is a busy handset.
        Some(2 | 3 | 7 | 12) => FailureReason::Unreachable,
        // 13 is an age restriction, 15 a recipient whose prepaid money is spent.
        Some(4 | 13 | 15) => FailureReason::Barred,
        // 5 is a number on its way from one network to another.
        Some(5 | 8) => FailureReason::NetworkError,
        Some(6 | 50 | 52 | 54) => FailureReason::Filtered,
        Some(9) => FailureReason::InvalidNumber,
        Some(10) => FailureReason::BadContent,
        Some(11) => FailureReason::NoRoute,
        Some(14 | 53) => FailureReason::OptedOut,
        Some(16) => FailureReason::NoCredit,
        Some(51) => FailureReason::BadOriginator,
        Some(_) | None => FailureReason::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_has_no_receipt() {
        use ShownState::{Held, Queued, Received, Scheduled, Sending};
        for state in [Held, Queued, Received, Scheduled, Sending] {
            assert_eq!(receipt(state, None), None, "{state:?}");
        }
    }

    #[test]
    fn ends_have_the_words_of_the_api() {
        let check = |state, reason, status, err_code| {
            assert_eq!(receipt(state, reason), Some(words(status, err_code)));
        };
        check(ShownState::Sent, None, "accepted", 0);
        check(ShownState::Delivered, Some(FailureReason::Unknown), "delivered", 0);
        check(ShownState::Undelivered, Some(FailureReason::Barred), "failed", 4);
        check(ShownState::Expired, None, "expired", 1);
        check(ShownState::Stopped, None, "rejected", 99);
        check(ShownState::Canceled, None, "rejected", 99);
        check(ShownState::Rejected, Some(FailureReason::OptedOut), "rejected", 14);
        check(ShownState::NotSent, None, "rejected", 11);
    }

    #[test]
    fn words_that_say_no_end_end_nothing() {
        for word in ["", "accepted", "buffered", "unknown", "delivered ", "read"] {
            assert_eq!(state(word), ReceiptState::Underway, "{word}");
        }
        assert_eq!(state("Delivered"), ReceiptState::Delivered);
        assert_eq!(state("failed"), ReceiptState::Undelivered);
    }

    #[test]
    fn reasons_survive_the_way_there_and_back() {
        for found in FailureReason::ALL {
            let back = reason(Some(err_code(Some(found))));
            let expected = match found {
                FailureReason::Landline => FailureReason::InvalidNumber,
                FailureReason::Expired => FailureReason::Unknown,
                other => other,
            };
            assert_eq!(back, expected, "{found:?}");
        }
    }
}
