//! What the configuration takes from around the file: variables, and the name of the machine.
//!
//! It is read once and passed in, so that a test can say what it is.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Variables, and where this is. It is not `Debug`, because variables hold secrets.
#[derive(Clone, Default)]
pub struct Environment {
    pub variables: BTreeMap<OsString, OsString>,
    /// `uname -n`
    pub machine_name: String,
    /// Only looking, from a shell: secrets that systemd would hand over may be missing.
    pub is_rehearsal: bool,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        let machine_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Environment { variables: std::env::vars_os().collect(), machine_name, is_rehearsal: false }
    }

    /// One variable; an empty one counts as unset.
    pub(super) fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(&OsString::from(name)).filter(|value| !value.is_empty())
    }
}
