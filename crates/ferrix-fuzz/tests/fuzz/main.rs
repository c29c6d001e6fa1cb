//! Whatever reads text or bytes of others, on inputs that are nearly valid.
//!
//! `cargo test -p ferrix-fuzz` runs every target for a second, after its corpus. Longer, and with
//! optimised code: `BOLERO_RANDOM_TEST_TIME_MS=600000 CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test -p
//! ferrix-fuzz TARGET`. A failure prints the input: put it into the target's corpus.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees tests only in functions marked as such"
)]

/// Checks a property on a corpus and near it. A macro, because bolero names a target by the place
/// that it stands at.
macro_rules! fuzz {
    ($corpus:expr, $property:path) => {{
        let corpus: ferrix_fuzz::Corpus = $corpus;
        for input in corpus.inputs() {
            $property(&input.0);
        }
        bolero::check!()
            .with_generator(corpus.near())
            .for_each(|input: &ferrix_fuzz::Input| $property(&input.0));
    }};
}

mod chunks;
mod host;
mod http2;
mod login;
mod path;
mod proxy_protocol;
mod request;
mod response;
mod rule;
mod settings;
mod substitution;
mod token;
