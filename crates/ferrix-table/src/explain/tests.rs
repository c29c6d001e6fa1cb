use std::sync::Arc;

use crate::{
    dry_runs::DryRun,
    filters::lasting::FilterId,
    rules::{Route, Rule},
    testing::{get, route, rule, table},
};

#[test]
fn dry_runs_are_told_by_what_they_would_do() {
    let dry_run = |name: &str, matches: &str| {
        let rule = rule(name, "a.test", matches);
        let id = FilterId {
            object: rule.route.key.clone(),
            place: "rules[0]".into(),
        };
        Rule {
            dry_run: Some(Box::new(DryRun::new(id))),
            ..rule
        }
    };
    let rules = vec![
        dry_run("first", "PathPrefix(`/api/v1`)"),
        dry_run("second", "PathPrefix(`/api/v`)"),
        rule("serves", "a.test", "PathPrefix(`/api`)"),
        dry_run("last", "PathPrefix(`/`)"),
    ];
    let table = table(rules, vec![]);
    assert_eq!(
        table.explain(0, &get("a.test", "/api/v1")).to_string(),
        "\
served by rule 0 of IngressRoute default/serves: PathPrefix(`/api`) of a.test, priority 18
would be served by rule 0 of IngressRoute default/first: PathPrefix(`/api/v1`) of a.test, priority 21, as a dry run
would be served by rule 0 of IngressRoute default/second: PathPrefix(`/api/v`) of a.test, priority 20, as a dry run
not by rule 0 of IngressRoute default/last: PathPrefix(`/`) of a.test, priority 15, as a dry run
  it matches, but rule 0 of IngressRoute default/serves comes first: its priority, 18, is higher than 15
"
    );
    let explanation = table.explain(0, &get("a.test", "/")).to_string();
    let mut lines = explanation.lines();
    assert_eq!(lines.next(), Some("served by no rule: 404"));
    let second = lines.next().unwrap_or_default();
    assert!(second.starts_with("would be served by rule 0 of IngressRoute default/last"));
}

#[test]
fn explanation() {
    let young = Route {
        created: Some(9),
        ..Route::clone(&route("young"))
    };
    let table = table(
        vec![
            rule("api", "a.test", "PathPrefix(`/api`)"),
            rule("other", "b.test", "PathPrefix(`/api`)"),
            rule("root", "a.test", ""),
            rule("wild", "*.test", "PathPrefix(`/api/users`)"),
            rule("users", "a.test", "PathPrefix(`/api/users`)"),
            rule("wrong", "a.test", "Path(`/api/v1`)"),
            rule("twin", "a.test", "PathPrefix(`/api`)"),
            Rule {
                position: 1,
                ..rule("api", "a.test", "PathPrefix(`/api`)")
            },
            Rule {
                route: Arc::new(young),
                ..rule("young", "a.test", "PathPrefix(`/api`)")
            },
            Rule {
                entry_points: [1].into(),
                ..rule("secure", "a.test", "")
            },
        ],
        vec![],
    );
    let request = get("a.test", "/api/x");
    let wrong = (table.rules.iter().find(|it| &*it.route.key.name == "wrong"))
        .and_then(|it| it.matches.as_ref()?.mismatch(&request))
        .unwrap();
    let users = wrong_prefix(&table, "users");
    let wild = wrong_prefix(&table, "wild");
    assert_eq!(
        table.explain(0, &request).to_string(),
        format!(
            "\
served by rule 0 of IngressRoute default/api: PathPrefix(`/api`) of a.test, priority 18
not by rule 0 of IngressRoute default/users: PathPrefix(`/api/users`) of a.test, priority 24
  {users}
not by rule 1 of IngressRoute default/api: PathPrefix(`/api`) of a.test, priority 18
  it matches, but rule 0 of IngressRoute default/api comes first: \
the priorities are equal and it stands earlier in the same route
not by rule 0 of IngressRoute default/twin: PathPrefix(`/api`) of a.test, priority 18
  it matches, but rule 0 of IngressRoute default/api comes first: \
the priorities and ages are equal and its name comes first in the alphabet
not by rule 0 of IngressRoute default/young: PathPrefix(`/api`) of a.test, priority 18
  it matches, but rule 0 of IngressRoute default/api comes first: \
the priorities are equal and its route is older
not by rule 0 of IngressRoute default/wrong: Path(`/api/v1`) of a.test, priority 15
  {wrong}
not by rule 0 of IngressRoute default/root: every request of a.test, priority 0
  it matches, but rule 0 of IngressRoute default/api comes first: \
its priority, 18, is higher than 0
not by rule 0 of IngressRoute default/secure: every request of a.test, priority 0
  it is served only on websecure
not by rule 0 of IngressRoute default/wild: PathPrefix(`/api/users`) of *.test, priority 24
  {wild}
"
        )
    );
}

/// The sentence of the rule language, which has its own tests.
fn wrong_prefix(table: &crate::Table, name: &str) -> String {
    let rule = table
        .rules
        .iter()
        .find(|it| &*it.route.key.name == name)
        .unwrap();
    let matches = rule.matches.as_ref().unwrap();
    matches.mismatch(&get("a.test", "/api/x")).unwrap()
}

#[test]
fn a_more_specific_host() {
    let table = table(
        vec![rule("a", "a.test", ""), rule("b", "*", "Path(`/`)")],
        vec![],
    );
    assert_eq!(
        table.explain(0, &get("a.test", "/")).to_string(),
        "\
served by rule 0 of IngressRoute default/a: every request of a.test, priority 0
not by rule 0 of IngressRoute default/b: Path(`/`) of any host, priority 9
  it matches, but rule 0 of IngressRoute default/a comes first: \
its host (a.test) is more specific than this one's (any host)
"
    );
}

#[test]
fn nobody() {
    let table = table(vec![rule("a", "a.test", "")], vec![]);
    let explanation = table.explain(0, &get("b.test", "/"));
    assert!(explanation.winner.is_none());
    assert!(explanation.others.is_empty());
    assert_eq!(explanation.to_string(), "served by no rule: 404\n");
}
