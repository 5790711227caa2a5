//! GatewayAPI's words for where a message stands, and its codes for why it failed, both ways.
//!
//! The codes of failed messages are those of the mobile network (3GPP TS 29.002 §17.6.6) in
//! hexadecimal, and GatewayAPI's own from 0x1900 on; which of its own it uses differs from operator to
//! operator, so what is not known here is `Unknown`.

use super::super::call::ShownState;
use crate::model::{FailureReason, ReceiptState};

/// The word for a state.
pub(super) fn status_word(state: ShownState) -> &'static str {
    match state {
        ShownState::Held | ShownState::Queued => "BUFFERED",
        ShownState::Scheduled => "SCHEDULED",
        ShownState::Sending | ShownState::Sent => "ENROUTE",
        ShownState::Delivered => "DELIVERED",
        ShownState::Undelivered => "UNDELIVERABLE",
        ShownState::Expired => "EXPIRED",
        ShownState::Canceled | ShownState::Stopped => "DELETED",
        ShownState::Rejected | ShownState::NotSent => "REJECTED",
        ShownState::Received => "UNKNOWN",
    }
}

/// What a word of a status notification means. `ACCEPTED` is what operators say that report no
/// delivery: nothing comes after it, but that it was delivered nobody knows.
pub(super) fn receipt_state(word: &str) -> Option<ReceiptState> {
    match word {
        "UNKNOWN" | "SCHEDULED" | "BUFFERED" | "ENROUTE" | "ACCEPTED" => {
            Some(ReceiptState::Underway)
        }
        "DELIVERED" | "READ" => Some(ReceiptState::Delivered),
        "UNDELIVERABLE" => Some(ReceiptState::Undelivered),
        "EXPIRED" => Some(ReceiptState::Expired),
        "REJECTED" | "DELETED" | "SKIPPED" => Some(ReceiptState::Rejected),
        _ => None,
    }
}

/// The code that stands for a reason.
pub(super) fn hex_code(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Unknown => "0x10",
        FailureReason::InvalidNumber => "0x01",
        FailureReason::Unreachable => "0x1B",
        FailureReason::Landline => "0x0B",
        FailureReason::Barred => "0x0D",
        FailureReason::NetworkError => "0x22",
        FailureReason::Expired => "0x20",
        FailureReason::NoCredit => "0x0216",
        FailureReason::OptedOut => "0x0215",
        FailureReason::NoRoute => "0x0217",
        FailureReason::Filtered => "0x0312",
        FailureReason::BadOriginator => "0x1905",
        FailureReason::BadContent => "0x24",
    }
}

/// What stands in a notification beside the code.
pub(super) fn error_text(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Unknown => "Unknown error",
        FailureReason::InvalidNumber => "Unknown subscriber",
        FailureReason::Unreachable => "Absent subscriber",
        FailureReason::Landline => "Teleservice not provisioned",
        FailureReason::Barred => "Call barred",
        FailureReason::NetworkError => "System failure",
        FailureReason::Expired => "Validity period expired",
        FailureReason::NoCredit => "Insufficient credit",
        FailureReason::OptedOut => "Recipient is blacklisted",
        FailureReason::NoRoute => "No route",
        FailureReason::Filtered => "Content filtered",
        FailureReason::BadOriginator => "Unsupported sender",
        FailureReason::BadContent => "Unexpected data value",
    }
}

/// The reason behind a provider's code.
pub(super) fn reason(code: &str) -> FailureReason {
    let digits = code.trim().strip_prefix("0x").or_else(|| code.trim().strip_prefix("0X"));
    let Some(number) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
        return FailureReason::Unknown;
    };
    match number {
        // Unknown, unidentified and illegal subscriber.
        0x01 | 0x05 | 0x09 | 0x0308 => FailureReason::InvalidNumber,
        // Services not provisioned; the handset can not; the facility is not supported.
        0x0A | 0x0B | 0x0C | 0x15 => FailureReason::Landline,
        0x0D => FailureReason::Barred,
        // Absent, busy, or its memory is full.
        0x06 | 0x1B | 0x1F => FailureReason::Unreachable,
        0x20..=0x22 => FailureReason::NetworkError,
        0x23 | 0x24 => FailureReason::BadContent,
        0x0215 => FailureReason::OptedOut,
        0x0216 => FailureReason::NoCredit,
        0x0217 | 0x021F => FailureReason::NoRoute,
        0x0312 => FailureReason::Filtered,
        0x1905 => FailureReason::BadOriginator,
        _ => FailureReason::Unknown,
    }
}

/// The word for a message class; without one the handset decides.
pub(super) fn destaddr(class: Option<u8>) -> &'static str {
    match class {
        Some(0) => "DISPLAY",
        Some(2) => "SIMCARD",
        Some(3) => "EXTUNIT",
        None | Some(_) => "MOBILE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_mean_one_thing() {
        for bad in ["", "delivered", "SENT"] {
            assert_eq!(receipt_state(bad), None);
        }
        for bad in ["", "0x", "13", "0xZZ", "0x99"] {
            assert_eq!(reason(bad), FailureReason::Unknown, "{bad}");
        }
        for (word, is_final) in [("ACCEPTED", false), ("ENROUTE", false), ("SKIPPED", true)] {
            assert_eq!(receipt_state(word).unwrap().is_final(), is_final, "{word}");
        }
        assert_eq!(reason("0x1b"), FailureReason::Unreachable);
        // What we tell an application, another Waybill reads as the same.
        for told in FailureReason::ALL {
            let expected =
                if told == FailureReason::Expired { FailureReason::NetworkError } else { told };
            assert_eq!(reason(hex_code(told)), expected, "{told:?}");
        }
    }
}
