//! WebSocket messages that come back: on each connection one is under way at any time.

use std::{io, time::Duration, time::Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::arguments::Arguments;

/// Small enough that the frame's length needs one byte.
const MESSAGE: [u8; 100] = [b'x'; 100];

pub async fn run(arguments: &Arguments) -> io::Result<()> {
    let duration = arguments.duration("seconds");
    let address = arguments.address();
    let (host, path) = (arguments.text("host"), arguments.text("path"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut tasks = Vec::new();
    for _ in 0..arguments.number("connections") {
        let stream = open(address, &request).await?;
        tasks.push(tokio::spawn(talk(stream, duration)));
    }
    let (mut done, mut errors) = (0, 0);
    for task in tasks {
        match task.await.map_err(io::Error::other)? {
            Ok(own) => done += own,
            Err(_) => errors += 1,
        }
    }
    println!(r#"{{"requests":{done},"errors":{errors}}}"#);
    Ok(())
}

async fn open(address: (&'static str, u16), request: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    // Nothing follows the head before the first message.
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    match head.starts_with(b"HTTP/1.1 101") {
        true => Ok(stream),
        false => Err(io::Error::other("not upgraded")),
    }
}

async fn talk(mut stream: TcpStream, duration: Duration) -> io::Result<usize> {
    // Masked, as a client's must be; with a mask of zeros, which changes nothing.
    let mut frame = vec![0x82, 0x80 | MESSAGE.len() as u8, 0, 0, 0, 0];
    frame.extend(MESSAGE);
    let mut echo = vec![0; 2 + MESSAGE.len()];
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < duration {
        stream.write_all(&frame).await?;
        stream.read_exact(&mut echo).await?;
        if echo[..2] != [0x82, MESSAGE.len() as u8] || echo[2..] != MESSAGE {
            return Err(io::Error::other("another message"));
        }
        done += 1;
    }
    Ok(done)
}
