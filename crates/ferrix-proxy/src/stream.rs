//! What waits to be sent on an HTTP/2 stream, and what was received on one and waits elsewhere.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use crate::io::HIGH_WATER;

/// As much a stream may send before it is told that there is room for more: what there can be of it
/// while the other side takes nothing.
pub(crate) const STREAM_WINDOW: usize = 64 * 1024;

/// What the crate holds of a stream for a connection that takes nothing.
pub(crate) const SEND_BUFFER: usize = 32 * 1024;

/// What was read of a stream, and its sender not yet told so.
#[derive(Debug, Default)]
pub(crate) struct Unreleased {
    bytes: usize,
    /// Whether more came than is read at once of a short message.
    long: bool,
}

impl Unreleased {
    pub(crate) fn add(&mut self, read: usize) {
        self.bytes += read;
        self.long |= self.bytes >= HIGH_WATER;
    }

    /// How much a read should ask for.
    pub(crate) fn read_size(&self) -> usize {
        match self.long {
            true => STREAM_WINDOW,
            false => HIGH_WATER,
        }
    }

    /// Tells the sender, but for what still `waits` for the other side.
    pub(crate) fn release(&mut self, stream: &mut RecvStream, waits: usize) {
        let gone = self.bytes.saturating_sub(waits);
        if gone > 0 {
            self.bytes -= gone;
            // Of a stream that was reset, nothing is awaited.
            let _ = stream.flow_control().release_capacity(gone);
        }
    }
}

/// Sends the body of an HTTP/2 message as the peer's windows allow.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    stream: SendStream<Bytes>,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Of a connection to a client.
    backlog: Option<Backlog>,
    end: End,
}

/// The bytes that wait on all streams of a connection together, where a client takes less than there
/// is for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// Above this a stream gets more only when it has none.
    const HIGH_WATER: usize = 1024 * 1024;

    fn is_high(&self) -> bool {
        self.0.load(Relaxed) >= Self::HIGH_WATER
    }
}

#[derive(Debug)]
enum End {
    Open,
    Wanted(Option<HeaderMap>),
    Sent,
}

impl StreamWriter {
    pub(crate) fn new(stream: SendStream<Bytes>) -> Self {
        Self {
            stream,
            queue: VecDeque::new(),
            queued: 0,
            backlog: None,
            end: End::Open,
        }
    }

    /// One of several on a connection.
    pub(crate) fn with_backlog(stream: SendStream<Bytes>, backlog: Backlog) -> Self {
        let mut writer = Self::new(stream);
        writer.backlog = Some(backlog);
        writer
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            if let Some(Backlog(all)) = &self.backlog {
                all.fetch_add(bytes.len(), Relaxed);
            }
            self.queue.push_back(bytes);
        }
    }

    fn sent(&mut self, length: usize) {
        self.queued -= length;
        if let Some(Backlog(all)) = &self.backlog {
            all.fetch_sub(length, Relaxed);
        }
    }

    /// Nothing is pushed after this.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) {
        if matches!(self.end, End::Open) {
            self.end = End::Wanted(trailers);
        }
    }

    pub(crate) fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    /// Whether nothing is left to send or to watch.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// Bytes that wait. The end of the stream counts as one.
    pub(crate) fn pending(&self) -> usize {
        self.queued + usize::from(matches!(self.end, End::Wanted(_)))
    }

    /// How much may be read for this stream now, of `wanted`: nothing where enough waits, here or on
    /// the whole connection.
    pub(crate) fn room(&self, wanted: usize) -> usize {
        let backlog = self.backlog.as_ref();
        match self.pending() {
            _ if self.queued > 0 && backlog.is_some_and(Backlog::is_high) => 0,
            0 => (2 * HIGH_WATER).min(wanted),
            waits => HIGH_WATER.saturating_sub(waits).min(wanted),
        }
    }

    /// What leaves without waiting. An error shows again where it is waited for.
    pub(crate) fn drain_now(&mut self) {
        let _ = self.poll_drain(&mut Context::from_waker(Waker::noop()));
    }

    /// Ready when some of what waits has left; with an error when nothing can leave any more. It
    /// is to be polled always, for it notices resets.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(reset) = self.stream.poll_reset(cx) {
            let reason = reset.map_err(io::Error::other)?;
            return Poll::Ready(Err(io::Error::other(h2::Error::from(reason))));
        }
        let before = self.pending();
        match self.poll_send(cx) {
            Poll::Pending if self.pending() < before => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) if before == 0 => Poll::Pending,
            result => result,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(front) = self.queue.front_mut() {
            if self.stream.capacity() == 0 {
                self.stream.reserve_capacity(self.queued);
                if self.stream.capacity() == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(capacity) => capacity.map_err(io::Error::other)?,
                        None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                    };
                    continue;
                }
            }
            let piece = front.split_to(front.len().min(self.stream.capacity()));
            if front.is_empty() {
                self.queue.pop_front();
            }
            self.sent(piece.len());
            let last = self.queue.is_empty() && matches!(self.end, End::Wanted(None));
            self.stream
                .send_data(piece, last)
                .map_err(io::Error::other)?;
            if last {
                self.end = End::Sent;
            }
        }
        if let End::Wanted(trailers) = &mut self.end {
            match trailers.take() {
                Some(trailers) => self.stream.send_trailers(trailers),
                None => self.stream.send_data(Bytes::new(), true),
            }
            .map_err(io::Error::other)?;
            self.end = End::Sent;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.sent(self.queued);
    }
}
