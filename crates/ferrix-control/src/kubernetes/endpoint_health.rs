//! How endpoints of Services with a BackendPolicy are: what replicas tell one another, and when.
//!
//! Pure: no client, no clock. Each replica judges endpoints by its own requests and checks, so the status of a
//! policy has the worst of what all tell.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_api::backendpolicy::{BadEndpoint, BadState, ServiceEndpoints};
use ferrix_table::{health, services::Service};
use serde::{Deserialize, Serialize};

use crate::objects::ObjectName;

/// A replica tells of no more Services, so that its Lease stays small: of those with bad endpoints first.
const MAX_SERVICES: usize = 100;

/// So many bad endpoints of a Service are named.
const MAX_NAMES: usize = 4;

/// What has changed is told once it has been the same for so long…
const SETTLING: Duration = Duration::from_secs(3);

/// …or has kept changing for so long, as endpoints do that come and go.
const LONGEST_SETTLING: Duration = Duration::from_secs(60);

/// The version of what replicas tell.
const VERSION: u32 = 1;

/// How the endpoints of the Services of each policy are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EndpointHealth(BTreeMap<ObjectName, Vec<ServiceEndpoints>>);

/// As a replica's Lease has it. Replicas of neighbouring releases read it of each other.
#[derive(Deserialize, Serialize)]
struct Told {
    version: u32,
    /// By `NAMESPACE/NAME`.
    policies: BTreeMap<String, Vec<ServiceEndpoints>>,
}

impl EndpointHealth {
    /// On this replica, now.
    pub(super) fn of(services: &[Arc<Service>]) -> Self {
        let mut found: BTreeMap<(&ObjectName, &str), BTreeMap<SocketAddr, _>> = BTreeMap::new();
        for service in services {
            let Some(policy) = &service.policy else {
                continue;
            };
            let named = (&policy.name, &*service.id.service.name);
            let endpoints = found.entry(named).or_default();
            for (endpoint, health) in service.health() {
                // A port that is spoken to in several ways has each endpoint several times.
                let known = endpoints.entry(endpoint.address).or_insert(health);
                *known = health.max(*known);
            }
        }
        let all = found.into_iter();
        let mut all: Vec<_> = all
            .map(|((policy, service), endpoints)| (policy, counted(service, &endpoints)))
            .collect();
        if all.len() > MAX_SERVICES {
            all.sort_by_key(|(_, service)| service.worst.is_empty());
            all.truncate(MAX_SERVICES);
        }
        let mut told = Self::default();
        for (policy, service) in all {
            told.0.entry(policy.clone()).or_default().push(service);
        }
        told
    }

    /// What a Lease has. What is not there, or is there in a way that this release does not know, means that
    /// nothing is known.
    pub(super) fn read(told: Option<&str>) -> Self {
        let told = told.and_then(|told| serde_json::from_str::<Told>(told).ok());
        let told = told.filter(|told| told.version == VERSION);
        let policies = told.into_iter().flat_map(|told| told.policies);
        let named = policies.filter_map(|(policy, services)| {
            let (namespace, name) = policy.split_once('/')?;
            Some((ObjectName::new(namespace, name), services))
        });
        Self(named.collect())
    }

    /// For a Lease; `None`: there is nothing to tell.
    pub(super) fn write(&self) -> Option<String> {
        let policies = self.0.iter();
        let told = Told {
            version: VERSION,
            policies: policies
                .map(|(policy, services)| (policy.to_string(), services.clone()))
                .collect(),
        };
        // Texts, numbers and lists of them always have a form in JSON.
        (!self.0.is_empty()).then(|| serde_json::to_string(&told).unwrap_or_default())
    }

    /// The policies that another tells otherwise of.
    pub(super) fn differing<'e>(&'e self, other: &'e Self) -> impl Iterator<Item = &'e ObjectName> {
        let all = self.0.keys().chain(other.0.keys());
        all.filter(|policy| self.0.get(*policy) != other.0.get(*policy))
    }

    /// How the endpoints of a policy's Services are on all of these replicas together.
    pub(super) fn merged<'e>(
        all: impl Iterator<Item = &'e Self>,
        policy: &ObjectName,
    ) -> Vec<ServiceEndpoints> {
        let mut merged: BTreeMap<&str, ServiceEndpoints> = BTreeMap::new();
        for service in all.filter_map(|it| it.0.get(policy)).flatten() {
            match merged.entry(&service.service) {
                Entry::Vacant(first) => drop(first.insert(service.clone())),
                Entry::Occupied(mut before) => merge(before.get_mut(), service),
            }
        }
        merged.into_values().collect()
    }
}

/// Of a Service with these endpoints.
fn counted(
    service: &str,
    endpoints: &BTreeMap<SocketAddr, health::EndpointHealth>,
) -> ServiceEndpoints {
    use health::EndpointHealth as Health;

    let mut counted = ServiceEndpoints {
        service: service.to_owned(),
        endpoints: u32::try_from(endpoints.len()).unwrap_or(u32::MAX),
        ..ServiceEndpoints::default()
    };
    for (address, health) in endpoints {
        let (count, state) = match health {
            Health::Healthy => (&mut counted.healthy, None),
            Health::Starting => (&mut counted.starting, None),
            Health::Failing => (&mut counted.failing, Some(BadState::Failing)),
            Health::Ejected => (&mut counted.ejected, Some(BadState::Ejected)),
            Health::Unhealthy => (&mut counted.unhealthy, Some(BadState::Unhealthy)),
        };
        *count += 1;
        counted.worst.extend(state.map(|state| BadEndpoint {
            endpoint: address.to_string(),
            state,
            replicas: 1,
        }));
    }
    name_few(&mut counted.worst);
    counted
}

/// Adds what another replica tells.
fn merge(service: &mut ServiceEndpoints, other: &ServiceEndpoints) {
    let most = |one: &mut u32, other: u32| *one = other.max(*one);
    most(&mut service.endpoints, other.endpoints);
    service.healthy = service.healthy.min(other.healthy);
    most(&mut service.starting, other.starting);
    most(&mut service.failing, other.failing);
    most(&mut service.ejected, other.ejected);
    most(&mut service.unhealthy, other.unhealthy);
    for bad in &other.worst {
        let mut known = service.worst.iter_mut();
        match known.find(|it| it.endpoint == bad.endpoint) {
            Some(known) => {
                known.state = known.state.max(bad.state);
                known.replicas += bad.replicas;
            }
            None => service.worst.push(bad.clone()),
        }
    }
    name_few(&mut service.worst);
}

fn name_few(worst: &mut Vec<BadEndpoint>) {
    worst.sort_by(|one, other| {
        let by_state = other.state.cmp(&one.state);
        by_state.then_with(|| one.endpoint.cmp(&other.endpoint))
    });
    worst.truncate(MAX_NAMES);
}

/// What is told of something that changes, and when.
#[derive(Debug, Default)]
pub(super) struct Settling {
    told: EndpointHealth,
    latest: EndpointHealth,
    /// The first and the last change since something was told.
    changes: Option<(Instant, Instant)>,
}

impl Settling {
    /// Takes in how endpoints are now. What is to be told, if anything is.
    pub(super) fn take(&mut self, now: Instant, latest: EndpointHealth) -> Option<&EndpointHealth> {
        if self.latest != latest {
            let (first, _) = self.changes.unwrap_or((now, now));
            self.changes = Some((first, now));
            self.latest = latest;
        }
        let (first, last) = self.changes?;
        if now < (last + SETTLING).min(first + LONGEST_SETTLING) {
            return None;
        }
        self.changes = None;
        let differs = self.told != self.latest;
        self.told.clone_from(&self.latest);
        differs.then_some(&self.told)
    }

    /// Whether all has been told.
    pub(super) fn is_settled(&self) -> bool {
        self.changes.is_none()
    }
}

#[cfg(test)]
mod tests {
    use ferrix_table::{
        backend_policy::BackendPolicy,
        health::{Check, CheckKind, Health},
        services::{Endpoint, Protocol, Scheme, ServiceId},
    };

    use super::*;

    /// A Service with a policy, and endpoints at these ports, of which so many do not pass their checks.
    fn service(name: &str, policy: &str, ports: &[u16], unhealthy: usize) -> Arc<Service> {
        let check = Check {
            kind: CheckKind::Tcp,
            port: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures: 1,
            successes: 1,
        };
        let policy = BackendPolicy {
            health: Health {
                check: Some(check),
                ..Health::default()
            },
            ..BackendPolicy::new(ObjectName::new("default", policy))
        };
        let endpoint = |port: &u16| Endpoint::new(([10, 0, 0, 1], *port).into());
        let service = Service {
            id: ServiceId {
                service: ObjectName::new("default", name),
                port: 80,
                scheme: Scheme::Http,
            },
            protocol: Protocol::Http1,
            endpoints: ports.iter().map(endpoint).collect(),
            policy: None,
            state: Arc::default(),
        };
        let service = service.with_policy(Arc::new(policy));
        for endpoint in service.endpoints.iter().take(unhealthy) {
            endpoint.standing.as_ref().unwrap().set_healthy(false);
        }
        Arc::new(service)
    }

    #[test]
    fn what_a_replica_tells_another_reads() {
        assert_eq!(EndpointHealth::default().write(), None);
        // Two ways to speak to one port: each endpoint counts once, by the worst of both.
        let services = [
            service("api", "p", &[1, 2, 3, 4, 5, 6], 5),
            service("api", "p", &[1, 2, 3, 4, 5, 6], 0),
            service("web", "p", &[1], 0),
            service("web", "q", &[1], 0),
        ];
        let told = EndpointHealth::of(&services);
        let text = told.write().unwrap();
        assert_eq!(EndpointHealth::read(Some(&text)), told);
        let policy = ObjectName::new("default", "p");
        let merged = EndpointHealth::merged([&told, &told].into_iter(), &policy);
        let counts: Vec<_> = merged
            .iter()
            .map(|it| (&*it.service, it.endpoints, it.healthy, it.unhealthy))
            .collect();
        assert_eq!(counts, [("api", 6, 1, 5), ("web", 1, 1, 0)]);
        let names: Vec<_> = merged[0].worst.iter().map(|it| &*it.endpoint).collect();
        assert_eq!(
            names,
            ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"]
        );
        assert!(merged[0].worst.iter().all(|it| it.replicas == 2));

        let unknown = [
            None,
            Some("odd"),
            Some("{}"),
            Some(r#"{"version":2,"policies":{}}"#),
            Some(r#"{"version":1,"policies":{"default/p":[{"service":"a"}]}}"#),
        ];
        for told in unknown {
            assert_eq!(
                EndpointHealth::read(told),
                EndpointHealth::default(),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_lease_stays_small_and_names_what_is_bad() {
        let service = |number: usize| {
            let (name, policy) = (format!("s{number:03}"), format!("p{number:03}"));
            service(&name, &policy, &[1, 2], usize::from(number % 10 == 9))
        };
        let services: Vec<_> = (0..500).map(service).collect();
        let told = EndpointHealth::of(&services);
        assert_eq!(told.0.len(), MAX_SERVICES);
        let bad = told.0.values().flatten();
        assert_eq!(bad.filter(|it| it.unhealthy == 1).count(), 50);
        assert!(told.write().unwrap().len() < 16 * 1024);
    }

    #[test]
    fn the_worst_of_all_replicas_is_told() {
        let read = |text: &str| {
            let text = format!(r#"{{"version":1,"policies":{{"default/p":[{text}]}}}}"#);
            EndpointHealth::read(Some(&text))
        };
        let told = [
            read(
                r#"{"service":"a","endpoints":4,"healthy":2,"ejected":2,"worst":[
                    {"endpoint":"10.0.0.1:80","state":"Ejected","replicas":1},
                    {"endpoint":"10.0.0.2:80","state":"Ejected","replicas":1}]}"#,
            ),
            read(
                r#"{"service":"a","endpoints":4,"healthy":3,"unhealthy":1,"worst":[
                    {"endpoint":"10.0.0.2:80","state":"Unhealthy","replicas":1}]}"#,
            ),
            // A release that does not tell.
            EndpointHealth::default(),
        ];
        let policy = ObjectName::new("default", "p");
        let merged = EndpointHealth::merged(told.iter(), &policy);
        let bad = |endpoint: &str, state, replicas| BadEndpoint {
            endpoint: endpoint.to_owned(),
            state,
            replicas,
        };
        let expected = ServiceEndpoints {
            service: "a".to_owned(),
            endpoints: 4,
            healthy: 2,
            ejected: 2,
            unhealthy: 1,
            worst: vec![
                bad("10.0.0.2:80", BadState::Unhealthy, 2),
                bad("10.0.0.1:80", BadState::Ejected, 1),
            ],
            ..ServiceEndpoints::default()
        };
        assert_eq!(merged, [expected]);
        let differing: Vec<_> = told[0].differing(&told[1]).collect();
        assert_eq!(differing, [&policy, &policy]);
        assert_eq!(told[0].differing(&told[0]).count(), 0);
    }

    /// What each second is told of an endpoint that is bad in these seconds.
    fn telling(bad: impl Fn(u64) -> bool, seconds: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut settling = Settling::default();
        let good = EndpointHealth::of(&[service("api", "p", &[1], 0)]);
        settling.take(start, good.clone());
        assert_eq!(settling.take(start + SETTLING, good.clone()), Some(&good));
        let mut told = Vec::new();
        for second in 4..seconds {
            let unhealthy = usize::from(bad(second));
            let latest = EndpointHealth::of(&[service("api", "p", &[1], unhealthy)]);
            let now = start + Duration::from_secs(second);
            if settling.take(now, latest.clone()) == Some(&latest) {
                told.push(second);
            }
        }
        told
    }

    #[test]
    fn what_has_settled_is_told_once_and_what_does_not_settle_seldom() {
        assert_eq!(telling(|_| false, 600), [0; 0]);
        assert_eq!(telling(|second| second >= 100, 600), [103]);
        // It is over before it is told.
        assert_eq!(telling(|second| second == 100, 600), [0; 0]);
        assert_eq!(
            telling(|second| (100..120).contains(&second), 600),
            [103, 123]
        );
        let flapping = telling(|second| second % 4 < 2, 604);
        assert!((1..=10).contains(&flapping.len()), "{flapping:?}");
    }
}
