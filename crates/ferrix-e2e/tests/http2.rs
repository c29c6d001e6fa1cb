//! HTTP/2 from clients and to backends, in every pair with HTTP/1, and what attackers do with it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Http2Client, Routes,
    backend::{Connection, Dead, ok},
    certificates::Authority,
    client::get,
    frames::{self, END_HEADERS, END_STREAM, Frames, block, frame, kind},
    http2_backend::Exchange,
    http2_client::{data, read, send_all},
    wire::{Framing, chunked, pattern},
    within,
};
use ferrix_table::services::Protocol;
use h2::Reason;
use http::{HeaderMap, Request};

const BACKEND_NAME: &str = "backend.test";

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let parsed = fields
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    parsed.collect()
}

fn with_fields(request: Request<()>, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = request;
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// An HTTP/1 backend that answers by path and otherwise echoes.
async fn by_path(mut connection: Connection) {
    while let Some(head) = connection.head().await {
        match head.word(1) {
            "/204" => {
                connection.body().await;
                connection.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            }
            "/length" => {
                connection.body().await;
                connection.send(ok("with a length")).await;
            }
            "/early" => {
                connection
                    .send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
                    .await;
                connection.body().await;
            }
            _ if head.word(0) == "HEAD" => {
                connection
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    .await;
            }
            _ => {
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
        }
    }
}

/// The same in HTTP/2.
async fn by_path_2(mut exchange: Exchange) {
    match exchange.head.uri().path() {
        "/204" => {
            exchange.body().await;
            exchange.respond(204, &[], true);
        }
        "/length" => {
            exchange.body().await;
            let mut stream = exchange.respond(200, &[("content-length", "13")], false);
            let _ = stream.send_data(Bytes::from_static(b"with a length"), true);
        }
        "/early" => {
            let mut stream = exchange.respond(413, &[], false);
            let _ = stream.send_data(Bytes::from_static(b"no!"), true);
            exchange.body().await;
        }
        _ if exchange.head.method() == "HEAD" => {
            exchange.respond(200, &[("content-length", "1000")], true);
        }
        _ => {
            let mut stream = exchange.respond(200, &[], false);
            while let Some(piece) = exchange.piece().await {
                if send_all(&mut stream, piece, false).await.is_err() {
                    return;
                }
            }
            exchange.trailers().await;
            let _ = stream.send_data(Bytes::new(), true);
        }
    }
}

/// One backend behind each protocol, as hosts `h1`, `h2c`, `tls1` and `tls2`.
struct House {
    authority: Authority,
    http1: Backend,
    h2c: Http2Backend,
    _tls1: Backend,
    tls2: Http2Backend,
    gateway: Gateway,
}

const HOSTS: [&str; 4] = ["h1", "h2c", "tls1", "tls2"];

impl House {
    async fn build() -> Self {
        let authority = Authority::new();
        let certified = authority.certify("backend", &[BACKEND_NAME]);
        let http1 = Backend::start(by_path).await;
        let h2c = Http2Backend::start(by_path_2).await;
        let tls1 = Backend::start_tls(certified.server(&["http/1.1"]), by_path).await;
        let tls2 = Http2Backend::start_tls(certified.server(&["h2", "http/1.1"]), by_path_2).await;
        let tls = || Protocol::Tls {
            server_name: BACKEND_NAME.into(),
        };
        let routes = Routes::new()
            .service("h1", Protocol::Http1, &[http1.address()])
            .service("h2c", Protocol::Http2, &[h2c.address()])
            .service("tls1", tls(), &[tls1.address()])
            .service("tls2", tls(), &[tls2.address()])
            .rule("h1", "", &[("h1", 1)])
            .rule("h2c", "", &[("h2c", 1)])
            .rule("tls1", "", &[("tls1", 1)])
            .rule("tls2", "", &[("tls2", 1)])
            .default_certificate(&authority.certify("front", &["h1", "h2c", "tls1", "tls2"]));
        let file = authority.file();
        let settings = format!(
            "upstream: {{tls: {{authorities: '{}'}}}}",
            file.path().display()
        );
        let gateway = Gateway::start_with(&settings, routes);
        Self {
            authority,
            http1,
            h2c,
            _tls1: tls1,
            tls2,
            gateway,
        }
    }

    /// Clients in plain text and behind TLS.
    async fn clients(&self) -> [Http2Client; 2] {
        [
            self.gateway.http2().await,
            self.gateway
                .tls_http2(&self.authority.client(&["h2"]), "h1")
                .await,
        ]
    }
}

#[tokio::test]
async fn every_pair_of_protocols() {
    let house = House::build().await;
    let large = Bytes::from(pattern(3_000_000));
    let mut pairs = 0;
    for (index, client) in house.clients().await.iter_mut().enumerate() {
        for host in HOSTS {
            let what = format!("{host} from client {index}");
            let request = |client: &Http2Client, method: &str, path: &str| {
                client.request_for(host, method, path)
            };
            let response = client
                .fetch(request(client, "GET", "/length"))
                .await
                .expect(&what);
            assert_eq!(
                (response.status.as_u16(), &*response.text()),
                (200, "with a length")
            );
            assert_eq!(response.field("content-length"), Some("13"), "{what}");
            assert!(response.headers.contains_key("date"), "{what}");

            let response = client
                .fetch(request(client, "HEAD", "/"))
                .await
                .expect(&what);
            assert_eq!(response.field("content-length"), Some("1000"), "{what}");
            assert!(response.body.is_empty());

            let response = client
                .fetch(request(client, "GET", "/204"))
                .await
                .expect(&what);
            assert_eq!(
                (response.status.as_u16(), response.body.len()),
                (204, 0),
                "{what}"
            );

            let small = with_fields(request(client, "POST", "/"), &[("content-length", "3")]);
            let response = client.post(small, "abc", None).await.expect(&what);
            assert_eq!(response.text(), "abc", "{what}");
            let response = client
                .post(request(client, "POST", "/"), "no length", None)
                .await
                .expect(&what);
            assert_eq!(response.text(), "no length", "{what}");
            let response = client
                .post(request(client, "POST", "/"), large.clone(), None)
                .await
                .expect(&what);
            assert!(response.body == large, "{what}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 8);
    let posts: Vec<_> = house.http1.requests();
    let posts: Vec<_> = posts
        .iter()
        .filter(|it| it.head.word(0) == "POST")
        .collect();
    assert_eq!(posts[0].head.one("content-length"), Some("3"));
    assert_eq!(posts[1].head.one("transfer-encoding"), Some("chunked"));
    let request = house.h2c.last();
    assert_eq!(request.head.uri().scheme_str(), Some("http"));
    assert_eq!(
        request.head.uri().authority().map(|it| it.as_str()),
        Some("h2c")
    );
    assert_eq!(request.field("host"), None);
    assert_eq!(house.tls2.last().head.uri().scheme_str(), Some("https"));
    assert_eq!(house.h2c.log().connections, 1, "one connection for all");
    assert_eq!(house.tls2.log().connections, 1);
}

#[tokio::test]
async fn http1_clients_reach_http2_backends() {
    let house = House::build().await;
    let mut client = house.gateway.client().await;
    let large = pattern(1_000_000);
    for host in ["h2c", "tls2"] {
        let head = |method: &str, path: &str, fields: &str| {
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
        };
        let response = client.exchange(head("GET", "/length", "")).await;
        assert_eq!(
            (response.framing, &*response.text()),
            (Framing::Length(13), "with a length")
        );
        client.send(head("HEAD", "/", "")).await;
        assert_eq!(client.try_response("HEAD").await.unwrap().status, 200);
        assert_eq!(client.exchange(head("GET", "/204", "")).await.status, 204);
        let post = format!("{}abc", head("POST", "/", "Content-Length: 3\r\n"));
        assert_eq!(client.exchange(post).await.text(), "abc");
        let post = [
            head("POST", "/", "Transfer-Encoding: chunked\r\n").as_bytes(),
            &chunked(&[&large[..300_000], &large[300_000..]]),
        ]
        .concat();
        let Client { reader, writer, .. } = &mut client;
        let sending = async {
            use tokio::io::AsyncWriteExt;
            writer.write_all(&post).await.unwrap();
        };
        let receiving = async {
            let head = reader.head().await.unwrap().unwrap();
            let mut body = head.response_body("POST").unwrap();
            reader.rest(&mut body).await.unwrap()
        };
        let ((), echoed) = within("an echo", async { tokio::join!(sending, receiving) }).await;
        assert!(echoed == large);
    }
    assert_eq!(house.h2c.log().connections, 1);
    assert_eq!(house.tls2.log().connections, 1);
}

#[tokio::test]
async fn ninety_streams_at_once() {
    let house = House::build().await;
    for client in house.clients().await {
        for host in ["h1", "h2c"] {
            let mut tasks = tokio::task::JoinSet::new();
            for index in 0..90 {
                let request = client.request_for(host, "POST", &format!("/{index}"));
                let mut sender = client.send.clone().ready().await.unwrap();
                tasks.spawn(async move {
                    let body = Bytes::from(pattern(1000 + index * 100));
                    let (response, mut stream) = sender.send_request(request, false).unwrap();
                    send_all(&mut stream, body.clone(), true).await.unwrap();
                    assert!(read(response).await.unwrap().body == body);
                });
            }
            let mut done = 0;
            while let Some(result) = within("90 streams", tasks.join_next()).await {
                result.unwrap();
                done += 1;
            }
            assert_eq!(done, 90);
        }
    }
    assert!(
        house.h2c.log().connections <= 2,
        "{}",
        house.h2c.log().connections
    );
}

#[tokio::test]
async fn an_early_answer_to_an_upload() {
    let house = House::build().await;
    for client in &mut house.clients().await {
        for host in ["h1", "h2c"] {
            let request = client.request_for(host, "POST", "/early");
            let (response, mut stream) = client.open(request, false).await.unwrap();
            stream
                .send_data(Bytes::from_static(b"start"), false)
                .unwrap();
            let response = read(response).await.unwrap();
            assert_eq!(
                (response.status.as_u16(), &*response.text()),
                (413, "no!"),
                "{host}"
            );
            let request = client.request_for(host, "GET", "/length");
            assert_eq!(client.fetch(request).await.unwrap().text(), "with a length");
        }
    }
}

fn grpc(client: &Http2Client, path: &str) -> Request<()> {
    let request = client.request("POST", path);
    with_fields(
        request,
        &[("content-type", "application/grpc"), ("te", "trailers")],
    )
}

#[tokio::test]
async fn grpc_unary_with_trailers_both_ways() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        let body = exchange.body().await;
        let mut stream = exchange.respond(200, &[("content-type", "application/grpc")], false);
        let _ = stream.send_data(body.into(), false);
        let _ = stream.send_trailers(fields(&[("grpc-status", "0"), ("grpc-message", "fine")]));
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    let trailers = fields(&[("x-checksum", "17"), ("x-forwarded-for", "6.6.6.6")]);
    let request = grpc(&client, "/service/Method");
    let response = client
        .post(request, "message", Some(trailers))
        .await
        .unwrap();
    assert_eq!(response.text(), "message");
    assert_eq!(response.field("grpc-status"), Some("0"));
    assert_eq!(response.field("grpc-message"), Some("fine"));
    let request = backend.last();
    assert_eq!(request.field("te"), Some("trailers"));
    assert_eq!(request.body, b"message");
    let trailers = request.trailers.expect("trailers of the request");
    assert_eq!(trailers["x-checksum"], "17");
    assert!(!trailers.contains_key("x-forwarded-for"));
}

#[tokio::test]
async fn grpc_trailers_only() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        exchange.body().await;
        exchange.respond(
            200,
            &[
                ("content-type", "application/grpc"),
                ("grpc-status", "5"),
                ("x-own", "1"),
            ],
            true,
        );
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    let request = grpc(&client, "/");
    let response = client.post(request, "message", None).await.unwrap();
    assert_eq!(response.headers["grpc-status"], "5");
    assert_eq!(response.headers["x-own"], "1");
    assert!(response.trailers.is_none() && response.body.is_empty());
}

#[tokio::test]
async fn grpc_bidirectional() {
    let backend = Http2Backend::echo().await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    let request = grpc(&client, "/");
    let (response, mut stream) = client.open(request, false).await.unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    for round in 0..20 {
        let message = Bytes::from(format!("message {round}"));
        send_all(&mut stream, message.clone(), false).await.unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < message.len() {
            echoed.extend_from_slice(&data(&mut body).await.unwrap().unwrap());
        }
        assert_eq!(echoed, message);
    }
    stream.send_trailers(fields(&[("x-last", "1")])).unwrap();
    assert_eq!(data(&mut body).await.unwrap(), None);
    let trailers = within("trailers", body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["x-last"], "1");
}

#[tokio::test]
async fn a_cancelled_stream_is_cancelled_at_the_backend() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        if exchange.head.uri().path() == "/middle" {
            let mut stream = exchange.respond(200, &[], false);
            let _ = stream.send_data(Bytes::from_static(b"half"), false);
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            assert!(reason.is_ok());
            while exchange.piece().await.is_some() {}
            exchange.trailers().await;
        } else {
            exchange.cancelled().await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    for (round, path) in ["/before", "/middle", "/upload"].iter().enumerate() {
        let mut client = gateway.http2().await;
        let request = grpc(&client, path);
        let (response, mut stream) = client.open(request, false).await.unwrap();
        backend
            .wait("the request", |log| log.requests.len() == round + 1)
            .await;
        match *path {
            "/middle" => {
                let mut body = within("a response", response).await.unwrap().into_body();
                data(&mut body).await.unwrap();
                stream.send_reset(Reason::CANCEL);
            }
            "/upload" => {
                stream
                    .send_data(Bytes::from_static(b"half"), false)
                    .unwrap();
                // The whole connection goes.
                client.connection.abort();
            }
            _ => stream.send_reset(Reason::CANCEL),
        }
        let reset = |log: &ferrix_e2e::http2_backend::Log| log.requests[round].reset.is_some();
        backend.wait(path, reset).await;
        assert_eq!(backend.last().reset, Some(Reason::CANCEL), "{path}");
    }
    assert_eq!(backend.log().connections, 1, "only the streams end");
}

#[tokio::test]
async fn a_client_that_cancels_frees_an_http1_backend() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection.left().await;
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    for round in 1..=2 {
        let request = client.request("POST", "/");
        let (_response, mut stream) = client.open(request, false).await.unwrap();
        stream
            .send_data(Bytes::from_static(b"half"), false)
            .unwrap();
        backend
            .wait("the request", |log| log.requests.len() == round)
            .await;
        stream.send_reset(Reason::CANCEL);
        backend.abandoned().await;
    }
}

#[tokio::test]
async fn request_trailers_reach_an_http1_backend() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    let trailers = fields(&[
        ("x-checksum", "17"),
        ("content-length", "99"),
        ("host", "evil"),
    ]);
    let request = client.request("POST", "/");
    let response = client
        .post(request, "message", Some(trailers))
        .await
        .unwrap();
    assert_eq!(response.text(), "hi");
    let request = backend.last();
    assert_eq!(request.body, b"message");
    assert_eq!(
        request.trailers,
        [("x-checksum".to_owned(), "17".to_owned())]
    );
    // The connection is in step.
    assert_eq!(client.get("/").await.text(), "hi");
    assert_eq!(backend.log().connections, 1);
}

#[tokio::test]
async fn response_trailers_reach_an_http1_client_that_wants_them() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        exchange.body().await;
        let mut stream = exchange.respond(200, &[], false);
        let _ = stream.send_data(Bytes::from_static(b"body"), false);
        let _ = stream.send_trailers(fields(&[("grpc-status", "0")]));
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.client().await;
    for (te, expected) in [("TE: trailers\r\n", true), ("", false)] {
        let response = client
            .exchange(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{te}\r\n"))
            .await;
        assert_eq!(
            (response.framing, &*response.text()),
            (Framing::Chunked, "body")
        );
        let trailers = [("grpc-status".to_owned(), "0".to_owned())];
        assert_eq!(response.trailers, trailers[..usize::from(expected)]);
    }
    client
        .send("GET / HTTP/1.0\r\nHost: example.com\r\nTE: trailers\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "body");
    client.closed().await;
}

#[tokio::test]
async fn early_hints_in_every_direction() {
    let http1 = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection
                .send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                .await;
            connection.send(ok("final")).await;
        }
    })
    .await;
    let http2 = Http2Backend::start(async |mut exchange: Exchange| {
        let early = http::Response::builder()
            .status(103)
            .header("link", "</a.css>");
        exchange
            .respond
            .send_informational(early.body(()).unwrap())
            .unwrap();
        let mut stream = exchange.respond(200, &[], false);
        let _ = stream.send_data(Bytes::from_static(b"final"), true);
    })
    .await;
    let gateway = Gateway::start(
        Routes::new()
            .service("h1", Protocol::Http1, &[http1.address()])
            .service("h2", Protocol::Http2, &[http2.address()])
            .rule("*", "Path(`/h1`)", &[("h1", 1)])
            .rule("*", "Path(`/h2`)", &[("h2", 1)]),
    );
    let mut client = gateway.http2().await;
    for path in ["/h1", "/h2"] {
        let response = client.get(path).await;
        assert_eq!(response.text(), "final", "{path}");
        assert_eq!(response.interim.len(), 1, "{path}");
        assert_eq!(response.interim[0].status(), 103);
        assert_eq!(response.interim[0].headers()["link"], "</a.css>");
    }
    let mut client = gateway.client().await;
    client.send(get("/h2")).await;
    let early = client.head().await;
    assert_eq!(
        (early.word(1), early.one("link")),
        ("103", Some("</a.css>"))
    );
    assert_eq!(client.response().await.text(), "final");
}

#[tokio::test]
async fn cookies_are_joined_for_http1() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    let request = client.request("GET", "/");
    let request = with_fields(
        request,
        &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3; d=4")],
    );
    client.fetch(request).await.unwrap();
    assert_eq!(
        backend.last().head.one("cookie"),
        Some("a=1; b=2; c=3; d=4")
    );
}

#[tokio::test]
async fn expect_over_http2() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(head) = connection.head().await {
            if head.has("expect") {
                connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            connection.body().await;
            connection.send(ok("thanks")).await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    for _ in 0..2 {
        let request = client.request("POST", "/");
        let request = with_fields(request, &[("expect", "100-continue")]);
        let response = client.post(request, "hello", None).await.unwrap();
        assert_eq!(response.text(), "thanks");
        assert_eq!(backend.last().body, b"hello");
    }
}

#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        let path = exchange.head.uri().path().to_owned();
        if exchange.index < 1 || path == "/never" {
            exchange.respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            exchange.respond(204, &[], true);
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    assert_eq!(client.get("/").await.status, 204);
    assert_eq!(backend.log().requests.len(), 2);
    assert_eq!(client.get("/never").await.status, 502);
    let tries = backend.log().requests.len() - 2;
    assert_eq!(tries, 3, "upstream.attempts");
}

#[tokio::test]
async fn a_backend_that_says_goodbye() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        let mut stream = exchange.respond(200, &[], false);
        while let Some(piece) = exchange.piece().await {
            let _ = send_all(&mut stream, piece, false).await;
        }
        exchange.trailers().await;
        let _ = stream.send_data(Bytes::new(), true);
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    let request = client.request("POST", "/");
    let (response, mut stream) = client.open(request, false).await.unwrap();
    stream.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    assert_eq!(data(&mut body).await.unwrap().unwrap(), "one");
    backend.goodbye();
    // The stream that runs goes on; others get another connection, without any error.
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, 200);
    }
    stream.send_data(Bytes::from_static(b"two"), true).unwrap();
    assert_eq!(data(&mut body).await.unwrap().unwrap(), "two");
    assert_eq!(data(&mut body).await.unwrap(), None);
    assert_eq!(backend.log().connections, 2);
}

#[tokio::test]
async fn a_connection_that_was_cut_while_idle() {
    let backend = Http2Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    for round in 1..=5 {
        assert_eq!(client.get("/").await.text(), "hi");
        assert_eq!(backend.log().connections, round);
        backend.cut();
    }
}

#[tokio::test]
async fn a_truncated_response_is_an_error() {
    let http1 = Backend::start(async |mut connection: Connection| {
        let Some(request) = connection.request().await else {
            return;
        };
        connection
            .send(match request.target() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            })
            .await;
    })
    .await;
    let http2 = Http2Backend::start(async |mut exchange: Exchange| {
        let mut stream = exchange.respond(200, &[], false);
        let _ = stream.send_data(Bytes::from_static(b"half"), false);
        stream.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let gateway = Gateway::start(
        Routes::new()
            .service("h1", Protocol::Http1, &[http1.address()])
            .service("h2", Protocol::Http2, &[http2.address()])
            .rule("*", "Path(`/length`) || Path(`/chunks`)", &[("h1", 1)])
            .rule("*", "Path(`/stream`)", &[("h2", 1)]),
    );
    let mut client = gateway.http2().await;
    for path in ["/length", "/chunks", "/stream"] {
        let request = client.request("GET", path);
        let result = client.fetch(request).await;
        match result {
            Err(error) => assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}"),
            // Nothing of it had come: then it is no truncation.
            Ok(response) => assert_eq!(response.status, 502, "{path}"),
        }
    }
    let mut client = gateway.client().await;
    client.send(get("/stream")).await;
    if let Ok(response) = client.try_response("GET").await {
        assert_eq!(response.status, 502);
    }
}

#[tokio::test]
async fn errors_for_grpc_clients() {
    let dead = Dead::new();
    let gateway = Gateway::start(
        Routes::new()
            .service("empty", Protocol::Http2, &[])
            .service("dead", Protocol::Http2, &[dead.address()])
            .rule("*", "Path(`/empty`)", &[("empty", 1)])
            .rule("*", "Path(`/dead`)", &[("dead", 1)]),
    );
    let mut client = gateway.http2().await;
    // UNIMPLEMENTED and UNAVAILABLE, as gRPC maps them from HTTP.
    for (path, status) in [("/no", "12"), ("/empty", "14"), ("/dead", "14")] {
        let request = grpc(&client, path);
        let response = client.post(request, "message", None).await.unwrap();
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.field("content-type"), Some("application/grpc"));
        assert_eq!(response.field("grpc-status"), Some(status), "{path}");
        assert!(response.field("grpc-message").is_some());
    }
    for (path, status) in [("/no", 404), ("/empty", 503), ("/dead", 502)] {
        assert_eq!(client.get(path).await.status, status);
    }
}

#[tokio::test]
async fn methods_that_no_proxy_serves() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    let request = client.request("TRACE", "/");
    assert_eq!(client.fetch(request).await.unwrap().status, 405);
    let request = Request::connect("example.com:443").body(()).unwrap();
    let response = client.fetch(request).await;
    assert!(response.is_err() || response.unwrap().status == 405);
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn malformed_requests_never_reach_a_backend_whole() {
    let pseudo = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "example.com"),
        (":path", "/"),
    ];
    let cases: [(&str, &[(&str, &str)]); 12] = [
        ("connection", &[("connection", "close")]),
        ("transfer-encoding", &[("transfer-encoding", "chunked")]),
        ("upgrade", &[("upgrade", "websocket")]),
        ("keep-alive", &[("keep-alive", "5")]),
        ("te", &[("te", "gzip")]),
        ("upper case", &[("X-Upper", "1")]),
        ("a space in a name", &[("x y", "1")]),
        (
            "a line feed in a value",
            &[("x-y", "1\r\nx-forwarded-for: 6.6.6.6")],
        ),
        ("NUL in a value", &[("x-y", "1\0b")]),
        (
            "two lengths",
            &[("content-length", "4"), ("content-length", "5")],
        ),
        ("a bad length", &[("content-length", "+4")]),
        ("a length that lies", &[("content-length", "5")]),
    ];
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    for (what, extra) in cases {
        let fields = [&pseudo[..], extra].concat();
        let mut frames = Frames::connect(gateway.web, &[]).await;
        frames
            .send(&frame(kind::HEADERS, END_HEADERS, 1, &block(&fields)))
            .await;
        frames
            .send(&frame(kind::DATA, END_STREAM, 1, b"body"))
            .await;
        let refused = loop {
            match frames.next().await {
                None => break true,
                Some(frame) if [kind::RST_STREAM, kind::GOAWAY].contains(&frame.kind) => {
                    break true;
                }
                Some(frame) if frame.kind == kind::HEADERS => break frame.payload[0] == 0x8c,
                Some(_) => {}
            }
        };
        assert!(refused, "{what}");
        assert!(backend.requests().iter().all(|it| !it.complete), "{what}");
    }
    for (what, fields) in [
        ("no path", [pseudo[0], pseudo[1], pseudo[2]].to_vec()),
        (
            "an empty path",
            vec![pseudo[0], pseudo[1], pseudo[2], (":path", "")],
        ),
        ("two paths", [&pseudo[..], &[(":path", "/two")]].concat()),
        (
            "a pseudo-header of responses",
            [&pseudo[..], &[(":status", "200")]].concat(),
        ),
        (
            "pseudo-headers last",
            [&[("x-y", "1")][..], &pseudo].concat(),
        ),
    ] {
        let mut frames = Frames::connect(gateway.web, &[]).await;
        let flags = END_HEADERS | END_STREAM;
        frames
            .send(&frame(kind::HEADERS, flags, 1, &block(&fields)))
            .await;
        let refused = loop {
            match frames.next().await {
                None => break true,
                Some(frame) if [kind::RST_STREAM, kind::GOAWAY].contains(&frame.kind) => {
                    break true;
                }
                Some(frame) if frame.kind == kind::HEADERS => break frame.payload[0] == 0x8c,
                Some(_) => {}
            }
        };
        assert!(refused, "{what}");
    }
    assert!(backend.requests().iter().all(|it| !it.complete));
}

#[tokio::test]
async fn limits_of_the_header_section() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "{limits: {header_count: 100, uri_bytes: 1KiB}, http2: {header_list: 16KiB}}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    let mut few = client.request("GET", "/");
    for index in 0..100 {
        few.headers_mut().append("x-many", index.into());
    }
    let mut many = client.request("GET", "/");
    for index in 0..101 {
        many.headers_mut().append("x-many", index.into());
    }
    assert_eq!(client.fetch(few).await.unwrap().status, 200);
    assert_eq!(client.fetch(many).await.unwrap().status, 431);
    let long = client.request("GET", &format!("/{}", "x".repeat(1024)));
    assert_eq!(client.fetch(long).await.unwrap().status, 414);
    let mut large = client.request("GET", "/");
    large
        .headers_mut()
        .append("x-large", "x".repeat(20_000).parse().unwrap());
    // Above the announced limit: the codec answers or resets, but nothing is forwarded.
    match client.fetch(large).await {
        Ok(response) => assert_eq!(response.status, 431),
        Err(error) => assert!(error.reason().is_some(), "{error}"),
    }
    assert_eq!(backend.requests().len(), 1);
    assert_eq!(gateway.http2().await.get("/").await.status, 200);
}

#[tokio::test]
async fn the_limit_of_the_body() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "limits: {body_bytes: 1KiB}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    for (length, status) in [(1024, 200), (1025, 413)] {
        let request = client.request("POST", "/");
        let response = client
            .post(request, vec![b'x'; length], None)
            .await
            .unwrap();
        assert_eq!(response.status, status);
        let request = client.request("POST", "/");
        let request = with_fields(request, &[("content-length", &length.to_string())]);
        let response = client
            .post(request, vec![b'x'; length], None)
            .await
            .unwrap();
        assert_eq!(response.status, status);
    }
    assert_eq!(
        backend.requests().iter().filter(|it| it.complete).count(),
        2
    );
}

#[tokio::test]
async fn timeouts() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await;
    let gateway = Gateway::start_with(
        "timeouts: {response: 200ms, body: 200ms, keep_alive: 600ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    assert_eq!(client.get("/").await.status, 504);
    let request = client.request("POST", "/");
    let (response, mut stream) = client.open(request, false).await.unwrap();
    stream
        .send_data(Bytes::from_static(b"half"), false)
        .unwrap();
    assert_eq!(read(response).await.unwrap().status, 408);
    backend.abandoned().await;
    // Without streams the connection is closed, with GOAWAY.
    let started = Instant::now();
    drop(client.send);
    within("the end of an idle connection", client.connection)
        .await
        .unwrap()
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_idle_connection_is_told_and_closed() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {keep_alive: 200ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let goodbye = frames.next_of(kind::GOAWAY).await.expect("a GOAWAY");
    assert_eq!(goodbye.code(), Some(0));
}

#[tokio::test]
async fn a_preface_has_a_deadline() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {header: 300ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM").await;
    let started = Instant::now();
    assert!(client.rest().await.is_empty());
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

/// CVE-2023-44487. An innocent client beside it notices nothing.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut innocent = gateway.http2().await;
    assert_eq!(innocent.get("/").await.status, 200);
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let mut sent = 0;
    'attack: for round in 0..40_u32 {
        let mut bytes = Vec::new();
        for index in 0..500 {
            let stream = (round * 500 + index) * 2 + 1;
            bytes.extend_from_slice(&frames::get(stream));
            bytes.extend_from_slice(&frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        if !frames.send(&bytes).await {
            break 'attack;
        }
        sent += 500;
    }
    // Either the connection was cut, or a GOAWAY names the abuse.
    if let Some(goodbye) = frames.next_of(kind::GOAWAY).await {
        assert_eq!(goodbye.code(), Some(11), "ENHANCE_YOUR_CALM");
    }
    assert!(
        backend.requests().len() <= 1000,
        "{} of {sent}",
        backend.requests().len()
    );
    assert_eq!(innocent.get("/").await.status, 200);
}

/// The same, but slow enough that each request has begun.
#[tokio::test]
async fn paced_resets_end_the_connection() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.left().await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let mut ended = false;
    for round in 0..2000_u32 {
        let stream = round * 2 + 1;
        let mut bytes = frames::get(stream);
        if round >= 20 {
            // The one of twenty requests before has surely been accepted.
            let before = (round - 20) * 2 + 1;
            bytes.extend_from_slice(&frame(kind::RST_STREAM, 0, before, &8_u32.to_be_bytes()));
        }
        if !frames.send(&bytes).await {
            ended = true;
            break;
        }
        if round % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    if !ended {
        let goodbye = frames.next_of(kind::GOAWAY).await;
        assert!(goodbye.is_none_or(|goodbye| goodbye.code() == Some(11)));
    }
    assert!(
        backend.requests().len() <= 1000,
        "{}",
        backend.requests().len()
    );
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_cancelled() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok(&"x".repeat(100_000))).await;
        }
    })
    .await;
    let gateway = Gateway::start_with(
        "timeouts: {write: 400ms}",
        Routes::all_to(&[backend.address()]),
    );
    for drip in [false, true] {
        // SETTINGS_INITIAL_WINDOW_SIZE of 0.
        let mut frames = Frames::connect(gateway.web, &[(4, 0)]).await;
        frames.send(&frames::get(1)).await;
        frames.next_of(kind::HEADERS).await.expect("a response");
        let started = Instant::now();
        let attack = async {
            loop {
                if drip {
                    // A byte of window now and then is no progress.
                    let one = 1_u32.to_be_bytes();
                    frames.send(&frame(kind::WINDOW_UPDATE, 0, 1, &one)).await;
                }
                let wait = Duration::from_millis(50);
                match tokio::time::timeout(wait, frames.next_of(kind::RST_STREAM)).await {
                    Ok(reset) => return reset,
                    Err(_) => continue,
                }
            }
        };
        let reset = within("a reset", attack).await;
        assert!(reset.is_some(), "the stream is reset, the connection stays");
        assert!(
            started.elapsed() >= Duration::from_millis(350),
            "{:?}",
            started.elapsed()
        );
        backend.abandoned().await;
    }
}

#[tokio::test]
async fn floods_of_small_frames_are_cheap() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut innocent = gateway.http2().await;
    let empty_headers = frame(kind::HEADERS, 0, 1, &frames::get_block());
    let attacks: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("PING", Vec::new(), frame(kind::PING, 0, 0, &[0; 8])),
        ("SETTINGS", Vec::new(), frame(kind::SETTINGS, 0, 0, &[])),
        ("PRIORITY", Vec::new(), frame(2, 0, 1, &[0, 0, 0, 3, 1])),
        (
            "empty DATA",
            frame(kind::HEADERS, 4, 1, &frames::get_block()),
            frame(kind::DATA, 0, 1, &[]),
        ),
        (
            "CONTINUATION",
            empty_headers,
            frame(kind::CONTINUATION, 0, 1, &block(&[("x", "y")])),
        ),
        (
            "WINDOW_UPDATE of 0",
            Vec::new(),
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
    ];
    for (what, first, again) in &attacks {
        let started = Instant::now();
        let mut frames = Frames::connect(gateway.web, &[]).await;
        frames.send(first).await;
        let batch = again.repeat(500);
        let attack = async {
            for _ in 0..40 {
                // What comes back is read, or the kernel stops us before the gateway does.
                if tokio::time::timeout(Duration::from_millis(200), frames.send(&batch)).await
                    != Ok(true)
                {
                    break;
                }
            }
        };
        within(what, attack).await;
        assert_eq!(innocent.get("/").await.status, 200, "{what}");
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{what}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_counted() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "limits: {requests_per_connection: 3}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    drop(client.send);
    within("the connection's end", client.connection)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(backend.requests().len(), 3);
}
