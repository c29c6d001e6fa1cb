//! Every pair of protocols, one backend behind each.

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Http2Client, Routes,
    backend::{Connection, ok},
    certificates::Authority,
    http2_backend::Exchange,
    http2_client::{read, send_all},
    wire::{Framing, chunked, pattern},
    within,
};
use ferrix_table::services::Protocol;

use crate::with_fields;

const BACKEND_NAME: &str = "backend.test";

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
