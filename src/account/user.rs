//! Users: people who will log in to the console with a name and a password.

use std::fmt;

use super::accounts::AccountError;
use super::identity::AppScope;
use super::role::Role;
use crate::archive::{ArchiveError, UserRecord};
use crate::model::Timestamp;

/// Longest user name, in bytes.
const MAX_USER_NAME_BYTES: usize = 64;

/// A user's name, in lower case: `Anna` and `anna` are one person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

impl UserName {
    /// What `parse` takes, in words.
    pub const RULE: &str = "a user name is 1 to 64 letters, digits, '.', '_', '-' or '@', and begins with a letter or digit";

    /// `None` unless it keeps the rule.
    pub fn parse(text: &str) -> Option<UserName> {
        let first = text.bytes().next()?;
        let ok = text.len() <= MAX_USER_NAME_BYTES
            && first.is_ascii_alphanumeric()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b));
        ok.then(|| UserName(text.to_ascii_lowercase()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub name: UserName,
    pub role: Role,
    pub scope: AppScope,
}

/// What is to be another for a user; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UserEdit {
    pub role: Option<Role>,
    pub scope: Option<AppScope>,
    /// Whether to let the user in no longer, or again.
    pub disabled: Option<bool>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: UserName,
    pub role: Role,
    pub scope: AppScope,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
    /// A second factor is asked for at each login.
    pub has_two_factor: bool,
}

impl User {
    /// From its row, whose words are parsed again: a role that is none must not become any role.
    pub(super) fn from_record(record: &UserRecord) -> Result<User, AccountError> {
        let name = UserName::parse(&record.name);
        let (Some(name), Some(role)) = (name, Role::parse(&record.role)) else {
            return Err(AccountError::Archive(ArchiveError::Storage {
                operation: "read a user",
                source: format!("name {:?} or role {:?}", record.name, record.role).into(),
            }));
        };
        Ok(User {
            name,
            role,
            scope: super::accounts::scope_of(record.apps.clone())?,
            created_at: record.created_at,
            disabled_at: record.disabled_at,
            has_two_factor: record.second_factor.as_ref().is_some_and(|factor| factor.confirmed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_lowered() {
        for bad in ["", "-a", "@a", "a b", "a\n", "å", "a/b", &"x".repeat(65)] {
            assert_eq!(UserName::parse(bad), None, "{bad:?}");
        }
        assert_eq!(UserName::parse("Anna.Berg@Example").unwrap().as_str(), "anna.berg@example");
    }
}
