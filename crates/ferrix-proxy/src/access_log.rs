//! Records of requests, handed over without waiting.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ferrix_table::{rules::Route, services::ServiceId, state::Counter};
use tokio::sync::mpsc;

/// One request, as it ended.
#[derive(Clone, Debug)]
pub struct Record {
    /// When its header section had been read.
    pub time: SystemTime,
    /// From then to the last byte of the response.
    pub duration: Duration,
    /// The client, after PROXY protocol and what trusted proxies report; port 0 where that is not
    /// reported.
    pub client: SocketAddr,
    /// The name of the entry point that it came in by.
    pub entry_point: Arc<str>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// The request method.
    pub method: http::Method,
    /// The canonical host; empty where the request was refused before it was known.
    pub host: String,
    /// Canonical path and query; as received where it was refused.
    pub path: String,
    /// Of the response; 0 where the client left before one.
    pub status: u16,
    /// Body bytes from the client.
    pub received_bytes: u64,
    /// Body bytes to the client.
    pub sent_bytes: u64,
    /// The route that won.
    pub route: Option<Arc<Route>>,
    /// Which of its rules.
    pub rule: u32,
    /// The service chosen.
    pub service: Option<ServiceId>,
    /// The last endpoint tried.
    pub endpoint: Option<SocketAddr>,
    /// Endpoints tried.
    pub attempts: u8,
    /// As sent to the backend; empty where there was none.
    pub request_id: String,
    /// The client's `Referer`.
    pub referer: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// Whether the response broke off after it had begun.
    pub cut: bool,
    /// Why Ferrix answered itself, or cut the response short.
    pub error: Option<String>,
    /// What the rule asks for beside all this.
    pub more: Option<Box<MoreFields>>,
}

/// Header fields that a rule adds to the record, those that there were: names in lower case, and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoreFields {
    /// Of the request.
    pub request: Vec<(Box<str>, String)>,
    /// Of the response.
    pub response: Vec<(Box<str>, String)>,
}

/// The data plane's end.
#[derive(Clone, Debug)]
pub struct Sender {
    records: mpsc::Sender<Record>,
    dropped: Arc<Counter>,
}

/// A queue for at most `capacity` records. When it is full, records are dropped and counted, and
/// requests go on.
pub fn channel(capacity: usize) -> (Sender, mpsc::Receiver<Record>) {
    let (records, receiver) = mpsc::channel(capacity);
    let dropped = Arc::default();
    (Sender { records, dropped }, receiver)
}

impl Sender {
    /// Hands a record over, or drops it.
    pub(crate) fn send(&self, record: Record) {
        if self.records.try_send(record).is_err() {
            self.dropped.add(1);
        }
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}
