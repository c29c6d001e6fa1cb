//! What each client address has open, and how much of it that may be: connections and requests.
//!
//! A connection looks its client up once; a request then only counts. Where a trusted proxy speaks for
//! many clients, each request has to look its own up.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

/// Threads seldom want the same one of so many locks at once.
const SHARDS: usize = 16;

/// All clients that have something open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(Arc<Shards>);

#[derive(Debug, Default)]
struct Shards {
    hasher: RandomState,
    shards: [Mutex<HashMap<IpAddr, Weak<Account>>>; SHARDS],
}

/// One client address.
#[derive(Debug)]
pub(crate) struct Account {
    address: IpAddr,
    connections: AtomicUsize,
    requests: AtomicUsize,
    all: Arc<Shards>,
}

/// Something that a client has open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    client: Arc<Account>,
    count: fn(&Account) -> &AtomicUsize,
}

impl Clients {
    /// The client with this address.
    pub(crate) fn get(&self, address: IpAddr) -> Arc<Account> {
        let mut clients = self.0.shard(address).lock();
        let entry = clients.entry(address).or_default();
        if let Some(client) = entry.upgrade() {
            return client;
        }
        let client = Arc::new(Account {
            address,
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            all: Arc::clone(&self.0),
        });
        *entry = Arc::downgrade(&client);
        client
    }
}

impl Shards {
    fn shard(&self, address: IpAddr) -> &Mutex<HashMap<IpAddr, Weak<Account>>> {
        let hash = self.hasher.hash_one(address);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }
}

impl Account {
    /// Another connection. `None`: there are `limit` already. 0: no limit.
    pub(crate) fn connect(self: &Arc<Self>, limit: usize) -> Option<Open> {
        self.open(limit, |client| &client.connections)
    }

    /// Another request. `None`: there are `limit` already. 0: no limit.
    pub(crate) fn request(self: &Arc<Self>, limit: usize) -> Option<Open> {
        self.open(limit, |client| &client.requests)
    }

    fn open(self: &Arc<Self>, limit: usize, count: fn(&Self) -> &AtomicUsize) -> Option<Open> {
        let open = Open {
            client: Arc::clone(self),
            count,
        };
        let before = count(self).fetch_add(1, Relaxed);
        // Dropped, it is counted no more.
        (limit == 0 || before < limit).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.count)(&self.client).fetch_sub(1, Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut clients = self.all.shard(self.address).lock();
        // Another of this address may have come meanwhile.
        if clients
            .get(&self.address)
            .is_some_and(|client| client.strong_count() == 0)
        {
            clients.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn remembered(clients: &Clients) -> usize {
        let shards = clients.0.shards.iter();
        shards.map(|shard| shard.lock().len()).sum()
    }

    #[test]
    fn each_address_has_its_own_limits() {
        let clients = Clients::default();
        let (one, other) = (clients.get(address(1)), clients.get(address(2)));
        let held = [one.connect(2), one.connect(2)];
        assert!(held.iter().all(Option::is_some));
        assert!(one.connect(2).is_none());
        assert!(other.connect(2).is_some());
        // Requests are counted apart.
        assert!(one.request(1).is_some());
        drop(held);
        assert!(one.connect(1).is_some(), "what was refused is not counted");
    }

    #[test]
    fn zero_is_no_limit() {
        let client = Clients::default().get(address(1));
        let open: Vec<_> = (0..1000).map(|_| client.request(0)).collect();
        assert!(open.iter().all(Option::is_some));
    }

    #[test]
    fn who_has_nothing_open_is_forgotten() {
        let clients = Clients::default();
        let open: Vec<_> = (0..100)
            .map(|last| clients.get(address(last)).connect(0))
            .collect();
        assert_eq!(remembered(&clients), 100);
        let again = clients.get(address(7));
        drop(open);
        assert_eq!(remembered(&clients), 1);
        drop(again);
        assert_eq!(remembered(&clients), 0);
    }

    #[test]
    fn threads_agree() {
        const THREADS: usize = 4;
        let clients = Clients::default();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let client = clients.get(address(1));
                        let open = client.request(THREADS);
                        assert!(open.is_some());
                    }
                });
            }
        });
        assert_eq!(remembered(&clients), 0);
        assert_eq!(clients.get(address(1)).requests.load(Relaxed), 0);
    }
}
