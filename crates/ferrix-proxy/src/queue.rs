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
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    failure::Failure,
    sync::{AtomicUsize, Mutex},
};

/// The places of a Service. What is allowed may change while requests are under way.
#[derive(Debug)]
struct Queue {
    free: Semaphore,
    waiting: AtomicUsize,
    /// How many there may be. Changed by one at a time.
    allowed: AtomicUsize,
    changing: Mutex<()>,
    /// How many are under way too many, since it has become fewer: their places are not given back.
    debt: AtomicUsize,
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
        Some(places) => {
            let wait = left.map_or(limit.wait, |left| left.min(limit.wait));
            places.take(limit, wait).await
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
        if let Some(places) = Queue::of(&*self.0) {
            places.give_back();
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
            free: Semaphore::new(allowed),
            waiting: AtomicUsize::new(0),
            allowed: AtomicUsize::new(allowed),
            changing: Mutex::new(()),
            debt: AtomicUsize::new(0),
        }
    }

    /// `None`: another's. There is none.
    fn of<'q>(queue: &'q (dyn state::Queue + 'static)) -> Option<&'q Self> {
        let queue: &dyn Any = queue;
        queue.downcast_ref()
    }

    /// Takes a place, or tells that there is none.
    async fn take(&self, limit: &RequestLimit, wait: Duration) -> bool {
        self.allow(limit.requests as usize);
        if let Ok(place) = self.free.try_acquire() {
            place.forget();
            return true;
        }
        let before = self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(self);
        if before >= limit.pending as usize {
            return false;
        }
        match timeout(wait, self.free.acquire()).await {
            Ok(Ok(place)) => {
                place.forget();
                true
            }
            // It is never closed.
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Allows so many from now on.
    fn allow(&self, most: usize) {
        if self.allowed.load(SeqCst) == most {
            return;
        }
        let _changing = self.changing.lock();
        let before = self.allowed.swap(most, SeqCst);
        if most > before {
            let more = most - before;
            let paid = |debt: usize| Some(debt.saturating_sub(more));
            let debt = self.debt.fetch_update(SeqCst, SeqCst, paid);
            self.free
                .add_permits(more - debt.unwrap_or_default().min(more));
        } else if most < before {
            let fewer = before - most;
            let taken = self.free.forget_permits(fewer);
            self.debt.fetch_add(fewer - taken, SeqCst);
        }
    }

    fn give_back(&self) {
        let pay = |debt: usize| debt.checked_sub(1);
        if self.debt.fetch_update(SeqCst, SeqCst, pay).is_err() {
            self.free.add_permits(1);
        }
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
        queue.give_back();
        assert_eq!(poll(first.as_mut()), Poll::Ready(true));
        assert!(!queue.take(&limit, wait).await, "it has waited long enough");
        assert_eq!(state::Queue::waiting(&queue), 0);
        queue.give_back();
        queue.give_back();
        assert_eq!(queue.free.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_allowed_changes_while_requests_are_under_way() {
        let queue = Queue::new(3);
        let wait = Duration::ZERO;
        for _ in 0..3 {
            assert!(queue.take(&limit(3, 0), wait).await);
        }
        assert!(!queue.take(&limit(1, 0), wait).await);
        queue.give_back();
        queue.give_back();
        assert!(!queue.take(&limit(1, 0), wait).await, "one is under way");
        assert!(queue.take(&limit(2, 0), wait).await);
        assert!(!queue.take(&limit(2, 0), wait).await);
        for _ in 0..2 {
            queue.give_back();
        }
        assert_eq!(queue.free.available_permits(), 2);
        assert_eq!(queue.debt.load(Relaxed), 0);
    }

    #[test]
    fn no_place_is_lost_and_none_is_too_many_in_any_order() {
        let orders = ferrix_model::check(|| {
            let queue = Arc::new(Queue::new(2));
            let under_way = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let threads = [2, 2, 1, 1].map(|most| {
                let (queue, under_way) = (Arc::clone(&queue), Arc::clone(&under_way));
                ferrix_model::spawn(move || {
                    queue.allow(most);
                    if queue.free.try_acquire().map(|place| place.forget()).is_ok() {
                        assert!(under_way.fetch_add(1, SeqCst) < 2);
                        queue.waiting.load(Relaxed);
                        under_way.fetch_sub(1, SeqCst);
                        queue.give_back();
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            queue.allow(2);
            assert_eq!(queue.free.available_permits(), 2, "a place is lost");
            assert_eq!(queue.debt.load(Relaxed), 0);
        });
        assert!(orders > 0);
    }
}
