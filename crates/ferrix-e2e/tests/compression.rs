//! Compressed responses, judged by what a client reads that decompresses them: over both protocols on both
//! sides, on fresh connections and on reused ones.

use std::sync::Arc;

use bytes::Bytes;
use compression_codecs::{
    BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder,
    core::util::{PartialBuffer, WriteBuffer},
};
use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::Connection,
    clients::{Answer, Clients},
    http2_backend::Exchange,
    http2_client,
    wire::{Framing, ReadError, chunked, pattern},
    within,
};
use ferrix_table::{
    filters::{
        Filter,
        compression::{Compression, ContentEncoding},
    },
    policy::Policy,
    services::Protocol,
};
use http::HeaderMap;
use tokio::sync::Semaphore;

const ENCODINGS: [&str; 3] = ["zstd", "br", "gzip"];

fn policy() -> Policy {
    let compression = Compression {
        encodings: ContentEncoding::ALL.into(),
        min_bytes: 1000,
        content_types: Box::default(),
    };
    Policy::of([Filter::Compression(compression)])
}

fn gateway(routes: Routes) -> Gateway {
    Gateway::start(routes.policy(policy()))
}

/// What a reader makes of the bytes of a body.
struct Decoder {
    decoder: Option<Box<dyn DecodeV2 + Send>>,
    read: Vec<u8>,
    ended: bool,
}

impl Decoder {
    fn new(encoding: Option<&str>) -> Self {
        let decoder: Option<Box<dyn DecodeV2 + Send>> = match encoding {
            None => None,
            Some("zstd") => Some(Box::new(ZstdDecoder::new())),
            Some("br") => Some(Box::new(BrotliDecoder::new())),
            Some("gzip") => Some(Box::new(GzipDecoder::new())),
            Some(other) => panic!("{other}"),
        };
        Self {
            ended: decoder.is_none(),
            decoder,
            read: Vec::new(),
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        let Some(decoder) = &mut self.decoder else {
            return self.read.extend_from_slice(bytes);
        };
        let mut input = PartialBuffer::new(bytes);
        let mut scratch = [0; 4096];
        while !self.ended {
            let mut room = WriteBuffer::new_initialized(&mut scratch);
            let Ok(ended) = decoder.decode(&mut input, &mut room) else {
                // That of gzip complains where it is given nothing and has nothing.
                return assert!(input.unwritten().is_empty());
            };
            self.ended = ended;
            self.read.extend_from_slice(room.written());
            if input.unwritten().is_empty() && !room.has_no_spare_space() {
                return;
            }
        }
        assert!(input.unwritten().is_empty(), "bytes behind the end");
    }
}

fn decoded(encoding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(encoding);
    decoder.read(body);
    assert!(decoder.ended);
    decoder.read
}

fn text(answer: &Answer) -> Vec<u8> {
    decoded(answer.one("content-encoding"), &answer.body)
}

/// Half of it can be compressed, and windows and buffers are filled several times.
fn large() -> Vec<u8> {
    let mut body = pattern(300_000);
    body.extend("all work and no play ".repeat(15_000).into_bytes());
    body
}

/// A backend of one protocol or the other.
enum Either {
    One(Backend),
    Two(Http2Backend),
}

impl Either {
    fn routes(&self) -> Routes {
        match self {
            Self::One(it) => Routes::all_to(&[it.address()]),
            Self::Two(it) => Routes::all_by(Protocol::Http2, &[it.address()]),
        }
    }

    /// Answers with this body, of which HTTP/1 says the length at `/length`, and with trailers.
    async fn answering(http2: bool, body: Vec<u8>) -> Self {
        let body = Bytes::from(body);
        let fields = [("content-type", "text/plain"), ("etag", "\"v1\"")];
        match http2 {
            false => Self::One(
                Backend::start(move |mut connection: Connection| {
                    let body = body.clone();
                    async move {
                        let fields = fields.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
                        while let Some(request) = connection.request().await {
                            let answer = match request.target() {
                                "/length" => {
                                    let length = body.len();
                                    let head = format!(
                                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n"
                                    );
                                    [head.as_bytes(), &body].concat()
                                }
                                _ => {
                                    let head = format!(
                                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
                                    );
                                    let mut chunks = chunked(&[&body]);
                                    chunks.truncate(chunks.len() - 2);
                                    [head.as_bytes(), &chunks, b"X-Checksum: 7\r\n\r\n"].concat()
                                }
                            };
                            connection.send(answer).await;
                        }
                    }
                })
                .await,
            ),
            true => Self::Two(
                Http2Backend::start(move |mut exchange: Exchange| {
                    let body = body.clone();
                    async move {
                        exchange.body().await;
                        let mut stream = exchange.respond(200, &fields, false);
                        let mut trailers = HeaderMap::new();
                        trailers.insert("x-checksum", "7".parse().unwrap());
                        if http2_client::send_all(&mut stream, body, false).await.is_ok() {
                            let _ = stream.send_trailers(trailers);
                        }
                    }
                })
                .await,
            ),
        }
    }
}

const PAIRS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

#[tokio::test]
async fn every_encoding_between_all_protocols() {
    let body = large();
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = Either::answering(to_backend, body.clone()).await;
        let gateway = gateway(backend.routes());
        let mut clients = Clients::new(&gateway).await;
        for (place, encoding) in ENCODINGS.into_iter().enumerate() {
            // Fresh connections at first, and reused ones later.
            let path = ["/length", "/chunks"][place % 2];
            let fields = [("Accept-Encoding", encoding), ("TE", "trailers")];
            let answer = clients.ask(to_client, "GET", path, &fields).await;
            let what = format!("{encoding} {to_client} {to_backend} {path}");
            assert_eq!(answer.status, 200, "{what}");
            assert_eq!(answer.one("content-encoding"), Some(encoding), "{what}");
            assert_eq!(answer.one("content-length"), None, "{what}");
            assert_eq!(answer.one("vary"), Some("Accept-Encoding"), "{what}");
            assert_eq!(answer.one("etag"), Some("W/\"v1\""), "{what}");
            assert!(answer.body.len() < body.len() * 2 / 3, "{what}");
            assert!(text(&answer) == body, "{what}");
            if path == "/chunks" || to_backend {
                let trailers = [("x-checksum".to_owned(), "7".to_owned())];
                assert_eq!(answer.trailers, trailers, "{what}");
            }
            ran += 1;
        }
        let answer = clients.ask(to_client, "GET", "/length", &[]).await;
        assert_eq!(answer.one("content-encoding"), None);
        assert_eq!(answer.one("vary"), Some("Accept-Encoding"));
        assert_eq!(answer.one("etag"), Some("\"v1\""));
        assert!(answer.body == body);
    }
    assert_eq!(ran, 12);
}

/// What is left alone arrives with every byte, and with its length.
#[tokio::test]
async fn what_is_not_compressed_is_as_the_backend_sent_it() {
    let body = "x".repeat(2000);
    let length = format!("Content-Length: {}\r\n", body.len());
    let cases = [
        ("200 OK", "Content-Type: image/png\r\n", None),
        ("200 OK", "Content-Type: application/grpc\r\n", None),
        ("200 OK", "", None),
        (
            "200 OK",
            "Content-Type: text/css\r\nContent-Encoding: br\r\n",
            None,
        ),
        (
            "200 OK",
            "Content-Type: text/css\r\nCache-Control: no-transform\r\n",
            None,
        ),
        (
            "206 Partial Content",
            "Content-Type: text/css\r\nContent-Range: bytes 0-1999/3000\r\n",
            None,
        ),
        (
            "200 OK",
            "Content-Type: text/css\r\n",
            Some("x".repeat(999)),
        ),
    ];
    let mut ran = 0;
    for (status, fields, short) in &cases {
        let body = short.as_ref().unwrap_or(&body);
        let length = match short {
            None => length.clone(),
            Some(short) => format!("Content-Length: {}\r\n", short.len()),
        };
        let answer = format!("HTTP/1.1 {status}\r\n{length}{fields}ETag: \"v1\"\r\n\r\n{body}");
        let backend = Backend::answering(answer).await;
        let gateway = gateway(Routes::all_to(&[backend.address()]));
        let mut clients = Clients::new(&gateway).await;
        for http2 in [false, true] {
            let fields = [("Accept-Encoding", "gzip, br, zstd")];
            let answer = clients.ask(http2, "GET", "/", &fields).await;
            assert_eq!(answer.body, body.as_bytes(), "{status} {fields:?}");
            assert_eq!(answer.one("content-length"), Some(&*body.len().to_string()));
            assert_eq!(answer.one("etag"), Some("\"v1\""));
            assert_eq!(answer.one("vary"), None);
            ran += 1;
        }
    }
    assert_eq!(ran, 14);
}

#[tokio::test]
async fn answers_without_a_body() {
    let head = "Content-Type: text/plain\r\nETag: \"v1\"\r\nContent-Length: 5000\r\n\r\n";
    let backend = Backend::start(move |mut connection: Connection| async move {
        while let Some(request) = connection.request().await {
            let status = match request.head.one("if-none-match") {
                Some(_) => "304 Not Modified",
                None => "200 OK",
            };
            connection
                .send(format!("HTTP/1.1 {status}\r\n{head}"))
                .await;
        }
    })
    .await;
    let gateway = gateway(Routes::all_to(&[backend.address()]));
    let mut clients = Clients::new(&gateway).await;
    let mut ran = 0;
    for http2 in [false, true, false, true] {
        let answer = clients
            .ask(http2, "HEAD", "/", &[("Accept-Encoding", "br")])
            .await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert_eq!(answer.one("content-encoding"), Some("br"));
        assert_eq!(answer.one("content-length"), None);
        assert_eq!(answer.one("etag"), Some("W/\"v1\""));
        for (tag, expected) in [("W/\"v1\"", "W/\"v1\""), ("\"v1\"", "\"v1\"")] {
            let fields = [("Accept-Encoding", "br"), ("If-None-Match", tag)];
            let answer = clients.ask(http2, "GET", "/", &fields).await;
            assert_eq!((answer.status, answer.body.len()), (304, 0));
            assert_eq!(answer.one("etag"), Some(expected));
            assert_eq!(answer.one("content-encoding"), None);
            assert_eq!(backend.last().head.one("if-none-match"), Some(tag));
            ran += 1;
        }
    }
    assert_eq!(ran, 8);
}

#[tokio::test]
async fn a_condition_finds_the_tag_of_the_backend() {
    let backend = Backend::hello("hi").await;
    let gateway = gateway(Routes::all_to(&[backend.address()]));
    let mut clients = Clients::new(&gateway).await;
    for http2 in [false, true] {
        let fields = [("If-Match", "W/\"v1\", \"v2\"")];
        clients.ask(http2, "DELETE", "/", &fields).await;
        assert_eq!(backend.last().head.one("if-match"), Some("\"v1\", \"v2\""));
    }
}

/// A backend that sends an event for each permit, and says nothing in between.
async fn events(http2: bool, gate: Arc<Semaphore>) -> Either {
    match http2 {
        false => Either::One(
            Backend::start(move |mut connection: Connection| {
                let gate = Arc::clone(&gate);
                async move {
                    connection.request().await;
                    connection
                        .send(
                            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                             Transfer-Encoding: chunked\r\n\r\n",
                        )
                        .await;
                    for number in 0.. {
                        gate.acquire().await.unwrap().forget();
                        let event = event(number);
                        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                        if !connection.send(chunk).await {
                            return;
                        }
                    }
                }
            })
            .await,
        ),
        true => Either::Two(
            Http2Backend::start(move |mut exchange: Exchange| {
                let gate = Arc::clone(&gate);
                async move {
                    let fields = [("content-type", "text/event-stream")];
                    let mut stream = exchange.respond(200, &fields, false);
                    for number in 0.. {
                        gate.acquire().await.unwrap().forget();
                        if stream.send_data(event(number).into(), false).is_err() {
                            return;
                        }
                    }
                }
            })
            .await,
        ),
    }
}

fn event(number: usize) -> String {
    format!("data: event {number}\n\n")
}

/// An event is with the client before the next one has come to be.
#[tokio::test]
async fn events_are_not_held_back() {
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        for encoding in ENCODINGS {
            let gate = Arc::new(Semaphore::new(0));
            let backend = events(to_backend, Arc::clone(&gate)).await;
            let gateway = gateway(backend.routes());
            let mut decoder = Decoder::new(Some(encoding));
            let mut expected = Vec::new();
            let mut one = gateway.client().await;
            let mut two = gateway.http2().await;
            let mut body = None;
            let mut stream = None;
            match to_client {
                false => {
                    let lines = format!("Host: example.com\r\nAccept-Encoding: {encoding}\r\n\r\n");
                    one.send(format!("GET / HTTP/1.1\r\n{lines}")).await;
                    let head = one.head().await;
                    assert_eq!(head.one("content-encoding"), Some(encoding));
                    body = Some(head.response_body("GET").unwrap());
                }
                true => {
                    let mut request = two.request("GET", "/");
                    let headers = request.headers_mut();
                    headers.insert("accept-encoding", encoding.parse().unwrap());
                    let (response, _) = two.open(request, true).await.unwrap();
                    let response = within("a response", response).await.unwrap();
                    assert_eq!(response.headers()["content-encoding"], encoding);
                    stream = Some(response.into_body());
                }
            }
            for number in 0..3 {
                gate.add_permits(1);
                expected.extend_from_slice(event(number).as_bytes());
                while decoder.read.len() < expected.len() {
                    let piece = match (&mut body, &mut stream) {
                        (Some(body), _) => {
                            within("an event", one.reader.piece(body)).await.unwrap()
                        }
                        (_, Some(stream)) => http2_client::data(stream).await.unwrap(),
                        _ => unreachable!("one of the two is there"),
                    };
                    decoder.read(&piece.expect("the stream goes on"));
                }
                assert_eq!(decoder.read, expected);
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 4 * 3 * 3);
}

/// What came is delivered, and cannot be taken for the whole.
#[tokio::test]
async fn a_body_that_breaks_off_does_not_look_whole() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n",
    ];
    let sent = "x".repeat(3000);
    let mut ran = 0;
    for head in heads {
        let broken = format!("{head}{sent}");
        let backend = Backend::start(move |mut connection: Connection| {
            let broken = broken.clone();
            async move {
                connection.request().await;
                connection.send(broken).await;
            }
        })
        .await;
        let gateway = gateway(Routes::all_to(&[backend.address()]));
        for encoding in ENCODINGS {
            let mut client = gateway.client().await;
            let lines = format!("Host: example.com\r\nAccept-Encoding: {encoding}\r\n\r\n");
            client.send(format!("GET / HTTP/1.1\r\n{lines}")).await;
            let head = client.head().await;
            let mut body = head.response_body("GET").unwrap();
            let mut decoder = Decoder::new(Some(encoding));
            let broke = loop {
                match within("a piece", client.reader.piece(&mut body)).await {
                    Ok(Some(piece)) => decoder.read(&piece),
                    other => break other,
                }
            };
            assert_eq!(broke, Err(ReadError::Cut), "{encoding}");
            assert_eq!(decoder.read, sent.as_bytes(), "{encoding}");
            assert!(!decoder.ended, "{encoding}");

            let mut client = gateway.http2().await;
            let mut request = client.request("GET", "/");
            let headers = request.headers_mut();
            headers.insert("accept-encoding", encoding.parse().unwrap());
            let error = client.fetch(request).await.expect_err("a reset");
            assert!(error.is_reset(), "{error}");
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
}

#[tokio::test]
async fn an_old_client_reads_to_the_end_of_its_connection() {
    let body = large();
    let backend = Either::answering(false, body.clone()).await;
    let gateway = gateway(backend.routes());
    let request = "GET /length HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\
                   Accept-Encoding: gzip\r\n\r\n";
    let response = gateway.client().await.exchange(request).await;
    assert_eq!(response.framing, Framing::Close);
    assert_eq!(response.head.one("transfer-encoding"), None);
    assert!(decoded(Some("gzip"), &response.body) == body);
}

/// What follows an upgrade is not a body.
#[tokio::test]
async fn another_protocol_is_not_compressed() {
    let backend = Backend::start(|mut connection: Connection| async move {
        connection.request().await;
        connection
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: own\r\n\
                 Content-Type: text/plain\r\n\r\nhello",
            )
            .await;
        connection.left().await;
    })
    .await;
    let gateway = gateway(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: upgrade\r\nUpgrade: own\r\n\
             Accept-Encoding: gzip\r\n\r\n",
        )
        .await;
    let head = client.head().await;
    assert_eq!((head.word(1), head.has("content-encoding")), ("101", false));
    let said = within("what follows", client.reader.exactly(5)).await;
    assert_eq!(said.unwrap(), "hello");
}

/// Windows open by what is taken on their own side: the client's by compressed bytes, the backend's by those
/// that were read.
#[tokio::test]
async fn a_client_that_takes_its_time_gets_everything() {
    let body: Vec<u8> = [large(), large()].concat();
    let mut ran = 0;
    for to_backend in [false, true] {
        let backend = Either::answering(to_backend, body.clone()).await;
        let gateway = gateway(backend.routes());
        for encoding in ENCODINGS {
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(1000);
            let stream = tokio::net::TcpStream::connect(gateway.web).await.unwrap();
            let mut client = ferrix_e2e::Http2Client::with(builder, stream, "http").await;
            let mut request = client.request("GET", "/length");
            let headers = request.headers_mut();
            headers.insert("accept-encoding", encoding.parse().unwrap());
            let response = client.fetch(request).await.unwrap();
            assert!(decoded(response.field("content-encoding"), &response.body) == body);
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
}
