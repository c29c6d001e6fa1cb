//! How much memory one HTTP/2 client can make the built program hold, and for how long.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees tests only in functions marked as such"
)]

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
};

/// Attackers, so that what each of them costs is seen beside everything else.
const CONNECTIONS: u64 = 10;

/// Streams of each, which are as many as may be open.
const STREAMS: u32 = 100;

/// What a connection may cost.
const MOST: u64 = 4 << 20;

/// What may be left of that when its streams have ended: among other things the table of its header
/// fields, each entry of which may lie in a large frame.
const LEFT: u64 = 3 << 19;

/// And how soon.
const SOON: Duration = Duration::from_secs(10);

const MANIFESTS: &str = "\
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {name: route, namespace: default}
spec:
  entrypoint: web
  route:
    host: example.com
    rules:
      - service: {name: backend, port: 80}
---
apiVersion: v1
kind: Service
metadata: {name: backend, namespace: default}
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: backend
  namespace: default
  labels: {kubernetes.io/service-name: backend}
addressType: IPv4
ports: [{name: http, port: PORT}]
endpoints:
  - addresses: [127.0.0.1]
    conditions: {ready: true}
";

const SETTINGS: &str = "\
entry_points:
  - {name: web, port: 0, address: 127.0.0.1}
admin: {address: '127.0.0.1:0'}
log: {format: json}
server: {threads: 1}
";

/// The program, in a process of its own.
struct Ferrix {
    child: Child,
    web: SocketAddr,
    _folder: TempDir,
}

impl Ferrix {
    fn start(backend: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifests = MANIFESTS.replace("PORT", &backend.to_string());
        fs::create_dir(folder.path().join("manifests")).unwrap();
        fs::write(folder.path().join("manifests/all.yaml"), manifests).unwrap();
        fs::write(folder.path().join("ferrix.yaml"), SETTINGS).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ferrix"))
            .current_dir(folder.path())
            .args(["run", "--config", "ferrix.yaml", "--files", "manifests"])
            .env_remove("FERRIX_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut web = None;
        loop {
            let mut line = String::new();
            let read = std::io::BufRead::read_line(&mut log, &mut line).unwrap();
            assert_ne!(read, 0, "it ended before it served");
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            match line["message"].as_str().unwrap() {
                "listening" => web = line["address"].as_str().unwrap().parse().ok(),
                "serving" => break,
                _ => {}
            }
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            child,
            web: web.unwrap(),
            _folder: folder,
        }
    }

    /// What others ask for.
    async fn get(&self) {
        let mut stream = TcpStream::connect(self.web).await.unwrap();
        let request = b"GET /ok HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Bytes of memory that are its own.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:"));
        let line = line.expect("it has not ended");
        let kib = line.trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Ferrix {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers `/` never, `/ok` at once, and `/large` with ten megabytes.
async fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    while line != "\r\n" {
                        line.clear();
                        stream.read_line(&mut line).await.unwrap();
                    }
                    line.clear();
                    let length = match &*path {
                        "/ok" => 2,
                        "/large" => 10 << 20,
                        _ => continue,
                    };
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                    let sent = async {
                        stream.write_all(head.as_bytes()).await?;
                        stream.write_all(&vec![b'x'; length]).await
                    };
                    if sent.await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// A frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    bytes.extend_from_slice(payload);
    bytes
}

/// A string of a header block, not compressed (RFC 7541, section 5.2).
fn text(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match u8::try_from(text.len()) {
        Ok(length) if length < 127 => bytes.push(length),
        _ => {
            bytes.push(127);
            let mut rest = text.len() - 127;
            while rest > 127 {
                bytes.push((rest & 127) as u8 | 128);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend_from_slice(text);
    bytes
}

/// A field that becomes the newest of the dynamic table, where [`NEWEST`] refers to it.
fn indexed(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0x40], text(name), text(value)].concat()
}

/// One byte for a whole field.
const NEWEST: u8 = 0x80 | 62;

/// A GET with these fields, whole.
fn get(stream: u32, path: &str, fields: &[u8]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04];
    block.extend_from_slice(&text(path.as_bytes()));
    block.push(0x01);
    block.extend_from_slice(&text(b"example.com"));
    block.extend_from_slice(fields);
    frame(1, 5, stream, &block)
}

/// A client that reads what comes and grants no window.
struct Client {
    stream: OwnedWriteHalf,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut read, mut stream) = stream.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        // SETTINGS_INITIAL_WINDOW_SIZE of 0.
        let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        stream
            .write_all(&[&preface[..], &settings].concat())
            .await
            .unwrap();
        Self { stream }
    }
}

/// What a client sends first, and what for each stream.
struct Attack {
    what: &'static str,
    first: Vec<u8>,
    path: &'static str,
    fields: fn(u32) -> Vec<u8>,
}

fn attacks() -> Vec<Attack> {
    let attack = |what, path, first, fields| Attack {
        what,
        first: get(1, "/ok", first),
        path,
        fields,
    };
    vec![
        attack(
            "as many fields as the list may have",
            "/",
            &indexed(b"a", b""),
            |_| vec![NEWEST; 1200],
        ),
        attack(
            "as many fields as a request may have",
            "/",
            &indexed(b"a", b""),
            |_| vec![NEWEST; 190],
        ),
        attack(
            "as many bytes as a request may have",
            "/",
            &indexed(b"a", &[b'x'; 4000]),
            |_| vec![NEWEST; 7],
        ),
        attack(
            "a cookie in pieces",
            "/",
            &indexed(b"cookie", &[b'x'; 4000]),
            |_| vec![NEWEST; 7],
        ),
        attack("a small entry of each large section", "/ok", b"", |_| {
            let large = [vec![0x10], text(b"a"), text(&[b'x'; 16_000])].concat();
            [indexed(b"b", b"y"), large].concat()
        }),
        attack("responses that are not taken", "/large", b"", |_| {
            Vec::new()
        }),
    ]
}

#[tokio::test]
async fn a_client_holds_little_and_not_for_long() {
    let backend = backend().await;
    let mut figures = Vec::new();
    for attack in attacks() {
        let Attack {
            what,
            first,
            path,
            fields,
        } = attack;
        let ferrix = Ferrix::start(backend);
        for _ in 0..20 {
            ferrix.get().await;
        }
        let before = ferrix.memory();
        let mut clients = Vec::new();
        let mut most = before;
        for _ in 0..CONNECTIONS {
            let mut client = Client::connect(ferrix.web).await;
            client.stream.write_all(&first).await.unwrap();
            for stream in 0..STREAMS {
                let stream = stream * 2 + 3;
                let request = get(stream, path, &fields(stream));
                client.stream.write_all(&request).await.unwrap();
                most = most.max(ferrix.memory());
            }
            clients.push(client);
        }
        let held = Instant::now() + Duration::from_secs(1);
        while Instant::now() < held {
            most = most.max(ferrix.memory());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for client in &mut clients {
            let streams = (0..STREAMS).map(|stream| stream * 2 + 3);
            let resets = streams.flat_map(|it| frame(3, 0, it, &8_u32.to_be_bytes()));
            client
                .stream
                .write_all(&resets.collect::<Vec<_>>())
                .await
                .unwrap();
        }
        let ended = Instant::now();
        let mut left = ferrix.memory();
        while ended.elapsed() < SOON && left > before + CONNECTIONS * LEFT {
            tokio::time::sleep(Duration::from_millis(50)).await;
            left = ferrix.memory();
        }
        let kib = |bytes: u64| bytes.saturating_sub(before) / CONNECTIONS / 1024;
        println!(
            "{what}: at most {} KiB a connection, {} KiB after {:?}",
            kib(most),
            kib(left),
            ended.elapsed()
        );
        figures.push((what, kib(most), kib(left)));
        drop(clients);
    }
    for (what, most, left) in &figures {
        assert!(most * 1024 <= MOST, "{what}: {most} KiB a connection");
        assert!(left * 1024 <= LEFT, "{what}: {left} KiB left");
    }
    assert_eq!(figures.len(), 6);
}
