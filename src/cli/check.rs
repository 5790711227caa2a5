//! `waybill check`: reads the configuration as `run` does, and says what it found.
//!
//! Findings go to stderr, so that with `--print` stdout holds the effective configuration alone.

use std::io::Write;
use std::path::Path;

use super::{Failure, load, print_problems};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill check --config config/waybill.toml
  waybill check --print             the effective configuration, secrets hidden")]
pub(super) struct CheckArgs {
    /// Print the effective configuration, defaults included, with secrets hidden
    #[arg(long)]
    print: bool,
}

/// Errors fail; warnings and notices do not.
pub(super) fn check(
    args: &CheckArgs,
    config: Option<&Path>,
    environment: Environment,
) -> Result<(), Failure> {
    // From a shell, systemd's credentials are not there, and the rest is still worth checking.
    let loaded = load(config, &Environment { is_rehearsal: true, ..environment })?;
    print_problems(&loaded.notices);
    let name =
        config.map_or_else(|| String::from("built-in defaults"), |p| p.display().to_string());
    let summary = match loaded.warnings.len() {
        0 => format!("{name}: good"),
        1 => format!("{name}: good, with 1 warning"),
        count => format!("{name}: good, with {count} warnings"),
    };
    let text = if args.print { &loaded.effective } else { &format!("{summary}\n") };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::Failed(format!("stdout can not be written: {error}")))
}
