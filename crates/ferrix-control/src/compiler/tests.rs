use ferrix_table::{Reader, publish, table::EntryPoint};
use serde_json::{Value, json};

use super::*;
use crate::{
    decode::{Decoded, Strictness, decode},
    external_name::{Answer, Failure},
    fallback::Fallback,
    guard::{Step, failing},
    objects::{self, Key, Kind, Origin},
    report::{ConditionType, Reason, Serving},
    settings::DefaultCertificate,
};

fn key(name: &str) -> Key {
    objects::key(Kind::IngressRoute, "default", name)
}

/// A version of a route, which takes one path that tells of it.
fn route(name: &str, version: i64) -> Change {
    let value = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {"name": name, "namespace": "default", "generation": version},
        "spec": {"route": {"rules": [{
            "matches": format!("Path(`/{name}{version}`)"),
            "service": {"name": "api", "port": 80},
        }]}},
    });
    change(&value)
}

fn service() -> Change {
    change(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    }))
}

fn change(value: &Value) -> Change {
    let origin = Origin::Api;
    match decode(value, Strictness::Api) {
        Ok(Decoded::Object { object, .. }) => Change::Apply {
            object,
            origin,
            notes: Vec::new(),
        },
        Ok(Decoded::Ignored(kind)) => panic!("{kind}"),
        Err(error) => Change::Reject {
            key: error.key.clone().unwrap(),
            origin,
            error,
        },
    }
}

fn compiler() -> (Compiler, Reader) {
    let (mut compiler, reader) = unloaded();
    compiler.loaded();
    (compiler, reader)
}

fn unloaded() -> (Compiler, Reader) {
    let (publisher, reader) = publish::channel();
    let web = EntryPoint::http("web");
    let mut compiler = Compiler::new(Settings::new(vec![web]), publisher);
    compiler.apply([service()]);
    (compiler, reader)
}

/// The paths that are served.
fn served(reader: &Reader) -> Vec<String> {
    let table = reader.load();
    let texts = table.rules.iter().filter_map(|rule| rule.text());
    let mut texts: Vec<_> = texts.map(str::to_owned).collect();
    texts.sort_unstable();
    texts
}

/// Why a route is not accepted, and whether it is said which version that is about.
fn refused(compiler: &Compiler, name: &str) -> Option<(Reason, Option<i64>)> {
    let report = compiler.reports().borrow().clone();
    let accepted = report.get(&key(name))?.condition(ConditionType::Accepted)?;
    (!accepted.status).then_some((accepted.reason, accepted.observed_generation))
}

#[test]
fn a_bug_that_one_route_brings_to_light_costs_that_route() {
    let mut cases = 0;
    for step in [Step::Decode, Step::Compile, Step::Resolve, Step::Tell] {
        for existed in [true, false] {
            let (mut compiler, reader) = compiler();
            let before = [route("b", 1)].into_iter();
            compiler.apply(before.chain(existed.then(|| route("a", 1))));
            failing::set(Some((step, key("a"))));
            // All that has come is taken in together.
            compiler.apply([route("a", 2), route("b", 2), route("c", 2)]);
            let mut paths = match (step, existed) {
                // Only what is said of it is lost.
                (Step::Tell, _) => vec!["Path(`/a2`)"],
                (_, true) => vec!["Path(`/a1`)"],
                (_, false) => Vec::new(),
            };
            paths.extend(["Path(`/b2`)", "Path(`/c2`)"]);
            assert_eq!(served(&reader), paths, "{step:?}");
            let why = Some((Reason::InternalError, Some(2)));
            assert_eq!(refused(&compiler, "a"), why, "{step:?}");
            for other in ["b", "c"] {
                assert_eq!(refused(&compiler, other), None, "{step:?}");
            }
            assert_eq!(*compiler.failures().borrow(), Failures::default());
            failing::set(None);
            compiler.apply([route("a", 3)]);
            assert_eq!(refused(&compiler, "a"), None, "{step:?}");
            assert!(
                served(&reader).contains(&"Path(`/a3`)".to_owned()),
                "{step:?}"
            );
            compiler.apply([Change::Remove(key("a"))]);
            assert_eq!(served(&reader), ["Path(`/b2`)", "Path(`/c2`)"], "{step:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 8);
}

#[test]
fn a_bug_in_translation_is_counted_and_nothing_that_came_meanwhile_is_lost() {
    let (mut compiler, reader) = compiler();
    compiler.apply([route("a", 1)]);
    let failures = compiler.failures();
    failing::set_all(true);
    for count in 1..=3 {
        assert_eq!(compiler.apply([route("b", count)]), Published::Nothing);
        let expected = u64::try_from(count).unwrap();
        assert_eq!(failures.borrow().in_a_row, expected);
        assert_eq!(served(&reader), ["Path(`/a1`)"]);
    }
    failing::set_all(false);
    compiler.refresh();
    assert_eq!(served(&reader), ["Path(`/a1`)", "Path(`/b3`)"]);
    let expected = Failures {
        total: 3,
        in_a_row: 0,
    };
    assert_eq!(*failures.borrow(), expected);
}

/// A Service of type ExternalName, and a route that forwards to it.
fn external(name: &str) -> [Change; 2] {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": name, "ports": [{"port": 80}]},
    });
    [change(&service), route("a", 1)]
}

fn looked_up(name: &str, found: Result<&str, Failure>) -> Change {
    Change::LookedUp {
        name: DomainName::parse(name).unwrap(),
        answer: match found {
            Err(failure) => Answer::failed(failure),
            Ok(address) => Answer {
                ipv4: Ok(vec![address.parse().unwrap()]),
                ipv6: Err(Failure::NoAddresses),
            },
        },
    }
}

fn endpoints(reader: &Reader) -> Vec<String> {
    let table = reader.load();
    let all = table.services.iter().flat_map(|it| it.endpoints.iter());
    all.map(|it| it.address.to_string()).collect()
}

/// A compiler that has seen nothing, and serves what was seen before.
fn restored(changes: impl IntoIterator<Item = Change>) -> (Compiler, Reader) {
    let (publisher, reader) = publish::channel();
    let web = EntryPoint::http("web");
    let mut settings = Settings::new(vec![web]);
    settings.allow_external_name = true;
    let mut compiler = Compiler::new(settings, publisher);
    let mut world = World::new();
    for change in changes {
        world.take(change);
    }
    let published = compiler.restore(world, Timestamp::UNIX_EPOCH);
    assert_eq!(published, Published::Table { generation: 1 });
    (compiler, reader)
}

#[test]
fn what_was_seen_before_is_served_until_all_is_seen_and_leaves_nothing_behind() {
    let (mut compiler, reader) = restored([service(), route("a", 1), route("b", 1)]);
    let snapshot = |compiler: &Compiler| compiler.reports().borrow().snapshot();
    assert_eq!(served(&reader), ["Path(`/a1`)", "Path(`/b1`)"]);
    assert_eq!(snapshot(&compiler), Some(Timestamp::UNIX_EPOCH));
    assert!(!compiler.is_serving());
    for change in [
        service(),
        route("c", 1),
        route("b", 2),
        Change::Remove(key("c")),
    ] {
        assert_eq!(compiler.apply([change]), Published::Nothing);
    }
    assert_eq!(compiler.refresh(), Published::Nothing);
    assert_eq!(served(&reader), ["Path(`/a1`)", "Path(`/b1`)"]);
    assert_eq!(compiler.loaded(), Published::Table { generation: 2 });
    assert_eq!(served(&reader), ["Path(`/b2`)"]);
    assert_eq!(snapshot(&compiler), None);
    assert!(compiler.is_serving());
    let late = compiler.restore(World::new(), Timestamp::UNIX_EPOCH);
    assert_eq!((late, served(&reader).len()), (Published::Nothing, 1));
}

#[test]
fn what_was_seen_before_does_not_wait_for_names_and_keeps_what_was_found_of_them() {
    let name = "db.example.org";
    let failure = || Err(Failure::TimedOut);
    let mut cases = 0;
    for (found, first) in [(None, vec![]), (Some("192.0.2.1"), vec!["192.0.2.1:80"])] {
        let found = found.map(|address| looked_up(name, Ok(address)));
        let (mut compiler, reader) = restored(external(name).into_iter().chain(found));
        assert_eq!(endpoints(&reader), first);
        assert_eq!(compiler.names().borrow().len(), 1);
        compiler.apply([looked_up(name, failure())]);
        assert_eq!(endpoints(&reader), first);
        compiler.apply(external(name));
        // It is still served by what was seen before, and known to what is seen now.
        compiler.apply([looked_up(name, Ok("192.0.2.2"))]);
        assert_eq!(endpoints(&reader), ["192.0.2.2:80"]);
        compiler.apply([looked_up(name, failure())]);
        let generation = reader.generation() + 1;
        assert_eq!(compiler.loaded(), Published::Table { generation });
        assert_eq!(endpoints(&reader), ["192.0.2.2:80"]);
        cases += 1;
    }
    assert_eq!(cases, 2);
    // Nothing is found before all has been seen.
    let found = looked_up(name, Ok("192.0.2.1"));
    let (mut compiler, reader) = restored(external(name).into_iter().chain([found]));
    compiler.apply(external(name));
    assert_eq!(compiler.loaded(), Published::Table { generation: 2 });
    assert_eq!(endpoints(&reader), ["192.0.2.1:80"]);
}

#[test]
fn a_bug_about_what_is_seen_leaves_what_was_seen_before() {
    let (mut compiler, reader) = restored([service(), route("a", 1)]);
    compiler.apply([service(), route("b", 1)]);
    failing::set_all(true);
    assert_eq!(compiler.loaded(), Published::Nothing);
    assert_eq!(served(&reader), ["Path(`/a1`)"]);
    failing::set_all(false);
    assert_eq!(compiler.refresh(), Published::Table { generation: 2 });
    assert_eq!(served(&reader), ["Path(`/b1`)"]);
}

/// A version of the route `a` as it was made for the `uid`th time; it is bad where its path is.
fn version(uid: u8, generation: i64, path: &str, class: Option<&str>) -> Value {
    json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {
            "name": "a", "namespace": "default", "uid": uid.to_string(), "generation": generation,
        },
        "spec": {"ingressClassName": class, "route": {"rules": [{
            "matches": path, "service": {"name": "api", "port": 80},
        }]}},
    })
}

fn keep(value: &Value) -> Change {
    match change(value) {
        Change::Apply { object, .. } => Change::Keep(object),
        other => panic!("{other:?}"),
    }
}

fn serving(compiler: &Compiler) -> Option<Serving> {
    let report = compiler.reports().borrow().clone();
    Some(report.get(&key("a"))?.serving)
}

/// A program that begins while a route is bad knows what those before it have kept.
#[test]
fn a_version_that_was_kept_serves_in_place_of_a_bad_one() {
    const GOOD: &str = "Path(`/good`)";
    const BAD: &str = "Pth(`/bad`)";
    let bad = || change(&version(1, 5, BAD, None));
    let kept = |uid, generation| keep(&version(uid, generation, GOOD, None));
    let undecodable = || {
        let mut value = version(1, 5, BAD, None);
        value["spec"]["route"] = json!(7);
        change(&value)
    };
    let of_class = |generation, path, class| change(&version(1, generation, path, Some(class)));
    let last_good = |generation| Serving::LastGood {
        generation: Some(generation),
    };
    let discard = || Change::Discard {
        key: key("a"),
        uid: "1".into(),
    };
    let served_3 = || (vec![GOOD], Some(last_good(3)));
    let nothing = || (vec![], Some(Serving::Nothing));
    let cases = [
        (vec![bad()], nothing()),
        (vec![kept(1, 3), bad()], served_3()),
        (vec![bad(), kept(1, 3)], served_3()),
        (vec![undecodable(), kept(1, 3)], served_3()),
        (vec![kept(1, 3), undecodable()], served_3()),
        (vec![kept(1, 3), undecodable(), bad()], served_3()),
        // It serves on when it is not kept any more.
        (vec![kept(1, 3), bad(), discard()], served_3()),
        (vec![kept(1, 3), discard(), bad()], nothing()),
        // Another object of the same name.
        (vec![kept(2, 3), bad()], nothing()),
        (vec![kept(2, 3), kept(1, 3), bad()], served_3()),
        // It is no version of before.
        (vec![kept(1, 5), bad()], nothing()),
        (vec![kept(1, 6), bad()], nothing()),
        // This release judges otherwise.
        (vec![keep(&version(1, 3, BAD, None)), bad()], nothing()),
        // Another installation's.
        (
            vec![keep(&version(1, 3, GOOD, Some("other"))), bad()],
            nothing(),
        ),
        (vec![kept(1, 3), of_class(5, BAD, "other")], nothing()),
        (vec![kept(1, 3), of_class(5, BAD, "ferrix")], served_3()),
        // What was seen here is as new, or newer, or older.
        (
            vec![
                change(&version(1, 4, "Path(`/4`)", None)),
                bad(),
                kept(1, 3),
            ],
            (vec!["Path(`/4`)"], Some(last_good(4))),
        ),
        (
            vec![
                change(&version(1, 2, "Path(`/2`)", None)),
                bad(),
                kept(1, 3),
            ],
            served_3(),
        ),
        (
            vec![
                change(&version(1, 2, "Path(`/2`)", None)),
                undecodable(),
                kept(1, 3),
            ],
            served_3(),
        ),
        // What is good needs nothing.
        (
            vec![kept(1, 3), change(&version(1, 5, "Path(`/5`)", None))],
            (vec!["Path(`/5`)"], Some(Serving::Newest)),
        ),
        (vec![kept(1, 3)], (vec![], None)),
        (
            vec![kept(1, 3), bad(), Change::Remove(key("a"))],
            (vec![], None),
        ),
        (
            vec![bad(), Change::Remove(key("a")), kept(1, 3)],
            (vec![], None),
        ),
    ];
    let mut ran = 0;
    for (changes, (paths, expected)) in cases {
        let title = format!("{changes:?}");
        // One after the other, and all together before the first table.
        for together in [false, true] {
            let (mut compiler, reader) = match together {
                false => compiler(),
                true => unloaded(),
            };
            let at_once = if together { changes.len() } else { 1 };
            for changes in changes.chunks(at_once) {
                compiler.apply(changes.to_vec());
            }
            compiler.loaded();
            assert_eq!(served(&reader), paths, "{title}");
            assert_eq!(serving(&compiler), expected, "{title}");
        }
        ran += 1;
    }
    assert_eq!(ran, 23);
}

/// An edit that is bad and moves a route to another installation leaves nothing of it here, whether the
/// program knew the version before or not.
#[test]
fn a_bad_edit_of_another_class_keeps_nothing() {
    let (mut compiler, reader) = compiler();
    compiler.apply([change(&version(1, 1, "Path(`/1`)", None))]);
    assert_eq!(served(&reader), ["Path(`/1`)"]);
    compiler.apply([change(&version(1, 2, "Pth(`/2`)", Some("other")))]);
    assert_eq!(served(&reader), [""; 0]);
    let report = compiler.reports().borrow().clone();
    assert!(report.get(&key("a")).unwrap().conditions.is_empty());
    assert_eq!(report.fallbacks.routes().count(), 0);
    compiler.apply([change(&version(1, 3, "Pth(`/3`)", None))]);
    assert_eq!(served(&reader), [""; 0]);
    assert_eq!(report_of_fallbacks(&compiler), [Fallback::Nothing]);
}

/// The source may have seen nothing of the deletion.
#[test]
fn a_route_that_was_made_anew_has_nothing_of_the_one_before() {
    let made = |time: &str, generation, path| {
        let mut value = version(1, generation, path, None);
        value["metadata"]["creationTimestamp"] = json!(time);
        change(&value)
    };
    let (mut compiler, reader) = compiler();
    compiler.apply([made("2026-01-01T00:00:00Z", 1, "Path(`/1`)")]);
    compiler.apply([made("2026-01-01T00:00:00Z", 2, "Pth(`/2`)")]);
    assert_eq!(served(&reader), ["Path(`/1`)"]);
    compiler.apply([made("2026-01-02T00:00:00Z", 1, "Pth(`/3`)")]);
    assert_eq!(served(&reader), [""; 0]);
}

fn report_of_fallbacks(compiler: &Compiler) -> Vec<Fallback> {
    let report = compiler.reports().borrow().clone();
    report.fallbacks.objects().into_values().collect()
}

/// What replicas tell one another follows each change.
#[test]
fn what_serves_in_place_of_bad_objects_is_reported() {
    let (mut compiler, _) = compiler();
    let mut told = |change: Change| {
        compiler.apply([change]);
        report_of_fallbacks(&compiler)
    };
    let bad = |generation| change(&version(1, generation, "Pth(`/`)", None));
    let good = |generation| change(&version(1, generation, "Path(`/`)", None));
    assert_eq!(told(bad(1)), [Fallback::Nothing]);
    assert_eq!(told(good(2)), []);
    assert_eq!(told(bad(3)), [Fallback::LastGood(Some(2))]);
    assert_eq!(told(bad(4)), [Fallback::LastGood(Some(2))]);
    assert_eq!(told(Change::Remove(key("a"))), []);
    let mut value = version(1, 5, "", None);
    value["spec"]["route"] = json!(7);
    assert_eq!(told(change(&value)), [Fallback::Nothing]);
    let kept = keep(&version(1, 4, "Path(`/`)", None));
    assert_eq!(told(kept), [Fallback::LastGood(Some(4))]);
}

/// Of a default certificate only routes can tell that have nothing else to present where they are served.
#[test]
fn what_serves_in_place_of_a_broken_default_certificate_is_reported() {
    let settings = Settings {
        default_certificate: Some(DefaultCertificate::Secret {
            namespace: "default".to_owned(),
            name: "tls".to_owned(),
        }),
        ..Settings::new(vec![
            EntryPoint::http("web"),
            EntryPoint::https("websecure"),
        ])
    };
    let of_secret = |pair: (&str, &str)| {
        change(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": "default"},
            "stringData": {"tls.crt": pair.0, "tls.key": pair.1},
        }))
    };
    let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let (certificate, private) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let good = || of_secret((&certificate, &private));
    let broken = || of_secret(("none", "none"));
    let on = |name: &str, spec: Value| {
        let mut value = version(1, 1, "Path(`/`)", None);
        value["metadata"]["name"] = json!(name);
        value["spec"]["entrypoints"] = spec;
        change(&value)
    };
    let mut cases = 0;
    for (secrets, fallback, is_served) in [
        (vec![good()], None, true),
        (vec![good(), broken()], Some(Fallback::LastGood(None)), true),
        (vec![broken()], Some(Fallback::Nothing), false),
        (vec![good(), broken(), good()], None, true),
        (vec![broken(), good()], None, true),
        // There is none anywhere.
        (vec![], None, false),
    ] {
        let (publisher, reader) = publish::channel();
        let mut compiler = Compiler::new(settings.clone(), publisher);
        let mut with_tls = version(1, 1, "Path(`/`)", None);
        with_tls["metadata"]["name"] = json!("with-tls");
        with_tls["spec"]["tls"] = json!("other");
        compiler.apply([
            on("both", json!(["web", "websecure"])),
            on("secure", json!(["websecure"])),
            on("plain", json!(["web"])),
            on("fitting", Value::Null),
            change(&with_tls),
        ]);
        compiler.loaded();
        for secret in secrets {
            compiler.apply([secret]);
        }
        let report = compiler.reports().borrow().clone();
        let secret = objects::key(Kind::Secret, "default", "tls");
        let told: Vec<_> = fallback.map(|it| (secret, it)).into_iter().collect();
        for (route, expected) in [
            ("both", &*told),
            ("secure", &told),
            ("plain", &[]),
            ("fitting", &[]),
            ("with-tls", &[]),
        ] {
            assert_eq!(report.fallbacks.of(&key(route)), expected, "{route}");
        }
        let table = reader.load();
        let serves = table
            .rules
            .iter()
            .any(|rule| rule.route.key == key("secure"));
        assert_eq!(serves, is_served);
        cases += 1;
    }
    assert_eq!(cases, 6);
}
