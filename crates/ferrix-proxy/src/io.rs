//! The bytes of a connection: what is under the codecs.
//!
//! [`Io`] is an HTTP/1 connection. Writing to it completes at once, into a queue that the exchange
//! drains itself: header and body leave in one system call, and both directions move in one task
//! without a channel. Back-pressure is the exchange not reading one side while the other is behind:
//! what waits for a peer that takes nothing is little, and is known beforehand ([`Io::room`]).
//!
//! HTTP/2 has its own flow control and runs on a [`Stream`] directly.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    mem,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::{
    permit::Permit,
    read_buffer::{LARGEST, ReadBuffer},
    socket_room::SocketRoom,
    transport::{self, Stream},
};

/// As much may wait for a peer of which it is not known whether it takes anything. Above it, the other
/// side is not read.
pub(crate) const HIGH_WATER: usize = 16 * 1024;

/// The least room that is worth a read.
const LEAST: usize = HIGH_WATER / 2;

/// TLS gives no more at once than is in a record (RFC 8446, section 5.1).
const PLAINTEXT: usize = 16 * 1024;

/// Read at once where a header section is expected.
const HEAD: usize = 4 * 1024;

/// Pieces up to this size are copied together rather than queued one by one.
const COPIED: usize = 4 * 1024;

/// More than this is not kept for what is to be written next.
const KEPT: usize = 8 * 1024;

/// Pieces that leave in one system call: a largest read by records of TLS, and what is before and
/// after.
const SLICES: usize = LARGEST / PLAINTEXT + 2;

/// An HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Io {
    stream: Stream,
    /// What was read and not yet used.
    pub(crate) read: ReadBuffer,
    out: Output,
    /// What TLS may still hold of what was written, for the socket did not take it: as of when it had
    /// taken so much.
    unflushed: usize,
    flushed: u64,
    needs_flushing: bool,
    room: SocketRoom,
    /// Of a connection to a backend. After the stream, and so given back when that is closed.
    _permit: Option<Permit>,
}

impl Io {
    pub(crate) fn new(stream: Stream) -> Self {
        Self::resumed(stream, BytesMut::new())
    }

    /// A connection of which some bytes have been read already.
    pub(crate) fn resumed(stream: Stream, read: BytesMut) -> Self {
        Self {
            needs_flushing: transport::needs_flushing(&stream),
            flushed: transport::taken(&stream),
            stream,
            read: read.into(),
            out: Output::default(),
            unflushed: 0,
            room: SocketRoom::default(),
            _permit: None,
        }
    }

    /// A new connection to a backend.
    pub(crate) fn to_backend(stream: Stream, permit: Permit) -> Self {
        Self {
            _permit: Some(permit),
            ..Self::new(stream)
        }
    }

    /// Whether everything written has reached the socket.
    pub(crate) fn is_drained(&self) -> bool {
        self.pending() == 0
    }

    /// Bytes written that the socket did not take yet; of those that TLS holds, an upper bound.
    pub(crate) fn pending(&self) -> usize {
        self.out.length + self.unflushed
    }

    /// Bytes that wait here: those, and what was read and is to be passed on.
    pub(crate) fn waits(&self) -> usize {
        self.pending() + self.read.len()
    }

    /// How much may be read for this connection now, of `wanted`: as much as the system surely takes
    /// at once, or else what may wait. What waits is sent before it is more than the largest read.
    pub(crate) fn room(&mut self, wanted: usize) -> usize {
        if wanted > HIGH_WATER {
            let ask = || transport::room(&self.stream);
            self.room.find_out(wanted, ask);
        }
        let (most, waits) = (HIGH_WATER.max(self.room.bytes()), self.pending());
        match most.min(LARGEST).saturating_sub(waits) {
            ..LEAST => 0,
            _ => wanted.min(most - waits),
        }
    }

    /// Whether so much waits that nothing more is read for this connection.
    pub(crate) fn is_behind(&self) -> bool {
        self.pending() > HIGH_WATER - LEAST
    }

    /// How much the system surely takes at once, as far as that is known.
    pub(crate) fn takes(&self) -> usize {
        self.room.bytes()
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
        let before = self.pending();
        while self.out.length > 0 {
            match self.out.poll_write(&mut self.stream, cx)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => {
                    self.out.advance(written);
                    self.count_written(written);
                }
                Poll::Pending => return self.fall_behind(before),
            }
        }
        if self.unflushed > 0 {
            if Pin::new(&mut self.stream).poll_flush(cx)?.is_pending() {
                return self.fall_behind(before);
            }
            (self.unflushed, self.flushed) = (0, transport::taken(&self.stream));
        }
        self.room.drain();
        Poll::Ready(Ok(()))
    }

    fn count_written(&mut self, written: usize) {
        self.room.count_written(written);
        if self.needs_flushing {
            self.unflushed += written;
        }
    }

    /// The socket takes no more: what waits should hold no more memory than it needs. Ready when there
    /// is less of it than `before`.
    fn fall_behind(&mut self, before: usize) -> Poll<io::Result<()>> {
        self.room.fill();
        self.out.compact();
        if self.unflushed > 0 {
            let flushed = transport::taken(&self.stream);
            let more = usize::try_from(flushed - self.flushed).unwrap_or(usize::MAX);
            self.unflushed = self.unflushed.saturating_sub(more).max(1);
            self.flushed = flushed;
        }
        match self.pending() < before {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
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
        poll_read_some(&mut self.stream, &mut self.read, cx)
    }

    /// See [`Io::poll_read_head`].
    pub(crate) async fn read_head(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_head(cx)).await
    }

    /// As much as one read of `size` bytes can come to, and as much of it as shows that there may
    /// be more: TLS gives one record, of which the sender chose the size.
    pub(crate) fn at_once(&self, size: usize) -> (usize, usize) {
        match self.needs_flushing {
            true => (size.min(PLAINTEXT), size.min(PLAINTEXT / 4)),
            false => (size, size),
        }
    }

    /// Reads up to `size` bytes of a message. Returns how many came; none at the end of the
    /// connection.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        self.read.make_room(size);
        let mut limited = (&mut *self.read).limit(size);
        let read = pin!(self.stream.read_buf(&mut limited)).poll(cx);
        if read.is_pending() {
            self.read.give_back();
        }
        read
    }

    /// Whether an idle connection to a backend can carry another request: nothing has arrived on
    /// it, and it was not closed.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.read.is_empty() && self.poll_read_head(cx).is_pending()
    }

    /// Whether closing at once loses nothing: all has left, and nothing has come that is unread, which
    /// would make the system answer with a reset instead of an end (RFC 9112, section 9.6). TLS says
    /// goodbye first.
    pub(crate) fn may_close(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        !self.needs_flushing
            && self.is_drained()
            && self.read.is_empty()
            && matches!(self.poll_read_head(cx), Poll::Pending | Poll::Ready(Ok(0)))
    }

    /// Passes on to another connection what has arrived, without looking at it. Returns how many bytes
    /// left; none at the end of this connection.
    pub(crate) fn poll_pass(
        &mut self,
        to: &mut Self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<u64>> {
        while !to.is_drained() {
            ready!(to.poll_drain(cx))?;
        }
        if self.read.is_empty() && ready!(self.poll_read(cx, HIGH_WATER))? == 0 {
            return Poll::Ready(Ok(0));
        }
        let Poll::Ready(written) = Pin::new(&mut to.stream).poll_write(cx, &self.read)? else {
            // What waits is here.
            let _ = to.fall_behind(0);
            return Poll::Pending;
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        to.count_written(written);
        self.read.advance(written);
        self.read.give_back();
        Poll::Ready(Ok(written as u64))
    }

    /// Ends what is sent, after all of it has left. What comes is still read.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_drained() {
            ready!(self.poll_drain(cx))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Gives memory back before a connection idles.
    pub(crate) fn shrink(&mut self) {
        self.read.give_back();
        if self.out.length == 0 {
            self.out = Output::default();
        }
    }

    /// Drains what it can within `patience`, then closes the sending side and reads what the
    /// client still sends for a moment, so that a last answer is not lost to a reset.
    pub(crate) async fn close(&mut self, patience: Duration) {
        let closing = async {
            self.drain().await?;
            poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
            while self.read_head().await? > 0 {
                self.read.clear();
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(patience, closing).await;
    }
}

/// Appends what has arrived, up to a few kilobytes, holding no buffer until there is something to
/// hold. Returns how many bytes came; none at the end of the stream.
pub(crate) fn poll_read_some(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut stack = [mem::MaybeUninit::uninit(); HEAD];
    let mut arrived = ReadBuf::uninit(&mut stack);
    ready!(Pin::new(stream).poll_read(cx, &mut arrived))?;
    read.extend_from_slice(arrived.filled());
    Poll::Ready(Ok(arrived.filled().len()))
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

    fn poll_write(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        if self.pieces.is_empty() {
            return stream.poll_write(cx, &self.last);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let all = self.pieces.iter().map(|piece| &piece[..]);
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(all.chain([&self.last[..]])) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        stream.poll_write_vectored(cx, &slices[..filled])
    }

    /// Takes pieces together: each may be a small part of the buffer that it was read into.
    fn compact(&mut self) {
        if self.pieces.is_empty() || self.length > 4 * HIGH_WATER {
            return;
        }
        let mut all = BytesMut::with_capacity(self.length);
        for piece in self.pieces.drain(..) {
            all.extend_from_slice(&piece);
        }
        all.extend_from_slice(&self.last);
        self.last = all;
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
        match self.length == 0 && left > KEPT {
            // A long header section, most likely, of a message that may last.
            true => self.last = BytesMut::new(),
            false => self.last.advance(left),
        }
    }
}
