//! API tokens: `wb_` and 256 random bits, shown once, stored as their SHA-256.
//!
//! A plain SHA-256 is right here and wrong for passwords: nobody can guess 256 random bits, so there
//! is nothing that a slow hash would slow down. The look-up goes by that digest, so its time tells
//! nothing about the token: whoever could choose digests would have to break SHA-256 first.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ulid::Ulid;

use super::accounts::AccountError;
use super::identity::AppScope;
use super::role::Role;
use crate::archive::{ArchiveError, TokenRecord};
use crate::model::{Digest, Secret, Timestamp};

/// What every token begins with, so that secret scanners know one when they see it.
const PREFIX: &str = "wb_";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// 32 bytes in base64url without padding.
const ENCODED_CHARS: usize = 43;
/// Longest note, in bytes.
pub const MAX_NOTE_BYTES: usize = 200;

/// What people call a token by: a ULID, so that tokens sort by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(u128);

impl TokenId {
    /// Reads the 26 characters.
    pub fn parse(text: &str) -> Option<TokenId> {
        let whole = text.len() == ulid::ULID_LEN;
        whole.then(|| Ulid::from_string(text).ok()).flatten().map(|id| TokenId(id.0))
    }

    /// The number that is stored.
    pub(super) fn as_u128(self) -> u128 {
        self.0
    }

    pub(super) fn from_u128(id: u128) -> TokenId {
        TokenId(id)
    }

    pub(super) fn random(now: Timestamp) -> Result<TokenId, AccountError> {
        let random = u128::from_be_bytes(random_bytes()?);
        let ms = u64::try_from(now.as_millis()).unwrap_or_default();
        Ok(TokenId(Ulid::from_parts(ms, random).0))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Ulid(self.0).to_string())
    }
}

/// A token to be created.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub role: Role,
    pub scope: AppScope,
    /// `None`: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// What it is for, in the creator's words.
    pub note: Option<String>,
    /// Who creates it.
    pub created_by: String,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub role: Role,
    pub scope: AppScope,
    pub note: Option<String>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Why a token is not good. Clients are told the same for all three; the log is told which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    #[error("the token is not known")]
    Unknown,
    #[error("the token has expired")]
    Expired(TokenId),
    #[error("the token was revoked")]
    Revoked(TokenId),
}

impl Token {
    /// Whether it is good at `now`.
    pub fn judge(&self, now: Timestamp) -> Result<(), TokenRefusal> {
        if self.revoked_at.is_some() {
            return Err(TokenRefusal::Revoked(self.id));
        }
        match self.expires_at {
            Some(end) if end <= now => Err(TokenRefusal::Expired(self.id)),
            Some(_) | None => Ok(()),
        }
    }

    /// From its row, whose words are parsed again.
    pub(super) fn from_record(record: &TokenRecord) -> Result<Token, AccountError> {
        let role = Role::parse(&record.role).ok_or_else(|| {
            AccountError::Archive(ArchiveError::Storage {
                operation: "read a token",
                source: format!("role {:?}", record.role).into(),
            })
        })?;
        Ok(Token {
            id: TokenId(record.id),
            role,
            scope: super::accounts::scope_of(record.apps.clone())?,
            note: record.note.clone(),
            created_by: record.created_by.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
        })
    }
}

/// A new token's text.
pub(super) fn generate() -> Result<Secret, AccountError> {
    let bytes: [u8; SECRET_BYTES] = random_bytes()?;
    Ok(Secret::new(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
}

/// What is stored of it; `None` for a text that can not be a token, which saves the look-up.
pub(super) fn digest(text: &str) -> Option<Digest> {
    let secret = text.strip_prefix(PREFIX)?;
    (secret.len() == ENCODED_CHARS).then(|| Digest::of(text.as_bytes()))
}

pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], AccountError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AccountError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_random_and_hidden() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), PREFIX.len() + ENCODED_CHARS);
        assert!(!format!("{one:?}").contains(PREFIX));
        assert_eq!(digest(one.expose()), Some(Digest::of(one.expose().as_bytes())));
    }

    #[test]
    fn what_can_not_be_a_token_is_not_looked_up() {
        for bad in ["", "wb_", "wb_short", &"x".repeat(46), &format!("wb_{}", "x".repeat(44))] {
            assert_eq!(digest(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_good_until_its_end_or_its_revocation() {
        let at = Timestamp::from_millis;
        let id = TokenId::random(at(5)).unwrap();
        let mut token = Token {
            id,
            role: Role::Viewer,
            scope: AppScope::All,
            note: None,
            created_by: "user anna".into(),
            created_at: at(0),
            expires_at: Some(at(1_000)),
            revoked_at: None,
        };
        assert_eq!(token.judge(at(999)), Ok(()));
        assert_eq!(token.judge(at(1_000)), Err(TokenRefusal::Expired(id)));
        token.revoked_at = Some(at(1));
        assert_eq!(token.judge(at(999)), Err(TokenRefusal::Revoked(id)));
        assert_eq!(TokenId::parse(&id.to_string()), Some(id));
        assert_eq!(TokenId::parse("01J"), None);
    }
}
