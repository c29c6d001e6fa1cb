//! A client connection: who it is from, and which protocol it speaks.

use std::{future::poll_fn, io, sync::Arc};

use async_trait::async_trait;
use bytes::BytesMut;
use ferrix_table::{
    sockets::{Layer, Socket},
    table::SocketIndex,
};
use pingora_core::{
    apps::ServerApp,
    protocols::{ALPN, Ssl},
    server::ShutdownWatch,
};

use crate::{
    Engine,
    address::Address,
    client::ClientConnection,
    client_certificates::Shown,
    counters::EntryPointCounters,
    drain::{self, Drain, LINGER},
    headers::Forwarding,
    http1, http2,
    io::{Io, poll_read_some},
    proxy_protocol,
    tcp::{self, Arrival},
    tls::{self, Acceptors, Reception},
    transport::{self, L4, Stream, Tls},
    wire::Wire,
};

/// What all connections of a socket share, as it is when they come.
pub(crate) struct Entry {
    pub(crate) index: SocketIndex,
    pub(crate) socket: Arc<Socket>,
    /// The port that the socket really has.
    pub(crate) port: u16,
    /// Where what comes is TLS.
    pub(crate) tls: Option<Arc<Acceptors>>,
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
        let Self { engine, entry, .. } = self;
        let Some(client) = self.real_client(&mut stream).await else {
            entry.counters.refused_connections.add(1);
            return;
        };
        let arrival = |server_name| Arrival {
            socket: entry.index,
            port: entry.port,
            client,
            server_name,
        };
        let Some(acceptors) = &entry.tls else {
            if entry.socket.layer != Layer::Http {
                let io = Box::new(Io::new(stream));
                return Box::pin(self.pass(arrival(""), io)).await;
            }
            let Some(read) = first_bytes(engine, &mut stream, shutdown).await else {
                return;
            };
            let connection = self.client(client, None, None, shutdown);
            if read.starts_with(PREFACE) {
                stream.rewind(&read);
                return Box::pin(http2::serve(engine, connection, stream)).await;
            }
            let mut wire = Wire::new(Io::resumed(stream, read));
            return http1::serve(engine, &connection, &mut wire).await;
        };
        match Box::pin(self.receive(acceptors, stream)).await {
            Some(Received::Requests(stream, shown)) => {
                let connection = self.client(client, Some(&stream), shown, shutdown);
                if stream.selected_alpn_proto() == Some(ALPN::H2) {
                    Box::pin(http2::serve(engine, connection, stream)).await;
                } else {
                    let mut wire = Wire::new(Io::new(stream));
                    http1::serve(engine, &connection, &mut wire).await;
                }
            }
            Some(Received::Bytes(io, name)) => {
                let name = name.unwrap_or_default();
                Box::pin(self.pass(arrival(&name), io)).await;
            }
            None => {}
        }
    }

    /// What requests of this client share, over TLS or in plain text.
    fn client(
        &self,
        client: Address,
        tls: Option<&Tls>,
        shown: Option<Box<Shown>>,
        shutdown: &ShutdownWatch,
    ) -> ClientConnection {
        let Self { engine, entry, .. } = self;
        let trusted = &engine.settings.forwarded.trusted;
        let secure = tls.is_some();
        ClientConnection {
            socket: entry.index,
            counters: Arc::clone(&entry.counters),
            secure,
            client,
            server_name: tls.and_then(Tls::server_name).map(tls::canonical_name),
            shown,
            account: engine.account(client),
            forwarding: Forwarding::new(trusted, client.ip(), entry.port, secure),
            shutdown: shutdown.clone(),
        }
    }

    /// Passes bytes on to their end.
    async fn pass(&self, arrival: Arrival<'_>, io: Box<Io>) {
        let mut io = io;
        if let Err(failure) = tcp::serve(&self.engine, &arrival, &mut io).await {
            self.entry.counters.failures[failure.index()].add(1);
            tracing::debug!(client = %arrival.client, %failure, "connection closed");
        }
    }

    /// The client that a PROXY protocol header names, where one is due.
    async fn real_client(&self, stream: &mut L4) -> Option<Address> {
        let Self {
            engine,
            entry,
            peer,
        } = self;
        let networks = &entry.socket.proxy_protocol;
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

    /// The first message of TLS, and the handshake where it ends here, within their deadline.
    async fn receive(&self, acceptors: &Acceptors, stream: Box<L4>) -> Option<Received> {
        let receiving = self.try_receive(acceptors, *stream);
        let limit = self.engine.settings.timeouts.tls_handshake;
        let result = tokio::time::timeout(limit, receiving).await;
        match result.map_err(io::Error::from).flatten() {
            Ok(received) => Some(received),
            Err(error) => {
                self.entry.counters.tls_failures.add(1);
                tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
                None
            }
        }
    }

    async fn try_receive(&self, acceptors: &Acceptors, stream: L4) -> io::Result<Received> {
        let mut stream = stream;
        let mut read = BytesMut::new();
        let hello = transport::read_hello(&mut stream, &mut read).await?;
        let name = hello.client_hello().server_name().map(tls::canonical_name);
        let table = self.engine.table.load();
        let reception = tls::receive(&table, self.entry.index, name.as_deref());
        let is_server = table.entry_points.ends_tls(self.entry.index);
        let asks_all = self.entry.socket.client_certificates.is_some();
        drop(table);
        let acceptor = match reception {
            // What a socket asks of all is asked once.
            Ok(Reception::Requests { asking: true }) if !asks_all => &acceptors.asking,
            Ok(Reception::Requests { .. }) => &acceptors.requests,
            Ok(Reception::Bytes) => &acceptors.bytes,
            Ok(Reception::Through) => {
                let io = Io::resumed(Box::new(stream), read);
                return Ok(Received::Bytes(Box::new(io), name));
            }
            Err(refusal) => {
                // Where TLS only passes through, alerts are for the backends to send.
                if is_server {
                    transport::alert(&mut stream, &refusal.alert()).await?;
                }
                return Err(io::Error::other(refusal));
            }
        };
        drop(read);
        let stream = Box::new(transport::accept(acceptor, hello, stream).await?);
        Ok(match reception {
            Ok(Reception::Requests { asking }) => {
                let shown = (asking || asks_all).then(|| Box::new(Shown::new(&stream)));
                Received::Requests(stream, shown)
            }
            _ => Received::Bytes(Box::new(Io::new(stream)), name),
        })
    }
}

/// What TLS came to.
enum Received {
    /// Requests, and what the client has shown where it was asked for a certificate.
    Requests(Box<Tls>, Option<Box<Shown>>),
    /// Bytes, for a server of this name: those within TLS, or TLS itself.
    Bytes(Box<Io>, Option<String>),
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
