//! Streams of requests.

use std::{cell::RefCell, collections::BTreeMap, convert::Infallible};

use bytes::{Buf, Bytes, BytesMut};
use ferrix_http1::{Decoder, Fields, RequestHead, keeps_alive, request_framing};
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1::Builder, service::service_fn};
use tokio::{io::AsyncWriteExt, runtime::Runtime};

use crate::{
    generate::{Random, requests},
    message::{Lines, Pipe, decode, framed_once, lines},
};

const CASES: usize = 24_000;

#[derive(Debug, PartialEq)]
struct Message {
    method: String,
    target: String,
    version: Version,
    fields: Lines,
    body: String,
    trailers: Lines,
}

/// The requests of a connection, and why no more came.
#[derive(Debug)]
struct Run {
    messages: Vec<Message>,
    end: End,
    /// Why hyper may refuse a request that is accepted here, one for each.
    reasons: Vec<Option<Reason>>,
}

#[derive(Debug, PartialEq)]
enum End {
    /// Whatever was sent has been read.
    Complete,
    /// The client wanted no more requests, or had no right to them.
    Closed,
    CutShort,
    Refused(String),
}

/// Why a request that is accepted here is refused by hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// hyper takes targets apart, and refuses what is not UTF-8; here they are opaque, and the proxy
    /// checks what it forwards.
    Target,
    /// A list of equal lengths is one length (RFC 9110, section 8.6).
    LengthList,
    /// A length beside a coding means nothing, valid or not, and the connection ends (RFC 9112,
    /// section 6.3).
    LengthBesideCoding,
}

#[test]
fn requests_are_read_as_hyper_reads_them() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut random = Random::new(0x5eed_0001);
    let mut outcomes = BTreeMap::<String, usize>::new();
    let mut accepted = 0;
    for _ in 0..CASES {
        let bytes = requests(&mut random);
        let (ours, theirs) = (ours(&bytes), theirs(&runtime, &bytes));
        let outcome = compare(&ours, &theirs).unwrap_or_else(|| {
            panic!(
                "{}\n ours: {ours:#?}\n hyper's: {theirs:#?}",
                bytes.escape_ascii()
            )
        });
        accepted += ours.messages.len().min(theirs.messages.len());
        *outcomes.entry(outcome).or_default() += 1;
    }
    let count = |outcome: &str| outcomes.get(outcome).copied().unwrap_or_default();
    println!("{accepted} requests accepted by both; {outcomes:#?}");
    assert_eq!(outcomes.values().sum::<usize>(), CASES);
    assert!(accepted > 14_000);
    assert!(count("same") > 6_000);
    assert!(count("both refuse") > 10_000);
    assert!(count("cut short") > 500);
    assert!(count("other end") < 500);
    // None of the reasons is out of date.
    let reasons = [
        Reason::Target,
        Reason::LengthList,
        Reason::LengthBesideCoding,
    ];
    for reason in reasons {
        assert!(
            count(&format!("hyper refuses: {reason:?}")) > 10,
            "{reason:?}"
        );
    }
    // What hyper accepts is refused here for these reasons only: codings that are not ASCII before
    // the last line or have a blank behind them, extensions of chunks that are none by the grammar,
    // and LF alone.
    assert!(count("refused here: invalid Transfer-Encoding") > 0);
    assert!(count("refused here: invalid chunk size") > 0);
    assert!(count("refused here: invalid trailer section") > 0);
    let line_feed = "a line of the header section ends in LF without CR";
    assert!(count(&format!("refused here: {line_feed}")) > 0);
    assert_eq!(outcomes.len(), 4 + reasons.len() + 4);
}

/// What came of a stream. `None`: what may not be.
fn compare(ours: &Run, theirs: &Run) -> Option<String> {
    let both = ours.messages.len().min(theirs.messages.len());
    if ours.messages[..both] != theirs.messages[..both] {
        return None;
    }
    if ours.messages.len() > both {
        let reason = ours.reasons[both]?;
        return matches!(theirs.end, End::Refused(_)).then(|| format!("hyper refuses: {reason:?}"));
    }
    if theirs.messages.len() > both {
        return match &ours.end {
            End::Refused(error) => Some(format!("refused here: {error}")),
            // It reads on where we would wait, or stop.
            _ => None,
        };
    }
    Some(match (&ours.end, &theirs.end) {
        (End::Refused(_), End::Refused(_)) => "both refuse".to_owned(),
        // hyper does not tell these two.
        (End::Complete | End::Closed, End::Complete) => "same".to_owned(),
        (End::CutShort, End::CutShort) => "cut short".to_owned(),
        // Neither accepts what is last: empty lines, say, or an invalid body without its end.
        _ => "other end".to_owned(),
    })
}

fn ours(bytes: &[u8]) -> Run {
    let mut run = Run {
        messages: Vec::new(),
        end: End::Complete,
        reasons: Vec::new(),
    };
    let mut read = BytesMut::from(bytes);
    while run.end == End::Complete && !read.is_empty() {
        match read_one(&mut read) {
            Ok((message, reason, goes_on)) => {
                run.messages.push(message);
                run.reasons.push(reason);
                if !goes_on {
                    run.end = End::Closed;
                }
            }
            Err(end) => run.end = end,
        }
    }
    run
}

/// A request, why hyper might refuse it, and whether another one may follow.
fn read_one(read: &mut BytesMut) -> Result<(Message, Option<Reason>, bool), End> {
    let refused = |error: &dyn std::error::Error| End::Refused(error.to_string());
    let parsed = RequestHead::parse(read).map_err(|error| refused(&error))?;
    let (head, length) = parsed.ok_or(End::CutShort)?;
    let first = read.trim_ascii_start().split(|byte| *byte == b'\n').next();
    let is_utf8 = std::str::from_utf8(first.unwrap_or_default()).is_ok();
    read.advance(length);
    let framing = request_framing(&head).map_err(|error| refused(&error))?;
    let body = decode(Decoder::strict(framing), read).map_err(|error| refused(&error))?;
    let (body, trailers) = body.ok_or(End::CutShort)?;
    let both = head.fields.contains("transfer-encoding") && head.fields.contains("content-length");
    let goes_on = keeps_alive(head.version, &head.fields) && !both;
    let target = Uri::from_maybe_shared(Bytes::copy_from_slice(head.target()));
    let reason = match &target {
        Err(_) => Some(Reason::Target),
        Ok(_) if !is_utf8 => Some(Reason::Target),
        Ok(_) => framing_reason(&head.fields),
    };
    let message = Message {
        method: head.method.to_string(),
        // hyper shows it as it understood it, without a fragment for one.
        target: target.map_or_else(|_| "not for hyper".to_owned(), |target| target.to_string()),
        version: head.version,
        fields: fields(head.fields.into_map()),
        body,
        trailers,
    };
    Ok((message, reason, goes_on))
}

fn framing_reason(fields: &Fields) -> Option<Reason> {
    let coded = fields.contains("transfer-encoding");
    let no_number = |length: &[u8]| length.iter().any(|byte| !byte.is_ascii_digit());
    if coded && fields.contains("content-length") {
        Some(Reason::LengthBesideCoding)
    } else if fields.get_all("content-length").any(no_number) {
        Some(Reason::LengthList)
    } else {
        None
    }
}

fn fields(mut map: http::HeaderMap) -> Lines {
    framed_once(&mut map);
    let mut lines = lines(&map);
    // hyper takes a length out from before a coding, and the last field comes in its place.
    if map.contains_key("transfer-encoding") {
        lines.sort_by(|one, other| one.0.cmp(&other.0));
    }
    lines
}

fn theirs(runtime: &Runtime, bytes: &[u8]) -> Run {
    let seen = RefCell::new((Vec::new(), None));
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        match body.collect().await {
            Ok(body) => {
                let trailers = body.trailers().map(lines).unwrap_or_default();
                let message = Message {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    version: head.version,
                    fields: fields(head.headers),
                    body: body.to_bytes().escape_ascii().to_string(),
                    trailers,
                };
                seen.borrow_mut().0.push(message);
            }
            Err(error) => seen.borrow_mut().1 = Some(end(&error)),
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let served = runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut builder = Builder::new();
        builder.half_close(true).max_headers(256);
        builder.serve_connection(Pipe(server), service).await
    });
    let (messages, body_end) = seen.into_inner();
    let end = match (body_end, served) {
        (Some(end), _) => end,
        (None, Ok(())) => End::Complete,
        (None, Err(error)) => end(&error),
    };
    Run {
        messages,
        end,
        reasons: Vec::new(),
    }
}

fn end(error: &hyper::Error) -> End {
    use std::error::Error;
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    let cut_short = error.is_incomplete_message()
        || source.contains("EOF")
        || source.contains("end of file before message length");
    match cut_short {
        true => End::CutShort,
        false => End::Refused(format!("{error}: {source}")),
    }
}
