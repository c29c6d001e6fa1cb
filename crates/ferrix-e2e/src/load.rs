//! Clients that ask without a pause and keep count: for tests in which nothing may be lost.
//!
//! They behave as good clients do: they keep connections, go to a new one when they are told to,
//! and ask again, on another connection, only what a server says it has not touched. Everything
//! else that is not the expected status is a failure.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use h2::Reason;
use http::Request;
use rustls::ClientConfig;
use tokio::{net::TcpStream, sync::watch, task::JoinSet, time::timeout};

use crate::{Client, Http2Client, PATIENCE, gateway};

/// How long a client waits that makes a connection for each request: whoever closes first keeps the port
/// for a minute, and of some 28,000 ports no more than 2,400 are kept by each such client.
const BETWEEN_CONNECTIONS: Duration = Duration::from_millis(25);

/// What to ask, and of whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// The host that is asked for.
    pub host: String,
    /// The path.
    pub path: String,
    /// With TLS, and this configuration; its protocols are set here.
    pub tls: Option<ClientConfig>,
    /// Bytes of a body to send; without any, the request is a GET.
    pub body: usize,
    /// Whether HTTP/1 clients make a connection for each request.
    pub close: bool,
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers of status 200.
    pub served: u64,
    /// Everything else: what happened, and how often.
    pub failures: BTreeMap<String, u64>,
}

/// Clients at work.
pub struct Load {
    stop: watch::Sender<bool>,
    served: Arc<AtomicU64>,
    tasks: JoinSet<Tally>,
}

impl Target {
    /// A GET in plain text.
    pub fn get(address: SocketAddr, host: &str, path: &str) -> Self {
        Self {
            address,
            host: host.to_owned(),
            path: path.to_owned(),
            tls: None,
            body: 0,
            close: false,
        }
    }
}

impl Tally {
    /// How many requests were lost.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn add(&mut self, outcome: Result<(), String>, served: &AtomicU64) {
        match outcome {
            Ok(()) => {
                self.served += 1;
                served.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} served, {} lost", self.served, self.failed())?;
        (self.failures.iter()).try_for_each(|(failure, count)| write!(f, "\n  {count} x {failure}"))
    }
}

impl Load {
    /// Starts clients, each with a connection and a request at a time.
    pub fn start(target: &Target, http1: usize, http2: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let served = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..http1 + http2 {
            let (target, stopped, served) = (target.clone(), stopped.clone(), Arc::clone(&served));
            match number < http1 {
                true => drop(tasks.spawn(ask_http1(target, stopped, served))),
                false => drop(tasks.spawn(ask_http2(target, stopped, served))),
            }
        }
        Self {
            stop,
            served,
            tasks,
        }
    }

    /// How many requests have been served so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Waits until at least so many requests have been served.
    ///
    /// # Panics
    /// Where that takes longer than `limit`.
    pub async fn reach(&self, requests: u64, limit: Duration) {
        let reached = async {
            while self.served() < requests {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = timeout(limit, reached).await;
        assert!(
            reached.is_ok(),
            "{} of {requests} in {limit:?}",
            self.served()
        );
    }

    /// Stops all clients after the request that they are at.
    ///
    /// # Panics
    /// Where a client does not end.
    pub async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        let mut sum = Tally::default();
        while let Some(tally) = self.tasks.join_next().await {
            let tally = tally.expect("a client does not panic");
            sum.served += tally.served;
            for (failure, count) in tally.failures {
                *sum.failures.entry(failure).or_default() += count;
            }
        }
        sum
    }
}

async fn connect(target: &Target, protocol: &str) -> Result<Client, String> {
    let refused = |error: std::io::Error| format!("no connection: {error}");
    Ok(match &target.tls {
        None => {
            let stream = TcpStream::connect(target.address).await.map_err(refused)?;
            stream.set_nodelay(true).map_err(refused)?;
            Client::new(stream)
        }
        Some(_) => Client::new(connect_tls(target, protocol).await?),
    })
}

async fn connect_tls(
    target: &Target,
    protocol: &str,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut config = target
        .tls
        .clone()
        .expect("the target is asked for with TLS");
    config.alpn_protocols = vec![protocol.into()];
    let stream = gateway::tls(target.address, &config, &target.host).await;
    stream.map_err(|error| format!("no TLS connection: {error}"))
}

async fn ask_http1(
    target: Target,
    stopped: watch::Receiver<bool>,
    served: Arc<AtomicU64>,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<Client> = None;
    let Target {
        host, path, body, ..
    } = &target;
    let request = match body {
        0 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        _ => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {body}\r\n\r\n{}",
            "x".repeat(*body)
        ),
    };
    while !*stopped.borrow() {
        let outcome = async {
            let mut client = match connection.take() {
                Some(client) => client,
                None => connect(&target, "http/1.1").await?,
            };
            client.send(&request).await;
            let method = if *body == 0 { "GET" } else { "POST" };
            let response = client.try_response(method).await;
            let response = response.map_err(|error| format!("no response: {error:?}"))?;
            if !target.close && response.head.one("connection") != Some("close") {
                connection = Some(client);
            }
            expect(response.status)
        };
        tally.add(bounded(outcome).await, &served);
        pause_after(&tally).await;
        if target.close {
            tokio::time::sleep(BETWEEN_CONNECTIONS).await;
        }
    }
    tally
}

async fn ask_http2(
    target: Target,
    stopped: watch::Receiver<bool>,
    served: Arc<AtomicU64>,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<Http2Client> = None;
    while !*stopped.borrow() {
        let outcome = async {
            loop {
                let mut client = match connection.take() {
                    Some(client) => client,
                    None => connect_http2(&target).await?,
                };
                match fetch(&target, &mut client).await {
                    Ok(status) => {
                        connection = Some(client);
                        return expect(status);
                    }
                    // Nothing of it was touched: RFC 9113, sections 6.8 and 8.7.
                    Err(error) if untouched(&error) => {}
                    Err(error) => return Err(format!("no response: {error}")),
                }
            }
        };
        tally.add(bounded(outcome).await, &served);
        pause_after(&tally).await;
    }
    tally
}

async fn connect_http2(target: &Target) -> Result<Http2Client, String> {
    Ok(match &target.tls {
        None => {
            let stream = TcpStream::connect(target.address).await;
            let stream = stream.map_err(|error| format!("no connection: {error}"))?;
            Http2Client::new(stream, "http").await
        }
        Some(_) => Http2Client::new(connect_tls(target, "h2").await?, "https").await,
    })
}

async fn fetch(target: &Target, client: &mut Http2Client) -> Result<u16, h2::Error> {
    let Target {
        host, path, body, ..
    } = target;
    let response = match body {
        0 => {
            let request: Request<()> = client.request_for(host, "GET", path);
            client.fetch(request).await
        }
        _ => {
            let request = client.request_for(host, "POST", path);
            client.post(request, vec![b'x'; *body], None).await
        }
    };
    Ok(response?.status.as_u16())
}

fn untouched(error: &h2::Error) -> bool {
    let graceful = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
    graceful || error.reason() == Some(Reason::REFUSED_STREAM)
}

fn expect(status: u16) -> Result<(), String> {
    match status {
        200 => Ok(()),
        status => Err(format!("status {status}")),
    }
}

async fn bounded(outcome: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let late = |_| Err(format!("no answer within {PATIENCE:?}"));
    timeout(PATIENCE, outcome).await.unwrap_or_else(late)
}

/// Failures are counted, not multiplied by asking faster.
async fn pause_after(tally: &Tally) {
    if tally.failed() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
