//! A client connection: who it is from, and which protocol it speaks.

use std::{future::poll_fn, io, sync::Arc};

use async_trait::async_trait;
use bytes::BytesMut;
use ferrix_table::table::{EntryPoint, EntryPointIndex};
use pingora_core::{
    apps::ServerApp,
    listeners::tls::Acceptor,
    protocols::{ALPN, Ssl},
    server::ShutdownWatch,
};

use crate::{
    Engine,
    address::Address,
    client::ClientConnection,
    counters::EntryPointCounters,
    drain::{self, Drain, LINGER},
    headers::Forwarding,
    http1, http2,
    io::{Io, poll_read_some},
    proxy_protocol, tls,
    transport::{self, L4, Stream, Tls},
    wire::Wire,
};

/// What all connections of an entry point share, as it is when they come.
pub(crate) struct Entry {
    pub(crate) index: EntryPointIndex,
    pub(crate) entry_point: Arc<EntryPoint>,
    /// The port that the socket really has.
    pub(crate) port: u16,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) counters: Arc<EntryPointCounters>,
    /// Ends these connections.
    pub(crate) drain: Arc<Drain>,
}

/// The application that Pingora hands a connection to. There is one for each connection, because it
/// knows the peer: Pingora's own way to carry addresses (`SocketDigest`) takes 350 bytes for as long
/// as the connection lives.
pub(crate) struct Application {
    pub(crate) engine: Arc<Engine>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) peer: Address,
}

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[async_trait]
impl ServerApp for Application {
    /// Serves one connection to its end.
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        // TLS is ours to begin, so that nothing but a plain stream comes in.
        if let Some(stream) = transport::plain(stream) {
            self.serve(stream, shutdown).await;
        }
        None
    }
}

impl Application {
    /// What needs much memory for a while is boxed, and nothing large is handed over by value, which
    /// would take its room twice: a connection over HTTP/1 should not keep room for a handshake and
    /// for HTTP/2.
    async fn serve(&self, stream: Box<L4>, shutdown: &ShutdownWatch) {
        let mut stream = stream;
        let Self {
            engine,
            entry,
            peer,
        } = self;
        let Some(client) = self.real_client(&mut stream).await else {
            entry.counters.refused_connections.add(1);
            return;
        };
        let secure = entry.tls.is_some();
        let trusted = &engine.settings.forwarded.trusted;
        let mut connection = ClientConnection {
            entry_point: entry.index,
            counters: Arc::clone(&entry.counters),
            secure,
            client,
            server_name: None,
            account: engine.account(client),
            forwarding: Forwarding::new(trusted, peer.ip(), client.ip(), entry.port, secure),
            shutdown: shutdown.clone(),
        };
        let Some(acceptor) = &entry.tls else {
            let Some(read) = first_bytes(engine, &mut stream, shutdown).await else {
                return;
            };
            if read.starts_with(PREFACE) {
                stream.rewind(&read);
                return Box::pin(http2::serve(engine, connection, stream)).await;
            }
            let mut wire = Wire::new(Io::resumed(stream, read));
            return http1::serve(engine, &connection, &mut wire).await;
        };
        let Some(stream) = Box::pin(self.handshake(acceptor, stream)).await else {
            return;
        };
        connection.server_name = stream.server_name().map(tls::canonical_name);
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            Box::pin(http2::serve(engine, connection, stream)).await;
        } else {
            let mut wire = Wire::new(Io::new(stream));
            http1::serve(engine, &connection, &mut wire).await;
        }
    }

    /// The client that a PROXY protocol header names, where one is due.
    async fn real_client(&self, stream: &mut L4) -> Option<Address> {
        let Self {
            engine,
            entry,
            peer,
        } = self;
        let networks = &entry.entry_point.proxy_protocol;
        if !networks.iter().any(|network| network.contains(&peer.ip())) {
            return Some(*peer);
        }
        let limit = engine.settings.timeouts.tls_handshake;
        match tokio::time::timeout(limit, proxy_protocol::read(stream)).await {
            Ok(Ok(client)) => Some(client.map_or(*peer, Address::from)),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "bad PROXY protocol header");
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "no PROXY protocol header in time");
                None
            }
        }
    }

    /// The handshake, within its deadline.
    async fn handshake(&self, acceptor: &Acceptor, stream: Box<L4>) -> Option<Box<Tls>> {
        let mut stream = *stream;
        let handshake = async {
            let hello = transport::read_hello(&mut stream).await?;
            let table = self.engine.table.load();
            let refusal = tls::refusal(&table, self.entry.index, &hello.client_hello());
            drop(table);
            if let Some(refusal) = refusal {
                transport::alert(&mut stream, &refusal.alert()).await?;
                return Err(io::Error::other(refusal));
            }
            transport::accept(acceptor, hello, stream).await
        };
        let limit = self.engine.settings.timeouts.tls_handshake;
        let result = tokio::time::timeout(limit, handshake).await;
        match result.map_err(io::Error::from).flatten() {
            Ok(stream) => Some(Box::new(stream)),
            Err(error) => {
                self.entry.counters.tls_failures.add(1);
                tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
                None
            }
        }
    }
}

/// The first bytes of a plain connection, which tell HTTP/2 from HTTP/1. `None`: it has ended without
/// any, or had none when it was to end.
async fn first_bytes(
    engine: &Engine,
    stream: &mut L4,
    shutdown: &ShutdownWatch,
) -> Option<BytesMut> {
    let drained = async {
        drain::begins(shutdown.clone()).await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        biased;
        read = read_first(engine, stream) => read.ok(),
        () = drained => None,
    }
}

/// Reads until the bytes are the preface or cannot become it.
async fn read_first(engine: &Engine, stream: &mut L4) -> io::Result<BytesMut> {
    let timeouts = &engine.settings.timeouts;
    let mut read = BytesMut::new();
    let mut limit = timeouts.keep_alive;
    loop {
        let reading = poll_fn(|cx| poll_read_some(stream, &mut read, cx));
        let more = tokio::time::timeout(limit, reading).await??;
        if more == 0 || read.len() >= PREFACE.len() || !PREFACE.starts_with(&read) {
            return Ok(read);
        }
        limit = timeouts.header;
    }
}
