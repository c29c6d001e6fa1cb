//! One request for each rule, that the rule serves.

use std::collections::HashSet;

use ferrix_rule::Sample;
use ferrix_table::{
    Table,
    ids::EntryPointIndex,
    path::{self, PathOptions},
    rules::{HostPattern, Rule},
};

use super::{Asked, Requests, State, print::target};

/// Requests that rules of these states take, no two alike.
pub(super) fn requests(options: &PathOptions, states: [&State; 2]) -> Requests {
    let mut requests = Requests::default();
    let mut known = HashSet::new();
    for State { table, .. } in states {
        for rule in table.rules.iter() {
            let mut tried = rule.entry_points.is_empty();
            for entry_point in &rule.entry_points {
                let Some(asked) = request(table, rule, *entry_point, options) else {
                    continue;
                };
                tried = true;
                if known.insert(format!("{asked:?}")) {
                    requests.all.push(asked);
                }
            }
            let name = rule.to_string();
            if !tried && !requests.untried.contains(&name) {
                requests.untried.push(name);
            }
        }
    }
    requests
}

/// A request that the rule serves there; where none is found, one that another serves in its place.
fn request(
    table: &Table,
    rule: &Rule,
    entry_point: EntryPointIndex,
    options: &PathOptions,
) -> Option<Asked> {
    let name = table.entry_points.get(entry_point)?.name.to_string();
    let mut samples = samples(rule);
    samples.retain(|it| rule.takes(entry_point, &it.request()) && is_sent(it, options));
    let serves = |sample: &&Sample| {
        let winner = table.rules.lookup(entry_point, &sample.request());
        winner.is_some_and(|winner| std::ptr::eq(winner, rule))
    };
    let chosen = samples.iter().find(serves).or(samples.first())?;
    Some(Asked {
        entry_point: name,
        sample: chosen.clone(),
    })
}

fn samples(rule: &Rule) -> Vec<Sample> {
    let starts = hosts(&rule.host).into_iter().map(|host| Sample::of(&host));
    match &rule.matches {
        Some(matches) => starts.flat_map(|start| matches.samples(&start)).collect(),
        None => starts
            .flat_map(|start| {
                let below = Sample {
                    path: "/other".to_owned(),
                    ..start.clone()
                };
                [start, below]
            })
            .collect(),
    }
}

/// Hosts that a pattern takes. There may be a rule for the first.
fn hosts(pattern: &HostPattern) -> Vec<String> {
    match pattern {
        HostPattern::Exact(host) => vec![host.to_string()],
        HostPattern::Wildcard(suffix) => ["www", "other"].map(|it| format!("{it}.{suffix}")).into(),
        HostPattern::Below(suffix) => ["www", "other", "a.other"]
            .map(|it| format!("{it}.{suffix}"))
            .into(),
        // Reserved (RFC 2606), so that nobody has a rule for it.
        HostPattern::Any => vec!["other.invalid".to_owned()],
    }
}

/// Whether a client can send it: what it sends is read as this.
fn is_sent(sample: &Sample, options: &PathOptions) -> bool {
    let target = target(sample);
    let read = path::canonical(&target, options);
    read.is_ok_and(|it| it.routing_path == sample.path && it.query() == sample.query)
}
