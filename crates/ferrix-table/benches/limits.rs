//! What a limit costs a request: one decision, among few keys and among many.

use std::{hint::black_box, net::Ipv4Addr, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ferrix_table::filters::{
    ip_filter::IpFilter,
    limit_key::{Counted, Digests},
    rate_limit::{RateLimitState, gcra::Rate},
};

criterion_group!(benches, rate_limit, ip_filter);
criterion_main!(benches);

fn rate_limit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate-limit");
    // Nobody is at rest, so that each keeps its place.
    let rate = Rate::new(1, Duration::from_secs(3600), 1_000_000);
    let digests = Digests::default();
    for keys in [1, 1_000, 100_000_u32] {
        let state = RateLimitState::default();
        let client = |key: u32| digests.of(Counted::client(Ipv4Addr::from(key).into(), 64));
        for key in 0..keys {
            let _ = state.take(rate, client(key), 1);
        }
        let mut key = 0;
        group.bench_function(BenchmarkId::new("known", keys), |bencher| {
            bencher.iter(|| {
                // Far from the one before, as clients are.
                key = (key + 7919) % keys;
                black_box(state.take(rate, client(black_box(key)), 1).is_ok())
            });
        });
    }
    let state = RateLimitState::default();
    let mut key = 0_u64;
    group.bench_function("new", |bencher| {
        bencher.iter(|| {
            key += 1;
            black_box(state.take(rate, digests.of(black_box(key)), 1).is_ok())
        });
    });
    group.finish();
}

fn ip_filter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ip-filter");
    for networks in [1, 10, 1_000_u32] {
        let network = |nth: u32| {
            let address = Ipv4Addr::from(nth << 12);
            format!("{address}/24").parse().expect("a network")
        };
        let filter = IpFilter::new((0..networks).map(network).collect(), Box::default());
        let mut nth = 0;
        group.bench_function(BenchmarkId::new("networks", networks), |bencher| {
            bencher.iter(|| {
                nth = (nth + 7919) % networks;
                black_box(filter.passes(Ipv4Addr::from(nth << 12 | 7).into()))
            });
        });
    }
    group.finish();
}
