//! What clients write as a number, and the one form that it has inside: E.164 (ITU-T E.164 §6).
//!
//! Nothing is refused because some list does not know the number: documentation numbers and new
//! ranges are in no list. Seven to fifteen digits are a number.

use crate::model::{Destination, Msisdn, Originator};

/// How a dialect writes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberStyle {
    /// Country code first, whether a plus sign or `00` stands before it or not (`4512345678`).
    International,
    /// A number without plus sign or `00` is one of the app's own country, if it has one
    /// (`12345678`); without a country it is read as international.
    National,
}

/// The country calling code that an app's national numbers belong to, such as `45`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Country(Option<String>);

impl Country {
    /// No country: national numbers are read as international.
    pub const NONE: Country = Country(None);

    /// From 1 to 3 digits, the first of which is not 0; a plus sign may stand before them.
    pub fn parse(text: &str) -> Option<Country> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let ok = (1..=3).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        ok.then(|| Country(Some(digits.to_owned())))
    }

    /// The digits.
    pub fn digits(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Reads a destination.
pub fn destination(text: &str, style: NumberStyle, country: &Country) -> Option<Destination> {
    let text = text.trim();
    if let Some(opaque @ Destination::Opaque(_)) = Destination::parse(text) {
        return Some(opaque);
    }
    if let Some(short @ Destination::ShortCode(_)) = Destination::parse(text) {
        return Some(short);
    }
    number(text, style, country).map(Destination::Number)
}

/// Reads an originator. What is no number is a name.
pub fn originator(text: &str, style: NumberStyle, country: &Country) -> Option<Originator> {
    let text = text.trim();
    match Originator::parse(text) {
        Some(
            found @ (Originator::ShortCode(_) | Originator::Service(_) | Originator::Opaque(_)),
        ) => Some(found),
        found => number(text, style, country).map(Originator::Number).or(found),
    }
}

/// The digits of a number, without the punctuation that people put between them.
fn number(text: &str, style: NumberStyle, country: &Country) -> Option<Msisdn> {
    let mut digits = String::with_capacity(text.len());
    for (place, c) in text.char_indices() {
        match c {
            '0'..='9' => digits.push(c),
            '+' if place == 0 => {}
            ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}' => {}
            _ => return None,
        }
    }
    if text.starts_with('+') {
        return Msisdn::from_digits(&digits);
    }
    if let Some(rest) = digits.strip_prefix("00") {
        return Msisdn::from_digits(rest);
    }
    match (style, country.digits()) {
        (NumberStyle::National, Some(code)) => {
            // The trunk prefix of most countries is not dialled from abroad.
            let national = digits.strip_prefix('0').unwrap_or(&digits);
            Msisdn::from_digits(&format!("{code}{national}"))
        }
        (NumberStyle::National, None) | (NumberStyle::International, _) => {
            Msisdn::from_digits(&digits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, style: NumberStyle, country: &str, expected: Option<&str>) {
        let country = Country::parse(country).unwrap_or_default();
        let found = destination(text, style, &country).map(|d| d.to_string());
        assert_eq!(found.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn numbers_get_one_form() {
        use NumberStyle::{International, National};
        for bad in
            ["", "+", "12", "1234567890123456", "+45 12 34 x", "١٢٣٤٥٦٧٨", "+4512345678\r\n1"]
        {
            check(bad, International, "", None);
        }
        check("4512345678", International, "", Some("+4512345678"));
        check("447700900000", International, "45", Some("+447700900000"));
        check("+45 12-34.56 (78)", International, "", Some("+4512345678"));
        check("004512345678", International, "", Some("+4512345678"));
        check("12345678", National, "45", Some("+4512345678"));
        check("07700900000", National, "44", Some("+447700900000"));
        check("4512345678", National, "", Some("+4512345678"));
        check("1234", National, "45", Some("1234"));
        check("whatsapp:+4512345678", International, "", Some("whatsapp:+4512345678"));
    }

    #[test]
    fn what_is_no_number_is_a_name() {
        let of = |text| {
            originator(text, NumberStyle::International, &Country::NONE).map(|o| o.to_string())
        };
        assert_eq!(of("4512345678").as_deref(), Some("+4512345678"));
        assert_eq!(of("Example").as_deref(), Some("Example"));
        assert_eq!(of("1234").as_deref(), Some("1234"));
        assert_eq!(of("TwelveLetter"), None);
        assert_eq!(of("a\nb"), None);
    }
}
