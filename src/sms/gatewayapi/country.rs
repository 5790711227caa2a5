//! Which country a number belongs to, by its calling code (ITU-T E.164): ISO 3166-1 code and prefix.
//!
//! A table of the usual ones. Numbers of shared codes go to the largest country behind the code
//! (`1` to the United States, `7` to Russia); what is not in the table has no country.

use crate::model::Msisdn;

/// Calling code and country; no code is the beginning of another one.
const COUNTRIES: [(&str, &str); 85] = [
    ("1", "US"),
    ("20", "EG"),
    ("212", "MA"),
    ("213", "DZ"),
    ("216", "TN"),
    ("234", "NG"),
    ("254", "KE"),
    ("27", "ZA"),
    ("298", "FO"),
    ("299", "GL"),
    ("30", "GR"),
    ("31", "NL"),
    ("32", "BE"),
    ("33", "FR"),
    ("34", "ES"),
    ("350", "GI"),
    ("351", "PT"),
    ("352", "LU"),
    ("353", "IE"),
    ("354", "IS"),
    ("355", "AL"),
    ("356", "MT"),
    ("357", "CY"),
    ("358", "FI"),
    ("359", "BG"),
    ("36", "HU"),
    ("370", "LT"),
    ("371", "LV"),
    ("372", "EE"),
    ("373", "MD"),
    ("374", "AM"),
    ("375", "BY"),
    ("376", "AD"),
    ("377", "MC"),
    ("378", "SM"),
    ("380", "UA"),
    ("381", "RS"),
    ("382", "ME"),
    ("383", "XK"),
    ("385", "HR"),
    ("386", "SI"),
    ("387", "BA"),
    ("389", "MK"),
    ("39", "IT"),
    ("40", "RO"),
    ("41", "CH"),
    ("420", "CZ"),
    ("421", "SK"),
    ("423", "LI"),
    ("43", "AT"),
    ("44", "GB"),
    ("45", "DK"),
    ("46", "SE"),
    ("47", "NO"),
    ("48", "PL"),
    ("49", "DE"),
    ("51", "PE"),
    ("52", "MX"),
    ("54", "AR"),
    ("55", "BR"),
    ("56", "CL"),
    ("57", "CO"),
    ("60", "MY"),
    ("61", "AU"),
    ("62", "ID"),
    ("63", "PH"),
    ("64", "NZ"),
    ("65", "SG"),
    ("66", "TH"),
    ("7", "RU"),
    ("81", "JP"),
    ("82", "KR"),
    ("84", "VN"),
    ("852", "HK"),
    ("86", "CN"),
    ("886", "TW"),
    ("90", "TR"),
    ("91", "IN"),
    ("92", "PK"),
    ("94", "LK"),
    ("966", "SA"),
    ("971", "AE"),
    ("972", "IL"),
    ("974", "QA"),
    ("995", "GE"),
];

/// The country of a number, and its calling code.
pub(super) fn country(number: &Msisdn) -> Option<(&'static str, u64)> {
    let found = COUNTRIES.iter().find(|(code, _)| number.digits().starts_with(code));
    found.and_then(|(code, country)| Some((*country, code.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_country_of_their_code() {
        let of = |digits| country(&Msisdn::from_digits(digits).unwrap());
        assert_eq!(of("9991234567"), None);
        assert_eq!(of("4512345678"), Some(("DK", 45)));
        assert_eq!(of("447700900000"), Some(("GB", 44)));
        assert_eq!(of("2981234567"), Some(("FO", 298)));
        assert_eq!(of("15005550006"), Some(("US", 1)));
    }

    #[test]
    fn no_code_begins_another() {
        for (code, _) in COUNTRIES {
            let like = COUNTRIES.iter().filter(|(other, _)| other.starts_with(code)).count();
            assert_eq!(like, 1, "{code}");
        }
    }
}
