//! Memory: how much this process may have, which part of it bodies may take that wait for peers which
//! do not read them, and what nobody uses given back to the system.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use ferrix_proxy::settings::Settings;

/// Of the memory there is, this part is for bodies that wait. What else a request needs is about as
/// much again, and routes, certificates and connections want the rest.
const PART: u64 = 4;

/// A limit that is none: cgroups of version 1 say it so.
const UNLIMITED: u64 = 1 << 60;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// More than the allocator puts together with anything else.
const LARGE: usize = 1 << 20;

/// Gives `limits.buffered_bytes` its default.
pub(crate) fn budget(settings: &mut Settings) {
    let default = || ByteSize(available().map_or(0, |bytes| bytes / PART));
    settings.limits.buffered_bytes.get_or_insert_with(default);
}

/// Bytes that this process may have: those of its container, else of the machine. `None`: nobody says.
fn available() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let container = of_groups(&groups, Path::new("/sys/fs/cgroup"));
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(of_machine);
    container.into_iter().chain(machine).min()
}

/// The least that a group of this process allows, or one above it (cgroups(7)).
fn of_groups(groups: &str, root: &Path) -> Option<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        // NUMBER:CONTROLLERS:PATH; of version 2, number 0 and no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (folder, file) = match controllers {
            "" => (PathBuf::from(root), "memory.max"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        // Within a container the path may be that of the host; the root is the container's then.
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            let text = fs::read_to_string(folder.join(above).join(file));
            let limit = text.ok().and_then(|text| text.trim().parse::<u64>().ok());
            limits.extend(limit.filter(|limit| *limit < UNLIMITED));
        }
    }
    limits.into_iter().min()
}

/// By the text of `/proc/meminfo`.
fn of_machine(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line?.trim().strip_suffix("kB")?.trim();
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("memory.max", "max\n");
        write("a/memory.max", "1000000\n");
        write("a/b/memory.max", "2000000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/c/memory.limit_in_bytes", "3000000\n");
        let cases = [
            ("0::/\n", None),
            ("0::/a/b\n", Some(1_000_000)),
            ("0::/a\n", Some(1_000_000)),
            // The path of the host.
            ("0::/elsewhere/pod\n", None),
            ("5:cpu,cpuacct:/c\n4:memory:/c\n", Some(3_000_000)),
            ("4:memory:/\n0::/\n", None),
            ("nonsense\n", None),
            ("", None),
        ];
        for (groups, expected) in cases {
            assert_eq!(of_groups(groups, root.path()), expected, "{groups:?}");
        }
        assert_eq!(cases.len(), 8);
    }

    #[test]
    fn the_machine_says_what_it_has() {
        let text = "MemTotal:        2048 kB\nMemFree:         1 kB\n";
        assert_eq!(of_machine(text), Some(2048 * 1024));
        assert_eq!(of_machine("MemFree: 1 kB\n"), None);
        assert_eq!(of_machine("MemTotal: x kB\n"), None);
    }

    #[test]
    fn what_is_set_stays() {
        for set in [0, 1, 1 << 40] {
            let mut settings = Settings::default();
            settings.limits.buffered_bytes = Some(ByteSize(set));
            budget(&mut settings);
            assert_eq!(settings.limits.buffered_bytes, Some(ByteSize(set)));
        }
        let mut settings = Settings::default();
        budget(&mut settings);
        assert!(settings.limits.buffered_bytes.is_some());
    }
}
