//! What one side of an exchange is sent through, client or backend.

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    io::HIGH_WATER,
    stream::StreamWriter,
    wire::{Wire, WireError},
};

/// The sending half of a connection or a stream.
pub(crate) enum Outlet<'o> {
    /// HTTP/1.
    Wire(&'o mut Wire),
    /// HTTP/2.
    Stream(&'o mut StreamWriter),
    /// HTTP/2 before the header section is sent, or without a body after it.
    Closed,
}

impl<'o> Outlet<'o> {
    /// That of an HTTP/2 stream.
    pub(crate) fn of(writer: &'o mut Option<StreamWriter>) -> Self {
        writer.as_mut().map_or(Self::Closed, Self::Stream)
    }

    /// Sends a piece of the body.
    pub(crate) fn data(self, data: Bytes) -> Result<(), WireError> {
        match self {
            Self::Wire(wire) => return wire.data(data),
            Self::Stream(writer) => writer.push(data),
            Self::Closed => {}
        }
        Ok(())
    }

    /// Sends the end of the body.
    pub(crate) fn finish(self, trailers: Option<HeaderMap>) -> Result<(), WireError> {
        match self {
            Self::Wire(wire) => return wire.finish(trailers.as_ref()),
            Self::Stream(writer) => writer.finish(trailers),
            Self::Closed => {}
        }
        Ok(())
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Wire(wire) => wire.io.pending(),
            Self::Stream(writer) => writer.pending(),
            Self::Closed => 0,
        }
    }

    /// The same with those that a library has.
    pub(crate) fn waits(&self) -> usize {
        match self {
            Self::Stream(writer) => writer.waits(),
            Self::Wire(_) | Self::Closed => self.pending(),
        }
    }

    /// Whether so much waits that nothing more is read for this side.
    pub(crate) fn is_behind(&self) -> bool {
        match self {
            Self::Wire(wire) => wire.io.is_behind(),
            Self::Stream(writer) => writer.is_behind(),
            Self::Closed => false,
        }
    }

    /// How much the system surely takes at once, as far as that is known. `None`: of a stream among
    /// others, nobody knows.
    pub(crate) fn takes(&self) -> Option<usize> {
        match self {
            Self::Wire(wire) => Some(wire.io.takes()),
            Self::Stream(_) | Self::Closed => None,
        }
    }

    /// How much may be read for this side now, of `wanted`.
    pub(crate) fn room(&mut self, wanted: usize) -> usize {
        match self {
            Self::Wire(wire) => wire.io.room(wanted),
            Self::Stream(writer) => writer.room(wanted),
            Self::Closed => HIGH_WATER.min(wanted),
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.pending() == 0
    }

    /// What leaves without waiting.
    pub(crate) fn drain_now(self) {
        match self {
            Self::Wire(wire) => wire.io.drain_now(),
            Self::Stream(writer) => writer.drain_now(),
            Self::Closed => {}
        }
    }

    /// Ready when some of what waits has left; with an error when nothing can leave any more.
    pub(crate) fn poll_drain(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Wire(wire) if !wire.io.is_drained() => wire.io.poll_drain(cx),
            Self::Stream(writer) if !writer.is_finished() => writer.poll_drain(cx),
            Self::Wire(_) | Self::Stream(_) | Self::Closed => Poll::Pending,
        }
    }
}
