use std::sync::Arc;

use ferrix_model::{check, spawn};
use proptest::prelude::*;

use super::*;
use crate::{
    backend_policy::BackendPolicy,
    balancing::{Algorithm, Asked, Balancing},
    object::ObjectName,
    testing::service,
};

const TIME: u64 = 30_000;

fn ejection() -> Ejection {
    Ejection {
        statuses: [500..=599].into(),
        failures: 3,
        time: Duration::from_millis(TIME),
        max_percent: 50,
    }
}

fn with(ports: &[u16], algorithm: Algorithm, health: Health) -> Service {
    let policy = BackendPolicy {
        balancing: Balancing {
            algorithm,
            ..Balancing::default()
        },
        health,
        ..BackendPolicy::new(ObjectName::new("default", "p"))
    };
    service("a", ports).with_policy(Arc::new(policy))
}

fn judging(ports: &[u16]) -> Service {
    let health = Health {
        ejection: Some(ejection()),
        ..Health::default()
    };
    with(ports, Algorithm::RoundRobin, health)
}

/// What comes of so many answers of the first endpoint to requests of a route.
fn answers(service: &Service, statuses: &[u16], route: u64, now: u64) -> Vec<Judged> {
    let judged = statuses
        .iter()
        .map(|status| service.judge(&service.endpoints[0], *status, route, now));
    judged.collect()
}

/// How often each endpoint, by port, is chosen in so many turns.
fn chosen(service: &Service, turns: u64, now: u64) -> Vec<usize> {
    let mut counts = vec![0; service.endpoints.len()];
    for key in 0..turns {
        let asked = Asked {
            key: Some(mix(key)),
            now,
        };
        let chosen = service.choose(Some(asked), &[], |_| {}).unwrap();
        let mut places = service.endpoints.iter();
        let place = places.position(|it| it.address == chosen.address);
        counts[place.unwrap()] += 1;
    }
    counts
}

#[test]
fn bad_answers_one_after_another_eject() {
    use Judged::{AsBefore, Ejected};

    let service = judging(&[1, 2, 3]);
    let judged = answers(&service, &[500, 503, 200, 500, 404, 599, 500], 1, 0);
    assert_eq!(judged, [AsBefore; 7], "others came between");
    let judged = answers(&service, &[500, 500], 1, 0);
    assert_eq!(judged, [Ejected, AsBefore]);
    assert!(service.leaves_out(&service.endpoints[0]));
    assert_eq!(chosen(&service, 40, TIME - 1), [0, 20, 20]);
    // What began before does not lengthen it, and does not end it.
    assert_eq!(
        answers(&service, &[500, 500, 500, 200], 1, TIME - 1),
        [AsBefore; 4]
    );
    assert!(service.endpoints[0].is_ejected());
}

#[test]
fn one_request_tries_who_was_ejected() {
    for algorithm in [
        Algorithm::RoundRobin,
        Algorithm::LeastRequests,
        Algorithm::ConsistentHash {
            by: crate::balancing::HashKey::Header("a".into()),
            max_load: None,
        },
    ] {
        let health = Health {
            ejection: Some(ejection()),
            ..Health::default()
        };
        let service = with(&[1, 2, 3], algorithm, health);
        answers(&service, &[500; 3], 1, 0);
        let mut now = TIME;
        // Twice as long each time, up to ten times as long.
        for factor in [2, 4, 8, 10, 10] {
            let [tried, ..] = chosen(&service, 100, now)[..] else {
                panic!("three endpoints")
            };
            assert_eq!(tried, 1, "{now}");
            assert_eq!(answers(&service, &[500], 1, now), [Judged::Ejected]);
            now += factor * TIME;
            assert_eq!(chosen(&service, 100, now - 1)[0], 0, "{now}");
        }
        assert_eq!(chosen(&service, 100, now)[0], 1);
        // The client has left: another tries it later.
        now += 10 * TIME;
        assert_eq!(chosen(&service, 100, now - 1)[0], 0);
        assert_eq!(chosen(&service, 100, now)[0], 1);
        assert_eq!(answers(&service, &[200], 1, now), [Judged::Back]);
        let [back, ..] = chosen(&service, 300, now)[..] else {
            panic!("three endpoints")
        };
        assert!(
            (60..140).contains(&back),
            "it has its share, and no more: {back}"
        );
    }
}

#[test]
fn a_bad_route_ejects_nobody_whom_others_need() {
    let service = judging(&[1, 2, 3]);
    let (good, bad) = (1, 2);
    answers(&service, &[200], good, 1);
    for now in 2..LATELY {
        assert_eq!(answers(&service, &[500], bad, now), [Judged::AsBefore]);
    }
    answers(&service, &[200], good, LATELY);
    assert_eq!(
        answers(&service, &[500; 9], bad, 2 * LATELY),
        [Judged::AsBefore; 9]
    );
    // Where the other fails as well, the endpoint does.
    let judged = answers(&service, &[500, 500, 500], good, 2 * LATELY + 1);
    assert_eq!(judged[0], Judged::Ejected);
}

#[test]
fn a_route_that_nobody_asks_for_keeps_nobody_in_use() {
    let service = judging(&[1, 2, 3]);
    answers(&service, &[200], 1, 1);
    let mut now = 2;
    while answers(&service, &[500], 2, now) != [Judged::Ejected] {
        now += 100;
        assert!(now < 3 * LATELY, "never");
    }
    assert!(now > LATELY);
}

#[test]
fn no_more_than_a_share_is_left_out() {
    let mut ran = 0;
    for count in 1..=10_u16 {
        let ports: Vec<u16> = (0..count).collect();
        let service = judging(&ports);
        for endpoint in &service.endpoints {
            for _ in 0..9 {
                service.judge(endpoint, 500, 1, 0);
            }
        }
        let endpoints = service.endpoints.iter();
        let ejected = endpoints.filter(|it| it.is_ejected()).count();
        assert_eq!(ejected, usize::from(count) / 2);
        ran += 1;
    }
    assert_eq!(ran, 10);
}

#[test]
fn where_too_few_are_left_all_are_used() {
    let tcp = Check {
        kind: CheckKind::Tcp,
        port: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures: 1,
        successes: 1,
    };
    for (panic_threshold, expected) in [
        (50, [[30, 30, 30], [0, 45, 45], [30, 30, 30], [30, 30, 30]]),
        (0, [[30, 30, 30], [0, 45, 45], [0, 0, 90], [30, 30, 30]]),
    ] {
        let health = Health {
            check: Some(tcp.clone()),
            panic_threshold,
            ..Health::default()
        };
        let service = with(&[1, 2, 3], Algorithm::RoundRobin, health);
        for (unhealthy, expected) in expected.into_iter().enumerate() {
            for endpoint in &service.endpoints[..unhealthy] {
                endpoint.standing.as_ref().unwrap().set_healthy(false);
            }
            let counts = chosen(&service, 90, 0);
            match (panic_threshold, unhealthy) {
                // There is none to choose, and so whichever comes first.
                (0, 3) => assert_eq!(counts.iter().sum::<usize>(), 90),
                _ => assert_eq!(counts, expected, "{unhealthy}"),
            }
        }
    }
}

#[test]
fn who_is_without_a_policy_is_not_judged() {
    let service = service("a", &[1, 2]);
    assert_eq!(answers(&service, &[500; 20], 1, 0), [Judged::AsBefore; 20]);
    assert!(service.endpoints[0].standing.is_none());
}

#[test]
fn as_people_read_it() {
    let health = Health {
        ejection: Some(ejection()),
        check: Some(Check {
            kind: CheckKind::Http {
                path: "/healthz".into(),
                host: None,
            },
            port: Some(9000),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            failures: 3,
            successes: 2,
        }),
        panic_threshold: 50,
    };
    assert_eq!(
        health.lines(),
        [
            "ejection: after 3 times 500-599, for 30s, of 50 % at most, as long as 50 % are left",
            "check: GET /healthz at port 9000 every 10s, out after 3, back after 2, as long as 50 % \
             are left",
        ]
    );
}

/// However threads meet, no more are left out than may be, and none for ever.
#[test]
fn no_more_than_a_share_is_left_out_in_any_order() {
    let orders = check(|| {
        let service = Arc::new(judging(&[1, 2, 3]));
        for endpoint in &service.endpoints {
            for _ in 0..2 {
                service.judge(endpoint, 500, 1, 0);
            }
        }
        let threads = [0, 1, 2].map(|place| {
            let service = Arc::clone(&service);
            spawn(move || {
                let endpoint = &service.endpoints[place];
                service.judge(endpoint, 500, 1, 0);
                let endpoints = service.endpoints.iter();
                assert!(endpoints.filter(|it| it.is_ejected()).count() <= 1);
                service.judge(endpoint, 500, 1, 0);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let policy = service.policy.as_ref().unwrap();
        for endpoint in service.endpoints.iter().filter(|it| it.is_ejected()) {
            assert!(policy.health.tries(endpoint, 2 * TIME));
            assert!(!policy.health.tries(endpoint, 2 * TIME), "one tries it");
        }
    });
    assert!(orders > 0);
}

/// Who tries an endpoint is one request, however many ask at once.
#[test]
fn one_tries_in_any_order() {
    let orders = check(|| {
        let service = Arc::new(judging(&[1, 2]));
        answers(&service, &[500; 3], 1, 0);
        let threads = [1, 2, 3].map(|_| {
            let service = Arc::clone(&service);
            spawn(move || {
                let policy = service.policy.as_ref().unwrap();
                policy.health.tries(&service.endpoints[0], TIME)
            })
        });
        let tries = threads.map(|thread| usize::from(thread.join().unwrap()));
        assert_eq!(tries.iter().sum::<usize>(), 1);
        assert_eq!(answers(&service, &[200], 1, TIME), [Judged::Back]);
    });
    assert!(orders > 0);
}

proptest! {
    #[test]
    fn a_phase_fits_its_word(times in 0..=MOST_TIMES, on_trial: bool, until in 0..=LATEST) {
        let phase = Phase { times, on_trial, until };
        prop_assert_eq!(Phase::from(u64::from(phase)), phase);
    }
}

/// Of an endpoint that is in several states the worst is told, and none that nobody has asked about.
#[test]
fn an_endpoint_is_as_the_worst_that_is_true_of_it() {
    use EndpointHealth::{Ejected, Failing, Healthy, Starting, Unhealthy};

    let check = Check {
        kind: CheckKind::Tcp,
        port: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures: 1,
        successes: 1,
    };
    let told = |ejects: bool, checks: bool, starts_slowly: bool| {
        let policy = BackendPolicy {
            balancing: Balancing {
                slow_start: starts_slowly.then(|| Duration::from_secs(10)),
                ..Balancing::default()
            },
            health: Health {
                ejection: ejects.then(ejection),
                check: checks.then(|| check.clone()),
                ..Health::default()
            },
            ..BackendPolicy::new(ObjectName::new("default", "p"))
        };
        let service = service("a", &[1, 2, 3, 4, 5]).with_policy(Arc::new(policy));
        let standing = |place: usize| service.endpoints[place].standing.as_ref().unwrap();
        // Each is in one state more than the one before, the first in none.
        for place in 1..5 {
            standing(place).warmth(0, Duration::from_secs(10));
        }
        for place in 2..5 {
            service.endpoints[place].state.backoff.fail(0);
        }
        for place in 3..5 {
            standing(place).answers.eject(true, &ejection(), 0);
        }
        standing(4).set_healthy(false);
        let health: Vec<_> = service.health().map(|(_, health)| health).collect();
        assert_eq!(service.starting().count(), usize::from(starts_slowly));
        health
    };
    assert_eq!(
        told(true, true, true),
        [Healthy, Starting, Failing, Ejected, Unhealthy]
    );
    assert_eq!(
        told(true, false, false),
        [Healthy, Healthy, Failing, Ejected, Ejected]
    );
    assert_eq!(
        told(false, false, true),
        [Healthy, Starting, Failing, Failing, Failing]
    );
}
