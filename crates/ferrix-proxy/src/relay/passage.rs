//! What the body of a response passes on its way from the backend to the client.

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    client::Client,
    encoder::{self, Encoder},
    failure::Failure,
    filters::cache,
};

/// Nothing, for most responses.
#[derive(Default)]
pub(crate) struct Passage {
    /// Where it is kept: as the backend sends it.
    pub(super) copy: Option<Box<cache::Copy>>,
    /// Where it is compressed.
    pub(super) encoder: Option<Box<Encoder>>,
}

impl Passage {
    /// Whether something of what came is not with the client, and is not on its way either.
    pub(super) fn holds(&self) -> bool {
        self.encoder.as_deref().is_some_and(Encoder::holds)
    }

    /// The most that may come at once.
    pub(super) fn most(&self) -> usize {
        match self.encoder {
            Some(_) => encoder::PIECE,
            None => usize::MAX,
        }
    }

    /// Keeps a piece where the body is kept.
    pub(super) fn keep(&mut self, data: &[u8]) {
        if self.copy.as_mut().is_some_and(|copy| !copy.data(data)) {
            self.copy = None;
        }
    }

    /// Passes a piece on.
    pub(super) fn data(&mut self, client: &mut Client<'_>, data: Bytes) -> Result<(), Failure> {
        self.keep(&data);
        match &mut self.encoder {
            None => client.data(data),
            Some(encoder) => client.data(encoder.encode(&data).map_err(encoder::failure)?),
        }
    }

    /// Sends what has come so far.
    pub(super) fn flush(&mut self, client: &mut Client<'_>) -> Result<(), Failure> {
        match &mut self.encoder {
            Some(encoder) if encoder.holds() => {
                client.data(encoder.flush().map_err(encoder::failure)?)
            }
            _ => Ok(()),
        }
    }

    /// Ends the response, after what of its body has not been sent.
    pub(super) fn finish(
        &mut self,
        client: &mut Client<'_>,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Failure> {
        if let Some(copy) = self.copy.take() {
            copy.finish();
        }
        if let Some(mut encoder) = self.encoder.take() {
            client.data(encoder.finish().map_err(encoder::failure)?)?;
        }
        client.finish(trailers)
    }

    /// Lets others on the same worker have their turn, where that is due.
    pub(super) async fn take_turns(&mut self) {
        if let Some(encoder) = &mut self.encoder {
            encoder.take_turns().await;
        }
    }
}
