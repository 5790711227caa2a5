//! `waybill verify`: whether both logs are as they were written.
//!
//! Works beside a running daemon and without one; see `control_client`. The messages themselves are
//! not checked by this version, and the command says so.

use std::path::Path;

use serde_json::Value;

use super::control_client::with_accounts;
use super::listing::show;
use super::{Failure, load};
use crate::config::Environment;

pub(super) const HELP: &str = "\
Example:
  waybill verify

Each row of a log holds the SHA-256 of the row before it. A row that was changed, put in, taken out or moved is
found, and so is an end that was cut off. Not found is what somebody does who can write the file and computes
the chain anew: so keep the number of rows and the digest that are shown in another place, and compare. Row for
row, GET /api/v1/logs/security and /api/v1/logs/operations show the digests.";

pub(super) fn verify(config: Option<&Path>, environment: &Environment) -> Result<(), Failure> {
    let archive = load(config, environment)?.config.archive;
    let checks = with_accounts(&archive, async |accounts| accounts.list("/verify").await)?;
    let mut damaged = Vec::new();
    for check in &checks {
        let log = check.get("log").and_then(Value::as_str).unwrap_or_default();
        let rows = check.get("rows").and_then(Value::as_u64).unwrap_or_default();
        match check.get("why").and_then(Value::as_str) {
            None => {
                let digest = check.get("digest").and_then(Value::as_str).unwrap_or_default();
                show(&format!("The {log} log is whole: {rows} rows, the last one {digest}.\n"))?;
            }
            Some(why) => damaged.push(format!("the {log} log was changed: {why}")),
        }
    }
    match damaged.is_empty() {
        true => show("Messages and their bytes are not checked by this version.\n"),
        false => Err(Failure::Failed(damaged.join("; "))),
    }
}
