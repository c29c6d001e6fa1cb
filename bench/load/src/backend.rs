//! What nginx cannot be for the proxies: a backend that reads uploads to their end, sends WebSocket
//! messages back, and answers unary gRPC calls (HTTP/2 without TLS) with what they sent.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::arguments::Arguments;

type Error = Box<dyn std::error::Error + Send + Sync>;

pub async fn run(arguments: &Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(arguments.address()).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let builder = auto::Builder::new(TokioExecutor::new());
    // A proxy that breaks off is seen by the load.
    let _ = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(
    mut request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Error>>, Error> {
    let grpc = request.headers().get(header::CONTENT_TYPE)
        == Some(&HeaderValue::from_static("application/grpc"));
    if request.headers().contains_key(header::UPGRADE) {
        tokio::spawn(echo(hyper::upgrade::on(&mut request)));
        return Ok(Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            // The answer to the one key that the load sends (RFC 6455, section 1.3).
            .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .body(Either::Left(Full::default()))?);
    }
    if grpc {
        let message = request.into_body().collect().await?.to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = Full::new(message).with_trailers(async { Some(Ok(trailers)) });
        return Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Either::Right(body))?);
    }
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Response::new(Either::Left(Full::from("x"))))
}

/// Sends messages back, of up to 125 bytes.
async fn echo(upgrade: hyper::upgrade::OnUpgrade) -> Result<(), Error> {
    let mut stream = TokioIo::new(upgrade.await?);
    let mut frame = [0; 256];
    loop {
        let mut read = stream.read(&mut frame).await?;
        if read == 0 {
            return Ok(());
        }
        while read < 6 || read < 6 + usize::from(frame[1] & 0x7f) {
            let more = stream.read(&mut frame[read..]).await?;
            if more == 0 {
                return Ok(());
            }
            read += more;
        }
        // The load's mask is all zeros: the message stands behind it as it is.
        let head = [frame[0], frame[1] & 0x7f];
        frame[4..6].copy_from_slice(&head);
        stream.write_all(&frame[4..read]).await?;
    }
}
