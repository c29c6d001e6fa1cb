//! Bodies that are made while they are read: a page about 10,000 routes is several megabytes, which
//! are nowhere at once.

use std::{
    fmt,
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use tokio::{runtime::Handle, sync::mpsc};

/// Bytes that are handed on together.
const PIECE: usize = 32 * 1024;

/// How long a client may take to read a piece. What makes a page waits for its readers, and there is
/// not much room to wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a page is not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Whoever asked is gone, or does not read.
    #[error("the page is not read")]
    Unread(#[from] io::Error),
    /// What is to be written has no such form.
    #[error("the page cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The same of metrics.
    #[error("the metrics cannot be written")]
    Format(#[from] fmt::Error),
    /// It ended where there was more to come.
    #[error("the page ends early")]
    Cut,
}

/// The body of a page.
#[derive(Debug)]
pub(super) struct Body {
    next: Option<Piece>,
    rest: Option<mpsc::Receiver<Piece>>,
}

#[derive(Debug)]
enum Piece {
    More(Bytes),
    Last(Bytes),
}

impl Body {
    /// A page that is there.
    pub(super) fn new(page: Bytes) -> Self {
        Self {
            next: Some(Piece::Last(page)),
            rest: None,
        }
    }

    /// A page that is written beside; `None` where that fails before the first piece is full. Where it
    /// fails later, the client finds the page cut.
    pub(super) async fn write(
        write: impl FnOnce(&mut Writer) -> Result<(), Failure> + Send + 'static,
    ) -> Option<Self> {
        let (pieces, mut rest) = mpsc::channel(1);
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut writer = Writer {
                piece: BytesMut::new(),
                pieces,
                runtime,
            };
            let written = write(&mut writer).and_then(|()| Ok(writer.end()?));
            if let Err(error) = written {
                tracing::debug!(%error, "a page of the admin address is not whole");
            }
        });
        let next = Some(rest.recv().await?);
        Some(Self {
            next,
            rest: Some(rest),
        })
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let next = match (self.next.take(), &mut self.rest) {
            (None, None) => return Poll::Ready(None),
            (Some(next), _) => Some(next),
            (None, Some(rest)) => std::task::ready!(rest.poll_recv(context)),
        };
        Poll::Ready(Some(match next {
            Some(Piece::More(bytes)) => Ok(Frame::data(bytes)),
            Some(Piece::Last(bytes)) => {
                self.rest = None;
                Ok(Frame::data(bytes))
            }
            None => {
                self.rest = None;
                Err(Failure::Cut)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.rest.is_none()
    }

    /// Of what fits into one piece, the length is known.
    fn size_hint(&self) -> SizeHint {
        match &self.next {
            Some(Piece::Last(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Piece::More(_)) | None => SizeHint::default(),
        }
    }
}

/// Where a page is written, on a thread that may wait.
#[derive(Debug)]
pub(super) struct Writer {
    piece: BytesMut,
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
}

impl Writer {
    /// Writes a value as JSON, for people too.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut *self, value)?;
        Ok(self.write_all(b"\n")?)
    }

    fn end(mut self) -> io::Result<()> {
        let rest = self.piece.split().freeze();
        self.send(Piece::Last(rest))
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        let sent = tokio::time::timeout(PATIENCE, self.pieces.send(piece));
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            let piece = self.piece.split().freeze();
            self.send(Piece::More(piece))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests;
