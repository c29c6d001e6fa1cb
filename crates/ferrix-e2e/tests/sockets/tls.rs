//! TLS: the server name chooses the listener, and with it certificate and protocol.

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Client, Routes,
    certificates::{Authority, Certified},
    gateway::tls,
    within,
};
use ferrix_proxy::counters::EntryPointCounters;
use ferrix_table::{
    entry_points::Protocol::{Https, TlsPassthrough, TlsTerminate},
    services::Protocol,
};
use rustls::AlertDescription;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{FIRST, free_port, get, listener, local, tcp, with};

fn presented(stream: &TlsStream<TcpStream>) -> &[u8] {
    let chain = stream.get_ref().1.peer_certificates();
    chain.expect("a certificate")[0].as_ref()
}

/// Two listeners for HTTPS on one port, each with a certificate and a backend of its own.
struct Two {
    authority: Authority,
    certificates: [Certified; 2],
    backends: [Backend; 2],
    gateway: Gateway,
    port: u16,
}

impl Two {
    async fn start() -> Self {
        let authority = Authority::new();
        let names = ["a.test", "b.test"];
        let certificates = names.map(|name| authority.certify(name, &[name]));
        let backends = [Backend::hello("a").await, Backend::hello("b").await];
        let [a, b] = [&backends[0], &backends[1]].map(Backend::address);
        let routes = Routes::new()
            .service("a", Protocol::Http1, &[a])
            .service("b", Protocol::Http1, &[b])
            .on(&[FIRST])
            .rule("*", "", &[("a", 1)])
            .certificate(&["*"], &certificates[0])
            .on(&[FIRST + 1])
            .rule("*", "", &[("b", 1)])
            .certificate(&["*"], &certificates[1]);
        let gateway = Gateway::start(Routes::new());
        let port = free_port();
        let listeners = [
            listener("a", Https, port, "a.test"),
            listener("b", Https, port, "b.test"),
        ];
        gateway.publish_on(with(&listeners), routes);
        Self {
            authority,
            certificates,
            backends,
            gateway,
            port,
        }
    }

    async fn connect(&self, alpn: &str, name: &str) -> TlsStream<TcpStream> {
        let config = self.authority.client(&[alpn]);
        tls(local(self.port), &config, name)
            .await
            .expect("a handshake")
    }
}

#[tokio::test]
async fn the_server_name_chooses_certificate_and_listener() {
    let two = Two::start().await;
    for (place, name) in ["a.test", "b.test"].into_iter().enumerate() {
        let stream = two.connect("http/1.1", name).await;
        assert_eq!(presented(&stream), &two.certificates[place].der[..]);
        let response = Client::new(stream).exchange(get(name, "/")).await;
        assert_eq!(response.text(), name[..1]);
    }
    for backend in &two.backends {
        assert_eq!(backend.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_request_for_another_listener_than_the_handshake_is_misdirected() {
    let two = Two::start().await;
    let mut http1 = Client::new(two.connect("http/1.1", "a.test").await);
    // On a new connection, on one that has been used, and again.
    for (host, status) in [
        ("b.test", 421),
        ("a.test", 200),
        ("b.test", 421),
        ("c.test", 421),
        ("a.test", 200),
    ] {
        let response = http1.exchange(get(host, "/")).await;
        assert_eq!(response.status, status, "{host} over HTTP/1");
    }
    let mut http2 = Http2Client::new(two.connect("h2", "b.test").await, "https").await;
    for (host, status) in [("a.test", 421), ("b.test", 200), ("a.test", 421)] {
        let request = http2.request_for(host, "GET", "/");
        let response = http2.fetch(request).await.expect("a response");
        assert_eq!(response.status, status, "{host} over HTTP/2");
    }
    let [a, b] = &two.backends;
    assert_eq!((a.requests().len(), b.requests().len()), (2, 1));
}

#[tokio::test]
async fn a_name_that_no_listener_is_for_is_unknown() {
    let two = Two::start().await;
    let config = two.authority.client(&[]);
    let error = tls(local(two.port), &config, "c.test")
        .await
        .expect_err("an alert");
    let alert = AlertDescription::UnrecognisedName;
    assert!(error.to_string().contains(&format!("{alert:?}")), "{error}");
    two.gateway
        .counted_at("a", "the failure", |counters| {
            counters.tls_failures.get() == 1
        })
        .await;
}

/// Listeners that pass TLS through, end it for bytes, and end it for requests, on one port.
struct Three {
    /// Of the gateway's certificates.
    authority: Authority,
    /// Of the backend behind the one that passes through.
    inner: Authority,
    web: Backend,
    through: Backend,
    bytes: tcp::Echo,
    gateway: Gateway,
    port: u16,
}

impl Three {
    async fn start() -> Self {
        let (authority, inner) = (Authority::new(), Authority::new());
        let certified = authority.certify("gateway", &["www.test", "mqtt.test", "db.test"]);
        let own = inner.certify("backend", &["db.test"]);
        let web = Backend::hello("requests").await;
        let through = Backend::start_tls(own.server(&[]), |mut connection| async move {
            while connection.request().await.is_some() {
                connection.send(ferrix_e2e::backend::ok("through")).await;
            }
        });
        let through = through.await;
        let bytes = tcp::Echo::start().await;
        let gateway = Gateway::start(Routes::new());
        let port = free_port();
        let listeners = [
            listener("through", TlsPassthrough, port, "db.test"),
            listener("bytes", TlsTerminate, port, "mqtt.test"),
            listener("requests", Https, port, "*.test"),
        ];
        let routes = Routes::new()
            .service("through", Protocol::Tcp, &[through.address()])
            .service("bytes", Protocol::Tcp, &[bytes.address])
            .service("web", Protocol::Http1, &[web.address()])
            .on(&[FIRST])
            .rule("db.test", "", &[("through", 1)])
            .on(&[FIRST + 1])
            .rule("mqtt.test", "", &[("bytes", 1)])
            .certificate(&["*"], &certified)
            .on(&[FIRST + 2])
            .rule("*", "", &[("web", 1)])
            .certificate(&["*"], &certified);
        gateway.publish_on(with(&listeners), routes);
        Self {
            authority,
            inner,
            web,
            through,
            bytes,
            gateway,
            port,
        }
    }
}

#[tokio::test]
async fn protocols_of_one_port_are_told_apart_by_the_name() {
    let three = Three::start().await;
    let address = local(three.port);
    // The backend's own certificate: TLS did not end before it.
    let config = three.inner.client(&[]);
    let stream = tls(address, &config, "db.test")
        .await
        .expect("the backend's");
    let mut client = Client::new(stream);
    assert_eq!(
        client.exchange(get("db.test", "/x")).await.text(),
        "through"
    );
    assert_eq!(three.through.last().target(), "/x");

    let config = three.authority.client(&["h2", "http/1.1", "mqtt"]);
    let mut stream = tls(address, &config, "mqtt.test")
        .await
        .expect("the gateway's");
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    stream.write_all(b"\x10hello").await.unwrap();
    let mut answer = [0; 6];
    within("an echo", stream.read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"\x10hello");
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within("the end", stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"bye", "said after our end was passed on");
    assert_eq!(three.bytes.received(), b"\x10hello");

    let stream = tls(address, &config, "www.test")
        .await
        .expect("the gateway's");
    let mut client = Http2Client::new(stream, "https").await;
    let request = client.request_for("www.test", "GET", "/");
    assert_eq!(client.fetch(request).await.unwrap().text(), "requests");
    // HTTP for a host whose TLS is not ours to end.
    let request = client.request_for("db.test", "GET", "/");
    assert_eq!(client.fetch(request).await.unwrap().status, 421);
    assert_eq!(three.web.requests().len(), 1);
}

/// Asks for a name where TLS only passes through and no rule takes it: the connection ends without an
/// alert, and what is counted fits.
async fn is_closed(name: &str, counted: impl Fn(&EntryPointCounters) -> bool) {
    let three = Three::start().await;
    let listeners = [listener("through", TlsPassthrough, three.port, "*.test")];
    three.gateway.publish_on(with(&listeners), Routes::new());
    let config = three.inner.client(&[]);
    let closed = tls(local(three.port), &config, name)
        .await
        .expect_err("an end");
    assert!(!closed.to_string().contains("Alert"), "{closed}");
    three
        .gateway
        .counted_at("through", "the failure", counted)
        .await;
}

#[tokio::test]
async fn what_passes_through_and_has_nowhere_to_go_is_closed() {
    let failed = |counters: &EntryPointCounters| counters.failures.iter().any(|it| it.get() == 1);
    is_closed("db.test", failed).await;
}

#[tokio::test]
async fn where_tls_only_passes_through_an_unknown_name_gets_no_alert() {
    is_closed("db.example", |counters| counters.tls_failures.get() == 1).await;
}

#[tokio::test]
async fn a_first_message_in_pieces_passes_through_as_it_was() {
    let three = Three::start().await;
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let config = three.inner.client(&[]);
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("db.test").unwrap();
    let client = tokio::spawn(async move { connector.connect(name, theirs).await });
    let mut stream = TcpStream::connect(local(three.port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut hello = vec![0; 16 * 1024];
    let length = ours.read(&mut hello).await.unwrap();
    for piece in hello[..length].chunks(100) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let relay = tokio::spawn(async move {
        let _ = tokio::io::copy_bidirectional(&mut ours, &mut stream).await;
    });
    let stream = within("the handshake", client).await.unwrap();
    let mut client = Client::new(stream.expect("the backend's"));
    assert_eq!(client.exchange(get("db.test", "/")).await.text(), "through");
    relay.abort();
}
