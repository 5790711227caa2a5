//! The `waybill` command; everything is in the library.

use std::process::ExitCode;

/// What many threads free is given back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    waybill::cli::main()
}
