//! Who is behind a request, and which apps' messages they may see.

use std::fmt;

use super::role::{Permission, Role};
use super::token::TokenId;
use super::user::UserName;
use crate::model::AppName;

/// Somebody whose proof was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub actor: Actor,
    pub role: Role,
    pub scope: AppScope,
}

/// How they proved it; written into events as `by`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// With a password.
    User(UserName),
    /// With an API token.
    Token(TokenId),
    /// By being the daemon's user, or root, on this machine (the control socket).
    LocalUser { uid: u32 },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::User(name) => write!(f, "user {name}"),
            Actor::Token(id) => write!(f, "token {id}"),
            Actor::LocalUser { uid } => write!(f, "local user {uid}"),
        }
    }
}

impl Identity {
    /// Whether role and scope together carry the permission.
    pub fn may(&self, permission: Permission) -> bool {
        let reaches = match self.scope {
            AppScope::All => true,
            AppScope::Only(_) => !permission.spans_apps(),
        };
        reaches && self.role.may(permission)
    }
}

/// Which apps' messages somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppScope {
    All,
    /// Never empty.
    Only(Vec<AppName>),
}

impl AppScope {
    /// From a list of names, where no names means no limit.
    pub fn of(mut apps: Vec<AppName>) -> AppScope {
        apps.sort_unstable();
        apps.dedup();
        if apps.is_empty() { AppScope::All } else { AppScope::Only(apps) }
    }

    /// Whether messages of this app may be seen.
    pub fn contains(&self, app: &AppName) -> bool {
        match self {
            AppScope::All => true,
            AppScope::Only(apps) => apps.contains(app),
        }
    }

    /// `None` is all, as the archive's filter takes it.
    pub fn names(&self) -> Option<&[AppName]> {
        match self {
            AppScope::All => None,
            AppScope::Only(apps) => Some(apps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_to_apps_takes_away_what_spans_apps() {
        let erp = AppName::parse("erp").unwrap();
        let admin =
            |scope| Identity { actor: Actor::LocalUser { uid: 0 }, role: Role::Admin, scope };
        let limited = admin(AppScope::of(vec![erp.clone(), erp.clone()]));
        assert!(!limited.may(Permission::ManageAccounts));
        assert!(!limited.may(Permission::ReadQueue));
        assert!(!limited.may(Permission::ManageSuppressions));
        assert!(limited.may(Permission::ActOnMessages));
        assert_eq!(limited.scope.names(), Some(&[erp.clone()][..]));
        assert!(!limited.scope.contains(&AppName::parse("crm").unwrap()));
        assert!(limited.scope.contains(&erp));
        assert!(admin(AppScope::of(vec![])).may(Permission::ManageAccounts));
    }
}
