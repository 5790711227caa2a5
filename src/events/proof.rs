//! A login or a token, by which a provider that signs nothing is known.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;

use super::{EventCall, EventRefusal};
use crate::model::Secret;

/// What a call must bring.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Basic authentication (RFC 7617).
    Login { user: String, password: Secret },
    /// `?token=…` in the URL that the provider was given, or `Authorization: Bearer …`.
    Token(Secret),
}

impl Proof {
    pub(super) fn check(&self, call: &EventCall<'_>) -> Result<(), EventRefusal> {
        let field = call.headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let is_proven = match self {
            Proof::Login { user, password } => {
                let given = credentials(field, b"basic ");
                let given = given.and_then(|text| BASE64_STANDARD.decode(text).ok());
                let expected = Secret::new(format!("{user}:{}", password.expose()));
                expected.matches(&given.unwrap_or_default())
            }
            Proof::Token(token) => {
                let bearer = credentials(field, b"bearer ").unwrap_or_default();
                token.matches(call.token) | token.matches(bearer)
            }
        };
        match is_proven {
            true => Ok(()),
            false => Err(EventRefusal::Forged),
        }
    }
}

/// What follows the scheme; its case does not count (RFC 9110 §11.1).
fn credentials<'a>(field: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (before, after) = field.split_at_checked(scheme.len())?;
    before.eq_ignore_ascii_case(scheme).then(|| after.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::super::field::tests::{call, with_header};
    use super::*;

    #[test]
    fn a_login_or_token_is_whole_or_nothing() {
        let login = Proof::Login { user: "waybill".into(), password: Secret::new("s3cret".into()) };
        let check = |field: &str| login.check(&call(&with_header("authorization", field), b""));
        for wrong in ["", "Basic", "Basic ", "Basic !!!!", "Bearer s3cret", "Basic d2F5YmlsbDo="] {
            assert_eq!(check(wrong), Err(EventRefusal::Forged), "{wrong}");
        }
        let given = BASE64_STANDARD.encode("waybill:s3cret");
        assert_eq!(check(&format!("Basic {given}")), Ok(()));
        assert_eq!(check(&format!("basic {given}")), Ok(()));
        let token = Proof::Token(Secret::new("t0ken".into()));
        let nothing = with_header("x", "y");
        assert_eq!(token.check(&call(&nothing, b"")), Err(EventRefusal::Forged));
        let with = |token| EventCall { token, ..call(&nothing, b"") };
        assert_eq!(token.check(&with(b"t0ke")), Err(EventRefusal::Forged));
        assert_eq!(token.check(&with(b"t0ken")), Ok(()));
        let bearer = with_header("authorization", "Bearer t0ken");
        assert_eq!(token.check(&call(&bearer, b"")), Ok(()));
    }
}
