//! How much the system takes of what is written, whoever reads it at the other end.

/// Where the system does not tell, this part of what it took without a stop is dared. No system's
/// buffers hold so much that a peer that reads nothing is taken for one that does.
const DARED: usize = 32;

/// So much is written before the system is asked again: where networks are slow, an answer is small
/// and worth few questions.
const LASTS: usize = 32 * 1024;

/// The room in a socket for what is written to it, as far as that is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum SocketRoom {
    /// The system was not asked since the socket was last full.
    #[default]
    Unknown,
    /// It took less than there was, and the rest waits.
    Full,
    /// The system told.
    Told {
        /// So many bytes are left of what it told.
        left: usize,
        /// So many were written since.
        written: usize,
    },
    /// The system does not tell. So much it took without a stop.
    Untold { taken: usize },
}

impl SocketRoom {
    /// So many bytes are surely taken at once.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Unknown | Self::Full => 0,
            Self::Told { left, .. } => *left,
            Self::Untold { taken } => taken / DARED,
        }
    }

    /// Finds out by the system's answer, where it is not known that there are `wanted` bytes and
    /// where an answer can be a new one.
    pub(crate) fn find_out(&mut self, wanted: usize, ask: impl FnOnce() -> Option<usize>) {
        let asks = match self {
            Self::Unknown => true,
            Self::Full | Self::Untold { .. } => false,
            Self::Told { left, written } => *left < wanted && *written >= LASTS.max(*left),
        };
        if asks {
            *self = match ask() {
                Some(left) => Self::Told { left, written: 0 },
                None => Self::Untold { taken: 0 },
            };
        }
    }

    /// So many bytes were written.
    pub(crate) fn count_written(&mut self, bytes: usize) {
        match self {
            Self::Unknown | Self::Full => {}
            Self::Told { left, written } => {
                *left = left.saturating_sub(bytes);
                *written = written.saturating_add(bytes);
            }
            Self::Untold { taken } => *taken = taken.saturating_add(bytes),
        }
    }

    /// The socket took less than there was.
    pub(crate) fn fill(&mut self) {
        *self = Self::Full;
    }

    /// All has left that was there.
    pub(crate) fn drain(&mut self) {
        if *self == Self::Full {
            *self = Self::Unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lasts() {
        let mut room = SocketRoom::default();
        assert_eq!(room.bytes(), 0);
        room.find_out(100_000, || Some(300_000));
        for left in [200_000, 100_000] {
            room.count_written(100_000);
            room.find_out(100_000, || panic!("as much is known"));
            assert_eq!(room.bytes(), left);
        }
        room.find_out(150_000, || Some(10_000));
        assert_eq!(room.bytes(), 10_000);
        room.count_written(LASTS - 1);
        room.find_out(150_000, || panic!("it was asked just now"));
        assert_eq!(room.bytes(), 0);
        room.count_written(1);
        room.find_out(150_000, || Some(60_000));
        assert_eq!(room.bytes(), 60_000);
    }

    #[test]
    fn a_full_socket_is_not_asked_before_it_has_drained() {
        let mut room = SocketRoom::default();
        room.find_out(1, || Some(300_000));
        room.fill();
        room.count_written(10);
        room.find_out(1, || panic!("it is full"));
        assert_eq!(room.bytes(), 0);
        room.drain();
        room.find_out(1, || Some(200_000));
        assert_eq!(room.bytes(), 200_000);
        room.drain();
        assert_eq!(room.bytes(), 200_000, "it was not full");
    }

    #[test]
    fn a_system_that_does_not_tell_is_asked_once() {
        let mut room = SocketRoom::default();
        room.find_out(1, || None);
        assert_eq!(room.bytes(), 0);
        room.find_out(1, || panic!("it does not tell"));
        room.count_written(DARED * 1000);
        assert_eq!(room.bytes(), 1000);
    }
}
