//! `waybill user`: people.

use std::path::Path;

use super::password::read_password;
use super::{Failure, argument, load};
use crate::account::Role;
use crate::config::Environment;

#[derive(Debug, clap::Subcommand)]
pub(super) enum UserCommand {
    /// Add a person
    #[command(after_help = "\
Examples:
  waybill user add anna --role admin
  pass show waybill/anna | waybill user add anna --role viewer --password-stdin")]
    Add {
        /// The name to log in with
        name: String,
        /// What the person may do
        #[arg(long, value_parser = argument::role())]
        role: Role,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List all people
    #[command(after_help = "Example:\n  waybill user list")]
    List,
    /// Change a password
    #[command(after_help = "Example:\n  waybill user passwd anna")]
    Passwd {
        /// Whose password
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Shut a person out; what they did stays on record
    #[command(after_help = "Example:\n  waybill user disable anna")]
    Disable {
        /// Who
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct PasswordArgs {
    /// Read the password from stdin instead of the terminal
    #[arg(long)]
    password_stdin: bool,
}

pub(super) fn user(
    command: &UserCommand,
    config: Option<&Path>,
    environment: &Environment,
) -> Result<(), Failure> {
    load(config, environment)?;
    let what = match command {
        UserCommand::Add { name, role, password } => {
            read_password(password.password_stdin)?;
            format!("user add {name} --role {}", role.as_str())
        }
        UserCommand::List => String::from("user list"),
        UserCommand::Passwd { name, password } => {
            read_password(password.password_stdin)?;
            format!("user passwd {name}")
        }
        UserCommand::Disable { name } => format!("user disable {name}"),
    };
    Err(Failure::Failed(format!("\"{what}\" is not built yet")))
}
