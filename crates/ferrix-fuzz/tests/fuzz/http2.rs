//! HTTP/2 frames in any order through a whole exchange, to a backend that reads strictly.
//!
//! An input is a text with a frame in each line: type, flags, stream, and pieces of payload. What is no
//! such line is left out, so that an edit changes a frame or two.
//!
//! ```text
//!  headers 5 1 get a=b        fields, behind those that every GET has
//!  headers 4 3 post ~a=b @62  a field that is put into the table, and one that is taken from it
//!  data 1 3 *100 !50          a hundred bytes, in a frame that says it has fifty
//!  window 0 0 +1              a number of 32 bits
//!  99 0 0 %00ff               bytes
//! ```

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
};

use ferrix_e2e::{
    Gateway, Routes,
    frames::{Frames, block, frame, kind},
    wire::{Head, ReadError, Reader},
};
use ferrix_fuzz::Corpus;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

const WORDS: &[&str] = &[
    "\n",
    " ",
    "headers 5 1 get\n",
    "headers 4 1 post\n",
    "headers 5 3 get a=b\n",
    "headers 0 5 get\n",
    "headers 4 1 a=b\n",
    "headers 5 1 a=b\n",
    "headers 5 7 get content-length=5\n",
    "headers 4 7 post content-length=5\n",
    "headers 37 9 +3 %10 get\n",
    "continuation 0 5 a=b\n",
    "continuation 4 5 a=b\n",
    "data 0 1 *10\n",
    "data 1 1 *5\n",
    "data 1 3\n",
    "data 9 1 %02 *5\n",
    "reset 0 1 +8\n",
    "priority 0 1 +3 %10\n",
    "settings 0 0\n",
    "settings 0 0 %0004 +0\n",
    "settings 0 0 %0001 +0\n",
    "settings 1 0\n",
    "ping 0 0 *8\n",
    "ping 1 0 *8\n",
    "goaway 0 0 +0 +0\n",
    "window 0 0 +1\n",
    "window 0 1 +2147483647\n",
    "window 0 1 +0\n",
    "push 4 1 +2 get\n",
    "99 0 0 *9\n",
    ":path=/a",
    ":path=*",
    ":method=HEAD",
    ":method=CONNECT",
    ":scheme=https",
    ":authority=b",
    "host=b",
    "te=trailers",
    "connection=close",
    "transfer-encoding=chunked",
    "content-length=0",
    "expect=100-continue",
    "cookie=a",
    "~a=b",
    "@62",
    "@0",
    "%3f",
    "%0a",
    "*20000",
    "!0",
    "!16384",
    "!16385",
];

#[test]
fn http2() {
    fuzz!(Corpus::read("http2", WORDS), property);
    let requests = SITE.seen.lock().unwrap().requests;
    assert!(
        requests > 20,
        "only {requests} requests reached the backend"
    );
}

/// One for all inputs.
static SITE: LazyLock<Site> = LazyLock::new(Site::start);

struct Site {
    runtime: Runtime,
    gateway: Gateway,
    seen: Arc<Mutex<Seen>>,
}

/// What the backend has seen.
#[derive(Debug, Default)]
struct Seen {
    requests: usize,
    violations: Vec<String>,
}

/// What is still due is over soon.
const SETTINGS: &str = "{timeouts: {header: 100ms, body: 100ms, write: 100ms, keep_alive: 200ms}, \
                        http2: {streams: 5}}";

/// The payload of a ping that no input has.
const LAST: [u8; 8] = *b"the last";

fn property(text: &[u8]) {
    let bytes: Vec<u8> = text.split(|byte| *byte == b'\n').flat_map(line).collect();
    let site = &*SITE;
    site.runtime.block_on(async {
        let mut frames = Frames::connect(site.gateway.web, &[]).await;
        frames.send(&bytes).await;
        frames.send(&frame(kind::PING, 0, 0, &LAST)).await;
        // Answered to the last frame, told to go, or closed; waiting longer panics.
        while let Some(frame) = frames.next().await {
            let answered = frame.kind == kind::PING && frame.payload[..] == LAST;
            if answered || frame.kind == kind::GOAWAY {
                break;
            }
        }
    });
    assert_eq!(site.gateway.counters().panics.get(), 0);
    let seen = site.seen.lock().unwrap();
    assert!(seen.violations.is_empty(), "{seen:?}");
}

/// The frame of a line; nothing where it is none.
fn line(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    let kind = match words.next().unwrap_or_default() {
        "data" => Some(kind::DATA),
        "headers" => Some(kind::HEADERS),
        "priority" => Some(kind::PRIORITY),
        "reset" => Some(kind::RST_STREAM),
        "settings" => Some(kind::SETTINGS),
        "push" => Some(5),
        "ping" => Some(kind::PING),
        "goaway" => Some(kind::GOAWAY),
        "window" => Some(kind::WINDOW_UPDATE),
        "continuation" => Some(kind::CONTINUATION),
        number => number.parse().ok(),
    };
    let flags = words.next().and_then(|it| it.parse().ok());
    let stream = words.next().and_then(|it| it.parse().ok());
    let (Some(kind), Some(flags), Some(stream)) = (kind, flags, stream) else {
        return Vec::new();
    };
    let (mut payload, mut length) = (Vec::new(), None);
    for word in words {
        match word.strip_prefix('!') {
            Some(said) => length = said.parse::<u32>().ok(),
            None => payload.extend(piece(word)),
        }
    }
    payload.truncate(1 << 17);
    let mut bytes = frame(kind, flags, stream, &payload);
    if let Some(length) = length {
        bytes[..3].copy_from_slice(&length.to_be_bytes()[1..]);
    }
    bytes
}

/// A piece of payload.
fn piece(word: &str) -> Vec<u8> {
    let start = |method| {
        let authority = (":authority", "example.com");
        block(&[
            (":method", method),
            (":scheme", "http"),
            authority,
            (":path", "/"),
        ])
    };
    let (sign, rest) = word.split_at_checked(1).unwrap_or_default();
    let number = rest.parse::<u32>().unwrap_or_default();
    match (word, sign) {
        ("get", _) => start("GET"),
        ("post", _) => start("POST"),
        (_, "+") => number.to_be_bytes().into(),
        (_, "*") => vec![b'x'; number.min(1 << 17) as usize],
        (_, "@") => vec![0x80 | number as u8],
        (_, "%") => rest.as_bytes().chunks(2).filter_map(hexadecimal).collect(),
        (_, "~") => {
            let mut field = field(rest);
            // With a literal that is put into the table (RFC 7541, section 6.2.1).
            if let Some(first) = field.first_mut() {
                *first = 0x40;
            }
            field
        }
        _ => field(word),
    }
}

fn field(word: &str) -> Vec<u8> {
    let named = word.split_once('=').filter(|(name, _)| !name.is_empty());
    named.map(|field| block(&[field])).unwrap_or_default()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

impl Site {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let seen = Arc::default();
        let backend = runtime.block_on(backend(Arc::clone(&seen)));
        let gateway = Gateway::start_with(SETTINGS, Routes::all_to(&[backend]));
        let site = Self {
            runtime,
            gateway,
            seen,
        };
        site.is_whole();
        site
    }

    /// What is well formed gets to the backend and back, or the target would find nothing.
    fn is_whole(&self) {
        self.runtime.block_on(async {
            let mut frames = Frames::connect(self.gateway.web, &[]).await;
            frames.send(&line(b"headers 5 1 get")).await;
            let answer = frames.next_of(kind::DATA).await.unwrap();
            assert_eq!(answer.payload, &b"GET / HTTP/1.1"[..]);
        });
        assert_eq!(self.seen.lock().unwrap().requests, 1);
    }
}

/// Answers each request with its first line, and reads as strictly as any server may.
async fn backend(seen: Arc<Mutex<Seen>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                // A connection that ends within a request is that of a client that left.
                if let Err(ReadError::Invalid(reason)) = serve(stream, &seen).await {
                    seen.lock().unwrap().violations.push(reason);
                }
            });
        }
    });
    address
}

async fn serve(stream: TcpStream, seen: &Mutex<Seen>) -> Result<(), ReadError> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = Reader::new(reader);
    while let Some(head) = reader.head().await? {
        let mut body = head.request_body()?;
        well_formed(&head).map_err(ReadError::Invalid)?;
        reader.rest(&mut body).await?;
        seen.lock().unwrap().requests += 1;
        let answer = match head.word(0) {
            "HEAD" => "",
            _ => &head.start,
        };
        let length = head.start.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}");
        if writer.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// What no request may have that goes on.
fn well_formed(head: &Head) -> Result<(), String> {
    let complain = |what: &str| Err(format!("{what}: {}", head.raw.escape_ascii()));
    if !head.word(1).starts_with('/') && (head.word(0), head.word(1)) != ("OPTIONS", "*") {
        return complain("a strange target");
    }
    if head.start.split(' ').count() != 3 || head.word(2) != "HTTP/1.1" {
        return complain("a strange first line");
    }
    if head.all("host").len() != 1 || head.all("host") == [""] {
        return complain("not one Host");
    }
    let dropped = ["connection", "keep-alive", "proxy-connection", "upgrade"];
    if dropped.iter().any(|name| head.has(name)) {
        return complain("a field of the connection");
    }
    let odd = |(name, _): &(String, String)| name.is_empty() || name.contains(':');
    if head.fields.iter().any(odd) {
        return complain("a strange name");
    }
    Ok(())
}
