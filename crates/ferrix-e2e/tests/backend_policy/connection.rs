use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Routes, backend::Connection, certificates::Authority,
    client::get, http2_backend::Exchange,
};
use ferrix_proxy::proxy_protocol;
use ferrix_table::{
    backend_policy::{BackendPolicy, BackendTimeouts},
    connection::{ConnectionOptions, ProxyProtocol, TcpOptions},
    health::{Check, CheckKind, Health},
    services::Protocol,
    verification::{Authorities, Prepared, Verification},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{eventually, policy};

const LONG: Duration = Duration::from_secs(3600);

fn kept(max_age: Option<Duration>, idle_timeout: Option<Duration>) -> BackendPolicy {
    connected(ConnectionOptions {
        max_age,
        idle_timeout,
        ..ConnectionOptions::default()
    })
}

fn connected(connection: ConnectionOptions) -> BackendPolicy {
    BackendPolicy {
        connection,
        ..policy()
    }
}

/// For each connection who it was for, and how many requests came on it.
type Connections = Vec<(Option<SocketAddr>, usize)>;

/// A server behind a PROXY protocol header, which answers every request of a connection.
struct Told {
    address: SocketAddr,
    connections: Arc<Mutex<Connections>>,
}

impl Told {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::default();
        let shared = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn connections(&self) -> Connections {
        self.connections.lock().unwrap().clone()
    }
}

async fn answer(stream: TcpStream, connections: Arc<Mutex<Connections>>) {
    let mut stream = stream;
    let client = proxy_protocol::read(&mut stream).await.expect("a header");
    let place = {
        let mut connections = connections.lock().unwrap();
        connections.push((client, 0));
        connections.len() - 1
    };
    let mut read = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut read).await {
        if read.ends_with(b"\r\n\r\n") {
            read.clear();
            connections.lock().unwrap()[place].1 += 1;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

/// Each request has a connection of its own, which names its client, whatever version; also one that comes over
/// HTTP/2, beside others on one connection.
#[tokio::test]
async fn endpoints_are_told_the_client() {
    let mut ran = 0;
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let backend = Told::start().await;
        let policy = connected(ConnectionOptions {
            proxy_protocol: Some(version),
            ..ConnectionOptions::default()
        });
        let routes = Routes::all_to(&[backend.address]).backend_policy(&policy);
        let gateway = Gateway::start(routes);
        let mut expected = Vec::new();
        for _ in 0..2 {
            let stream = TcpStream::connect(gateway.address("web").unwrap()).await;
            let stream = stream.unwrap();
            let local = stream.local_addr().unwrap();
            let mut client = Client::new(stream);
            for _ in 0..2 {
                assert_eq!(client.get("/").await.text(), "hi");
                expected.push((Some(local), 1));
            }
        }
        let mut http2 = gateway.http2().await;
        for _ in 0..2 {
            assert_eq!(http2.get("/").await.text(), "hi");
        }
        let connections = backend.connections();
        assert_eq!(connections[..4], expected);
        let [one, other] = connections[4..] else {
            panic!("{connections:?}");
        };
        assert_eq!(
            one, other,
            "one client, and one request for each connection"
        );
        assert!(expected.iter().all(|it| it.0 != one.0) && one.1 == 1);
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// A connection that was made before the policy tells nobody's address, and is for nobody any more.
#[tokio::test]
async fn a_connection_from_before_is_for_nobody() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    assert_eq!(gateway.client().await.get("/").await.text(), "hi");
    let policy = connected(ConnectionOptions {
        proxy_protocol: Some(ProxyProtocol::V2),
        ..ConnectionOptions::default()
    });
    gateway.publish(Routes::all_to(&[backend.address()]).backend_policy(&policy));
    gateway.client().await.get("/").await;
    // This one has no use for the header.
    backend.forgive();
    let requests = backend.requests();
    let on_first = requests.iter().filter(|it| it.connection == 0);
    assert_eq!(on_first.count(), 1);
    assert!(backend.log().connections > 1);
}

/// Checks are Ferrix's own, and say so.
#[tokio::test]
async fn checks_tell_of_no_client() {
    let backend = Told::start().await;
    let second = Duration::from_secs(1);
    let policy = BackendPolicy {
        health: Health {
            check: Some(Check {
                kind: CheckKind::Http {
                    path: "/".into(),
                    host: None,
                },
                port: None,
                interval: Duration::from_millis(20),
                timeout: second,
                failures: 1,
                successes: 1,
            }),
            ..Health::default()
        },
        ..connected(ConnectionOptions {
            proxy_protocol: Some(ProxyProtocol::V2),
            ..ConnectionOptions::default()
        })
    };
    let _gateway = Gateway::start(Routes::all_to(&[backend.address]).backend_policy(&policy));
    eventually("a check", || backend.connections().contains(&(None, 1))).await;
}

#[tokio::test]
async fn a_connection_carries_nothing_when_it_is_too_old() {
    let backend = Backend::hello("hi").await;
    let young = kept(Some(LONG), Some(LONG));
    let routes = Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes.backend_policy(&young));
    let mut client = gateway.client().await;
    for _ in 0..3 {
        client.get("/").await;
    }
    assert_eq!(backend.log().connections, 1);
    // It keeps its terms; those that are made from now on have others.
    let old = kept(Some(Duration::from_nanos(1)), Some(LONG));
    let other = Backend::hello("hi").await;
    gateway.publish(Routes::all_to(&[other.address()]).backend_policy(&old));
    for _ in 0..3 {
        client.get("/").await;
    }
    assert_eq!(other.log().connections, 3);
}

/// Over HTTP/2 what is under way goes on, and what comes goes elsewhere.
#[tokio::test]
async fn streams_of_an_old_connection_end_in_peace() {
    let (gate, open) = tokio::sync::watch::channel(false);
    let backend = Http2Backend::start(move |mut exchange: Exchange| {
        let mut open = open.clone();
        async move {
            if exchange.index == 0 {
                let _ = open.wait_for(|open| *open).await;
            }
            exchange.respond(200, &[], true);
        }
    })
    .await;
    let policy = kept(Some(Duration::from_millis(200)), Some(LONG));
    let routes = Routes::all_by(Protocol::Http2, &[backend.address()]);
    let gateway = Gateway::start(routes.backend_policy(&policy));
    let mut first = gateway.client().await;
    first.send(get("/")).await;
    backend
        .wait("a request", |log| log.requests.len() == 1)
        .await;
    let mut client = gateway.client().await;
    while backend.log().connections < 2 {
        assert_eq!(client.get("/").await.status, 200);
    }
    gate.send(true).unwrap();
    assert_eq!(first.response().await.status, 200);
}

/// Without a time to idle, each request has a connection of its own.
#[tokio::test]
async fn nothing_idles_where_there_is_no_time_for_it() {
    let policy = kept(None, Some(Duration::ZERO));
    let backend = Backend::hello("hi").await;
    let routes = Routes::all_to(&[backend.address()]).backend_policy(&policy);
    let gateway = Gateway::start_with("upstream: {idle_timeout: 1h}", routes);
    let mut client = gateway.client().await;
    for _ in 0..3 {
        client.get("/").await;
    }
    assert_eq!(backend.log().connections, 3);
    backend.abandoned().await;
    let http2 = Http2Backend::hello("hi").await;
    gateway.publish(Routes::all_by(Protocol::Http2, &[http2.address()]).backend_policy(&policy));
    for _ in 0..3 {
        client.get("/").await;
    }
    assert_eq!(http2.log().connections, 3);
    // And with one they do, whatever the settings say.
    let policy = kept(None, Some(LONG));
    let other = Backend::hello("hi").await;
    let routes = Routes::all_to(&[other.address()]).backend_policy(&policy);
    let gateway = Gateway::start_with("upstream: {idle_timeout: 0s}", routes);
    let mut client = gateway.client().await;
    for _ in 0..3 {
        client.get("/").await;
    }
    assert_eq!(other.log().connections, 1);
}

#[tokio::test]
async fn so_many_connections_to_each_endpoint() {
    let (backend, gate) = Backend::gated("hi").await;
    let limited = |connections| BackendPolicy {
        connections,
        timeouts: BackendTimeouts {
            connect: Some(Duration::from_secs(1)),
            ..BackendTimeouts::default()
        },
        ..policy()
    };
    let routes = |connections| {
        let routes = Routes::all_to(&[backend.address()]);
        routes.backend_policy(&limited(connections))
    };
    let gateway = Gateway::start(routes(Some(1)));
    let mut clients = Vec::new();
    // What a policy allows changes while connections are open.
    for (connections, open) in [(Some(1), 1), (Some(2), 2), (None, 3)] {
        gateway.publish(routes(connections));
        let mut client = gateway.client().await;
        client.send(get("/")).await;
        let what = "one more request";
        backend.wait(what, |log| log.requests.len() == open).await;
        clients.push(client);
        if connections.is_some() {
            let mut refused = gateway.client().await;
            assert_eq!(refused.get("/").await.status, 503, "{connections:?}");
        }
    }
    assert_eq!(backend.log().connections, 3);
    gate.add_permits(3);
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hi");
    }
}

#[tokio::test]
async fn any_certificate_will_do_where_a_policy_says_so() {
    let mut ran = 0;
    for (authorities, expected) in [(Authorities::Anyone, 200), (Authorities::OfSystem, 502)] {
        let certified = Authority::new().certify("unknown", &["other.test"]);
        let backend = Backend::start_tls(
            certified.server(&["http/1.1"]),
            async |mut connection: Connection| {
                while connection.request().await.is_some() {
                    connection.send(super::status(200)).await;
                }
            },
        )
        .await;
        let tls = Protocol::Verified(Arc::new(Verification {
            server_name: "backend.test".into(),
            authorities,
            names: Box::default(),
            client: None,
            prepared: Prepared::default(),
        }));
        let gateway = Gateway::start(Routes::all_by(tls, &[backend.address()]));
        assert_eq!(gateway.client().await.get("/").await.status, expected);
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// An answer that has begun is to go on, however long its beginning may take.
#[tokio::test]
async fn an_answer_that_pauses_for_too_long_is_cut() {
    let limited = BackendPolicy {
        timeouts: BackendTimeouts {
            response: Some(LONG),
            idle: Some(Duration::from_millis(100)),
            ..BackendTimeouts::default()
        },
        ..policy()
    };
    for upgrade in [false, true] {
        let begun = match upgrade {
            false => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            true => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        };
        let backend = Backend::start(move |mut connection: Connection| async move {
            connection.head().await;
            connection.send(begun).await;
            connection.left().await;
        })
        .await;
        let routes = Routes::all_to(&[backend.address()]).backend_policy(&limited);
        let gateway = Gateway::start_with("timeouts: {upgraded: 1h}", routes);
        let mut client = gateway.client().await;
        let fields = match upgrade {
            false => "",
            true => "Upgrade: x\r\nConnection: Upgrade\r\n",
        };
        let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n");
        client.send(request).await;
        client.head().await;
        client.rest().await;
        backend.abandoned().await;
    }
}

/// When the system will probe whether an endpoint is still there, as far as it says so: the timer of
/// the one socket that is connected to it, in `/proc/net/tcp` (proc_pid_net(5), `tr` is 2 for a
/// keep-alive timer and `tm->when` counts hundredths of a second).
fn next_probe(endpoint: SocketAddr) -> Option<Duration> {
    let port = format!(":{:04X}", endpoint.port());
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().find_map(|socket| {
        let fields: Vec<_> = socket.split_whitespace().collect();
        let [_, _, peer, "01", _, timer, ..] = fields[..] else {
            return None;
        };
        let hundredths = timer.strip_prefix("02:")?;
        let hundredths = u64::from_str_radix(hundredths, 16).unwrap();
        peer.ends_with(&port)
            .then(|| Duration::from_millis(hundredths * 10))
    })
}

/// What the system was told of the sockets to an endpoint, as it says itself.
#[tokio::test]
async fn sockets_are_as_the_policy_has_them() {
    let idle_for = |seconds| TcpOptions {
        keep_alive_idle: Some(Duration::from_secs(seconds)),
        ..TcpOptions::default()
    };
    let cases = [
        (TcpOptions::default(), 1..=15),
        (idle_for(600), 301..=600),
        (idle_for(3600), 3301..=3600),
    ];
    let mut ran = 0;
    for (tcp, expected) in cases {
        let policy = connected(ConnectionOptions {
            tcp,
            idle_timeout: Some(LONG),
            ..ConnectionOptions::default()
        });
        let (http1, http2) = (Backend::hello("hi").await, Http2Backend::hello("hi").await);
        for (protocol, address) in [
            (Protocol::Http1, http1.address()),
            (Protocol::Http2, http2.address()),
        ] {
            let routes = Routes::all_by(protocol, &[address]).backend_policy(&policy);
            let gateway = Gateway::start(routes);
            assert_eq!(gateway.client().await.get("/").await.text(), "hi");
            // Another timer runs until the endpoint has acknowledged everything.
            eventually("a probe", || next_probe(address).is_some()).await;
            let left = next_probe(address).unwrap();
            assert!(expected.contains(&left.as_secs()), "{left:?}");
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
}
