//! Connections that stay open and idle, after one request on each. Prints how many there are, and
//! closes them when its standard input ends.

use std::io;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{arguments::Arguments, tls::Client};

#[expect(dead_code, reason = "held so that they stay open")]
enum Open {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Http2(SendRequest<Bytes>),
}

pub async fn run(arguments: &Arguments) -> io::Result<()> {
    let mut open = Vec::new();
    for _ in 0..arguments.number("connections") {
        open.push(connect(arguments).await?);
    }
    println!(r#"{{"requests":{},"errors":0}}"#, open.len());
    // The program ends with the input, whatever waits.
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()))
        .await
        .map_err(io::Error::other)??;
    Ok(())
}

async fn connect(arguments: &Arguments) -> io::Result<Open> {
    match arguments.text("kind") {
        "plain" => {
            let mut stream = TcpStream::connect(arguments.address()).await?;
            ask(&mut stream, arguments).await?;
            Ok(Open::Plain(stream))
        }
        "tls" => {
            let mut stream = Client::new(arguments, "http/1.1", false)?.connect().await?;
            ask(&mut stream, arguments).await?;
            Ok(Open::Tls(Box::new(stream)))
        }
        _ => {
            let stream = Client::new(arguments, "h2", false)?.connect().await?;
            ask_http2(stream, arguments).await.map(Open::Http2)
        }
    }
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    arguments: &Arguments,
) -> io::Result<()> {
    let (host, path) = (arguments.text("host"), arguments.text("path"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await?;
    match answer[..read].starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(io::Error::other("not a good answer")),
    }
}

async fn ask_http2(
    stream: TlsStream<TcpStream>,
    arguments: &Arguments,
) -> io::Result<SendRequest<Bytes>> {
    let (sender, connection) = h2::client::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let uri = format!(
        "https://{}{}",
        arguments.text("host"),
        arguments.text("path")
    );
    let request = Request::get(uri).body(()).map_err(io::Error::other)?;
    let mut sender = sender.ready().await.map_err(io::Error::other)?;
    let (response, _) = sender
        .send_request(request, true)
        .map_err(io::Error::other)?;
    let mut response = response.await.map_err(io::Error::other)?;
    let status = response.status();
    while let Some(data) = response.body_mut().data().await {
        data.map_err(io::Error::other)?;
    }
    match status {
        StatusCode::OK => Ok(sender),
        _ => Err(io::Error::other("not a good answer")),
    }
}
