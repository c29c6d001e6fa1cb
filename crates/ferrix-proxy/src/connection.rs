//! A client connection: who it is from, and which protocol it speaks.

use std::{io, net::SocketAddr, sync::Arc};

use ferrix_table::table::EntryPointIndex;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::{
    Engine,
    client::ClientConnection,
    counters::EntryPointCounters,
    drain::LINGER,
    headers::Forwarding,
    http1, http2,
    io::{Io, Transport},
    proxy_protocol,
    settings::EntryPoint,
    tls,
};

/// What all connections of an entry point share.
pub(crate) struct Entry {
    pub(crate) index: EntryPointIndex,
    pub(crate) settings: EntryPoint,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection to its end. What needs much memory for a while is boxed: a connection over
/// HTTP/1 should not keep room for a handshake and for HTTP/2.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    entry: Arc<Entry>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let mut stream = stream;
    let counters = engine.counters(entry.index);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "connection lost before it was used");
        return;
    }
    let Some(client) = real_client(&engine, &entry, &mut stream, peer).await else {
        counters.refused_connections.add(1);
        return;
    };
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let trusted = &engine.settings.forwarded.trusted;
    let mut connection = ClientConnection {
        entry_point: entry.index,
        secure: entry.tls.is_some(),
        client,
        server_name: None,
        forwarding: Forwarding::new(trusted, peer.ip(), client.ip(), local, entry.tls.is_some()),
    };
    match &entry.tls {
        Some(acceptor) => {
            let handshake = handshake(&engine, counters, acceptor, stream, peer);
            let Some(stream) = Box::pin(handshake).await else {
                return;
            };
            let session = stream.get_ref().1;
            connection.server_name = session.server_name().map(canonical_name);
            let http2 = session.alpn_protocol() == Some(b"h2");
            let transport = Transport::TlsServer(stream);
            if http2 {
                Box::pin(http2::serve(engine, connection, transport)).await;
            } else {
                http1::serve(&engine, &connection, Io::new(transport)).await;
            }
        }
        None => serve_plain(engine, connection, Io::new(Transport::Tcp(stream))).await,
    }
}

fn canonical_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The client that a PROXY protocol header names, where one is due.
async fn real_client(
    engine: &Engine,
    entry: &Entry,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Option<SocketAddr> {
    let ip = peer.ip().to_canonical();
    let peer = SocketAddr::new(ip, peer.port());
    if !entry
        .settings
        .proxy_protocol
        .iter()
        .any(|network| network.contains(&ip))
    {
        return Some(peer);
    }
    let limit = engine.settings.timeouts.tls_handshake;
    match tokio::time::timeout(limit, proxy_protocol::read(stream)).await {
        Ok(Ok(client)) => Some(client.unwrap_or(peer)),
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

async fn handshake(
    engine: &Engine,
    counters: &EntryPointCounters,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Box<tokio_rustls::server::TlsStream<TcpStream>>> {
    match tls::accept(acceptor, stream, engine.settings.timeouts.tls_handshake).await {
        Ok(stream) => Some(Box::new(stream)),
        Err(error) => {
            counters.tls_failures.add(1);
            tracing::debug!(%peer, %error, "TLS handshake failed");
            None
        }
    }
}

/// On a plain port the first bytes tell HTTP/2 from HTTP/1.
async fn serve_plain(engine: Arc<Engine>, connection: ClientConnection, io: Io) {
    let mut io = io;
    let drained = async {
        engine.drain.watch().await;
        tokio::time::sleep(LINGER).await;
    };
    let first = tokio::select! {
        biased;
        first = read_first(&engine, &mut io) => first,
        () = drained => return,
    };
    if first.is_err() {
        return;
    }
    if io.read.starts_with(PREFACE) {
        Box::pin(http2::serve(engine, connection, io.into_rewound())).await;
    } else {
        http1::serve(&engine, &connection, io).await;
    }
}

/// Reads until the bytes are the preface or cannot become it.
async fn read_first(engine: &Engine, io: &mut Io) -> io::Result<()> {
    let timeouts = &engine.settings.timeouts;
    let mut more = tokio::time::timeout(timeouts.keep_alive, io.read_head()).await??;
    while more > 0 && io.read.len() < PREFACE.len() && PREFACE.starts_with(&io.read) {
        more = tokio::time::timeout(timeouts.header, io.read_head()).await??;
    }
    Ok(())
}
