//! Unary gRPC calls over TLS. A call that fails has status 200 too, so every one is judged by its
//! message and by the `grpc-status` of its trailers, which h2load does not look at.

use std::{io, time::Duration, time::Instant};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderValue, Request, StatusCode};

use crate::{arguments::Arguments, tls::Client};

pub async fn run(arguments: &Arguments) -> io::Result<()> {
    let duration = arguments.duration("seconds");
    let uri = format!(
        "https://{}{}",
        arguments.text("host"),
        arguments.text("path")
    );
    let client = Client::new(arguments, "h2", false)?;
    let mut tasks = Vec::new();
    for _ in 0..arguments.number("connections") {
        let (sender, connection) = h2::client::handshake(client.connect().await?)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        for _ in 0..arguments.number("streams") {
            tasks.push(tokio::spawn(repeat(sender.clone(), uri.clone(), duration)));
        }
    }
    let (mut done, mut errors) = (0, 0);
    for task in tasks {
        let (own, wrong) = task.await.map_err(io::Error::other)?;
        done += own;
        errors += wrong;
    }
    println!(r#"{{"requests":{done},"errors":{errors}}}"#);
    Ok(())
}

async fn repeat(sender: SendRequest<Bytes>, uri: String, duration: Duration) -> (usize, usize) {
    let (mut done, mut errors) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < duration && errors == 0 {
        match call(sender.clone(), &uri).await {
            Ok(true) => done += 1,
            Ok(false) | Err(_) => errors += 1,
        }
    }
    (done, errors)
}

/// Whether the message came back, with the status OK.
async fn call(
    sender: SendRequest<Bytes>,
    uri: &str,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    // Not compressed, 100 bytes.
    let mut message = BytesMut::from(&[0, 0, 0, 0, 100][..]);
    message.extend_from_slice(&[b'x'; 100]);
    let message = message.freeze();
    let request = Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut sender = sender.ready().await?;
    let (response, mut body) = sender.send_request(request, false)?;
    body.send_data(message.clone(), true)?;
    let mut response = response.await?;
    let good = response.status() == StatusCode::OK;
    let body = response.body_mut();
    let mut echo = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        echo.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    let status = trailers.get("grpc-status");
    Ok(good && echo == message && status == Some(&HeaderValue::from_static("0")))
}
