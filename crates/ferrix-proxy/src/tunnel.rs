//! A connection after it was handed to another protocol (RFC 9110, section 7.8): bytes pass both ways
//! as they come, and nobody reads them.

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
    /// One side has ended, which ends the other.
    Closed,
    /// Nothing has moved for too long.
    Idle,
}

/// Passes bytes until one side ends, or nothing has moved for `idle`; 0: for ever.
pub(crate) async fn run(
    client: &mut Io,
    backend: &mut Io,
    deadline: &mut Deadline,
    idle: Duration,
    waiting: &mut Waiting<'_>,
) -> (Passed, End) {
    let mut passed = Passed::default();
    deadline.set(idle);
    loop {
        let step = poll_fn(|cx| poll_step(client, backend, &mut passed, deadline, waiting, cx));
        match step.await {
            Ok(None) => deadline.set(idle),
            Ok(Some(end)) => return (passed, end),
            // Whichever side failed, there is nobody to tell the other by.
            Err(_) => return (passed, End::Closed),
        }
    }
}

/// Ready when something has moved, or at the end.
fn poll_step(
    client: &mut Io,
    backend: &mut Io,
    passed: &mut Passed,
    deadline: &mut Deadline,
    waiting: &mut Waiting<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<End>>> {
    let mut moved = false;
    if let Poll::Ready(count) = client.poll_pass(backend, cx)? {
        passed.from_client += count;
        moved = true;
        if count == 0 {
            return Poll::Ready(Ok(Some(End::Closed)));
        }
    }
    if let Poll::Ready(count) = backend.poll_pass(client, cx)? {
        passed.from_backend += count;
        moved = true;
        if count == 0 {
            return Poll::Ready(Ok(Some(End::Closed)));
        }
    }
    if moved {
        return Poll::Ready(Ok(None));
    }
    waiting.set(client.waits() + backend.waits());
    deadline.poll_passed(cx).map(|()| Ok(Some(End::Idle)))
}
