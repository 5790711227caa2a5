//! `waybill reindex`: the search index built anew from the archive.
//!
//! Works beside a running daemon, which goes on to answer from the old index until then, and without
//! one; see `control_client`. How far it is goes to stderr.

use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use serde_json::Value;

use super::control_client::with_accounts;
use super::listing::show;
use super::{Failure, load};
use crate::config::Environment;

pub(super) const HELP: &str = "\
Example:
  waybill reindex

It works beside a running daemon, which goes on to answer meanwhile, and without one. The index is derived from
the archive: nothing is lost when its folder, search/ in the data folder, is deleted; the next start builds it anew.";

/// Between two looks at how far it is.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn reindex(config: Option<&Path>, environment: &Environment) -> Result<(), Failure> {
    let archive = load(config, environment)?.config.archive;
    let number = |state: &Value, name: &str| state.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (done, is_given_up) = with_accounts(&archive, async |daemon| {
        let mut state = daemon.call(Method::POST, "/reindex", None).await?;
        let mut told = None;
        while state.get("rebuilding").and_then(Value::as_bool).unwrap_or(false) {
            let (indexed, total) = (number(&state, "indexed"), number(&state, "total"));
            let percent = (indexed * 100).checked_div(total).unwrap_or(100);
            if told != Some(indexed) {
                eprintln!("{indexed} of {total} messages, {percent} %");
                told = Some(indexed);
            }
            tokio::time::sleep(PAUSE).await;
            state = daemon.call(Method::GET, "/reindex", None).await?;
        }
        let is_given_up = state.get("given_up").and_then(Value::as_bool).unwrap_or(false);
        Ok((number(&state, "indexed"), is_given_up))
    })?;
    if is_given_up {
        let why =
            "the search index could not be built; the daemon's log says why, and searches scan";
        return Err(Failure::Failed(why.to_owned()));
    }
    show(&format!("{done} messages are indexed.\n"))
}
