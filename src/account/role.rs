//! Roles: each has all the rights of the one before, except that an auditor has no operator rights.

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
}
