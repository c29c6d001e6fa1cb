//! TLS to clients: which certificate, which protocol, and what changes while connections stay. TLS
//! to backends: who is believed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_e2e::{
    Backend, Client, Gateway, Routes,
    backend::{Connection, ok},
    certificates::{Authority, Certified},
    client::get,
    wire::pattern,
    within,
};
use ferrix_table::{
    services::Protocol,
    verification::{Authorities, Prepared, SubjectName, Verification},
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

fn presented(stream: &TlsStream<TcpStream>) -> &[u8] {
    let chain = stream.get_ref().1.peer_certificates();
    chain.expect("a certificate")[0].as_ref()
}

struct House {
    authority: Authority,
    exact: Certified,
    wildcard: Certified,
    default: Certified,
    backend: Backend,
    gateway: Gateway,
}

impl House {
    async fn build(settings: &str) -> Self {
        let authority = Authority::new();
        let exact = authority.certify("default/exact", &["example.com"]);
        let wildcard = authority.certify("default/wildcard", &["*.example.com"]);
        let every = [
            "unknown.test",
            "deep.sub.example.com",
            "example.com",
            "127.0.0.1",
        ];
        let default = authority.certify("default", &every);
        let backend = Backend::hello("hi").await;
        let routes = Self::routes(&backend, &exact, &wildcard).default_certificate(&default);
        let gateway = Gateway::start_with(settings, routes);
        Self {
            authority,
            exact,
            wildcard,
            default,
            backend,
            gateway,
        }
    }

    fn routes(backend: &Backend, exact: &Certified, wildcard: &Certified) -> Routes {
        Routes::all_to(&[backend.address()])
            .certificate(&["example.com"], exact)
            .certificate(&["*.example.com"], wildcard)
    }
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let house = House::build("{}").await;
    let config = house.authority.client(&[]);
    let mut nameless = house.authority.client(&[]);
    nameless.enable_sni = false;
    let cases: [(&str, &ClientConfig, &Certified); 7] = [
        ("example.com", &config, &house.exact),
        ("www.example.com", &config, &house.wildcard),
        ("api.example.com", &config, &house.wildcard),
        ("deep.sub.example.com", &config, &house.default),
        ("unknown.test", &config, &house.default),
        // An address is no name: nothing is sent.
        ("127.0.0.1", &config, &house.default),
        ("example.com", &nameless, &house.default),
    ];
    for (name, config, certified) in cases {
        let stream = house.gateway.tls(config, name).await.expect(name);
        assert!(presented(&stream) == certified.der.as_ref(), "{name}");
        let mut client = Client::new(stream);
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
        assert_eq!(client.exchange(request).await.text(), "hi", "{name}");
    }
    house
        .gateway
        .tls_client(&config, "example.com")
        .await
        .get("/")
        .await;
    let head = house.backend.last().head;
    assert_eq!(head.one("x-forwarded-proto"), Some("https"));
    assert_eq!(
        head.one("x-forwarded-port"),
        Some(&*house.gateway.websecure.port().to_string())
    );
}

#[tokio::test]
async fn both_versions_are_spoken() {
    let house = House::build("{}").await;
    for (version, number) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = house.authority.client_of(&["http/1.1"], &[version]);
        let stream = house.gateway.tls(&config, "example.com").await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(number));
        assert_eq!(Client::new(stream).get("/").await.text(), "hi");
    }
    let strict = House::build("tls: {minimum_version: '1.3'}").await;
    let old = strict.authority.client_of(&[], &[&rustls::version::TLS12]);
    assert!(strict.gateway.tls(&old, "example.com").await.is_err());
    let new = strict.authority.client_of(&[], &[&rustls::version::TLS13]);
    assert!(strict.gateway.tls(&new, "example.com").await.is_ok());
}

#[tokio::test]
async fn sessions_are_resumed() {
    for (settings, resumed) in [("{}", true), ("tls: {tickets: false}", false)] {
        let house = House::build(settings).await;
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = house.authority.client_of(&["http/1.1"], &[version]);
            for round in 0..3 {
                let stream = house.gateway.tls(&config, "example.com").await.unwrap();
                let kind = stream.get_ref().1.handshake_kind();
                let expected = match round > 0 && resumed {
                    true => HandshakeKind::Resumed,
                    false => HandshakeKind::Full,
                };
                assert_eq!(kind, Some(expected), "{settings} {version:?} round {round}");
                // Tickets of TLS 1.3 come after the handshake.
                assert_eq!(Client::new(stream).get("/").await.text(), "hi");
            }
        }
    }
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let house = House::build("{}").await;
    let cases: [(&[&str], Option<&[u8]>); 5] = [
        (&["h2", "http/1.1"], Some(b"h2")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["other", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ];
    for (offered, chosen) in cases {
        let config = house.authority.client(offered);
        let stream = house.gateway.tls(&config, "example.com").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
        let body = if chosen == Some(b"h2") {
            ferrix_e2e::Http2Client::new(stream, "https")
                .await
                .get("/")
                .await
                .text()
        } else {
            Client::new(stream).get("/").await.text()
        };
        assert_eq!(body, "hi", "{offered:?}");
    }
    let config = house.authority.client(&["other"]);
    assert!(house.gateway.tls(&config, "example.com").await.is_err());
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let house = House::build("timeouts: {tls_handshake: 300ms}").await;
    // The head of a ClientHello that never goes on.
    for bytes in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut client = Client::connect(house.gateway.websecure).await;
        client.send(bytes).await;
        let started = Instant::now();
        client.rest().await;
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    }
    let failed = house
        .gateway
        .counted_secure("failures", |it| it.tls_failures.get() == 3);
    failed.await;
    assert!(
        house
            .gateway
            .tls(&house.authority.client(&[]), "example.com")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_is_no_tls_ends() {
    let house = House::build("{}").await;
    let bytes = [get("/").into_bytes(), vec![0; 100], vec![0xff; 100_000]];
    for bytes in bytes {
        let mut client = Client::connect(house.gateway.websecure).await;
        client.send(bytes).await;
        let rest = client.rest().await;
        assert!(rest.len() < 100, "an alert at most: {rest:?}");
    }
    assert!(house.backend.requests().is_empty());
}

#[tokio::test]
async fn a_new_certificate_leaves_connections_alone() {
    let house = House::build("{}").await;
    let http1 = house.authority.client(&["http/1.1"]);
    let http2 = house.authority.client(&["h2"]);
    let mut open1 = house.gateway.tls_client(&http1, "example.com").await;
    let mut open2 = house.gateway.tls_http2(&http2, "example.com").await;
    assert_eq!(open1.get("/").await.text(), "hi");
    assert_eq!(open2.get("/").await.text(), "hi");
    for round in 0..5 {
        let renewed = house.authority.certify("default/exact", &["example.com"]);
        house.gateway.publish(
            House::routes(&house.backend, &renewed, &house.wildcard)
                .default_certificate(&house.default),
        );
        // Without a session to resume, or no certificate is presented.
        let fresh = house.authority.client(&["http/1.1"]);
        let stream = house.gateway.tls(&fresh, "example.com").await.unwrap();
        assert!(presented(&stream) == renewed.der.as_ref(), "{round}");
        assert_eq!(open1.get("/").await.text(), "hi", "{round}");
        assert_eq!(open2.get("/").await.text(), "hi", "{round}");
        assert!(
            house.gateway.tls(&http1, "example.com").await.is_ok(),
            "{round}"
        );
    }
}

#[tokio::test]
async fn without_a_default_unknown_names_are_refused() {
    let authority = Authority::new();
    let certified = authority.certify("default/exact", &["example.com"]);
    let backend = Backend::hello("hi").await;
    let routes = Routes::all_to(&[backend.address()]).certificate(&["example.com"], &certified);
    let gateway = Gateway::start(routes);
    let config = authority.client(&[]);
    let mut nameless = authority.client(&[]);
    nameless.enable_sni = false;
    let old = authority.client_of(&[], &[&rustls::version::TLS12]);
    for (config, name, alert) in [
        (&config, "unknown.test", AlertDescription::UnrecognisedName),
        (&old, "unknown.test", AlertDescription::UnrecognisedName),
        (&nameless, "example.com", AlertDescription::MissingExtension),
    ] {
        let error = gateway.tls(config, name).await.unwrap_err();
        let error = error.get_ref().and_then(|it| it.downcast_ref());
        assert_eq!(error, Some(&rustls::Error::AlertReceived(alert)), "{name}");
    }
    assert!(gateway.tls(&config, "example.com").await.is_ok());
    let failed = gateway.counted_secure("failures", |it| it.tls_failures.get() == 3);
    failed.await;
}

/// That of a route without a host comes before the default one, and behind all others.
#[tokio::test]
async fn a_certificate_for_any_host_is_for_all_that_have_none() {
    let house = House::build("{}").await;
    let any = house.authority.certify(
        "default/any",
        &["unknown.test", "example.com", "deep.sub.example.com"],
    );
    let routes = House::routes(&house.backend, &house.exact, &house.wildcard);
    let config = house.authority.client(&[]);
    let mut nameless = house.authority.client(&[]);
    nameless.enable_sni = false;
    for routes in [
        routes,
        Routes::all_to(&[house.backend.address()])
            .certificate(&["example.com"], &house.exact)
            .certificate(&["*.example.com"], &house.wildcard)
            .default_certificate(&house.default),
    ] {
        house.gateway.publish(routes.certificate(&["*"], &any));
        for (name, config, certified) in [
            ("example.com", &config, &house.exact),
            ("www.example.com", &config, &house.wildcard),
            ("deep.sub.example.com", &config, &any),
            ("unknown.test", &config, &any),
            ("example.com", &nameless, &any),
        ] {
            let stream = house.gateway.tls(config, name).await.expect(name);
            assert!(presented(&stream) == certified.der.as_ref(), "{name}");
        }
    }
}

#[tokio::test]
async fn large_bodies_both_ways() {
    let authority = Authority::new();
    let certified = authority.certify("default", &["example.com"]);
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.head().await.is_some() {
            connection
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            while let Some(piece) = connection.piece().await {
                let head = format!("{:x}\r\n", piece.len());
                connection
                    .send([head.as_bytes(), &piece, b"\r\n"].concat())
                    .await;
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await;
    let routes = Routes::all_to(&[backend.address()]).default_certificate(&certified);
    let gateway = Gateway::start(routes);
    let body = pattern(3_000_000);
    let mut client = gateway
        .tls_client(&authority.client(&[]), "example.com")
        .await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..2 {
        let Client { reader, writer, .. } = &mut client;
        let sending = async {
            writer.write_all(head.as_bytes()).await.unwrap();
            writer.write_all(&body).await.unwrap();
            writer.flush().await.unwrap();
        };
        let receiving = async {
            let head = reader.head().await.unwrap().unwrap();
            let mut body = head.response_body("POST").unwrap();
            reader.rest(&mut body).await.unwrap()
        };
        let ((), echoed) = within("an echo", async { tokio::join!(sending, receiving) }).await;
        assert!(echoed == body);
    }
    assert_eq!(backend.log().connections, 1);
}

#[tokio::test]
async fn the_end_is_said_in_tls_too() {
    let house = House::build("{}").await;
    let mut stream = house
        .gateway
        .tls(&house.authority.client(&[]), "example.com")
        .await
        .unwrap();
    let request = "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    // Fails where the connection ends without a `close_notify`.
    within("the end", stream.read_to_end(&mut all))
        .await
        .unwrap();
    assert!(all.ends_with(b"\r\n\r\nhi"));
}

#[tokio::test]
async fn websockets_over_tls() {
    let authority = Authority::new();
    let certified = authority.certify("default", &["example.com"]);
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\n\r\n",
            )
            .await;
        while let Some(bytes) = connection.reader.bytes().await {
            connection.send(bytes).await;
        }
    })
    .await;
    let routes = Routes::all_to(&[backend.address()]).default_certificate(&certified);
    let gateway = Gateway::start(routes);
    let mut client = gateway
        .tls_client(&authority.client(&["http/1.1"]), "example.com")
        .await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.word(1), "101");
    for _ in 0..3 {
        client.send("ping").await;
        assert_eq!(
            within("an echo", client.reader.exactly(4)).await.unwrap(),
            "ping"
        );
    }
    drop(client);
    backend.abandoned().await;
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let authority = Authority::new();
    let certified = authority.certify("default", &["example.com"]);
    let backend = Backend::hello("hi").await;
    let routes = Routes::all_to(&[backend.address()]).default_certificate(&certified);
    let gateway = Gateway::start_behind("[127.0.0.0/8]", "{}", routes);
    let mut stream = TcpStream::connect(gateway.websecure).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 9.8.7.6 10.0.0.1 12345 443\r\n")
        .await
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(authority.client(&[])));
    let name = "example.com".try_into().unwrap();
    let stream = within("a handshake", connector.connect(name, stream))
        .await
        .unwrap();
    assert_eq!(Client::new(stream).get("/").await.text(), "hi");
    assert_eq!(backend.last().head.one("x-forwarded-for"), Some("9.8.7.6"));
    assert!(
        gateway
            .tls(&authority.client(&[]), "example.com")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn backends_are_verified() {
    let [known, unknown] = [Authority::new(), Authority::new()];
    let right = serve(&known.certify("right", &["backend.test"])).await;
    let wrong_name = serve(&known.certify("wrong name", &["other.test"])).await;
    let wrong_authority = serve(&unknown.certify("wrong authority", &["backend.test"])).await;
    let plain = Backend::hello("hi").await;
    let file = known.file();
    let routes = || {
        let tls = Protocol::Tls {
            server_name: "backend.test".into(),
        };
        let all = [
            ("right", &right),
            ("name", &wrong_name),
            ("authority", &wrong_authority),
            ("plain", &plain),
        ];
        all.iter().fold(Routes::new(), |routes, (name, backend)| {
            let matches = format!("Path(`/{name}`)");
            routes
                .service(name, tls.clone(), &[backend.address()])
                .rule("*", &matches, &[(name, 1)])
        })
    };
    let authorities = file.path().display();
    let cases = [
        (
            format!("authorities: '{authorities}'"),
            [200, 502, 502, 502],
        ),
        ("verify: false".to_owned(), [200, 200, 200, 502]),
    ];
    for (setting, expected) in cases {
        let gateway = Gateway::start_with(&format!("upstream: {{tls: {{{setting}}}}}"), routes());
        let mut client = gateway.client().await;
        for (name, status) in ["right", "name", "authority", "plain"].iter().zip(expected) {
            let response = client.get(&format!("/{name}")).await;
            assert_eq!(response.status, status, "{setting}: {name}");
        }
    }
    plain.forgive();
}

/// A backend's own certificate, signed by its own key, is believed where it is listed: that one, for
/// its names, as long as it is valid, and no other.
#[tokio::test]
async fn a_listed_certificate_is_believed_itself() {
    let authority = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let only_signs = |params: &mut CertificateParams| {
        authority(params);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    };
    let no_authority = |params: &mut CertificateParams| params.is_ca = IsCa::ExplicitNoCa;
    let silent = |_: &mut CertificateParams| {};
    let expired = |params: &mut CertificateParams| {
        params.not_after = date_time_ymd(2020, 1, 1);
    };
    let future = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2100, 1, 1);
        params.not_after = date_time_ymd(2101, 1, 1);
    };
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    type Change<'c> = &'c dyn Fn(&mut CertificateParams);
    // What it is answered with itself, and what it has signed: rustls asks nothing of an authority.
    let cases: [(&str, Change<'_>, u16, u16); 8] = [
        ("authority", &authority, 200, 200),
        ("authority that only signs", &only_signs, 502, 200),
        ("no authority", &no_authority, 200, 502),
        ("does not say", &silent, 200, 502),
        ("expired", &expired, 502, 502),
        ("not yet valid", &future, 502, 502),
        ("for clients", &for_clients, 502, 502),
        (
            "expired authority",
            &|params| {
                authority(params);
                expired(params);
            },
            502,
            200,
        ),
    ];
    let mut ran = 0;
    for (case, change, itself, signed) in cases {
        let listed = Certified::self_signed("backend", &["backend.test"], change);
        let other_key = Certified::self_signed("backend", &["backend.test"], change);
        let child = listed.certify("child", &["backend.test"]);
        let mut backends = Vec::new();
        for certified in [&listed, &other_key, &child] {
            backends.push(serve(certified).await);
        }
        let file = listed.file();
        let settings = format!(
            "upstream: {{tls: {{authorities: '{}'}}}}",
            file.path().display()
        );
        let requests = [
            ("backend.test", 0, itself),
            ("other.test", 0, 502),
            ("backend.test", 1, 502),
            ("backend.test", 2, signed),
            ("other.test", 2, 502),
        ];
        for (name, backend, status) in requests {
            let server_name = name.into();
            let tls = Protocol::Tls { server_name };
            let backend: &Backend = &backends[backend];
            let routes = Routes::all_by(tls, &[backend.address()]);
            let gateway = Gateway::start_with(&settings, routes);
            let response = gateway.client().await.get("/").await;
            assert_eq!(response.status, status, "{case}: {name}");
            ran += 1;
        }
    }
    assert_eq!(ran, 8 * 5);
}

/// What an object says of a service's certificates holds for it, whatever the settings say.
#[tokio::test]
async fn a_service_is_known_as_an_object_says() {
    let [known, unknown] = [Authority::new(), Authority::new()];
    let backend = serve(&known.certify("right", &["backend.test"])).await;
    let dns = |name: &str| SubjectName::Dns(name.into());
    let cases = [
        (&known, "backend.test", vec![], 200),
        (&known, "other.test", vec![], 502),
        (&unknown, "backend.test", vec![], 502),
        (&known, "other.test", vec![dns("backend.test")], 200),
        (&known, "backend.test", vec![dns("other.test")], 502),
        (
            &known,
            "other.test",
            vec![dns("other.test"), dns("backend.test")],
            200,
        ),
        (
            &known,
            "backend.test",
            vec![SubjectName::Uri("spiffe://a/b".into())],
            502,
        ),
        (&unknown, "other.test", vec![dns("backend.test")], 502),
    ];
    for (authority, server_name, names, status) in &cases {
        let tls = Protocol::Verified(Arc::new(Verification {
            server_name: (*server_name).into(),
            authorities: Authorities::These([authority.certificate().as_ref().into()].into()),
            names: names.clone().into(),
            client: None,
            prepared: Prepared::default(),
        }));
        let routes = Routes::all_by(tls, &[backend.address()]);
        let gateway = Gateway::start_with("upstream: {tls: {verify: false}}", routes);
        let response = gateway.client().await.get("/").await;
        assert_eq!(response.status, *status, "{server_name} {names:?}");
    }
    assert_eq!(cases.len(), 8);
}

/// Nor does it matter who has signed it.
#[tokio::test]
async fn a_listed_certificate_of_an_unknown_authority_is_believed() {
    let authority = Authority::new();
    let listed = authority.certify("listed", &["backend.test"]);
    let other = authority.certify("other", &["backend.test"]);
    let file = listed.file();
    let settings = format!(
        "upstream: {{tls: {{authorities: '{}'}}}}",
        file.path().display()
    );
    for (certified, status) in [(&listed, 200), (&other, 502)] {
        let backend = serve(certified).await;
        let tls = Protocol::Tls {
            server_name: "backend.test".into(),
        };
        let gateway = Gateway::start_with(&settings, Routes::all_by(tls, &[backend.address()]));
        assert_eq!(gateway.client().await.get("/").await.status, status);
    }
}

async fn serve(certified: &Certified) -> Backend {
    let config = certified.server(&["http/1.1"]);
    Backend::start_tls(config, async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_upgrade_asks_a_backend_for_http1() {
    let authority = Authority::new();
    let certified = authority.certify("backend", &["backend.test"]);
    // Would choose HTTP/2 if it were offered, and speaks only HTTP/1.
    let backend = Backend::start_tls(
        certified.server(&["h2", "http/1.1"]),
        async |mut connection: Connection| {
            connection.head().await;
            let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                          Connection: Upgrade\r\n\r\nhello";
            connection.send(switch).await;
            connection.left().await;
        },
    )
    .await;
    let file = authority.file();
    let tls = Protocol::Tls {
        server_name: "backend.test".into(),
    };
    let gateway = Gateway::start_with(
        &format!(
            "upstream: {{tls: {{authorities: '{}'}}}}",
            file.path().display()
        ),
        Routes::all_by(tls, &[backend.address()]),
    );
    let mut client = gateway.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.word(1), "101");
    assert_eq!(
        within("data", client.reader.exactly(5)).await.unwrap(),
        "hello"
    );
}
