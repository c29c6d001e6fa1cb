//! Places that are taken and given back. How many there are may change at any time.

use std::sync::atomic::Ordering::SeqCst;

use tokio::sync::Semaphore;

use crate::sync::{AtomicUsize, Mutex};

/// The most that there can be.
pub(crate) const MOST: usize = Semaphore::MAX_PERMITS;

/// Places that are taken in the order of asking.
#[derive(Debug)]
pub(crate) struct Places {
    free: Semaphore,
    /// How many there may be. Changed by one at a time.
    allowed: AtomicUsize,
    changing: Mutex<()>,
    /// How many are taken too many, since there are fewer: these are not given back.
    debt: AtomicUsize,
}

impl Places {
    /// So many, up to [`MOST`].
    pub(crate) fn new(allowed: usize) -> Self {
        Self {
            free: Semaphore::new(allowed),
            allowed: AtomicUsize::new(allowed),
            changing: Mutex::new(()),
            debt: AtomicUsize::new(0),
        }
    }

    /// Takes a place, if one is free.
    pub(crate) fn try_take(&self) -> bool {
        let place = self.free.try_acquire();
        place.map(|place| place.forget()).is_ok()
    }

    /// Waits for a place, and takes it.
    pub(crate) async fn take(&self) {
        let place = self.free.acquire().await;
        place.expect("the semaphore is never closed").forget();
    }

    /// Gives a place back that was taken.
    pub(crate) fn give_back(&self) {
        let pay = |debt: usize| debt.checked_sub(1);
        if self.debt.fetch_update(SeqCst, SeqCst, pay).is_err() {
            self.free.add_permits(1);
        }
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// So many from now on, up to [`MOST`].
    pub(crate) fn allow(&self, most: usize) {
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn how_many_there_are_changes_while_some_are_taken() {
        let places = Places::new(3);
        assert!((0..3).all(|_| places.try_take()));
        places.allow(1);
        places.give_back();
        places.give_back();
        assert!(!places.try_take(), "one is taken");
        places.allow(2);
        assert!(places.try_take() && !places.try_take());
        places.give_back();
        places.give_back();
        places.allow(MOST);
        assert_eq!((places.free(), places.debt.load(SeqCst)), (MOST, 0));
    }

    #[test]
    fn no_place_is_lost_and_none_is_too_many_in_any_order() {
        let orders = ferrix_model::check(|| {
            let places = Arc::new(Places::new(2));
            let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let threads = [2, 2, 1, 1].map(|most| {
                let (places, taken) = (Arc::clone(&places), Arc::clone(&taken));
                ferrix_model::spawn(move || {
                    places.allow(most);
                    if places.try_take() {
                        assert!(taken.fetch_add(1, SeqCst) < 2);
                        places.debt.load(SeqCst);
                        taken.fetch_sub(1, SeqCst);
                        places.give_back();
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            places.allow(2);
            assert_eq!(places.free(), 2, "a place is lost");
            assert_eq!(places.debt.load(SeqCst), 0);
        });
        assert!(orders > 0);
    }
}
