//! A body that is read as a whole before anybody gets it: its beginning in memory, the rest in a file.
//!
//! The file has no name, so that nothing of it outlives the request or the process. It is written and read
//! on threads that may wait.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use ferrix_http1::Piece;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::counters::Counters;

/// In pieces of so many bytes it is kept, written and read.
const PIECE: usize = 64 * 1024;

/// A body as far as it has come.
pub(crate) struct Filling {
    kept: Kept,
    memory_bytes: u64,
    /// What is no whole piece yet.
    last: BytesMut,
    file: Option<File>,
    length: u64,
}

/// A body that has come to its end, and is given out once.
pub(crate) struct Buffered {
    kept: Kept,
    /// What of the file is left.
    stored: Stored,
}

/// What of a body is in memory, counted among what waits in the process.
struct Kept {
    pieces: VecDeque<Bytes>,
    bytes: u64,
    counters: Arc<Counters>,
}

enum Stored {
    None,
    /// So many bytes.
    Ready(File, u64),
    /// Of so many bytes, a piece is being read.
    Reading(JoinHandle<(File, io::Result<Bytes>)>, u64),
}

impl Kept {
    fn push(&mut self, piece: Bytes) {
        self.count(piece.len(), 1);
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.count(piece.len(), -1);
        Some(piece)
    }

    fn count(&mut self, length: usize, sign: i64) {
        let bytes = sign * i64::try_from(length).unwrap_or(i64::MAX);
        self.counters.buffered_bytes.add(bytes);
        self.bytes = self.bytes.saturating_add_signed(bytes);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl Filling {
    /// Nothing yet; so many bytes stay in memory.
    pub(crate) fn new(memory_bytes: u64, counters: &Arc<Counters>) -> Self {
        Self {
            kept: Kept {
                pieces: VecDeque::new(),
                bytes: 0,
                counters: Arc::clone(counters),
            },
            memory_bytes,
            last: BytesMut::new(),
            file: None,
            length: 0,
        }
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Adds a piece, which is copied: others hold on to a buffer that may be much larger.
    pub(crate) async fn add(&mut self, data: &[u8], folder: &Path) -> io::Result<()> {
        self.length += data.len() as u64;
        self.last.extend_from_slice(data);
        while self.last.len() >= PIECE {
            let piece = self.last.split_to(PIECE).freeze();
            self.keep(piece, folder).await?;
        }
        Ok(())
    }

    /// It has come to its end.
    pub(crate) async fn end(mut self, folder: &Path) -> io::Result<Buffered> {
        let last = self.last.split().freeze();
        if !last.is_empty() {
            self.keep(last, folder).await?;
        }
        let stored = match self.file {
            None => Stored::None,
            Some(file) => {
                let mut file = file;
                let rewound = spawn_blocking(move || file.rewind().map(|()| file)).await;
                let left = self.length - self.kept.bytes;
                Stored::Ready(rewound.map_err(ended)??, left)
            }
        };
        Ok(Buffered {
            kept: self.kept,
            stored,
        })
    }

    async fn keep(&mut self, piece: Bytes, folder: &Path) -> io::Result<()> {
        let with_it = self.kept.bytes + piece.len() as u64;
        // What is behind the file's beginning comes after it.
        if self.file.is_none() && with_it <= self.memory_bytes {
            self.kept.push(piece);
            return Ok(());
        }
        let file = self.file.take();
        let folder = folder.to_owned();
        let written = spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => tempfile::tempfile_in(folder)?,
            };
            file.write_all(&piece)?;
            Ok::<_, io::Error>(file)
        });
        self.file = Some(written.await.map_err(ended)??);
        Ok(())
    }
}

impl Buffered {
    /// How much is left of it, in bytes.
    pub(crate) fn len(&self) -> u64 {
        let stored = match &self.stored {
            Stored::None => 0,
            Stored::Ready(_, left) | Stored::Reading(_, left) => *left,
        };
        self.kept.bytes + stored
    }

    /// The next piece, or the end.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        if let Some(piece) = self.kept.pop() {
            return Poll::Ready(Ok(Piece::Data(piece)));
        }
        loop {
            match std::mem::replace(&mut self.stored, Stored::None) {
                Stored::None | Stored::Ready(_, 0) => return Poll::Ready(Ok(Piece::End(None))),
                Stored::Ready(file, left) => {
                    let reading = spawn_blocking(move || read(file, left));
                    self.stored = Stored::Reading(reading, left);
                }
                Stored::Reading(mut reading, left) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.stored = Stored::Reading(reading, left);
                        return Poll::Pending;
                    };
                    let (file, piece) = read.map_err(ended)?;
                    let piece = piece?;
                    self.stored = Stored::Ready(file, left - piece.len() as u64);
                    return Poll::Ready(Ok(Piece::Data(piece)));
                }
            }
        }
    }
}

/// A piece of a file that has so many bytes left.
fn read(file: File, left: u64) -> (File, io::Result<Bytes>) {
    let mut file = file;
    let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let mut piece = vec![0; length];
    let read = file.read_exact(&mut piece);
    (file, read.map(|()| piece.into()))
}

/// The process ends, or a bug ended the thread.
fn ended(error: JoinError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn whole(mut buffered: Buffered) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            match poll_fn(|cx| buffered.poll_piece(cx)).await.unwrap() {
                Piece::Data(data) => whole.extend_from_slice(&data),
                Piece::End(_) => return whole,
            }
        }
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let counters = Arc::<Counters>::default();
        let body: Vec<_> = (0..400_000_u32).map(|it| (it % 251) as u8).collect();
        let mut ran = 0;
        for memory_bytes in [0, 1000, 100_000, 200_000, 10_000_000] {
            for length in [0, 1, 1000, PIECE, PIECE + 1, 3 * PIECE, 400_000] {
                for piece in [999, 300_000] {
                    let folder = std::env::temp_dir();
                    let mut filling = Filling::new(memory_bytes, &counters);
                    for data in body[..length].chunks(piece) {
                        filling.add(data, &folder).await.unwrap();
                    }
                    assert_eq!(filling.len(), length as u64);
                    let buffered = filling.end(&folder).await.unwrap();
                    let waits = counters.buffered_bytes.get();
                    assert!(waits <= i64::try_from(memory_bytes).unwrap());
                    assert!(
                        whole(buffered).await == body[..length],
                        "{memory_bytes} {length}"
                    );
                    assert_eq!(counters.buffered_bytes.get(), 0);
                    ran += 1;
                }
            }
        }
        assert_eq!(ran, 5 * 7 * 2);
    }

    #[tokio::test]
    async fn only_what_does_not_fit_needs_the_folder() {
        let counters = Arc::<Counters>::default();
        let nowhere = Path::new("/nowhere/at/all");
        let mut small = Filling::new(1000, &counters);
        small.add(&[1; 1000], nowhere).await.unwrap();
        assert_eq!(whole(small.end(nowhere).await.unwrap()).await, [1; 1000]);
        let mut large = Filling::new(1000, &counters);
        large.add(&[1; 1001], nowhere).await.unwrap();
        assert!(large.end(nowhere).await.is_err());
        assert_eq!(counters.buffered_bytes.get(), 0);
    }
}
