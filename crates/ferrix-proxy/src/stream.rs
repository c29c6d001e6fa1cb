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
use ferrix_http1::Piece;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use crate::{io::HIGH_WATER, lent::Lent};

/// As much a stream may send before it is told that there is room for more: what there can be of it
/// while the other side takes nothing.
pub(crate) const STREAM_WINDOW: usize = 64 * 1024;

/// What the crate holds of a stream for a connection that takes nothing.
pub(crate) const SEND_BUFFER: usize = 32 * 1024;

/// How much of a stream's window is held back once it has left for the other side: what has found
/// room in that side's socket then stands for what cannot come any more where it stalls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// Where the other side speaks HTTP/1 and is not known to take as much.
    pub(crate) from_http1: usize,
    /// Where it speaks HTTP/2.
    pub(crate) from_http2: usize,
}

impl HeldBack {
    /// Of a backend: half of its window, which is small beside what a fast network has underway.
    pub(crate) const FROM_BACKEND: Self = Self {
        from_http1: STREAM_WINDOW / 2,
        from_http2: STREAM_WINDOW / 2,
    };

    fn bytes(self, takes: Option<usize>) -> usize {
        match takes {
            Some(takes) => self.from_http1.saturating_sub(takes),
            None => self.from_http2,
        }
    }
}

/// Receives the body of an HTTP/2 message.
#[derive(Debug)]
pub(crate) struct StreamReader {
    stream: RecvStream,
    held_back: HeldBack,
    /// What was read and its sender not yet told so.
    unreleased: usize,
    /// Whether more came than is read at once of a short message.
    long: bool,
}

impl StreamReader {
    pub(crate) fn new(stream: RecvStream, held_back: HeldBack) -> Self {
        Self {
            stream,
            held_back,
            unreleased: 0,
            long: false,
        }
    }

    /// The next piece.
    ///
    /// # Errors
    /// The stream was reset, or the connection has broken.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, h2::Error>> {
        if let Some(data) = ready!(self.stream.poll_data(cx)) {
            let data = data?;
            self.unreleased += data.len();
            self.long |= self.unreleased >= HIGH_WATER;
            return Poll::Ready(Ok(Piece::Data(data)));
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(Ok(Piece::End(trailers)))
    }

    /// Whether nothing is to come.
    pub(crate) fn is_done(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// How much a read should ask for.
    pub(crate) fn read_size(&self) -> usize {
        match self.long {
            true => STREAM_WINDOW,
            false => HIGH_WATER,
        }
    }

    /// Lets the sender go on, by what was read and neither still `waits` for the other side nor is
    /// held back.
    pub(crate) fn release(&mut self, waits: usize, takes: Option<usize>) {
        let kept = waits + self.held_back.bytes(takes);
        let gone = self.unreleased.saturating_sub(kept);
        if gone > 0 {
            self.unreleased -= gone;
            // Of a stream that was reset, nothing is awaited.
            let _ = self.stream.flow_control().release_capacity(gone);
        }
    }
}

/// Sends the body of an HTTP/2 message as the peer's windows allow.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    stream: SendStream<Bytes>,
    queue: VecDeque<Bytes>,
    queued: usize,
    lent: Lent,
    /// How much of that there was when it was last looked at.
    lent_before: usize,
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
            lent: Lent::default(),
            lent_before: 0,
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

    /// The same with those that the crate has: all that the connection has not written.
    pub(crate) fn waits(&self) -> usize {
        self.pending() + self.lent.bytes()
    }

    /// Whether so much waits that nothing more is read for this stream, here or on the whole
    /// connection.
    pub(crate) fn is_behind(&self) -> bool {
        let backlog = self.backlog.as_ref();
        self.waits() > HIGH_WATER || self.queued > 0 && backlog.is_some_and(Backlog::is_high)
    }

    /// How much may be read for this stream now, of `wanted`.
    pub(crate) fn room(&self, wanted: usize) -> usize {
        match self.is_behind() {
            true => 0,
            false => wanted.min(2 * HIGH_WATER - self.waits()),
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
        let mut left = self.lent.bytes() < self.lent_before;
        let sent = self.poll_send(cx);
        let lent = self.lent.bytes();
        self.lent.wake_when_less(cx);
        self.lent_before = self.lent.bytes();
        // Before there was something to wake.
        left |= self.lent_before < lent;
        match sent {
            Poll::Pending if left || self.pending() < before => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) if !left && before == 0 => Poll::Pending,
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
                .send_data(self.lent.lend(piece), last)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_socket_takes_need_not_be_held_back() {
        let client = HeldBack {
            from_http1: 30_000,
            from_http2: 0,
        };
        let cases = [
            (client, Some(0), 30_000),
            (client, Some(10_000), 20_000),
            (client, Some(40_000), 0),
            (client, None, 0),
            (HeldBack::FROM_BACKEND, Some(STREAM_WINDOW), 0),
            (HeldBack::FROM_BACKEND, None, STREAM_WINDOW / 2),
        ];
        for (held_back, takes, bytes) in cases {
            assert_eq!(held_back.bytes(takes), bytes, "{held_back:?} {takes:?}");
        }
        assert_eq!(cases.len(), 6);
    }
}
