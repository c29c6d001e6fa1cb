//! Connections to backends: from the endpoint's pool, or new.
//!
//! Idle connections hang on the state of their endpoint. They need no map and no key, they
//! outlive tables as the endpoint does, and go when it goes.

use std::{
    any::Any,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use ferrix_table::{
    Table,
    services::{Endpoint, Protocol},
};
use h2::client::SendRequest;
use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{
    io::{Io, Transport},
    settings::Settings,
};

/// A connection that can carry a request.
pub(crate) enum Connection {
    /// To be used by one request at a time.
    Http1 {
        /// The connection.
        io: Io,
        /// Whether it has carried a request before: it may have been closed meanwhile.
        reused: bool,
    },
    /// Shared by many requests.
    Http2 {
        /// Makes streams.
        send: SendRequest<Bytes>,
        /// Whether it has carried a request before.
        reused: bool,
        /// Counts this request as long as it lasts.
        lease: Lease,
    },
}

impl Connection {
    /// Whether it has carried a request before.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::Http1 { reused, .. } | Self::Http2 { reused, .. } => *reused,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("timed out")]
    Timeout,
    #[error("HTTP/2 handshake: {0}")]
    Http2(#[from] h2::Error),
    #[error("invalid TLS server name {0:?}")]
    ServerName(String),
}

/// Makes a worker's connections to backends, and keeps them.
#[derive(Debug)]
pub(crate) struct Connector {
    worker: usize,
    workers: usize,
    tls: Arc<ClientConfig>,
    /// The same, but without HTTP/2: for upgrades.
    tls_http1: Arc<ClientConfig>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    idle_connections: usize,
}

impl Connector {
    /// For one of `workers`.
    pub(crate) fn new(
        settings: &Settings,
        tls: &ClientConfig,
        worker: usize,
        workers: usize,
    ) -> Self {
        let with_alpn = |protocols: &[&[u8]]| {
            let mut config = tls.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self {
            worker,
            workers,
            tls: with_alpn(&[b"h2", b"http/1.1"]),
            tls_http1: with_alpn(&[b"http/1.1"]),
            connect_timeout: settings.timeouts.connect,
            idle_timeout: settings.upstream.idle_timeout,
            idle_connections: settings.upstream.idle_connections.div_ceil(workers),
        }
    }

    /// A connection to `endpoint` that is there already. An upgrade needs HTTP/1.
    pub(crate) fn pooled(
        &self,
        endpoint: &Endpoint,
        protocol: &Protocol,
        upgrade: bool,
    ) -> Option<Connection> {
        self.pool(endpoint)
            .take(protocol, self.idle_timeout, upgrade)
    }

    /// A new connection to `endpoint`, or one over HTTP/2 that somebody else made meanwhile; no
    /// such one, if `fresh`. An upgrade needs HTTP/1.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        protocol: &Protocol,
        fresh: bool,
        upgrade: bool,
    ) -> Result<Connection, ConnectError> {
        let pool = self.pool(endpoint);
        if *protocol == Protocol::Http2 {
            return self.connect_http2(endpoint, pool, fresh).await;
        }
        match timeout(
            self.connect_timeout,
            self.open(endpoint.address, protocol, upgrade),
        )
        .await
        {
            Err(_) => Err(ConnectError::Timeout),
            Ok(Err(error)) => Err(error),
            Ok(Ok((transport, false))) => Ok(Connection::Http1 {
                io: Io::new(transport),
                reused: false,
            }),
            Ok(Ok((transport, true))) => self.start_http2(transport, protocol, pool).await,
        }
    }

    /// Requests that arrive together wait for one connection instead of opening one each.
    async fn connect_http2(
        &self,
        endpoint: &Endpoint,
        pool: Arc<Pool>,
        fresh: bool,
    ) -> Result<Connection, ConnectError> {
        let connecting = async {
            let _turn = pool.connecting.lock().await;
            if !fresh && let Some(connection) = pool.take_http2(&Protocol::Http2) {
                return Ok(connection);
            }
            let (transport, _) = self.open(endpoint.address, &Protocol::Http2, false).await?;
            self.start_http2(transport, &Protocol::Http2, Arc::clone(&pool))
                .await
        };
        timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| ConnectError::Timeout)?
    }

    /// A transport, and whether ALPN chose HTTP/2 on it.
    async fn open(
        &self,
        address: SocketAddr,
        protocol: &Protocol,
        upgrade: bool,
    ) -> Result<(Transport, bool), ConnectError> {
        let stream = TcpStream::connect(address).await?;
        self.tune(&stream)?;
        let Protocol::Tls { server_name } = protocol else {
            return Ok((Transport::Tcp(stream), false));
        };
        let name = ServerName::try_from(server_name.to_string())
            .map_err(|_| ConnectError::ServerName(server_name.to_string()))?;
        let config = if upgrade { &self.tls_http1 } else { &self.tls };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Transport::TlsClient(Box::new(stream)), http2))
    }

    /// A peer that vanished without a word is noticed while data is underway (`TCP_USER_TIMEOUT`)
    /// and while nothing is (keep-alive probes).
    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = socket2::SockRef::from(stream);
        socket.set_tcp_keepalive(
            &socket2::TcpKeepalive::new()
                .with_time(Duration::from_secs(15))
                .with_interval(Duration::from_secs(5)),
        )?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.connect_timeout))?;
        Ok(())
    }

    async fn start_http2(
        &self,
        transport: Transport,
        protocol: &Protocol,
        pool: Arc<Pool>,
    ) -> Result<Connection, ConnectError> {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .max_header_list_size(64 << 10)
            .enable_push(false)
            .handshake::<_, Bytes>(transport)
            .await?;
        let shared = Arc::new(Http2 {
            protocol: protocol.clone(),
            send,
            streams: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        pool.http2.lock().push(Arc::clone(&shared));
        let driven = Arc::clone(&shared);
        let idle_timeout = self.idle_timeout;
        tokio::spawn(async move {
            drive_http2(connection, &driven, idle_timeout).await;
            driven.closed.store(true, Relaxed);
            pool.http2
                .lock()
                .retain(|other| !Arc::ptr_eq(other, &driven));
        });
        Ok(shared.lease(false))
    }

    fn pool(&self, endpoint: &Endpoint) -> Arc<Pool> {
        let slot = endpoint.state.connections.get_or_init(|| {
            let pools = (0..self.workers).map(|_| Arc::default()).collect();
            Arc::new(Pools(pools))
        });
        let pools: Option<&Pools> = slot.downcast_ref();
        let pools = pools.expect("only the proxy fills the slot, with pools");
        Arc::clone(&pools.0[self.worker % pools.0.len()])
    }

    /// Gives an HTTP/1 connection back after a whole exchange.
    pub(crate) fn release(&self, endpoint: &Endpoint, protocol: &Protocol, io: Io) {
        let pool = self.pool(endpoint);
        let mut idle = pool.http1.lock();
        if idle.len() < self.idle_connections {
            idle.push(Idle {
                io,
                since: Instant::now(),
                protocol: protocol.clone(),
            });
        }
    }

    /// Closes what has idled too long, everywhere. Taking a connection checks its age too: this
    /// is for endpoints that get no requests any more.
    pub(crate) fn sweep(&self, table: &Table) {
        for endpoint in table.services.iter().flat_map(|service| &service.endpoints) {
            for pool in Pools::existing(endpoint).iter().flat_map(|pools| &pools.0) {
                pool.http1
                    .lock()
                    .retain(|idle| idle.since.elapsed() < self.idle_timeout);
            }
        }
    }
}

/// Runs a connection until it fails, or has been without a stream for the idle timeout.
async fn drive_http2(
    mut connection: h2::client::Connection<Transport, Bytes>,
    shared: &Http2,
    idle_timeout: Duration,
) {
    loop {
        match timeout(idle_timeout, &mut connection).await {
            Ok(_ended) => return,
            Err(_) if shared.streams.load(Relaxed) == 0 => return,
            Err(_) => {}
        }
    }
}

/// The connections to one endpoint. A worker uses only its own: others belong to the runtimes of
/// other threads.
#[derive(Debug)]
struct Pools(Box<[Arc<Pool>]>);

#[derive(Debug, Default)]
struct Pool {
    http1: Mutex<Vec<Idle>>,
    http2: Mutex<Vec<Arc<Http2>>>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Idle {
    io: Io,
    since: Instant,
    protocol: Protocol,
}

#[derive(Debug)]
struct Http2 {
    protocol: Protocol,
    send: SendRequest<Bytes>,
    streams: AtomicUsize,
    closed: AtomicBool,
}

/// A stream's place on an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Http2>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

impl Http2 {
    fn lease(self: &Arc<Self>, reused: bool) -> Connection {
        self.streams.fetch_add(1, Relaxed);
        Connection::Http2 {
            send: self.send.clone(),
            reused,
            lease: Lease(Arc::clone(self)),
        }
    }
}

impl Pools {
    fn existing(endpoint: &Endpoint) -> Option<Arc<Self>> {
        let slot: &Arc<dyn Any + Send + Sync> = endpoint.state.connections.get()?;
        Arc::downcast(Arc::clone(slot)).ok()
    }
}

impl Pool {
    fn take(
        &self,
        protocol: &Protocol,
        idle_timeout: Duration,
        upgrade: bool,
    ) -> Option<Connection> {
        if !upgrade
            && *protocol != Protocol::Http1
            && let Some(shared) = self.take_http2(protocol)
        {
            return Some(shared);
        }
        let mut idle = self.http1.lock();
        // The one used last is the likeliest to be alive.
        while let Some(position) = idle.iter().rposition(|idle| idle.protocol == *protocol) {
            let mut candidate = idle.remove(position);
            if candidate.since.elapsed() < idle_timeout && candidate.io.is_quiet() {
                return Some(Connection::Http1 {
                    io: candidate.io,
                    reused: true,
                });
            }
        }
        None
    }

    fn take_http2(&self, protocol: &Protocol) -> Option<Connection> {
        let connections = self.http2.lock();
        let usable = connections.iter().rev().find(|shared| {
            shared.protocol == *protocol
                && !shared.closed.load(Relaxed)
                && shared.streams.load(Relaxed) < shared.send.current_max_send_streams()
        })?;
        Some(usable.lease(true))
    }
}

/// How backends are verified.
pub(crate) fn client_config(settings: &Settings) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    if !settings.upstream.tls.verify {
        let verifier = Arc::new(AcceptAll(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(authorities(settings)?);
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(
    settings: &Settings,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, TrustError> {
    use rustls::pki_types::pem::PemObject;
    let Some(path) = &settings.upstream.tls.authorities else {
        // A system without certificates is fine until a backend wants TLS.
        return Ok(rustls_native_certs::load_native_certs().certs);
    };
    let wrap = |error: &dyn std::fmt::Display| TrustError::Authorities {
        path: path.clone(),
        error: error.to_string(),
    };
    rustls::pki_types::CertificateDer::pem_file_iter(path)
        .map_err(|error| wrap(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrap(&error))
}

/// Why the authorities for backends cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is missing or no PEM.
    #[error("upstream.tls.authorities: {}: {error}", path.display())]
    Authorities {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The verifier for `upstream.tls.verify: false`: the connection is private, the peer unknown.
#[derive(Debug)]
struct AcceptAll(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
