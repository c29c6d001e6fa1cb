use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    backend_policy::BackendPolicy,
    object::ObjectName,
    testing::{address, service},
};

fn with(ports: &[u16], balancing: Balancing) -> Service {
    let policy = BackendPolicy {
        balancing,
        ..BackendPolicy::new(ObjectName::new("default", "p"))
    };
    service("a", ports).with_policy(Arc::new(policy))
}

fn by(ports: &[u16], algorithm: Algorithm) -> Service {
    with(
        ports,
        Balancing {
            algorithm,
            ..Balancing::default()
        },
    )
}

fn hash(max_load: Option<u16>) -> Algorithm {
    let by = HashKey::Header("x-user".into());
    Algorithm::ConsistentHash { by, max_load }
}

fn at(now: u64) -> Asked {
    Asked { key: None, now }
}

fn keyed(text: &str) -> Asked {
    let key = Some(key(text.as_bytes()));
    Asked { key, now: 0 }
}

/// The port of the endpoint that is chosen.
fn port(service: &Service, asked: Asked) -> u16 {
    let chosen = service.choose(Some(asked), &[], |_| {});
    chosen.unwrap().address.port()
}

/// How often each is chosen.
fn counts(service: &Service, requests: u64, asked: impl Fn(u64) -> Asked) -> BTreeMap<u16, u64> {
    let mut counts = BTreeMap::new();
    for request in 0..requests {
        *counts.entry(port(service, asked(request))).or_default() += 1;
    }
    counts
}

fn endpoint(service: &Service, port: u16) -> &Endpoint {
    let mut endpoints = service.endpoints.iter();
    endpoints.find(|it| it.address.port() == port).unwrap()
}

fn all() -> [Algorithm; 5] {
    [
        Algorithm::RoundRobin,
        Algorithm::LeastRequests,
        Algorithm::Latency,
        hash(None),
        hash(Some(125)),
    ]
}

#[test]
fn every_algorithm_passes_over_what_fails_and_tries_all() {
    let mut ran = 0;
    for algorithm in all() {
        for failing in 0..16_u16 {
            for user in 0..20 {
                let service = by(&[0, 1, 2, 3], algorithm.clone());
                let fails = |port: u16| failing >> port & 1 == 1;
                for endpoint in &service.endpoints {
                    if fails(endpoint.address.port()) {
                        endpoint.state.backoff.fail(0);
                    }
                }
                let asked = keyed(&user.to_string());
                let mut tried = Vec::new();
                let told = |it: &Endpoint| assert!(it.is_failing());
                while let Some(endpoint) = service.choose(Some(asked), &tried, told) {
                    assert!(!tried.contains(&endpoint.address));
                    tried.push(endpoint.address);
                }
                let order: Vec<_> = tried.iter().map(|it| fails(it.port())).collect();
                assert_eq!(order.len(), 4);
                assert!(order.is_sorted(), "{algorithm}: {failing:b} {order:?}");
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 5 * 16 * 20);
}

#[test]
fn what_fails_is_told_of_so_that_it_is_looked_at() {
    for algorithm in all() {
        let service = by(&[1, 2, 3], algorithm.clone());
        endpoint(&service, 2).state.backoff.fail(0);
        let mut told = 0;
        for user in 0..90 {
            let chosen = service.choose(Some(keyed(&user.to_string())), &[], |it| {
                assert_eq!(it.address, address(2));
                told += 1;
            });
            assert_ne!(chosen.unwrap().address, address(2));
        }
        assert!((15..75).contains(&told), "{algorithm}: {told}");
    }
}

#[test]
fn one_or_none() {
    for algorithm in all() {
        assert!(
            by(&[], algorithm.clone())
                .choose(Some(keyed("a")), &[], |_| {})
                .is_none()
        );
        let single = by(&[1], algorithm.clone());
        assert_eq!(port(&single, keyed("a")), 1);
        assert!(
            single
                .choose(Some(keyed("a")), &[address(1)], |_| {})
                .is_none()
        );
        single.endpoints[0].state.backoff.fail(0);
        assert_eq!(port(&single, keyed("a")), 1, "there is no other");
    }
}

#[test]
fn round_robin_is_that_of_services_without_a_policy() {
    let (service, without) = (
        by(&[1, 2, 3], Algorithm::RoundRobin),
        service("a", &[1, 2, 3]),
    );
    for failing in [None, Some(1), Some(2)] {
        if let Some(port) = failing {
            endpoint(&service, port).state.backoff.fail(0);
            endpoint(&without, port).state.backoff.fail(0);
        }
        for _ in 0..50 {
            assert_eq!(port(&service, at(0)), port(&without, at(0)));
        }
    }
}

#[test]
fn equal_endpoints_have_equal_shares() {
    for algorithm in [Algorithm::LeastRequests, Algorithm::Latency] {
        let service = by(&[1, 2, 3, 4, 5], algorithm.clone());
        for (port, count) in counts(&service, 10_000, |_| at(0)) {
            assert!(
                (1_800..2_200).contains(&count),
                "{algorithm}: {port} {count}"
            );
        }
    }
}

/// Requests that are slow at one endpoint gather there by no more than chance has it.
#[test]
fn who_works_on_fewer_requests_is_chosen() {
    let service = by(&[1, 2, 3], Algorithm::LeastRequests);
    endpoint(&service, 1).state.in_flight.add(10);
    let counts = counts(&service, 999, |_| at(0));
    assert_eq!(counts.get(&1), None, "{counts:?}");

    let pair = by(&[1, 2], Algorithm::LeastRequests);
    for _ in 0..500 {
        let chosen = pair.choose(Some(at(0)), &[], |_| {}).unwrap();
        chosen.state.in_flight.add(1);
        let loads = [1, 2].map(|port| endpoint(&pair, port).state.in_flight.get());
        assert!((loads[0] - loads[1]).abs() <= 1, "{loads:?}");
    }
}

#[test]
fn who_answers_sooner_is_chosen() {
    let service = by(&[1, 2, 3], Algorithm::Latency);
    for (port, time) in [(1, 100), (2, 10), (3, 10)] {
        let standing = endpoint(&service, port).standing.as_ref().unwrap();
        standing.latency.measured(Duration::from_millis(time), 0);
    }
    let before = counts(&service, 900, |_| at(0));
    assert_eq!(before.get(&1), None, "{before:?}");
    // It is ten times as slow, and so has its turn when the other has ten times as much to do.
    for port in [2, 3] {
        endpoint(&service, port).state.in_flight.add(10);
    }
    let counts = counts(&service, 900, |_| at(0));
    assert!(counts[&1] > 400, "{counts:?}");
}

#[test]
fn a_slow_start_ends_with_the_whole_share() {
    let slow_start = Some(Duration::from_secs(10));
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastRequests] {
        let service = with(
            &[1, 2, 3, 4],
            Balancing {
                algorithm: algorithm.clone(),
                slow_start,
                zones: None,
            },
        );
        let all_new = counts(&service, 400, |_| at(0));
        assert_eq!(
            all_new.len(),
            4,
            "where all are new they share alike: {all_new:?}"
        );
        // One that comes later; the others are asked all the time.
        let newcomer = endpoint(&service, 4).standing.as_ref().unwrap();
        newcomer.begin_anew();
        let shares = [100_000, 105_000, 120_000].map(|now| {
            let counts = counts(&service, 4_000, |_| at(now));
            counts.get(&4).copied().unwrap_or_default()
        });
        assert!(shares[0] < shares[1] && shares[1] < shares[2], "{shares:?}");
        assert!(shares[0] < 500, "{algorithm}: {shares:?}");
        assert!((900..1_100).contains(&shares[2]), "{algorithm}: {shares:?}");
    }
}

/// Another release that chose otherwise would move every session.
#[test]
fn keys_stay_with_their_endpoints_from_release_to_release() {
    let service = by(&[1, 2, 3, 4, 5], hash(None));
    let cases = [
        ("", 5),
        ("a", 1),
        ("b", 4),
        ("alice", 4),
        ("bob", 5),
        ("192.0.2.1", 3),
    ];
    for (text, expected) in cases {
        assert_eq!(port(&service, keyed(text)), expected, "{text}");
    }
    assert_eq!(key(b"alice"), 0x508b_2abb_65a0_3907);
}

#[test]
fn keys_are_spread() {
    let service = by(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], hash(None));
    let counts = counts(&service, 20_000, |user| keyed(&user.to_string()));
    for (port, count) in counts {
        assert!((1_850..2_150).contains(&count), "{port} {count}");
    }
}

#[test]
fn a_request_without_a_key_has_its_turn() {
    let service = by(&[1, 2, 3], hash(Some(125)));
    let ports: Vec<_> = (0..6).map(|_| port(&service, at(0))).collect();
    assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
}

proptest! {
    /// Of an endpoint that goes only its own keys move, and back when it is there again.
    #[test]
    fn no_key_moves_without_need(
        count in 2..20_u16, gone in 0..20_u16, keys in prop::collection::vec(any::<u64>(), 1..200),
    ) {
        let gone = gone % count;
        let before: Vec<u16> = (0..count).collect();
        let after: Vec<u16> = before.iter().copied().filter(|it| *it != gone).collect();
        let (before, after) = (by(&before, hash(None)), by(&after, hash(None)));
        for key in keys {
            let asked = Asked { key: Some(key), now: 0 };
            let was = port(&before, asked);
            if was != gone {
                prop_assert_eq!(port(&after, asked), was);
            }
            // Where it fails the same takes its place as where it is gone.
            endpoint(&before, gone).state.backoff.fail(0);
            prop_assert_eq!(port(&before, asked), port(&after, asked));
            endpoint(&before, gone).state.backoff.succeed();
        }
    }

    #[test]
    fn the_order_of_endpoints_does_not_matter(
        ports in Just((0..12_u16).collect::<Vec<_>>()).prop_shuffle(), key: u64,
    ) {
        let asked = Asked { key: Some(key), now: 0 };
        let sorted: Vec<u16> = (0..12).collect();
        let one = port(&by(&sorted, hash(None)), asked);
        prop_assert_eq!(one, port(&by(&ports, hash(None)), asked));
    }

    /// However unevenly keys come, no endpoint works on more than its bound.
    #[test]
    fn no_endpoint_is_over_its_bound(
        count in 2..10_u16,
        percent in 101..300_u16,
        keys in prop::collection::vec(0..4_u64, 1..300),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 300),
    ) {
        let ports: Vec<u16> = (0..count).collect();
        let service = by(&ports, hash(Some(percent)));
        let mut under_way = Vec::new();
        for (key, end) in keys.into_iter().zip(ends) {
            let asked = Asked { key: Some(key), now: 0 };
            let chosen = service.choose(Some(asked), &[], |_| {}).unwrap();
            chosen.state.in_flight.add(1);
            under_way.push(chosen);
            let all = under_way.len() as u64;
            let most = (all * u64::from(percent)).div_ceil(100 * u64::from(count));
            prop_assert!(chosen.in_flight() <= most, "{} of {all}", chosen.in_flight());
            if key == 0 {
                let ended = under_way.swap_remove(end.index(under_way.len()));
                ended.state.in_flight.add(-1);
            }
        }
    }
}

/// With the first endpoints in the replica's own zone.
fn near(ports: &[u16], algorithm: Algorithm, endpoints: u32, per_mille: u16) -> Service {
    let zones = Some(Zones { min_percent: 50 });
    let mut service = with(
        ports,
        Balancing {
            algorithm,
            zones,
            ..Balancing::default()
        },
    );
    service.policy.as_mut().unwrap().near = Some(Near {
        endpoints,
        per_mille,
    });
    service
}

#[test]
fn the_own_zone_comes_first_and_bears_no_more_than_its_share() {
    use Algorithm::{Latency, LeastRequests, RoundRobin};

    let mut ran = 0;
    for algorithm in [RoundRobin, LeastRequests, Latency] {
        for (endpoints, per_mille) in [(1, 1000), (2, 1000), (2, 400), (3, 250), (1, 0)] {
            let service = near(&[0, 1, 2, 3], algorithm.clone(), endpoints, per_mille);
            let counts = counts(&service, 8_000, |_| at(0));
            let of = |ports: std::ops::Range<u16>| -> Vec<u64> {
                let count = |port| counts.get(&port).copied().unwrap_or_default();
                ports.map(count).collect()
            };
            let first = u16::try_from(endpoints).unwrap();
            let (own, others) = (of(0..first), of(first..4));
            let expected = u64::from(per_mille) * 8;
            assert!(
                own.iter().sum::<u64>().abs_diff(expected) < 400,
                "{counts:?}"
            );
            // Within a zone as without zones.
            for part in [own, others] {
                let mean = part.iter().sum::<u64>() / part.len() as u64;
                let even = part.iter().all(|it| it.abs_diff(mean) < 300);
                assert!(even, "{algorithm}: {counts:?}");
            }
            ran += 1;
        }
    }
    assert_eq!(ran, 15);
}

#[test]
fn a_zone_with_too_few_endpoints_left_does_not_matter() {
    let service = near(&[0, 1, 2, 3], Algorithm::RoundRobin, 2, 1000);
    endpoint(&service, 0).state.backoff.fail(0);
    let half = counts(&service, 400, |_| at(0));
    assert_eq!(half.into_iter().collect::<Vec<_>>(), [(1, 400)]);
    endpoint(&service, 1).state.backoff.fail(0);
    let none = counts(&service, 400, |_| at(0));
    assert_eq!(none.into_keys().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn where_the_own_zone_was_tried_others_are() {
    let service = near(&[0, 1, 2], Algorithm::RoundRobin, 1, 1000);
    let mut tried = Vec::new();
    while let Some(endpoint) = service.choose(Some(at(0)), &tried, |_| {}) {
        tried.push(endpoint.address);
    }
    assert_eq!(tried.len(), 3);
    assert_eq!(tried[0], address(0));
}
