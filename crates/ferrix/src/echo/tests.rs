use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;

async fn connect() -> BufReader<TcpStream> {
    let echo = Echo::bind("127.0.0.1:0".parse().unwrap(), "one")
        .await
        .unwrap();
    let address = echo.address();
    tokio::spawn(echo.serve(std::future::pending()));
    BufReader::new(TcpStream::connect(address).await.unwrap())
}

/// The header section of an answer, in lower case.
async fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "{head}");
    }
    head.to_ascii_lowercase()
}

#[tokio::test]
async fn says_what_it_was_asked() {
    let mut stream = connect().await;
    let request = "POST /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Two: 1\r\nX-Two: 2\r\n\
                   Content-Length: 5\r\nConnection: close\r\n\r\nhello";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    let mut body = String::new();
    stream.read_to_string(&mut body).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["name"], "one");
    assert_eq!(json["method"], "POST");
    assert_eq!(json["path"], "/a?b=c");
    assert_eq!(json["host"], "example.com");
    assert_eq!(json["protocol"], "HTTP/1.1");
    assert_eq!(json["headers"]["x-two"], serde_json::json!(["1", "2"]));
    assert_eq!(json["body_bytes"], 5);
}

#[tokio::test]
async fn streams_events() {
    let mut stream = connect().await;
    let request = "GET /sse?count=2&interval=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    assert!(
        head.contains("content-type: text/event-stream\r\n"),
        "{head}"
    );
    let mut body = String::new();
    stream.read_to_string(&mut body).await.unwrap();
    assert!(body.contains("id: 0\ndata: one\n\n"), "{body}");
    assert!(body.contains("id: 1\ndata: one\n\n"), "{body}");
}

#[tokio::test]
async fn speaks_websocket() {
    let mut stream = connect().await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    // The example of RFC 6455, section 1.3; header values keep their case.
    assert!(
        head.contains(&"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_ascii_lowercase()),
        "{head}"
    );

    for size in [5, 126, 70_000] {
        let payload = vec![b'x'; size];
        let mut frame = vec![0x82];
        match size {
            5 => frame.push(0x80 | 5),
            126 => frame.extend([0x80 | 126, 0, 126]),
            _ => {
                frame.push(0x80 | 127);
                frame.extend((size as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(
            payload
                .iter()
                .zip([1, 2, 3, 4].iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        stream.write_all(&frame).await.unwrap();
        assert_eq!(
            read_frame(&mut stream).await.unwrap(),
            Some((0x82, payload))
        );
    }
    stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap(), Some((0x8A, vec![])));
    stream
        .write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8])
        .await
        .unwrap();
    assert_eq!(
        read_frame(&mut stream).await.unwrap(),
        Some((0x88, vec![0x03, 0xE8]))
    );
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}
