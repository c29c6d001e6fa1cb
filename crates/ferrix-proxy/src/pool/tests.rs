use std::pin::pin;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::io::Io;

const LIMIT: Duration = Duration::from_secs(10);

/// A connection that was made so long ago, and its pool.
async fn connection(age: Duration) -> (Pool, Arc<Http2>) {
    let (stream, _backend) = tokio::io::duplex(1024);
    let (send, _) = h2::client::handshake(stream).await.unwrap();
    let pool = pool(0);
    let mut connection = Http2::new(Protocol::Http2, send, &pool);
    Arc::get_mut(&mut connection).unwrap().made -= age;
    pool.put_http2(&connection);
    (pool, connection)
}

fn is_kept(pool: &Pool, connection: &Arc<Http2>) -> bool {
    let kept = pool.close_idle(connection, LIMIT).is_some();
    assert_eq!(pool.http2.lock().len(), usize::from(kept));
    kept
}

/// Not since it was made, or since somebody looked last.
#[tokio::test]
async fn a_connection_idles_since_its_last_stream() {
    let (pool, connection) = connection(LIMIT * 3).await;
    let lease = connection.lease(false);
    assert!(is_kept(&pool, &connection), "it has a stream");
    drop(lease);
    assert!(is_kept(&pool, &connection), "it had one just now");
    connection.idle_since.store(0, Relaxed);
    assert!(!is_kept(&pool, &connection), "it had none for long");
}

#[tokio::test]
async fn a_connection_without_streams_closes_for_who_waits() {
    let (pool, connection) = connection(Duration::ZERO).await;
    let lease = connection.lease(false);
    assert!(!pool.close_one(), "it has a stream");
    drop(lease);
    assert!(pool.close_one());
    assert!(pool.take_http2(&Protocol::Http2, None).is_none());
    assert!(!is_kept(&pool, &connection));
    assert!(!pool.close_one());
}

/// A pool to which so many connections may be open.
fn pool(limit: usize) -> Pool {
    Pool::new(&Limit::new(limit), &Limit::new(0), &Arc::default())
}

/// A connection of that pool, and the backend's end of it.
fn wire(pool: &Pool) -> (Box<Wire>, DuplexStream) {
    let (near, far) = duplex(64);
    let permit = pool.limits.try_permit().unwrap();
    let io = Io::to_backend(Box::new(near), permit);
    (Box::new(Wire::new(io)), far)
}

fn place(wire: &Wire) -> *const Wire {
    std::ptr::from_ref(wire)
}

fn tls(name: &str) -> Protocol {
    Protocol::Tls {
        server_name: name.into(),
    }
}

/// Which connection is taken.
fn taken(pool: &Pool, protocol: &Protocol, upgrade: bool) -> Option<*const Wire> {
    match pool.take(protocol, LIMIT, upgrade)? {
        Connection::Http1 { wire, reused } => {
            assert!(reused);
            Some(place(&wire))
        }
        Connection::Http2 { .. } => panic!("there is none"),
    }
}

#[test]
fn the_connection_used_last_is_taken_first_and_none_of_another_identity() {
    let pool = pool(0);
    let mut kept = Vec::new();
    let mut put = |protocol: &Protocol| {
        let (wire, far) = wire(&pool);
        let place = place(&wire);
        pool.put(protocol, wire, 8);
        kept.push(far);
        place
    };
    let (first, second) = (put(&Protocol::Http1), put(&Protocol::Http1));
    let (one, other) = (put(&tls("a")), put(&tls("b")));
    assert_eq!(taken(&pool, &tls("c"), false), None);
    assert_eq!(taken(&pool, &tls("a"), false), Some(one));
    assert_eq!(taken(&pool, &tls("a"), false), None);
    assert_eq!(taken(&pool, &tls("b"), true), Some(other));
    assert_eq!(taken(&pool, &Protocol::Http1, false), Some(second));
    assert_eq!(taken(&pool, &Protocol::Http1, true), Some(first));
    assert_eq!(taken(&pool, &Protocol::Http1, false), None);
}

#[tokio::test]
async fn what_cannot_carry_a_request_is_not_taken() {
    let pool = pool(1);
    let cases = ["idle", "idle for long", "closed", "with a byte"];
    for case in cases {
        let (wire, far) = wire(&pool);
        pool.put(&Protocol::Http1, wire, 8);
        let mut far = Some(far);
        match case {
            "idle for long" => pool.http1.lock()[0].since -= LIMIT,
            "closed" => drop(far.take()),
            "with a byte" => far.as_mut().unwrap().write_all(b"x").await.unwrap(),
            _ => {}
        }
        let usable = taken(&pool, &Protocol::Http1, false).is_some();
        assert_eq!(usable, case == "idle", "{case}");
        assert!(pool.http1.lock().is_empty() && !pool.limits.is_full());
    }
    assert_eq!(cases.len(), 4);
}

#[test]
fn so_many_idle_and_none_for_too_long() {
    let pool = pool(0);
    let far: Vec<_> = (0..4)
        .map(|_| {
            let (wire, far) = wire(&pool);
            pool.put(&Protocol::Http1, wire, 3);
            far
        })
        .collect();
    let idle = || pool.http1.lock().len();
    assert_eq!((far.len(), idle()), (4, 3));
    pool.http1.lock()[0].since -= LIMIT;
    pool.sweep(LIMIT);
    assert_eq!(idle(), 2);
    assert!(pool.close_one());
    assert_eq!(idle(), 1);
    pool.retire();
    assert_eq!(idle(), 0);
    assert!(!pool.close_one());
}

/// It goes to who waits for one of its identity, or makes room for another.
#[test]
fn a_connection_does_not_idle_while_somebody_waits() {
    let cases = [(Protocol::Http1, true), (tls("a"), false)];
    for (protocol, handed) in &cases {
        let pool = pool(1);
        let (wire, _far) = wire(&pool);
        let place = place(&wire);
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        let mut permit = pin!(pool.limits.permit(|| {}, || {}));
        assert!(permit.as_mut().poll(cx).is_pending());
        let mut handed_over = pool.handed_over(&Protocol::Http1);
        pool.put(protocol, wire, 8);
        assert!(pool.http1.lock().is_empty());
        let wire = handed_over.try_recv().ok();
        assert_eq!(wire.as_deref().map(self::place), handed.then_some(place));
        assert_eq!(permit.as_mut().poll(cx).is_ready(), !handed);
    }
    assert_eq!(cases.len(), 2);
}
