use serde_json::json;

use super::*;
use crate::{
    ingressroute,
    kubernetes::revision::Revision,
    objects::{self, Kind, Origin},
};

const SECOND: Duration = Duration::from_secs(1);

fn key(name: &str) -> Key {
    objects::key(Kind::IngressRoute, "default", name)
}

/// A route whose newest version is bad, and the version before that was good, if any was.
fn bad(name: &str, uid: &str, last_good: Option<i64>) -> (Key, BadRoute) {
    let draft = |generation| {
        let route = json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": {"name": name, "namespace": "default", "generation": generation},
            "spec": {"route": {"rules": [{"service": {"name": "api", "port": 80}}]}},
        });
        let route = serde_json::from_value(route).unwrap();
        Arc::new(ingressroute::draft(&route, Origin::Api))
    };
    let route = BadRoute {
        uid: uid.into(),
        last_good: last_good.map(draft),
    };
    (key(name), route)
}

fn revision(name: &str, uid: &str, generation: i64) -> (Box<str>, Revision) {
    let revision = Revision {
        key: key(name),
        uid: uid.into(),
        generation,
        object: None,
    };
    (format!("{uid}-{generation}").into(), revision)
}

/// An archive that leads, the API server that it writes to, and a clock that moves when it is told.
struct Shelf {
    archive: Archive,
    kept: BTreeMap<Box<str>, Revision>,
    now: Instant,
}

impl Shelf {
    fn new() -> Self {
        let mut archive = Archive::default();
        archive.lead(true);
        Self {
            archive,
            kept: BTreeMap::new(),
            now: Instant::now(),
        }
    }

    fn bad<const N: usize>(&mut self, routes: [(Key, BadRoute); N]) {
        self.archive.bad(Some(Arc::new(routes.into())));
    }

    fn keeps<const N: usize>(&mut self, kept: [(Box<str>, Revision); N]) {
        self.kept = kept.into();
        self.show();
    }

    /// The watch tells.
    fn show(&mut self) {
        self.archive.kept(Arc::new(Some(self.kept.clone())));
    }

    /// Does all that is due, until nothing is: what was done, in words.
    fn work(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        loop {
            let tasks = self.archive.tasks(usize::MAX, self.now);
            if tasks.is_empty() {
                return done;
            }
            for task in tasks {
                done.push(self.perform(&task));
                assert_eq!(self.archive.done(&task, Ok(()), self.now), None);
            }
            self.show();
        }
    }

    fn perform(&mut self, task: &Task) -> String {
        let Task {
            key,
            uid,
            generation,
            deed,
        } = task;
        match deed {
            Deed::Write(draft) => {
                assert_eq!(draft.generation(), Some(*generation));
                self.kept.extend([revision(&key.name, uid, *generation)]);
                format!("write {} {uid} {generation}", key.name)
            }
            Deed::Remove(name) => {
                assert!(self.kept.remove(name).is_some(), "{name}");
                format!("remove {} {uid} {generation}", key.name)
            }
        }
    }

    /// The same where every task fails.
    fn fail(&mut self, blame: Blame) -> (usize, Vec<News>) {
        let tasks = self.archive.tasks(8, self.now);
        let now = self.now;
        let done = |task: &Task| self.archive.done(task, Err(blame), now);
        (tasks.len(), tasks.iter().filter_map(done).collect())
    }
}

#[test]
fn a_version_is_kept_for_as_long_as_the_one_after_it_is_bad() {
    let mut shelf = Shelf::new();
    shelf.bad([]);
    shelf.keeps([]);
    assert_eq!(
        shelf.work(),
        [""; 0],
        "it costs nothing where nothing is broken"
    );
    shelf.bad([bad("a", "1", Some(3)), bad("never good", "2", None)]);
    assert_eq!(shelf.work(), ["write a 1 3"]);
    assert_eq!(shelf.work(), [""; 0]);
    // It is edited badly once more.
    shelf.bad([bad("a", "1", Some(3)), bad("never good", "2", None)]);
    assert_eq!(shelf.work(), [""; 0]);
    // It heals, or goes, or changes its class.
    shelf.bad([bad("never good", "2", None)]);
    assert_eq!(shelf.work(), ["remove a 1 3"]);
    assert_eq!(shelf.work(), [""; 0]);
    assert_eq!(shelf.archive.next(), None);
}

#[test]
fn what_is_kept_against_what_should_be() {
    let old = || revision("a", "1", 3);
    let new = || revision("a", "1", 5);
    let cases = [
        // A newer version is written before the older one is removed.
        (
            vec![bad("a", "1", Some(5))],
            vec![old()],
            vec!["write a 1 5", "remove a 1 3"],
        ),
        (
            vec![bad("a", "1", Some(5))],
            vec![old(), new()],
            vec!["remove a 1 3"],
        ),
        // Somebody knew a later one: this replica judges otherwise, or has missed it.
        (
            vec![bad("a", "1", Some(3))],
            vec![new()],
            vec!["write a 1 3"],
        ),
        (vec![bad("a", "1", Some(3))], vec![old(), new()], vec![]),
        // Nobody here knows a good one, but who kept this one did.
        (vec![bad("a", "1", None)], vec![old()], vec![]),
        // It was deleted and made anew.
        (vec![bad("a", "2", None)], vec![old()], vec!["remove a 1 3"]),
        (
            vec![bad("a", "2", Some(3))],
            vec![old()],
            vec!["write a 2 3", "remove a 1 3"],
        ),
        (
            vec![],
            vec![old(), new(), revision("b", "2", 1)],
            vec!["remove a 1 3", "remove a 1 5", "remove b 2 1"],
        ),
    ];
    let mut ran = 0;
    for (routes, kept, expected) in cases {
        let mut shelf = Shelf::new();
        let title = format!("{routes:?} {kept:?}");
        shelf
            .archive
            .bad(Some(Arc::new(routes.into_iter().collect())));
        shelf.kept = kept.into_iter().collect();
        shelf.show();
        assert_eq!(shelf.work(), expected, "{title}");
        ran += 1;
    }
    assert_eq!(ran, 8);
}

#[test]
fn nothing_is_done_by_who_does_not_lead_or_does_not_know_all() {
    let mut shelf = Shelf::new();
    shelf.keeps([revision("a", "1", 3)]);
    assert_eq!(shelf.work(), [""; 0], "not every object has been seen");
    shelf.archive.kept(Arc::default());
    shelf.bad([bad("b", "2", Some(1))]);
    assert!(
        shelf.archive.tasks(8, shelf.now).is_empty(),
        "what is kept is not known"
    );
    shelf.show();
    shelf.archive.lead(false);
    assert_eq!(shelf.work(), [""; 0]);
    assert_eq!(shelf.archive.next(), None);
    // Who begins to lead does both.
    shelf.archive.lead(true);
    assert_eq!(shelf.work(), ["write b 2 1", "remove a 1 3"]);
}

#[test]
fn what_was_done_is_not_done_again_before_the_watch_tells() {
    let mut shelf = Shelf::new();
    shelf.bad([bad("a", "1", Some(3))]);
    shelf.keeps([]);
    let mut writes = 0;
    for _ in 0..60 {
        for task in shelf.archive.tasks(8, shelf.now) {
            assert!(
                shelf.archive.tasks(8, shelf.now).is_empty(),
                "it is under way"
            );
            shelf.archive.done(&task, Ok(()), shelf.now);
            writes += 1;
        }
        let next = shelf.archive.next().unwrap();
        assert!(next > shelf.now && next <= shelf.now + PATIENCE);
        shelf.now += SECOND;
    }
    // It was removed by somebody, perhaps.
    assert_eq!(writes, 12);
}

#[test]
fn an_api_server_that_refuses_all_is_asked_by_one_now_and_then_and_that_is_said_once() {
    let mut shelf = Shelf::new();
    let routes = (0..500).map(|number| bad(&format!("r{number}"), &format!("u{number}"), Some(1)));
    shelf.archive.bad(Some(Arc::new(routes.collect())));
    shelf.keeps([]);
    let (mut counts, mut said) = (Vec::new(), Vec::new());
    for _ in 0..600 {
        let (count, news) = shelf.fail(Blame::Kind);
        counts.push(count);
        said.extend(news);
        shelf.now += SECOND;
    }
    assert_eq!(said, [News::Fails]);
    assert_eq!(counts[0], 8);
    assert!(counts[1..].iter().all(|count| *count <= 1), "{counts:?}");
    let later: usize = counts[120..].iter().sum();
    assert!((8..=13).contains(&later), "{later} in eight minutes");
    // It is found out soon that it is over.
    for _ in 0..150 {
        for task in shelf.archive.tasks(8, shelf.now) {
            shelf.perform(&task);
            said.extend(shelf.archive.done(&task, Ok(()), shelf.now));
        }
        shelf.show();
        shelf.now += SECOND;
    }
    assert_eq!(said, [News::Fails, News::Works]);
    assert_eq!(shelf.kept.len(), 500);
}

#[test]
fn a_version_that_is_refused_keeps_no_other_waiting() {
    let mut shelf = Shelf::new();
    shelf.bad([bad("a", "1", Some(1)), bad("b", "2", Some(1))]);
    shelf.keeps([]);
    let mut attempts = 0;
    for _ in 0..3_600 {
        for task in shelf.archive.tasks(8, shelf.now) {
            let refused = &*task.uid == "1";
            if !refused {
                shelf.perform(&task);
            }
            attempts += usize::from(refused);
            let outcome = if refused { Err(Blame::Object) } else { Ok(()) };
            assert_eq!(shelf.archive.done(&task, outcome, shelf.now), None);
        }
        shelf.show();
        shelf.now += SECOND;
    }
    assert_eq!(shelf.kept.len(), 1);
    assert!((8..=20).contains(&attempts), "{attempts} in an hour");
}

/// Somebody's script edits it for better and for worse, all the time.
#[test]
fn a_route_that_flaps_costs_a_few_writes_a_minute() {
    let mut shelf = Shelf::new();
    shelf.keeps([]);
    let (mut writes, mut removals) = (0, 0);
    for generation in 0..600 {
        match generation % 2 {
            0 => shelf.bad([bad("a", "1", Some(generation))]),
            _ => shelf.bad([]),
        }
        for done in shelf.work() {
            match done.starts_with("write") {
                true => writes += 1,
                false => removals += 1,
            }
        }
        shelf.now += SECOND / 10;
    }
    assert!((10..=20).contains(&writes), "{writes} in a minute");
    assert!(removals <= writes, "{removals}");
    // And none is forgotten.
    shelf.bad([bad("a", "1", Some(700))]);
    shelf.now += SECOND * 60;
    assert_eq!(shelf.work(), ["write a 1 700"]);
}
