//! Bytes that pass both ways as they come, and nobody reads: a connection after it was handed to another
//! protocol (RFC 9110, section 7.8), or one that never was for requests.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use crate::{budget::Waiting, deadline::Deadline, io::Io};

/// Bytes that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) from_client: u64,
    pub(crate) from_backend: u64,
}

/// Why a tunnel has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides have, or one has failed.
    Closed,
    /// Nothing has moved for too long.
    Idle,
}

/// Passes bytes until both sides have ended, or until nothing has moved for `idle`; 0: for ever. Where one
/// ends, the other is told, and may go on sending: Docker's clients end what they send before they have all
/// that comes.
pub(crate) async fn run(
    client: &mut Io,
    backend: &mut Io,
    deadline: &mut Deadline,
    idle: Duration,
    waiting: &mut Waiting<'_>,
) -> (Passed, End) {
    let mut tunnel = Tunnel {
        client,
        backend,
        from_client: Way::default(),
        from_backend: Way::default(),
    };
    deadline.set(idle);
    let end = loop {
        match poll_fn(|cx| tunnel.poll_step(deadline, waiting, cx)).await {
            Ok(None) => deadline.set(idle),
            Ok(Some(end)) => break end,
            // Whichever side failed, there is nobody to tell the other by.
            Err(_) => break End::Closed,
        }
    };
    let passed = Passed {
        from_client: tunnel.from_client.passed,
        from_backend: tunnel.from_backend.passed,
    };
    (passed, end)
}

struct Tunnel<'t> {
    client: &'t mut Io,
    backend: &'t mut Io,
    from_client: Way,
    from_backend: Way,
}

/// What one side sends to the other.
#[derive(Default)]
struct Way {
    passed: u64,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The sender has ended, and the other is to be told.
    Ending,
    Ended,
}

impl Tunnel<'_> {
    /// Ready when something has moved, or at the end.
    fn poll_step(
        &mut self,
        deadline: &mut Deadline,
        waiting: &mut Waiting<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<End>>> {
        let there = self.from_client.poll_pass(self.client, self.backend, cx)?;
        let back = self.from_backend.poll_pass(self.backend, self.client, cx)?;
        let ways = [&self.from_client, &self.from_backend];
        if ways.iter().all(|way| way.state == State::Ended) {
            return Poll::Ready(Ok(Some(End::Closed)));
        }
        if there.is_ready() || back.is_ready() {
            return Poll::Ready(Ok(None));
        }
        waiting.set(self.client.waits() + self.backend.waits());
        deadline.poll_passed(cx).map(|()| Ok(Some(End::Idle)))
    }
}

impl Way {
    /// Ready when something has moved.
    fn poll_pass(
        &mut self,
        from: &mut Io,
        to: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match self.state {
            State::Open => from.poll_pass(to, cx).map_ok(|passed| {
                self.passed += passed;
                if passed == 0 {
                    self.state = State::Ending;
                }
            }),
            State::Ending => to.poll_end(cx).map_ok(|()| self.state = State::Ended),
            State::Ended => Poll::Pending,
        }
    }
}
