//! What is in the folder.
//!
//! A file that cannot be read as a whole takes nothing away: what was last read from it stays,
//! and the report says so. Only an object that is absent from a file that parses is deleted; an
//! empty file is none that parses.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map},
    ffi::OsStr,
    fs, io,
    io::Read as _,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::FolderError;
use crate::{
    decode::{self, DecodeError, Decoded, Fault, Strictness},
    foreign,
    objects::{FileOrigin, Key, Object, Origin},
    report::{Finding, Reason},
    world::Change,
    yaml::{self, Document, Lines, SyntaxError},
};

/// Larger files of a folder are refused: it is watched, and a file may be read at any time.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// How many bytes of a large folder the first look reads before what it read is compiled; then it goes
/// on. Objects as they are written take much more memory than what is kept of them, so that no more than
/// this is ever held at once.
const READ_AT_ONCE: u64 = 1024 * 1024;

/// Deeper folders are not looked into: there is a loop, or a mistake.
const MAX_DEPTH: usize = 32;

/// What has changed within this time may still be changing.
const FRESH: Duration = Duration::from_millis(15);

/// A folder of manifests, as it was seen last.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Whether it is one file in the place of a folder, of any size.
    single: bool,
    /// In the order in which files come first. Boxed: the nodes of a map that grows in order are
    /// half empty.
    files: BTreeMap<Arc<Path>, Box<File>>,
    /// What is said of files that claim what is taken from others.
    duplicates: BTreeMap<Arc<Path>, Vec<Finding>>,
    /// Files and folders that a remark was made about.
    remarked: BTreeSet<Arc<Path>>,
    /// Whether every file has been looked at once.
    complete: bool,
}

#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    /// The objects that it claims, in their order.
    claims: Box<[Claim]>,
    findings: Box<[Finding]>,
}

#[derive(Debug)]
struct Claim {
    key: Key,
    line: u32,
    /// Whether the object is taken from this file: the first that claims it.
    taken: bool,
}

impl File {
    fn taken(&self) -> impl Iterator<Item = &Key> {
        let taken = self.claims.iter().filter(|claim| claim.taken);
        taken.map(|claim| &claim.key)
    }
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a look at the folder has found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) changes: Vec<Change>,
    /// The folders to watch: those that were looked into, and those that links lead to.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Whether something was left for the next look, because it is changing.
    pub(super) unsettled: bool,
    /// The same, because it is much.
    pub(super) more: bool,
}

/// What there is to see before any file is read.
#[derive(Debug, Default)]
struct Listing {
    files: BTreeMap<PathBuf, Listed>,
    folders: BTreeSet<PathBuf>,
    /// Files and folders that cannot be looked at. What was read from there stays.
    unreadable: BTreeMap<PathBuf, String>,
}

#[derive(Debug)]
struct Listed {
    stamp: Stamp,
    /// Where links lead.
    target: Option<PathBuf>,
}

/// What a file says.
#[derive(Debug, Default)]
struct Content {
    documents: BTreeMap<Key, Said>,
    findings: Vec<Finding>,
    /// Why nobody can tell what else the file says, where that is so.
    incomplete: Option<(u32, String)>,
}

#[derive(Debug)]
enum Said {
    Object {
        object: Object,
        origin: Origin,
        notes: Vec<Finding>,
    },
    Rejected {
        origin: Origin,
        error: DecodeError,
    },
}

impl Folder {
    pub(super) fn open(root: &Path) -> Result<Self, FolderError> {
        let unreadable = |source| FolderError::Unreadable {
            path: root.to_owned(),
            source,
        };
        if !fs::metadata(root).map_err(unreadable)?.is_dir() {
            return Err(FolderError::NotAFolder {
                path: root.to_owned(),
            });
        }
        fs::read_dir(root).map_err(unreadable)?;
        Ok(Self::new(root, false))
    }

    /// One file in the place of a folder, of any size: what `kubectl get -o yaml` has written is large.
    pub(super) fn of_file(path: &Path) -> Self {
        Self::new(path, true)
    }

    fn new(root: &Path, single: bool) -> Self {
        Self {
            root: root.to_owned(),
            single,
            files: BTreeMap::new(),
            duplicates: BTreeMap::new(),
            remarked: BTreeSet::new(),
            complete: false,
        }
    }

    /// Looks at everything, and reads the files that have changed since the last look or are
    /// `touched`.
    ///
    /// A look that is `patient` leaves what changed this very moment for the next one: a file
    /// that is being written is empty for an instant, and one that is being replaced may be gone.
    ///
    /// Until a look has left no `more`, objects are missing. Those that were seen are final all the
    /// same: files are read in the order in which they come first.
    pub(super) fn scan(&mut self, touched: &HashSet<PathBuf>, patient: bool) -> Scan {
        let now = SystemTime::now();
        let listing = match self.single {
            true => Listing::of_file(&self.root),
            false => Listing::of(&self.root),
        };
        let unreadable = |path: &Path| listing.unreadable.keys().any(|it| path.starts_with(it));
        let mut unsettled = false;
        // Objects that were taken from files which are gone, or are read again.
        let mut lost: HashSet<Key> = HashSet::new();
        let files = self.files.len();
        self.files.retain(|path, file| {
            let stays = listing.files.contains_key(&**path) || unreadable(path);
            if !stays {
                lost.extend(file.taken().cloned());
            }
            stays
        });
        let mut differs = self.files.len() < files;
        let mut contents: BTreeMap<Arc<Path>, Content> = BTreeMap::new();
        let mut bytes = 0;
        let mut more = false;
        for (path, listed) in &listing.files {
            let known = self.files.get(&**path).and_then(|file| file.stamp) == Some(listed.stamp);
            let touched = touched.contains(path)
                || listed
                    .target
                    .as_ref()
                    .is_some_and(|target| touched.contains(target));
            if known && !touched {
                continue;
            }
            let fresh = is_fresh(&listed.stamp, now);
            if fresh && patient && self.files.contains_key(&**path) {
                unsettled = true;
                continue;
            }
            if !self.complete && bytes > READ_AT_ONCE {
                more = true;
                break;
            }
            bytes += listed.stamp.size;
            // The stamp of a file that is written again at once may be the same.
            let stamp = (!fresh).then_some(listed.stamp);
            let path = self.shared(path);
            let content = self.read(&path, stamp, &mut lost);
            contents.insert(path, content);
            differs = true;
        }
        self.complete |= !more;
        if differs {
            self.settle(&mut contents, &mut lost);
        }

        let mut changes: Vec<Change> = lost.into_iter().map(Change::Remove).collect();
        for (path, content) in contents {
            let claims = self.files.get(&path).into_iter();
            let claims = claims.flat_map(|file| &file.claims);
            // Both in the order of the keys.
            for ((key, said), claim) in content.documents.into_iter().zip(claims) {
                if !claim.taken {
                    continue;
                }
                changes.push(match said {
                    Said::Object {
                        object,
                        origin,
                        notes,
                    } => Change::Apply {
                        object,
                        origin,
                        notes,
                    },
                    Said::Rejected { origin, error } => Change::Reject { key, origin, error },
                });
            }
        }
        changes.extend(self.remarks(&listing));
        Scan {
            changes,
            folders: listing.folders,
            unsettled,
            more,
        }
    }

    /// Decides which file each object is taken from: the first in order. Where that becomes
    /// another file than before, that file is read again. What is still taken from somewhere is
    /// not lost.
    fn settle(&mut self, contents: &mut BTreeMap<Arc<Path>, Content>, lost: &mut HashSet<Key>) {
        loop {
            let claims = self.files.values().map(|file| file.claims.len()).sum();
            let mut owners: HashMap<&Key, &Arc<Path>> = HashMap::with_capacity(claims);
            // Of all claims, one after the other.
            let mut taken: Vec<bool> = Vec::with_capacity(claims);
            let mut successors: BTreeSet<Arc<Path>> = BTreeSet::new();
            self.duplicates.clear();
            for (path, file) in &self.files {
                for claim in &file.claims {
                    match owners.entry(&claim.key) {
                        hash_map::Entry::Vacant(free) => {
                            free.insert(path);
                            taken.push(true);
                            if !claim.taken && !contents.contains_key(path) {
                                successors.insert(Arc::clone(path));
                            }
                        }
                        hash_map::Entry::Occupied(owner) => {
                            taken.push(false);
                            let owner = owner.get().display().to_string();
                            let findings = self.duplicates.entry(Arc::clone(path)).or_default();
                            findings.push(duplicate(&claim.key, claim.line, &owner));
                        }
                    }
                }
            }
            if successors.is_empty() {
                lost.retain(|key| !owners.contains_key(key));
                let claims = self.files.values_mut().flat_map(|file| &mut file.claims);
                for (claim, taken) in claims.zip(taken) {
                    claim.taken = taken;
                }
                return;
            }
            for path in successors {
                let stamp = self.files.get(&path).and_then(|file| file.stamp);
                let content = self.read(&path, stamp, lost);
                contents.insert(path, content);
            }
        }
    }

    /// The path as it is kept.
    fn shared(&self, path: &Path) -> Arc<Path> {
        match self.files.get_key_value(path) {
            Some((path, _)) => Arc::clone(path),
            None => path.into(),
        }
    }

    fn has_objects_of(&self, path: &Path) -> bool {
        self.files
            .get(path)
            .is_some_and(|file| !file.claims.is_empty())
    }

    /// Reads a file, and takes note of what it claims. What was taken from it until now is lost,
    /// unless it turns out to be claimed still.
    fn read(&mut self, path: &Arc<Path>, stamp: Option<Stamp>, lost: &mut HashSet<Key>) -> Content {
        let max_file = if self.single { u64::MAX } else { MAX_FILE };
        let mut content = match read_text(path, max_file) {
            // What a writer leaves behind that was interrupted, or has not begun. Who means to
            // delete the objects deletes the file.
            Ok(text) if text.trim().is_empty() && self.has_objects_of(path) => {
                Content::unreadable("the file is empty".to_owned())
            }
            Ok(text) => Content::of(path, &text),
            Err(message) => Content::unreadable(message),
        };
        let file = self.files.entry(Arc::clone(path)).or_default();
        if let Some((line, why)) = &content.incomplete {
            for Claim { key, .. } in &file.claims {
                content.documents.entry(key.clone()).or_insert_with(|| Said::Rejected {
                    origin: origin(path, Lines::at(*line)),
                    error: DecodeError {
                        key: Some(key.clone()),
                        uid: None,
                        generation: None,
                        bug: false,
                        faults: vec![Fault {
                            field: String::new(),
                            message: format!(
                                "the file cannot be read as a whole, and the rest does not hold \
                                 this object: {why}"
                            ),
                        }],
                    },
                });
            }
        }
        file.stamp = stamp;
        lost.extend(file.taken().cloned());
        let claim = |(key, said): (&Key, &Said)| Claim {
            key: key.clone(),
            line: said.origin().line_of("").unwrap_or(1),
            taken: false,
        };
        file.claims = content.documents.iter().map(claim).collect();
        file.findings = content.findings.as_slice().into();
        content
    }

    /// What there is to say about files now, and that there is no more to say about others.
    fn remarks(&mut self, listing: &Listing) -> Vec<Change> {
        let mut remarks: BTreeMap<Arc<Path>, Vec<Finding>> = BTreeMap::new();
        for (path, message) in &listing.unreadable {
            let message = format!("{message}; what was read from there is kept");
            let finding = Finding::problem(Reason::Unreadable, "", message);
            remarks
                .entry(path.as_path().into())
                .or_default()
                .push(finding);
        }
        for (path, file) in &self.files {
            let more = self.duplicates.get(path).map_or(&[][..], Vec::as_slice);
            if !file.findings.is_empty() || !more.is_empty() {
                let remark = remarks.entry(Arc::clone(path)).or_default();
                remark.extend(file.findings.iter().chain(more).cloned());
            }
        }
        let now: BTreeSet<Arc<Path>> = remarks.keys().cloned().collect();
        for path in std::mem::replace(&mut self.remarked, now) {
            remarks.entry(path).or_default();
        }
        let remark = |(path, findings)| Change::Remark { path, findings };
        remarks.into_iter().map(remark).collect()
    }
}

impl Listing {
    fn of(root: &Path) -> Self {
        let mut listing = Self::default();
        listing.look_into(root, &mut Vec::new());
        listing
    }

    fn of_file(path: &Path) -> Self {
        let mut listing = Self::default();
        match fs::metadata(path) {
            Ok(metadata) => {
                let stamp = Stamp::of(&metadata);
                let target = None;
                listing
                    .files
                    .insert(path.to_owned(), Listed { stamp, target });
            }
            Err(error) => {
                let message = format!("the file cannot be read: {error}");
                listing.unreadable.insert(path.to_owned(), message);
            }
        }
        listing
    }

    fn look_into(&mut self, folder: &Path, above: &mut Vec<(u64, u64)>) {
        let refuse = |error: io::Error| format!("the folder cannot be read: {error}");
        let entries = fs::metadata(folder).and_then(|metadata| {
            let identity = (metadata.dev(), metadata.ino());
            // A link to a folder above leads round and round.
            let looped = above.contains(&identity) || above.len() > MAX_DEPTH;
            above.push(identity);
            match looped {
                true => Ok(None),
                false => fs::read_dir(folder).map(Some),
            }
        });
        match entries {
            Err(error) => {
                self.unreadable.insert(folder.to_owned(), refuse(error));
                return;
            }
            Ok(None) => {}
            Ok(Some(entries)) => {
                self.folders.insert(folder.to_owned());
                for entry in entries {
                    match entry {
                        Ok(entry) => self.look_at(&entry, above),
                        Err(error) => {
                            self.unreadable.insert(folder.to_owned(), refuse(error));
                        }
                    }
                }
            }
        }
        above.pop();
    }

    fn look_at(&mut self, entry: &fs::DirEntry, above: &mut Vec<(u64, u64)>) {
        let path = entry.path();
        if is_passed_over(&entry.file_name()) {
            return;
        }
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // It has gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !link => return,
            Err(error) => {
                if is_manifest(&path) {
                    self.unreadable
                        .insert(path, format!("the file cannot be read: {error}"));
                }
                return;
            }
        };
        if metadata.is_dir() {
            self.look_into(&path, above);
        } else if metadata.is_file() && is_manifest(&path) {
            let target = match link {
                true => fs::canonicalize(&path).ok(),
                false => None,
            };
            if let Some(folder) = target.as_deref().and_then(Path::parent) {
                self.folders.insert(folder.to_owned());
            }
            let stamp = Stamp::of(&metadata);
            self.files.insert(path, Listed { stamp, target });
        }
    }
}

/// Hidden files, what editors keep beside a file, and `..data` of a mounted ConfigMap, whose files
/// are reached by the links beside it.
pub(super) fn is_passed_over(name: &OsStr) -> bool {
    name.as_encoded_bytes()
        .first()
        .is_some_and(|first| matches!(first, b'.' | b'#' | b'~'))
}

/// Whether the name is one of a manifest.
pub(super) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|it| matches!(it, "yaml" | "yml" | "json"))
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Content {
    fn unreadable(message: String) -> Self {
        Self {
            findings: vec![Finding::problem(Reason::Unreadable, "", &*message)],
            incomplete: Some((1, message)),
            ..Self::default()
        }
    }

    fn of(path: &Arc<Path>, text: &str) -> Self {
        let json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let mut content = Self::default();
        let mut take = |document| match document {
            Ok(document) => content.take(path, document),
            Err(error) => content.cannot_read(&error),
        };
        match json {
            true => yaml::json_documents(text).into_iter().for_each(&mut take),
            false => yaml::documents(text).for_each(&mut take),
        }
        content
    }

    fn cannot_read(&mut self, error: &SyntaxError) {
        let SyntaxError { line, message } = error;
        let finding = Finding::problem(Reason::Unreadable, "", &**message).at_line(*line);
        self.findings.push(finding);
        self.incomplete
            .get_or_insert_with(|| (*line, format!("line {line}: {message}")));
    }

    fn take(&mut self, path: &Arc<Path>, mut document: Document) {
        if decode::is_list(&document.value) {
            for item in document.items().unwrap_or_default() {
                self.take(path, item);
            }
            return;
        }
        let line = document.lines.line();
        match decode::decode(&document.value, Strictness::File) {
            Ok(Decoded::Ignored(kind)) => {
                let finding = match foreign::instead(&document.value) {
                    Some(instead) => {
                        let message = format!("{kind} is not served: {instead}");
                        Finding::warning(Reason::UnknownKind, "", message)
                    }
                    None => {
                        let message =
                            format!("{kind} is passed over: it is not a kind that is watched");
                        Finding::info(Reason::UnknownKind, "", message)
                    }
                };
                self.findings.push(finding.at_line(line));
                // Half of a document that would be one of ours looks like this.
                if document.value["metadata"]["name"].is_null() {
                    let why = format!("line {line}: an object without a name");
                    self.incomplete.get_or_insert((line, why));
                }
            }
            Ok(Decoded::Object {
                object,
                unknown_fields,
            }) => {
                let key = object.key();
                let unknown = |field: String| {
                    Finding::warning(Reason::UnknownField, field, "unknown field, not read")
                };
                let said = Said::Object {
                    object,
                    origin: origin(path, document.lines),
                    notes: unknown_fields.into_iter().map(unknown).collect(),
                };
                self.say(key, line, said);
            }
            Err(error) => match error.key.clone() {
                Some(key) => {
                    let origin = origin(path, document.lines);
                    self.say(key, line, Said::Rejected { origin, error });
                }
                None => {
                    for fault in &error.faults {
                        let line = document.lines.of(&fault.field);
                        let finding =
                            Finding::problem(Reason::Unreadable, &*fault.field, &*fault.message);
                        self.findings.push(finding.at_line(line));
                    }
                    self.incomplete
                        .get_or_insert_with(|| (line, format!("line {line}: {error}")));
                }
            },
        }
    }

    fn say(&mut self, key: Key, line: u32, said: Said) {
        match self.documents.get(&key) {
            None => {
                self.documents.insert(key, said);
            }
            Some(first) => {
                let first = first.origin().to_string();
                self.findings.push(duplicate(&key, line, &first));
            }
        }
    }
}

impl Said {
    fn origin(&self) -> &Origin {
        let (Self::Object { origin, .. } | Self::Rejected { origin, .. }) = self;
        origin
    }
}

fn duplicate(key: &Key, line: u32, first: &str) -> Finding {
    let message = format!("{key} is already in {first}, which is used; remove one of the two");
    Finding::problem(Reason::Duplicate, "", message).at_line(line)
}

fn origin(path: &Arc<Path>, lines: Lines) -> Origin {
    let path = Arc::clone(path);
    Origin::File(Arc::new(FileOrigin { path, lines }))
}

/// Whether it has changed this very moment. A time to come is that of another clock, and says
/// nothing.
fn is_fresh(stamp: &Stamp, now: SystemTime) -> bool {
    let (seconds, nanoseconds) = stamp.changed.max(stamp.modified);
    let changed = u64::try_from(seconds)
        .ok()
        .zip(u32::try_from(nanoseconds).ok());
    let changed = changed.map(|(seconds, rest)| UNIX_EPOCH + Duration::new(seconds, rest));
    let age = changed.and_then(|changed| now.duration_since(changed).ok());
    age.is_some_and(|age| age < FRESH)
}

fn read_text(path: &Path, max_file: u64) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let read = file
        .take(max_file.saturating_add(1))
        .read_to_end(&mut bytes);
    read.map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() as u64 > max_file {
        return Err(format!(
            "the file is larger than {} MiB",
            max_file / 1024 / 1024
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        format!("line {line} is not UTF-8")
    })
}

#[cfg(test)]
mod tests;
