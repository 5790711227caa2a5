//! The `waybill` command; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    waybill::cli::main()
}
