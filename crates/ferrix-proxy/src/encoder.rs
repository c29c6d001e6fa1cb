//! Bodies that are compressed on their way.

use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use compression_codecs::{
    BrotliEncoder, EncodeV2, GzipEncoder, ZstdEncoder,
    brotli::params::EncoderParams,
    core::{
        Level,
        util::{PartialBuffer, WriteBuffer},
    },
    zstd::params::CParameter,
};
use ferrix_table::filters::compression::ContentEncoding;

use crate::failure::Failure;

/// As much is compressed at once: some tenths of a millisecond.
pub(crate) const PIECE: usize = 16 * 1024;

/// After so much others on the same worker have their turn.
const TURN: usize = 4 * PIECE;

/// What comes out is written here first.
const SCRATCH: usize = 8 * 1024;

/// Compresses a body piece by piece.
///
/// It looks back no further than its window, which is small, because there may be thousands of streams
/// that last for hours, and smaller still for a body that is known to be short.
pub(crate) struct Encoder {
    codec: Box<dyn EncodeV2 + Send>,
    scratch: Box<[u8]>,
    /// Whether something of what went in has not come out.
    holds: bool,
    /// What went in since others had their turn.
    since_turn: usize,
}

impl Encoder {
    /// `length`: that of the body, where it is known.
    pub(crate) fn new(encoding: ContentEncoding, length: Option<u64>) -> Self {
        Self {
            codec: codec(encoding, length),
            scratch: vec![0; SCRATCH].into(),
            holds: false,
            since_turn: 0,
        }
    }

    /// Takes a piece. Gives what comes out by itself.
    pub(crate) fn encode(&mut self, data: &[u8]) -> io::Result<Bytes> {
        if data.is_empty() {
            return Ok(Bytes::new());
        }
        self.holds = true;
        self.since_turn += data.len();
        let mut input = PartialBuffer::new(data);
        self.run(|codec, room| {
            codec.encode(&mut input, room)?;
            Ok(input.unwritten().is_empty())
        })
    }

    /// Whether something of what went in has not come out.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    /// Gives all of what went in, so that a reader has it without what follows.
    pub(crate) fn flush(&mut self) -> io::Result<Bytes> {
        self.holds = false;
        self.run(|codec, room| codec.flush(room))
    }

    /// Gives the rest, and the end.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        self.holds = false;
        self.run(|codec, room| codec.finish(room))
    }

    /// Lets others on the same worker have their turn, where that is due.
    pub(crate) async fn take_turns(&mut self) {
        if self.since_turn >= TURN {
            self.since_turn = 0;
            tokio::task::yield_now().await;
        }
    }

    fn run(
        &mut self,
        mut step: impl FnMut(&mut dyn EncodeV2, &mut WriteBuffer<'_>) -> io::Result<bool>,
    ) -> io::Result<Bytes> {
        let mut out = BytesMut::new();
        loop {
            let mut room = WriteBuffer::new_initialized(&mut self.scratch);
            let done = step(&mut *self.codec, &mut room)?;
            out.extend_from_slice(room.written());
            if done {
                return Ok(out.freeze());
            }
        }
    }
}

/// No body makes an encoder fail; what is left is that there is no memory.
pub(crate) fn failure(error: io::Error) -> Failure {
    Failure::Upstream(format!("its answer cannot be compressed: {error}"))
}

/// Compresses a whole body.
pub(crate) async fn whole(encoding: ContentEncoding, body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = Encoder::new(encoding, Some(body.len() as u64));
    let mut out = BytesMut::new();
    for piece in body.chunks(PIECE) {
        out.extend_from_slice(&encoder.encode(piece)?);
        encoder.take_turns().await;
    }
    out.extend_from_slice(&encoder.finish()?);
    Ok(out.freeze())
}

/// Levels at which each takes about as long as the others, and is worth its time on the way.
fn codec(encoding: ContentEncoding, length: Option<u64>) -> Box<dyn EncodeV2 + Send> {
    match encoding {
        ContentEncoding::Zstd => {
            let window = window(length, 10..=16);
            let parameters = [
                CParameter::window_log(window),
                CParameter::hash_log(window.min(15)),
                CParameter::chain_log(window.min(15)),
            ];
            Box::new(ZstdEncoder::new_with_params(3, &parameters))
        }
        ContentEncoding::Brotli => {
            let window = i32::try_from(window(length, 10..=16)).unwrap_or(16);
            let parameters = EncoderParams::default()
                .quality(Level::Precise(4))
                .window_size(window);
            Box::new(BrotliEncoder::new(parameters))
        }
        ContentEncoding::Gzip => Box::new(GzipEncoder::new(Level::Precise(5).into())),
    }
}

/// The binary logarithm of a window that holds all of the body, if it may be so large.
fn window(length: Option<u64>, bounds: std::ops::RangeInclusive<u32>) -> u32 {
    let bits = length.map_or(*bounds.end(), |length| u64::BITS - length.leading_zeros());
    bits.clamp(*bounds.start(), *bounds.end())
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("holds", &self.holds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What a reader has of what came so far.
    struct Reader {
        decoder: Box<dyn DecodeV2>,
        read: Vec<u8>,
    }

    impl Reader {
        fn new(encoding: ContentEncoding) -> Self {
            let decoder: Box<dyn DecodeV2> = match encoding {
                ContentEncoding::Zstd => Box::new(ZstdDecoder::new()),
                ContentEncoding::Brotli => Box::new(BrotliDecoder::new()),
                ContentEncoding::Gzip => Box::new(GzipDecoder::new()),
            };
            Self {
                decoder,
                read: Vec::new(),
            }
        }

        /// Reads all there is. Returns whether it was the end.
        fn read(&mut self, bytes: &[u8]) -> bool {
            let mut input = PartialBuffer::new(bytes);
            let mut scratch = [0; 997];
            loop {
                let mut room = WriteBuffer::new_initialized(&mut scratch);
                let Ok(ended) = self.decoder.decode(&mut input, &mut room) else {
                    // That of gzip complains where it is given nothing and has nothing.
                    assert!(input.unwritten().is_empty());
                    return false;
                };
                self.read.extend_from_slice(room.written());
                if ended {
                    assert!(input.unwritten().is_empty(), "bytes behind the end");
                    return true;
                }
                if input.unwritten().is_empty() && !room.has_no_spare_space() {
                    return false;
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// After each flush a reader has all that went in, and after the end no more than that.
        #[test]
        fn what_comes_out_is_what_went_in(
            pieces in vec((vec(0_u8..4, 0..20_000), any::<bool>()), 0..8),
            length_is_known in any::<bool>(),
        ) {
            for encoding in ContentEncoding::ALL {
                let all: usize = pieces.iter().map(|(piece, _)| piece.len()).sum();
                let mut encoder = Encoder::new(encoding, length_is_known.then_some(all as u64));
                let mut reader = Reader::new(encoding);
                let mut sent = Vec::new();
                for (piece, flush) in &pieces {
                    sent.extend_from_slice(piece);
                    reader.read(&encoder.encode(piece).unwrap());
                    if *flush && encoder.holds() {
                        reader.read(&encoder.flush().unwrap());
                        prop_assert_eq!(&reader.read, &sent);
                    }
                    prop_assert!(encoder.holds() || reader.read == sent);
                }
                prop_assert!(reader.read(&encoder.finish().unwrap()));
                prop_assert_eq!(&reader.read, &sent);
            }
        }
    }

    #[tokio::test]
    async fn a_whole_body_is_smaller_and_the_same() {
        let body = "all work and no play ".repeat(10_000);
        for encoding in ContentEncoding::ALL {
            let encoded = whole(encoding, body.as_bytes()).await.unwrap();
            assert!(
                encoded.len() < body.len() / 50,
                "{encoding:?} {}",
                encoded.len()
            );
            let mut reader = Reader::new(encoding);
            assert!(reader.read(&encoded));
            assert_eq!(reader.read, body.as_bytes());
        }
    }

    #[test]
    fn a_window_is_no_larger_than_the_body() {
        let cases = [
            (None, 16),
            (Some(0), 10),
            (Some(1024), 11),
            (Some(20_000), 15),
            (Some(u64::MAX), 16),
        ];
        for (length, bits) in cases {
            assert_eq!(window(length, 10..=16), bits, "{length:?}");
        }
        assert_eq!(cases.len(), 5);
    }
}
