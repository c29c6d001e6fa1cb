//! What the workers do with the connections of one endpoint, in any order: over pipes in place of
//! sockets, otherwise as it is.

use std::{
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use ferrix_model::{block_on, check, spawn};
use ferrix_table::{
    Publisher, Table,
    object::ObjectName,
    publish,
    services::{Scheme, Service, ServiceId},
};
use tokio::{
    io::{AsyncRead, DuplexStream, ReadBuf, duplex},
    runtime::{EnterGuard, Runtime},
};

use super::*;
use crate::{
    settings::{self, UpstreamTls},
    trust,
};

/// Connections that there may be to the endpoint.
const LIMIT: usize = 1;

/// What is made once for all orders: timers need a runtime, which nobody drives, so that none fires.
struct Frame {
    runtime: Runtime,
    connector: Connector,
}

impl Frame {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let tls = UpstreamTls {
            verify: false,
            ..UpstreamTls::default()
        };
        let tls = trust::client_config(&tls).unwrap();
        Self {
            runtime: builder.enable_time().build().unwrap(),
            connector: Connector::new(&settings::UpstreamTcp::default(), &tls),
        }
    }

    fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Two workers, and an endpoint that is current until the publisher publishes something else.
    fn workers(&self) -> Workers {
        let mut settings = Settings::default();
        settings.upstream.connections_per_endpoint = LIMIT;
        let pools = Arc::new(Registry::new(&settings.upstream));
        let upstream = |worker| {
            let connector = self.connector.clone();
            Arc::new(Upstream::new(&settings, connector, &pools, worker, 2))
        };
        let endpoint = Endpoint::new("10.0.0.1:80".parse().unwrap());
        let service = Service {
            id: ServiceId {
                service: ObjectName::new("default", "a"),
                port: 80,
                scheme: Scheme::Http,
            },
            protocol: Protocol::Http1,
            endpoints: [endpoint.clone()].into(),
            policy: None,
            state: Arc::default(),
        };
        let service = Arc::new(service);
        let (mut publisher, _) = publish::channel();
        publisher.publish(Table {
            services: Arc::new([Arc::clone(&service)].into_iter().collect()),
            ..Table::default()
        });
        Workers {
            upstreams: [0, 1].map(upstream),
            service,
            endpoint,
            open: Open::default(),
            publisher,
        }
    }
}

struct Workers {
    upstreams: [Arc<Upstream>; 2],
    service: Arc<Service>,
    endpoint: Endpoint,
    open: Open,
    publisher: Publisher,
}

/// The backend's ends of connections.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<Vec<DuplexStream>>>);

impl Open {
    /// One more, from which nothing comes.
    fn connect(&self) -> Stream {
        let (near, far) = duplex(1024);
        self.0.lock().unwrap().push(far);
        Box::new(near)
    }

    /// How many are open on our side.
    fn count(&self) -> usize {
        let mut open = self.0.lock().unwrap();
        open.retain_mut(|far| !is_closed(far));
        open.len()
    }
}

/// Reads whatever is there.
fn is_closed(far: &mut DuplexStream) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    loop {
        let mut room = [0; 1024];
        let mut read = ReadBuf::new(&mut room);
        match Pin::new(&mut *far).poll_read(cx, &mut read) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
            Poll::Ready(_) => return true,
        }
    }
}

/// One request over HTTP/1, and how it came to its connection.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Opened,
    Pooled,
    Waited,
    Gone,
}

fn request(upstream: &Arc<Upstream>, service: &Arc<Service>, open: &Open) -> Came {
    let (protocol, endpoint) = (&service.protocol, &service.endpoints[0]);
    let wanted = Wanted::default();
    let (wire, came) = match upstream.pooled(endpoint, protocol, &wanted) {
        Some(Connection::Http1 { wire, .. }) => (wire, Came::Pooled),
        Some(Connection::Http2 { .. }) => unreachable!("it asked for HTTP/1"),
        None => match block_on(upstream.start(
            service,
            endpoint,
            upstream.connect_timeout,
            None,
            &wanted,
        )) {
            Ok(Start::Opening(opening)) => {
                let io = Io::to_backend(open.connect(), opening.permit);
                (Box::new(Wire::new(io)), Came::Opened)
            }
            Ok(Start::Connection(Connection::Http1 { wire, .. })) => (wire, Came::Waited),
            Ok(Start::Connection(Connection::Http2 { .. })) => unreachable!("the same"),
            Err(ConnectError::Gone) => return Came::Gone,
            Err(error) => panic!("{error}"),
        },
    };
    assert!(open.count() <= LIMIT, "too many connections");
    upstream.release(endpoint, protocol, wire);
    came
}

/// All permits are there again when nothing idles.
fn assert_nothing_is_left(workers: &Workers) {
    let pool = workers.upstreams[0].pool(&workers.endpoint);
    assert!(!pool.limits.is_wanted(), "who left still waits");
    assert_eq!(workers.open.count(), 0, "a connection is open still");
    assert!(!pool.limits.is_full(), "a permit is lost");
}

#[test]
fn every_request_gets_a_connection_in_any_order() {
    let frame = Arc::new(Frame::new());
    let _context = frame.enter();
    let seen = Arc::new(Mutex::new([0; 3]));
    let (model, all) = (Arc::clone(&frame), Arc::clone(&seen));
    let orders = check(move || {
        let workers = model.workers();
        let threads = [0, 0, 1].map(|worker| {
            let upstream = Arc::clone(&workers.upstreams[worker]);
            let (service, open) = (Arc::clone(&workers.service), workers.open.clone());
            spawn(move || request(&upstream, &service, &open))
        });
        for thread in threads {
            let came = match thread.join().unwrap() {
                Came::Opened => 0,
                Came::Pooled => 1,
                Came::Waited => 2,
                Came::Gone => panic!("the endpoint is there"),
            };
            all.lock().unwrap()[came] += 1;
        }
        Pool::close_one_of(&workers.endpoint);
        assert_nothing_is_left(&workers);
    });
    let seen = *seen.lock().unwrap();
    assert_eq!(seen.iter().sum::<usize>(), 3 * orders);
    assert!(seen.iter().all(|came| *came > 0), "{seen:?}");
}

#[test]
fn nobody_waits_for_an_endpoint_that_goes_in_any_order() {
    let frame = Arc::new(Frame::new());
    let _context = frame.enter();
    let seen = Arc::new(Mutex::new([0; 2]));
    let (model, all) = (Arc::clone(&frame), Arc::clone(&seen));
    let orders = check(move || {
        let mut workers = model.workers();
        let threads = [0, 0, 1].map(|worker| {
            let upstream = Arc::clone(&workers.upstreams[worker]);
            let (service, open) = (Arc::clone(&workers.service), workers.open.clone());
            spawn(move || request(&upstream, &service, &open))
        });
        workers.publisher.publish(Table::default());
        for thread in threads {
            let gone = thread.join().unwrap() == Came::Gone;
            all.lock().unwrap()[usize::from(gone)] += 1;
        }
        // As each second.
        workers.upstreams[0].sweep();
        assert_nothing_is_left(&workers);
    });
    let seen = *seen.lock().unwrap();
    assert_eq!(seen.iter().sum::<usize>(), 3 * orders);
    assert!(seen.iter().all(|came| *came > 0), "{seen:?}");
}

/// A connection over HTTP/2 ends when it has no stream and somebody needs its place: one sees the other.
#[test]
fn an_idle_connection_makes_room_in_any_order() {
    let frame = Arc::new(Frame::new());
    let _context = frame.enter();
    let model = Arc::clone(&frame);
    let orders = check(move || {
        let workers = model.workers();
        let [upstream, other] = &workers.upstreams;
        let pool = upstream.pool(&workers.endpoint);
        let permit = pool.limits.try_permit().unwrap();
        let handshake = h2::client::handshake(workers.open.connect());
        let (send, connection) = block_on(handshake).unwrap();
        let shared = Http2::new(Protocol::Http2, send, pool);
        let lease = shared.lease(false);
        pool.put_http2(&shared);
        let weak = Arc::downgrade(pool);
        let driver = spawn(move || {
            block_on(drive_http2(
                connection,
                shared,
                weak,
                Duration::from_secs(60),
                None,
            ));
            drop(permit);
        });
        let ends = spawn(move || drop(lease));
        let stream = {
            let (upstream, endpoint) = (Arc::clone(upstream), workers.endpoint.clone());
            spawn(move || drop(upstream.pooled(&endpoint, &Protocol::Http2, &Wanted::default())))
        };
        // Of either worker.
        let waits = {
            let (other, service) = (Arc::clone(other), Arc::clone(&workers.service));
            let open = workers.open.clone();
            spawn(move || request(&other, &service, &open))
        };
        for thread in [driver, ends, stream] {
            thread.join().unwrap();
        }
        assert_eq!(waits.join().unwrap(), Came::Opened);
        Pool::close_one_of(&workers.endpoint);
        assert_nothing_is_left(&workers);
    });
    assert!(orders > 0);
}

#[test]
fn a_connection_that_nobody_wants_kept_is_not_looked_at_all_the_time() {
    let second = Duration::from_secs(1);
    let cases = [
        (None, second, second),
        (None, Duration::ZERO, SHORTEST_IDLE),
        (Some(Duration::ZERO), second, second),
        (Some(2 * second), second, 2 * second),
        (Some(Duration::from_nanos(1)), second, SHORTEST_IDLE),
    ];
    for (of_policy, of_settings, expected) in cases {
        assert_eq!(idle_timeout(of_policy, of_settings), expected);
    }
    assert_eq!(cases.len(), 5);
}
