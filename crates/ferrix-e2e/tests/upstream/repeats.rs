//! What is sent again, and what never is: judged by what the backends received, on fresh connections
//! and on reused ones alike.

use std::fmt;

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Http2Client, Routes,
    backend::{Connection, ok},
    http2_backend::Exchange,
    http2_client::read,
};
use ferrix_table::services::Protocol;
use h2::Reason;

/// What a backend does with every request but those for `/warm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Answers nothing, until the gateway leaves.
    Hangs,
    /// Resets the stream (HTTP/2).
    Resets,
    /// Begins an answer, and then ends the connection or resets the stream.
    BeginsAndBreaks,
    /// Answers 413 before the body has come.
    AnswersEarly,
}

/// What the client does once the backend has the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientDoes {
    Waits,
    Leaves,
    HalfCloses,
}

/// A backend of one protocol or the other.
enum Either {
    One(Backend),
    Two(Http2Backend),
}

impl Either {
    async fn start(http2: bool, does: Does) -> Self {
        match http2 {
            false => Self::One(http1(does).await),
            true => Self::Two(http2_backend(does).await),
        }
    }

    fn gateway(&self, response: &str) -> Gateway {
        let (protocol, address) = match self {
            Self::One(backend) => (Protocol::Http1, backend.address()),
            Self::Two(backend) => (Protocol::Http2, backend.address()),
        };
        let routes = Routes::all_by(protocol, &[address]);
        Gateway::start_with(&format!("timeouts: {{response: {response}}}"), routes)
    }

    async fn has(&self, requests: usize) {
        match self {
            Self::One(backend) => {
                (backend.wait("the request", |log| log.requests.len() >= requests)).await;
            }
            Self::Two(backend) => {
                (backend.wait("the request", |log| log.requests.len() >= requests)).await;
            }
        }
    }

    /// How many connections there were.
    fn connections(&self) -> usize {
        match self {
            Self::One(backend) => backend.log().connections,
            Self::Two(backend) => backend.log().connections,
        }
    }

    /// How many requests other than `/warm` came.
    fn received(&self) -> usize {
        match self {
            Self::One(backend) => {
                let requests = backend.requests();
                requests.iter().filter(|it| it.target() != "/warm").count()
            }
            Self::Two(backend) => {
                let requests = backend.log().requests;
                let path = |request: &&ferrix_e2e::http2_backend::Received| {
                    request.head.uri().path() != "/warm"
                };
                requests.iter().filter(path).count()
            }
        }
    }
}

async fn http1(does: Does) -> Backend {
    Backend::start(move |mut connection: Connection| async move {
        while let Some(head) = connection.head().await {
            if head.word(1) == "/warm" {
                connection.send(ok("warm")).await;
                continue;
            }
            match does {
                Does::Hangs => connection.left().await,
                Does::Resets => unreachable!("HTTP/1 has no streams"),
                Does::BeginsAndBreaks => {
                    connection.send("HTTP/1.1 200 OK\r\nContent-").await;
                }
                Does::AnswersEarly => {
                    connection
                        .send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                        .await;
                }
            }
            return;
        }
    })
    .await
}

async fn http2_backend(does: Does) -> Http2Backend {
    Http2Backend::start(move |mut exchange: Exchange| async move {
        if exchange.head.uri().path() == "/warm" {
            exchange.respond(204, &[], true);
            return;
        }
        match does {
            Does::Hangs => {
                exchange.cancelled().await;
            }
            Does::Resets => exchange.respond.send_reset(Reason::INTERNAL_ERROR),
            Does::BeginsAndBreaks => {
                let mut interim = http::Response::new(());
                *interim.status_mut() = http::StatusCode::EARLY_HINTS;
                exchange.respond.send_informational(interim).unwrap();
                exchange.respond.send_reset(Reason::INTERNAL_ERROR);
            }
            Does::AnswersEarly => {
                exchange.respond(413, &[], true);
            }
        }
    })
    .await
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: example.com\r\n{length}\r\n{body}")
}

async fn warm(client: &mut Client) {
    let response = client.exchange(request("GET", "/warm", "")).await;
    assert!([200, 204].contains(&response.status));
}

/// A request that a backend may have acted upon.
struct Trial {
    does: Does,
    client_does: ClientDoes,
    /// What the client gets, if it waits.
    status: Option<u16>,
    /// Whether the backend speaks HTTP/2.
    http2: bool,
    reused: bool,
    method: &'static str,
    body: &'static str,
}

impl Trial {
    /// All that there are of some cases.
    fn all(cases: &[(Does, ClientDoes, Option<u16>)]) -> Vec<Self> {
        let mut trials = Vec::new();
        for &(does, client_does, status) in cases {
            for http2 in [false, true] {
                if !http2 && does == Does::Resets {
                    continue;
                }
                for reused in [false, true] {
                    for (method, body) in [("GET", ""), ("PUT", "abc"), ("POST", "abc")] {
                        trials.push(Self {
                            does,
                            client_does,
                            status,
                            http2,
                            reused,
                            method,
                            body,
                        });
                    }
                }
            }
        }
        trials
    }

    async fn start(&self) -> (Either, Gateway) {
        let backend = Either::start(self.http2, self.does).await;
        let waits = self.status == Some(504);
        let gateway = backend.gateway(if waits { "400ms" } else { "60s" });
        (backend, gateway)
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            does,
            client_does,
            http2,
            reused,
            method,
            ..
        } = self;
        write!(f, "{does:?} {client_does:?} {http2} {reused} {method}")
    }
}

/// The backend has the request once, whatever else happens: it may have acted upon it.
#[tokio::test]
async fn what_a_backend_may_have_acted_upon_is_not_sent_again() {
    let cases = [
        (Does::Hangs, ClientDoes::Leaves, None),
        (Does::Hangs, ClientDoes::HalfCloses, None),
        (Does::Hangs, ClientDoes::Waits, Some(504)),
        (Does::Resets, ClientDoes::Waits, Some(502)),
        (Does::BeginsAndBreaks, ClientDoes::Waits, Some(502)),
        (Does::AnswersEarly, ClientDoes::Waits, Some(413)),
    ];
    let mut ran = 0;
    for trial in Trial::all(&cases) {
        let (backend, gateway) = trial.start().await;
        let mut client = gateway.client().await;
        if trial.reused {
            warm(&mut client).await;
        }
        client
            .send(request(trial.method, "/work", trial.body))
            .await;
        backend.has(1 + usize::from(trial.reused)).await;
        match trial.client_does {
            ClientDoes::Waits => {
                // Interim responses are passed on.
                let mut head = client.head().await;
                while head.word(1) == "103" {
                    head = client.head().await;
                }
                let answered: u16 = head.word(1).parse().unwrap();
                assert_eq!(Some(answered), trial.status, "{trial}");
            }
            ClientDoes::Leaves => drop(client),
            ClientDoes::HalfCloses => client.end().await,
        }
        let name = match trial.client_does {
            ClientDoes::Waits => None,
            ClientDoes::Leaves | ClientDoes::HalfCloses => Some("client_gone"),
        };
        if let Some(name) = name {
            gateway.failed(name, 1).await;
        }
        judge(&backend, &gateway, &trial).await;
        ran += 1;
    }
    assert_eq!(ran, (5 * 2 + 1) * 2 * 3);
}

/// The backend has had the request once, and a connection over HTTP/2 carries others as before.
async fn judge(backend: &Either, gateway: &Gateway, trial: &Trial) {
    assert_eq!(backend.received(), 1, "{trial}");
    let table = gateway.table();
    assert_eq!(table.services[0].state.retries.get(), 0, "{trial}");
    warm(&mut gateway.client().await).await;
    if matches!(backend, Either::Two(_)) {
        assert_eq!(backend.connections(), 1, "{trial}");
    }
}

/// The same of clients over HTTP/2, which may take one request back and go on.
#[tokio::test]
async fn nor_is_it_for_clients_over_http2() {
    let cases = [
        (Does::Hangs, ClientDoes::Leaves, None),
        (Does::Hangs, ClientDoes::Waits, Some(504)),
        (Does::Resets, ClientDoes::Waits, Some(502)),
        (Does::BeginsAndBreaks, ClientDoes::Waits, Some(502)),
        (Does::AnswersEarly, ClientDoes::Waits, Some(413)),
    ];
    let mut ran = 0;
    for trial in Trial::all(&cases) {
        let (backend, gateway) = trial.start().await;
        let mut client = gateway.http2().await;
        if trial.reused {
            assert!(client.get("/warm").await.status.is_success());
        }
        let request = client.request(trial.method, "/work");
        let opened = client.open(request, trial.body.is_empty()).await;
        let (response, mut stream) = opened.unwrap();
        if !trial.body.is_empty() {
            let body = Bytes::from_static(trial.body.as_bytes());
            stream.send_data(body, true).unwrap();
        }
        backend.has(1 + usize::from(trial.reused)).await;
        match trial.client_does {
            ClientDoes::Waits => {
                let answered = read(response).await.unwrap().status.as_u16();
                assert_eq!(Some(answered), trial.status, "{trial}");
            }
            ClientDoes::Leaves | ClientDoes::HalfCloses => {
                stream.send_reset(Reason::CANCEL);
                gateway.failed("client_gone", 1).await;
            }
        }
        judge(&backend, &gateway, &trial).await;
        assert!(client.get("/warm").await.status.is_success(), "{trial}");
        ran += 1;
    }
    assert_eq!(ran, (4 * 2 + 1) * 2 * 3);
}

/// The connection ends without a byte of an answer: on a fresh one the backend did that because of
/// the request, on a reused one it had most likely closed it before.
#[tokio::test]
async fn a_connection_that_breaks_unanswered() {
    let long = "x".repeat(70_000);
    let cases = [
        ("GET", "", true),
        ("GET", "abc", true),
        ("PUT", "abc", true),
        ("DELETE", "", true),
        ("PROPFIND", "<propfind/>", true),
        ("REPORT", "<report/>", true),
        ("PUT", long.as_str(), false),
        ("POST", "", false),
        ("POST", "abc", false),
        ("PATCH", "abc", false),
        ("LOCK", "<lockinfo/>", false),
    ];
    let mut ran = 0;
    for (method, body, repeated) in cases {
        for (reused, http2) in [(false, false), (false, true), (true, false), (true, true)] {
            let case = format!("{method} {} {reused} {http2}", body.len());
            // Each connection is good for one answer, and gets another request.
            let backend = Backend::start(move |mut connection: Connection| async move {
                if !reused && connection.index == 0 {
                    connection.request().await;
                    return;
                }
                if connection.request().await.is_some() {
                    connection.send(ok("done")).await;
                    connection.request().await;
                }
            })
            .await;
            let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
            let mut client = Asking::connect(&gateway, http2).await;
            if reused {
                assert_eq!(client.ask("GET", "/warm", "").await, 200);
            }
            let status = client.ask(method, "/work", body).await;
            let again = repeated && reused;
            assert_eq!(status, if again { 200 } else { 502 }, "{case}");
            let requests = backend.requests();
            let work: Vec<_> = requests
                .iter()
                .filter(|it| it.target() == "/work")
                .collect();
            assert_eq!(work.len(), 1 + usize::from(again), "{case}");
            let last = work.last().unwrap();
            assert!(!again || last.complete, "{case}");
            assert!(!again || last.body == body.as_bytes(), "{case}");
            ran += 1;
        }
    }
    assert_eq!(ran, 44);
}

/// A client over one protocol or the other.
enum Asking {
    One(Client),
    Two(Http2Client),
}

impl Asking {
    async fn connect(gateway: &Gateway, http2: bool) -> Self {
        match http2 {
            false => Self::One(gateway.client().await),
            true => Self::Two(gateway.http2().await),
        }
    }

    /// The status of the answer to a request.
    async fn ask(&mut self, method: &str, path: &str, body: &str) -> u16 {
        match self {
            Self::One(client) => client.exchange(request(method, path, body)).await.status,
            Self::Two(client) => {
                let request = client.request(method, path);
                let answered = match body {
                    "" => client.fetch(request).await,
                    body => client.post(request, body.to_owned(), None).await,
                };
                answered.unwrap().status.as_u16()
            }
        }
    }
}

/// The same over HTTP/2.
#[tokio::test]
async fn an_http2_connection_that_breaks_unanswered() {
    let cases = [
        ("GET", true, true),
        ("PUT", true, true),
        ("POST", true, false),
        ("GET", false, false),
        ("PUT", false, false),
    ];
    for (method, reused, repeated) in cases {
        let backend = Http2Backend::start(async |mut exchange: Exchange| {
            let warm = exchange.head.uri().path() == "/warm";
            if exchange.connection == 0 && !warm {
                exchange.body().await;
                exchange.cancelled().await;
                return;
            }
            exchange.body().await;
            exchange.respond(204, &[], true);
        })
        .await;
        let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
        let mut client = gateway.client().await;
        if reused {
            warm(&mut client).await;
        }
        let before = backend.log().requests.len();
        client.send(request(method, "/work", "abc")).await;
        let whole = |log: &ferrix_e2e::http2_backend::Log| {
            log.requests.len() == before + 1 && log.requests[before].complete
        };
        backend.wait("the request", whole).await;
        backend.cut();
        let case = format!("{method} {reused}");
        let response = client.response().await;
        assert_eq!(response.status, if repeated { 204 } else { 502 }, "{case}");
        let received = backend.log().requests.len() - before;
        assert_eq!(received, 1 + usize::from(repeated), "{case}");
        assert_eq!(backend.last().body, b"abc", "{case}");
    }
    assert_eq!(cases.len(), 5);
}

/// A body that still comes while its beginning is sent again.
#[tokio::test]
async fn a_body_is_sent_again_from_its_beginning_and_goes_on() {
    for length in ["Content-Length: 6", "Transfer-Encoding: chunked"] {
        let chunked = length.starts_with('T');
        let piece = |text: &str| match chunked {
            true => format!("{:x}\r\n{text}\r\n", text.len()),
            false => text.to_owned(),
        };
        let backend = Backend::start(async |mut connection: Connection| {
            if connection.request().await.is_some() {
                connection.send(ok("done")).await;
                connection.head().await;
                connection.piece().await;
            }
        })
        .await;
        let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
        let mut client = gateway.client().await;
        warm(&mut client).await;
        let head = format!("PUT /work HTTP/1.1\r\nHost: example.com\r\n{length}\r\n\r\n");
        client.send(format!("{head}{}", piece("abc"))).await;
        let repeated = |log: &ferrix_e2e::backend::Log| log.requests.len() == 3;
        backend.wait("the request again", repeated).await;
        let end = if chunked { "0\r\n\r\n" } else { "" };
        client.send(format!("{}{end}", piece("def"))).await;
        assert_eq!(client.response().await.text(), "done");
        assert_eq!(backend.last().body, b"abcdef", "{length}");
        assert_eq!(backend.requests().len(), 3);
    }
}

/// Over HTTP/2 a backend can say that it has not touched a request; then a POST is sent again, too.
#[tokio::test]
async fn what_a_backend_has_not_touched_is_sent_again() {
    let long = "x".repeat(70_000);
    let cases = [
        ("GET", "", 200),
        ("POST", "", 200),
        ("POST", "abc", 200),
        ("POST", long.as_str(), 502),
    ];
    for (method, body, status) in cases {
        let backend = Http2Backend::start(async |mut exchange: Exchange| {
            if exchange.index == 0 {
                exchange.respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            exchange.body().await;
            let mut stream = exchange.respond(200, &[], false);
            let _ = stream.send_data(Bytes::from_static(b"done"), true);
        })
        .await;
        let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
        let mut client = gateway.client().await;
        let response = client.exchange(request(method, "/work", body)).await;
        assert_eq!(response.status, status, "{method} {}", body.len());
        if status == 200 {
            assert_eq!(backend.last().body, body.as_bytes());
            assert_eq!(backend.log().requests.len(), 2);
        }
    }
    assert_eq!(cases.len(), 4);
}

/// All requests of an HTTP/2 connection break at once: they share another, instead of opening one
/// each.
#[tokio::test]
async fn requests_that_broke_together_share_a_connection() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        if exchange.connection == 0 && exchange.head.uri().path() != "/warm" {
            exchange.cancelled().await;
            return;
        }
        exchange.respond(204, &[], true);
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    warm(&mut gateway.client().await).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.client().await;
        client.send(request("GET", "/work", "")).await;
        clients.push(client);
    }
    backend
        .wait("all requests", |log| log.requests.len() == 21)
        .await;
    backend.cut();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 204);
    }
    assert_eq!(backend.log().connections, 2);
    assert_eq!(backend.log().requests.len(), 41);
}
