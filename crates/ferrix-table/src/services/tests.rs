use std::{collections::BTreeMap, net::SocketAddr};

use super::*;
use crate::testing::{address, service};

/// The port of the endpoint that is picked, and that of one that is passed over.
fn pick(service: &Service, tried: &[SocketAddr]) -> (Option<u16>, Option<u16>) {
    let mut passed_over = None;
    let picked = service.pick(tried, |it| passed_over = Some(it.address.port()));
    (picked.map(|it| it.address.port()), passed_over)
}

fn picked(service: &Service) -> u16 {
    let picked = service.pick(&[], |_| panic!("none is failing"));
    picked.unwrap().address.port()
}

#[test]
fn each_in_turn() {
    let service = service("a", &[1, 2, 3]);
    let picked: Vec<_> = (0..7).map(|_| picked(&service)).collect();
    assert_eq!(picked, [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn none_twice() {
    let service = service("a", &[1, 2, 3]);
    let mut tried = Vec::new();
    while let Some(endpoint) = service.pick(&tried, |_| {}) {
        assert!(!tried.contains(&endpoint.address));
        tried.push(endpoint.address);
    }
    assert_eq!(tried.len(), 3);
}

#[test]
fn one_or_none() {
    assert_eq!(pick(&service("a", &[]), &[]), (None, None));
    let single = service("a", &[1]);
    assert_eq!(picked(&single), 1);
    assert_eq!(pick(&single, &[address(2)]), (Some(1), None));
    assert_eq!(pick(&single, &[address(1)]), (None, None));
    single.endpoints[0].state.backoff.fail(0);
    assert_eq!(picked(&single), 1, "there is no other");
    assert_eq!(single.state.rotation.position(), 0);
}

#[test]
fn a_failing_endpoint_is_passed_over() {
    let service = service("a", &[1, 2, 3, 4]);
    let state = &service.endpoints[1].state;
    state.backoff.fail(0);
    let mut counts = BTreeMap::new();
    for turn in 0..120 {
        let (picked, passed_over) = pick(&service, &[]);
        assert_eq!(passed_over, (turn % 4 == 1).then_some(2));
        *counts.entry(picked.unwrap()).or_insert(0) += 1;
    }
    // Its share goes to all others.
    assert_eq!(counts, [(1, 40), (3, 40), (4, 40)].into());
    state.backoff.succeed();
    let picked: Vec<_> = (0..4).map(|_| picked(&service)).collect();
    assert_eq!(picked, [1, 2, 3, 4]);
}

/// Those that fail come after all others, and are tried then.
#[test]
fn failing_endpoints_come_last() {
    let mut ran = 0;
    for failing in 0..16_u32 {
        for first_turn in 0..12 {
            let mut service = service("a", &[0, 1, 2, 3]);
            let mut state = ServiceState::default();
            state.rotation = crate::state::Sequence::starting_at(first_turn);
            service.state = Arc::new(state);
            let fails = |port: u16| failing >> port & 1 == 1;
            for endpoint in &service.endpoints {
                if fails(endpoint.address.port()) {
                    endpoint.state.backoff.fail(0);
                }
            }
            let mut tried = Vec::new();
            while let Some(endpoint) = service.pick(&tried, |it| assert!(it.is_failing())) {
                assert!(service.has_other(&tried) && !tried.contains(&endpoint.address));
                tried.push(endpoint.address);
            }
            assert_eq!(tried.len(), 4);
            assert!(!service.has_other(&tried));
            let order: Vec<_> = tried.iter().map(|it| fails(it.port())).collect();
            assert!(order.is_sorted(), "{failing:b} {order:?}");
            ran += 1;
        }
    }
    assert_eq!(ran, 16 * 12);
}

#[test]
fn where_all_fail_each_has_its_turn() {
    let service = service("a", &[1, 2, 3]);
    for endpoint in &service.endpoints {
        endpoint.state.backoff.fail(0);
    }
    let picked: Vec<_> = (0..6).map(|_| pick(&service, &[])).collect();
    assert_eq!(picked, [1, 2, 3, 1, 2, 3].map(|port| (Some(port), None)));
}
