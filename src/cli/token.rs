//! `waybill token`: tokens of programs.

use std::path::Path;
use std::time::Duration;

use super::{Failure, argument, load};
use crate::account::Role;
use crate::config::{Environment, write_duration};
use crate::model::AppName;

#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token and print it, once
    #[command(after_help = "\
Examples:
  waybill token create --role viewer --expires 90d --note \"nightly report\"
  waybill token create --role operator --app erp")]
    Create {
        /// What its holder may do
        #[arg(long, value_parser = argument::role())]
        role: Role,
        /// Limit it to one app; give it again for more
        #[arg(long, value_name = "APP", value_parser = argument::app)]
        app: Vec<AppName>,
        /// When it stops working, such as 90d; default: never
        #[arg(long, value_name = "DURATION", value_parser = argument::duration)]
        expires: Option<Duration>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// List all tokens; the tokens themselves are not kept
    #[command(after_help = "Example:\n  waybill token list")]
    List,
    /// End a token at once
    #[command(after_help = "Example:\n  waybill token revoke 01JD5VZ7Q4N7W4T6Y5M8R2K3B1")]
    Revoke {
        /// Its id, as `waybill token list` shows it
        id: String,
    },
}

pub(super) fn token(
    command: &TokenCommand,
    config: Option<&Path>,
    environment: &Environment,
) -> Result<(), Failure> {
    load(config, environment)?;
    let what = match command {
        TokenCommand::Create { role, app, expires, note } => {
            let expires = expires.map(write_duration).unwrap_or_default();
            let note = note.as_deref().unwrap_or_default();
            format!("token create {} {app:?} {expires} {note}", role.as_str())
        }
        TokenCommand::List => String::from("token list"),
        TokenCommand::Revoke { id } => format!("token revoke {id}"),
    };
    Err(Failure::Failed(format!("\"{what}\" is not built yet")))
}
