//! HTTP Basic (RFC 7617): the name and the password that a request shows, whatever its dialect.
//!
//! Takes headers and gives octets; nothing is compared here. Two `Authorization` fields are none: nobody
//! could tell which one counts. Padding of the base64 may be left out, as some libraries do.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, header};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Name and password; `None` without a colon between them.
pub(super) fn pair(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut name = decoded(headers)?;
    let colon = name.iter().position(|b| *b == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

/// What is in the field, whether there is a colon in it or not.
pub(super) fn decoded(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next().filter(|_| all.next().is_none())?.to_str().ok()?;
    let (scheme, encoded) = value.trim().split_once(' ')?;
    let is_basic = scheme.eq_ignore_ascii_case("basic");
    is_basic.then(|| LENIENT.decode(encoded.trim()).ok()).flatten()
}

/// The one token of a pair of which a client fills in what it likes: the password, or else the name.
pub(super) fn token((name, password): (Vec<u8>, Vec<u8>)) -> Vec<u8> {
    if password.is_empty() { name } else { password }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(values: &[&str], expected: Option<(&str, &str)>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let expected = expected.map(|(name, password)| (name.into(), password.into()));
        assert_eq!(pair(&headers), expected, "{values:?}");
    }

    #[test]
    fn a_pair_is_read_when_it_is_well_formed() {
        check(&[], None);
        check(&["Basic"], None);
        check(&["Basic !"], None);
        check(&["Bearer YTpi"], None);
        check(&["Basic YWI="], None);
        check(&["Basic YTpi", "Basic YTpi"], None);
        check(&["Basic YTpiOmM="], Some(("a", "b:c")));
        check(&["Basic YTpiOmM"], Some(("a", "b:c")));
        check(&["basic  YTo= "], Some(("a", "")));
    }

    #[test]
    fn a_token_may_stand_on_either_side() {
        assert_eq!(token((b"s3".to_vec(), Vec::new())), b"s3");
        assert_eq!(token((b"app".to_vec(), b"s3".to_vec())), b"s3");
    }
}
