//! The page for operators and probes: read-only, on an address of its own.
//!
//! It has a thread of its own too, so that a probe is answered in time however busy the planes
//! are, and it outlives every mistake of a client.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use ferrix_control::{
    Failures, Report,
    kubernetes::{Watch, Watches},
};
use ferrix_table::Reader;
use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot, watch},
};

use crate::metrics::Metrics;
use body::{Body, Failure, Writer};

mod body;

/// Connections at once. A probe and a scraper need two.
const CONNECTIONS: usize = 256;

/// Long pages that are made at once; others wait their turn.
const WRITERS: usize = 4;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

const INDEX: &str = "\
Ferrix

/healthz  200 while the process lives
/readyz   200 while this instance should get traffic, else 503 and why
/metrics  for Prometheus
/table    what is served now, as JSON
/report   what became of each object, as JSON
";

/// Why there is no admin page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket.
    #[error("admin.address: cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The thread.
    #[error("the thread of the admin page cannot be started: {0}")]
    Thread(io::Error),
}

/// Whether this instance should get traffic: once there is a table and the entry points accept,
/// until the first signal.
#[derive(Clone, Debug)]
pub struct Readiness {
    table: Reader,
    failures: watch::Receiver<Failures>,
    reports: watch::Receiver<Arc<Report>>,
    stage: watch::Sender<Stage>,
}

/// How far the instance has come. It only moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Starting,
    Accepting,
    Draining,
}

/// What keeps no instance from being ready: all of an installation see the same objects, and were none
/// of them ready, what they serve would be gone as well.
const FROZEN: &str = "a bug of ferrix keeps changes from being taken in; what was served before is \
                      served still, and the log has more";

impl Readiness {
    /// Ready as soon as `table` has had its first publication and [`Readiness::accepting`] was
    /// called. `failures` and `reports` are those of whoever publishes.
    pub fn new(
        table: Reader,
        failures: watch::Receiver<Failures>,
        reports: watch::Receiver<Arc<Report>>,
    ) -> Self {
        Self {
            table,
            failures,
            reports,
            stage: watch::Sender::new(Stage::Starting),
        }
    }

    /// The entry points accept connections.
    pub fn accepting(&self) {
        self.reach(Stage::Accepting);
    }

    /// Never ready again.
    pub fn drain(&self) {
        self.reach(Stage::Draining);
    }

    fn reach(&self, stage: Stage) {
        self.stage.send_modify(|it| *it = stage.max(*it));
    }

    /// Whether it should, in words, or why not.
    pub fn check(&self) -> Result<String, String> {
        let published = self.table.generation() > 0;
        let frozen = self.failures.borrow().in_a_row > 0;
        match (*self.stage.borrow(), published, frozen) {
            (Stage::Draining, ..) => Err("draining: this instance is about to end".to_owned()),
            (_, false, true) => Err(format!("starting: {FROZEN}")),
            (_, false, false) => {
                Err("starting: no routing table has been published yet".to_owned())
            }
            (Stage::Starting, true, _) => {
                Err("starting: the entry points do not accept connections yet".to_owned())
            }
            (Stage::Accepting, true, true) => Ok(format!("ready, but {FROZEN}")),
            (Stage::Accepting, true, false) => Ok(match self.reports.borrow().snapshot() {
                None => "ready".to_owned(),
                Some(until) => format!(
                    "ready, from a snapshot: the API server has not listed every kind since the start, \
                     and what is served is the configuration as it was seen until {until}"
                ),
            }),
        }
    }
}

/// What the pages show.
#[derive(Clone, Debug)]
pub struct Pages {
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/table`.
    pub table: Reader,
    /// For `/report`.
    pub reports: watch::Receiver<Arc<Report>>,
    /// For `/report`, where there is an API server.
    pub watches: Option<Watches>,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// What became of each object, and how fresh that is.
#[derive(Serialize)]
struct ReportPage<'r> {
    #[serde(flatten)]
    report: &'r Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    watches: Option<Vec<Watch>>,
}

/// A socket for the admin page. Until [`Listener::serve`], clients wait.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes the address.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let listen = || {
            let socket = std::net::TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        listen().map_err(|error| Error::Listen { address, error })
    }

    /// Answers until the result is dropped.
    pub fn serve(self, pages: Pages) -> Result<Admin, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WRITERS)
            .build()
            .map_err(Error::Thread)?;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let address = self.address;
        thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(self.socket, pages) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(Error::Thread)?;
        Ok(Admin {
            address,
            _stop: stop,
        })
    }
}

/// A running admin page. Dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    _stop: oneshot::Sender<Infallible>,
}

impl Admin {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(socket: std::net::TcpListener, pages: Pages) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin page cannot be served");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = pages.clone();
                tokio::spawn(async move {
                    converse(stream, pages).await;
                    drop(place);
                });
            }
            // Out of file descriptors, or a client that is gone already: both pass.
            Err(error) => {
                tracing::debug!(%error, "the admin page cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, pages: Pages) {
    let service = service_fn(move |request: Request<Incoming>| {
        let pages = pages.clone();
        async move {
            let response = answer(&pages, request.method(), request.uri().path());
            Ok::<_, Infallible>(response.await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client of the admin page broke off");
    }
}

async fn answer(pages: &Pages, method: &Method, path: &str) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let methods = header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, methods);
        return response;
    }
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match pages.readiness.check() {
            Ok(ready) => text(StatusCode::OK, format!("{ready}\n")),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        "/metrics" => {
            let metrics = Arc::clone(&pages.metrics);
            let write = move |page: &mut Writer| Ok(metrics.encode(page)?);
            long(Metrics::CONTENT_TYPE, write).await
        }
        "/table" => {
            let table = pages.table.load();
            json(move |page| page.json(&table.dump())).await
        }
        "/report" => {
            let report = Arc::clone(&pages.reports.borrow());
            let watches = pages.watches.clone();
            json(move |page| {
                page.json(&ReportPage {
                    report: &report,
                    watches: watches.as_ref().map(Watches::list),
                })
            })
            .await
        }
        _ => text(StatusCode::NOT_FOUND, format!("no such page\n\n{INDEX}")),
    }
}

async fn json(
    write: impl FnOnce(&mut Writer) -> Result<(), Failure> + Send + 'static,
) -> Response<Body> {
    long("application/json", write).await
}

/// A page that may be long. One that cannot be made must not take the others with it.
async fn long(
    content_type: &'static str,
    write: impl FnOnce(&mut Writer) -> Result<(), Failure> + Send + 'static,
) -> Response<Body> {
    match Body::write(write).await {
        Some(body) => respond(StatusCode::OK, content_type, body),
        None => text(StatusCode::INTERNAL_SERVER_ERROR, "this page failed\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", Body::new(body.into()))
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    // Probes and people want what is true now.
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

#[cfg(test)]
mod tests;
