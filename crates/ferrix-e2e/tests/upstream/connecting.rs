//! How a request comes to a connection where endpoints hang, fail or go: judged by who answered, how
//! long that took, and what the system says of connections that are being attempted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Routes,
    backend::{Blackhole, Connection, Dead, ok},
    certificates::Authority,
    client::get,
    http2_backend::Exchange,
    within,
};
use ferrix_table::services::Protocol;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

/// Long enough that only what is abandoned ends within a test.
const PATIENT: &str = "timeouts: {connect: 10m}";

const POST: &str = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc";

fn tls() -> Protocol {
    Protocol::Tls {
        server_name: "backend.test".into(),
    }
}

/// What waits for an endpoint that goes is answered by another, or with 503 where there is none.
/// Whatever it waits for: the connection, HTTP/2's turn behind another request that waits for it, or
/// the TLS handshake.
#[tokio::test]
async fn a_connection_is_not_waited_for_when_its_endpoint_goes() {
    let backend = Backend::hello("other").await;
    let http2 = Http2Backend::hello("other").await;
    let certified = Authority::new().certify("backend", &["backend.test"]);
    let secure = Backend::start_tls(
        certified.server(&["http/1.1"]),
        async |mut connection: Connection| {
            while connection.request().await.is_some() {
                connection.send(ok("other")).await;
            }
        },
    )
    .await;
    let settings = format!("{{{PATIENT}, upstream: {{tls: {{verify: false}}}}}}");
    let mut ran = 0;
    for protocol in [Protocol::Http1, Protocol::Http2, tls()] {
        for replaced in [true, false] {
            // Accepts for ever and says nothing: a TLS handshake hangs.
            let silent = Backend::start(async |mut connection: Connection| {
                connection.left().await;
            })
            .await;
            let hole = Blackhole::new().await;
            let (first, other) = match &protocol {
                Protocol::Http1 => (hole.address(), backend.address()),
                Protocol::Http2 => (hole.address(), http2.address()),
                _ => (silent.address(), secure.address()),
            };
            let routes = |addresses: &[_]| Routes::all_by(protocol.clone(), addresses);
            let gateway = Gateway::start_with(&settings, routes(&[first]));
            let mut clients = Vec::new();
            for request in [get("/"), POST.to_owned(), POST.to_owned()] {
                let mut client = gateway.client().await;
                client.send(request).await;
                clients.push(client);
            }
            match &protocol {
                Protocol::Http1 => hole.attempted(3).await,
                // The others wait for their turn.
                Protocol::Http2 => hole.attempted(1).await,
                _ => silent.wait("handshakes", |log| log.open == 3).await,
            }
            let others = if replaced { vec![other] } else { vec![] };
            gateway.publish(routes(&others));
            for client in &mut clients {
                let response = client.response().await;
                match replaced {
                    true => assert_eq!(response.text(), "other", "{protocol:?}"),
                    false => assert_eq!(response.status, 503, "{protocol:?}"),
                }
            }
            gateway
                .failed("no_endpoint", if replaced { 0 } else { 3 })
                .await;
            hole.attempted(0).await;
            silent.abandoned().await;
            let failures = gateway.table().services[0].state.connect_failures.get();
            assert_eq!(failures, 0, "it is gone, and did not fail");
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
    for backend in [&backend, &secure] {
        let requests = backend.requests();
        assert_eq!(requests.iter().filter(|it| it.body == b"abc").count(), 2);
    }
}

/// The same for one that waits until there may be another connection.
#[tokio::test]
async fn a_place_is_not_waited_for_when_its_endpoint_goes() {
    let (gated, gate) = Backend::gated("gated").await;
    let other = Backend::hello("other").await;
    let routes = |addresses: &[_]| {
        Routes::all_to(addresses)
            .service("other", Protocol::Http1, &[other.address()])
            .rule("*", "Path(`/other`)", &[("other", 1)])
    };
    for (others, answer) in [(vec![other.address()], 200), (vec![], 503)] {
        let settings = format!("{{{PATIENT}, upstream: {{connections_per_endpoint: 1}}}}");
        let gateway = Gateway::start_with(&settings, routes(&[gated.address()]));
        let before = gated.requests().len();
        let mut first = gateway.client().await;
        first.send(get("/")).await;
        gated
            .wait("a request", |log| log.requests.len() == before + 1)
            .await;
        let mut second = gateway.client().await;
        second.send(get("/")).await;
        // What is served after it on the one thread there is says that it waits.
        assert_eq!(gateway.client().await.get("/other").await.text(), "other");
        gateway.publish(routes(&others));
        assert_eq!(second.response().await.status, answer);
        gate.add_permits(1);
        assert_eq!(first.response().await.text(), "gated");
        assert_eq!(gated.requests().len(), before + 1);
    }
}

/// How long each of so many requests took, one after another, all answered.
async fn durations(client: &mut Client, requests: usize) -> Vec<Duration> {
    let mut durations = Vec::new();
    for _ in 0..requests {
        let started = Instant::now();
        assert_eq!(client.exchange(POST).await.text(), "hi");
        durations.push(started.elapsed());
    }
    durations.sort_unstable();
    durations
}

/// One request finds out, and takes as long as an endpoint is waited for alone. The others are never
/// slow, also when it is asked again whether the endpoint is back.
#[tokio::test]
async fn one_of_two_endpoints_hangs() {
    let hole = Blackhole::new().await;
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {connect: 400ms}",
        Routes::all_to(&[hole.address(), backend.address()]),
    );
    let state = gateway.table().services[0].clone();
    let mut client = gateway.client().await;
    let first = durations(&mut client, 200).await;
    println!(
        "p50 {:?}, p99 {:?}, most {:?}",
        first[100], first[198], first[199]
    );
    assert!(first[198] < Duration::from_millis(200), "{first:?}");
    let most = first[199];
    assert!(
        most >= Duration::from_millis(250) && most < Duration::from_secs(2),
        "{most:?}"
    );
    assert_eq!(state.state.retries.get(), 1);
    // The first pause is a second, and this goes on until the second has begun.
    let backoff = &state.endpoints[0].state.backoff;
    let mut then = Vec::new();
    let probed = async {
        while backoff.failures() < 2 {
            then.extend(durations(&mut client, 1).await);
            sleep(Duration::from_millis(5)).await;
        }
    };
    within("a probe that fails", probed).await;
    then.sort_unstable();
    let (p50, p99) = (then[then.len() / 2], then[then.len() * 99 / 100]);
    println!(
        "then p50 {p50:?}, p99 {p99:?}, most {:?}",
        then[then.len() - 1]
    );
    assert!(p99 < Duration::from_millis(200), "{then:?}");
    assert_eq!(
        state.state.retries.get(),
        1,
        "a probe is no request's attempt"
    );
    assert_eq!(state.state.connect_failures.get(), 2);
}

/// Over HTTP/2 requests that arrive together wait for one connection, and all go on after as long.
#[tokio::test]
async fn requests_that_wait_for_a_turn_go_on_too() {
    let hole = Blackhole::new().await;
    let backend = Http2Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        PATIENT,
        Routes::all_by(Protocol::Http2, &[hole.address(), backend.address()]),
    );
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.client().await;
        client.send(POST).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hi");
    }
    assert_eq!(hole.attempts(), 1);
    assert_eq!(backend.log().connections, 1);
}

/// A connection that comes after its request has gone elsewhere carries the next one, and the endpoint
/// has its turns again.
#[tokio::test]
async fn a_late_connection_is_used() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let hole = Blackhole::new().await;
        let hi = Either::hello(&protocol, "hi").await;
        let gateway = Gateway::start_with(
            "{timeouts: {connect: 10m}, upstream: {idle_timeout: 10m}}",
            Routes::all_by(protocol.clone(), &[hole.address(), hi.address()]),
        );
        let service = gateway.table().services[0].clone();
        let backoff = &service.endpoints[0].state.backoff;
        let mut client = gateway.client().await;
        for _ in 0..5 {
            assert_eq!(client.get("/").await.text(), "hi");
            assert!(
                backoff.is_failing() && backoff.failures() == 0,
                "it takes long"
            );
        }
        assert_eq!(hole.attempts(), 1);
        let (listener, others) = hole.listen();
        let late = Either::hello_on(&protocol, listener, "late");
        let connected = async {
            while backoff.is_failing() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        within("the late connection", connected).await;
        let mut answers = [client.get("/").await.text(), client.get("/").await.text()];
        answers.sort_unstable();
        assert_eq!(answers, ["hi", "late"]);
        assert_eq!(late.connections(), others + 1);
        assert_eq!(service.state.connect_failures.get(), 0);
    }
}

/// A backend of one protocol or the other.
enum Either {
    One(Backend),
    Two(Http2Backend),
}

impl Either {
    async fn hello(protocol: &Protocol, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::hello_on(protocol, listener, body)
    }

    fn hello_on(protocol: &Protocol, listener: TcpListener, body: &'static str) -> Self {
        match protocol {
            Protocol::Http2 => Self::Two(Http2Backend::hello_on(listener, body)),
            _ => Self::One(Backend::hello_on(listener, body)),
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::One(backend) => backend.address(),
            Self::Two(backend) => backend.address(),
        }
    }

    fn connections(&self) -> usize {
        match self {
            Self::One(backend) => backend.log().connections,
            Self::Two(backend) => backend.log().connections,
        }
    }
}

/// What no request waits for takes no place from one that does.
#[tokio::test]
async fn a_late_connection_gives_way() {
    let hole = Blackhole::new().await;
    let (backend, gate) = Backend::gated("hi").await;
    let gateway = Gateway::start_with(
        "{timeouts: {connect: 10m}, upstream: {connections: 2}}",
        Routes::all_to(&[hole.address(), backend.address()]),
    );
    let mut clients = [gateway.client().await, gateway.client().await];
    clients[0].send(get("/")).await;
    backend
        .wait("the first request", |log| log.requests.len() == 1)
        .await;
    assert_eq!(hole.attempts(), 1);
    clients[1].send(get("/")).await;
    backend
        .wait("the second request", |log| log.requests.len() == 2)
        .await;
    hole.attempted(0).await;
    gate.add_permits(2);
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hi");
    }
}

/// An endpoint that refuses is asked once, and then one request at a time finds out whether it is back,
/// at no cost of its own.
#[tokio::test]
async fn an_endpoint_that_refuses_is_left_alone() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let dead = Dead::new();
        let hi = Either::hello(&protocol, "hi").await;
        let gateway = Gateway::start(Routes::all_by(
            protocol.clone(),
            &[dead.address(), hi.address()],
        ));
        let service = gateway.table().services[0].clone();
        let counts = || {
            let state = &service.state;
            (state.connect_failures.get(), state.retries.get())
        };
        let mut client = gateway.client().await;
        durations(&mut client, 10).await;
        assert_eq!(counts(), (1, 1));
        let probed = async {
            while counts().0 == 1 {
                durations(&mut client, 2).await;
                sleep(Duration::from_millis(5)).await;
            }
        };
        within("a probe", probed).await;
        durations(&mut client, 10).await;
        assert_eq!(counts(), (2, 1));

        let back = Either::hello_on(&protocol, dead.listen(), "back");
        let asked = async {
            while client.get("/").await.text() != "back" {
                sleep(Duration::from_millis(5)).await;
            }
        };
        within("the endpoint to be asked again", asked).await;
        assert!(!service.endpoints[0].is_failing());
        assert_eq!(counts(), (2, 1));
        let mut answers = [client.get("/").await.text(), client.get("/").await.text()];
        answers.sort_unstable();
        assert_eq!(answers, ["back", "hi"]);
        assert_eq!(back.connections(), 1, "what found out is used");
    }
}

/// Statuses are the backend's own affair.
#[tokio::test]
async fn only_connections_count() {
    let failing = Backend::answering(
        "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let closing = Backend::start(async |mut connection: Connection| {
        connection.request().await;
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[failing.address(), closing.address()]));
    let mut client = gateway.client().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(client.get("/").await.status);
    }
    assert_eq!(statuses, [500, 502].repeat(10));
    let service = &gateway.table().services[0];
    assert!(!service.endpoints.iter().any(|it| it.is_failing()));
}

/// A request that waits goes from endpoint to endpoint as they go, and back to one that was gone.
#[tokio::test]
async fn an_endpoint_that_comes_back_is_tried_again() {
    let backend = Backend::hello("hi").await;
    let holes = [Blackhole::new().await, Blackhole::new().await];
    let all_to = |hole: &Blackhole| Routes::all_to(&[hole.address()]);
    let gateway = Gateway::start_with("{timeouts: {connect: 10m}}", all_to(&holes[0]));
    for request in [POST, &get("/")] {
        gateway.publish(all_to(&holes[0]));
        let mut client = gateway.client().await;
        let request = request.to_owned();
        let answer = tokio::spawn(async move { client.exchange(request).await.text() });
        holes[0].attempted(1).await;
        for turn in [1, 0, 1] {
            gateway.publish(all_to(&holes[turn]));
            holes[turn].attempted(1).await;
            holes[1 - turn].attempted(0).await;
        }
        gateway.publish(Routes::all_to(&[backend.address()]));
        assert_eq!(within("the answer", answer).await.unwrap(), "hi");
        holes[1].attempted(0).await;
    }
}

/// Endpoints that do not answer come and go under load, on two threads, and no request is lost or waits
/// for one of them in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn endpoints_that_hang_come_and_go_under_load() {
    let backends = [Backend::hello("hi").await, Backend::hello("hi").await];
    let settings = "{server: {threads: 2}, timeouts: {connect: 10m}, \
                    limits: {requests_per_connection: 0}}";
    let gateway = Gateway::start_with(settings, Routes::all_to(&[backends[0].address()]));
    let answered = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for index in 0..16 {
        let (stopped, answered) = (stopped.clone(), Arc::clone(&answered));
        let mut client = gateway.client().await;
        tasks.spawn(async move {
            while !*stopped.borrow() {
                let request = if index % 2 == 0 {
                    POST.to_owned()
                } else {
                    get("/")
                };
                assert_eq!(client.exchange(request).await.text(), "hi");
                answered.fetch_add(1, SeqCst);
            }
        });
    }
    for round in 0..10 {
        // A hole each time: its state is that of its address.
        let hole = Blackhole::new().await;
        let backend = backends[round % 2].address();
        gateway.publish(Routes::all_to(&[hole.address(), backend]));
        gateway.publish(Routes::all_to(&[hole.address()]));
        let all_wait = async {
            while hole.attempts() < 16 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        within("all to wait", all_wait).await;
        gateway.publish(Routes::all_to(&[backend]));
        let before = answered.load(SeqCst);
        let going_on = async {
            while answered.load(SeqCst) < before + 100 && !tasks.is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        within("requests", going_on).await;
        hole.attempted(0).await;
    }
    stop.send(true).unwrap();
    while let Some(task) = within("the clients", tasks.join_next()).await {
        task.unwrap();
    }
}

/// An upgrade needs HTTP/1, which a backend may refuse in its TLS handshake: that is no reason to keep
/// other requests from it.
#[tokio::test]
async fn an_upgrade_that_is_refused_in_tls_does_not_count() {
    let certified = Authority::new().certify("backend", &["backend.test"]);
    let backends = [
        Http2Backend::start_tls(certified.server(&["h2"]), answer).await,
        Http2Backend::start_tls(certified.server(&["h2"]), answer).await,
    ];
    let addresses = backends.each_ref().map(Http2Backend::address);
    let gateway = Gateway::start_with(
        "upstream: {attempts: 1, tls: {verify: false}}",
        Routes::all_by(tls(), &addresses),
    );
    let upgrade = "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\n\r\n";
    for failures in 1..=4 {
        let mut client = gateway.client().await;
        assert_eq!(client.exchange(upgrade).await.status, 502);
        let service = gateway.table().services[0].clone();
        assert_eq!(service.state.connect_failures.get(), failures);
        assert!(!service.endpoints.iter().any(|it| it.is_failing()));
    }
    let mut client = gateway.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 204);
    }
    for backend in &backends {
        assert_eq!(backend.log().requests.len(), 2);
    }
}

async fn answer(mut exchange: Exchange) {
    exchange.body().await;
    exchange.respond(204, &[], true);
}

/// Where all hang they are tried side by side, as many as there are attempts, and then it is 502.
#[tokio::test]
async fn where_all_hang_all_are_tried() {
    let holes = [
        Blackhole::new().await,
        Blackhole::new().await,
        Blackhole::new().await,
    ];
    let addresses = holes.each_ref().map(Blackhole::address);
    for attempts in [1, 2, 3] {
        let gateway = Gateway::start_with(
            &format!("{{timeouts: {{connect: 2s}}, upstream: {{attempts: {attempts}}}}}"),
            Routes::all_to(&addresses),
        );
        // The second request finds all of them failing.
        for round in 1..=2 {
            let mut client = gateway.client().await;
            let started = Instant::now();
            client.send(POST).await;
            let attempted = async {
                while holes.iter().map(Blackhole::attempts).sum::<usize>() != attempts {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            within("all attempts at once", attempted).await;
            assert_eq!(client.response().await.status, 502);
            let took = started.elapsed();
            assert!(
                took >= Duration::from_secs(2),
                "{attempts} {round}: {took:?}"
            );
            assert!(
                took < Duration::from_secs(4),
                "{attempts} {round}: {took:?}"
            );
        }
        let state = &gateway.table().services[0].state;
        let attempts = u64::try_from(attempts).unwrap();
        assert_eq!(state.connect_failures.get(), 2 * attempts);
        assert_eq!(state.retries.get(), 2 * (attempts - 1));
    }
}
