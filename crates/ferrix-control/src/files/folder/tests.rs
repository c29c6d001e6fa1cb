use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;
use ferrix_table::table::EntryPoint;

use crate::{Settings, objects::Kind, translate, world::World};

/// What a look at the folder has changed, in short.
fn scan(folder: &mut Folder) -> Vec<String> {
    scan_touched(folder, &[])
}

fn scan_touched(folder: &mut Folder, touched: &[PathBuf]) -> Vec<String> {
    let root = folder.root.clone();
    let file = |path: &Path| {
        path.strip_prefix(&root)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let place = |origin: &Origin| match origin {
        Origin::File(it) => {
            format!("{}:{}", file(&it.path), it.lines.line())
        }
        Origin::Api => "nowhere".to_owned(),
    };
    let changes = folder
        .scan(&touched.iter().cloned().collect(), false)
        .changes;
    let mut changes: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::Apply { object, origin, .. } => {
                format!("+ {} {}", object.key(), place(origin))
            }
            Change::Remove(key) => format!("- {key}"),
            Change::Reject { key, error, .. } => format!("! {key} {error}"),
            Change::Remark { path, findings } => {
                let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
                format!("# {} {}", file(path), findings.join("; "))
                    .replace(&format!("{}/", root.display()), "")
            }
            other @ (Change::RemoveSecret { .. }
            | Change::Withhold { .. }
            | Change::LookedUp { .. }
            | Change::Forget(_)
            | Change::KeysFetched { .. }
            | Change::ForgetKeys(_)
            | Change::Keep(_)
            | Change::KeepsRetries(_)
            | Change::Unwritten(_)
            | Change::Refused(_)
            | Change::Discard { .. }) => {
                panic!("a folder says no such thing: {other:?}")
            }
        })
        .collect();
    changes.sort();
    changes
}

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n")
}

/// How many objects are taken from files.
fn taken(folder: &Folder) -> usize {
    folder.files.values().flat_map(|file| file.taken()).count()
}

fn open(root: &TempDir) -> Folder {
    Folder::open(root.path()).unwrap()
}

/// A later time than any file has: what is written in one tick of the clock looks the same.
fn write(root: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = root.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// Lets some time pass, so that files that are not written again are not read again either.
fn settle() {
    std::thread::sleep(FRESH * 2);
}

#[test]
fn files_of_all_kinds_in_folders() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "a.yaml", service("a") + "---\n" + &service("b"));
    write(&root, "sub/deeper/c.yml", service("c"));
    write(
        &root,
        "d.json",
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "d"}}"#,
    );
    for passed_over in [
        ".hidden.yaml",
        ".git/x.yaml",
        "#edited.yaml",
        "~x.yaml",
        "x.yaml~",
        "x.yaml.swp",
        "x.txt",
        "4913",
    ] {
        write(&root, passed_over, service("never"));
    }
    let mut folder = open(&root);
    settle();
    assert_eq!(
        scan(&mut folder),
        [
            "+ Service default/a a.yaml:1",
            "+ Service default/b a.yaml:5",
            "+ Service default/c sub/deeper/c.yml:1",
            "+ Service default/d d.json:1",
        ]
    );
    assert_eq!(scan(&mut folder), [""; 0], "nothing has changed");
    fs::remove_file(root.path().join("a.yaml")).unwrap();
    fs::remove_dir_all(root.path().join("sub")).unwrap();
    assert_eq!(
        scan(&mut folder),
        [
            "- Service default/a",
            "- Service default/b",
            "- Service default/c",
        ]
    );
}

#[test]
fn a_file_that_does_not_parse_takes_nothing_away() {
    let root = tempfile::tempdir().unwrap();
    let all = [service("a"), service("b"), service("c")].join("---\n");
    let path = write(&root, "x.yaml", &all);
    let mut folder = open(&root);
    assert_eq!(scan(&mut folder).len(), 3);
    // Cut at any byte, it is a file that parses or one that keeps what it does not hold.
    for end in 0..all.len() {
        write(&root, "x.yaml", &all[..end]);
        let changes = scan_touched(&mut folder, std::slice::from_ref(&path));
        let broken = changes.iter().any(|change| change.starts_with("# x.yaml "))
            && !changes.contains(&"# x.yaml ".to_owned());
        let gone = changes.iter().any(|change| change.starts_with('-'));
        assert!(!(broken && gone), "cut at {end}: {changes:#?}");
        write(&root, "x.yaml", &all);
        scan_touched(&mut folder, std::slice::from_ref(&path));
        assert_eq!(taken(&folder), 3, "cut at {end}");
    }
    write(&root, "x.yaml", b"\xFF\xFE");
    let changes = scan_touched(&mut folder, std::slice::from_ref(&path));
    assert_eq!(
        changes
            .iter()
            .filter(|change| change.starts_with("! "))
            .count(),
        3
    );
    assert!(
        changes.contains(&"# x.yaml line 1 is not UTF-8".to_owned()),
        "{changes:#?}"
    );
    // An object that is absent from a file that parses is gone.
    write(&root, "x.yaml", service("b"));
    assert_eq!(
        scan_touched(&mut folder, &[path]),
        [
            "# x.yaml ",
            "+ Service default/b x.yaml:1",
            "- Service default/a",
            "- Service default/c",
        ]
    );
}

#[test]
fn the_first_file_has_an_object() {
    let root = tempfile::tempdir().unwrap();
    let first = write(&root, "a.yaml", service("x"));
    write(&root, "b.yaml", service("y") + "---\n" + &service("x"));
    let mut folder = open(&root);
    settle();
    assert_eq!(
        scan(&mut folder),
        [
            "# b.yaml Service default/x is already in a.yaml, which is used; remove one of the two",
            "+ Service default/x a.yaml:1",
            "+ Service default/y b.yaml:1",
        ]
    );
    // The second takes over, though it has not changed itself.
    write(&root, "a.yaml", service("z"));
    assert_eq!(
        scan_touched(&mut folder, std::slice::from_ref(&first)),
        [
            "# b.yaml ",
            "+ Service default/x b.yaml:5",
            "+ Service default/y b.yaml:1",
            "+ Service default/z a.yaml:1",
        ]
    );
    write(&root, "a.yaml", service("x"));
    assert_eq!(
        scan_touched(&mut folder, &[first]),
        [
            "# b.yaml Service default/x is already in a.yaml, which is used; remove one of the two",
            "+ Service default/x a.yaml:1",
            "- Service default/z",
        ]
    );
}

#[test]
fn the_same_object_twice_in_one_file() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "a.yaml", service("x") + "---\n" + &service("x"));
    assert_eq!(
        scan(&mut open(&root)),
        [
            "# a.yaml Service default/x is already in a.yaml:1, which is used; remove one of the two",
            "+ Service default/x a.yaml:1",
        ]
    );
}

#[test]
fn links_are_followed() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = write(&elsewhere, "x.yaml", service("x"));
    symlink(&target, root.path().join("link.yaml")).unwrap();
    write(&elsewhere, "folder/y.yaml", service("y"));
    symlink(elsewhere.path().join("folder"), root.path().join("linked")).unwrap();
    // Round and round.
    symlink(root.path(), root.path().join("loop")).unwrap();
    symlink("/does/not/exist.yaml", root.path().join("broken.yaml")).unwrap();
    let mut folder = open(&root);
    settle();
    let changes = scan(&mut folder);
    assert_eq!(
        changes[1..],
        [
            "+ Service default/x link.yaml:1",
            "+ Service default/y linked/y.yaml:1",
        ]
    );
    assert!(
        changes[0].starts_with("# broken.yaml the file cannot be read"),
        "{changes:?}"
    );
    let folders = folder.scan(&HashSet::new(), false).folders;
    assert!(
        folders.contains(&elsewhere.path().canonicalize().unwrap()),
        "{folders:?}"
    );
    write(&elsewhere, "x.yaml", service("z"));
    let target = target.canonicalize().unwrap();
    let changes = scan_touched(&mut folder, &[target]);
    assert_eq!(
        changes[1..],
        ["+ Service default/z link.yaml:1", "- Service default/x"]
    );
}

#[test]
fn a_mounted_config_map() {
    let root = tempfile::tempdir().unwrap();
    let version = |name: &str, text: String| {
        write(&root, &format!("{name}/x.yaml"), text);
        let _ = fs::remove_file(root.path().join("..data_tmp"));
        symlink(name, root.path().join("..data_tmp")).unwrap();
        fs::rename(root.path().join("..data_tmp"), root.path().join("..data")).unwrap();
    };
    version("..2026_01", service("x"));
    symlink("..data/x.yaml", root.path().join("x.yaml")).unwrap();
    let mut folder = open(&root);
    assert_eq!(scan(&mut folder), ["+ Service default/x x.yaml:1"]);
    version("..2026_02", service("y"));
    fs::remove_dir_all(root.path().join("..2026_01")).unwrap();
    assert_eq!(
        scan(&mut folder),
        ["+ Service default/y x.yaml:1", "- Service default/x"]
    );
}

#[test]
fn a_file_that_is_too_large() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "x.yaml", service("x"));
    let mut folder = open(&root);
    scan(&mut folder);
    let large = service("x") + &"#".repeat(MAX_FILE as usize);
    write(&root, "x.yaml", large);
    let changes = scan_touched(&mut folder, &[path]);
    assert_eq!(changes[1], "# x.yaml the file is larger than 4 MiB");
    assert!(changes[0].starts_with("! Service default/x"), "{changes:?}");
}

#[test]
fn a_folder_that_is_gone_takes_nothing_away() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "inner/x.yaml", service("x"));
    let mut folder = Folder::open(&root.path().join("inner")).unwrap();
    assert_eq!(scan(&mut folder).len(), 1);
    fs::remove_dir_all(root.path().join("inner")).unwrap();
    let changes = scan(&mut folder);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(
        changes[0].contains("what was read from there is kept"),
        "{changes:?}"
    );
    write(&root, "inner/x.yaml", service("y"));
    let changes = scan(&mut folder);
    assert_eq!(
        changes[1..],
        ["+ Service default/y x.yaml:1", "- Service default/x"]
    );
}

#[test]
fn a_patient_look_waits_for_what_is_changing() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "x.yaml", service("x"));
    let mut folder = open(&root);
    // What is new is read at once.
    assert_eq!(folder.scan(&HashSet::new(), true).changes.len(), 1);
    let calm = |folder: &mut Folder| {
        let started = std::time::Instant::now();
        loop {
            let scan = folder.scan(&HashSet::new(), true);
            assert!(started.elapsed().as_secs() < 20);
            if !scan.unsettled {
                return scan.changes.len();
            }
        }
    };
    let now = SystemTime::now();
    write(&root, "x.yaml", "# nothing\n");
    let scan = folder.scan(&HashSet::new(), true);
    // On a busy machine the moment may have passed.
    if now.elapsed().unwrap() < FRESH / 2 {
        assert!(scan.unsettled && scan.changes.is_empty(), "{scan:?}");
    }
    assert_eq!(taken(&folder), usize::from(scan.unsettled));
    write(&root, "x.yaml", service("x"));
    assert_eq!(calm(&mut folder), 1);
    fs::remove_file(path).unwrap();
    let scan = folder.scan(&HashSet::new(), true);
    assert_eq!(scan.unsettled, scan.changes.is_empty(), "{scan:?}");
    calm(&mut folder);
    assert_eq!(taken(&folder), 0);
}

#[test]
fn what_is_no_folder() {
    let root = tempfile::tempdir().unwrap();
    let file = write(&root, "x.yaml", "");
    assert!(matches!(
        Folder::open(&file),
        Err(FolderError::NotAFolder { .. })
    ));
    let missing = root.path().join("missing");
    assert!(matches!(
        Folder::open(&missing),
        Err(FolderError::Unreadable { .. })
    ));
}

#[test]
fn an_object_that_can_no_longer_be_decoded_is_rejected_and_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "x.yaml", service("x") + "---\n" + &service("y"));
    let mut folder = open(&root);
    scan(&mut folder);
    write(
        &root,
        "x.yaml",
        service("x") + "spec: {ports: 80}\n---\n" + &service("y"),
    );
    let changes = scan_touched(&mut folder, &[path]);
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(
        changes[0].starts_with("! Service default/x spec.ports: "),
        "{changes:?}"
    );
    let mut taken = folder.files.values().flat_map(|file| file.taken());
    assert!(taken.any(|key| *key == Key::new(Kind::Service, "default", "x")));
}

#[test]
fn what_moves_to_another_file_is_taken_from_there() {
    let root = tempfile::tempdir().unwrap();
    let first = write(&root, "a.yaml", service("x") + "---\n" + &service("y"));
    write(&root, "b.yaml", service("x") + "---\n" + &service("z"));
    settle();
    let mut folder = open(&root);
    let duplicate =
        "# b.yaml Service default/x is already in a.yaml, which is used; remove one of the two";
    let (x, y) = ("+ Service default/x", "+ Service default/y");
    let seen = scan(&mut folder);
    let z = "+ Service default/z b.yaml:5";
    assert_eq!(
        seen,
        [
            duplicate,
            &format!("{x} a.yaml:1"),
            &format!("{y} a.yaml:5"),
            z
        ]
    );
    // What is said of it is said at every look.
    assert_eq!(scan(&mut folder), [duplicate]);
    fs::remove_file(first).unwrap();
    let seen = scan(&mut folder);
    assert_eq!(
        seen,
        [
            "# b.yaml ",
            &format!("{x} b.yaml:1"),
            z,
            "- Service default/y"
        ]
    );
}

#[test]
fn a_first_look_in_parts_sees_what_a_whole_one_does() {
    let root = tempfile::tempdir().unwrap();
    let padding = "#".repeat(READ_AT_ONCE as usize);
    let service = |name: &str, port: u16| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{ports: [{{port: {port}}}]}}\n"
        )
    };
    let route = "apiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {name: r}\nspec: \
                 {route: {rules: [{services: [{name: a, port: 80}, {name: b, port: 80}, \
                 {name: c, port: 81}]}]}}\n";
    write(&root, "a.yaml", service("a", 80) + &padding);
    write(
        &root,
        "b.yaml",
        format!("{route}---\n{}{padding}", service("b", 80)),
    );
    // The same object as before, and as after it.
    write(
        &root,
        "c.yaml",
        service("a", 90) + "---\n" + &service("c", 81) + &padding,
    );
    write(
        &root,
        "d.yaml",
        service("c", 91) + "---\n" + &service("b", 91),
    );
    settle();
    let settings = Settings::for_files(vec![EntryPoint::http("web")]);
    let look = |whole: bool| {
        let mut folder = open(&root);
        folder.complete = whole;
        let mut world = World::new();
        let mut looks = 0;
        loop {
            let scan = folder.scan(&HashSet::new(), false);
            scan.changes.into_iter().for_each(|it| drop(world.take(it)));
            looks += 1;
            if !scan.more {
                break;
            }
        }
        let (table, report) = translate(&world, &settings);
        (looks, serde_json::to_string(&table.dump()).unwrap(), report)
    };
    let (whole, parts) = (look(true), look(false));
    assert_eq!((whole.0, parts.0), (1, 4));
    assert_eq!(parts.1, whole.1);
    assert_eq!(parts.2, whole.2);
    let duplicates =
        (whole.2.remarks().iter()).filter(|remark| remark.finding.reason == Reason::Duplicate);
    assert_eq!(duplicates.count(), 3);
}
