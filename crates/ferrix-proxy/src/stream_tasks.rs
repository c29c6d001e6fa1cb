//! The tasks that serve the streams of one HTTP/2 connection.
//!
//! A task that has served a stream waits a moment for the next one, and keeps its room and its timer until
//! then, because to make both for each stream is a part of its cost that can be measured.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use parking_lot::Mutex;

use crate::{deadline::Deadline, http1::PAUSE};

/// What a connection hands its streams to, until it drops this.
#[derive(Debug)]
pub(crate) struct StreamTasks<S>(Waiting<S>);

/// Tasks without a stream, as each of them knows it.
#[derive(Debug)]
pub(crate) struct Waiting<S>(Arc<Mutex<Shared<S>>>);

#[derive(Debug)]
struct Shared<S> {
    /// Those that wait, by the number that each got when it began to. The last one has the next stream: what
    /// it needs is still in the caches of its processor.
    tasks: Vec<(u64, Waker)>,
    /// As many as there are tasks that were woken and have not run since.
    streams: Vec<S>,
    /// How often a task began to wait.
    count: u64,
    /// There will be no more streams.
    closed: bool,
}

impl<S> StreamTasks<S> {
    pub(crate) fn new() -> Self {
        Self(Waiting(Arc::new(Mutex::new(Shared {
            tasks: Vec::new(),
            streams: Vec::new(),
            count: 0,
            closed: false,
        }))))
    }

    /// Has a task that waits serve a stream. The stream comes back where none waits, with where the task that
    /// is to be made for it waits afterwards.
    pub(crate) fn hand(&self, stream: S) -> Result<(), (S, Waiting<S>)> {
        let mut shared = self.0.0.lock();
        let Some((_, waker)) = shared.tasks.pop() else {
            return Err((stream, Waiting(Arc::clone(&self.0.0))));
        };
        shared.streams.push(stream);
        drop(shared);
        waker.wake();
        Ok(())
    }
}

impl<S> Drop for StreamTasks<S> {
    fn drop(&mut self) {
        let mut shared = self.0.0.lock();
        shared.closed = true;
        let tasks = std::mem::take(&mut shared.tasks);
        drop(shared);
        tasks.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl<S> Waiting<S> {
    /// The next stream for a task, if one comes within a [`PAUSE`].
    pub(crate) async fn next(&self, deadline: &mut Deadline) -> Option<S> {
        deadline.set(PAUSE);
        let mut number = None;
        poll_fn(|cx| self.poll_next(&mut number, deadline, cx)).await
    }

    fn poll_next(
        &self,
        number: &mut Option<u64>,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<Option<S>> {
        let mut shared = self.0.lock();
        let number = match *number {
            Some(number) => number,
            None if shared.closed => return Poll::Ready(None),
            None => {
                shared.count += 1;
                let count = shared.count;
                shared.tasks.push((count, cx.waker().clone()));
                *number.insert(count)
            }
        };
        match shared.tasks.iter().position(|(it, _)| *it == number) {
            // Woken for a stream, be it this one or another's, or for the end.
            None => Poll::Ready(shared.streams.pop()),
            Some(place) => {
                ready!(deadline.poll_passed(cx));
                shared.tasks.remove(place);
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, task::yield_now};

    use super::*;
    use crate::clock;

    /// Hands streams over; their tasks say which task served which stream.
    struct Connection {
        streams: StreamTasks<u32>,
        made: u32,
        served: mpsc::UnboundedSender<(u32, u32)>,
    }

    impl Connection {
        fn new() -> (Self, mpsc::UnboundedReceiver<(u32, u32)>) {
            let (served, log) = mpsc::unbounded_channel();
            let streams = StreamTasks::new();
            let made = 0;
            let connection = Self {
                streams,
                made,
                served,
            };
            (connection, log)
        }

        fn on_stream(&mut self, stream: u32) {
            let Err((stream, waiting)) = self.streams.hand(stream) else {
                return;
            };
            self.made += 1;
            let (task, served) = (self.made, self.served.clone());
            tokio::spawn(async move {
                let mut deadline = Deadline::never();
                let mut next = Some(stream);
                while let Some(stream) = next {
                    served.send((task, stream)).unwrap();
                    yield_now().await;
                    next = waiting.next(&mut deadline).await;
                }
            });
        }
    }

    /// After all that runs has come to wait.
    async fn turn() {
        // As a worker does when it has waited.
        clock::read();
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_waits_serves_the_next_stream() {
        let (mut connection, mut log) = Connection::new();
        for stream in 0..3 {
            connection.on_stream(stream);
            turn().await;
            assert_eq!(log.try_recv(), Ok((1, stream)));
            tokio::time::advance(PAUSE / 2).await;
        }
        // At once they need a task each.
        for stream in 3..6 {
            connection.on_stream(stream);
        }
        turn().await;
        let mut served: Vec<_> = std::iter::from_fn(|| log.try_recv().ok()).collect();
        served.sort_unstable();
        assert_eq!(served, [(1, 3), (2, 4), (3, 5)]);
        assert_eq!(connection.streams.0.0.lock().tasks.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_ends_after_a_pause() {
        let (mut connection, mut log) = Connection::new();
        connection.on_stream(0);
        turn().await;
        tokio::time::sleep(PAUSE + Duration::from_millis(10)).await;
        assert_eq!(Arc::strong_count(&connection.streams.0.0), 1);
        connection.on_stream(1);
        turn().await;
        let served: Vec<_> = std::iter::from_fn(|| log.try_recv().ok()).collect();
        assert_eq!(served, [(1, 0), (2, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_end_with_the_connection_and_lose_no_stream() {
        let (mut connection, mut log) = Connection::new();
        connection.on_stream(0);
        connection.on_stream(1);
        turn().await;
        // One task is woken for a stream, and one waits.
        connection.on_stream(2);
        let shared = Arc::clone(&connection.streams.0.0);
        drop(connection);
        turn().await;
        assert_eq!(Arc::strong_count(&shared), 1);
        let mut served: Vec<_> = std::iter::from_fn(|| log.try_recv().ok()).collect();
        served.sort_unstable_by_key(|(_, stream)| *stream);
        assert_eq!(served.len(), 3, "{served:?}");
    }
}
