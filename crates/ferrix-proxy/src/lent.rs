//! What the `h2` crate has of a stream that is sent: counted until the connection has written it,
//! for the crate itself does not tell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;

/// Pieces up to this size are not counted: the crate's own limit for a stream bounds those.
const LITTLE: usize = 4 * 1024;

/// The bytes of a stream that the crate has. Takes no memory before there are some.
#[derive(Debug, Default)]
pub(crate) struct Lent(Option<Arc<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    bytes: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

impl Lent {
    pub(crate) fn bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |counted| counted.bytes.load(Relaxed))
    }

    /// The same piece, counted until the crate drops it.
    pub(crate) fn lend(&mut self, piece: Bytes) -> Bytes {
        if piece.len() <= LITTLE {
            return piece;
        }
        let counted = Arc::clone(self.0.get_or_insert_default());
        counted.bytes.fetch_add(piece.len(), Relaxed);
        Bytes::from_owner(Loan { piece, counted })
    }

    /// Wakes the task when the crate has written some of it.
    pub(crate) fn wake_when_less(&self, cx: &Context<'_>) {
        if let Some(counted) = &self.0
            && counted.bytes.load(Relaxed) > 0
        {
            *counted.waiting.lock() = Some(cx.waker().clone());
        }
    }
}

/// A piece that the crate has.
struct Loan {
    piece: Bytes,
    counted: Arc<Counted>,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Counted { bytes, waiting } = &*self.counted;
        bytes.fetch_sub(self.piece.len(), Relaxed);
        if let Some(waiting) = waiting.lock().take() {
            waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering::SeqCst, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn what_is_lent_is_counted_until_it_is_dropped() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let mut lent = Lent::default();
        lent.wake_when_less(&cx);
        let little = lent.lend(Bytes::from(vec![b'x'; LITTLE]));
        assert_eq!((little.len(), lent.bytes()), (LITTLE, 0));
        let mut one = lent.lend(Bytes::from(vec![b'x'; LITTLE + 1]));
        let two = lent.lend(Bytes::from(vec![b'x'; 2 * LITTLE]));
        assert_eq!(lent.bytes(), 3 * LITTLE + 1);
        let part = one.split_to(10);
        drop(part);
        assert_eq!(lent.bytes(), 3 * LITTLE + 1, "the rest holds all of it");
        lent.wake_when_less(&cx);
        assert_eq!(woken.0.load(SeqCst), 0);
        drop(one);
        assert_eq!((lent.bytes(), woken.0.load(SeqCst)), (2 * LITTLE, 1));
        drop(two);
        assert_eq!((lent.bytes(), woken.0.load(SeqCst)), (0, 1));
    }
}
