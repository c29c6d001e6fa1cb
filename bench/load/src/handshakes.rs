//! New TLS connections, one after the other, each with one request: full handshakes, or resumed
//! ones by the tickets of the connection before. rustls tells which it was; any other is an error.
//!
//! The request is there because some servers send their tickets with the first byte of an answer.

use std::{
    io,
    time::{Duration, Instant},
};

use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{arguments::Arguments, tls::Client};

pub async fn run(arguments: &Arguments) -> io::Result<()> {
    let duration = arguments.duration("seconds");
    let mut tasks = Vec::new();
    for _ in 0..arguments.number("connections") {
        let resume = arguments.text("mode") == "resumed";
        let client = Client::new(arguments, "http/1.1", resume)?;
        let (host, path) = (arguments.text("host"), arguments.text("path"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        tasks.push(tokio::spawn(repeat(client, request, resume, duration)));
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

async fn repeat(
    client: Client,
    request: String,
    resume: bool,
    duration: Duration,
) -> (usize, usize) {
    let (mut done, mut errors) = (0, 0);
    let start = Instant::now();
    let mut expected = HandshakeKind::Full;
    while start.elapsed() < duration {
        match once(&client, &request).await {
            Ok(kind) if kind == expected => done += 1, // a first, full one is counted too: 1 of hundreds
            Ok(_) | Err(_) => errors += 1,
        }
        // The first brought the tickets.
        if resume {
            expected = HandshakeKind::Resumed;
        }
    }
    (done, errors)
}

async fn once(client: &Client, request: &str) -> io::Result<HandshakeKind> {
    let mut stream = client.connect().await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    // Without a close_notify the end is an error, though the answer may be whole.
    if end.is_err_and(|error| error.kind() != io::ErrorKind::UnexpectedEof)
        || !answer.starts_with(b"HTTP/1.1 200")
    {
        return Err(io::Error::other("not a good answer"));
    }
    let kind = stream.get_ref().1.handshake_kind();
    kind.ok_or_else(|| io::Error::other("no handshake"))
}
