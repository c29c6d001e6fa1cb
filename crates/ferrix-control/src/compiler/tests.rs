use ferrix_table::{Reader, publish, table::EntryPoint};
use serde_json::{Value, json};

use super::*;
use crate::{
    decode::{Decoded, Strictness, decode},
    guard::{Step, failing},
    objects::{self, Key, Kind, Origin},
    report::{ConditionType, Reason},
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
    let (publisher, reader) = publish::channel();
    let web = EntryPoint {
        name: "web".to_owned(),
        secure: false,
    };
    let mut compiler = Compiler::new(Settings::new(vec![web]), publisher);
    compiler.apply([service()]);
    compiler.loaded();
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
