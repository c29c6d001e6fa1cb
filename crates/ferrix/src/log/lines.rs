//! Lines of the log on their way to a stream that may be slow, stuck or gone.
//!
//! ```text
//!  any thread: one line ─► waiting (at most LIMIT bytes) ─► writer thread: all of them in one write
//! ```
//!
//! Whoever logs copies a line and goes on. Where there is no room, or the stream takes nothing any
//! more, lines are lost and counted. Nothing here panics: the panic hook writes by it.

use std::{
    fs::File,
    io, mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::stream;

/// Bytes that may wait for the writer.
const LIMIT: usize = 1 << 20;

/// Where lines are left. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// A line has come.
    filled: Condvar,
    /// All lines have been written or lost.
    emptied: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whole lines, one after another.
    waiting: Vec<u8>,
    /// How many lines those are.
    count: u64,
    /// Whether the writer has some that it took.
    writing: bool,
}

impl Lines {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub(super) fn start(sink: File) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let lines = Self(Arc::clone(&shared));
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write(&shared, sink))?;
        Ok(lines)
    }

    /// Leaves one line, which ends with a line feed, without waiting.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.0.queue();
        if queue.waiting.len() + line.len() > LIMIT {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.waiting.extend_from_slice(line);
        queue.count += 1;
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Waits until everything is written or lost, but not for long: the stream may be stuck.
    pub(super) fn finish(&self, patience: Duration) {
        let busy = |queue: &mut Queue| queue.writing || !queue.waiting.is_empty();
        // A result would only tell whether it took too long.
        let _ = (self.0.emptied).wait_timeout_while(self.0.queue(), patience, busy);
    }

    /// How many lines were not written.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// A panic while it is held leaves whole lines behind.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all lines as soon as there are any, and tells how many. `lines` is empty before.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let empty = |queue: &mut Queue| queue.waiting.is_empty();
        let mut queue = (self.filled)
            .wait_while(self.queue(), empty)
            .unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut queue.waiting, lines);
        queue.writing = true;
        mem::take(&mut queue.count)
    }

    fn written(&self) {
        self.queue().writing = false;
        self.emptied.notify_all();
    }
}

fn write(shared: &Shared, mut sink: File) {
    let mut lines = Vec::new();
    let mut told = 0;
    loop {
        let count = shared.take(&mut lines);
        match stream::write_all(&mut sink, &lines) {
            Ok(()) => tell_losses(shared, &mut told),
            Err(_) => {
                shared.lost.fetch_add(count, Ordering::Relaxed);
            }
        }
        lines.clear();
        shared.written();
    }
}

/// Once the stream takes lines again, the log says how many it lacks.
fn tell_losses(shared: &Shared, told: &mut u64) {
    let lost = shared.lost.load(Ordering::Relaxed);
    if lost > *told {
        tracing::warn!(
            lines = lost - *told,
            "lines of this log were lost: its reader was too slow or had left"
        );
        *told = lost;
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// What the subscriber writes an event to, as a whole.
pub(super) struct Line<'a>(&'a Lines);

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read as _;

    use rustix::pipe::pipe;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn lines_arrive_in_order() {
        let (reader, writer) = pipe().unwrap();
        let lines = Lines::start(writer.into()).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            lines.push(line.as_bytes());
        }
        lines.finish(LONG);
        let mut text = [0; 14];
        File::from(reader).read_exact(&mut text).unwrap();
        assert_eq!((&text[..], lines.lost()), (&b"one\ntwo\nthree\n"[..], 0));
    }

    #[test]
    fn a_reader_that_has_left_costs_lines_and_nothing_else() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let lines = Lines::start(writer.into()).unwrap();
        for round in 1..=3 {
            lines.push(b"nobody reads this\n");
            lines.finish(LONG);
            assert_eq!(lines.lost(), round);
        }
    }

    #[test]
    fn a_stuck_reader_holds_nobody() {
        let (reader, writer) = pipe().unwrap();
        let lines = Lines::start(writer.into()).unwrap();
        let line = [&[b'x'; 999][..], b"\n"].concat();
        // The pipe takes some, the queue some; the rest is lost, and this loop ends.
        for _ in 0..10_000 {
            lines.push(&line);
        }
        let lost = lines.lost();
        assert!(lost > 0);
        lines.finish(Duration::from_millis(1));
        assert_eq!(lines.lost(), lost);

        let mut reader = File::from(reader);
        let mut text = vec![0; (10_000 - lost as usize) * line.len()];
        reader.read_exact(&mut text).unwrap();
        assert!(text.chunks(line.len()).all(|it| it == line), "whole lines");
    }
}
