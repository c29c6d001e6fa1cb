//! The `ferrix` command.

use std::process::ExitCode;

use clap::Parser as _;
use ferrix::command_line::{self, CommandLine};

/// Requests are born and die on many threads, and a table is built on one thread and freed on
/// another. The system's allocator keeps such memory in arenas by thread, where it stays; this one
/// gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command_line::run(CommandLine::parse()).unwrap_or_else(|error| {
        eprintln!("ferrix: {error}");
        ExitCode::FAILURE
    })
}
