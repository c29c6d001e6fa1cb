//! Load for the benchmark that wrk and h2load do not make, each kind a command, and the backend of
//! the protocols that nginx does not speak. Every command prints one line of JSON; whatever is not
//! as it must be is counted in its `errors`, or ends it with exit code 1.

mod arguments;
mod backend;
mod grpc;
mod handshakes;
mod idle;
mod rate;
mod tls;
mod websocket;

use std::{io, process::ExitCode};

use arguments::Arguments;

fn main() -> ExitCode {
    let (command, arguments) = Arguments::read();
    match run(&command, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, arguments: &Arguments) -> io::Result<()> {
    // Its own loop over epoll: Tokio's timers are too coarse for it.
    if command == "rate" {
        return rate::run(arguments);
    }
    // One thread, because one core is all that load and backends have.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match command {
            "backend" => backend::run(arguments).await,
            "grpc" => grpc::run(arguments).await,
            "handshakes" => handshakes::run(arguments).await,
            "idle" => idle::run(arguments).await,
            "websocket" => websocket::run(arguments).await,
            _ => Err(io::Error::other("no such command")),
        }
    });
    // Tasks may wait for peers for ever.
    runtime.shutdown_background();
    result
}
