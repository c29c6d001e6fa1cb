//! Requests to a Service that has as many under way as its policy allows: so many wait, in the order in which
//! they came, and all others are refused.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use ferrix_table::{
    backend_policy::RequestLimit,
    state::{self, PolicyState},
};
use tokio::time::timeout;

use crate::{failure::Failure, places::Places, sync::AtomicUsize};

/// The places of a Service, and who waits for one.
#[derive(Debug)]
struct Queue {
    places: Places,
    waiting: AtomicUsize,
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Turn(Arc<dyn state::Queue>);

impl state::Queue for Queue {
    fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }
}

/// Waits until a request may be under way, at most as long as the limit says, and `left`.
///
/// # Errors
/// [`Failure::ServiceBusy`].
pub(crate) async fn turn(
    state: &PolicyState,
    limit: &RequestLimit,
    left: Option<Duration>,
) -> Result<Turn, Failure> {
    let slot = &state.queue;
    let queue = slot.get_or_init(|| Arc::new(Queue::new(limit.requests as usize)));
    let taken = match Queue::of(&**queue) {
        Some(queue) => {
            let wait = left.map_or(limit.wait, |left| left.min(limit.wait));
            queue.take(limit, wait).await
        }
        None => true,
    };
    if !taken {
        state.refused.add(1);
        return Err(Failure::ServiceBusy);
    }
    Ok(Turn(Arc::clone(queue)))
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(queue) = Queue::of(&*self.0) {
            queue.places.give_back();
        }
    }
}

/// Counts a request that waits.
struct Waiting<'q>(&'q Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

impl Queue {
    fn new(allowed: usize) -> Self {
        Self {
            places: Places::new(allowed),
            waiting: AtomicUsize::new(0),
        }
    }

    /// `None`: another's. There is none.
    fn of<'q>(queue: &'q (dyn state::Queue + 'static)) -> Option<&'q Self> {
        let queue: &dyn Any = queue;
        queue.downcast_ref()
    }

    /// Takes a place, or tells that there is none.
    async fn take(&self, limit: &RequestLimit, wait: Duration) -> bool {
        self.places.allow(limit.requests as usize);
        if self.places.try_take() {
            return true;
        }
        let before = self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(self);
        if before >= limit.pending as usize {
            return false;
        }
        timeout(wait, self.places.take()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn limit(requests: u32, pending: u32) -> RequestLimit {
        RequestLimit {
            requests,
            pending,
            wait: Duration::from_secs(1),
        }
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_under_way_and_so_many_wait() {
        let queue = Queue::new(2);
        let (limit, wait) = (limit(2, 1), Duration::from_secs(1));
        assert!(queue.take(&limit, wait).await && queue.take(&limit, wait).await);
        let mut first = pin!(queue.take(&limit, wait));
        assert!(poll(first.as_mut()).is_pending());
        assert_eq!(state::Queue::waiting(&queue), 1);
        assert!(!queue.take(&limit, wait).await, "one waits already");
        queue.places.give_back();
        assert_eq!(poll(first.as_mut()), Poll::Ready(true));
        assert!(!queue.take(&limit, wait).await, "it has waited long enough");
        assert_eq!(state::Queue::waiting(&queue), 0);
        queue.places.give_back();
        queue.places.give_back();
        assert_eq!(queue.places.free(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_allowed_changes_while_requests_are_under_way() {
        let queue = Queue::new(3);
        let wait = Duration::ZERO;
        for _ in 0..3 {
            assert!(queue.take(&limit(3, 0), wait).await);
        }
        assert!(!queue.take(&limit(1, 0), wait).await);
        queue.places.give_back();
        queue.places.give_back();
        assert!(!queue.take(&limit(1, 0), wait).await, "one is under way");
        assert!(queue.take(&limit(2, 0), wait).await);
        assert!(!queue.take(&limit(2, 0), wait).await);
        for _ in 0..2 {
            queue.places.give_back();
        }
        assert_eq!(queue.places.free(), 2);
    }
}
