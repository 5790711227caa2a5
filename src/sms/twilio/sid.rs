//! Message SIDs: `SM` and the 32 hexadecimal digits of our id, so that neither needs a table.

use crate::model::MessageId;

const HEX_DIGITS: usize = 32;

/// The SID of a message.
pub(super) fn of(id: MessageId) -> String {
    format!("SM{:032x}", id.as_u128())
}

/// The message of a SID. Twilio writes lower case, and so must who asks.
pub(super) fn parse(text: &str) -> Option<MessageId> {
    let digits = text.strip_prefix("SM")?;
    let ok = digits.len() == HEX_DIGITS
        && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !ok {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(MessageId::from_u128)
}

/// Whether this can be the SID of an account: letters and digits, so that it is the same in a path,
/// a header and a log.
pub(super) fn is_account(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_is_the_id() {
        let digits = "0123456789abcdef0123456789abcdef";
        let cases = [
            String::new(),
            "SM".into(),
            digits.into(),
            format!("MM{digits}"),
            format!("SM{}", digits.to_uppercase()),
            format!("SM+{}", &digits[1..]),
            format!("SM{digits}0"),
            format!("SM{}", "é".repeat(16)),
        ];
        for bad in cases {
            assert_eq!(parse(&bad), None, "{bad}");
        }
        for id in [0, 1, u128::MAX] {
            let id = MessageId::from_u128(id);
            assert_eq!(parse(&of(id)), Some(id));
            assert_eq!(of(id).len(), 34);
        }
    }

    #[test]
    fn an_account_is_letters_and_digits() {
        for bad in ["", "AC/1", "AC 1", "AC%31", "AC\r\n", &"A".repeat(65)] {
            assert!(!is_account(bad), "{bad:?}");
        }
        assert!(is_account(&format!("AC{}", "0".repeat(32))));
    }
}
