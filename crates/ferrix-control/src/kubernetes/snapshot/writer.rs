//! Writes the file: on a thread of its own, in batches, and anew when half of it is out of date.
//!
//! The file gets its name when it holds all that there is, at the end of the first list of every kind,
//! and before that one of an earlier process of the pod stays. Whatever is written later is added to its
//! end, so that a change costs its own bytes. There is no index in memory: when what was added is half
//! as much as what was there when all of it was needed, it is read block by block, and what is still
//! needed of it becomes the next file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use tracing::error;

use super::{
    super::figures::Figures,
    file::{self, Blocks, Unusable},
    record::{Line, Needed, Record},
};

/// How long lines wait for others.
const PAUSE: Duration = Duration::from_secs(1);

/// So many bytes of lines do not wait, and are a block.
const FULL: usize = 256 << 10;

/// What may be out of date in any file.
const SLACK: u64 = 256 << 10;

/// The name of the file in its folder.
pub(super) const NAME: &str = "snapshot";

/// That of the one that takes its place.
const NEXT: &str = "snapshot.next";

/// What there is to write.
#[derive(Debug)]
pub(super) enum Order {
    /// Something more.
    Record(Record),
    /// All that there is has been recorded.
    Whole,
}

/// The file that grows.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    first_line: String,
    file: File,
    length: u64,
    /// Its length when all of it was needed; `None` before it is whole.
    needed: Option<u64>,
    figures: Arc<Figures>,
}

impl Writer {
    /// Begins a file beside the one that there may be in this folder.
    pub(super) fn new(
        folder: PathBuf,
        first_line: String,
        figures: Arc<Figures>,
    ) -> io::Result<Self> {
        let (file, length) = begin(&folder, &first_line)?;
        Ok(Self {
            folder,
            first_line,
            file,
            length,
            needed: None,
            figures,
        })
    }

    /// Writes until nobody orders any more. A file that may lack something is removed.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        let Err(error) = self.follow(orders) else {
            return;
        };
        error!(
            folder = %self.folder.display(),
            %error,
            "the snapshot cannot be written, and there is none until ferrix starts anew: without an API \
             server, a container that restarts is not ready"
        );
        self.remove(NEXT);
        // Until then that of an earlier process is as good as it was.
        let mut orders = orders.iter();
        if self.needed.is_some() || orders.any(|order| matches!(order, Order::Whole)) {
            self.remove(NAME);
        }
    }

    fn follow(&mut self, orders: &Receiver<Order>) -> Result<(), Unusable> {
        let mut lines = String::new();
        let mut due: Option<Instant> = None;
        loop {
            let order = match due {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => orders.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            if let Ok(Order::Record(record)) = &order {
                lines.push_str(&record.line());
                due.get_or_insert_with(|| Instant::now() + PAUSE);
                if lines.len() < FULL {
                    continue;
                }
            }
            due = None;
            let whole = matches!(order, Ok(Order::Whole));
            self.write(std::mem::take(&mut lines), whole)?;
            if matches!(order, Err(RecvTimeoutError::Disconnected)) {
                return Ok(());
            }
        }
    }

    /// Adds lines, which are true by now. `whole`: with them the file has all that there is.
    fn write(&mut self, mut lines: String, whole: bool) -> Result<(), Unusable> {
        if whole {
            // From now on that of an earlier process is out of date.
            self.needed = Some(self.length);
        }
        if whole || !lines.is_empty() {
            lines.push_str(&Record::of_time(Timestamp::now()).line());
            self.append(&lines)?;
        }
        if whole {
            self.take_place()?;
        }
        if self.is_outdated() {
            self.write_anew()?;
        }
        if self.needed.is_some() {
            self.figures.set_snapshot_bytes(self.length);
        }
        Ok(())
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        let block = file::block(lines)?;
        self.file.write_all(&block)?;
        self.length += block.len() as u64;
        Ok(())
    }

    /// The file is whole.
    fn take_place(&mut self) -> io::Result<()> {
        fs::rename(self.folder.join(NEXT), self.folder.join(NAME))?;
        self.needed = Some(self.length);
        Ok(())
    }

    fn is_outdated(&self) -> bool {
        let most = |needed: u64| needed + needed / 2 + SLACK;
        self.needed.is_some_and(|needed| self.length > most(needed))
    }

    /// Replaces the file by one of what is still needed of it.
    fn write_anew(&mut self) -> Result<(), Unusable> {
        let blocks = || -> Result<_, Unusable> {
            let file = File::open(self.folder.join(NAME))?;
            Blocks::new(BufReader::new(file), &self.first_line)
        };
        let mut needed = Needed::default();
        let mut earlier = blocks()?;
        while let Some(block) = earlier.next()? {
            for line in block.lines() {
                needed.note(&Line::parse(line).ok_or(Unusable::Broken)?);
            }
        }
        let mut places = needed.places().into_iter().peekable();
        let mut earlier = blocks()?;
        let (file, length) = begin(&self.folder, &self.first_line)?;
        (self.file, self.length) = (file, length);
        let (mut lines, mut place) = (String::new(), 0);
        while let Some(block) = earlier.next()? {
            for line in block.split_inclusive('\n') {
                if places.next_if_eq(&place).is_some() {
                    lines.push_str(line);
                }
                place += 1;
            }
            if lines.len() >= FULL {
                self.append(&std::mem::take(&mut lines))?;
            }
        }
        self.append(&lines)?;
        Ok(self.take_place()?)
    }

    fn remove(&self, name: &str) {
        if name == NAME {
            self.figures.set_snapshot_bytes(0);
        }
        // There may be none of this name.
        let _ = fs::remove_file(self.folder.join(name));
    }
}

/// A bug in here must not leave a file behind that nobody adds to.
impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.remove(NEXT);
            self.remove(NAME);
        }
    }
}

/// An empty file, which nobody else may read, and its length.
fn begin(folder: &Path, first_line: &str) -> io::Result<(File, u64)> {
    let path = folder.join(NEXT);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(first_line.as_bytes())?;
    Ok((file, first_line.len() as u64))
}
