//! Header sections of responses, as the codec reads them.

use bytes::BytesMut;
use ferrix_fuzz::Corpus;
use ferrix_http1::{ResponseHead, response_framing};
use http::Method;

const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ",",
    "\0",
    "\x7f",
    "é",
    "HTTP/1.1 200 OK",
    "HTTP/1.0 304",
    "HTTP/1.1 204 ",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 999 ",
    "HTTP/1.1 99 ",
    "Content-Length: 5\r\n",
    "Content-Length: 5, 6\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Connection: close\r\n",
    " folded\r\n",
    "Trailer: x\r\n",
];

#[test]
fn response() {
    fuzz!(Corpus::read("response", WORDS), property);
}

fn property(bytes: &[u8]) {
    let Ok(Some((head, length))) = ResponseHead::parse(bytes) else {
        return;
    };
    assert!(length <= bytes.len());
    for cut in 0..length {
        assert!(
            matches!(ResponseHead::parse(&bytes[..cut]), Ok(None)),
            "{cut}"
        );
    }
    let mut out = BytesMut::new();
    head.write(&mut out);
    let (again, written) = ResponseHead::parse(&out).unwrap().unwrap();
    assert_eq!(written, out.len());
    assert_eq!(again.status, head.status);
    assert!(again.fields.iter().eq(head.fields.iter()));
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        assert_eq!(
            response_framing(&again, &method),
            response_framing(&head, &method)
        );
    }
}
