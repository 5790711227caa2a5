//! `waybill user`: the people who use the console and the API.
//!
//! Works beside a running daemon and without one; see `control_client`.

use std::path::Path;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::control_client::with_accounts;
use super::listing::{columns, show};
use super::password::read_password;
use super::{Failure, argument, load};
use crate::account::{Role, UserName};
use crate::archive::ArchiveSettings;
use crate::config::Environment;
use crate::model::AppName;

pub(super) const GROUP_HELP: &str = "\
Examples:
  waybill user add anna --role admin
  waybill user list

People log in with POST /api/v1/session; programs use tokens.";

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
        /// Limit the person to the messages of one app; give it again for more
        #[arg(long, value_name = "APP", value_parser = argument::app)]
        app: Vec<AppName>,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List all people
    #[command(after_help = "Example:\n  waybill user list")]
    List,
    /// Give a person another role or other apps; who is logged in logs in again
    #[command(after_help = "\
Examples:
  waybill user change anna --role auditor
  waybill user change anna --app erp
  waybill user change anna --all-apps")]
    Change {
        /// Who
        name: String,
        /// What the person may do
        #[arg(long, value_parser = argument::role(), required_unless_present_any = ["app", "all_apps"])]
        role: Option<Role>,
        /// Limit the person to the messages of one app; give it again for more
        #[arg(long, value_name = "APP", value_parser = argument::app)]
        app: Vec<AppName>,
        /// Take the limit to apps away
        #[arg(long, conflicts_with = "app")]
        all_apps: bool,
    },
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
    /// Let a person in again, with the password of before
    #[command(after_help = "Example:\n  waybill user enable anna")]
    Enable {
        /// Who
        name: String,
    },
    /// Take the second factor away of somebody who lost it
    #[command(name = "reset-2fa", after_help = "Example:\n  waybill user reset-2fa anna")]
    Reset2fa {
        /// Whose second factor
        name: String,
    },
    /// Let somebody log in at once who failed too often
    #[command(after_help = "Example:\n  waybill user unlock anna")]
    Unlock {
        /// Who
        name: String,
    },
}

const USER_COLUMNS: [&str; 6] = ["name", "role", "apps", "two_factor", "created_at", "disabled_at"];

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
    let archive = load(config, environment)?.config.archive;
    match command {
        UserCommand::Add { name, role, app, password } => {
            let name = user_name(name)?;
            let password = read_password(password.password_stdin)?;
            let apps: Vec<&str> = app.iter().map(AppName::as_str).collect();
            let (role, password) = (role.as_str(), password.expose());
            let body =
                json!({"name": name.as_str(), "role": role, "apps": apps, "password": password});
            ask(&archive, Method::POST, "/users", Some(&body))?;
            show(&format!("The user {name} was added with the role {role}.\n"))
        }
        UserCommand::List => {
            let users = with_accounts(&archive, async |accounts| accounts.list("/users").await)?;
            show(&columns(&USER_COLUMNS, &users))
        }
        UserCommand::Change { name, role, app, all_apps } => {
            let name = user_name(name)?;
            let body = edit(*role, app, *all_apps);
            let path = format!("/users/{name}");
            ask(&archive, Method::PATCH, &path, Some(&body))?;
            show(&format!("The user {name} was changed.\n"))
        }
        UserCommand::Passwd { name, password } => {
            let name = user_name(name)?;
            let password = read_password(password.password_stdin)?;
            let body = json!({"password": password.expose()});
            let path = format!("/users/{name}/password");
            ask(&archive, Method::POST, &path, Some(&body))?;
            show(&format!("The password of {name} was changed.\n"))
        }
        UserCommand::Disable { name } => {
            let name = user_name(name)?;
            let path = format!("/users/{name}/disable");
            ask(&archive, Method::POST, &path, None)?;
            show(&format!("The user {name} is disabled.\n"))
        }
        UserCommand::Enable { name } => {
            let name = user_name(name)?;
            let path = format!("/users/{name}");
            let body = json!({"disabled": false});
            ask(&archive, Method::PATCH, &path, Some(&body))?;
            show(&format!("The user {name} is enabled.\n"))
        }
        UserCommand::Reset2fa { name } => {
            let name = user_name(name)?;
            let path = format!("/users/{name}/reset-2fa");
            ask(&archive, Method::POST, &path, None)?;
            show(&format!("The user {name} logs in with the password alone.\n"))
        }
        UserCommand::Unlock { name } => {
            let name = user_name(name)?;
            let path = format!("/users/{name}/unlock");
            ask(&archive, Method::POST, &path, None)?;
            show(&format!("The user {name} may log in.\n"))
        }
    }
}

fn ask(
    archive: &ArchiveSettings,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    with_accounts(archive, async |accounts| accounts.call(method, path, body).await)
}

/// What is not named stays as it is.
fn edit(role: Option<Role>, apps: &[AppName], all_apps: bool) -> Value {
    let mut body = Map::new();
    if let Some(role) = role {
        body.insert("role".to_owned(), role.as_str().into());
    }
    if all_apps || !apps.is_empty() {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        body.insert("apps".to_owned(), apps.into());
    }
    Value::Object(body)
}

/// Checked before anything is asked or opened.
fn user_name(text: &str) -> Result<UserName, Failure> {
    UserName::parse(text).ok_or_else(|| Failure::Usage(UserName::RULE.to_owned()))
}
