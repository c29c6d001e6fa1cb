use super::*;
use crate::sockets::Listening;

fn entry_points(names: &[&str]) -> Vec<EntryPoint> {
    names.iter().map(|name| EntryPoint::http(name)).collect()
}

fn names(all: &EntryPoints) -> Vec<(EntryPointIndex, &str)> {
    all.iter().map(|(index, it)| (index, &*it.name)).collect()
}

/// One at a port, for a host as the Gateway API writes it, or `*` for any.
fn listener(name: &str, protocol: Protocol, port: u16, host: &str) -> EntryPoint {
    EntryPoint {
        host: match host {
            "*" => HostPattern::Any,
            host => HostPattern::parse_gateway(host).unwrap(),
        },
        address: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
        ..EntryPoint::new(name, protocol)
    }
}

#[test]
fn an_entry_point_keeps_its_index_while_others_come_and_go() {
    let first = EntryPoints::from(&*entry_points(&["a", "b", "c"]));
    assert_eq!(names(&first), [(0, "a"), (1, "b"), (2, "c")]);
    let second = first.followed_by(&entry_points(&["d", "c", "a"]));
    // Rules may still name the index of `b`.
    assert_eq!(names(&second), [(0, "a"), (2, "c"), (3, "d")]);
    assert_eq!(second.find("c"), Some(2));
    assert!(second.get(1).is_none());
    assert!(Arc::ptr_eq(first.get(0).unwrap(), second.get(0).unwrap()));
    let third = second.followed_by(&entry_points(&["a", "c", "d", "e"]));
    assert_eq!(names(&third), [(0, "a"), (1, "e"), (2, "c"), (3, "d")]);
}

#[test]
fn thousands_keep_their_indices_and_are_found_by_their_names() {
    let listeners = |numbers: std::ops::Range<u16>| -> Vec<EntryPoint> {
        let listener = |number| {
            let host = format!("{number}.example.com");
            listener(&format!("listener {number}"), Protocol::Https, 443, &host)
        };
        numbers.map(listener).collect()
    };
    // With a search for each name among all, this would take minutes.
    let first = EntryPoints::from(&*listeners(0..40_000));
    let second = first.followed_by(&listeners(10_000..50_000));
    let third = second.followed_by(&listeners(20_000..60_000));
    for number in 20_000..60_000 {
        let index = third.find(&format!("listener {number}")).unwrap();
        if number < 50_000 {
            assert_eq!(second.find(&format!("listener {number}")), Some(index));
        }
        let host = format!("{number}.example.com");
        assert_eq!(third.choose(0, &host), Some(index));
    }
    assert_eq!(third.iter().count(), 40_000);
    assert_eq!(third.find("listener 19999"), None);
    assert_eq!(third.choose(0, "19999.example.com"), None);
}

#[test]
fn an_index_of_a_socket_is_given_to_another_only_when_nobody_has_the_last_owner() {
    let names = |all: &EntryPoints| -> Vec<(SocketIndex, String)> {
        (all.sockets()
            .map(|(index, it)| (index, it.name.to_string())))
        .collect()
    };
    let owned = |all: &[(SocketIndex, &str)]| -> Vec<(SocketIndex, String)> {
        (all.iter().map(|(index, name)| (*index, (*name).to_owned()))).collect()
    };
    let first = EntryPoints::from(&*entry_points(&["a", "b"]));
    let connection = Arc::clone(first.sockets().next().unwrap().1);
    let second = first.followed_by(&entry_points(&["b"]));
    drop(first);
    let third = second.followed_by(&entry_points(&["b", "c"]));
    assert_eq!(names(&third), owned(&[(1, "b"), (2, "c")]));
    assert_eq!(third.choose(0, "a.test"), None);
    drop(connection);
    let fourth = third.followed_by(&entry_points(&["b", "c", "d"]));
    assert_eq!(names(&fourth), owned(&[(0, "d"), (1, "b"), (2, "c")]));
}

#[test]
fn one_that_changes_keeps_its_index_and_one_name_is_one_entry_point() {
    let first = EntryPoints::from(&*entry_points(&["a", "b"]));
    let secure = EntryPoint::https("b");
    let second = first.followed_by(&[secure.clone(), EntryPoint::http("b")]);
    assert_eq!(names(&second), [(1, "b")]);
    assert_eq!(**second.get(1).unwrap(), secure);
    let twice = EntryPoints::from(&*entry_points(&["a", "a"]));
    assert_eq!(names(&twice), [(0, "a")]);
}

#[test]
fn the_most_exact_host_of_a_socket_takes_a_request() {
    use Protocol::{Http, Https, Tcp, TlsPassthrough, Udp};
    let all = EntryPoints::from(
        [
            listener("any", Http, 80, "*"),
            listener("below", Http, 80, "*.example.com"),
            listener("deep", Http, 80, "*.a.example.com"),
            listener("exact", Http, 80, "a.example.com"),
            listener("https", Https, 443, "*.example.com"),
            listener("through", TlsPassthrough, 443, "db.example.com"),
            listener("alone", Http, 81, "a.example.com"),
            listener("tcp", Tcp, 53, "*"),
            listener("udp", Udp, 53, "*"),
        ]
        .as_slice(),
    );
    let cases = [
        (80, "a.example.com", Some("exact")),
        (80, "b.example.com", Some("below")),
        (80, "c.b.example.com", Some("below")),
        (80, "b.a.example.com", Some("deep")),
        (80, "example.com", Some("any")),
        (80, "", Some("any")),
        (443, "www.example.com", Some("https")),
        (443, "db.example.com", Some("through")),
        (443, "x.db.example.com", Some("https")),
        (443, "example.com", None),
        (443, "", None),
        (81, "a.example.com", Some("alone")),
        (81, "b.example.com", None),
        (81, "", None),
        (53, "", Some("tcp")),
        (53, "a.example.com", Some("tcp")),
    ];
    for (port, host, expected) in cases {
        let is_it = |(_, it): &(_, &Arc<Socket>)| it.place.address.port() == port;
        let (socket, _) = all.sockets().find(is_it).unwrap();
        let chosen = all.choose(socket, host).and_then(|it| all.get(it));
        assert_eq!(chosen.map(|it| &*it.name), expected, "{port} {host}");
        let for_request = all.choose_for_request(socket, host);
        let for_request = for_request.and_then(|it| all.get(it));
        let expected = chosen.filter(|it| it.protocol.takes_requests());
        assert_eq!(for_request, expected, "{port} {host}");
    }
    assert_eq!(all.sockets().count(), 5, "TCP and UDP may share a number");
}

#[test]
fn what_one_socket_cannot_be_is_the_first_ones() {
    use Protocol::{Http, Https, TlsPassthrough};
    let all = EntryPoints::from(
        [
            listener("https", Https, 443, "a.test"),
            listener("plain", Http, 443, "b.test"),
            listener("taken", TlsPassthrough, 443, "a.test"),
            listener("through", TlsPassthrough, 443, "c.test"),
            listener("same", Http, 80, "*"),
            listener("again", Http, 80, "*"),
        ]
        .as_slice(),
    );
    let socket_of = |name: &str| all.socket_of(all.find(name).unwrap()).map(|(it, _)| it);
    let cases = [
        ("https", Some(0)),
        ("plain", None),
        ("taken", None),
        ("through", Some(0)),
        ("same", Some(1)),
        ("again", None),
    ];
    for (name, expected) in cases {
        assert_eq!(socket_of(name), expected, "{name}");
    }
    assert!(all.socket_of(17).is_none());
}

/// Whether the socket is the very same, one that takes connections in alike, or another.
#[derive(Debug, PartialEq)]
enum Becomes {
    Same,
    Like,
    Other,
}

#[test]
fn a_socket_outlives_what_becomes_of_its_entry_points() {
    use Becomes::{Like, Other, Same};
    use Protocol::{Http, Https, Tcp};
    let before = [
        listener("a", Http, 80, "a.test"),
        listener("b", Http, 80, "b.test"),
    ];
    let behind = EntryPoint {
        proxy_protocol: ["10.0.0.0/8".parse().unwrap()].into(),
        ..before[0].clone()
    };
    let asked = EntryPoint {
        client_certificates: Some(Arc::new(ClientCertificates {
            authorities: Box::default(),
            required: true,
        })),
        ..before[0].clone()
    };
    let [a, b] = before.clone();
    let cases = [
        ("nothing", vec![a.clone(), b.clone()], Same),
        ("one goes", vec![a.clone()], Same),
        (
            "one comes",
            vec![a.clone(), b.clone(), listener("c", Http, 80, "*")],
            Same,
        ),
        (
            "another host",
            vec![listener("a", Http, 80, "c.test")],
            Same,
        ),
        ("the first goes", vec![b.clone()], Like),
        ("another name", vec![listener("x", Http, 80, "*")], Like),
        ("TLS", vec![listener("a", Https, 80, "a.test")], Other),
        ("bytes", vec![listener("a", Tcp, 80, "*")], Other),
        ("PROXY protocol", vec![behind], Other),
        ("client certificates", vec![asked], Other),
    ];
    for (what, wanted, expected) in cases {
        let first = EntryPoints::from(before.as_slice());
        let (index, socket) = first.sockets().next().unwrap();
        socket.state.set(Listening::On(socket.place.address));
        let second = first.followed_by(&wanted);
        let (index_then, then) = second.sockets().next().unwrap();
        let becomes = match (Arc::ptr_eq(socket, then), socket.is_like(then)) {
            (true, _) => Same,
            (false, true) => Like,
            (false, false) => Other,
        };
        assert_eq!((becomes, index_then), (expected, index), "{what}");
        assert_eq!(then.name, wanted[0].name, "{what}");
        assert_eq!(then.state.get(), socket.state.get(), "{what}");
    }
}

#[test]
fn where_the_system_chooses_ports_each_entry_point_has_a_socket() {
    let all = EntryPoints::from(&*entry_points(&["a", "b"]));
    assert_eq!(all.sockets().count(), 2);
    for (index, entry_point) in all.iter() {
        let (_, socket) = all.socket_of(index).unwrap();
        assert_eq!(socket.name, entry_point.name);
    }
}

#[test]
fn a_socket_that_takes_no_requests_any_more_has_no_entry_point_for_them() {
    let https = listener("a", Protocol::Https, 443, "*");
    let through = listener("a", Protocol::TlsPassthrough, 443, "*");
    let cases = [(https, Some(0)), (through, None)];
    for (entry_point, expected) in cases {
        let all = EntryPoints::from([entry_point].as_slice());
        assert_eq!(all.choose(0, "a.test"), Some(0));
        assert_eq!(all.choose_for_request(0, "a.test"), expected);
    }
}

/// Its connections are about to end, and may bring requests before.
#[test]
fn a_socket_that_is_left_is_for_its_entry_points_as_long_as_they_are_somewhere() {
    let choose = |all: &EntryPoints, host: &str| all.choose_for_request(0, host);
    let first = EntryPoints::from(
        [
            listener("stays", Protocol::Http, 80, "a.test"),
            listener("goes", Protocol::Http, 80, "*"),
        ]
        .as_slice(),
    );
    let _connection = Arc::clone(first.sockets().next().unwrap().1);
    let moved = listener("stays", Protocol::Http, 81, "a.test");
    let second = first.followed_by(std::slice::from_ref(&moved));
    assert_eq!(choose(&second, "a.test"), second.find("stays"));
    assert_eq!(choose(&second, "b.test"), None);
    // The index of the one that is gone is another's now.
    let third = second.followed_by(&[moved, listener("new", Protocol::Http, 82, "*")]);
    assert_eq!(third.find("new"), first.find("goes"));
    assert_eq!(choose(&third, "a.test"), third.find("stays"));
    assert_eq!(choose(&third, "b.test"), None);
}
