//! What was read of a connection and not yet used.

use std::{
    cell::Cell,
    mem,
    ops::{Deref, DerefMut},
};

use bytes::BytesMut;

/// Buffers smaller than this are not kept for the next read.
const SPARED: usize = 4 * 1024;

/// The most that is read at once. Large bodies cost a fifth less in pieces of 256 KiB than of 64,
/// and one of 1 MiB is three of these.
pub(crate) const LARGEST: usize = 352 * 1024;

/// From this size on, buffers are of the largest size, of which reads touch what they need, and are
/// kept by themselves: neither a short read nor a long one takes away what the other is going to
/// use.
const LARGE: usize = 64 * 1024;

thread_local! {
    /// A small buffer and a large one that nobody uses, for the next read of this thread: Pingora's
    /// streams do not tell whether there is something to read, and a connection that waits should
    /// hold no buffer.
    static SPARES: [Cell<BytesMut>; 2] = Default::default();
}

/// The bytes that were read and not yet used. Pieces of a message are split off without copying,
/// and each holds the whole buffer that it was read into.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer(BytesMut);

impl ReadBuffer {
    /// Makes room for a read of `size` bytes, or at least of half as many, in a buffer that is not
    /// much larger: what is read may have to wait, and holds all of it.
    pub(crate) fn make_room(&mut self, size: usize) {
        if self.capacity() - self.len() >= size / 2 {
            return;
        }
        if self.is_empty() && !(self.try_reclaim(size) && fits(self, size)) {
            self.give_back();
            self.0 = spare(size);
        }
        self.reserve(match size {
            LARGE.. => size.max(LARGEST),
            _ => size,
        });
    }

    /// Gives the buffer back, where nothing is in it: the next read of this thread can have it, or
    /// what pieces that are still on their way leave of it.
    pub(crate) fn give_back(&mut self) {
        if self.is_empty() {
            let mut buffer = mem::take(&mut self.0);
            if buffer.try_reclaim(SPARED) {
                keep(buffer);
            }
        }
    }
}

/// Keeps a buffer that nobody uses.
fn keep(buffer: BytesMut) {
    SPARES.with(|spares| spares[usize::from(buffer.capacity() >= LARGE)].set(buffer));
}

/// Whether a buffer is not much too large for a read of this size. Large reads are of what need not
/// wait.
fn fits(buffer: &BytesMut, size: usize) -> bool {
    size >= LARGE || buffer.capacity() <= size + size / 4
}

/// The spare buffer for a read of this size, if it is not much larger.
fn spare(size: usize) -> BytesMut {
    let spare = SPARES.with(|spares| spares[usize::from(size >= LARGE)].take());
    match fits(&spare, size) {
        true => spare,
        false => {
            keep(spare);
            BytesMut::new()
        }
    }
}

impl From<BytesMut> for ReadBuffer {
    fn from(read: BytesMut) -> Self {
        Self(read)
    }
}

impl Deref for ReadBuffer {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.0
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(read: &mut ReadBuffer) -> BytesMut {
        let capacity = read.capacity();
        read.resize(capacity, b'x');
        read.split()
    }

    #[test]
    fn a_buffer_is_used_again_when_its_pieces_have_left() {
        let mut read = ReadBuffer::default();
        read.make_room(2 * SPARED);
        let buffer = read.as_ptr();
        drop(fill(&mut read));
        read.make_room(2 * SPARED);
        assert_eq!(read.as_ptr(), buffer, "by the same connection");
        read.give_back();
        assert_eq!(read.capacity(), 0);
        let mut other = ReadBuffer::default();
        other.make_room(2 * SPARED - 1);
        assert_eq!(other.as_ptr(), buffer, "by another of the thread");
        other.give_back();
        other.make_room(SPARED);
        assert_ne!(other.as_ptr(), buffer, "but not by a much smaller read");
        let mut large = ReadBuffer::default();
        large.make_room(LARGE);
        assert_eq!(large.capacity(), LARGEST);
        large.give_back();
        assert_eq!(
            spare(2 * SPARED).as_ptr(),
            buffer,
            "nor is it lost to a large one"
        );
    }

    #[test]
    fn what_waits_elsewhere_is_all_that_holds_its_buffer() {
        let mut read = ReadBuffer::default();
        read.make_room(2 * SPARED);
        let mut piece = fill(&mut read);
        read.give_back();
        assert_eq!(spare(2 * SPARED).capacity(), 0, "it is in use");
        piece.clear();
        assert!(
            piece.try_reclaim(2 * SPARED),
            "by nobody else than the piece"
        );
        read.extend_from_slice(b"unused");
        read.give_back();
        assert_eq!(read[..], *b"unused");
    }
}
