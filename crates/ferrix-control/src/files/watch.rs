//! When to look again.
//!
//! Notifications say that something has changed, never what: after each, once it is quiet, the
//! whole folder is looked at. Where notifications get lost or do not exist (network file systems),
//! a look every now and then finds the change a little later.

use std::{
    collections::{BTreeSet, HashSet},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use ferrix_table::{Publisher, sockets::Refusals};
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::{
    sync::{oneshot, watch::Receiver},
    task::JoinSet,
};
use tracing::{error, info, warn};

use super::{
    Files, FolderError,
    folder::{self, Folder},
};
use crate::{
    compiler::{Compiler, Published},
    key_fetch::{self, KeyFetcher, KeyFetches},
    lookup::{self, Dns, Lookups},
    report::Report,
    settings::Settings,
    world::Change,
};

/// A file that is quiet for this long is read.
const QUIET: Duration = Duration::from_millis(20);

/// The same for a file that somebody has written to and not closed yet: the rest may be to come.
const QUIET_WHILE_OPEN: Duration = Duration::from_millis(70);

/// Where it never becomes quiet, the folder is looked at this often.
const RESTLESS: Duration = Duration::from_millis(250);

/// How often the folder is looked at without a reason.
const LOOK: Duration = Duration::from_secs(2);

/// The same where there are no notifications.
const LOOK_WITHOUT_NOTIFICATIONS: Duration = Duration::from_millis(500);

/// How often time alone is reason enough to translate: certificates expire.
const REFRESH: Duration = Duration::from_secs(3600);

enum Message {
    Event(notify::Result<Event>),
    /// From elsewhere than the folder.
    Change(Change),
    Stop,
}

/// Ends the watch when it is dropped.
#[derive(Debug)]
pub(super) struct Stop(mpsc::Sender<Message>);

impl Drop for Stop {
    fn drop(&mut self) {
        // If nobody listens, it has ended already.
        let _ = self.0.send(Message::Stop);
    }
}

pub(super) async fn start(
    root: PathBuf,
    settings: Settings,
    publisher: Publisher,
    mut refused: Receiver<Refusals>,
    keys: Arc<impl KeyFetcher>,
) -> Result<Files, FolderError> {
    let (messages, inbox) = mpsc::channel();
    let (ready, loaded) = oneshot::channel();
    let stop = Stop(messages.clone());
    let compiler = Compiler::new(settings, publisher);
    let (generations, reports) = (compiler.generations(), compiler.reports());
    let failures = compiler.failures();
    let lookups = Arc::new(Lookups::default());
    let key_fetches = Arc::new(KeyFetches::default());
    let [told, also_told, told_of_keys] = [(); 3].map(|()| messages.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(lookup::follow(
        Dns::of_the_system(),
        compiler.names(),
        Arc::clone(&lookups),
        move |change| {
            // If nobody listens, the watch has ended.
            let _ = told.send(Message::Change(change));
        },
    ));
    tasks.spawn(key_fetch::follow(
        keys,
        compiler.key_urls(),
        Arc::clone(&key_fetches),
        move |change| {
            // The same.
            let _ = told_of_keys.send(Message::Change(change));
        },
    ));
    tasks.spawn(async move {
        while refused.changed().await.is_ok() {
            let change = Change::Refused(refused.borrow_and_update().clone());
            // The same.
            let _ = also_told.send(Message::Change(change));
        }
    });
    let path = root.clone();
    let work = move || match Folder::open(&root) {
        Err(error) => {
            let _ = ready.send(Err(error));
        }
        Ok(folder) => Watch::new(folder, compiler, messages).run(&inbox, ready),
    };
    let thread = thread::Builder::new()
        .name("ferrix-files".to_owned())
        .spawn(work);
    thread.map_err(|source| FolderError::Thread { path, source })?;
    // The thread answers before it does anything that could end it.
    loaded.await.expect("the thread answers")?;
    Ok(Files {
        generations,
        reports,
        failures,
        lookups,
        key_fetches,
        _watch: stop,
        _tasks: tasks,
    })
}

struct Watch {
    folder: Folder,
    compiler: Compiler,
    notifications: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// Problems that were logged already.
    logged: HashSet<String>,
}

/// What was heard of since the last time.
#[derive(Default)]
struct Noise {
    touched: HashSet<PathBuf>,
    /// Written to, and not closed since.
    open: HashSet<PathBuf>,
    /// Whether the folder is to be looked at.
    time_to_look: bool,
    /// What is told by others than the folder.
    changes: Vec<Change>,
}

impl Watch {
    fn new(folder: Folder, compiler: Compiler, messages: mpsc::Sender<Message>) -> Self {
        let tell = move |event| {
            let _ = messages.send(Message::Event(event));
        };
        let notifications = notify::recommended_watcher(tell)
            .inspect_err(|error| {
                warn!(%error, "no notifications of changes; the folder is looked at instead");
            })
            .ok();
        Self {
            folder,
            compiler,
            notifications,
            watched: BTreeSet::new(),
            logged: HashSet::new(),
        }
    }

    fn run(
        mut self,
        inbox: &mpsc::Receiver<Message>,
        ready: oneshot::Sender<Result<(), FolderError>>,
    ) {
        self.look(&HashSet::new());
        self.survive(|watch| {
            let published = watch.compiler.loaded();
            watch.log(published);
        });
        let mut ready = Some(ready);
        self.answer(&mut ready);
        // What has changed before there was a watch on it.
        self.look(&HashSet::new());
        let mut looked = Instant::now();
        let mut refreshed = looked;
        loop {
            let pause = match self.notifications {
                Some(_) => LOOK,
                None => LOOK_WITHOUT_NOTIFICATIONS,
            };
            let Some(noise) = wait(inbox, looked + pause) else {
                return;
            };
            self.take(noise.changes);
            self.answer(&mut ready);
            if noise.time_to_look {
                self.look(&noise.touched);
                looked = Instant::now();
            }
            if refreshed.elapsed() > REFRESH {
                refreshed = Instant::now();
                self.survive(|watch| {
                    let published = watch.compiler.refresh();
                    watch.log(published);
                });
            }
        }
    }

    /// Tells whoever waits for the first publication, once there is one.
    fn answer(&self, ready: &mut Option<oneshot::Sender<Result<(), FolderError>>>) {
        if self.compiler.is_serving()
            && let Some(ready) = ready.take()
        {
            let _ = ready.send(Ok(()));
        }
    }

    /// Takes in what others than the folder tell.
    fn take(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.survive(|watch| {
                let published = watch.compiler.apply(changes);
                watch.log(published);
            });
        }
    }

    /// Looks at the folder until it has come to rest and there is nothing new to watch.
    fn look(&mut self, touched: &HashSet<PathBuf>) {
        self.survive(|watch| {
            let started = Instant::now();
            loop {
                let patient = started.elapsed() < RESTLESS;
                let scan = watch.folder.scan(touched, patient);
                let published = watch.compiler.apply(scan.changes);
                watch.log(published);
                // Something may have changed in a new folder before the watch began.
                let again = watch.follow(&scan.folders);
                if scan.unsettled {
                    thread::sleep(QUIET / 2);
                } else if !again && !scan.more {
                    break;
                }
            }
        });
    }

    /// Watches these folders and no others. Tells whether any of them is new.
    fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(notifications) = &mut self.notifications else {
            return false;
        };
        for gone in self.watched.difference(folders) {
            // The system has forgotten it together with the folder.
            let _ = notifications.unwatch(gone);
        }
        let mut any = false;
        let mut watched: BTreeSet<PathBuf> = self.watched.intersection(folders).cloned().collect();
        for new in folders.difference(&self.watched) {
            match notifications.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    any = true;
                    watched.insert(new.clone());
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => {
                    let text = format!("{}: {error}", new.display());
                    if self.logged.insert(text) {
                        warn!(folder = %new.display(), %error, "no notifications of changes there");
                    }
                }
            }
        }
        self.watched = watched;
        any
    }

    /// Whatever goes wrong in there is a mistake of ours, and no reason to stop watching.
    fn survive(&mut self, step: impl FnOnce(&mut Self)) {
        if panic::catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            error!("a change could not be taken in; what was served before is served still");
        }
    }

    fn log(&mut self, published: Published) {
        let report = Arc::clone(&self.compiler.reports().borrow());
        match published {
            Published::Nothing => {}
            Published::Services {
                generation,
                services,
            } => info!(generation, services, "endpoints changed"),
            Published::Table { generation } => info!(generation, "a new table"),
        }
        self.log_problems(&report);
    }

    /// Each problem once, for as long as there is one.
    fn log_problems(&mut self, report: &Report) {
        let problems: HashSet<String> = report
            .problems()
            .map(|problem| problem.to_string())
            .collect();
        for problem in problems.difference(&self.logged) {
            warn!("{problem}");
        }
        self.logged = problems;
    }
}

/// Waits for something to happen and then for quiet, or for the time to look without a reason. `None`:
/// the watch has ended.
fn wait(inbox: &mpsc::Receiver<Message>, look: Instant) -> Option<Noise> {
    let mut noise = Noise::default();
    loop {
        let left = look.saturating_duration_since(Instant::now());
        match inbox.recv_timeout(left) {
            Ok(Message::Event(event)) => {
                if noise.hear(event) {
                    break;
                }
            }
            Ok(Message::Change(change)) => {
                noise.changes.push(change);
                return Some(noise);
            }
            Ok(Message::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                noise.time_to_look = true;
                return Some(noise);
            }
        }
    }
    noise.time_to_look = true;
    let restless = Instant::now() + RESTLESS;
    let mut last = Instant::now();
    loop {
        let quiet = match noise.open.is_empty() {
            true => QUIET,
            false => QUIET_WHILE_OPEN,
        };
        let until = restless.min(last + quiet);
        match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(event)) => {
                if noise.hear(event) {
                    last = Instant::now();
                }
            }
            Ok(Message::Change(change)) => noise.changes.push(change),
            Ok(Message::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => return Some(noise),
        }
    }
}

impl Noise {
    /// Takes note of an event. Tells whether it is reason enough to look.
    fn hear(&mut self, event: notify::Result<Event>) -> bool {
        let Ok(event) = event else {
            // Something was missed.
            return true;
        };
        let closed = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
        if matches!(event.kind, EventKind::Access(_)) && !closed {
            return event.need_rescan();
        }
        let mut of_interest = event.need_rescan();
        for path in event.paths {
            // Folders have any name, and the links of a ConfigMap change behind a hidden one.
            let hidden = path.file_name().is_some_and(folder::is_passed_over);
            let kubernetes = path.file_name().is_some_and(|name| name == "..data");
            if hidden && !kubernetes {
                continue;
            }
            let written = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
            if folder::is_manifest(&path) {
                match (closed, written) {
                    (true, _) => _ = self.open.remove(&path),
                    (_, true) => _ = self.open.insert(path.clone()),
                    _ => {}
                }
                self.touched.insert(path);
                of_interest = true;
            } else {
                of_interest |= !closed && !written;
            }
        }
        of_interest
    }
}
