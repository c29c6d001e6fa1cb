//! Whose address is whose: of clients on a socket for both families, behind a load balancer, and our
//! own towards backends.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use ferrix_e2e::{Backend, Client, Gateway, Routes, within};
use ferrix_table::services::Protocol;

/// A claim of `X-Forwarded-Proto` is believed of trusted peers only.
async fn claimed(proxy_protocol: &str, trusted: &str, header: &str) -> (String, String) {
    let backend = Backend::hello("it").await;
    let settings = format!("forwarded: {{trusted: [\"{trusted}\"]}}");
    let routes = Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start_behind(proxy_protocol, &settings, routes);
    let mut client = Client::connect(gateway.web).await;
    client.send(header).await;
    // On a reused connection too.
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-Proto: https\r\n\r\n")
            .await;
        assert_eq!(client.response().await.status, 200);
    }
    let mut seen = backend.requests().into_iter().map(|request| {
        let field = |name: &str| request.head.all(name).join(", ");
        (field("x-forwarded-proto"), field("x-forwarded-for"))
    });
    let first = seen.next().unwrap();
    assert_eq!(seen.next().as_ref(), Some(&first));
    first
}

#[tokio::test]
async fn clients_over_ipv4_are_in_networks_of_ipv4() {
    let cases = [
        ("127.0.0.0/8", "https"),
        ("10.0.0.0/8", "http"),
        // The same networks, as they were once written for sockets of both families.
        ("::ffff:127.0.0.0/104", "https"),
        ("::ffff:0:0/96", "https"),
        ("::ffff:10.0.0.0/104", "http"),
        ("::/0", "http"),
    ];
    for (trusted, proto) in cases {
        let (seen, client) = claimed("[]", trusted, "").await;
        assert_eq!((&*seen, &*client), (proto, "127.0.0.1"), "{trusted}");
    }
    assert_eq!(cases.len(), 6);
    let header = "PROXY TCP4 192.0.2.1 10.0.0.1 1234 80\r\n";
    let (_, client) = claimed("[\"::ffff:127.0.0.0/104\"]", "10.0.0.0/8", header).await;
    assert_eq!(client, "192.0.2.1");
}

/// A load balancer that speaks the PROXY protocol passes on what its clients say: they are believed or not,
/// wherever it stands itself. It may write addresses of IPv4 as IPv6.
#[tokio::test]
async fn whom_the_proxy_protocol_names_is_believed_or_not() {
    const NAMED: &str = "PROXY TCP4 192.0.2.1 10.0.0.1 1234 80\r\n";
    const MAPPED: &str = "PROXY TCP6 ::ffff:192.0.2.1 ::1 1234 80\r\n";
    const ITSELF: &str = "PROXY UNKNOWN\r\n";
    let cases = [
        (NAMED, "127.0.0.0/8", "http", "192.0.2.1"),
        (NAMED, "192.0.2.0/24", "https", "192.0.2.1"),
        (MAPPED, "127.0.0.0/8", "http", "192.0.2.1"),
        (MAPPED, "192.0.2.0/24", "https", "192.0.2.1"),
        (ITSELF, "127.0.0.0/8", "https", "127.0.0.1"),
        (ITSELF, "192.0.2.0/24", "http", "127.0.0.1"),
    ];
    for (header, trusted, proto, client) in cases {
        let seen = claimed("[127.0.0.0/8]", trusted, header).await;
        let expected = (proto.to_owned(), client.to_owned());
        assert_eq!(seen, expected, "{header} {trusted}");
    }
    assert_eq!(cases.len(), 6);
}

/// Rules and the log use what trusted proxies report, request by request; of others, nothing.
#[tokio::test]
async fn the_real_client_is_behind_trusted_proxies() {
    for (trusted, real) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let [named, other] = [Backend::hello("named").await, Backend::hello("other").await];
        let settings = format!("forwarded: {{trusted: [\"{trusted}\"]}}");
        let routes = Routes::new()
            .service("named", Protocol::Http1, &[named.address()])
            .service("other", Protocol::Http1, &[other.address()])
            .rule("*", "ClientIP(`192.0.2.7`)", &[("named", 1)])
            .rule("*", "", &[("other", 1)]);
        let (gateway, mut records) = Gateway::start_logged_with(&settings, routes);
        let mut client = gateway.client().await;
        for (header, matches) in [
            ("X-Forwarded-For: 1.1.1.1, 192.0.2.7", true),
            ("X-Forwarded-For: 192.0.2.7, 1.1.1.1", false),
            ("Forwarded: for=192.0.2.7", true),
        ] {
            let request = format!(
                "GET / HTTP/1.1\r\nHost: example.com\r\nReferer: http://a.test/\r\n{header}\r\n\r\n"
            );
            let expected = if real && matches { "named" } else { "other" };
            assert_eq!(client.exchange(request).await.text(), expected, "{header}");
            let record = within("a record", records.recv()).await.unwrap();
            let logged = record.client.ip().to_string() == "192.0.2.7";
            assert_eq!(logged, real && matches, "{header}");
            assert_eq!(record.referer.as_deref(), Some("http://a.test/"));
        }
    }
}

#[tokio::test]
async fn backends_are_connected_to_from_the_addresses_that_are_set() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let backend = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert_ne!(stream.read(&mut request).unwrap(), 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        peer
    });
    let settings = "upstream: {tcp: {source_addresses: [127.0.0.9, \"::1\"], dscp: 46, \
                    fast_open: true, receive_buffer: 64KiB}}";
    let gateway = Gateway::start_with(settings, Routes::all_to(&[address]));
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(backend.join().unwrap().ip().to_string(), "127.0.0.9");
}
