use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ferrix_table::{
    dry_runs::DryRun,
    filters::{
        Filter,
        lasting::{FilterId, Lasting},
        limit_key::LimitKey,
        rate_limit::{RateLimit, Scope, gcra::Rate},
    },
    object::{Key, Kind, ObjectName},
    policy::Policy,
    publish,
    rule_set::RuleSet,
    rules::{Action, HostPattern, Rule},
    services::{Endpoint, Protocol, Scheme, Service},
    state::{RouteState, Served, ServiceState},
    table,
    weight::Weight,
};

use super::*;

fn served(status: u16, milliseconds: u64, sent_bytes: u64) -> Served {
    Served {
        status,
        duration: Duration::from_millis(milliseconds),
        received_bytes: 0,
        sent_bytes,
    }
}

fn page() -> String {
    let mut page = String::new();
    Metrics::new(sources()).encode(&mut page).unwrap();
    page
}

/// One route to one service, with requests on both.
fn sources() -> Sources {
    let route = Arc::new(Route {
        key: Key::new(Kind::IngressRoute, "default", "a\"b\\c"),
        generation: 1,
        created: None,
        state: Arc::new(RouteState::default()),
    });
    let quiet = Arc::new(Route {
        key: Key::new(Kind::IngressRoute, "default", "quiet"),
        state: Arc::default(),
        ..(*route).clone()
    });
    let limit = RateLimit {
        requests: 1,
        per: Duration::from_secs(1),
        burst: 1,
        rate: Rate::new(1, Duration::from_secs(1), 1),
        by: LimitKey::Route,
        scope: Scope::Replica,
        dry_run: false,
        state: Lasting::new(FilterId {
            object: route.key.clone(),
            place: "rules[0].filters[0].rateLimit".into(),
        }),
    };
    limit.state.get().refused.add(5);
    let limited = Arc::new(Policy::of([Filter::RateLimit(Box::new(limit))]));
    let rule = |route: &Arc<Route>, position| Rule {
        route: Arc::clone(route),
        position,
        host: HostPattern::Any,
        matches: None,
        weight: Weight::Priority(1),
        entry_points: [0].into(),
        action: Action::Unavailable,
        policy: Some(Arc::clone(&limited)),
        dry_run: None,
    };
    let dry_run = DryRun::new(FilterId {
        object: route.key.clone(),
        place: "rules[2]".into(),
    });
    dry_run.get().add(4);
    let dry_run = Some(Box::new(dry_run));
    for (status, milliseconds) in [(200, 1), (200, 3), (503, 60_000), (0, 20)] {
        route.state.requests.count(&served(status, milliseconds, 0));
    }
    let state = Arc::new(ServiceState::default());
    state.requests.count(&served(200, 1, 100));
    state.retries.add(2);
    let endpoint = |address: &str| Endpoint::new(address.parse().unwrap());
    let endpoints = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"].map(endpoint);
    endpoints[1].state.backoff.fail(0);
    let service = Arc::new(Service {
        id: ServiceId {
            service: ObjectName::new("default", "api-service"),
            port: 8080,
            scheme: Scheme::Http,
        },
        protocol: Protocol::Http1,
        endpoints: endpoints.into(),
        policy: None,
        state,
    });
    let (mut publisher, table) = publish::channel();
    publisher.publish(Table {
        entry_points: Arc::new([table::EntryPoint::http("web")].as_slice().into()),
        rules: Arc::new(RuleSet::new(vec![
            rule(&route, 0),
            rule(&route, 1),
            Rule {
                dry_run,
                ..rule(&route, 2)
            },
            rule(&quiet, 0),
        ])),
        services: Arc::new([service].into_iter().collect()),
        ..Table::default()
    });
    let counters = Arc::new(Counters::default());
    counters.entry_point("idle");
    let web = counters.entry_point("web");
    web.open_connections.add(3);
    web.requests.count(&served(404, 1, 0));
    let published = Arc::new(Published::default());
    published.set();
    Sources {
        table,
        counters,
        reports: watch::channel(Arc::new(Report::default())).1,
        failures: watch::channel(Failures::default()).1,
        cluster: Some(Cluster {
            figures: Arc::default(),
            watches: Watches::default(),
        }),
        lookups: Arc::default(),
        key_fetches: Arc::default(),
        access_log: None,
        published,
        buffered_limit: 1 << 20,
        peers: Some(Arc::default()),
        connections: ConnectionLimits {
            clients: 384,
            client: 192,
            backends: 0,
            endpoint: 192,
        },
    }
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// Name and labels to value.
    samples: BTreeMap<String, f64>,
}

/// Reads the OpenMetrics text format as strictly as its specification has it: HELP, TYPE, then
/// the samples of this family and of no other, each once; EOF at the end.
fn parse(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let body = page
        .strip_suffix("# EOF\n")
        .expect("an EOF line at the end");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            let family = Family {
                help: help.into(),
                ..Family::default()
            };
            assert!(
                families.insert(name.into(), family).is_none(),
                "twice: {name}"
            );
            current = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, current, "TYPE belongs to HELP");
            families.get_mut(name).unwrap().kind = kind.into();
        } else {
            assert!(!line.starts_with('#'), "unexpected: {line}");
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().unwrap();
            let suffix = name
                .strip_prefix(&current)
                .unwrap_or_else(|| panic!("stray: {line}"));
            let family = families.get_mut(&current).unwrap();
            let suffixes: &[&str] = match family.kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_sum", "_count", "_bucket"],
                "gauge" => &[""],
                kind => panic!("unexpected type {kind}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            if let Some(labels) = series
                .strip_prefix(name)
                .filter(|labels| !labels.is_empty())
            {
                assert_ne!(labels, "{}", "{name}");
                check_labels(labels);
            }
            let value: f64 = value
                .parse()
                .unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(
                family.samples.insert(series.into(), value).is_none(),
                "twice: {series}"
            );
        }
    }
    families
}

/// `{name="value",...}` with escapes.
fn check_labels(labels: &str) {
    let mut rest = labels
        .strip_prefix('{')
        .and_then(|it| it.strip_suffix('}'))
        .expect(labels);
    let mut names = BTreeSet::new();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").expect(labels);
        assert!(names.insert(name), "twice: {name} in {labels}");
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{labels}"
        );
        let mut escaped = false;
        let end = value
            .find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })
            .expect(labels);
        rest = value[end + 1..].trim_start_matches(',');
    }
}

#[test]
fn the_page_is_well_formed() {
    let page = page();
    let families = parse(&page);
    for (name, family) in &families {
        // What promtool's linter asks for.
        assert!(
            name.starts_with("ferrix_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{name}"
        );
        assert!(
            !family.help.is_empty() && !family.help.contains('\n'),
            "{name}"
        );
        for reserved in ["_total", "_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(reserved), "{name} ends with {reserved}");
        }
        for unit in [
            "milliseconds",
            "_ms",
            "kilobytes",
            "_kb",
            "percent",
            "minutes",
        ] {
            assert!(!name.contains(unit), "{name} is not in a base unit");
        }
        if family.kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}");
            check_histogram(family);
        }
    }
}

fn check_histogram(family: &Family) {
    let counts = family
        .samples
        .iter()
        .filter(|(series, _)| series.contains("_count{"));
    for (series, count) in counts {
        let (name, labels) = series.split_once("_count{").unwrap();
        let labels = labels.strip_suffix('}').unwrap();
        let mut buckets: Vec<(f64, f64)> = (family.samples.iter())
            .filter(|(series, _)| {
                series.starts_with(&format!("{name}_bucket{{")) && series.contains(labels)
            })
            .map(|(series, count)| {
                let bound = series
                    .split_once("le=\"")
                    .unwrap()
                    .1
                    .split_once('"')
                    .unwrap()
                    .0;
                (bound.replace("+Inf", "inf").parse().unwrap(), *count)
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert_eq!(buckets.len(), DURATION_BUCKETS.len() + 1);
        assert!(
            buckets.is_sorted_by(|one, other| one.1 <= other.1),
            "not cumulative: {buckets:?}"
        );
        assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, *count));
    }
}

#[test]
fn numbers_are_those_of_the_table() {
    let page = page();
    for line in [
        "ferrix_entry_point_requests_total{entry_point=\"web\",class=\"4xx\"} 1.0",
        "ferrix_entry_point_open_connections{entry_point=\"web\"} 3.0",
        "ferrix_entry_point_failures_total{entry_point=\"web\",reason=\"no_route\"} 0.0",
        "ferrix_entry_point_requests_total{entry_point=\"idle\",class=\"2xx\"} 0.0",
        "ferrix_entry_point_request_duration_seconds_bucket{le=\"+Inf\",entry_point=\"idle\"} 0",
        "ferrix_entry_point_request_duration_seconds_count{entry_point=\"idle\"} 0",
        "ferrix_entry_point_request_duration_seconds_sum{entry_point=\"idle\"} 0.0",
        "ferrix_route_requests_total{kind=\"IngressRoute\",namespace=\"default\",\
         name=\"a\\\"b\\\\c\",class=\"2xx\"} 2.0",
        "ferrix_route_requests_total{kind=\"IngressRoute\",namespace=\"default\",\
         name=\"a\\\"b\\\\c\",class=\"4xx\"} 1.0",
        "ferrix_route_request_duration_seconds_count{kind=\"IngressRoute\",namespace=\"default\",\
         name=\"a\\\"b\\\\c\"} 4",
        "ferrix_route_request_duration_seconds_sum{kind=\"IngressRoute\",namespace=\"default\",\
         name=\"a\\\"b\\\\c\"} 60.024",
        "ferrix_service_retries_total{namespace=\"default\",name=\"api-service\",port=\"8080\",\
         scheme=\"http\"} 2.0",
        "ferrix_service_sent_bytes_total{namespace=\"default\",name=\"api-service\",\
         port=\"8080\",scheme=\"http\"} 100.0",
        "ferrix_service_endpoints{namespace=\"default\",name=\"api-service\",port=\"8080\",\
         scheme=\"http\"} 3.0",
        "ferrix_service_failing_endpoints{namespace=\"default\",name=\"api-service\",\
         port=\"8080\",scheme=\"http\"} 1.0",
        "ferrix_limit_refused_requests_total{kind=\"IngressRoute\",namespace=\"default\",\
         name=\"a\\\"b\\\\c\",filter=\"rules[0].filters[0].rateLimit\"} 5.0",
        "ferrix_route_dry_run_requests_total{kind=\"IngressRoute\",namespace=\"default\",\
         name=\"a\\\"b\\\\c\",rule=\"rules[2]\"} 4.0",
        "ferrix_limit_replicas 1.0",
        "ferrix_limit_silent_replicas 0.0",
        "ferrix_configuration_generation 1.0",
        "ferrix_configuration_problems 0.0",
        "ferrix_status_leader 0.0",
        "ferrix_status_writes_total{result=\"written\"} 0.0",
        "ferrix_status_others 0.0",
        "ferrix_status_definition_outdated 0.0",
        "ferrix_snapshot_bytes 0.0",
        "ferrix_configuration_snapshot 0.0",
        "ferrix_access_log_dropped_records_total 0.0",
        "ferrix_cache_requests_total{result=\"hit\"} 0.0",
        "ferrix_panics_total 0.0",
    ] {
        assert!(
            page.lines().any(|it| it == line),
            "{line}\nis not in\n{page}"
        );
    }
    assert!(
        !page.contains("quiet"),
        "a route without requests has no series"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_measured() {
    let families = parse(&page());
    let value = |name: &str| families[name].samples.values().copied().next().unwrap();
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_start_time_seconds") > 1.7e9);
    assert!(value("ferrix_configuration_age_seconds") < 60.0);
}

#[test]
fn every_metric_is_in_the_documents() {
    let document = include_str!("../../../../docs/operations.md");
    for (name, family) in parse(&page()) {
        let name = match family.kind.as_str() {
            "counter" => format!("`{name}_total`"),
            _ => format!("`{name}`"),
        };
        assert!(document.contains(&name), "docs/operations.md lacks {name}");
    }
}
