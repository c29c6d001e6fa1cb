//! What the body of one side of an exchange is read from, client or backend.

use crate::{io::HIGH_WATER, stream::StreamReader, wire::Wire};

/// The receiving half of a connection or a stream.
pub(crate) enum Inlet<'i> {
    /// HTTP/1.
    Wire(&'i mut Wire),
    /// HTTP/2.
    Stream(&'i mut StreamReader),
    /// HTTP/2 before the header section has come.
    Closed,
}

impl Inlet<'_> {
    /// How much a read should ask for.
    pub(crate) fn read_size(&self) -> usize {
        match self {
            Self::Wire(wire) => wire.read_size(),
            Self::Stream(reader) => reader.read_size(),
            Self::Closed => HIGH_WATER,
        }
    }

    /// Lets the sender go on. Of what was read, so much still `waits` for the other side, which
    /// surely `takes` so much more; see [`Outlet::takes`](crate::outlet::Outlet::takes).
    pub(crate) fn release(self, waits: usize, takes: Option<usize>) {
        if let Self::Stream(reader) = self {
            reader.release(waits, takes);
        }
    }

    /// Whether a large piece has memory of its own, and not a part of a buffer: a frame has.
    pub(crate) fn gives_own_memory(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Nothing is read for a while.
    pub(crate) fn rest(self) {
        if let Self::Wire(wire) = self {
            wire.io.read.give_back();
        }
    }
}
