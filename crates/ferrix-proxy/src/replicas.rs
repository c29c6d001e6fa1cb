//! Replicas that count limits together: each tells all others what it lets pass, twenty times a second.
//!
//! ```text
//!  filters/rate_limit ─► RateLimitState ◄─► gossip ◄─► message ◄─► UDP
//!                                            heard
//! ```
//!
//! Nothing of it runs unless the settings name the others.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use ferrix_table::{
    Reader, Table,
    filters::{
        Filter,
        limit_key::Digests,
        rate_limit::{Replicas, Scope},
    },
    sockets::Place,
};
use tokio::{
    net::lookup_host,
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use self::gossip::{Filters, Gossip, Shared};
use crate::{
    clock,
    listener::{self, Bound},
    settings,
    transport::Datagrams,
};

mod gossip;
mod heard;
mod message;

/// Between what is told and what is told next: at a tenth of a second, three replicas would be up to a fifth
/// of a second's requests ahead of the limit.
const TELL: Duration = Duration::from_millis(50);

/// Between one lookup of the others and the next.
const LOOK_UP: Duration = Duration::from_secs(2);

/// Bytes of the key: less can be guessed.
const KEY_BYTES: usize = 16;

/// A message has fewer.
const BUFFER: usize = 2048;

/// The replicas that count together, as requests and metrics ask for them.
#[derive(Debug)]
pub struct Peers {
    /// How many there are, this one included.
    count: AtomicU32,
    /// How many of the others have not been heard for half a second.
    silent: AtomicU32,
}

/// Why replicas cannot count together.
#[derive(Debug, thiserror::Error)]
pub enum ReplicasError {
    /// There is no key.
    #[error("replicas.key_file: {path}: {error}")]
    Key {
        /// Where it should be.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The key can be guessed.
    #[error("replicas.key_file: {path} has {bytes} bytes; expected {KEY_BYTES} at least")]
    ShortKey {
        /// Where it is.
        path: String,
        /// How long it is.
        bytes: usize,
    },
    /// The address cannot be listened on.
    #[error("replicas.address: cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

/// This replica before it begins to talk.
pub(crate) struct Replica {
    socket: Bound,
    key: hmac::Key,
    peers: Vec<String>,
    digests: Digests,
    shared: Arc<Peers>,
}

impl Peers {
    /// How many there are, this one included.
    pub fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// How many of the others have not been heard for half a second. While there are any, this replica lets
    /// its share pass and no more.
    pub fn silent(&self) -> u32 {
        self.silent.load(Relaxed)
    }

    /// The same, as limits ask for it.
    pub(crate) fn replicas(&self) -> Replicas {
        Replicas {
            count: self.count(),
            heard: self.silent() == 0,
        }
    }
}

/// Nobody but this one.
impl Default for Peers {
    fn default() -> Self {
        Self {
            count: AtomicU32::new(1),
            silent: AtomicU32::new(0),
        }
    }
}

impl Replica {
    /// Takes the address.
    ///
    /// # Errors
    /// [`ReplicasError`].
    pub(crate) fn new(settings: &settings::Replicas) -> Result<Self, ReplicasError> {
        let secret = secret(settings)?;
        let place = Place {
            address: settings.address,
            datagrams: true,
            entry_point: None,
        };
        let socket = listener::bind(&place).map_err(|error| ReplicasError::Bind {
            address: settings.address,
            error,
        })?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        // Another secret for another purpose.
        let tag = hmac::sign(&key, b"digests");
        let seed = tag
            .as_ref()
            .first_chunk()
            .map_or(0, |it| u64::from_be_bytes(*it));
        Ok(Self {
            socket,
            key,
            peers: settings.peers.clone(),
            digests: Digests::new(seed),
            shared: Arc::default(),
        })
    }

    /// Makes the same keys on every replica.
    pub(crate) fn digests(&self) -> Digests {
        self.digests.clone()
    }

    pub(crate) fn peers(&self) -> Arc<Peers> {
        Arc::clone(&self.shared)
    }

    /// Tells the others what is counted here, and counts what they tell, for as long as it is polled.
    pub(crate) async fn talk(self, table: Reader) {
        let Self {
            socket,
            key,
            peers,
            digests,
            shared,
        } = self;
        let by_ipv6 = socket.local_address().is_ok_and(|it| it.is_ipv6());
        let socket = match socket.into_datagrams() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(%error, "replicas cannot count limits together");
                return;
            }
        };
        let (found, mut addresses) = watch::channel(Vec::new());
        let looking_up = look_up(peers, by_ipv6, found);
        let mut talk = Talk {
            gossip: Gossip::new(key, fastrand::u64(..)),
            filters: Filters::new(),
            generation: 0,
            digests,
            shared,
            table,
        };
        let telling = async {
            let mut ticks = interval(TELL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut buffer = [0; BUFFER];
            loop {
                tokio::select! {
                    _ = ticks.tick() => talk.tell(&socket, &addresses.borrow_and_update()),
                    received = socket.receive_from(&mut buffer) => {
                        // An error is of a message that was sent: nobody listens there.
                        if let Ok((length, _)) = received {
                            talk.hear(&buffer[..length]);
                        }
                    }
                }
            }
        };
        tokio::join!(looking_up, telling);
    }
}

/// The key without white space around it, as files of Secrets are often written.
fn secret(settings: &settings::Replicas) -> Result<Vec<u8>, ReplicasError> {
    let path = settings.key_file.display().to_string();
    let text = fs::read(&settings.key_file).map_err(|error| ReplicasError::Key {
        path: path.clone(),
        error,
    })?;
    let secret = text.trim_ascii();
    match secret.len() {
        bytes if bytes < KEY_BYTES => Err(ReplicasError::ShortKey { path, bytes }),
        _ => Ok(secret.to_vec()),
    }
}

/// What is needed to talk.
struct Talk {
    gossip: Gossip,
    filters: Filters,
    /// Of the table that they are from.
    generation: u64,
    digests: Digests,
    shared: Arc<Peers>,
    table: Reader,
}

impl Talk {
    fn tell(&mut self, socket: &Datagrams, addresses: &[SocketAddr]) {
        self.follow_table();
        // This replica is among them, where they are those of a Service.
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let others = count - 1;
        let now = clock::nanoseconds();
        let messages = (self.gossip).tell(&self.filters, others as usize, time(), now);
        let heard = u32::try_from(self.gossip.heard(now)).unwrap_or(u32::MAX);
        self.shared.count.store(count, Relaxed);
        let silent = others.saturating_sub(heard);
        if self.shared.silent.swap(silent, Relaxed) != silent {
            tracing::info!(count, silent, "replicas that count limits together");
        }
        for message in messages {
            for address in addresses {
                // What cannot be sent is lost, as on the way.
                let _ = socket.send_to(&message, *address);
            }
        }
    }

    fn hear(&mut self, message: &[u8]) {
        self.follow_table();
        let now = clock::nanoseconds();
        self.gossip.hear(message, &self.filters, time(), now);
    }

    fn follow_table(&mut self) {
        let generation = self.table.generation();
        if generation != self.generation {
            self.filters = filters(&self.table.load(), &self.digests);
            self.generation = generation;
        }
    }
}

/// The filters of a table that are counted together.
fn filters(table: &Table, digests: &Digests) -> Filters {
    let all = table.rules.iter().flat_map(|rule| rule.filters());
    let shared = all.filter_map(|filter| match filter {
        Filter::RateLimit(limit) if limit.scope == Scope::Cluster => {
            let shared = Shared {
                rate: limit.rate,
                state: Arc::clone(limit.state.get()),
            };
            Some((digests.of(limit.state.id()), shared))
        }
        _ => None,
    });
    shared.collect()
}

/// Looks the others up, again and again. Those that were found last are kept where nobody answers.
async fn look_up(names: Vec<String>, by_ipv6: bool, found: watch::Sender<Vec<SocketAddr>>) {
    let mut lookups = interval(LOOK_UP);
    loop {
        lookups.tick().await;
        let mut addresses = BTreeSet::new();
        for name in &names {
            match lookup_host(name.as_str()).await {
                Ok(of_name) => addresses.extend(of_name.map(|it| canonical(it, by_ipv6))),
                Err(error) => tracing::debug!(name, %error, "a replica cannot be looked up"),
            }
        }
        let addresses: Vec<_> = addresses.into_iter().collect();
        found.send_if_modified(|known| {
            let changes = !addresses.is_empty() && *known != addresses;
            if changes {
                tracing::debug!(?addresses, "addresses of replicas");
                known.clone_from(&addresses);
            }
            changes
        });
    }
}

/// One address for one replica, however it is written: as a socket of this family sends to it (RFC 4291,
/// section 2.5.5.2).
fn canonical(address: SocketAddr, by_ipv6: bool) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if by_ipv6 => ip.to_ipv6_mapped().into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// In milliseconds since 1970.
fn time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let milliseconds = since.unwrap_or_default().as_millis();
    u64::try_from(milliseconds).unwrap_or(u64::MAX)
}
