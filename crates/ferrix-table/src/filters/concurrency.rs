//! Limits of concurrency: how many requests may be under way at once.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
};

use super::{
    lasting::Lasting,
    limit_key::LimitKey,
    places::{Place, Places},
};
use crate::state::Counter;

/// How many requests may be under way at once, for each of those that are counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// So many; not 0.
    pub requests: u32,
    /// What is counted apart.
    pub by: LimitKey,
    /// What is under way.
    pub state: Lasting<ConcurrencyState>,
}

/// What a limit of concurrency remembers.
#[derive(Debug, Default)]
pub struct ConcurrencyState {
    under_way: Places,
    /// Requests that were refused.
    pub refused: Counter,
}

/// A request that is under way, counted for as long as this lives.
#[derive(Debug)]
pub struct UnderWay {
    state: Arc<ConcurrencyState>,
    place: Place,
}

impl ConcurrencyState {
    /// Another request begins. `None`: there are `limit` already.
    pub fn begin(self: &Arc<Self>, limit: u32, key: u64) -> Option<UnderWay> {
        let place = self.under_way.find(key, 0);
        let number = self.under_way.number(place);
        let another = |before| (before < u64::from(limit)).then_some(before + 1);
        number.fetch_update(Release, Relaxed, another).ok()?;
        Some(UnderWay {
            state: Arc::clone(self),
            place,
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let number = self.state.under_way.number(self.place);
        number.fetch_sub(1, Release);
    }
}

/// `10 at once by client`.
impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at once by {}", self.requests, self.by)
    }
}

#[cfg(test)]
mod tests {
    use ferrix_model::{check, spawn};

    use super::*;
    use crate::filters::limit_key::Digests;

    #[test]
    fn what_ends_makes_room() {
        let state = Arc::new(ConcurrencyState::default());
        let [one, two] = [state.begin(2, 7), state.begin(2, 7)];
        assert!(one.is_some() && two.is_some());
        assert!(state.begin(2, 7).is_none());
        assert!(state.begin(2, 8).is_some());
        drop(one);
        let three = state.begin(2, 7);
        assert!(three.is_some());
        assert!(state.begin(2, 7).is_none());
    }

    #[test]
    fn many_at_once_are_counted_each() {
        let state = Arc::new(ConcurrencyState::default());
        let digests = Digests::default();
        let begin = |nth: &u32| state.begin(1, digests.of(nth));
        let keys: Vec<_> = (0..10_000).collect();
        let held: Vec<_> = keys.iter().map(begin).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(keys.iter().map(begin).all(|it| it.is_none()));
        drop(held);
        assert!(keys.iter().map(begin).all(|it| it.is_some()));
    }

    #[test]
    fn no_more_than_the_limit_in_any_order() {
        let orders = check(|| {
            let state = Arc::new(ConcurrencyState::default());
            let threads = [(); 3].map(|()| {
                let state = Arc::clone(&state);
                spawn(move || {
                    let under_way = state.begin(2, 7)?;
                    let number = state.under_way.number(under_way.place);
                    assert!(number.load(Relaxed) <= 2);
                    Some(under_way)
                })
            });
            let begun = threads.map(|thread| thread.join().unwrap());
            assert_eq!(begun.iter().flatten().count(), 2);
            drop(begun);
            assert!(state.begin(1, 7).is_some());
        });
        assert!(orders > 0);
    }
}
