//! The `ferrix` command.

use std::process::ExitCode;

use clap::Parser as _;
use ferrix::{
    command_line::{self, CommandLine},
    log,
};

/// Requests are born and die on many threads, and a table is built on one thread and freed on
/// another. The system's allocator keeps such memory in arenas by thread, where it stays; this one
/// gives it back. It does not ask for huge pages: what is kept is spread over many small pieces, and
/// a huge page stays in memory for any of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let code = command_line::run(CommandLine::parse()).unwrap_or_else(|error| {
        log::last_words(&format!("ferrix: {error}"));
        ExitCode::FAILURE
    });
    log::finish();
    code
}
