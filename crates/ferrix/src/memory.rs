//! Memory that nobody uses, given back to the system.

use std::{hint::black_box, time::Duration};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// More than the allocator puts together with anything else.
const LARGE: usize = 1 << 20;

/// Has the allocator give back what has been free for a while.
///
/// It does so only when a large piece is asked for or comes back, so that what an attack took would
/// stay until others need it. The piece is never written to, and so costs no memory.
pub(crate) async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
