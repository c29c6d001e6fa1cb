//! What every request does allocates nothing.

#[expect(dead_code, reason = "the second opinion is for the oracle")]
mod support;

use std::{hint::black_box, net::IpAddr, sync::Arc, time::Duration};

use allocation_counter::measure;
use ferrix_table::{
    certificates::Certificates,
    filters::{
        concurrency::ConcurrencyState,
        ip_filter::IpFilter,
        limit_key::{Counted, Digests},
        rate_limit::{RateLimitState, gcra::Rate},
    },
    host,
    path::{self, PathOptions},
    publish,
    rule_set::RuleSet,
    rules::Split,
};
use support::{Model, OwnedRequest, Random};

fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(vec![1]))), 1);
}

#[test]
fn lookup() {
    let mut random = Random(7);
    let models: Vec<_> = (0..300).map(|_| Model::random(&mut random)).collect();
    let rules = RuleSet::new(
        models
            .iter()
            .enumerate()
            .map(|(i, it)| it.rule(i))
            .collect(),
    );
    let requests: Vec<_> = (0..1_000)
        .map(|_| OwnedRequest::random(&mut random))
        .collect();
    // Regular expressions fill what they remember as they are first used.
    for request in &requests {
        rules.lookup(request.entry_point, &request.as_request());
    }
    let mut hits = 0;
    let count = allocations(|| {
        for request in &requests {
            let found = rules.lookup(request.entry_point, &request.as_request());
            hits += usize::from(found.is_some());
        }
    });
    assert_eq!(count, 0);
    assert!(hits > 500, "{hits}");
}

#[test]
fn limits_of_known_keys() {
    let rate = Rate::new(1, Duration::from_secs(3600), 4);
    let state = RateLimitState::default();
    let under_way = Arc::new(ConcurrencyState::default());
    let digests = Digests::default();
    let filter = IpFilter::new(["10.0.0.0/8".parse().unwrap()].into(), Box::default());
    let client = |key: u32| IpAddr::from(key.to_be_bytes());
    let mut passed = 0;
    let mut round = || {
        for key in 0..1000 {
            let counted = digests.of(Counted::client(client(key), 64));
            passed += usize::from(state.take(rate, counted, 1).is_ok());
            passed += usize::from(under_way.begin(1, counted).is_some());
            passed += usize::from(filter.passes(client(key | 10 << 24)));
        }
    };
    round();
    assert_eq!(allocations(|| (0..5).for_each(|_| round())), 0);
    assert_eq!(passed, 1000 * (4 + 6 + 6));
}

#[test]
fn canonical_targets_and_hosts() {
    let count = allocations(|| {
        for target in [
            "/",
            "/api/v1/users?page=2&q=%20%2f",
            "/.well/known/a..b;x=1",
            "/:@!$&'()*+,;=-._~[]",
        ] {
            black_box(path::canonical(target, &PathOptions::default())).unwrap();
        }
        for authority in ["example.com", "example.com.:80", "[::1]:6190"] {
            black_box(host::canonical(authority)).unwrap();
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn choices_and_tables() {
    let split = Split::new(&[(0, 1), (1, 2)]).unwrap();
    let certificates = Certificates::default();
    let (_publisher, reader) = publish::channel();
    // The first load of a thread may set up its place in the list of readers.
    reader.load();
    let count = allocations(|| {
        black_box(split.choose());
        black_box(certificates.find(0, Some("www.example.com")));
        black_box(reader.load());
        black_box(reader.generation());
    });
    assert_eq!(count, 0);
}
