//! The signals that the process takes, and what each asks for.
//!
//! From [`Signals::new`] on none of them ends the process by itself.

use std::io::{self, IsTerminal as _};

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, from an orchestrator.
    Terminate,
    /// SIGQUIT: with nginx, the one that drains. Also `Ctrl-\`.
    Quit,
    /// SIGINT, most often Ctrl-C.
    Interrupt,
    /// SIGHUP: the terminal is gone, or a log was rotated.
    HangUp,
    /// SIGUSR1: with nginx, that a log was rotated.
    User1,
    /// SIGUSR2: with nginx, to replace the running binary, which Ferrix does not do.
    User2,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To end well, once everybody has learned of it.
    Drain,
    /// The same without a delay: only the person at the terminal has to learn of it.
    DrainNow,
    /// To open log files anew.
    ReopenLogs,
    /// Nothing.
    Nothing,
}

impl Signal {
    /// What it asks of a process that was, or was not, started at a terminal.
    pub(crate) fn wish(self, at_terminal: bool) -> Wish {
        match (self, at_terminal) {
            (Self::Terminate, _) | (Self::Quit | Self::Interrupt, false) => Wish::Drain,
            (Self::Quit | Self::Interrupt | Self::HangUp, true) => Wish::DrainNow,
            (Self::HangUp, false) | (Self::User1, _) => Wish::ReopenLogs,
            (Self::User2, _) => Wish::Nothing,
        }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Quit => "SIGQUIT",
            Self::Interrupt => "SIGINT",
            Self::HangUp => "SIGHUP",
            Self::User1 => "SIGUSR1",
            Self::User2 => "SIGUSR2",
        }
    }
}

/// Where signals arrive. Make it before the start of anything, so that none is missed.
#[derive(Debug)]
pub struct Signals {
    arriving: Arriving,
    at_terminal: bool,
}

impl Signals {
    /// Takes the signals. Needs a runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            arriving: Arriving::new()?,
            at_terminal: io::stdin().is_terminal(),
        })
    }

    /// The next signal, with what it asks for.
    pub(crate) async fn next(&mut self) -> (Signal, Wish) {
        let signal = self.arriving.next().await;
        (signal, signal.wish(self.at_terminal))
    }

    /// The next signal that asks for the end.
    pub async fn end(&mut self) -> Signal {
        loop {
            if let (signal, Wish::Drain | Wish::DrainNow) = self.next().await {
                return signal;
            }
        }
    }
}

#[cfg(unix)]
#[derive(Debug)]
struct Arriving {
    terminate: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    user1: tokio::signal::unix::Signal,
    user2: tokio::signal::unix::Signal,
    /// A log file has reached the limit of the process: writing to it fails, which is counted.
    _file_size: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Arriving {
    fn new() -> io::Result<Self> {
        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            _file_size: signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.quit.recv() => Signal::Quit,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hang_up.recv() => Signal::HangUp,
            _ = self.user1.recv() => Signal::User1,
            _ = self.user2.recv() => Signal::User2,
        }
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Arriving;

#[cfg(not(unix))]
impl Arriving {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_meaning() {
        let cases = [
            (Signal::Terminate, Wish::Drain, Wish::Drain),
            (Signal::Quit, Wish::Drain, Wish::DrainNow),
            (Signal::Interrupt, Wish::Drain, Wish::DrainNow),
            (Signal::HangUp, Wish::ReopenLogs, Wish::DrainNow),
            (Signal::User1, Wish::ReopenLogs, Wish::ReopenLogs),
            (Signal::User2, Wish::Nothing, Wish::Nothing),
        ];
        for (signal, elsewhere, at_terminal) in cases {
            assert_eq!(signal.wish(false), elsewhere, "{signal:?}");
            assert_eq!(signal.wish(true), at_terminal, "{signal:?}");
        }
        assert_eq!(cases.len(), 6);
    }
}
