//! The bytes of a connection: what is under the codecs.
//!
//! HTTP/1 codecs of Pingora own a stream and write to it with futures that must not be dropped
//! half way. [`Io`] makes their writes complete at once, into a buffer that the exchange drains
//! itself: header and body leave in one system call, and both directions move in one task without
//! a channel. Back-pressure is the exchange not reading one side while the other is behind.
//!
//! HTTP/2 has its own flow control and runs on a [`Transport`] directly.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// Buffered output above this means: do not read more for this side.
pub(crate) const HIGH_WATER: usize = 64 * 1024;

/// A connected socket, with or without TLS.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS that we terminate.
    TlsServer(Box<server::TlsStream<TcpStream>>),
    /// TLS to a backend.
    TlsClient(Box<client::TlsStream<TcpStream>>),
}

macro_rules! on_stream {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Tcp($stream) => $call,
            Transport::TlsServer($stream) => $call,
            Transport::TlsClient($stream) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        on_stream!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// A transport of which some bytes have been read already.
#[derive(Debug)]
pub(crate) struct Rewound {
    pub(crate) read: BytesMut,
    pub(crate) transport: Transport,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let length = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// A handle to an HTTP/1 connection. The codec holds one clone, the exchange another.
#[derive(Clone, Debug)]
pub(crate) struct Io(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Bytes in `Inner::out`, readable without the lock.
    pending: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    out: BytesMut,
    /// Whether TLS may still hold records that the socket did not take.
    unflushed: bool,
    header_budget: Option<HeaderBudget>,
}

/// How much of a header section may still be read.
#[derive(Clone, Copy, Debug)]
struct HeaderBudget {
    bytes: usize,
    line_seen: bool,
}

/// What a header budget saw when it ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overrun {
    /// Not even the request line ended within it.
    RequestLine,
    /// The fields are too many bytes.
    Fields,
}

impl Io {
    pub(crate) fn new(transport: Transport) -> Self {
        Self(Arc::new(Shared {
            inner: Mutex::new(Inner {
                transport,
                out: BytesMut::new(),
                unflushed: false,
                header_budget: None,
            }),
            pending: AtomicUsize::new(0),
        }))
    }

    /// Whether everything written has reached the socket.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.pending.load(Relaxed) == 0
    }

    /// Bytes written that the socket did not take yet.
    pub(crate) fn pending(&self) -> usize {
        self.0.pending.load(Relaxed)
    }

    /// Appends to the output.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut inner = self.0.inner.lock();
        inner.out.extend_from_slice(bytes);
        self.0.pending.store(inner.out.len(), Relaxed);
    }

    /// Moves output to the socket. Ready when some moved or none is left.
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_drained() {
            return Poll::Ready(Ok(()));
        }
        let mut inner = self.0.inner.lock();
        let result = inner.poll_drain(cx);
        let pending = inner.out.len().max(usize::from(inner.unflushed));
        self.0.pending.store(pending, Relaxed);
        result
    }

    /// As much as the socket takes now, without waiting. An error shows again at the next call
    /// that waits.
    pub(crate) fn drain_now(&self) {
        let _ = self.poll_drain(&mut Context::from_waker(Waker::noop()));
    }

    /// Waits for the first bytes of a request, holding no buffer meanwhile.
    pub(crate) async fn read_some(&self) -> io::Result<BytesMut> {
        poll_fn(|cx| self.poll_read_some(cx)).await
    }

    pub(crate) fn poll_read_some(&self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        let mut stack = [std::mem::MaybeUninit::uninit(); 4096];
        let mut buf = ReadBuf::uninit(&mut stack);
        let mut inner = self.0.inner.lock();
        ready!(Pin::new(&mut inner.transport).poll_read(cx, &mut buf))?;
        let mut read = BytesMut::with_capacity(4096);
        read.extend_from_slice(buf.filled());
        Poll::Ready(Ok(read))
    }

    /// Whether an idle connection to a backend can carry another request: nothing has arrived on
    /// it, and it was not closed.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut stack = [0; 1];
        let mut buf = ReadBuf::new(&mut stack);
        let mut inner = self.0.inner.lock();
        let cx = &mut Context::from_waker(Waker::noop());
        Pin::new(&mut inner.transport)
            .poll_read(cx, &mut buf)
            .is_pending()
    }

    /// From now on at most `bytes` more are read; then reads fail until the budget is lifted.
    pub(crate) fn set_header_budget(&self, bytes: usize, line_seen: bool) {
        self.0.inner.lock().header_budget = Some(HeaderBudget { bytes, line_seen });
    }

    /// Lifts the budget, and says whether it was used up.
    pub(crate) fn lift_header_budget(&self) -> Option<Overrun> {
        match self.0.inner.lock().header_budget.take()? {
            HeaderBudget {
                bytes: 0,
                line_seen: false,
            } => Some(Overrun::RequestLine),
            HeaderBudget {
                bytes: 0,
                line_seen: true,
            } => Some(Overrun::Fields),
            HeaderBudget { .. } => None,
        }
    }

    /// Drains what it can within `patience`, then closes the sending side and reads what the
    /// client still sends for a moment, so that a last answer is not lost to a reset.
    pub(crate) async fn close(&self, patience: Duration) {
        let closing = async {
            while !self.is_drained() {
                poll_fn(|cx| self.poll_drain(cx)).await?;
            }
            poll_fn(|cx| Pin::new(&mut self.0.inner.lock().transport).poll_shutdown(cx)).await?;
            while !self.read_some().await?.is_empty() {}
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(patience, closing).await;
    }

    /// The transport back, if this is the last handle.
    pub(crate) fn into_transport(self) -> Option<Transport> {
        Some(Arc::into_inner(self.0)?.inner.into_inner().transport)
    }
}

impl Inner {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.out.len();
        while !self.out.is_empty() {
            match Pin::new(&mut self.transport).poll_write(cx, &self.out) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.out.advance(written);
                    self.unflushed = !matches!(self.transport, Transport::Tcp(_));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.out.len() < before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.unflushed = false;
        }
        if self.out.capacity() > HIGH_WATER {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.0.inner.lock();
        let inner = &mut *inner;
        let Some(budget) = &mut inner.header_budget else {
            return Pin::new(&mut inner.transport).poll_read(cx, buf);
        };
        if budget.bytes == 0 {
            return Poll::Ready(Err(io::Error::other("header section over the limit")));
        }
        // The read may overshoot: the next one fails, and a complete header section is measured
        // once more when it has been parsed.
        let before = buf.filled().len();
        ready!(Pin::new(&mut inner.transport).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        budget.bytes = budget.bytes.saturating_sub(read.len());
        budget.line_seen |= read.contains(&b'\n');
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The codec's wish to close is not ours: [`Io::close`] does it, after draining.
#[async_trait]
impl Shutdown for Io {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Io {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Io {}
impl Peek for Io {}

impl GetTimingDigest for Io {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Io {
    fn get_proxy_digest(&self) -> Option<Arc<pingora_core::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Io {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
