//! Permits to have a connection to a backend: so many in all, and to one endpoint.
//!
//! A permit is taken before a connection is opened and goes when its socket is closed. What is
//! pooled has one; so where somebody waits for a permit, idle connections are closed for it, and
//! what another request is done with is handed on or closed.

use std::sync::{
    Arc,
    atomic::Ordering::{Relaxed, SeqCst},
};

use tokio::sync::Notify;

use crate::{
    places::{self, Places},
    sync::AtomicUsize,
};

/// How many connections there may be at once.
#[derive(Debug)]
pub(crate) struct Limit {
    places: Places,
    /// Requests that wait for a place.
    waiting: AtomicUsize,
}

/// What the connections of one pool count for.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Of the pool's endpoint, shared with the pools of other workers.
    pub(crate) endpoint: Arc<Limit>,
    /// Of all connections to backends.
    pub(crate) all: Arc<Limit>,
    /// Told while somebody waits that an HTTP/2 connection of the pool has room.
    pub(crate) room: Notify,
}

/// A connection's places, as long as it is open.
#[derive(Debug)]
pub(crate) struct Permit {
    _endpoint: Place,
    _all: Place,
}

#[derive(Debug)]
struct Place(Arc<Limit>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.give_back();
    }
}

/// Counts a request that waits.
struct Waiting<'l>(&'l Limit);

impl<'l> Waiting<'l> {
    fn new(limit: &'l Limit) -> Self {
        limit.waiting.fetch_add(1, SeqCst);
        Self(limit)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Limit {
    /// For so many connections. 0: any number.
    pub(crate) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Places::new(places(connections)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// For so many connections from now on.
    pub(crate) fn allow(&self, connections: usize) {
        self.places.allow(places(connections));
    }

    /// Waits for a place, in the order of asking. Where there is none, `make_room` may close a
    /// connection that idles; from then on none is kept.
    async fn place(self: &Arc<Self>, make_room: impl FnOnce()) -> Place {
        if let Some(place) = self.try_place() {
            return place;
        }
        let _waiting = Waiting::new(self);
        make_room();
        self.places.take().await;
        Place(Arc::clone(self))
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        (self.places.try_take()).then(|| Place(Arc::clone(self)))
    }
}

/// 0: any number.
fn places(connections: usize) -> usize {
    match connections {
        0 => places::MOST,
        connections => connections.min(places::MOST),
    }
}

impl Limits {
    /// Waits for a permit; the arguments close a connection that idles, to the endpoint or to any.
    ///
    /// The endpoint's place comes first: requests that wait for an endpoint that hangs take nothing
    /// from the others.
    pub(crate) async fn permit(
        &self,
        close_of_endpoint: impl FnOnce(),
        close_any: impl FnOnce(),
    ) -> Permit {
        Permit {
            _endpoint: self.endpoint.place(close_of_endpoint).await,
            _all: self.all.place(close_any).await,
        }
    }

    /// A permit, if there is one now.
    pub(crate) fn try_permit(&self) -> Option<Permit> {
        Some(Permit {
            _endpoint: self.endpoint.try_place()?,
            _all: self.all.try_place()?,
        })
    }

    /// How many requests wait for what a connection of the pool holds.
    ///
    /// Who waits is counted, then looks for connections without a stream; a stream that ends is
    /// discounted, then looks for who waits. In one order for all threads, one sees the other.
    pub(crate) fn waiting(&self) -> usize {
        self.endpoint.waiting.load(SeqCst) + self.all.waiting.load(SeqCst)
    }

    /// Whether somebody waits for what a connection of the pool holds.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting() > 0
    }

    /// Whether no further connection may be opened now.
    pub(crate) fn is_full(&self) -> bool {
        let full = |limit: &Limit| limit.places.free() == 0;
        full(&self.endpoint) || full(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn limits(endpoint: usize, all: usize) -> Limits {
        Limits {
            endpoint: Limit::new(endpoint),
            all: Limit::new(all),
            room: Notify::new(),
        }
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn permits_up_to_either_limit_then_in_order() {
        let cases = [(2, 5, 2), (5, 2, 2), (0, 3, 3), (3, 0, 3), (1, 1, 1)];
        for (endpoint, all, most) in cases {
            let limits = limits(endpoint, all);
            let closed = Cell::new(0);
            let close = || closed.set(closed.get() + 1);
            let ask = || limits.permit(close, close);
            let mut held = Vec::new();
            for _ in 0..most {
                let Poll::Ready(permit) = poll(pin!(ask())) else {
                    panic!("{endpoint} {all}: no permit")
                };
                held.push(permit);
            }
            assert!(limits.is_full() && !limits.is_wanted() && closed.get() == 0);
            {
                let (mut first, mut second) = (pin!(ask()), pin!(ask()));
                assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
                assert!(limits.is_wanted() && closed.get() >= 1);
                held.pop();
                assert!(poll(second.as_mut()).is_pending());
                assert!(poll(first.as_mut()).is_ready());
            }
            held.clear();
            assert!(!limits.is_wanted(), "who left still waits");
            for (limit, set) in [(&limits.endpoint, endpoint), (&limits.all, all)] {
                let set = if set == 0 { places::MOST } else { set };
                assert_eq!(limit.places.free(), set);
            }
        }
        assert_eq!(cases.len(), 5);
    }

    /// Who holds a permit of an endpoint, of two that share a limit.
    #[derive(Default)]
    struct Held([std::sync::atomic::AtomicUsize; 2]);

    impl Held {
        const OF_ONE: usize = 1;
        const OF_ALL: usize = 1;

        fn count(&self, endpoint: usize, limits: &Limits) {
            let of_one = self.0[endpoint].fetch_add(1, SeqCst) + 1;
            let of_all: usize = self.0.iter().map(|held| held.load(SeqCst)).sum();
            assert!(of_one <= Self::OF_ONE && of_all <= Self::OF_ALL);
            // Others go on while it is held.
            limits.is_wanted();
            self.0[endpoint].fetch_sub(1, SeqCst);
        }
    }

    #[test]
    fn no_permit_is_lost_and_none_is_too_many_in_any_order() {
        let orders = ferrix_model::check(|| {
            let all = Limit::new(Held::OF_ALL);
            let of_endpoint = |_| Limits {
                endpoint: Limit::new(Held::OF_ONE),
                all: Arc::clone(&all),
                room: Notify::new(),
            };
            let endpoints = Arc::new([0, 1].map(of_endpoint));
            let held = Arc::new(Held::default());
            let threads = [0, 0, 1, 1].map(|endpoint| {
                let (endpoints, held) = (Arc::clone(&endpoints), Arc::clone(&held));
                ferrix_model::spawn(move || {
                    let limits = &endpoints[endpoint];
                    let permit = ferrix_model::block_on(limits.permit(|| {}, || {}));
                    held.count(endpoint, limits);
                    drop(permit);
                })
            });
            // One that gives up, wherever it has come to.
            {
                let mut asking = pin!(endpoints[0].permit(|| {}, || {}));
                let _ = poll(asking.as_mut());
                endpoints[0].is_wanted();
            }
            for thread in threads {
                thread.join().unwrap();
            }
            for limits in &*endpoints {
                assert!(!limits.is_wanted(), "who left still waits");
                assert!(!limits.is_full(), "a permit is lost");
            }
            assert_eq!(all.places.free(), Held::OF_ALL);
        });
        assert!(orders > 0);
    }
}
