//! Bodies that are read before requests go on.

use std::fmt;

/// The whole body of a request is read before its service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBuffering {
    /// The longest body, in bytes; no longer one passes.
    pub max_bytes: u64,
    /// How much of it is kept in memory, in bytes, the rest in a file.
    pub memory_bytes: u64,
}

/// `10485760 bytes at most, 65536 of them in memory`.
impl fmt::Display for RequestBuffering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max_bytes,
            memory_bytes,
        } = self;
        write!(
            f,
            "{max_bytes} bytes at most, {memory_bytes} of them in memory"
        )
    }
}
