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

    /// How much may be read for this side now, of `wanted`.
    pub(crate) fn room(self, wanted: usize) -> usize {
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
