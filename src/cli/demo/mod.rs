//! `waybill demo`: a complete system on loopback.

pub mod smtp_sink;

use std::path::PathBuf;

use super::Failure;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill demo
  waybill demo --data-dir /tmp/waybill-demo    keep what it archives")]
pub(super) struct DemoArgs {
    /// Keep the data here; default: a temporary folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

pub(super) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let folder = args.data_dir.as_deref().map(|path| format!(" (in {})", path.display()));
    Err(Failure::Failed(format!("\"demo\"{} is not built yet", folder.unwrap_or_default())))
}
