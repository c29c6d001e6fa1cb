//! The table as a document, for the admin endpoint and for tests.
//!
//! The view borrows from the table. It holds no key and no certificate. Two equal tables give equal
//! documents, but for the endpoints that connections fail to, that start slowly or
//! that are left out.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use crate::{
    Table,
    certificates::{Certificate, ServerNames},
    filters::Reference,
    ids::{EntryPointIndex, ServiceIndex},
    rules::{Action, Destination, HostPattern, Rule},
    services::Service,
    table::EntryPoint,
    weight::Weight,
};

/// A whole table. Its long lists are made while they are written: those of 10,000 routes are megabytes.
#[derive(Debug, Serialize)]
pub struct Dump<'t> {
    /// Of the publication.
    pub generation: u64,
    /// In the order of the settings.
    pub entry_points: Vec<EntryPointView<'t>>,
    /// In the total order: the first that matches serves.
    pub rules: RuleViews<'t>,
    /// In the order of their names.
    pub services: ServiceViews<'t>,
    /// By entry point, then by name.
    pub certificates: Vec<CertificateView<'t>>,
}

/// Where requests or connections come in.
#[derive(Debug, Serialize)]
pub struct EntryPointView<'t> {
    /// As routes name it.
    pub name: &'t str,
    /// See [`Protocol::as_str`](crate::sockets::Protocol::as_str).
    pub protocol: &'static str,
    /// As that of a rule: which requests of its socket come to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Each rule as a [`RuleView`].
#[derive(Debug)]
pub struct RuleViews<'t>(&'t Table);

/// Each service as a [`ServiceView`].
#[derive(Debug)]
pub struct ServiceViews<'t>(Vec<&'t Service>);

/// A rule.
#[derive(Debug, Serialize)]
pub struct RuleView<'t> {
    /// `KIND NAMESPACE/NAME` of its object.
    pub route: String,
    /// `metadata.generation` of the version that serves.
    pub route_generation: i64,
    /// Its place in the object's list, from 0.
    pub position: u32,
    /// `example.com`, `*.example.com`, `**.example.com` for one label or more, or none for any
    /// host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its expression, or none for every request of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<&'t str>,
    /// Its `priority`, the higher wins; or its `specificity`, of which any priority comes first.
    #[serde(flatten)]
    pub weight: Weight,
    /// By name.
    pub entry_points: Vec<&'t str>,
    /// Whether it serves nothing, and what it would serve is only counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What it does.
    pub action: ActionView<'t>,
    /// What it asks for beyond that, in words, in the order in which it happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<String>,
}

/// What a rule does with a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionView<'t> {
    /// Forwards it to one of these.
    Forward(Vec<ShareView<'t>>),
    /// Nothing: a filter answers every request.
    Answered,
    /// Answers 503: no service has a weight.
    Unavailable,
    /// Answers 500, for this reason.
    Unresolved(&'t str),
}

/// A destination of a rule.
#[derive(Debug, Serialize)]
pub struct ShareView<'t> {
    /// Where it goes.
    #[serde(flatten)]
    pub destination: DestinationView<'t>,
    /// Its share of the sum of the weights.
    pub weight: u64,
    /// What happens to it alone, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
}

/// Where a share of a rule's requests goes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationView<'t> {
    /// To this one: `NAMESPACE/NAME:PORT`.
    Service(String),
    /// Nowhere, but to an answer of 500, for this reason.
    Unresolved(&'t str),
}

/// A service.
#[derive(Debug, Serialize)]
pub struct ServiceView<'t> {
    /// `NAMESPACE/NAME:PORT`.
    pub service: String,
    /// See [`Scheme::as_str`](crate::services::Scheme::as_str).
    pub scheme: &'static str,
    /// What certificates of its endpoints must be valid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<&'t str>,
    /// Empty: 503.
    pub endpoints: Vec<SocketAddr>,
    /// Its BackendPolicy: `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What that asks for, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
    /// Those of them that are in the zone of this replica, where that matters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<SocketAddr>,
    /// So many requests of a thousand stay with those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stays: Option<u16>,
    /// Those of them that get no requests as long as others can be connected to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingView>,
    /// Those that come to their share by and by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub starting: Vec<SocketAddr>,
    /// Those that are left out for how they have answered, unless too few are left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ejected: Vec<SocketAddr>,
    /// Those that do not pass their checks, in the same way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unhealthy: Vec<SocketAddr>,
}

/// An endpoint that connections fail to.
#[derive(Debug, Serialize)]
pub struct FailingView {
    /// Its address.
    pub endpoint: SocketAddr,
    /// See [`Backoff::failures`](crate::backoff::Backoff::failures).
    pub failures: u16,
}

/// A certificate in one of its places.
#[derive(Debug, Serialize)]
pub struct CertificateView<'t> {
    /// Where it is presented; none for the default of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<&'t str>,
    /// For which server name; none for all that have no certificate of their own there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `NAMESPACE/NAME` of its Secret, or `default`.
    pub id: &'t str,
    /// End of validity in seconds since 1970.
    pub not_after: i64,
}

impl Table {
    /// A view to serialise.
    pub fn dump(&self) -> Dump<'_> {
        Dump {
            generation: self.generation,
            entry_points: in_order(self)
                .into_iter()
                .map(|(_, it)| EntryPointView::new(it))
                .collect(),
            rules: RuleViews(self),
            services: ServiceViews::new(self),
            certificates: certificates(self),
        }
    }
}

impl<'t> EntryPointView<'t> {
    fn new(entry_point: &'t EntryPoint) -> Self {
        EntryPointView {
            name: &entry_point.name,
            protocol: entry_point.protocol.as_str(),
            host: host(&entry_point.host),
        }
    }
}

impl Serialize for RuleViews<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(table) = self;
        let mut rules: Vec<&Rule> = table.rules.iter().collect();
        // One rule that asks for different things at different entry points is several, and indices of
        // listeners tell what came and went before.
        for several in rules.chunk_by_mut(|one, other| one.is_written_with(other)) {
            several.sort_by_cached_key(|rule| (table.entry_point_places(rule), rule.text()));
        }
        serializer.collect_seq(rules.into_iter().map(|rule| RuleView::new(table, rule)))
    }
}

impl<'t> ServiceViews<'t> {
    fn new(table: &'t Table) -> Self {
        let mut services: Vec<_> = table.services.iter().map(|service| &**service).collect();
        // Their places tell what came and went before.
        services.sort_by_key(|service| (&service.id, server_name(service)));
        Self(services)
    }
}

impl Serialize for ServiceViews<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|service| ServiceView::new(service)))
    }
}

impl<'t> RuleView<'t> {
    fn new(table: &'t Table, rule: &'t Rule) -> Self {
        RuleView {
            route: rule.route.to_string(),
            route_generation: rule.route.generation,
            position: rule.position,
            host: host(&rule.host),
            matches: rule.text(),
            weight: rule.weight,
            entry_points: table.entry_point_names(rule).collect(),
            dry_run: rule.is_dry_run(),
            action: ActionView::new(table, &rule.action),
            policy: table.policy_lines(rule),
        }
    }
}

/// Entry points of the settings in their order, then those of listeners by name: their indices tell what
/// came and went before.
fn in_order(table: &Table) -> Vec<(EntryPointIndex, &EntryPoint)> {
    let mut all: Vec<_> = (table.entry_points.iter())
        .map(|(index, it)| (index, &**it))
        .collect();
    // Names of settings hold no space.
    all.sort_by_key(|(_, it)| it.name.contains(' ').then_some(&*it.name));
    all
}

/// `None`: any.
fn host(pattern: &HostPattern) -> Option<String> {
    (*pattern != HostPattern::Any).then(|| pattern.to_string())
}

impl<'t> ActionView<'t> {
    fn new(table: &'t Table, action: &'t Action) -> Self {
        match action {
            Action::Forward(split) => {
                let share = |(destination, weight)| ShareView {
                    destination: DestinationView::new(table, destination),
                    weight,
                    filters: table.filter_lines(destination),
                };
                ActionView::Forward(split.weights().map(share).collect())
            }
            Action::Answered => ActionView::Answered,
            Action::Unavailable => ActionView::Unavailable,
            Action::Unresolved(reason) => ActionView::Unresolved(reason),
        }
    }
}

impl<'t> DestinationView<'t> {
    fn new(table: &Table, destination: &'t Destination) -> Self {
        match &destination.service {
            Ok(service) => Self::Service(service_name(table, *service)),
            Err(reason) => Self::Unresolved(reason),
        }
    }
}

impl Table {
    /// What a rule asks for beyond forwarding: for a person, in the order in which it happens.
    pub fn policy_lines(&self, rule: &Rule) -> Vec<String> {
        let policy = rule.policy.as_ref();
        let named = policy.map(|it| it.with_services(|it| reference_name(self, it)));
        named.map_or_else(Vec::new, |policy| policy.lines())
    }

    /// The filters of a share of requests, in the same way.
    pub fn filter_lines(&self, destination: &Destination) -> Vec<String> {
        let filters = destination
            .filters
            .iter()
            .flat_map(|filters| filters.iter());
        let named = filters.map(|it| it.with_service(|it| reference_name(self, it)));
        named.map(|filter| filter.to_string()).collect()
    }
}

fn reference_name(table: &Table, reference: &Reference) -> String {
    match reference {
        Ok(index) => service_name(table, *index),
        Err(reason) => format!("nobody: {reason}"),
    }
}

fn service_name(table: &Table, index: ServiceIndex) -> String {
    match table.service(index) {
        Some(service) => service.id.to_string(),
        None => format!("unknown service {index}"),
    }
}

impl<'t> ServiceView<'t> {
    fn new(service: &'t Service) -> Self {
        let near = service.policy.as_ref().and_then(|it| it.near);
        let count = near.map_or(0, |near| near.endpoints as usize);
        ServiceView {
            service: service.id.to_string(),
            scheme: service.id.scheme.as_str(),
            server_name: server_name(service),
            endpoints: service.endpoints.iter().map(|it| it.address).collect(),
            policy: service.policy.as_ref().map(|it| it.name.to_string()),
            asks: (service.policy.as_ref()).map_or_else(Vec::new, |it| it.lines()),
            near: (service.endpoints.iter().take(count))
                .map(|it| it.address)
                .collect(),
            stays: near.map(|near| near.per_mille),
            failing: FailingView::of(service),
            starting: service.starting().map(|it| it.address).collect(),
            ejected: service.ejected().map(|it| it.address).collect(),
            unhealthy: service.unhealthy().map(|it| it.address).collect(),
        }
    }
}

impl FailingView {
    fn of(service: &Service) -> Vec<Self> {
        let failing = service.endpoints.iter().filter(|it| it.is_failing());
        failing
            .map(|it| Self {
                endpoint: it.address,
                failures: it.state.backoff.failures(),
            })
            .collect()
    }
}

fn server_name(service: &Service) -> Option<&str> {
    service.protocol.server_name()
}

fn certificates(table: &Table) -> Vec<CertificateView<'_>> {
    let mut views = Vec::new();
    for (index, entry_point) in in_order(table) {
        let Some(names) = table.certificates.entry_points.get(usize::from(index)) else {
            continue;
        };
        let first = views.len();
        views.extend(
            server_names(names).map(|(name, certificate)| CertificateView {
                entry_point: Some(&entry_point.name),
                name,
                ..CertificateView::new(certificate)
            }),
        );
        // The maps have no order of their own.
        views[first..].sort_by(|one, other| one.name.cmp(&other.name));
    }
    views.extend(
        table
            .certificates
            .default
            .as_deref()
            .map(CertificateView::new),
    );
    views
}

fn server_names(names: &ServerNames) -> impl Iterator<Item = (Option<String>, &Certificate)> {
    let exact = names
        .exact
        .iter()
        .map(|(name, it)| (Some(name.to_string()), &**it));
    let wildcard = names
        .wildcard
        .iter()
        .map(|(suffix, it)| (Some(format!("*.{suffix}")), &**it));
    let below = names
        .below
        .iter()
        .map(|(suffix, it)| (Some(format!("**.{suffix}")), &**it));
    let any = names.any.iter().map(|it| (None, &**it));
    exact.chain(wildcard).chain(below).chain(any)
}

impl<'t> CertificateView<'t> {
    fn new(certificate: &'t Certificate) -> Self {
        CertificateView {
            entry_point: None,
            name: None,
            id: &certificate.id,
            not_after: certificate.not_after,
        }
    }
}

#[cfg(test)]
mod tests;
