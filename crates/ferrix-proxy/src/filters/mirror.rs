//! Mirrors: copies of requests for another service. Nobody waits for them, nor reads their answers.
//!
//! A copy is sent once the whole request has come, so that it keeps nobody waiting and needs no second
//! place to hold bodies back; one whose body is longer than [`LONGEST`] is not sent.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use ferrix_http1::RequestHead;
use ferrix_table::{Table, filters::mirror::Mirror, ids::ServiceIndex, services::Service};

use crate::{
    Engine,
    counters::Counters,
    headers,
    subrequest::{self, Subrequest},
};

/// The longest body of a copy.
const LONGEST: usize = 1 << 20;

/// As many copies are under way at once; what comes beyond that has none.
const MOST: i64 = 1024;

/// A copy may take this long.
const LIMIT: Duration = Duration::from_secs(30);

/// The header section of a copy, and where it goes.
pub(crate) struct Copy {
    service: Arc<Service>,
    index: ServiceIndex,
    head: RequestHead,
}

impl Copy {
    /// One of this request, if its turn has come and there is somebody to send it to.
    pub(crate) fn of(mirror: &Mirror, table: &Table, head: &RequestHead) -> Option<Self> {
        if fastrand::u32(..mirror.denominator.max(1)) >= mirror.numerator {
            return None;
        }
        let index = *mirror.service.as_ref().ok()?;
        let service = Arc::clone(table.service(index)?);
        let mut head = head.clone();
        let fields = &mut head.fields;
        headers::settle_connection(fields, false);
        for name in ["expect", "transfer-encoding", "content-length", "te"] {
            fields.remove(name);
        }
        Some(Self {
            service,
            index,
            head,
        })
    }
}

/// Copies that wait for the end of their body.
pub(crate) struct Copies {
    copies: Vec<Copy>,
    /// `None`: it is too long.
    body: Option<Held>,
}

/// A body, counted among what waits in the process.
struct Held {
    bytes: BytesMut,
    counters: Arc<Counters>,
}

impl Held {
    fn add(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.counters.buffered_bytes.add(signed(data.len()));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = signed(self.bytes.len());
        self.counters.buffered_bytes.add(-held);
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Copies {
    pub(crate) fn new(copies: Vec<Copy>, counters: &Arc<Counters>) -> Self {
        Self {
            copies,
            body: Some(Held {
                bytes: BytesMut::new(),
                counters: Arc::clone(counters),
            }),
        }
    }

    /// A piece of the request's body has come.
    pub(crate) fn data(&mut self, data: &[u8]) {
        if let Some(body) = &mut self.body {
            body.add(data);
            if body.bytes.len() > LONGEST {
                self.body = None;
            }
        }
    }

    /// The request has come to its end: the copies leave.
    pub(crate) fn send(self, engine: &Engine) {
        let Some(body) = self.body else {
            return;
        };
        let body = Arc::new(body);
        for copy in self.copies {
            let counters = &engine.counters;
            if counters.mirrored_requests.add(1) >= MOST {
                counters.mirrored_requests.add(-1);
                continue;
            }
            let under_way = UnderWay(Arc::clone(counters));
            let (engine, body) = (engine.clone(), Arc::clone(&body));
            tokio::spawn(async move {
                let _under_way = under_way;
                copy.send(&engine, &body.bytes).await;
            });
        }
    }
}

/// One copy, until it has been answered or given up.
struct UnderWay(Arc<Counters>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.mirrored_requests.add(-1);
    }
}

impl Copy {
    async fn send(mut self, engine: &Engine, body: &[u8]) {
        if !body.is_empty() {
            let length = body.len().to_string();
            (self.head.fields).append("Content-Length", length.as_bytes());
        }
        let request = Subrequest {
            service: &self.service,
            index: self.index,
            head: &self.head,
            body: Bytes::copy_from_slice(body),
            wanted: 0,
            whole: false,
        };
        let exchange = subrequest::exchange(engine, &request);
        let failure = match tokio::time::timeout(LIMIT, exchange).await {
            Ok(Ok(_)) => return,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::debug!(service = %self.service.id, failure, "a copy of a request was lost");
    }
}
