//! Which listener of a port a request is for.

use std::{sync::Arc, time::Duration};

use ferrix_e2e::{Backend, Client, Gateway, Routes, client::once};
use ferrix_proxy::{Bound, settings::Settings};
use ferrix_table::{
    Table,
    entry_points::{EntryPoint, EntryPoints, Protocol::Http},
    publish,
    services::Protocol,
    sockets::Listening,
};

use crate::{FIRST, free_port, get, listener, local, with};

/// Each listener has a backend of its own that answers with its name.
async fn routes(backends: &[(&'static str, &'static str)]) -> (Vec<Backend>, Routes) {
    let mut routes = Routes::new();
    let mut all = Vec::new();
    for (index, (name, path)) in (FIRST..).zip(backends) {
        let backend = Backend::hello(name).await;
        let matches = format!("PathPrefix(`{path}`)");
        routes = routes
            .service(name, Protocol::Http1, &[backend.address()])
            .on(&[index])
            .rule("*", &matches, &[(name, 1)]);
        all.push(backend);
    }
    (all, routes)
}

#[tokio::test]
async fn the_most_exact_host_has_its_requests_and_no_other_serves_them() {
    let backends = [("any", "/"), ("below", "/"), ("exact", "/own")];
    let (backends, routes) = routes(&backends).await;
    let gateway = Gateway::start(Routes::new());
    let port = free_port();
    let listeners = [
        listener("any", Http, port, "*"),
        listener("below", Http, port, "*.example.com"),
        listener("exact", Http, port, "a.example.com"),
    ];
    gateway.publish_on(with(&listeners), routes);
    // All on one connection.
    let mut client = Client::connect(local(port)).await;
    let cases = [
        ("other.test", "/", Some("any")),
        ("example.com", "/", Some("any")),
        ("b.example.com", "/", Some("below")),
        ("c.b.example.com:80", "/", Some("below")),
        ("A.example.com", "/own", Some("exact")),
        ("a.example.com", "/", None),
        ("b.a.example.com", "/own", Some("below")),
    ];
    for (host, path, expected) in cases {
        let response = client.exchange(get(host, path)).await;
        match expected {
            Some(name) => assert_eq!(response.text(), name, "{host}{path}"),
            None => assert_eq!(response.status, 404, "{host}{path}"),
        }
    }
    let received: Vec<_> = backends.iter().map(|it| it.requests().len()).collect();
    assert_eq!(received, [2, 3, 1]);
}

#[tokio::test]
async fn a_host_that_no_listener_is_for_is_unknown() {
    let (backends, routes) = routes(&[("exact", "/")]).await;
    let gateway = Gateway::start(Routes::new());
    let port = free_port();
    let listeners = [listener("exact", Http, port, "a.example.com")];
    gateway.publish_on(with(&listeners), routes);
    assert_eq!(
        once(local(port), get("b.example.com", "/")).await.status,
        404
    );
    assert_eq!(
        once(local(port), get("a.example.com", "/")).await.status,
        200
    );
    assert_eq!(backends[0].requests().len(), 1);
}

#[tokio::test]
async fn listeners_of_a_port_come_change_and_go_and_no_connection_notices() {
    let (late, gate) = Backend::gated("late").await;
    let now = Backend::hello("now").await;
    let routes = || {
        Routes::new()
            .service("late", Protocol::Http1, &[late.address()])
            .service("now", Protocol::Http1, &[now.address()])
            .rule("*", "Path(`/late`)", &[("late", 1)])
            .rule("*", "Path(`/`)", &[("now", 1)])
    };
    let gateway = Gateway::start(routes());
    let port = free_port();
    let first = listener("first", Http, port, "a.example.com");
    gateway.publish_on(with(std::slice::from_ref(&first)), routes());
    let mut underway = Client::connect(local(port)).await;
    underway.send(get("a.example.com", "/late")).await;
    late.wait("the request", |log| log.requests.len() == 1)
        .await;
    let mut idle = Client::connect(local(port)).await;
    assert_eq!(idle.exchange(get("b.example.com", "/")).await.status, 404);
    let second = listener("second", Http, port, "b.example.com");
    let steps = [
        vec![first.clone(), second.clone()],
        vec![
            listener("first", Http, port, "*.example.com"),
            second.clone(),
        ],
        // The socket gets another name.
        vec![second.clone()],
        vec![second.clone(), listener("any", Http, port, "*")],
    ];
    for listeners in &steps {
        gateway.publish_on(with(listeners), routes());
        let response = idle.exchange(get("b.example.com", "/")).await;
        assert_eq!(response.text(), "now");
        assert_eq!(response.head.one("connection"), None);
    }
    gate.add_permits(1);
    let response = underway.response().await;
    assert_eq!(response.text(), "late");
    assert_eq!(response.head.one("connection"), None);
    let counters = gateway.counters();
    assert_eq!(counters.entry_point("first").accepted_connections.get(), 2);
}

#[tokio::test]
async fn whether_a_socket_listens_is_known_of_its_listeners() {
    let gateway = Gateway::start(Routes::new());
    let taken = std::net::TcpListener::bind(local(0)).unwrap();
    let (taken, free) = (taken.local_addr().unwrap().port(), (free_port(), taken));
    let (free, _guard) = free;
    let listeners = [
        listener("free", Http, free, "*"),
        listener("beside", Http, free, "a.test"),
        listener("taken", Http, taken, "*"),
    ];
    gateway.publish_on(with(&listeners), Routes::new());
    let table = gateway.table();
    let state = |name: &str| {
        let index = table.entry_points.find(name).unwrap();
        table.entry_points.socket_of(index).unwrap().1.state.get()
    };
    assert_eq!(state("free"), Listening::On(local(free)));
    assert_eq!(state("beside"), Listening::On(local(free)));
    match state("taken") {
        Listening::Refused(why) => assert!(why.contains("in use"), "{why}"),
        other => panic!("{other:?}"),
    }
    let left = gateway.drain(Duration::from_secs(5)).await;
    assert_eq!(left, 0);
    assert_eq!(state("free"), Listening::Pending);
}

/// An address of a Gateway may be another machine's.
#[tokio::test]
async fn what_cannot_be_listened_on_keeps_no_process_from_starting() {
    let (mut publisher, reader) = publish::channel();
    let own = listener("own", Http, free_port(), "*");
    // One for documentation (RFC 5737), which no machine has.
    let foreign = EntryPoint {
        address: "192.0.2.1:80".parse().unwrap(),
        ..EntryPoint::http("foreign")
    };
    let entry_points = EntryPoints::from([own.clone(), foreign].as_slice());
    publisher.publish(Table {
        entry_points: Arc::new(entry_points),
        ..Table::default()
    });
    let mut settings = Settings::default();
    settings.server.threads = 1;
    let bound = Bound::new(std::slice::from_ref(&own), settings, reader, None).unwrap();
    let refused = bound.refused();
    let proxy = bound.serve().unwrap();
    assert_eq!(proxy.addresses(), [("own".to_owned(), own.address)]);
    let places: Vec<_> = refused.borrow().keys().map(|it| it.address).collect();
    assert_eq!(places, ["192.0.2.1:80".parse().unwrap()]);
    let table = publisher.current();
    let states: Vec<_> = (table.entry_points.sockets())
        .map(|(_, socket)| socket.state.get())
        .collect();
    assert_eq!(states[0], Listening::On(own.address));
    assert!(matches!(states[1], Listening::Refused(_)), "{states:?}");
}
