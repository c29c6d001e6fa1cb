//! Objects from a folder of manifests, and the watch over it.
//!
//! ```text
//!  folder   what is in the folder: files to documents to changes
//!  watch    when to look again: notifications, and a look every now and then
//! ```

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ferrix_table::{Publisher, Table, sockets::Refusals};
use tokio::{sync::watch::Receiver, task::JoinSet};

use crate::{
    compiler::Failures,
    key_fetch::{KeyFetcher, KeyFetches},
    lookup::Lookups,
    report::Report,
    settings::Settings,
    translate,
    world::World,
};

mod folder;
mod watch;

use folder::Folder;

/// Why a folder cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It does not exist, or may not be read.
    #[error("the folder {path} cannot be read: {source}")]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{path} is no folder; give the folder that the manifests are in")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses another thread.
    #[error("the folder {path} cannot be watched: {source}")]
    Thread {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A folder that is watched. Dropping it ends the watch; what was published last stays.
#[derive(Debug)]
pub struct Files {
    generations: Receiver<u64>,
    reports: Receiver<Arc<Report>>,
    failures: Receiver<Failures>,
    lookups: Arc<Lookups>,
    key_fetches: Arc<KeyFetches>,
    _watch: watch::Stop,
    /// They end with it.
    _tasks: JoinSet<()>,
}

impl Files {
    /// The generation that was published last.
    pub fn generations(&self) -> Receiver<u64> {
        self.generations.clone()
    }

    /// What came of every object, as of the newest change.
    pub fn reports(&self) -> Receiver<Arc<Report>> {
        self.reports.clone()
    }

    /// How translation fails.
    pub fn failures(&self) -> Receiver<Failures> {
        self.failures.clone()
    }

    /// How lookups of names have gone.
    pub fn lookups(&self) -> Arc<Lookups> {
        Arc::clone(&self.lookups)
    }

    /// How fetches of keys have gone.
    pub fn key_fetches(&self) -> Arc<KeyFetches> {
        Arc::clone(&self.key_fetches)
    }
}

/// Reads a folder once, or a file or a pipe of any size: for `ferrix check` and `ferrix explain`. No
/// name is looked up, and no key fetched.
pub fn load(folder: &Path, settings: &Settings) -> Result<(Table, Report), FolderError> {
    let mut world = World::new();
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    world.set_time(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let mut folder = match folder.exists() && !folder.is_dir() {
        true => Folder::of_file(folder),
        false => Folder::open(folder)?,
    };
    let mut more = true;
    while more {
        let scan = folder.scan(&HashSet::new(), false);
        more = scan.more;
        for change in scan.changes {
            let _ = world.take(change);
        }
    }
    Ok(translate(&world, settings))
}

/// Reads a folder, publishes, and watches the folder from then on, on a thread of its own; names are
/// looked up on the current runtime. Returns after the first publication. Fails only where there is no such
/// folder: whatever happens later is reported, and what was good goes on serving. `refused`: where the
/// system does not let the proxy listen. `keys`: who gets the keys of issuers.
pub async fn run_files(
    folder: PathBuf,
    settings: Settings,
    publisher: Publisher,
    refused: Receiver<Refusals>,
    keys: Arc<impl KeyFetcher>,
) -> Result<Files, FolderError> {
    watch::start(folder, settings, publisher, refused, keys).await
}
