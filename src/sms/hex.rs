//! Octets as hexadecimal digits: how user data headers, binary texts, signatures and ids are written.

/// The octets; `None` for anything but pairs of digits, of either case.
pub(super) fn octets(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16);
    if !rest.is_empty() {
        return None;
    }
    // Two hexadecimal digits are at most 255.
    pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8)).collect()
}

/// Two lower-case digits for each octet.
pub fn digits(octets: &[u8]) -> String {
    octets.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_and_written() {
        for bad in ["0", "0g", "+1", "é"] {
            assert_eq!(octets(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(octets(b"00fFa1"), Some(vec![0, 255, 161]));
        assert_eq!(octets(b""), Some(Vec::new()));
        assert_eq!(digits(&[0, 255, 161]), "00ffa1");
    }
}
