//! The transport of every connection, towards clients and towards backends: Pingora's streams.
//!
//! A plain connection is a Pingora [`l4::Stream`](L4); TLS is [`Tls`] on top of one; both travel as
//! a [`Stream`], Pingora's name for any of its connections. Sockets and TLS sessions enter here and
//! nowhere else: `clippy.toml` of this crate refuses the types of the runtime and of rustls in every
//! other file.
#![expect(
    clippy::disallowed_types,
    reason = "sockets and TLS sessions become Pingora's streams here"
)]

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::BytesMut;
#[cfg(target_os = "linux")]
use pingora_core::protocols::l4::ext::get_tcp_info;
pub(crate) use pingora_core::protocols::{Stream, l4::stream::Stream as L4};
use pingora_core::{
    listeners::tls::Acceptor,
    protocols::{
        ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
        TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
    },
};
use rustix::net::SendFlags;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
    server::{Accepted, Acceptor as HelloReader},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::UdpSocket,
};
use tokio_rustls::{TlsConnector, TlsStream, server::StartHandshake};

/// Read at once of a client's first TLS message: most fit.
const HELLO: usize = 2 * 1024;

/// HTTP/2 in a handshake (RFC 7301; RFC 9113, section 3.2).
const HTTP2: &[u8] = b"h2";

/// The most that TLS sends in a record, its header counted: in memory, encrypted records then take
/// 16 KiB, where full ones begin another page (RFC 8446, section 5.2; of TLS 1.2 RFC 5288, section
/// 3).
pub(crate) const RECORD: usize = 16 * 1024 - 24;

/// What TLS takes of HTTP/1 at once, where there is nothing that the socket did not take: whole
/// records.
const HTTP1_BUFFER: usize = 4 * (RECORD - 5);

/// What TLS holds of HTTP/2 that the socket does not take: room for a frame, for these are written one
/// at a time. The library's own limit is 64 KiB.
const HTTP2_BUFFER: usize = 20 * 1024;

/// Makes an accepted socket a stream of the runtime that this runs in.
///
/// # Errors
/// What the system says when the socket cannot be watched.
pub(crate) fn adopt(socket: OwnedFd) -> io::Result<L4> {
    let stream = tokio::net::TcpStream::from_std(TcpStream::from(socket))?;
    Ok(L4::from(stream))
}

/// A socket for datagrams, which belongs to the runtime that it was made in. What is sent leaves at once
/// or not at all: whether there is room is asked of the system, as the runtime of a new socket does not
/// know.
#[derive(Debug)]
pub(crate) struct Datagrams(UdpSocket);

impl Datagrams {
    /// Makes a bound socket one of the runtime that this runs in.
    ///
    /// # Errors
    /// What the system says when the socket cannot be watched.
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::net::UdpSocket::from(socket);
        Ok(Self(UdpSocket::from_std(socket)?))
    }

    /// One that sends to `peer` and receives from nobody else.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn connect(peer: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match peer {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        Ok(Self(UdpSocket::from_std(socket)?))
    }

    pub(crate) async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer).await
    }

    /// Waits until something has come.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_recv(buffer)
    }

    /// To the peer that it is connected to.
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.0, datagram, SendFlags::DONTWAIT)?;
        Ok(())
    }

    pub(crate) fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<()> {
        rustix::net::sendto(&self.0, datagram, SendFlags::DONTWAIT, &peer)?;
        Ok(())
    }
}

/// The plain stream that `stream` is, if it is one.
pub(crate) fn plain(stream: Stream) -> Option<Box<L4>> {
    stream.into_any().downcast().ok()
}

/// Reads a client's first TLS message (`ClientHello`; RFC 8446, section 4.1.2), which names the
/// server that is asked for, before anything is answered. Appends to `read` all that was read.
///
/// # Errors
/// The connection's, or what is wrong with the message; the client has been sent an alert then.
pub(crate) async fn read_hello(stream: &mut L4, read: &mut BytesMut) -> io::Result<Accepted> {
    let mut reader = HelloReader::default();
    loop {
        read.reserve(HELLO);
        let before = read.len();
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut unread = &read[before..];
        while !unread.is_empty() {
            reader.read_tls(&mut unread)?;
        }
        match reader.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                stream.write_all(&bytes).await?;
                return Err(io::Error::other(error));
            }
        }
    }
}

/// Answers a client's first TLS message with an alert, which ends the connection.
///
/// # Errors
/// The connection's.
pub(crate) async fn alert(stream: &mut L4, record: &[u8]) -> io::Result<()> {
    stream.write_all(record).await?;
    AsyncWriteExt::shutdown(stream).await
}

/// Answers a client's first TLS message and ends the handshake.
///
/// # Errors
/// The connection's, or the TLS library's.
pub(crate) async fn accept(acceptor: &Acceptor, hello: Accepted, stream: L4) -> io::Result<Tls> {
    let config = Arc::clone(acceptor.acceptor.config());
    let handshake = StartHandshake::from_parts(hello, Counted::new(stream)).into_stream(config);
    let mut stream = handshake.await?;
    let session = stream.get_mut().1;
    let limit = buffer_limit(session.alpn_protocol());
    session.set_buffer_limit(Some(limit));
    Ok(Tls(TlsStream::from(stream)))
}

/// The client's side of a handshake: Pingora's connector to backends takes no verifier of certificates
/// of ours, and would parse authorities anew for each connection.
///
/// # Errors
/// The connection's, or the TLS library's.
pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: L4,
) -> io::Result<Tls> {
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect(name, Counted::new(stream)).await?;
    let session = stream.get_mut().1;
    let limit = buffer_limit(session.alpn_protocol());
    session.set_buffer_limit(Some(limit));
    Ok(Tls(TlsStream::from(stream)))
}

fn buffer_limit(protocol: Option<&[u8]>) -> usize {
    match protocol {
        Some(HTTP2) => HTTP2_BUFFER,
        _ => HTTP1_BUFFER,
    }
}

/// How many bytes the system takes for a stream at once, as far as it tells: it keeps room for
/// twice as many as its network takes in flight, so that these find room even where nothing of them
/// arrives, and what has not arrived or was not sent is in it. `None`: it does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn room(stream: &Stream) -> Option<usize> {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Linux before 6.2 tells less than Pingora asks for, and Pingora then tells nothing.
    static SILENT: AtomicBool = AtomicBool::new(false);

    if SILENT.load(Relaxed) {
        return None;
    }
    match get_tcp_info(stream.id()) {
        Ok(info) => {
            let segments = u64::from(info.tcpi_snd_cwnd) * 2;
            let free = segments.saturating_sub(info.tcpi_unacked.into());
            let room = free * u64::from(info.tcpi_snd_mss);
            let room = room.saturating_sub(info.tcpi_notsent_bytes.into());
            Some(usize::try_from(room).unwrap_or(usize::MAX))
        }
        Err(_) => {
            SILENT.store(true, Relaxed);
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn room(_stream: &Stream) -> Option<usize> {
    None
}

/// Whether writing to a stream may leave bytes with it that only flushing moves on.
pub(crate) fn needs_flushing(stream: &Stream) -> bool {
    !stream.as_any().is::<L4>()
}

/// TLS on a Pingora stream, for Pingora. Its own type for this holds room for two handshakes for as
/// long as it lives, which is 4 KB a connection.
#[derive(Debug)]
pub(crate) struct Tls(TlsStream<Counted>);

/// Bytes that the socket under a stream with TLS has taken, records included. 0 without TLS.
pub(crate) fn taken(stream: &Stream) -> u64 {
    let tls = stream.as_any().downcast_ref::<Tls>();
    tls.map_or(0, |tls| tls.socket().taken)
}

impl Tls {
    /// The name that the client asked for.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match &self.0 {
            TlsStream::Server(stream) => stream.get_ref().1.server_name(),
            TlsStream::Client(_) => None,
        }
    }

    /// The certificate that the client has shown, and those between it and an authority.
    pub(crate) fn client_certificates(&self) -> &[CertificateDer<'static>] {
        let shown = match &self.0 {
            TlsStream::Server(stream) => stream.get_ref().1.peer_certificates(),
            TlsStream::Client(_) => None,
        };
        shown.unwrap_or_default()
    }

    fn socket(&self) -> &Counted {
        self.0.get_ref().0
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Ssl for Tls {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.0.get_ref().1.alpn_protocol()? {
            HTTP2 => Some(ALPN::H2),
            _ => Some(ALPN::H1),
        }
    }
}

#[async_trait]
impl Shutdown for Tls {
    async fn shutdown(&mut self) {
        // A peer that is gone needs no farewell.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Tls {
    fn id(&self) -> UniqueIDType {
        self.socket().stream.id()
    }
}

impl GetTimingDigest for Tls {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.socket().stream.get_timing_digest()
    }
}

impl GetProxyDigest for Tls {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.socket().stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Tls {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket().stream.get_socket_digest()
    }
}

impl Peek for Tls {}

/// A socket under TLS. What TLS holds is what it was given and this has not taken.
#[derive(Debug)]
struct Counted {
    stream: L4,
    taken: u64,
}

impl Counted {
    fn new(stream: L4) -> Self {
        Self { stream, taken: 0 }
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = written {
            self.taken += written as u64;
        }
        written
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
