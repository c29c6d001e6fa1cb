//! What the watches have told, kept in the pod, for the next process in it: it serves that where the API
//! server does not answer.
//!
//! ```text
//!  Change ─► record ─► writer ─► file      while it watches: each change that makes a difference
//!                                  │
//!  World ◄── record ◄──────────────┘       at the next start, once the API server has had its chance
//! ```
//!
//! The folder is meant to be in memory and the pod's own: it goes with the pod, keys never reach a disk,
//! and a new pod begins with nothing, as it may be on another node for good reason.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, BufReader, Seek},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tracing::warn;

use super::{Identity, figures::Figures, progress::Progress, watch_kind::Item};
use crate::{
    objects::Kind,
    world::{Change, Effect, World},
};

mod file;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use record::{Record, change_of, needed};

use file::{Blocks, Unusable};
use record::{Line, Meaning};
use writer::{NAME, Order, Writer};

/// How long a start waits for the API server before it serves what an earlier process has left. To list
/// all takes less in most clusters; where it takes longer, what is served meanwhile is what was served
/// a moment before.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Records that may wait to be written. What they are of stays in memory meanwhile, so whoever has more
/// to record waits as well: at a first list, or while much is written anew.
const QUEUE: usize = 4096;

/// The snapshot of this process, and that of an earlier one.
#[derive(Debug)]
pub(super) struct Snapshot {
    orders: SyncSender<Order>,
    /// What was recorded of it last.
    progress: Progress,
    /// Whether what has been recorded is all that there is, and nobody was told so yet.
    whole: bool,
    /// Until every kind has been listed.
    earlier: Option<Earlier>,
}

/// What an earlier process of this pod has left.
#[derive(Debug)]
struct Earlier {
    file: File,
    first_line: String,
    /// Whether it was used, or found to be of no use.
    tried: bool,
}

/// What an earlier process served.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) world: World,
    /// How far its watches had come.
    pub(super) progress: Progress,
    /// When that was true.
    pub(super) at: Timestamp,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The folder.
    #[error(
        "source.kubernetes.snapshot_folder: {path} cannot be made for this user alone: {error}"
    )]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file.
    #[error("source.kubernetes.snapshot_folder: no file can be written to {path}: {error}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl Snapshot {
    /// Looks for what an earlier process has left in a folder, and begins to write beside it, on a thread
    /// of the current runtime.
    pub(super) fn new(
        folder: &Path,
        identity: &Identity,
        figures: Arc<Figures>,
    ) -> Result<Self, SnapshotError> {
        own(folder).map_err(|error| SnapshotError::Folder {
            path: folder.to_owned(),
            error,
        })?;
        let pod = identity.pod.as_ref().map_or("-", |pod| &pod.uid);
        let first_line = file::first_line(&identity.installation(), pod);
        let earlier = Earlier::find(&folder.join(NAME), &first_line);
        if let Some(earlier) = &earlier {
            let length = earlier.file.metadata().map_or(0, |it| it.len());
            figures.set_snapshot_bytes(length);
        }
        let writer = Writer::new(folder.to_owned(), first_line, figures);
        let writer = writer.map_err(|error| {
            // Nobody adds to it.
            let _ = fs::remove_file(folder.join(NAME));
            let path = folder.to_owned();
            SnapshotError::File { path, error }
        })?;
        let (orders, ordered) = mpsc::sync_channel(QUEUE);
        tokio::task::spawn_blocking(move || writer.run(&ordered));
        Ok(Self {
            orders,
            progress: Progress::default(),
            whole: false,
            earlier,
        })
    }

    /// Takes note of a change that a world has just taken in, with this effect.
    pub(super) fn record(&self, change: &Change, effect: &Effect, world: &World) {
        self.order(Record::new(change, effect, world).map(Order::Record));
    }

    /// Every kind has been listed: what an earlier process has left is of no use any more.
    pub(super) fn loaded(&mut self, world: &World) {
        self.earlier = None;
        // They may have been found before anything was seen that stands for them.
        for (name, resolution) in world.resolutions() {
            self.order(Record::of_name(name, resolution).map(Order::Record));
        }
        for (url, known) in world.all_keys() {
            self.order(Record::of_keys(url, known).map(Order::Record));
        }
        self.whole = true;
    }

    /// What was recorded is all there is to record of the versions up to this.
    pub(super) fn proceed(&mut self, progress: &Progress) {
        if self.progress != *progress {
            self.progress.clone_from(progress);
            self.order(Some(Order::Record(Record::of_progress(progress))));
        }
        let whole = std::mem::take(&mut self.whole);
        self.order(whole.then_some(Order::Whole));
    }

    fn order(&self, order: Option<Order>) {
        if let Some(order) = order {
            // Whoever writes has gone only if it has said why.
            let _ = self.orders.send(order);
        }
    }

    /// Whether there may be something to serve while the API server does not answer.
    pub(super) fn may_restore(&self) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| !earlier.tried)
    }

    /// What an earlier process has left, where it can be used. It is looked at once.
    pub(super) fn restore(&mut self) -> Option<Restored> {
        let earlier = self.earlier.as_mut().filter(|earlier| !earlier.tried)?;
        earlier.tried = true;
        let restored = earlier.restore();
        self.or_forget(restored)
    }

    /// Of what is listed for the first time, and is of no use by itself: the versions that were good before,
    /// which an earlier process has seen of the same objects.
    pub(super) fn last_good<'i>(
        &mut self,
        items: impl Iterator<Item = &'i Item>,
        world: &World,
    ) -> Vec<Change> {
        let Some(earlier) = &mut self.earlier else {
            return Vec::new();
        };
        let wanted: HashMap<String, &str> = items
            .filter(|item| !world.knows(&item.key) && is_bad(item))
            .filter_map(|item| Some((record::subject(&item.key), uid(item)?)))
            .collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let found = earlier.good_versions(&wanted);
        self.or_forget(found).unwrap_or_default()
    }

    fn or_forget<T>(&mut self, used: Result<T, Unusable>) -> Option<T> {
        match used {
            Ok(used) => Some(used),
            Err(error) => {
                warn!(%error, "the snapshot of an earlier process is ignored");
                self.earlier = None;
                None
            }
        }
    }
}

/// Makes a folder that nobody else can look into. One that is another's cannot be made so.
fn own(folder: &Path) -> io::Result<()> {
    let (mut builder, mode) = (DirBuilder::new(), 0o700);
    builder.recursive(true).mode(mode).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(mode))
}

/// Whether a version by itself is of no use. Of some kinds none is that can be decoded.
fn is_bad(item: &Item) -> bool {
    let decoded = !matches!(item.change, Change::Reject { .. });
    let may_be_bad = matches!(
        item.key.kind,
        Kind::BackendPolicy | Kind::Filter | Kind::IngressRoute | Kind::Secret
    );
    if decoded && !may_be_bad {
        return false;
    }
    let mut alone = World::new();
    alone.take(item.change.clone());
    alone.rejection(&item.key).is_some() || !alone.is_good(&item.key)
}

fn uid(item: &Item) -> Option<&str> {
    match &item.change {
        Change::Apply { object, .. } => object.metadata().uid.as_deref(),
        _ => item.seen.as_ref().map(|seen| &*seen.uid),
    }
}

impl Earlier {
    /// The file of an earlier process, if that would write the same first line as this one.
    fn find(path: &Path, first_line: &str) -> Option<Self> {
        let opened = || -> Result<File, Unusable> {
            let file = File::open(path)?;
            Blocks::new(&file, first_line)?;
            Ok(file)
        };
        match opened() {
            Ok(file) => Some(Self {
                file,
                first_line: first_line.to_owned(),
                tried: false,
            }),
            Err(Unusable::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!(path = %path.display(), %error, "a snapshot is ignored");
                None
            }
        }
    }

    fn blocks(&mut self) -> Result<Blocks<BufReader<&File>>, Unusable> {
        self.file.rewind()?;
        Blocks::new(BufReader::new(&self.file), &self.first_line)
    }

    fn restore(&mut self) -> Result<Restored, Unusable> {
        let (mut world, mut progress, mut at) = (World::new(), Progress::default(), None);
        let mut blocks = self.blocks()?;
        while let Some(block) = blocks.next()? {
            for line in block.lines() {
                let meaning = Line::parse(line).and_then(|line| line.meaning());
                match meaning.ok_or(Unusable::Broken)? {
                    Meaning::Change(change) => drop(world.take(*change)),
                    Meaning::Progress(further) => progress = further,
                    Meaning::Time(time) => at = Some(time),
                }
            }
        }
        Ok(Restored {
            world,
            progress,
            at: at.ok_or(Unusable::Empty)?,
        })
    }

    /// The newest good versions of some objects, by subject and identifier, and those that others had kept.
    fn good_versions(&mut self, wanted: &HashMap<String, &str>) -> Result<Vec<Change>, Unusable> {
        let mut found: HashMap<String, Change> = HashMap::new();
        let mut blocks = self.blocks()?;
        while let Some(block) = blocks.next()? {
            for line in block.lines().filter_map(Line::parse) {
                let Some(uid) = wanted.get(line.object()).filter(|_| line.is_good()) else {
                    continue;
                };
                if let Some(Meaning::Change(change)) = line.meaning()
                    && let Change::Apply { object, .. } | Change::Keep(object) = &*change
                    && object.metadata().uid.as_deref() == Some(*uid)
                {
                    found.insert(line.subject.to_owned(), *change);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}
