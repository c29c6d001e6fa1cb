//! Responses, each on a connection of its own.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};
use ferrix_http1::{Decoder, ResponseHead, keeps_alive, response_framing};
use http::{HeaderMap, Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::Builder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    join,
    runtime::Runtime,
};

use crate::{
    generate::{Random, response},
    message::{Lines, Pipe, decode, framed_once, lines},
};

const CASES: usize = 20_000;

#[derive(Debug, PartialEq)]
struct Message {
    status: u16,
    version: Version,
    fields: Lines,
    body: String,
    trailers: Lines,
}

/// Why a response that is accepted here is refused by hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// Old servers send codings in HTTP/1.0; the connection ends after it (RFC 9112, section 6.1).
    OldCoding,
    /// One field with an impossible name, or a control character, does not cost a response.
    Oddity,
}

#[test]
fn responses_are_read_as_hyper_reads_them() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut random = Random::new(0x5eed_0002);
    let mut outcomes = BTreeMap::<String, usize>::new();
    for case in 0..CASES {
        let method = if case % 8 == 0 {
            Method::HEAD
        } else {
            Method::GET
        };
        let bytes = response(&mut random);
        let (ours, theirs) = (ours(&bytes, &method), theirs(&runtime, &bytes, &method));
        let outcome = match (&ours, &theirs) {
            (Ok((ours, _)), Ok(theirs)) if ours == theirs => "same".to_owned(),
            (Ok((_, Some(reason))), Err(_)) => format!("hyper refuses: {reason:?}"),
            (Err(_), Err(_)) => "both refuse".to_owned(),
            (Err(error), Ok(_)) => format!("refused here: {error}"),
            (Ok(_), _) => panic!(
                "{method} {}\n ours: {ours:#?}\n hyper's: {theirs:#?}",
                bytes.escape_ascii()
            ),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    let count = |outcome: &str| outcomes.get(outcome).copied().unwrap_or_default();
    println!("{outcomes:#?}");
    assert_eq!(outcomes.values().sum::<usize>(), CASES);
    assert!(count("same") > 5_000);
    assert!(count("both refuse") > 4_000);
    assert!(count("hyper refuses: OldCoding") > 100);
    assert!(count("hyper refuses: Oddity") > 50);
    // hyper does not look at the framing of what has no body, and takes any list of codings.
    assert!(count("refused here: invalid Content-Length") > 50);
    assert!(count("refused here: invalid Transfer-Encoding") > 5);
    assert!(count("refused here: invalid chunk size") > 0);
    assert!(count("refused here: invalid trailer section") > 0);
    assert_eq!(outcomes.len(), 8);
}

type Ours = Result<(Message, Option<Reason>), String>;

/// The response after all interim ones, and why hyper might not see it so.
fn ours(bytes: &[u8], method: &Method) -> Ours {
    let mut read = BytesMut::from(bytes);
    let mut odd = false;
    let head = loop {
        let parsed = ResponseHead::parse(&read).map_err(|error| error.to_string())?;
        let (head, length) = parsed.ok_or("cut short")?;
        read.advance(length);
        odd |= !head.oddities.is_empty();
        if !head.status.is_informational() || head.status == 101 {
            break head;
        }
    };
    let framing = response_framing(&head, method).map_err(|error| error.to_string())?;
    let body = decode(Decoder::new(framing), &mut read).map_err(|error| error.to_string())?;
    let (body, trailers) = body.ok_or("cut short")?;
    let reason = reason(&head).or(odd.then_some(Reason::Oddity));
    let message = Message {
        status: head.status.as_u16(),
        version: head.version,
        fields: fields(head.fields.into_map()),
        body,
        trailers,
    };
    Ok((message, reason))
}

fn reason(head: &ResponseHead) -> Option<Reason> {
    let old = head.version == Version::HTTP_10 && head.fields.contains("transfer-encoding");
    assert!(!old || !keeps_alive(head.version, &head.fields));
    old.then_some(Reason::OldCoding)
}

/// hyper makes one space of a fold, and of the spaces and tabs around it.
fn fields(mut map: HeaderMap) -> Lines {
    framed_once(&mut map);
    let mut lines = lines(&map);
    for (_, value) in &mut lines {
        let spaces = value.replace("\\t", " ");
        *value = spaces
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
    }
    lines
}

fn theirs(runtime: &Runtime, bytes: &[u8], method: &Method) -> Result<Message, hyper::Error> {
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header("host", "a");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    runtime.block_on(async {
        let (client, server) = tokio::io::duplex(1 << 16);
        let mut builder = Builder::new();
        builder.max_headers(256);
        builder.allow_spaces_after_header_name_in_responses(true);
        builder.allow_obsolete_multiline_headers_in_responses(true);
        let (mut sender, connection) = builder.handshake(Pipe(client)).await?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?;
            drop(sender);
            let trailers = body.trailers().map(lines).unwrap_or_default();
            Ok(Message {
                status: head.status.as_u16(),
                version: head.version,
                fields: fields(head.headers),
                body: body.to_bytes().escape_ascii().to_string(),
                trailers,
            })
        };
        join!(exchange, connection, respond(server, bytes)).0
    })
}

/// Answers the request with these bytes, and closes.
async fn respond(mut server: tokio::io::DuplexStream, bytes: &[u8]) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        server.read_buf(&mut request).await.unwrap();
    }
    // hyper may have closed at what it read so far.
    let _ = server.write_all(bytes).await;
    let _ = server.shutdown().await;
}
