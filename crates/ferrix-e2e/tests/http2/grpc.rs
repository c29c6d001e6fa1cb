//! gRPC: trailers, messages both ways, cancellation, errors.

use bytes::Bytes;
use ferrix_e2e::{
    Gateway, Http2Backend, Http2Client, Routes,
    backend::Dead,
    http2_backend::Exchange,
    http2_client::{data, send_all},
    within,
};
use ferrix_table::services::Protocol;
use h2::Reason;
use http::Request;

use crate::{fields, with_fields};

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
