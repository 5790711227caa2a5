//! Roles and permissions: each role has all the rights of the one before, except that an auditor
//! has no operator rights.

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads messages.
    Viewer,
    /// Stops, restarts, releases and resends them as well.
    Operator,
    /// Reads messages, evidence and both logs; changes nothing.
    Auditor,
    /// Everything.
    Admin,
}

/// What a route needs. Everything that a stranger to it may not do is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Log in: open to everybody who reaches the port.
    LogIn,
    /// Ask who one is, and keep one's own sessions and second factor.
    Identify,
    /// See messages, their content and their history.
    ReadMessages,
    /// Stop, restart and release messages.
    ActOnMessages,
    /// See the queue as a whole.
    ReadQueue,
    /// Pause and resume upstreams: it holds up the mail of every app.
    ManageUpstreams,
    /// Add to and take from the suppression list.
    ManageSuppressions,
    /// See what applications are still to be told, try it again, drop it.
    ManageDeliveries,
    /// Take the content of messages away for good.
    DeleteMessages,
    /// See what people did.
    ReadLogs,
    /// Users and tokens.
    ManageAccounts,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Permission; 11] = [
        Permission::LogIn,
        Permission::Identify,
        Permission::ReadMessages,
        Permission::ActOnMessages,
        Permission::ReadQueue,
        Permission::ManageUpstreams,
        Permission::ManageSuppressions,
        Permission::ManageDeliveries,
        Permission::DeleteMessages,
        Permission::ReadLogs,
        Permission::ManageAccounts,
    ];

    /// Whether it reaches beyond the messages of single apps, so that somebody who is limited to
    /// apps does not have it whatever the role: an administrator of one app who could create tokens
    /// could create one without the limit.
    pub fn spans_apps(self) -> bool {
        match self {
            Permission::LogIn
            | Permission::Identify
            | Permission::ReadMessages
            | Permission::ActOnMessages
            | Permission::DeleteMessages => false,
            Permission::ReadQueue
            | Permission::ManageUpstreams
            | Permission::ManageSuppressions
            | Permission::ManageDeliveries
            | Permission::ReadLogs
            | Permission::ManageAccounts => true,
        }
    }
}

impl Role {
    /// All four.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Auditor, Role::Admin];

    /// The word that the API, the commands and the config use.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
            Role::Admin => "admin",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether the role carries the permission.
    pub fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::LogIn
            | Permission::Identify
            | Permission::ReadMessages
            | Permission::ReadQueue => true,
            Permission::ReadLogs => matches!(self, Role::Auditor | Role::Admin),
            Permission::ActOnMessages
            | Permission::ManageSuppressions
            | Permission::ManageDeliveries => matches!(self, Role::Operator | Role::Admin),
            Permission::ManageUpstreams
            | Permission::DeleteMessages
            | Permission::ManageAccounts => matches!(self, Role::Admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_each_other_as_promised() {
        let rights = |role: Role| Permission::ALL.map(|permission| role.may(permission));
        let within = |a: Role, b: Role| rights(a).iter().zip(rights(b)).all(|(a, b)| !a || b);
        assert!(!Role::Viewer.may(Permission::ActOnMessages));
        assert!(!Role::Auditor.may(Permission::ActOnMessages));
        assert!(!Role::Operator.may(Permission::ManageUpstreams));
        assert!(!Role::Auditor.may(Permission::ManageAccounts));
        assert!(within(Role::Viewer, Role::Operator) && within(Role::Viewer, Role::Auditor));
        assert!(Role::ALL.into_iter().all(|role| within(role, Role::Admin)));
        assert!(Permission::ALL.into_iter().all(|permission| Role::Admin.may(permission)));
    }

    #[test]
    fn words_are_read_and_written() {
        assert_eq!(Role::parse("Admin"), None);
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.as_str()) == Some(role)));
    }
}
