//! What Ferrix counts, for Prometheus.
//!
//! Requests count into atomics that hang on the routing table, with no look-up of labels. This
//! page walks the table when somebody asks, so labels cost nothing until then, and there are never
//! more of them than there are objects. A route or a service is on the page from its first request
//! on; what is gone from the configuration is gone from the page.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ferrix_control::{
    Failures, KeyFetches, Lookups, Report,
    kubernetes::{Figures, Watches},
};
use ferrix_proxy::{counters::Counters, failure::Failure, replicas::Peers};
use ferrix_table::{
    Reader, Table,
    filters::{Filter, Refusals},
    rules::{Route, Rule},
    services::{Service, ServiceId},
    state::{DURATION_BUCKETS, RequestCounts},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use tokio::sync::watch;

use crate::{access_log::Losses, log};

/// Where the numbers come from.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

/// All that is read for one page.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) table: Reader,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reports: watch::Receiver<Arc<Report>>,
    pub(crate) failures: watch::Receiver<Failures>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) key_fetches: Arc<KeyFetches>,
    pub(crate) access_log: Option<Losses>,
    pub(crate) published: Arc<Published>,
    pub(crate) connections: ConnectionLimits,
    /// Bytes that may wait; 0: any number.
    pub(crate) buffered_limit: u64,
    /// The replicas that count limits together.
    pub(crate) peers: Option<Arc<Peers>>,
}

/// What there is to say about the API server, where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) figures: Arc<Figures>,
    pub(crate) watches: Watches,
}

/// How many connections there may be; 0: any number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionLimits {
    /// Of clients.
    pub(crate) clients: usize,
    /// Of one client.
    pub(crate) client: usize,
    /// To backends.
    pub(crate) backends: usize,
    /// To one endpoint.
    pub(crate) endpoint: usize,
}

impl From<&ferrix_proxy::settings::Settings> for ConnectionLimits {
    fn from(settings: &ferrix_proxy::settings::Settings) -> Self {
        Self {
            clients: settings.limits.connections,
            client: settings.limits.connections_per_client(),
            backends: settings.upstream.connections,
            endpoint: settings.upstream.connections_per_endpoint,
        }
    }
}

/// When the current table was published.
#[derive(Debug, Default)]
pub(crate) struct Published(AtomicU64);

impl Published {
    /// Now.
    pub(crate) fn set(&self) {
        self.0.store(now().to_bits(), Ordering::Relaxed);
    }

    fn age(&self) -> f64 {
        match f64::from_bits(self.0.load(Ordering::Relaxed)) {
            0.0 => 0.0,
            published => (now() - published).max(0.0),
        }
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

impl Metrics {
    /// Of the format that [`Metrics::encode`] writes.
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    pub(crate) fn new(sources: Sources) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(sources));
        Self { registry }
    }

    /// Writes the whole page.
    pub fn encode(&self, page: &mut impl fmt::Write) -> fmt::Result {
        text::encode(page, &self.registry)
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let table = self.table.load();
        let mut page = Page(encoder);
        self.entry_points(&mut page)?;
        routes(&mut page, &table)?;
        dry_runs(&mut page, &table)?;
        services(&mut page, &table)?;
        limits(&mut page, &table)?;
        self.configuration(&mut page, &table)?;
        if let Some(cluster) = &self.cluster {
            cluster.encode(&mut page)?;
        }
        self.process(&mut page)
    }
}

impl Sources {
    fn entry_points(&self, page: &mut Page<'_>) -> fmt::Result {
        let all = self.counters.entry_points();
        let of = || {
            all.iter()
                .map(|it| (vec![label("entry_point", &it.name)], &**it))
        };

        page.requests(
            "ferrix_entry_point",
            "by the entry point that they came in by",
            of().map(|(labels, counters)| (labels, &counters.requests)),
        )?;
        page.gauges(
            "ferrix_entry_point_open_connections",
            "Client connections that are open",
            of().map(|(labels, it)| (labels, it.open_connections.get() as f64)),
        )?;
        page.counters(
            "ferrix_entry_point_accepted_connections",
            "Client connections that were accepted",
            of().map(|(labels, it)| (labels, it.accepted_connections.get() as f64)),
        )?;
        page.counters(
            "ferrix_entry_point_refused_connections",
            "Client connections closed at once, for a limit or a bad PROXY protocol header",
            of().map(|(labels, it)| (labels, it.refused_connections.get() as f64)),
        )?;
        page.counters(
            "ferrix_entry_point_abusive_connections",
            "HTTP/2 connections ended because of what the client did",
            of().map(|(labels, it)| (labels, it.abusive_connections.get() as f64)),
        )?;
        page.counters(
            "ferrix_entry_point_tls_failures",
            "TLS handshakes with clients that failed",
            of().map(|(labels, it)| (labels, it.tls_failures.get() as f64)),
        )?;
        page.counters(
            "ferrix_entry_point_failures",
            "Requests that ferrix answered itself because no backend could or should",
            of().flat_map(|(labels, it)| {
                Failure::NAMES
                    .iter()
                    .zip(&it.failures)
                    .map(move |(reason, count)| {
                        (with(&labels, "reason", reason), count.get() as f64)
                    })
            }),
        )
    }

    fn configuration(&self, page: &mut Page<'_>, table: &Table) -> fmt::Result {
        page.gauge(
            "ferrix_configuration_generation",
            "Publications of a routing table since the start; 0 before the first",
            table.generation as f64,
        )?;
        page.gauge(
            "ferrix_configuration_age_seconds",
            "Time since the last publication",
            self.published.age(),
        )?;
        page.gauge(
            "ferrix_configuration_problems",
            "Problems in objects, as ferrix check lists them",
            self.reports.borrow().problems().count() as f64,
        )?;
        let failures = *self.failures.borrow();
        page.counter(
            "ferrix_configuration_failures",
            "Bugs that kept a change from being taken in",
            failures.total as f64,
        )?;
        page.gauge(
            "ferrix_configuration_frozen",
            "1 while such a bug keeps what is served from following the objects",
            f64::from(u8::from(failures.in_a_row > 0)),
        )?;
        page.gauge(
            "ferrix_configuration_snapshot",
            "1 while what is served was seen by an earlier process in the pod, as the API server has not listed every kind since the start",
            f64::from(u8::from(self.reports.borrow().snapshot().is_some())),
        )?;
        let lookups = [
            ("found", self.lookups.found()),
            ("empty", self.lookups.empty()),
            ("failed", self.lookups.failed()),
        ];
        page.counters(
            "ferrix_name_lookups",
            "Lookups of names that Services stand for, by what came of them",
            (lookups.into_iter())
                .map(|(result, count)| (vec![label("result", result)], count as f64)),
        )?;
        let fetches = [
            ("fetched", self.key_fetches.fetched()),
            ("failed", self.key_fetches.failed()),
        ];
        page.counters(
            "ferrix_key_fetches",
            "Fetches of keys that tokens are verified with, by what came of them",
            (fetches.into_iter())
                .map(|(result, count)| (vec![label("result", result)], count as f64)),
        )?;
        let mut seen = HashSet::new();
        let certificates: Vec<_> = (table.certificates.entry_points.iter())
            .flat_map(|names| {
                let wildcards = names.wildcard.values().chain(names.below.values());
                names.exact.values().chain(wildcards)
            })
            .chain(&table.certificates.default)
            .filter(|certificate| seen.insert(&*certificate.id))
            .collect();
        page.gauges(
            "ferrix_certificate_expiry_timestamp_seconds",
            "End of validity of the certificates in use, in seconds since 1970",
            (certificates.iter()).map(|it| (vec![label("secret", &it.id)], it.not_after as f64)),
        )
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let dropped = self.access_log.as_ref().map_or(0, Losses::get);
        page.counter(
            "ferrix_access_log_dropped_records",
            "Access log records that were counted instead of written",
            dropped as f64,
        )?;
        page.counter(
            "ferrix_log_lost_lines",
            "Lines of the log that nobody read in time or at all",
            log::lost() as f64,
        )?;
        let limits = [
            ("client", self.connections.clients),
            ("client_address", self.connections.client),
            ("backend", self.connections.backends),
            ("endpoint", self.connections.endpoint),
        ];
        page.gauges(
            "ferrix_connection_limit",
            "Connections that there may be: of clients, of one address of these, to backends, to one endpoint",
            (limits.into_iter())
                .filter(|(_, limit)| *limit > 0)
                .map(|(of, limit)| (vec![label("of", of)], limit as f64)),
        )?;
        page.gauge(
            "ferrix_buffered_bytes",
            "Bytes of bodies that wait for peers that do not take them",
            self.counters.buffered_bytes.get() as f64,
        )?;
        if self.buffered_limit > 0 {
            page.gauge(
                "ferrix_buffered_bytes_limit",
                "Above so many bytes that wait, new requests get 503",
                self.buffered_limit as f64,
            )?;
        }
        let caches = &self.counters.cache;
        let results = [
            ("hit", caches.hits.get()),
            ("miss", caches.misses.get()),
            ("stale", caches.stale.get()),
            ("bypass", caches.bypasses.get()),
        ];
        page.counters(
            "ferrix_cache_requests",
            "Requests that came to a cache, by what it did with them",
            (results.into_iter())
                .map(|(result, count)| (vec![label("result", result)], count as f64)),
        )?;
        if let Some(peers) = &self.peers {
            page.gauge(
                "ferrix_limit_replicas",
                "Replicas that count limits together, this one included",
                peers.count().into(),
            )?;
            page.gauge(
                "ferrix_limit_silent_replicas",
                "Those of them that are not heard, so that this one lets its share pass and no more",
                peers.silent().into(),
            )?;
        }
        page.counter(
            "ferrix_panics",
            "Bugs that cost one connection or stream each",
            self.counters.panics.get() as f64,
        )?;
        page.gauges(
            "ferrix_build_info",
            "Which ferrix this is; always 1",
            [(vec![label("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )?;
        system(page)
    }
}

impl Cluster {
    fn encode(&self, page: &mut Page<'_>) -> fmt::Result {
        let Self { figures, watches } = self;
        page.gauge(
            "ferrix_status_leader",
            "1 where this replica is the one that writes statuses",
            f64::from(u8::from(figures.leads())),
        )?;
        let writes = [("written", figures.written()), ("failed", figures.failed())];
        page.counters(
            "ferrix_status_writes",
            "Statuses that were written, and attempts that failed",
            writes.map(|(result, count)| (vec![label("result", result)], count as f64)),
        )?;
        page.gauge(
            "ferrix_status_others",
            "Objects whose status another installation of the same class has written; known to the leader",
            figures.others() as f64,
        )?;
        page.gauge(
            "ferrix_status_definition_outdated",
            "1 while the cluster's definition of a kind has no place for all of a status; known to the leader",
            f64::from(u8::from(figures.is_definition_outdated())),
        )?;
        page.gauge(
            "ferrix_snapshot_bytes",
            "Size of the snapshot for the next process in the pod; 0: there is none",
            figures.snapshot_bytes() as f64,
        )?;
        let watches = watches.list();
        page.gauges(
            "ferrix_watch_age_seconds",
            "Time since the API server was heard last, watch by watch",
            watches.iter().filter_map(|watch| {
                let namespace = watch.namespace.as_deref().unwrap_or_default();
                let labels = vec![label("kind", watch.kind), label("namespace", namespace)];
                Some((labels, watch.age_seconds?))
            }),
        )
    }
}

fn routes(page: &mut Page<'_>, table: &Table) -> fmt::Result {
    let mut seen = HashSet::new();
    let routes: Vec<&Route> = (table.rules.iter())
        .map(|rule| &*rule.route)
        .filter(|route| seen.insert(&route.key))
        .filter(|route| active(&route.state.requests))
        .collect();
    page.requests(
        "ferrix_route",
        "by the route that took them",
        routes.iter().map(|route| {
            let labels = vec![
                label("kind", route.key.kind.as_str()),
                label("namespace", &route.key.namespace),
                label("name", &route.key.name),
            ];
            (labels, &route.state.requests)
        }),
    )
}

/// What rules would have served that serve nothing.
fn dry_runs(page: &mut Page<'_>, table: &Table) -> fmt::Result {
    let mut seen = HashSet::new();
    let all = (table.rules.iter()).filter_map(|rule| rule.dry_run.as_deref());
    page.counters(
        "ferrix_route_dry_run_requests",
        "Requests that a rule would have served, but for its dry run",
        all.filter(|it| seen.insert(it.id())).map(|it| {
            let labels = vec![
                label("kind", it.id().object.kind.as_str()),
                label("namespace", &it.id().object.namespace),
                label("name", &it.id().object.name),
                label("rule", &it.id().place),
            ];
            (labels, it.get().get() as f64)
        }),
    )
}

/// Limits that have found requests to be too many.
fn limits(page: &mut Page<'_>, table: &Table) -> fmt::Result {
    let mut seen = HashSet::new();
    let all: Vec<Refusals<'_>> = (table.rules.iter())
        .flat_map(Rule::filters)
        .filter_map(Filter::refusals)
        .filter(|it| it.refused + it.would_refuse > 0 && seen.insert(it.id))
        .collect();
    let of = |count: fn(&Refusals<'_>) -> u64| {
        let counted = all.iter().filter(move |it| count(it) > 0);
        counted.map(move |it| {
            let labels = vec![
                label("kind", it.id.object.kind.as_str()),
                label("namespace", &it.id.object.namespace),
                label("name", &it.id.object.name),
                label("filter", &it.id.place),
            ];
            (labels, count(it) as f64)
        })
    };
    page.counters(
        "ferrix_limit_refused_requests",
        "Requests that were too many for a filter",
        of(|it| it.refused),
    )?;
    page.counters(
        "ferrix_limit_dry_run_requests",
        "Requests that would have been too many for a filter, but for its dry run",
        of(|it| it.would_refuse),
    )
}

fn services(page: &mut Page<'_>, table: &Table) -> fmt::Result {
    let mut seen = HashSet::new();
    let all: Vec<_> = (table.services.iter())
        .filter(|service| seen.insert(&service.id))
        .map(|service| (service_labels(&service.id), service))
        .collect();
    let of = || {
        all.iter()
            .map(|(labels, service)| (labels.clone(), *service))
    };
    let busy = || of().filter(|(_, service)| active(&service.state.requests));

    page.requests(
        "ferrix_service",
        "by the service that they went to",
        busy().map(|(labels, service)| (labels, &service.state.requests)),
    )?;
    page.counters(
        "ferrix_service_retries",
        "Attempts after the first",
        busy().map(|(labels, service)| (labels, service.state.retries.get() as f64)),
    )?;
    page.counters(
        "ferrix_service_connect_failures",
        "Connections to endpoints that could not be made",
        busy().map(|(labels, service)| (labels, service.state.connect_failures.get() as f64)),
    )?;
    page.counters(
        "ferrix_service_odd_responses",
        "Responses with a control character in a field, or an impossible name",
        busy().map(|(labels, service)| (labels, service.state.odd_responses.get() as f64)),
    )?;
    page.gauges(
        "ferrix_service_requests_in_flight",
        "Requests that endpoints are working on",
        busy().map(|(labels, service)| {
            let in_flight = service.endpoints.iter().map(|it| it.state.in_flight.get());
            (labels, in_flight.sum::<i64>() as f64)
        }),
    )?;
    page.gauges(
        "ferrix_service_failing_endpoints",
        "Endpoints that get no requests while others can be connected to",
        busy().map(|(labels, service)| {
            let failing = service.endpoints.iter().filter(|it| it.is_failing());
            (labels, failing.count() as f64)
        }),
    )?;
    of_policies(page, &all)?;
    page.gauges(
        "ferrix_service_endpoints",
        "Endpoints that take requests; 0: the service answers 503",
        of().map(|(labels, service)| (labels, service.endpoints.len() as f64)),
    )
}

/// What policies of services come to.
fn of_policies(page: &mut Page<'_>, all: &[(Labels<'_>, &Arc<Service>)]) -> fmt::Result {
    let of = || {
        let with_policy = all.iter().filter(|(_, it)| it.policy.is_some());
        with_policy.map(|(labels, service)| (labels.clone(), *service))
    };
    let counted = || {
        all.iter()
            .filter_map(|(labels, it)| Some((labels.clone(), &it.policy.as_ref()?.state)))
    };
    page.counters(
        "ferrix_service_ejections",
        "Times that an endpoint was left out for how it answered",
        counted().map(|(labels, state)| (labels, state.ejections.get() as f64)),
    )?;
    page.gauges(
        "ferrix_service_ejected_endpoints",
        "Endpoints that are left out for how they have answered",
        of().map(|(labels, service)| (labels, service.ejected().count() as f64)),
    )?;
    page.gauges(
        "ferrix_service_unhealthy_endpoints",
        "Endpoints that do not pass their checks",
        of().map(|(labels, service)| (labels, service.unhealthy().count() as f64)),
    )?;
    page.gauges(
        "ferrix_service_starting_endpoints",
        "Endpoints that come to their share by and by",
        of().map(|(labels, service)| (labels, service.starting().count() as f64)),
    )?;
    page.counters(
        "ferrix_service_requests_refused",
        "Requests that got 503, as too many were under way",
        counted().map(|(labels, state)| (labels, state.refused.get() as f64)),
    )?;
    page.gauges(
        "ferrix_service_requests_waiting",
        "Requests that wait until fewer are under way",
        counted().map(|(labels, state)| {
            let queue = state.queue.get();
            (labels, queue.map_or(0, |queue| queue.waiting()) as f64)
        }),
    )
}

fn service_labels(id: &ServiceId) -> Labels<'_> {
    vec![
        label("namespace", &id.service.namespace),
        label("name", &id.service.name),
        ("port", Cow::Owned(id.port.to_string())),
        label("scheme", id.scheme.as_str()),
    ]
}

fn active(requests: &RequestCounts) -> bool {
    requests.classes().iter().any(|count| *count > 0)
}

/// Numbers of the process, under the names that all exporters use for them.
#[cfg(target_os = "linux")]
fn system(page: &mut Page<'_>) -> fmt::Result {
    use procfs::{WithCurrentSystemInfo as _, process::Process};

    // A number that this process may not read is left out.
    let Ok(process) = Process::myself() else {
        return Ok(());
    };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        page.counter(
            "process_cpu_seconds",
            "Processor time used",
            (stat.utime + stat.stime) as f64 / ticks,
        )?;
        page.gauge(
            "process_resident_memory_bytes",
            "Memory in use",
            stat.rss_bytes().get() as f64,
        )?;
        page.gauge("process_threads", "Threads", stat.num_threads as f64)?;
        if let Ok(boot) = procfs::boot_time_secs() {
            page.gauge(
                "process_start_time_seconds",
                "Start of the process, in seconds since 1970",
                boot as f64 + stat.starttime as f64 / ticks,
            )?;
        }
    }
    if let Ok(count) = process.fd_count() {
        page.gauge("process_open_fds", "File descriptors in use", count as f64)?;
    }
    if let Ok(limits) = process.limits()
        && let procfs::process::LimitValue::Value(limit) = limits.max_open_files.soft_limit
    {
        page.gauge("process_max_fds", "File descriptors allowed", limit as f64)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn system(_page: &mut Page<'_>) -> fmt::Result {
    Ok(())
}

type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

fn label<'a>(key: &'static str, value: &'a str) -> (&'static str, Cow<'a, str>) {
    (key, Cow::Borrowed(value))
}

fn with<'a>(labels: &Labels<'a>, key: &'static str, value: &'a str) -> Labels<'a> {
    let mut labels = labels.clone();
    labels.push(label(key, value));
    labels
}

/// The page that is being written, one family of metrics after another.
struct Page<'p>(DescriptorEncoder<'p>);

impl Page<'_> {
    fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (labels, value) in series {
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    /// The four families of requests.
    fn requests<'a>(
        &mut self,
        prefix: &str,
        how: &str,
        series: impl Iterator<Item = (Labels<'a>, &'a RequestCounts)>,
    ) -> fmt::Result {
        const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let series: Vec<_> = series.collect();
        self.counters(
            &format!("{prefix}_requests"),
            &format!("Requests {how}, and class of the answer"),
            series.iter().flat_map(|(labels, requests)| {
                let classes = CLASSES.iter().zip(requests.classes());
                classes.map(|(class, count)| (with(labels, "class", class), count as f64))
            }),
        )?;
        let name = format!("{prefix}_request_duration_seconds");
        let help = format!("Time from the first byte of requests to the last of answers, {how}");
        let mut family = self.family(&name, &help, MetricType::Histogram)?;
        for (labels, requests) in &series {
            let (counts, sum) = requests.durations();
            let bounds = DURATION_BUCKETS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts).collect();
            let mut metric = family.encode_family(labels)?;
            metric.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)?;
        }
        self.counters(
            &format!("{prefix}_received_bytes"),
            &format!("Bytes of request bodies from clients, {how}"),
            (series.iter()).map(|(labels, it)| (labels.clone(), it.received_bytes() as f64)),
        )?;
        self.counters(
            &format!("{prefix}_sent_bytes"),
            &format!("Bytes of response bodies to clients, {how}"),
            series
                .iter()
                .map(|(labels, it)| (labels.clone(), it.sent_bytes() as f64)),
        )
    }

    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

#[cfg(test)]
mod tests;
