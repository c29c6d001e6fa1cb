//! What Ferrix says about itself: one stream on standard error, for people or for machines.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal as _,
    panic,
};

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::settings::{Log, LogFormat, LogLevel};

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
}

/// Starts the log of the process. The `log` crate's records, which libraries write, come with it,
/// and so do panics.
pub fn start(settings: &Log) -> Result<(), Error> {
    let filter = match std::env::var(VARIABLE) {
        Ok(directives) if !directives.is_empty() => EnvFilter::builder().parse(directives)?,
        _ => EnvFilter::builder().parse(directives(settings.level))?,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
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

/// Libraries talk of single connections, at levels that ours keeps for what an operator must know:
/// each client that leaves early would be an error. They are heard one level later.
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
