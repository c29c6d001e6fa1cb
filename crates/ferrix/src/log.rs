//! What Ferrix says about itself: one stream on standard error, for people or for machines.
//!
//! Logging neither waits nor fails: [`lines`] takes what there is to say, and a thread of its own
//! writes it, as far as somebody reads.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal as _, Write as _},
    panic,
    sync::OnceLock,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::{
    settings::{Log, LogFormat, LogLevel},
    stream,
};

mod lines;

use lines::Lines;

/// How long the end of the process waits for a stream that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines of this process. There is one standard error stream, too.
static LINES: OnceLock<Lines> = OnceLock::new();

/// The variable that replaces the level of the settings, in the syntax of
/// `tracing_subscriber::EnvFilter`: `info,ferrix_control=debug`.
pub const VARIABLE: &str = "FERRIX_LOG";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable cannot be understood.
    #[error("{VARIABLE}: expected a filter such as info,ferrix_control=debug: {0}")]
    Variable(#[from] ParseError),
    /// Somebody else in the process was first.
    #[error("the log is in use already")]
    InUse,
    /// The thread that writes.
    #[error("the thread of the log cannot be started: {0}")]
    Thread(io::Error),
}

/// Starts the log of the process. The `log` crate's records, which libraries write, come with it,
/// and so do panics.
///
/// # Errors
/// [`Error`]; the process has no log then.
pub fn start(settings: &Log) -> Result<(), Error> {
    let filter = match std::env::var(VARIABLE) {
        Ok(directives) if !directives.is_empty() => EnvFilter::builder().parse(directives)?,
        _ => EnvFilter::builder().parse(directives(settings.level))?,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // The subscriber's own complaints go to `eprintln!`, which panics where nobody reads.
        .log_internal_errors(false)
        .with_writer(lines().map_err(Error::Thread)?);
    match settings.format {
        LogFormat::Text => subscriber
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
    }
    .map_err(|_| Error::InUse)?;
    // A second panic in here would end the process.
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        tracing::error!(backtrace, "panic: this is a bug in ferrix: {panic}");
    }));
    Ok(())
}

/// Says why a command failed, on the standard error stream, whether there is a log or not.
pub fn last_words(text: &str) {
    let line = format!("{text}\n");
    match lines() {
        Ok(lines) => lines.push(line.as_bytes()),
        // Nobody is left to be told that this fails.
        Err(_) => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Waits until what was said is written, for a second at most: nobody may be reading. For the end
/// of the process.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish(PATIENCE);
    }
}

/// Lines of the log that were lost, because nobody read them in time or at all.
pub fn lost() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}

/// The lines of this process, with their thread.
fn lines() -> io::Result<Lines> {
    if let Some(lines) = LINES.get() {
        return Ok(lines.clone());
    }
    let lines = Lines::start(stream::stderr()?)?;
    // Of two that come first, the later one writes by its own thread.
    let _ = LINES.set(lines.clone());
    Ok(lines)
}

/// Libraries log events of single connections as errors and warnings, which Ferrix keeps for what an
/// operator must know: every client that leaves early would be an error. So they are logged only at
/// `debug` and `trace`, and there at one level more severe than ours.
fn directives(level: LogLevel) -> String {
    let (ours, libraries) = match level {
        LogLevel::Error => ("error", "off"),
        LogLevel::Warn => ("warn", "off"),
        LogLevel::Info => ("info", "off"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Trace => ("trace", "debug"),
    };
    [
        "h2",
        "hyper",
        "hyper_util",
        "rustls",
        "mio",
        "kube_client",
        "kube_runtime",
    ]
    .iter()
    .fold(ours.to_string(), |text, library| {
        format!("{text},{library}={libraries}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter() {
        for level in [
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
            LogLevel::Trace,
        ] {
            EnvFilter::builder().parse(directives(level)).unwrap();
        }
    }
}
