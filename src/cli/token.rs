//! `waybill token`: the tokens of programs that use the API.
//!
//! Works beside a running daemon and without one; see `control_client`.

use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::control_client::with_accounts;
use super::listing::{columns, show};
use super::{Failure, argument, load};
use crate::account::{Role, TokenId};
use crate::admin::now;
use crate::config::Environment;
use crate::model::AppName;

pub(super) const GROUP_HELP: &str = "\
Examples:
  waybill token create --role viewer --expires 90d
  waybill token list";

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
    let archive = load(config, environment)?.config.archive;
    match command {
        TokenCommand::Create { role, app, expires, note } => {
            let apps: Vec<&str> = app.iter().map(AppName::as_str).collect();
            let expires_at = expires.map(|expires| now().plus(expires).to_string());
            let role = role.as_str();
            let body = json!({"role": role, "apps": apps, "expires_at": expires_at, "note": note});
            let created = with_accounts(&archive, async |accounts| {
                accounts.call(Method::POST, "/tokens", Some(&body)).await
            })?;
            let field = |name: &str| created.get(name).and_then(Value::as_str).unwrap_or_default();
            let until = expires_at.map_or("it is revoked".to_owned(), |at| at);
            eprintln!(
                "The token {} has the role {role} and is good until {until}. It is shown only this once:",
                field("id")
            );
            // Alone on stdout, so that a script can take it.
            show(&format!("{}\n", field("token")))
        }
        TokenCommand::List => {
            let tokens = with_accounts(&archive, async |accounts| accounts.list("/tokens").await)?;
            let names = [
                "id",
                "role",
                "apps",
                "created_at",
                "expires_at",
                "revoked_at",
                "created_by",
                "note",
            ];
            show(&columns(&names, &tokens))
        }
        TokenCommand::Revoke { id } => {
            let id = TokenId::parse(id).ok_or_else(|| {
                Failure::Usage("an id has 26 characters, as `waybill token list` shows it".into())
            })?;
            let path = format!("/tokens/{id}");
            with_accounts(&archive, async |accounts| {
                accounts.call(Method::DELETE, &path, None).await
            })?;
            show(&format!("The token {id} is revoked.\n"))
        }
    }
}
