//! What waits to be sent to one side of an exchange.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;

use crate::io::Io;

/// The sending side of a connection or a stream.
pub(crate) enum Outlet {
    /// HTTP/1: the codec wrote the bytes, they only have to leave.
    Io(Io),
    /// HTTP/2.
    Stream(StreamWriter),
    /// HTTP/2 before the header section is sent, or without a body after it.
    Closed,
}

impl Outlet {
    /// Bytes that wait.
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Io(io) => io.pending(),
            Self::Stream(writer) => writer.pending(),
            Self::Closed => 0,
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.pending() == 0
    }

    /// Resolves when some of what waits has left; with an error when nothing can leave any more.
    /// For an HTTP/2 stream it is to be polled always, for it notices resets.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_drain(cx)).await
    }

    /// What leaves without waiting.
    pub(crate) fn drain_now(&mut self) {
        match self {
            Self::Io(io) => io.drain_now(),
            // An error shows again where it is waited for.
            Self::Stream(_) => drop(self.poll_drain(&mut Context::from_waker(Waker::noop()))),
            Self::Closed => {}
        }
    }

    /// Whether [`Outlet::drain`] has something to do or to watch.
    pub(crate) fn wants_drain(&self) -> bool {
        match self {
            Self::Io(io) => !io.is_drained(),
            Self::Stream(writer) => !writer.is_finished(),
            Self::Closed => false,
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Io(io) => io.poll_drain(cx),
            Self::Stream(writer) => writer.poll_drain(cx),
            Self::Closed => Poll::Pending,
        }
    }
}

/// Sends the body of an HTTP/2 message as the peer's windows allow.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    stream: SendStream<Bytes>,
    queue: VecDeque<Bytes>,
    queued: usize,
    end: End,
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
            end: End::Open,
        }
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.queue.push_back(bytes);
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

    fn is_finished(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// The end of the stream counts as one byte.
    fn pending(&self) -> usize {
        self.queued + usize::from(matches!(self.end, End::Wanted(_)))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
            self.queued -= piece.len();
            if front.is_empty() {
                self.queue.pop_front();
            }
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
