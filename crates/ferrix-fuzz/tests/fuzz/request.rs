//! Header sections of requests, as the codec reads them.

use bytes::BytesMut;
use ferrix_fuzz::Corpus;
use ferrix_http1::{RequestHead, keeps_alive, request_framing};
use http::Version;

const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "\0",
    "\x7f",
    "é",
    "GET ",
    "POST ",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/2.0",
    "Host: a\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, x\r\n",
    "Upgrade: websocket\r\n",
    " folded\r\n",
];

#[test]
fn request() {
    fuzz!(Corpus::read("request", WORDS), property);
}

fn property(bytes: &[u8]) {
    let Ok(Some((head, length))) = RequestHead::parse(bytes) else {
        return;
    };
    assert!(length <= bytes.len());
    for cut in 0..length {
        assert!(
            matches!(RequestHead::parse(&bytes[..cut]), Ok(None)),
            "{cut}"
        );
    }
    // What is sent on is always HTTP/1.1.
    let mut out = BytesMut::new();
    head.write(&mut out);
    let (again, written) = RequestHead::parse(&out).unwrap().unwrap();
    assert_eq!(written, out.len());
    assert_eq!(again.method, head.method);
    assert_eq!(again.target(), head.target());
    assert!(again.fields.iter().eq(head.fields.iter()));
    assert_eq!(head.fields.clone().into_map().len(), head.fields.len());
    let framing = request_framing(&head);
    if head.version == Version::HTTP_11 {
        // What is refused is not sent on: a blank behind a coding is not written again.
        assert!(framing.is_err() || request_framing(&again) == framing);
        let keeps_alive = |head: &RequestHead| keeps_alive(head.version, &head.fields);
        assert_eq!(keeps_alive(&again), keeps_alive(&head));
    }
}
