//! The frames of a client's HTTP/2 connection, read along below the `h2` crate.
//!
//! That crate bounds what it keeps, but neither how long a header section may take nor how often a
//! client may send what costs it nothing; and it hides what a path has behind its query. Only the nine
//! bytes before each frame are looked at (RFC 9113, section 4.1), and header blocks
//! ([`crate::header_block`]), where they lie; other payload is skipped, and nothing is copied.
//!
//! ```text
//!  h2 ─► Followed ─► the connection
//!           │ tells
//!           ▼
//!         Conduct ◄─ asked by the task that serves the connection (http2.rs), which closes it
//! ```

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use h2::StreamId;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    clock,
    header_block::{END_HEADERS, HeaderBlock},
    transport::Stream,
};

/// Frame types (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// The first bytes of a connection, which are no frame (RFC 9113, section 3.4).
const PREFACE: u32 = 24;

/// Within how long `http2.control_frames` must have come to be too many.
const WINDOW: Duration = Duration::from_secs(10);

/// What the client may send for each frame of a response: window updates for stream and connection,
/// a ping that measures the way, and the request that it answers.
const EARNED: i64 = 4;

/// And for so many bytes of a response one more: some clients grant what they have used in small
/// steps.
const BYTES_EARNED: i64 = 256;

/// So many requests at once are taken and begun before more are decoded: a header section may take a
/// hundred times its bytes in the tables of the `h2` crate.
const BURST: usize = 8;

/// So much of a flood is taken after the end, that the client can hear of it: more than the buffers of
/// two sockets hold (`tcp_rmem` and `tcp_wmem`, 10 MiB together where nobody has changed them), for
/// closing what is unread is a reset, which takes back what was sent.
const DISCARDED: usize = 1 << 24;

/// How a client behaves.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    /// The number of what has begun to come and must end soon; 0: nothing.
    due: AtomicU64,
    flooding: AtomicBool,
    /// Whether no more is read until those requests are taken that have come.
    burst: AtomicBool,
    /// The first stream with a fragment in its path; 0: none.
    fragment: AtomicU32,
}

impl Conduct {
    /// What has begun to come and must end soon, by a number of its own: a header section, or a frame
    /// other than `DATA`, whose deadlines are those of its stream.
    pub(crate) fn due(&self) -> Option<u64> {
        Some(self.due.load(Relaxed)).filter(|item| *item > 0)
    }

    /// All requests that have come are taken. Whether reading may go on that had stopped for that.
    pub(crate) fn ends_burst(&self) -> bool {
        let burst = self.burst.load(Relaxed);
        if burst {
            self.burst.store(false, Relaxed);
        }
        burst
    }

    /// Whether the path of a stream has a fragment, or may have one: later streams can refer to it.
    pub(crate) fn has_fragment(&self, stream: StreamId) -> bool {
        let first = self.fragment.load(Relaxed);
        first > 0 && first <= u32::from(stream)
    }

    fn found_fragment(&self, stream: u32) {
        if self.fragment.load(Relaxed) == 0 {
            self.fragment.store(stream, Relaxed);
        }
    }

    /// Whether the client sends too much that costs it nothing. Then no more of it is read.
    pub(crate) fn is_flooding(&self) -> bool {
        self.flooding.load(Relaxed)
    }
}

/// A client's connection, whose frames are followed in both directions.
#[derive(Debug)]
pub(crate) struct Followed {
    stream: Stream,
    conduct: Arc<Conduct>,
    received: Frames,
    sent: Frames,
    block: HeaderBlock,
    /// How many frames and header sections have begun to come.
    items: u64,
    /// Whether the last of these is a header section that has not ended.
    in_headers: bool,
    control: Control,
    /// Requests that came since there was last nothing to read.
    burst: usize,
    /// Bytes that came after the end.
    discarded: usize,
}

impl Followed {
    /// `control_frames` is the setting.
    pub(crate) fn new(stream: Stream, control_frames: u64) -> (Self, Arc<Conduct>) {
        let conduct = Arc::new(Conduct::default());
        let followed = Self {
            stream,
            conduct: Arc::clone(&conduct),
            received: Frames::behind(PREFACE),
            sent: Frames::default(),
            block: HeaderBlock::default(),
            items: 0,
            in_headers: false,
            control: Control::new(control_frames),
            burst: 0,
            discarded: 0,
        };
        (followed, conduct)
    }

    fn on_received(&mut self, bytes: &[u8]) {
        let mut too_many = false;
        self.received.follow(bytes, |head, part| match part {
            Part::Head => {
                self.items += u64::from(!self.in_headers);
                match head.kind {
                    DATA if head.length > 0 => return,
                    HEADERS | CONTINUATION => {
                        self.in_headers = head.flags & END_HEADERS == 0;
                        self.burst += usize::from(head.kind == HEADERS);
                        self.block.begin(head.flags, head.kind == CONTINUATION);
                    }
                    _ => {}
                }
                too_many |= self.control.spend();
            }
            Part::Payload(part, ends) if matches!(head.kind, HEADERS | CONTINUATION) => {
                if self.block.add(part, ends) {
                    self.conduct.found_fragment(head.stream);
                }
            }
            Part::Payload(..) => {}
        });
        let due = match self.received.unfinished() {
            _ if self.in_headers => self.items,
            Some(Unfinished::Head) => self.items + 1,
            Some(Unfinished::Payload(kind)) if kind != DATA => self.items,
            Some(Unfinished::Payload(_)) | None => 0,
        };
        self.conduct.due.store(due, Relaxed);
        if too_many {
            self.conduct.flooding.store(true, Relaxed);
        }
    }

    fn on_sent(&mut self, bytes: &[u8]) {
        self.sent.follow(bytes, |head, part| {
            if matches!((head.kind, part), (DATA | HEADERS, Part::Head)) {
                self.control.earn(head.length.into());
            }
        });
    }
}

/// The frames that need not be sent, as a sum that responses lower, below nothing too: what goes with
/// a response comes after it.
#[derive(Debug)]
struct Control {
    spent: i64,
    /// 0: as many as one likes.
    most: i64,
    since: Instant,
}

impl Control {
    fn new(most: u64) -> Self {
        Self {
            spent: 0,
            most: i64::try_from(most).unwrap_or(i64::MAX),
            since: clock::recent(),
        }
    }

    /// Counts a frame. Returns whether there were too many of them in a short time.
    fn spend(&mut self) -> bool {
        self.spent += 1;
        if self.spent <= self.most || self.most == 0 {
            return false;
        }
        let now = clock::read();
        let too_many = now - self.since < WINDOW;
        (self.spent, self.since) = (0, now);
        too_many
    }

    /// Counts a frame of a response.
    fn earn(&mut self, length: i64) {
        self.spent = (self.spent - EARNED - length / BYTES_EARNED).max(-self.most);
    }
}

/// Where a direction of a connection stands among its frames.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    /// How much of a head has come.
    head_length: usize,
    /// What the frame said that came last, and how much of its payload is to come.
    last: Head,
    payload: u32,
}

/// The length of what is before each payload.
const HEAD: usize = 9;

/// What a frame says before its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// What has come of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'b> {
    Head,
    /// Some of its payload, and whether that is the end of it.
    Payload(&'b [u8], bool),
}

impl From<[u8; HEAD]> for Head {
    fn from([high, middle, low, kind, flags, stream @ ..]: [u8; HEAD]) -> Self {
        Self {
            length: u32::from_be_bytes([0, high, middle, low]),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        }
    }
}

/// What is to come of a frame of which some has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfinished {
    Head,
    /// Of a frame of this type.
    Payload(u8),
}

impl Frames {
    /// Those behind so many bytes that are none.
    fn behind(bytes: u32) -> Self {
        Self {
            payload: bytes,
            ..Self::default()
        }
    }

    /// Goes on by these bytes, and tells of each frame whose head is complete by them, and of payload.
    fn follow(&mut self, bytes: &[u8], mut tell: impl FnMut(Head, Part<'_>)) {
        let mut bytes = bytes;
        loop {
            if self.payload > 0 && !bytes.is_empty() {
                let (part, rest) = bytes.split_at(bytes.len().min(self.payload as usize));
                // Not more than the payload, which is as wide.
                self.payload -= part.len() as u32;
                tell(self.last, Part::Payload(part, self.payload == 0));
                bytes = rest;
            }
            if bytes.is_empty() {
                return;
            }
            let head = match bytes.split_first_chunk() {
                Some((head, rest)) if self.head_length == 0 => {
                    bytes = rest;
                    *head
                }
                _ => match self.put_together(&mut bytes) {
                    Some(head) => head,
                    None => return,
                },
            };
            self.last = Head::from(head);
            self.payload = self.last.length;
            tell(self.last, Part::Head);
            if self.payload == 0 {
                tell(self.last, Part::Payload(&[], true));
            }
        }
    }

    /// Adds to a head that arrives in pieces.
    #[cold]
    fn put_together(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEAD]> {
        let (part, rest) = bytes.split_at(bytes.len().min(HEAD - self.head_length));
        let end = self.head_length + part.len();
        self.head[self.head_length..end].copy_from_slice(part);
        *bytes = rest;
        self.head_length = end % HEAD;
        (end == HEAD).then_some(self.head)
    }

    fn unfinished(&self) -> Option<Unfinished> {
        match self {
            Self {
                payload: 1.., last, ..
            } => Some(Unfinished::Payload(last.kind)),
            Self {
                head_length: 1.., ..
            } => Some(Unfinished::Head),
            _ => None,
        }
    }
}

impl AsyncRead for Followed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.conduct.is_flooding() {
            // Whoever polls the connection asks for this next, and closes it.
            return Poll::Pending;
        }
        if self.burst >= BURST {
            self.burst = 0;
            self.conduct.burst.store(true, Relaxed);
        }
        if self.conduct.burst.load(Relaxed) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) => self.on_received(&buf.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.burst = 0,
        }
        read
    }
}

impl AsyncWrite for Followed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = written {
            self.on_sent(&buf[..written]);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = written {
            let mut left = written;
            for buf in bufs {
                let part = left.min(buf.len());
                self.on_sent(&buf[..part]);
                left -= part;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// After a flood the client's end is waited for, or closing what is unread would take back what it
    /// was told (RFC 9112, section 9.6, of the same trouble). Whoever polls this sets a limit.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        while self.conduct.is_flooding() && self.discarded < DISCARDED {
            let mut buf = [0; 4096];
            let mut buf = ReadBuf::new(&mut buf);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                read => self.discarded += read,
            }
        }
        Poll::Ready(Ok(()))
    }
}

// What makes it one of Pingora's connections.

#[async_trait]
impl Shutdown for Followed {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Followed {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl GetTimingDigest for Followed {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Followed {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Followed {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl Ssl for Followed {}

impl Peek for Followed {}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + length, 0);
        frame
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let frames = [(4, 0, 0), (1, 5, 300), (0, 1, 70_000), (6, 0, 8), (8, 0, 4)];
        let mut bytes = vec![b'P'; PREFACE as usize];
        for (kind, flags, length) in frames {
            bytes.extend_from_slice(&frame(kind, flags, length));
        }
        for size in [1, 2, 8, 9, 10, 33, 4096, bytes.len()] {
            let mut followed = Frames::behind(PREFACE);
            let mut found = Vec::new();
            for part in bytes.chunks(size) {
                followed.follow(part, |head, part| match part {
                    Part::Head => found.push((head, 0, false)),
                    // Of what comes before the first frame.
                    Part::Payload(..) if found.is_empty() => {}
                    Part::Payload(part, ends) => {
                        let (last, length, ended) = found.last_mut().unwrap();
                        assert_eq!((*last, *ended), (head, false));
                        *length += part.len();
                        *ended = ends;
                    }
                });
            }
            let heads = frames.map(|(kind, flags, length)| {
                let head = Head {
                    length: u32::try_from(length).unwrap(),
                    kind,
                    flags,
                    stream: 1,
                };
                (head, length, true)
            });
            assert_eq!(found, heads, "in pieces of {size}");
            assert_eq!(followed.unfinished(), None);
        }
    }

    #[test]
    fn what_is_due_keeps_its_number_until_it_has_come() {
        let (stream, _peer) = tokio::io::duplex(1);
        let (mut followed, conduct) = Followed::new(Box::new(stream), 0);
        followed.on_received(&[0; PREFACE as usize]);
        assert_eq!(conduct.due(), None);
        // A header section in three frames, byte by byte.
        let section = [frame(1, 0, 3), frame(9, 0, 3), frame(9, END_HEADERS, 3)].concat();
        let (last, others) = section.split_last().unwrap();
        for byte in others {
            followed.on_received(&[*byte]);
            assert_eq!(conduct.due(), Some(1));
        }
        followed.on_received(&[*last]);
        assert_eq!(conduct.due(), None);
        // The next is another.
        let ping = frame(6, 0, 8);
        followed.on_received(&ping[..3]);
        assert_eq!(conduct.due(), Some(2));
        followed.on_received(&ping[3..12]);
        assert_eq!(conduct.due(), Some(2));
        // Payload of DATA may take longer, but not what is before it.
        followed.on_received(&ping[12..]);
        let data = frame(0, 0, 8);
        followed.on_received(&data[..8]);
        assert_eq!(conduct.due(), Some(3));
        followed.on_received(&data[8..12]);
        assert_eq!(conduct.due(), None);
    }

    #[test]
    fn responses_earn_control_frames() {
        let mut control = Control::new(10);
        for _ in 0..100 {
            control.earn(0);
            for _ in 0..EARNED {
                assert!(!control.spend());
            }
        }
        // Not without end.
        control.earn(100 * BYTES_EARNED);
        assert!((0..20).all(|_| !control.spend()));
        assert!(control.spend());
        // Slowly there may be any number of them.
        let mut slow = Control::new(10);
        for _ in 0..100 {
            slow.since = Instant::now() - WINDOW;
            assert!(!slow.spend());
        }
        let mut any = Control::new(0);
        assert!((0..100_000).all(|_| !any.spend()));
    }
}
