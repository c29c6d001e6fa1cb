//! Header fields: what rules see, what backends get, and what clients get of a backend's. All of
//! it over both protocols, on connections that have been used before as on new ones.

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Http2Client, Routes,
    backend::{Connection, ok},
    client::get,
    frames::{END_HEADERS, END_STREAM, Frames, block, frame, kind},
};
use ferrix_table::services::Protocol;
use http::{HeaderMap, HeaderName, Request};

fn request(fields: &[(&str, &str)]) -> String {
    let fields: String = (fields.iter())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n")
}

fn http2_request(client: &Http2Client, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = client.request("GET", "/");
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// The statuses of a request with these fields, over HTTP/1 and HTTP/2, twice on each connection.
async fn statuses(gateway: &Gateway, fields: &[(&str, &str)]) -> [u16; 4] {
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.client().await;
        client.send(request(fields)).await;
        statuses.push(client.response().await.status);
        let mut http2 = gateway.http2().await;
        http2.get("/before").await;
        let request = http2_request(&http2, fields);
        statuses.push(http2.fetch(request).await.unwrap().status.as_u16());
    }
    statuses.try_into().unwrap()
}

const ALIASES: [(&str, &str); 12] = [
    ("Transfer_Encoding", "chunked"),
    ("Content_Length", "99"),
    ("Content-Length_", "99"),
    ("Host_", "evil"),
    ("Proxy", "evil"),
    ("Proxy_Authorization", "evil"),
    ("Keep_Alive", "evil"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("X.Forwarded.For", "6.6.6.6"),
    ("X_Rewrite_Url", "/evil"),
    ("X-Rewrite-Url", "/evil"),
    ("X-Original-Url", "/evil"),
];

#[tokio::test]
async fn names_that_look_like_others_never_arrive() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let fields = [&ALIASES[..], &[("X_Api_Key", "kept")]].concat();
    assert_eq!(statuses(&gateway, &fields).await, [200; 4]);
    let mut judged = 0;
    for received in backend.requests() {
        if received.target() != "/" {
            continue;
        }
        judged += 1;
        assert_eq!(received.head.one("x_api_key"), Some("kept"));
        for (name, _) in ALIASES {
            assert!(!received.head.has(name), "{name}");
        }
    }
    assert_eq!(judged, 4);
}

#[tokio::test]
async fn nor_do_they_as_trailers() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let lines: String = (ALIASES.iter())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let post = format!(
        "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\n{lines}X_Sum: 1\r\n\r\n"
    );
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.exchange(&post).await.status, 200);
        assert_eq!(backend.last().trailers, [("x_sum".into(), "1".into())]);
    }
    let mut http2 = gateway.http2().await;
    let mut trailers: HeaderMap = (ALIASES.iter())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    trailers.append("x_sum", "2".parse().unwrap());
    let name = HeaderName::from_lowercase(b"x\"a").unwrap();
    trailers.append(name, "1".parse().unwrap());
    trailers.append("x-blank", " 1".parse().unwrap());
    let request = http2.request("POST", "/");
    let response = http2.post(request, "hi", Some(trailers)).await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(backend.last().trailers, [("x_sum".into(), "2".into())]);
}

#[tokio::test]
async fn underscores_can_be_allowed_or_refused() {
    let backend = Backend::hello("hi").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let allowing = Gateway::start_with("headers: {underscores: allow}", routes());
    let fields = [("X_Forwarded_For", "6.6.6.6"), ("X_Api_Key", "1")];
    assert_eq!(statuses(&allowing, &fields).await, [200; 4]);
    let head = backend.last().head;
    assert_eq!(head.one("x_forwarded_for"), Some("6.6.6.6"));
    assert_eq!(head.one("x_api_key"), Some("1"));

    let refusing = Gateway::start_with("headers: {underscores: refuse}", routes());
    assert_eq!(statuses(&refusing, &fields[1..]).await, [400; 4]);
    assert_eq!(statuses(&refusing, &[("X-Api-Key", "1")]).await, [200; 4]);
    let arrived = backend.requests().into_iter();
    let with_key = arrived.filter(|it| it.head.has("x_api_key")).count();
    assert_eq!(with_key, 4, "those that were allowed");
}

/// What rules match is what the backend gets.
#[tokio::test]
async fn rules_see_what_will_be_sent() {
    let [claimed, plain] = [
        Backend::hello("claimed").await,
        Backend::hello("plain").await,
    ];
    let routes = Routes::new()
        .service("claimed", Protocol::Http1, &[claimed.address()])
        .service("plain", Protocol::Http1, &[plain.address()])
        .rule("*", "PathPrefix(`/`)", &[("plain", 1)])
        .rule(
            "*",
            "Header(`X-Forwarded-Proto`, `https`) || Header(`X-Role`, `admin`) \
             || Header(`X_Real_IP`, `6.6.6.6`) || Header(`TE`, `gzip`) \
             || HeaderRegexp(`X-Forwarded-For`, `6.6.6.6`) || Header(`Content-Length`, `00`)",
            &[("claimed", 1)],
        );
    let gateway = Gateway::start(routes);
    let claims: [&[(&str, &str)]; 4] = [
        &[("X-Forwarded-Proto", "https")],
        &[("X_Real_IP", "6.6.6.6")],
        &[("X-Forwarded-For", "6.6.6.6")],
        &[("Content-Length", "00")],
    ];
    for fields in claims {
        assert_eq!(statuses(&gateway, fields).await, [200; 4], "{fields:?}");
    }
    // Connection fields are of HTTP/1 only.
    let only_http1: [&[(&str, &str)]; 2] = [
        &[("X-Role", "admin"), ("Connection", "X-Role")],
        &[("TE", "gzip")],
    ];
    for fields in only_http1 {
        let mut client = gateway.client().await;
        assert_eq!(client.exchange(request(fields)).await.text(), "plain");
        assert_eq!(client.exchange(request(fields)).await.text(), "plain");
    }
    assert!(claimed.requests().is_empty());

    // What stays is matched; so is what is set.
    assert_eq!(statuses(&gateway, &[("X-Role", "admin")]).await, [200; 4]);
    assert_eq!(claimed.requests().len(), 4);
}

#[tokio::test]
async fn rules_see_the_fields_of_the_gateway_and_the_whole_cookie() {
    let [chosen, other] = [
        Backend::hello("chosen").await,
        Backend::hello("other").await,
    ];
    let routes = Routes::new()
        .service("chosen", Protocol::Http1, &[chosen.address()])
        .service("other", Protocol::Http1, &[other.address()])
        .rule("*", "", &[("other", 1)])
        .rule(
            "*",
            "Header(`X-Forwarded-Proto`, `http`) && Header(`Cookie`, `a=1; b=2`)",
            &[("chosen", 1)],
        );
    let gateway = Gateway::start(routes);
    let whole = [("Cookie", "a=1; b=2")];
    let response = gateway.client().await.exchange(request(&whole)).await;
    assert_eq!(response.text(), "chosen");
    let mut http2 = gateway.http2().await;
    let crumbs = http2_request(&http2, &[("cookie", "a=1"), ("cookie", "b=2")]);
    assert_eq!(http2.fetch(crumbs).await.unwrap().text(), "chosen");
}

/// Upgrades depend on the service, so that rules see the request for one as it came.
#[tokio::test]
async fn rules_see_upgrades() {
    let [upgraded, plain] = [
        Backend::hello("upgraded").await,
        Backend::hello("plain").await,
    ];
    let routes = Routes::new()
        .service("upgraded", Protocol::Http1, &[upgraded.address()])
        .service("plain", Protocol::Http1, &[plain.address()])
        .rule("*", "", &[("plain", 1)])
        .rule(
            "*",
            "Header(`Upgrade`, `h2c`) && HeaderRegexp(`Connection`, `(?i)upgrade`)",
            &[("upgraded", 1)],
        );
    let gateway = Gateway::start(routes);
    let fields = [("Connection", "Upgrade"), ("Upgrade", "h2c")];
    let response = gateway.client().await.exchange(request(&fields)).await;
    assert_eq!(response.text(), "upgraded");
    let head = upgraded.last().head;
    assert!(!head.has("connection") && !head.has("upgrade"));
}

/// The status of an HTTP/2 request with these fields beside the pseudo-fields. `None`: reset.
async fn raw_http2(gateway: &Gateway, fields: &[(&str, &str)]) -> Option<u16> {
    let pseudo = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "example.com"),
        (":path", "/"),
    ];
    let block = block(&[&pseudo[..], fields].concat());
    let mut frames = Frames::connect(gateway.web, &[]).await;
    frames
        .send(&frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block))
        .await;
    loop {
        let frame = frames.next().await?;
        match frame.kind {
            kind::RST_STREAM | kind::GOAWAY => return None,
            // Of the static table (RFC 7541, appendix A).
            kind::HEADERS if frame.payload[0] == 0x88 => return Some(200),
            kind::HEADERS if frame.payload[0] == 0x8c => return Some(400),
            kind::HEADERS => panic!("another status: {:#x}", frame.payload[0]),
            _ => {}
        }
    }
}

/// RFC 9113, section 8.2.1.
#[tokio::test]
async fn fields_that_are_malformed_in_http2_are_refused() {
    let [admin, public] = [
        Backend::hello("admin").await,
        Backend::hello("public").await,
    ];
    let routes = Routes::new()
        .service("admin", Protocol::Http1, &[admin.address()])
        .service("public", Protocol::Http1, &[public.address()])
        .rule("*", "", &[("public", 1)])
        .rule("*", "Header(`X-Role`, `admin`)", &[("admin", 1)]);
    let gateway = Gateway::start(routes);
    let cases: [(&str, &str, Option<u16>); 8] = [
        ("x-role", "admin", Some(200)),
        ("x-role", "", Some(200)),
        ("x-role", "ad min", Some(200)),
        ("x-role", " admin", Some(400)),
        ("x-role", "admin ", Some(400)),
        ("x-role", "\tadmin", Some(400)),
        ("x-role", " ", Some(400)),
        ("x\"a", "1", Some(400)),
    ];
    for (name, value, expected) in cases {
        let status = raw_http2(&gateway, &[(name, value)]).await;
        assert_eq!(status, expected, "{name}: {value:?}");
    }
    let crumbs = [("cookie", "a=1"), ("cookie", " b=2")];
    assert_eq!(raw_http2(&gateway, &crumbs).await, Some(400));
    assert_eq!(admin.requests().len(), 1);
    assert_eq!(public.requests().len(), 2);
}

#[tokio::test]
async fn lengths_arrive_plainly() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    let mut http2 = gateway.http2().await;
    for (length, plain) in [("010", 10), ("00000000000000000010", 10), ("00", 0)] {
        let body = "x".repeat(plain);
        let head = format!("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {length}");
        let response = client.exchange(format!("{head}\r\n\r\n{body}")).await;
        assert_eq!(response.status, 200, "{length}");
        let received = backend.last();
        let plain = plain.to_string();
        assert_eq!(received.head.one("content-length"), Some(&*plain));
        assert_eq!(received.body, body.as_bytes());
        if length.len() < 20 {
            let mut request = http2.request("POST", "/");
            let headers = request.headers_mut();
            headers.append("content-length", length.parse().unwrap());
            let response = http2.post(request, body.clone(), None).await.unwrap();
            assert_eq!(response.status, 200, "{length}");
            let received = backend.last();
            assert_eq!(received.head.one("content-length"), Some(&*plain));
            assert_eq!(received.body, body.as_bytes());
        }
    }
}

/// Both protocols take the same.
#[tokio::test]
async fn limits_of_both_protocols_are_the_same() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let cookie = |length: usize| [("cookie".to_owned(), "a".repeat(length))].to_vec();
    let many = |count: usize| -> Vec<(String, String)> {
        (0..count)
            .map(|it| (format!("x-{it}"), "1".into()))
            .collect()
    };
    let crumbs = |count: usize| vec![("cookie".to_owned(), "a=1".to_owned()); count];
    let cases = [
        ("a small cookie", cookie(1_000), [200; 4]),
        ("a large cookie", cookie(31 * 1024), [200; 4]),
        ("a larger cookie", cookie(40 * 1024), [431; 4]),
        ("many fields", many(190), [200; 4]),
        ("more fields", many(201), [431; 4]),
        // HTTP/1 has them in one line.
        ("a cookie in crumbs", crumbs(250), [431, 200, 431, 200]),
    ];
    for (what, fields, expected) in &cases {
        let fields: Vec<_> = (fields.iter())
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(statuses(&gateway, &fields).await, *expected, "{what}");
    }
    assert_eq!(cases.len(), 6);
    let cookie = backend.last().head.one("cookie").map(str::len);
    assert_eq!(cookie, Some(250 * 5 - 2));

    let tight = Gateway::start_with(
        "limits: {header_bytes: 8KiB, uri_bytes: 1KiB}",
        Routes::all_to(&[backend.address()]),
    );
    for (length, expected) in [(7_000, 200), (9_000, 431)] {
        let cookie = "a".repeat(length);
        let statuses = statuses(&tight, &[("cookie", &cookie)]).await;
        assert_eq!(statuses, [expected; 4], "{length}");
    }
}

#[tokio::test]
async fn targets_that_are_not_utf8_are_encoded() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    let cases: [(&[u8], &str); 4] = [
        (b"/caf\xe9", "/caf%E9"),
        (b"/caf\xe9?q=\xe4\xf6&\xc3\xa4", "/caf%E9?q=%E4%F6&%C3%A4"),
        (b"/\xc3\xa4/%e4/\xff", "/%C3%A4/%E4/%FF"),
        (b"/a?\x80", "/a?%80"),
    ];
    for (target, expected) in cases {
        for pieces in [1, 3] {
            let request = [b"GET ", target, b" HTTP/1.1\r\nHost: example.com\r\n\r\n"].concat();
            for piece in request.chunks(request.len().div_ceil(pieces)) {
                client.send(piece).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(client.response().await.status, 200, "{expected}");
            assert_eq!(backend.last().target(), expected);
        }
    }
    let arrived = backend.requests().len();
    let overlong = b"GET /\xc0\xafadmin HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert_eq!(gateway.client().await.exchange(overlong).await.status, 400);
    assert_eq!(backend.requests().len(), arrived);
}

/// Answers `/N` with the Nth of these.
async fn answering(answers: &'static [&'static [u8]]) -> Backend {
    Backend::start(move |mut connection: Connection| async move {
        while let Some(request) = connection.request().await {
            match request.target()[1..].parse::<usize>() {
                Ok(index) => connection.send(answers[index]).await,
                Err(_) => connection.send(ok("other")).await,
            };
        }
    })
    .await
}

#[tokio::test]
async fn responses_without_a_body_have_no_length() {
    const ANSWERS: &[&[u8]] = &[
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\nLink: a\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nhi",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    ];
    let backend = answering(ANSWERS).await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    let mut http2 = gateway.http2().await;
    for _ in 0..2 {
        for index in 0..2 {
            let response = client.get(&format!("/{index}")).await;
            assert_eq!(response.status, 204);
            assert!(!response.head.has("content-length"));
            let response = http2.get(&format!("/{index}")).await;
            assert_eq!(response.status, 204);
            assert!(!response.headers.contains_key("content-length"));
        }
        client.send(get("/2")).await;
        let early = client.head().await;
        assert_eq!((early.word(1), early.has("content-length")), ("103", false));
        assert_eq!(
            client.response().await.head.one("content-length"),
            Some("2")
        );
        let response = http2.get("/2").await;
        assert!(!response.interim[0].headers().contains_key("content-length"));
        assert_eq!(response.field("content-length"), Some("2"));
        let response = client.get("/3").await;
        assert_eq!(response.head.one("content-length"), Some("5"));
        assert_eq!(client.get("/x").await.text(), "other");
    }
    // A body that was announced may still come: before another response, on the same connection.
    let connections = backend.log().connections;
    client.get("/0").await;
    assert_eq!(client.get("/x").await.text(), "other");
    assert_eq!(backend.log().connections, connections);
    client.get("/1").await;
    assert_eq!(client.get("/x").await.text(), "other");
    assert_eq!(backend.log().connections, connections + 1);
}

/// A coding that does not go on must not be needed to read the body.
#[tokio::test]
async fn a_response_with_another_coding_is_502() {
    const ANSWERS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
          2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ];
    let backend = answering(ANSWERS).await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    let mut http2 = gateway.http2().await;
    for _ in 0..2 {
        for index in 0..3 {
            let path = format!("/{index}");
            assert_eq!(client.get(&path).await.status, 502, "{path}");
            assert_eq!(http2.get(&path).await.status, 502, "{path}");
        }
        assert_eq!(client.get("/3").await.text(), "hi");
        assert_eq!(http2.get("/3").await.text(), "hi");
    }
}

const ODD: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nX-Color: \x1b[1m\x08\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nX Bad: 1\r\nX(Y): 2\r\nX-Good: 3\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nX-Null: a\0b\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nX-Return: a\rb\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi",
];

async fn odd_responses(gateway: &Gateway) -> u64 {
    gateway
        .table()
        .services
        .iter()
        .next()
        .unwrap()
        .state
        .odd_responses
        .get()
}

#[tokio::test]
async fn odd_responses_are_mended() {
    let backend = answering(ODD).await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    let mut http2 = gateway.http2().await;
    for round in 1..=2 {
        // HTTP/1 carries a control character, HTTP/2 does not.
        client.send(get("/0")).await;
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\nhi") {
            read.extend_from_slice(&client.reader.bytes().await.unwrap());
        }
        let raw = read.escape_ascii().to_string();
        assert!(raw.starts_with("HTTP/1.1 200 OK\\r\\n"), "{raw}");
        assert!(raw.contains("X-Color: \\x1b[1m\\x08\\r\\n"), "{raw}");
        let response = http2.get("/0").await;
        assert_eq!((response.status.as_u16(), &*response.text()), (200, "hi"));
        assert_eq!(response.field("x-color"), None);

        let response = client.get("/1").await;
        assert_eq!((response.status, &*response.text()), (200, "hi"));
        assert_eq!(response.head.one("x-good"), Some("3"));
        assert_eq!(response.head.fields.len(), 3, "{:?}", response.head);
        let response = http2.get("/1").await;
        assert_eq!(response.text(), "hi");
        assert_eq!(response.headers.len(), 3, "{:?}", response.headers);
        assert_eq!(odd_responses(&gateway).await, round * 4);

        for index in 2..5 {
            let path = format!("/{index}");
            assert_eq!(client.get(&path).await.status, 502, "{path}");
            assert_eq!(http2.get(&path).await.status, 502, "{path}");
        }
    }
}

#[tokio::test]
async fn odd_responses_can_be_refused() {
    let backend = answering(ODD).await;
    let gateway = Gateway::start_with(
        "headers: {odd_responses: refuse}",
        Routes::all_to(&[backend.address()]),
    );
    for index in 0..5 {
        let path = format!("/{index}");
        assert_eq!(gateway.client().await.get(&path).await.status, 502);
        assert_eq!(gateway.http2().await.get(&path).await.status, 502);
    }
    assert_eq!(odd_responses(&gateway).await, 4);
}

/// HTTP/2 backends can name fields as HTTP/1 cannot.
#[tokio::test]
async fn odd_names_of_http2_backends_are_dropped() {
    let backend = Http2Backend::start(|mut exchange| async move {
        let mut response = http::Response::new(());
        let name = HeaderName::from_lowercase(b"x\"a").unwrap();
        response.headers_mut().append(name, "1".parse().unwrap());
        let blank = " b ".parse().unwrap();
        response.headers_mut().append("x-blank", blank);
        exchange.body().await;
        let _ = exchange.respond.send_response(response, true);
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    for _ in 0..2 {
        let response = gateway.client().await.get("/").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.head.one("x-blank"), Some("b"));
        assert!(!response.head.has("x\"a"));
        let response = gateway.http2().await.get("/").await;
        assert_eq!(response.field("x-blank"), Some("b"));
        assert!(
            !response
                .headers
                .keys()
                .any(|name| name.as_str().contains('"'))
        );
    }
    assert_eq!(odd_responses(&gateway).await, 4);
}
