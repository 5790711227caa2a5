//! `waybill run`: the daemon.

use std::path::Path;

use super::{Failure, load};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill run                       with the built-in defaults, everything on loopback
  waybill run --config /etc/waybill/waybill.toml")]
pub(super) struct RunArgs {}

pub(super) fn run(
    _: &RunArgs,
    config: Option<&Path>,
    environment: &Environment,
) -> Result<(), Failure> {
    load(config, environment)?;
    Err(Failure::Failed(String::from("\"run\" is not built yet")))
}
