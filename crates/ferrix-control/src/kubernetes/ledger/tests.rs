use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::api::DynamicObject;
use serde_json::json;

use ferrix_table::table::EntryPoint;

use super::{
    super::{exceptions::Exceptions, progress::Progress, seen},
    *,
};
use crate::{
    fallback::{Fallback, Fallbacks},
    kinds,
    objects::{self, Kind, Origin},
    rare::Rare,
    report::{self, ConditionType},
    status::Writer,
};

mod addresses;
mod endpoints;
mod gateway;

const ROUTE: Kind = Kind::IngressRoute;

const OURS: &str = "ferrix/ferrix";

const WRITER: Writer<'_> = Writer {
    installation: Some(OURS),
    controller: "ferrix.com/gateway-controller",
};

const FIRST: &str = "2026-01-01T00:00:00Z";

/// A ledger, the API server that it writes to, and a clock that moves when it is told.
struct Desk {
    ledger: Ledger,
    now: Instant,
    /// Objects as the API server has them.
    objects: BTreeMap<String, DynamicObject>,
    version: u64,
    entries: BTreeMap<String, Entry>,
    fallbacks: Fallbacks,
    writes: usize,
    events: Vec<String>,
    /// Whether the API server has no place for the name of an installation.
    drops_name: bool,
}

impl Desk {
    fn leading() -> Self {
        let mut desk = Self {
            ledger: Ledger::new(OURS, offer(&["web"])),
            now: Instant::now(),
            objects: BTreeMap::new(),
            version: 100,
            entries: BTreeMap::new(),
            fallbacks: Fallbacks::default(),
            writes: 0,
            events: Vec::new(),
            drops_name: false,
        };
        desk.ledger.lead(true, desk.now);
        desk
    }

    /// Somebody applies a route.
    fn route(&mut self, name: &str, generation: i64) {
        self.version += 1;
        let status = self.objects.get(name).map(|it| it.data["status"].clone());
        let object = json!({
            "apiVersion": "ferrix.com/v1",
            "kind": "IngressRoute",
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": format!("uid of {name}"),
                "generation": generation,
                "resourceVersion": self.version.to_string(),
            },
            "status": status,
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.objects.insert(name.to_owned(), object);
        self.see(name);
    }

    fn see(&mut self, name: &str) {
        let seen = self.objects.get(name).and_then(observe);
        let key = objects::key(ROUTE, "default", name);
        self.ledger.see(key, seen, self.now);
    }

    /// It is translated, with this problem or none.
    fn translated(&mut self, name: &str, generation: i64, problem: Option<&'static str>) {
        let condition = |condition, status, reason, message: &'static str| report::Condition {
            condition,
            status,
            reason,
            message: message.into(),
            observed_generation: Some(generation),
        };
        let (accepted, programmed) = match problem {
            None => (Reason::Accepted, Reason::Programmed),
            Some(_) => (Reason::InvalidRule, Reason::NotProgrammed),
        };
        let good = problem.is_none();
        let entry = Entry {
            key: objects::key(ROUTE, "default", name),
            origin: Origin::Api,
            observed_generation: Some(generation),
            serving: Serving::Newest,
            entry_points: ["web".to_owned()].into(),
            conditions: [
                condition(
                    ConditionType::Accepted,
                    good,
                    accepted,
                    problem.unwrap_or("ok"),
                ),
                condition(
                    ConditionType::ResolvedRefs,
                    true,
                    Reason::ResolvedRefs,
                    "ok",
                ),
                condition(
                    ConditionType::Programmed,
                    good,
                    programmed,
                    "Served on web.",
                ),
                condition(
                    ConditionType::Ready,
                    good,
                    if good { Reason::Ready } else { accepted },
                    "Served on web.",
                ),
            ]
            .into(),
            refused_hosts: Default::default(),
            verdict: None,
            attached: Rare::default(),
            findings: Default::default(),
        };
        self.entries.insert(name.to_owned(), entry);
        self.report();
    }

    fn report(&mut self) {
        let report = Report {
            entries: self.entries.values().cloned().map(Arc::new).collect(),
            fallbacks: Arc::new(self.fallbacks.clone()),
            ..Report::default()
        };
        self.ledger.report(Arc::new(report), self.now);
    }

    /// Replicas have come so far.
    fn replicas(&mut self, replicas: &[(&str, u64)]) {
        let replicas = replicas
            .iter()
            .map(|(name, version)| ((*name).into(), replica(*version, Offer::default())));
        self.ledger.replicas(replicas.collect(), self.now);
    }

    /// Lets time pass, a tick at a time, and writes what is due. Returns how many writes there were in
    /// each tick.
    fn ticks(&mut self, count: u32, tick: Duration) -> Vec<usize> {
        (0..count)
            .map(|_| {
                self.pass(tick);
                self.write().len()
            })
            .collect()
    }

    /// Writes all that is due, and sees what comes back. Returns what was written.
    fn write(&mut self) -> Vec<Write> {
        let writes = self.ledger.writes(usize::MAX, self.now);
        for write in &writes {
            self.writes += 1;
            let told = write
                .events
                .iter()
                .map(|(reason, text)| format!("{reason:?}: {text}"));
            self.events.extend(told);
            self.version += 1;
            let object = self.objects.get_mut(&*write.key.name).unwrap();
            take(object, write, self.version);
            let mut done = Written::Done(self.version);
            if self.drops_name && write.status.installation.is_some() {
                object.data["status"]["installation"].take();
                done = Written::Nameless(self.version);
            }
            self.ledger.written(write, done, self.now);
            self.see(&write.key.name);
        }
        writes
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// What the API server makes of a write.
fn take(object: &mut DynamicObject, write: &Write, version: u64) {
    let form = kinds::form(write.key.kind).unwrap();
    object.data["status"] = (form.write)(&write.status, &WRITER);
    object.metadata.resource_version = Some(version.to_string());
}

fn offer(names: &[&str]) -> Offer {
    let entry_point = |name: &&str| EntryPoint::http(name);
    Offer::new(&names.iter().map(entry_point).collect::<Vec<_>>())
}

fn replica(version: u64, offer: Offer) -> Replica {
    let mut progress = Progress::default();
    progress.advance(ROUTE, None, version);
    let exceptions = Exceptions::default();
    Replica {
        progress,
        offer,
        exceptions,
        ..Replica::default()
    }
}

fn observe(object: &DynamicObject) -> Option<Seen> {
    Seen::new((ROUTE, "v1"), object, WRITER.controller)
}

fn programmed(status: &Status) -> (&str, &str, Option<&str>) {
    let condition = &status.conditions[2];
    (
        &condition.status,
        &condition.reason,
        status.replicas.as_deref(),
    )
}

#[test]
fn one_write_for_a_route_that_all_replicas_take_up() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 100), ("b", 100)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    assert!(desk.write().is_empty(), "the replicas have a second");
    desk.replicas(&[("a", 101), ("b", 100)]);
    assert!(desk.write().is_empty());
    desk.replicas(&[("a", 101), ("b", 101)]);
    let writes = desk.write();
    assert_eq!(
        programmed(&writes[0].status),
        ("True", "Programmed", Some("2/2"))
    );
    assert!(writes[0].events.is_empty());
    // Nothing more, as long as the replicas are these.
    desk.replicas(&[("a", 103), ("b", 103)]);
    assert_eq!(desk.ticks(120, SECOND), [0; 120]);
    assert_eq!(desk.ledger.next(), None);
}

const SECOND: Duration = Duration::from_secs(1);

/// It serves what the process before it had seen: that is nothing new, and nothing less.
#[test]
fn a_replica_that_serves_from_a_snapshot_counts_for_what_that_had_seen() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 101), ("b", 101)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    assert_eq!(desk.write().len(), 1);
    let restored = Replica {
        restored: true,
        ..replica(101, Offer::default())
    };
    let told = [
        ("a".into(), replica(1000, Offer::default())),
        ("b".into(), restored),
    ];
    desk.ledger.replicas(told.into(), desk.now);
    assert_eq!(desk.ticks(60, SECOND), [0; 60]);
    desk.route("r", 2);
    desk.translated("r", 2, None);
    desk.pass(PATIENCE);
    let writes = desk.write();
    let status = &writes[0].status;
    assert_eq!(programmed(status), ("False", "Pending", Some("1/2")));
    let message = &status.conditions[2].message;
    assert!(
        message.contains("; b serves from a snapshot, as"),
        "{message}"
    );
}

/// Three pods are replaced one after the other, with a thousand routes: one write for each.
#[test]
fn the_count_follows_when_replicas_have_settled() {
    const ROUTES: usize = 1_000;
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 10_000), ("b", 10_000), ("c", 10_000)]);
    for number in 0..ROUTES {
        let name = format!("r{number}");
        desk.route(&name, 1);
        desk.translated(&name, 1, None);
    }
    assert_eq!(desk.write().len(), ROUTES);
    desk.ticks(60, SECOND);
    assert_eq!(desk.writes, ROUTES);
    for replicas in [
        &["a", "b", "c", "d"][..],
        &["b", "c", "d"],
        &["b", "c", "d", "e"],
        &["c", "d", "e"],
        &["c", "d", "e", "f"],
        &["d", "e"],
    ] {
        let replicas: Vec<_> = replicas.iter().map(|name| (*name, 10_000)).collect();
        desk.replicas(&replicas);
        assert_eq!(desk.ticks(6, SECOND), [0; 6]);
    }
    let writes = desk.ticks(54, SECOND);
    assert_eq!(writes.iter().sum::<usize>(), ROUTES);
    assert!(writes.iter().all(|it| *it <= 51), "{writes:?}");
    for object in desk.objects.values() {
        assert_eq!(object.data["status"]["replicas"], "2/2");
    }
    assert_eq!(desk.ticks(120, SECOND), [0; 120]);
}

#[test]
fn replicas_that_never_settle_are_counted_once_a_minute() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    desk.write();
    for number in 0..60 {
        desk.ticks(7, SECOND);
        desk.replicas(&[("a", 1000), ("b", 1000)][..1 + number % 2]);
    }
    assert!(
        (3..=8).contains(&desk.writes),
        "{} writes in 420 s",
        desk.writes
    );
    desk.ticks(15, SECOND);
    assert_eq!(desk.objects["r"].data["status"]["replicas"], "2/2");
}

/// Whoever takes the office over knows the replicas, and corrects what it finds.
#[test]
fn a_new_leader_corrects_what_another_has_counted() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    desk.write();
    desk.ledger.lead(false, desk.now);
    desk.replicas(&[("a", 1000), ("b", 1000)]);
    desk.ticks(60, SECOND);
    desk.ledger.lead(true, desk.now);
    assert_eq!(desk.ticks(11, SECOND), [0; 11]);
    assert_eq!(desk.ticks(1, SECOND), [1]);
    assert_eq!(desk.objects["r"].data["status"]["replicas"], "2/2");
}

/// Settings that one replica was started with, and another not.
#[test]
fn a_replica_without_an_entry_point_of_a_route_does_not_serve_it() {
    let mut desk = Desk::leading();
    desk.ledger = Ledger::new(OURS, offer(&["web", "extra"]));
    desk.ledger.lead(true, desk.now);
    let replicas = |desk: &mut Desk, second: Offer| {
        let first = replica(1000, offer(&["web", "extra"]));
        let second = replica(1000, second);
        let replicas = [("a".into(), first), ("b".into(), second)];
        desk.ledger.replicas(replicas.into(), desk.now);
    };
    replicas(&mut desk, offer(&["web"]));
    for (name, entry_points) in [("both", &["web", "extra"][..]), ("one", &["web"])] {
        desk.route(name, 1);
        desk.translated(name, 1, None);
        let names = entry_points.iter().map(|it| (*it).to_owned());
        desk.entries.get_mut(name).unwrap().entry_points = names.collect();
        desk.report();
    }
    desk.write();
    desk.ticks(2, SECOND);
    assert_eq!(desk.objects["one"].data["status"]["replicas"], "2/2");
    let status = &desk.objects["both"].data["status"];
    assert_eq!(status["replicas"], "1/2");
    assert_eq!(status["conditions"][2]["status"], "False");
    assert_eq!(status["conditions"][2]["reason"], "Pending");
    assert_eq!(
        status["conditions"][2]["message"],
        "1 of 2 replicas serve this generation. Not on b: started with other settings, without the \
         entry point extra as it is here; restart it."
    );
    desk.ticks(60, SECOND);
    assert_eq!(desk.writes, 2);
    // It is replaced by one of the same settings, and by one of before that tells nothing of them.
    for second in [offer(&["web", "extra"]), Offer::read(None)] {
        replicas(&mut desk, second);
        desk.ticks(60, SECOND);
        let status = &desk.objects["both"].data["status"];
        assert_eq!(status["replicas"], "2/2");
        assert_eq!(status["conditions"][2]["status"], "True");
        assert_eq!(desk.writes, 3);
    }
    // A served route is not called unserved before the replicas have settled.
    replicas(&mut desk, offer(&["web"]));
    assert_eq!(desk.ticks(11, SECOND), [0; 11]);
    desk.ticks(2, SECOND);
    assert_eq!(desk.objects["both"].data["status"]["replicas"], "1/2");
    assert_eq!(desk.writes, 4);
}

#[test]
fn a_replica_that_does_not_follow_is_named() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 101), ("b", 100)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    assert!(desk.write().is_empty());
    assert_eq!(desk.ledger.next(), Some(desk.now + PATIENCE));
    desk.pass(PATIENCE);
    let writes = desk.write();
    assert_eq!(
        programmed(&writes[0].status),
        ("False", "Pending", Some("1/2"))
    );
    // What sums up waits as well.
    for condition in &writes[0].status.conditions[2..] {
        assert_eq!(
            (&*condition.status, &*condition.reason),
            ("False", "Pending")
        );
        assert_eq!(
            condition.message,
            "1 of 2 replicas serve this generation; b has not confirmed it."
        );
    }
    assert!(desk.write().is_empty());
    desk.replicas(&[("a", 102), ("b", 102)]);
    let writes = desk.write();
    assert_eq!(
        programmed(&writes[0].status),
        ("True", "Programmed", Some("2/2"))
    );
    assert_eq!(desk.writes, 2);
    assert!(desk.events.is_empty(), "waiting is nothing that went wrong");
}

#[test]
fn a_moment_without_endpoints_is_not_written() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    assert_eq!(desk.write().len(), 1);
    let whole = desk.entries["r"].clone();
    let mut lacking = whole.clone();
    let mut conditions = lacking.conditions.to_vec();
    let ready = conditions.last_mut().unwrap();
    (ready.status, ready.reason) = (false, Reason::NoEndpoints);
    lacking.conditions = conditions.into();
    let becomes = |desk: &mut Desk, entry: &Entry| {
        desk.entries.insert("r".to_owned(), entry.clone());
        desk.report();
    };
    becomes(&mut desk, &lacking);
    assert!(desk.write().is_empty());
    becomes(&mut desk, &whole);
    desk.pass(PATIENCE);
    assert!(desk.write().is_empty());
    becomes(&mut desk, &lacking);
    desk.pass(PATIENCE);
    let writes = desk.write();
    let ready = writes[0].status.conditions.last().unwrap();
    assert_eq!((&*ready.status, &*ready.reason), ("False", "NoEndpoints"));
    assert!(desk.events.is_empty(), "it is nothing that somebody did");
}

#[test]
fn an_equal_status_is_not_written() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, Some("wrong"));
    assert_eq!(desk.write().len(), 1);
    // The same again: another report, another leader, a label that changes.
    desk.report();
    desk.ledger.lead(false, desk.now);
    desk.ledger.lead(true, desk.now);
    desk.route("r", 1);
    assert!(desk.write().is_empty());
    assert_eq!(desk.events, ["InvalidRule: wrong"]);
}

#[test]
fn conditions_keep_the_time_of_their_last_change() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    desk.write();
    let object = desk.objects.get_mut("r").unwrap();
    for condition in object.data["status"]["conditions"].as_array_mut().unwrap() {
        condition["lastTransitionTime"] = json!(FIRST);
    }
    desk.route("r", 2);
    desk.translated("r", 2, Some("wrong"));
    let writes = desk.write();
    let since: Vec<bool> = (writes[0].status.conditions.iter())
        .map(|it| it.last_transition_time.0 == FIRST.parse::<Timestamp>().unwrap())
        .collect();
    assert_eq!(since, [false, true, false, false]);
}

#[test]
fn each_problem_is_told_once() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    let versions = [
        (1, Some("one")),
        (2, Some("one")),
        (3, Some("other")),
        (4, None),
        (5, Some("other")),
    ];
    for (generation, problem) in versions {
        desk.route("r", generation);
        desk.translated("r", generation, problem);
        assert_eq!(desk.write().len(), 1, "generation {generation}");
    }
    let told = [
        "InvalidRule: one",
        "InvalidRule: other",
        "InvalidRule: other",
    ];
    assert_eq!(desk.events, told);
}

#[test]
fn a_report_about_another_version_is_waited_for() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    assert!(desk.write().is_empty());
    desk.translated("r", 1, None);
    desk.route("r", 2);
    assert!(desk.write().is_empty());
    desk.translated("r", 2, None);
    assert_eq!(
        desk.write()[0].status.conditions[0].observed_generation,
        Some(2)
    );
}

#[test]
fn who_does_not_lead_writes_nothing_and_loses_nothing() {
    let mut desk = Desk::leading();
    desk.ledger.lead(false, desk.now);
    desk.replicas(&[("a", 1000)]);
    for number in 0..10 {
        let name = format!("r{number}");
        desk.route(&name, 1);
        desk.translated(&name, 1, None);
    }
    assert!(desk.write().is_empty());
    desk.ledger.lead(true, desk.now);
    assert_eq!(desk.write().len(), 10);
}

#[test]
fn a_failed_write_is_tried_again_later() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    for _ in 0..3 {
        let writes = desk.ledger.writes(1, desk.now);
        assert_eq!(writes.len(), 1);
        assert!(
            desk.ledger.writes(1, desk.now).is_empty(),
            "it is under way"
        );
        let failed = Written::Failed(Blame::Kind);
        desk.ledger.written(&writes[0], failed, desk.now);
        assert!(desk.ledger.writes(1, desk.now).is_empty());
        desk.pass(SECOND * 4);
    }
    let writes = desk.ledger.writes(1, desk.now);
    desk.ledger.written(&writes[0], Written::Obsolete, desk.now);
    // The watch tells what has become of it.
    let key = objects::key(ROUTE, "default", "r");
    desk.ledger.see(key, None, desk.now);
    desk.pass(PATIENCE);
    assert!(desk.ledger.writes(1, desk.now).is_empty());
}

/// What becomes of some attempts, second by second: how many there were, and what was said of them.
fn attempts(
    desk: &mut Desk,
    seconds: u32,
    outcome: impl Fn(&Write) -> Option<Blame>,
) -> (Vec<usize>, Vec<News>) {
    let (mut counts, mut said) = (Vec::new(), Vec::new());
    for _ in 0..seconds {
        desk.pass(SECOND);
        let writes = desk.ledger.writes(16, desk.now);
        counts.push(writes.len());
        for write in writes {
            let written = match outcome(&write) {
                Some(blame) => Written::Failed(blame),
                None => {
                    desk.version += 1;
                    let object = desk.objects.get_mut(&*write.key.name).unwrap();
                    take(object, &write, desk.version);
                    Written::Done(desk.version)
                }
            };
            said.extend(desk.ledger.written(&write, written, desk.now));
        }
    }
    (counts, said)
}

fn with_routes(count: usize) -> Desk {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 100_000)]);
    for number in 0..count {
        let name = format!("r{number}");
        desk.route(&name, 1);
        desk.translated(&name, 1, None);
    }
    desk
}

#[test]
fn what_all_statuses_are_refused_for_costs_one_attempt_now_and_then_and_is_said_once() {
    for blame in [Blame::Kind, Blame::Namespace] {
        let mut desk = with_routes(500);
        let (counts, said) = attempts(&mut desk, 600, |_| Some(blame));
        assert_eq!(said, [News::Fails]);
        // Those that were under way together, and one at a time from then on.
        assert_eq!(counts[0], 16);
        assert!(counts[1..].iter().all(|count| *count <= 1), "{counts:?}");
        let later: usize = counts[120..].iter().sum();
        assert!((8..=13).contains(&later), "{later} in eight minutes");
        // It is found out soon that it is over, and all is written.
        let (counts, said) = attempts(&mut desk, 150, |_| None);
        assert_eq!(said, [News::Works]);
        assert_eq!(counts.iter().sum::<usize>(), 500);
    }
}

#[test]
fn an_object_whose_status_is_refused_keeps_no_other_waiting() {
    let mut desk = with_routes(50);
    let bad = |write: &Write| (&*write.key.name == "r7").then_some(Blame::Object);
    let (counts, said) = attempts(&mut desk, 10, bad);
    assert_eq!(said, []);
    let written = (desk.objects.iter()).filter(|(_, it)| it.data["status"]["installation"] == OURS);
    assert_eq!(written.count(), 49);
    assert!(
        (51..=54).contains(&counts.iter().sum::<usize>()),
        "{counts:?}"
    );
    let (counts, _) = attempts(&mut desk, 3_600, bad);
    let attempts: usize = counts.iter().sum();
    assert!((8..=20).contains(&attempts), "{attempts} in an hour");
}

/// An object for which the API server itself fails, and no other.
#[test]
fn an_object_that_breaks_the_api_server_keeps_no_other_waiting_for_long() {
    let mut desk = with_routes(50);
    attempts(&mut desk, 180, |write| {
        (&*write.key.name == "r0").then_some(Blame::Kind)
    });
    let written = (desk.objects.iter()).filter(|(_, it)| it.data["status"]["installation"] == OURS);
    assert_eq!(written.count(), 49);
}

#[test]
fn what_is_about_to_go_is_not_written_to() {
    let mut desk = with_routes(3);
    let key = |name: &str| objects::key(ROUTE, "default", name);
    let object = desk.objects.get_mut("r0").unwrap();
    object.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    desk.see("r0");
    let written = desk.write();
    assert!(written.iter().all(|write| write.key != key("r0")) && written.len() == 2);
    // Services go before the routes do.
    let namespace: Arc<str> = "default".into();
    for told_by_watch in [true, false] {
        match told_by_watch {
            true => desk.ledger.namespace(&namespace, true),
            false => desk.ledger.refuses(&namespace),
        }
        for name in ["r1", "r2"] {
            desk.translated(name, 1, Some("its Service is gone"));
        }
        assert_eq!(desk.ticks(60, SECOND), [0; 60]);
        desk.ledger.namespace(&namespace, false);
        desk.translated("r1", 1, None);
        desk.translated("r2", 1, None);
        desk.write();
    }
    // The next namespace of this name.
    desk.route("new", 1);
    desk.translated("new", 1, None);
    assert!(desk.write().iter().any(|write| write.key == key("new")));
}

#[test]
fn what_is_gone_or_not_ours_is_left_alone() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("gone", 1);
    desk.translated("gone", 1, None);
    let gone = objects::key(ROUTE, "default", "gone");
    desk.ledger.see(gone, None, desk.now);
    desk.route("theirs", 1);
    desk.translated("theirs", 1, None);
    desk.entries.get_mut("theirs").unwrap().conditions = Arc::default();
    desk.report();
    assert!(desk.write().is_empty());
}

#[test]
fn objects_of_one_name_and_different_kinds_never_meet() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    let mut twin = Entry::clone(&desk.entries["r"]);
    twin.key.kind = Kind::ListenerSet;
    let key = twin.key.clone();
    desk.entries.insert("the other r".to_owned(), twin);
    desk.report();
    let mut object = desk.objects["r"].clone();
    object.metadata.uid = Some("uid of the other".to_owned());
    desk.ledger.see(key.clone(), observe(&object), desk.now);
    desk.pass(PATIENCE);
    let mut writes = desk.ledger.writes(usize::MAX, desk.now);
    writes.sort_by(|one, other| one.key.cmp(&other.key));
    let told: Vec<_> = writes.iter().map(|it| (it.key.kind, &*it.uid)).collect();
    let route = (ROUTE, "uid of r");
    assert_eq!(told, [route, (key.kind, "uid of the other")]);
    for write in &writes {
        desk.ledger
            .written(write, Written::Failed(Blame::Object), desk.now);
    }
    // One goes, the other stays.
    desk.ledger.see(key, None, desk.now);
    desk.pass(PATIENCE);
    let writes = desk.ledger.writes(usize::MAX, desk.now);
    let told: Vec<_> = writes.iter().map(|it| (it.key.kind, &*it.uid)).collect();
    assert_eq!(told, [route]);
}

/// Installations of one class, and the API server between them: it takes a write of the version that
/// it has, and refuses any other.
struct Rivals {
    desks: Vec<Desk>,
    attempts: usize,
}

impl Rivals {
    const ROUTES: usize = 20;

    fn new(installations: &[&str]) -> Self {
        let desk = |installation: &&str| {
            let mut desk = Desk::leading();
            desk.ledger = Ledger::new(installation, offer(&["web"]));
            desk.ledger.lead(true, desk.now);
            desk.replicas(&[(*installation, 100_000)]);
            for number in 0..Self::ROUTES {
                let name = format!("r{number}");
                desk.route(&name, 1);
                desk.translated(&name, 1, None);
            }
            desk
        };
        Self {
            desks: installations.iter().map(desk).collect(),
            attempts: 0,
        }
    }

    /// All write at once, and see afterwards what has come of it.
    fn contend(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let writes: Vec<Vec<Write>> = (self.desks.iter_mut())
                .map(|desk| {
                    desk.pass(Duration::from_millis(100));
                    desk.ledger.writes(16, desk.now)
                })
                .collect();
            let mut objects = self.desks[0].objects.clone();
            let mut version = self.desks.iter().map(|it| it.version).max().unwrap();
            for (desk, writes) in self.desks.iter_mut().zip(writes) {
                for write in writes {
                    self.attempts += 1;
                    let object = objects.get_mut(&*write.key.name).unwrap();
                    let outcome = match seen::version(object) == write.version {
                        true => {
                            version += 1;
                            take(object, &write, version);
                            Written::Done(version)
                        }
                        false => Written::Obsolete,
                    };
                    desk.ledger.written(&write, outcome, desk.now);
                }
            }
            for desk in &mut self.desks {
                desk.version = version;
                desk.objects.clone_from(&objects);
                for name in objects.keys() {
                    desk.see(name);
                }
            }
        }
    }

    fn writers(&self) -> BTreeSet<String> {
        let name = |object: &DynamicObject| object.data["status"]["installation"].to_string();
        self.desks[0].objects.values().map(name).collect()
    }
}

#[test]
fn of_two_installations_of_one_class_one_writes_and_the_other_says_so_once() {
    let mut rivals = Rivals::new(&["one/ferrix", "two/ferrix"]);
    rivals.contend(300);
    assert_eq!(rivals.writers(), [r#""one/ferrix""#.to_owned()].into());
    // At worst both wrote at once, and one was refused.
    let routes = Rivals::ROUTES;
    assert!(rivals.attempts <= 2 * routes, "{}", rivals.attempts);
    let told: Vec<Vec<Other>> = (rivals.desks.iter_mut())
        .map(|desk| desk.ledger.others_to_tell_of())
        .collect();
    assert_eq!(told[0], []);
    assert_eq!(told[1].len(), 1);
    assert_eq!(&*told[1][0].installation, "one/ferrix");
    assert_eq!(rivals.desks[1].ledger.others(), routes);
    let attempts = rivals.attempts;
    rivals.contend(3_000);
    assert_eq!(rivals.attempts, attempts, "silence");
    // The first gives its routes up: they are another class's to it.
    for number in 0..routes {
        let entry = rivals.desks[0].entries.get_mut(&format!("r{number}"));
        entry.unwrap().conditions = Arc::default();
    }
    rivals.desks[0].report();
    rivals.contend(100);
    assert_eq!(rivals.writers(), [r#""two/ferrix""#.to_owned()].into());
    assert_eq!(rivals.desks[1].ledger.others(), 0);
    assert_eq!(rivals.desks[1].ledger.others_to_tell_of(), []);
    assert_eq!(rivals.attempts, attempts + 2 * routes);
}

/// Whoever writes the same object, what for and how often so ever.
#[test]
fn a_status_that_somebody_else_overwrites_costs_no_more_than_a_few_writes_a_minute() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 100_000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    for _ in 0..600 {
        desk.pass(Duration::from_millis(100));
        desk.write();
        let object = desk.objects.get_mut("r").unwrap();
        object.data["status"]["conditions"] = json!([]);
        object.data["status"]["installation"] = json!(null);
        desk.route("r", 1);
    }
    assert!((10..=20).contains(&desk.writes), "{}", desk.writes);
}

/// A status that an older definition of the kind has no place for is not written again and again, and is
/// completed once the definition is upgraded.
#[test]
fn a_name_that_the_api_server_drops_is_tried_again_now_and_then() {
    const ROUTES: usize = 50;
    let mut desk = Desk::leading();
    desk.drops_name = true;
    desk.replicas(&[("a", 10_000)]);
    for number in 0..ROUTES {
        let name = format!("r{number}");
        desk.route(&name, 1);
        desk.translated(&name, 1, None);
    }
    // All are due at once; nothing was known of the definition.
    assert_eq!(desk.write().len(), ROUTES);
    assert!(desk.ledger.is_definition_outdated());
    let writes = desk.ticks(50, SECOND);
    assert_eq!(writes.iter().sum::<usize>(), 0, "{writes:?}");
    // One route a minute finds out.
    let writes = desk.ticks(600, SECOND);
    assert_eq!(writes.iter().sum::<usize>(), 10, "{writes:?}");
    assert!(desk.ledger.is_definition_outdated());
    // What else changes is written, without the name.
    desk.route("r7", 2);
    desk.translated("r7", 2, Some("a rule cannot be read"));
    let writes = desk.write();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].status.installation, None);
    assert_eq!(writes[0].events.len(), 1);
    desk.drops_name = false;
    let writes = desk.ticks(70, SECOND);
    assert_eq!(writes.iter().sum::<usize>(), ROUTES, "{writes:?}");
    assert!(!desk.ledger.is_definition_outdated());
    for object in desk.objects.values() {
        assert_eq!(object.data["status"]["installation"], OURS);
    }
    assert_eq!(desk.ticks(120, SECOND), [0; 120]);
    assert_eq!(desk.ledger.next(), None);
}

/// Whoever takes the office over finds out by itself, and knows the routes that lack the name.
#[test]
fn a_new_leader_completes_what_another_has_written_without_a_name() {
    let mut desk = Desk::leading();
    desk.drops_name = true;
    desk.replicas(&[("a", 10_000)]);
    for name in ["one", "two", "three"] {
        desk.route(name, 1);
        desk.translated(name, 1, None);
    }
    desk.ticks(20, SECOND);
    desk.ledger.lead(false, desk.now);
    assert!(!desk.ledger.is_definition_outdated());
    desk.ledger.lead(true, desk.now);
    desk.ticks(30, SECOND);
    assert!(desk.ledger.is_definition_outdated());
    let before = desk.writes;
    desk.drops_name = false;
    desk.ticks(70, SECOND);
    assert_eq!(desk.writes - before, 3);
    for object in desk.objects.values() {
        assert_eq!(object.data["status"]["installation"], OURS);
    }
}

/// What the releases before wrote says nothing of who did.
#[test]
fn a_status_without_a_name_is_taken_over() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    for (name, problem) in [("r", None), ("wrong", Some("wrong"))] {
        desk.route(name, 1);
        desk.translated(name, 1, problem);
    }
    desk.write();
    let forget = |desk: &mut Desk, name: &str| {
        let object = desk.objects.get_mut(name).unwrap();
        let status = object.data["status"].as_object_mut().unwrap();
        status.remove("installation").unwrap();
        desk.route(name, 1);
    };
    // And nobody knows any more what was told of it.
    desk.ledger = Ledger::new(OURS, offer(&["web"]));
    desk.ledger.lead(true, desk.now);
    desk.replicas(&[("a", 1000)]);
    desk.report();
    forget(&mut desk, "r");
    forget(&mut desk, "wrong");
    desk.ticks(15, SECOND);
    assert_eq!(desk.writes, 4);
    for object in desk.objects.values() {
        assert_eq!(object.data["status"]["installation"], OURS);
    }
    assert_eq!(desk.events, ["InvalidRule: wrong"], "it is told once");
    forget(&mut desk, "r");
    // Of another class now: it is nobody's to take back, where it has no name.
    desk.entries.get_mut("r").unwrap().conditions = Arc::default();
    desk.report();
    desk.ticks(15, SECOND);
    assert_eq!(desk.writes, 4);
}

#[test]
fn what_was_written_of_a_route_that_changes_its_class_is_taken_back() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    desk.write();
    desk.route("r", 2);
    let entry = desk.entries.get_mut("r").unwrap();
    entry.conditions = Arc::default();
    entry.observed_generation = Some(2);
    desk.report();
    assert_eq!(desk.write().len(), 1);
    assert_eq!(desk.objects["r"].data["status"], json!({}));
    desk.ticks(60, SECOND);
    assert_eq!(desk.writes, 2);
}

/// The answer to a write and the watch come in any order.
#[test]
fn what_was_seen_before_a_write_does_not_undo_it() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    let before = desk.objects["r"].clone();
    desk.write();
    let key = objects::key(ROUTE, "default", "r");
    desk.ledger.see(key.clone(), observe(&before), desk.now);
    desk.ticks(20, SECOND);
    assert_eq!(desk.writes, 1, "the watch is late");
    // Nor does a write that is answered late undo what the watch has told.
    desk.route("r", 2);
    desk.translated("r", 2, None);
    let write = desk.ledger.writes(1, desk.now).remove(0);
    desk.version += 1;
    let written = desk.version;
    take(desk.objects.get_mut("r").unwrap(), &write, written);
    desk.objects.get_mut("r").unwrap().data["status"]["entryPoints"] = json!(["other"]);
    desk.route("r", 2);
    desk.ledger
        .written(&write, Written::Done(written), desk.now);
    assert_eq!(desk.write().len(), 1, "somebody has changed it since");
}

#[test]
fn progress_by_namespace() {
    let mut desk = Desk::leading();
    desk.route("r", 1);
    desk.translated("r", 1, None);
    let at = |namespace: &str, version| {
        let mut progress = Progress::default();
        progress.advance(ROUTE, Some(namespace), version);
        progress
    };
    for (progress, expected) in [
        (at("other", 1000), "0/1"),
        (at("default", 100), "0/1"),
        (at("default", 101), "1/1"),
    ] {
        desk.ledger.replicas(
            [(
                "a".into(),
                Replica {
                    progress,
                    ..Replica::default()
                },
            )]
            .into(),
            desk.now,
        );
        desk.pass(PATIENCE);
        let status = &desk.ledger.writes(1, desk.now)[0];
        assert_eq!(status.status.replicas.as_deref(), Some(expected));
        desk.ledger
            .written(status, Written::Failed(Blame::Object), desk.now);
        desk.pass(PATIENCE);
    }
}

/// What replicas of these names tell of bad objects, each of what serves there.
fn telling(replicas: &[(&str, &[(Key, Fallback)])]) -> BTreeMap<Box<str>, Replica> {
    let replica = |(name, bad): &(&str, &[(Key, Fallback)])| {
        let mut fallbacks = Fallbacks::default();
        for (number, object) in bad.iter().enumerate() {
            let user = objects::key(ROUTE, "users", &number.to_string());
            fallbacks.set(&user, vec![object.clone()]);
        }
        let replica = Replica {
            exceptions: Exceptions::new(&fallbacks),
            ..replica(1000, Offer::default())
        };
        ((*name).into(), replica)
    };
    replicas.iter().map(replica).collect()
}

fn message(desk: &Desk, place: usize) -> String {
    let condition = &desk.objects["r"].data["status"]["conditions"][place];
    condition["message"].as_str().unwrap().to_owned()
}

/// A route that was edited badly: its last good version, generation 1, serves here.
fn edited_badly(desk: &mut Desk) -> Key {
    let key = objects::key(ROUTE, "default", "r");
    desk.route("r", 2);
    desk.fallbacks
        .set(&key, vec![(key.clone(), Fallback::LastGood(Some(1)))]);
    desk.translated("r", 2, Some("wrong"));
    let entry = desk.entries.get_mut("r").unwrap();
    entry.serving = Serving::LastGood {
        generation: Some(1),
    };
    desk.report();
    key
}

#[test]
fn a_replica_that_does_not_know_the_last_good_version_is_named() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000), ("b", 1000)]);
    let key = edited_badly(&mut desk);
    let knows: &[_] = &[(key.clone(), Fallback::LastGood(Some(1)))];
    let knows_not: &[_] = &[(key.clone(), Fallback::Nothing)];
    let other: &[_] = &[(key, Fallback::LastGood(Some(3)))];
    let tell = |desk: &mut Desk, replicas: &[(&str, &[(Key, Fallback)])]| {
        desk.ledger.replicas(telling(replicas), desk.now);
        desk.ticks(30, SECOND);
        (message(desk, 0), message(desk, 2))
    };
    let plain = ("wrong".to_owned(), "Served on web.".to_owned());
    assert_eq!(tell(&mut desk, &[("a", knows), ("b", knows)]), plain);
    assert_eq!(desk.writes, 1);
    let with = |text: &str| {
        let (accepted, programmed) = &plain;
        (
            format!("{accepted}\n{text}"),
            format!("{programmed}\n{text}"),
        )
    };
    // One is replaced, and cannot read what was kept.
    let told = tell(&mut desk, &[("a", knows), ("c", knows_not)]);
    assert_eq!(
        told,
        with("So it is on 1 of 2 replicas. Not on c: no good version of it is known there.")
    );
    assert_eq!(desk.writes, 2);
    // Then it can.
    assert_eq!(tell(&mut desk, &[("a", knows), ("c", knows)]), plain);
    assert_eq!(desk.writes, 3);
    // One of the release before tells nothing.
    assert_eq!(tell(&mut desk, &[("a", knows), ("d", &[])]), plain);
    assert_eq!(desk.writes, 3);
    let many = [
        ("a", knows),
        ("b", knows_not),
        ("c", knows_not),
        ("d", other),
        ("e", knows_not),
        ("f", knows_not),
        ("g", knows_not),
    ];
    assert_eq!(
        tell(&mut desk, &many),
        with(
            "So it is on 1 of 7 replicas. Not on b, c, e and 2 more: no good version of it is known \
             there. Not on d: generation 3 is served there."
        )
    );
    // Nothing of this is told by Events.
    assert_eq!(desk.events, ["InvalidRule: wrong"]);
}

/// The settings change while a route is bad, and replicas are replaced one after the other: what is said
/// to be served where is so, or the replicas are named where it is not.
#[test]
fn an_edit_of_the_settings_in_the_middle_of_a_bad_edit() {
    let (before, after) = (&["web"][..], &["web", "extra"][..]);
    let mut cases = 0;
    for replicas in [1, 3] {
        // Whoever writes was replaced first, or will be last.
        for ours in [before, after] {
            let mut desk = Desk::leading();
            desk.ledger = Ledger::new(OURS, offer(ours));
            desk.ledger.lead(true, desk.now);
            let key = edited_badly(&mut desk);
            let entry = desk.entries.get_mut("r").unwrap();
            entry.entry_points = ours.iter().map(|it| (*it).to_owned()).collect();
            desk.report();
            let knows = [(key, Fallback::LastGood(Some(1)))];
            let mut say = |old: usize, new: usize| {
                let named = |names: &[&str], count: usize| -> Vec<_> {
                    let tells = telling(&[("", &knows)]).remove("").unwrap();
                    let one = |number| {
                        let name = format!("{}-{number}", names.len());
                        let replica = Replica {
                            offer: offer(names),
                            ..tells.clone()
                        };
                        (name.into_boxed_str(), replica)
                    };
                    (0..count).map(one).collect()
                };
                let all = named(before, old).into_iter().chain(named(after, new));
                desk.ledger.replicas(all.collect(), desk.now);
                desk.ticks(30, SECOND);
                message(&desk, 2)
            };
            for new in 1..=replicas {
                // A successor is there before the one before goes.
                let old = replicas + 1 - new;
                let told = say(old, new);
                let expected = match ours == after {
                    true => {
                        let names: Vec<_> = (0..old).map(|it| format!("1-{it}")).collect();
                        format!(
                            "Served on web.\nSo it is on {new} of {} replicas. Not on {}: started \
                             with other settings, without the entry point extra as it is here; \
                             restart it.",
                            replicas + 1,
                            names.join(", "),
                        )
                    }
                    // They have what is said, and more.
                    false => "Served on web.".to_owned(),
                };
                assert_eq!(
                    told, expected,
                    "{new} of {replicas} are new, and {ours:?} are ours"
                );
                cases += 1;
            }
            if ours == after {
                assert_eq!(say(0, replicas), "Served on web.");
            }
        }
    }
    assert_eq!(cases, 8);
}

/// It says so when all have confirmed, or a second has passed, and not before.
#[test]
fn what_is_said_of_a_bad_version_waits_for_the_replicas() {
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1000), ("b", 100)]);
    edited_badly(&mut desk);
    assert!(desk.write().is_empty());
    desk.replicas(&[("a", 1000), ("b", 1000)]);
    assert_eq!(desk.write().len(), 1);
    desk.replicas(&[("a", 1000), ("b", 100)]);
    desk.route("r", 3);
    desk.translated("r", 3, Some("wrong"));
    assert_eq!(desk.ticks(3, SECOND), [1, 0, 0]);
}

#[test]
fn a_replica_without_a_certificate_of_a_bad_secret_does_not_count() {
    let mut desk = Desk::leading();
    let secret = objects::key(Kind::Secret, "default", "tls");
    let presents: &[_] = &[(secret.clone(), Fallback::LastGood(None))];
    let presents_nothing: &[_] = &[(secret, Fallback::Nothing)];
    desk.ledger
        .replicas(telling(&[("a", presents), ("b", presents)]), desk.now);
    let key = objects::key(ROUTE, "default", "r");
    desk.fallbacks.set(&key, presents.to_vec());
    for name in ["r", "without"] {
        desk.route(name, 1);
        desk.translated(name, 1, None);
    }
    desk.ticks(15, SECOND);
    assert_eq!(desk.objects["r"].data["status"]["replicas"], "2/2");
    desk.ledger.replicas(
        telling(&[("a", presents), ("c", presents_nothing)]),
        desk.now,
    );
    desk.ticks(30, SECOND);
    let status = &desk.objects["r"].data["status"];
    assert_eq!(status["replicas"], "1/2");
    assert_eq!(status["conditions"][2]["reason"], "Pending");
    assert_eq!(
        message(&desk, 2),
        "1 of 2 replicas serve this generation. Not on c: no certificate of Secret default/tls is \
         known there."
    );
    assert_eq!(desk.objects["without"].data["status"]["replicas"], "2/2");
    // The Secret is mended.
    desk.fallbacks = Fallbacks::default();
    desk.report();
    desk.ledger
        .replicas(telling(&[("a", &[]), ("c", &[])]), desk.now);
    desk.ticks(30, SECOND);
    assert_eq!(desk.objects["r"].data["status"]["replicas"], "2/2");
}

/// Replicas of two releases: one takes for bad what the other serves.
#[test]
fn a_replica_that_judges_otherwise_does_not_count() {
    let mut desk = Desk::leading();
    let key = objects::key(ROUTE, "default", "r");
    let refuses: &[_] = &[(key, Fallback::LastGood(Some(1)))];
    desk.ledger
        .replicas(telling(&[("a", &[]), ("b", refuses)]), desk.now);
    desk.route("r", 2);
    desk.translated("r", 2, None);
    desk.ticks(15, SECOND);
    assert_eq!(desk.objects["r"].data["status"]["replicas"], "1/2");
    assert_eq!(
        message(&desk, 2),
        "1 of 2 replicas serve this generation. Not on b: this generation is taken for a bad one there."
    );
}

#[test]
fn a_route_that_has_lost_a_filter_says_so_until_that_is_back_or_the_route_is_edited() {
    let filter = ObjectName::new("platform", "f");
    let mut desk = Desk::leading();
    desk.replicas(&[("a", 1_000)]);
    desk.route("r", 1);
    desk.translated("r", 1, None);
    let attach = |desk: &mut Desk, there: bool| {
        let entry = Entry::remarks(filter.key(Kind::Filter), Origin::Api, Vec::new());
        match there {
            true => drop(desk.entries.insert("f".to_owned(), entry)),
            false => drop(desk.entries.remove("f")),
        }
        let route = desk.entries.get_mut("r").unwrap();
        route.attached = there.then(|| filter.clone()).into_iter().collect();
        desk.report();
        desk.ticks(30, SECOND);
        let conditions = desk.objects["r"].data["status"]["conditions"].clone();
        let conditions = conditions.as_array().unwrap().clone();
        let mut lost = conditions.into_iter();
        lost.find(|it| it["type"] == "ferrix.com/FilterLost")
    };
    assert_eq!(attach(&mut desk, true), None);
    // To be attached to nothing any more is no loss.
    desk.entries.get_mut("r").unwrap().attached = Rare::default();
    desk.report();
    assert_eq!(attach(&mut desk, true), None);
    assert_eq!(desk.events, [""; 0]);

    let lost = attach(&mut desk, false).expect("a condition");
    let message = "Requests passed through what is gone, and go on without it: Filter platform/f.";
    assert_eq!(lost["status"], "True");
    assert_eq!(lost["message"], message);
    assert_eq!(desk.events, [format!("FilterLost: {message}")]);
    let writes = desk.writes;
    desk.report();
    desk.ticks(30, SECOND);
    assert_eq!(desk.writes, writes, "nothing is new");

    assert_eq!(attach(&mut desk, true), None);
    // What the settings name stands above the route all the same, which is not served.
    desk.entries.remove("f");
    desk.report();
    desk.ticks(30, SECOND);
    assert_eq!(desk.events.len(), 1);
    assert_eq!(attach(&mut desk, true), None);
    assert!(attach(&mut desk, false).is_some());
    desk.route("r", 2);
    desk.translated("r", 2, None);
    assert_eq!(attach(&mut desk, false), None);
    assert_eq!(desk.events.len(), 2);
}
