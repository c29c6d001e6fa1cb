//! The bytes of a connection: what is under the codecs.
//!
//! [`Io`] is an HTTP/1 connection. Writing to it completes at once, into a queue that the exchange
//! drains itself: header and body leave in one system call, and both directions move in one task
//! without a channel. Back-pressure is the exchange not reading one side while the other is behind.
//!
//! HTTP/2 has its own flow control and runs on a [`Transport`] directly.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// Queued output above this means: do not read more for this side.
pub(crate) const HIGH_WATER: usize = 64 * 1024;

/// Read at once where a header section is expected.
const HEAD: usize = 4 * 1024;

/// Pieces up to this size are copied together rather than queued one by one.
const COPIED: usize = 4 * 1024;

/// Pieces that leave in one system call.
const SLICES: usize = 16;

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

/// An HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Io {
    transport: Transport,
    /// What was read and not yet used.
    pub(crate) read: BytesMut,
    out: Output,
    /// Whether TLS may still hold records that the socket did not take.
    unflushed: bool,
}

impl Io {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            read: BytesMut::new(),
            out: Output::default(),
            unflushed: false,
        }
    }

    /// Whether everything written has reached the socket.
    pub(crate) fn is_drained(&self) -> bool {
        self.pending() == 0
    }

    /// Bytes written that the socket did not take yet; at least one while TLS holds some.
    pub(crate) fn pending(&self) -> usize {
        self.out.length.max(usize::from(self.unflushed))
    }

    /// Lets `write` append to the output.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.out.last.len();
        write(&mut self.out.last);
        self.out.length += self.out.last.len() - before;
    }

    /// Appends to the output.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.out.push(bytes);
    }

    /// Moves output to the socket. Ready when some moved or none is left.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.out.length;
        while self.out.length > 0 {
            match self.out.poll_write(&mut self.transport, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.out.advance(written);
                    self.unflushed = !matches!(self.transport, Transport::Tcp(_));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.out.length < before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// As much as the socket takes now, without waiting. An error shows again at the next call
    /// that waits.
    pub(crate) fn drain_now(&mut self) {
        let _ = self.poll_drain(&mut Context::from_waker(Waker::noop()));
    }

    /// Waits until everything has left.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        while !self.is_drained() {
            poll_fn(|cx| self.poll_drain(cx)).await?;
        }
        Ok(())
    }

    /// Reads the beginning of a message, holding no buffer until there is something to hold.
    /// Returns how many bytes came; none at the end of the connection.
    pub(crate) fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stack = [std::mem::MaybeUninit::uninit(); HEAD];
        let mut read = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
        self.read.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// See [`Io::poll_read_head`].
    pub(crate) async fn read_head(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_head(cx)).await
    }

    /// Reads up to about `size` bytes of a message. Returns how many came; none at the end of the
    /// connection.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        if let Transport::Tcp(stream) = &self.transport {
            // Whoever waits long should not hold a buffer meanwhile.
            ready!(stream.poll_read_ready(cx))?;
        }
        if self.read.capacity() - self.read.len() < size / 2 {
            self.read.reserve(size);
        }
        pin!(self.transport.read_buf(&mut self.read)).poll(cx)
    }

    /// Whether an idle connection to a backend can carry another request: nothing has arrived on
    /// it, and it was not closed.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.read.is_empty() && self.poll_read_head(cx).is_pending()
    }

    /// Gives memory back before a connection idles.
    pub(crate) fn shrink(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        if self.out.length == 0 {
            self.out = Output::default();
        }
    }

    /// Drains what it can within `patience`, then closes the sending side and reads what the
    /// client still sends for a moment, so that a last answer is not lost to a reset.
    pub(crate) async fn close(&mut self, patience: Duration) {
        let closing = async {
            self.drain().await?;
            poll_fn(|cx| Pin::new(&mut self.transport).poll_shutdown(cx)).await?;
            while self.read_head().await? > 0 {
                self.read.clear();
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(patience, closing).await;
    }

    /// The transport, and what was read of it already.
    pub(crate) fn into_rewound(self) -> Rewound {
        Rewound {
            read: self.read,
            transport: self.transport,
        }
    }
}

/// Bytes that wait for the socket, in pieces: large ones are passed on without copying.
#[derive(Debug, Default)]
struct Output {
    pieces: VecDeque<Bytes>,
    /// After the pieces.
    last: BytesMut,
    /// Of all of it, in bytes.
    length: usize,
}

impl Output {
    fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        if bytes.len() <= COPIED {
            return self.last.extend_from_slice(&bytes);
        }
        if !self.last.is_empty() {
            self.pieces.push_back(self.last.split().freeze());
        }
        self.pieces.push_back(bytes);
    }

    fn poll_write(
        &self,
        transport: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let transport = Pin::new(transport);
        if self.pieces.is_empty() {
            return transport.poll_write(cx, &self.last);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let all = self.pieces.iter().map(|piece| &piece[..]);
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(all.chain([&self.last[..]])) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        transport.poll_write_vectored(cx, &slices[..filled])
    }

    fn advance(&mut self, written: usize) {
        self.length -= written;
        let mut left = written;
        while let Some(front) = self.pieces.front_mut() {
            if left < front.len() {
                return front.advance(left);
            }
            left -= front.len();
            self.pieces.pop_front();
        }
        self.last.advance(left);
    }
}
