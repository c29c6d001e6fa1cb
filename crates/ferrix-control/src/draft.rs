//! A draft: what one version of an object that makes rules asks for, whatever its kind.
//!
//! Each kind's file makes one from the object alone, once per version. Whether the object is good is
//! known then; what it names is looked for later, whenever any of that changes: see `resolve`.

use std::sync::Arc;

use ferrix_api::{backendpolicy::BackendPolicySpec, gateway::ParentReference, ingressroute::Port};
use ferrix_table::{
    backend_policy::BackendPolicy,
    filters::Filter,
    policy::Policy,
    rules::{HostPattern, Route},
    services::Scheme,
    weight::Weight,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    field::Field,
    names::shared_name,
    objects::{self, Key, Kind, ObjectName, Origin},
    rare::Rare,
    report::{Finding, Reason},
    settings::DEFAULT_CLASS,
    supply::Supply,
};

/// One version of an object that makes rules, compiled by itself. Of the object nothing else is kept.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What the table knows of it. Made once, so that unchanged routes share it.
    pub(crate) route: Arc<Route>,
    pub(crate) origin: Origin,
    /// Which installation it is for.
    pub(crate) class: ClassReference,
    pub(crate) entry_points: EntryPointNames,
    /// Every host that it is for. None where what it says of them is wrong: nothing of this version
    /// can be served.
    pub(crate) hosts: Hosts,
    /// Where it says so.
    pub(crate) host_field: &'static str,
    /// Those of its rules that are good, in its order.
    pub(crate) rules: Box<[DraftRule]>,
    /// The Services that the other rules name: looked for to tell of those that are missing.
    pub(crate) unserved: Rare<BackendReference>,
    /// The certificates that it wants to be presented. Any: it is meant for secure entry points.
    pub(crate) certificates: Rare<CertificateReference>,
    /// What is wrong with it by itself. None: it is good.
    pub(crate) faults: Rare<Finding>,
    /// What else there is to say about it by itself.
    pub(crate) notes: Rare<Finding>,
}

/// How an object says which installation it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClassReference {
    /// By a mere name.
    Name(Option<Arc<str>>),
    /// By that of an IngressClass.
    IngressClass(Option<Arc<str>>),
    /// By its parents, of which it has in [`EntryPointNames::Parents`].
    Parents,
}

/// Hosts that rules or certificates share.
pub(crate) type Hosts = Arc<[HostPattern]>;

/// Names of entry points, and where they stand.
pub(crate) type NamedEntryPoints = Arc<[(Field, Arc<str>)]>;

/// The entry points that an object names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryPointNames {
    /// None: those that fit.
    Fitting,
    /// None: all, secure ones as far as there is a certificate to present.
    All,
    /// These; none where it says what contradicts itself, and is not good. Shared, as most objects name
    /// the same.
    Named(NamedEntryPoints),
    /// Those of listeners.
    Parents(Parents),
    /// Of a Filter: those of what it attaches itself to, if anything.
    Targets(Box<Attachment>),
    /// Of a BackendPolicy: none, as it is in force wherever requests of its Services come from.
    Services(Box<ServicePolicy>),
}

/// The Gateways and ListenerSets whose listeners, or some of them, are an object's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parents {
    pub(crate) named: Box<[ParentReference]>,
    /// Whether it asks for default Gateways besides (`useDefaultGateways`).
    pub(crate) defaults: bool,
}

/// What a BackendPolicy says, and of which Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePolicy {
    /// As it is written.
    pub(crate) spec: BackendPolicySpec,
    pub(crate) targets: Box<[ServiceTarget]>,
    pub(crate) policy: Arc<BackendPolicy>,
    /// What `policy` has to be given of other objects.
    pub(crate) named: Option<Box<NamedByTls>>,
}

/// A Service that a BackendPolicy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceTarget {
    /// Where it is named.
    pub(crate) field: Field,
    pub(crate) service: ObjectName,
    /// The name of one of its ports; `None`: all of them.
    pub(crate) port: Option<Arc<str>>,
}

/// The objects by which a `BackendPolicy` says how endpoints are known over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedByTls {
    /// ConfigMaps and Secrets with authorities, and where they are named.
    pub(crate) authorities: Box<[(Field, Key)]>,
    /// The Secret with the certificate that is presented.
    pub(crate) client: Option<ObjectName>,
}

/// How a Filter attaches itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// To what, and where that is said.
    pub(crate) targets: Box<[(Field, Target)]>,
    /// Whether rules of other namespaces may exempt themselves.
    pub(crate) optional: bool,
}

/// Something that Filters attach themselves to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// An entry point of the settings.
    EntryPoint(Arc<str>),
    /// A Gateway or a ListenerSet, or one listener of it.
    Parent(Key, Option<Arc<str>>),
    /// All routes of a namespace.
    Namespace(Arc<str>),
    /// A route.
    Route(Key),
}

/// A rule of a draft.
#[derive(Debug)]
pub(crate) struct DraftRule {
    pub(crate) field: Field,
    /// Its place among the rules of the object, good or not. Ascending.
    pub(crate) position: u32,
    pub(crate) hosts: Hosts,
    pub(crate) matches: Option<ferrix_rule::Rule>,
    pub(crate) weight: Weight,
    /// The Services that share its requests.
    pub(crate) backends: Box<[BackendReference]>,
    /// Shares of its requests that no Service can have, whatever there is. Of kinds of the Gateway API.
    pub(crate) lost: Rare<LostShare>,
    /// What it asks for beyond forwarding.
    pub(crate) policy: Option<Arc<DraftPolicy>>,
    /// Whether it serves nothing, and is only counted.
    pub(crate) dry_run: bool,
}

/// What a rule asks for beyond forwarding, with the Filters that it names by their names.
pub(crate) type DraftPolicy = Policy<DraftFilters>;

/// Filters of a rule, and where they stand: in the field of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DraftFilters {
    /// Those that are written there.
    Own(Field, Arc<[Filter<DraftService>]>),
    /// All of a Filter that is named there.
    Named(FilterReference),
    /// None of a Filter that is attached, as far as that may be.
    Without(FilterReference),
}

/// A Filter that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilterReference {
    pub(crate) field: Field,
    pub(crate) filter: ObjectName,
}

/// What a reference means by itself: a Service, or why it can be none.
pub(crate) type DraftService = Result<BackendReference, Finding>;

/// What a reference of the Gateway API names.
pub(crate) struct Named<'r> {
    pub(crate) group: &'r str,
    pub(crate) kind: &'r str,
    pub(crate) namespace: Option<&'r str>,
    pub(crate) name: &'r str,
    pub(crate) port: Option<u16>,
}

impl Named<'_> {
    /// What it means by itself in an object of a namespace: a Service, spoken to as that says.
    /// `wrong_kind`: what the author is told of a reference to something else.
    pub(crate) fn service(
        &self,
        field: Field,
        own_namespace: &str,
        wrong_kind: impl FnOnce(&Self) -> String,
    ) -> DraftService {
        if !matches!((self.group, self.kind), ("" | "core", "Service")) {
            let field = format!("{field}.kind");
            let message = wrong_kind(self);
            return Err(Finding::problem(Reason::InvalidKind, field, message));
        }
        let Some(port) = self.port else {
            let field = format!("{field}.port");
            let message = "expected the number of a port of the Service";
            return Err(Finding::problem(Reason::PortNotFound, field, message));
        };
        Ok(BackendReference {
            field,
            service: shared_name(self.namespace.unwrap_or(own_namespace), self.name),
            weight: None,
            port: Port::Number(port),
            scheme: None,
            default_scheme: None,
            server_name: None,
            filters: None,
        })
    }
}

/// A share of requests whose reference is none to a Service: these requests get 500.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostShare {
    pub(crate) finding: Finding,
    pub(crate) weight: u32,
}

/// What a rule says of a Service that it forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendReference {
    pub(crate) field: Field,
    pub(crate) service: ObjectName,
    /// `None`: 1.
    pub(crate) weight: Option<u32>,
    pub(crate) port: Port,
    /// `None`: as the Service says.
    pub(crate) scheme: Option<Scheme>,
    /// Where neither this nor `appProtocol` of the Service says anything. `None`: what number and name of
    /// the port suggest.
    pub(crate) default_scheme: Option<Scheme>,
    /// `None`: the name of the Service.
    pub(crate) server_name: Option<Box<str>>,
    /// What happens to its share of the requests alone.
    pub(crate) filters: Option<Arc<Box<[Filter<DraftService>]>>>,
}

/// A certificate, and the hosts that it is to be presented for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateReference {
    pub(crate) field: Field,
    pub(crate) secret: ObjectName,
    pub(crate) hosts: Hosts,
}

/// Reads a host of one label for a wildcard; an error is a sentence for the author.
pub(crate) fn host(host: &str) -> Result<HostPattern, String> {
    HostPattern::parse(host).map_err(|error| {
        format!("`{host}` is no host: {error}; expected such as `example.com` or `*.example.com`")
    })
}

/// What the table knows of an object. One without a namespace is in `default`.
pub(crate) fn route(kind: Kind, metadata: &ObjectMeta) -> Arc<Route> {
    let namespace = match kind.is_namespaced() {
        true => metadata.namespace.as_deref().unwrap_or("default"),
        false => "",
    };
    let name = metadata.name.as_deref().unwrap_or_default();
    let created = metadata.creation_timestamp.as_ref();
    Arc::new(Route {
        key: objects::key(kind, namespace, name),
        generation: metadata.generation.unwrap_or_default(),
        created: created.map(|time| time.0.as_second()),
        state: Arc::default(),
    })
}

impl Draft {
    /// The draft of an object that was never decoded: it asks for nothing.
    pub(crate) fn undecodable(key: &Key, origin: Origin) -> Self {
        Self {
            route: Arc::new(Route {
                key: key.clone(),
                generation: 0,
                created: None,
                state: Arc::default(),
            }),
            origin,
            class: ClassReference::Name(None),
            entry_points: EntryPointNames::Fitting,
            hosts: Hosts::default(),
            host_field: "spec",
            rules: Box::default(),
            unserved: Rare::default(),
            certificates: Rare::default(),
            faults: Rare::default(),
            notes: Rare::default(),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.route.key
    }

    /// `metadata.generation`, which begins at 1.
    pub(crate) fn generation(&self) -> Option<i64> {
        Some(self.route.generation).filter(|it| *it != 0)
    }

    /// Whether it is good by itself.
    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether it is not, and some of its rules are.
    pub(crate) fn is_good_in_part(&self) -> bool {
        !self.is_good() && !self.hosts.is_empty() && !self.rules.is_empty()
    }

    /// Whether it is meant for secure entry points.
    pub(crate) fn wants_tls(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Every Service that it names, in its order, some perhaps more than once.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        let backends = self.rules.iter().flat_map(DraftRule::all_backends);
        let backends = backends.chain(&self.unserved);
        backends.map(|backend| &backend.service)
    }

    /// Every Secret that it names for a certificate, in its order, some perhaps more than once.
    pub(crate) fn certificate_secrets(&self) -> impl Iterator<Item = &ObjectName> {
        self.certificates.iter().map(|it| &it.secret)
    }

    /// Every Secret that its filters name, in its order, some perhaps more than once.
    pub(crate) fn secrets_of_filters(&self) -> impl Iterator<Item = &ObjectName> {
        let filters = self.rules.iter().flat_map(DraftRule::all_filters);
        filters.filter_map(Filter::secret)
    }

    /// Where its filters have keys and authorities from, besides Secrets, in its order, some perhaps more than
    /// once.
    pub(crate) fn supplies(&self) -> impl Iterator<Item = Supply> {
        let filters = self.rules.iter().flat_map(DraftRule::all_filters);
        filters.filter_map(Supply::of)
    }

    /// The objects by which a BackendPolicy says how endpoints are known over TLS.
    pub(crate) fn named_by_tls(&self) -> Option<&NamedByTls> {
        match &self.entry_points {
            EntryPointNames::Services(policy) => policy.named.as_deref(),
            _ => None,
        }
    }

    /// The field of the rule at a position.
    pub(crate) fn field_of(&self, position: u32) -> Option<Field> {
        let rules = &self.rules;
        let place = rules.binary_search_by_key(&position, |rule| rule.position);
        Some(rules[place.ok()?].field)
    }

    /// Whether another version of the same object says the same.
    pub(crate) fn same(&self, other: &Draft) -> bool {
        self.origin == other.origin
            && self.generation() == other.generation()
            && self.route.created == other.route.created
            && self.class == other.class
            && self.entry_points == other.entry_points
            && self.hosts == other.hosts
            && self.host_field == other.host_field
            && self.certificates == other.certificates
            && self.unserved == other.unserved
            && self.faults == other.faults
            && self.notes == other.notes
            && self.rules.len() == other.rules.len()
            && (self.rules.iter().zip(&other.rules)).all(|(one, other)| one.same(other))
    }

    /// Whether it may serve in place of a later version: that is one of the same object, not of one that
    /// was made anew, and it is for the same installation.
    fn stands_in_for(&self, later: &Draft) -> bool {
        self.route.created == later.route.created && self.class.means(&later.class)
    }
}

impl ClassReference {
    /// Whether another says the same.
    fn means(&self, other: &Self) -> bool {
        let name = |class: &Option<Arc<str>>| class.clone().unwrap_or_else(|| DEFAULT_CLASS.into());
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => name(one) == name(other),
            (one, other) => one == other,
        }
    }
}

impl DraftFilters {
    /// Where they stand.
    pub(crate) fn field(&self) -> Field {
        match self {
            Self::Own(field, _) => *field,
            Self::Named(reference) | Self::Without(reference) => reference.field,
        }
    }

    /// The filters that are written there.
    pub(crate) fn own(&self) -> Option<&Arc<[Filter<DraftService>]>> {
        match self {
            Self::Own(_, filters) => Some(filters),
            Self::Named(_) | Self::Without(_) => None,
        }
    }

    /// The Filter that is named there.
    pub(crate) fn named(&self) -> Option<&FilterReference> {
        match self {
            Self::Named(reference) => Some(reference),
            Self::Own(..) | Self::Without(_) => None,
        }
    }
}

/// The filters that are written in an object itself.
pub(crate) fn own_filters(policy: &DraftPolicy) -> impl Iterator<Item = &Filter<DraftService>> {
    let own = policy.lists.iter().filter_map(DraftFilters::own);
    own.flat_map(|filters| filters.iter())
}

impl DraftRule {
    /// The Filters that it would be without.
    pub(crate) fn without(&self) -> impl Iterator<Item = &FilterReference> {
        let lists = self.policy.iter().flat_map(|policy| &policy.lists);
        lists.filter_map(|list| match list {
            DraftFilters::Without(reference) => Some(reference),
            DraftFilters::Own(..) | DraftFilters::Named(_) => None,
        })
    }

    /// The Filters that it names.
    pub(crate) fn named_filters(&self) -> impl Iterator<Item = &FilterReference> {
        let lists = self.policy.iter().flat_map(|policy| &policy.lists);
        lists.filter_map(DraftFilters::named)
    }

    /// The filters that are written in it, and those of its shares.
    fn all_filters(&self) -> impl Iterator<Item = &Filter<DraftService>> {
        let policies = self.policy.iter().flat_map(|policy| own_filters(policy));
        let of_backends = self.backends.iter().flat_map(|it| it.filters.iter());
        policies.chain(of_backends.flat_map(|filters| filters.iter()))
    }

    /// The Services that share its requests, and those that its filters name.
    fn all_backends(&self) -> impl Iterator<Item = &BackendReference> {
        let filters = self.all_filters();
        let named = filters.filter_map(|filter| filter.service()?.as_ref().ok());
        self.backends.iter().chain(named)
    }

    fn same(&self, other: &DraftRule) -> bool {
        // Rules can be equal that are not written in the same way.
        let text = |rule: &Self| rule.matches.as_ref().map(|it| it.shown().to_owned());
        self.position == other.position
            && self.field == other.field
            && self.weight == other.weight
            && self.hosts == other.hosts
            && text(self) == text(other)
            && self.backends == other.backends
            && self.lost == other.lost
            && self.policy == other.policy
            && self.dry_run == other.dry_run
    }
}

/// The versions of an object that matter.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// The newest that could be decoded.
    pub(crate) newest: Arc<Draft>,
    /// The version that was good before it, where the newest is not, and may stand in for it.
    pub(crate) last_good: Option<Arc<Draft>>,
}

impl Versions {
    /// The first version that is known.
    pub(crate) fn first(newest: impl Into<Arc<Draft>>) -> Self {
        Self {
            newest: newest.into(),
            last_good: None,
        }
    }

    /// The version that serves: the newest, unless it is not good and one before it was.
    pub(crate) fn serving(&self) -> &Arc<Draft> {
        match (self.newest.is_good(), &self.last_good) {
            (false, Some(last_good)) => last_good,
            _ => &self.newest,
        }
    }

    /// Whether any version that may serve names a certificate.
    pub(crate) fn want_tls(&self) -> bool {
        self.all().any(|it| it.wants_tls())
    }

    /// Every Secret that filters of any version that may serve name, some perhaps more than once.
    pub(crate) fn secrets_of_filters(&self) -> impl Iterator<Item = &ObjectName> {
        self.all().flat_map(|it| it.secrets_of_filters())
    }

    /// Every Secret that is to be asked for by its name, in the same way.
    pub(crate) fn secrets_by_name(&self) -> impl Iterator<Item = &ObjectName> {
        let of_policies = self.named_by_tls().flat_map(|named| &named.authorities);
        let secrets = of_policies.filter(|(_, key)| key.kind == Kind::Secret);
        let secrets = secrets.map(|(_, key)| &key.object);
        self.secrets_of_filters().chain(secrets)
    }

    /// The same of any version that may serve.
    pub(crate) fn supplies(&self) -> impl Iterator<Item = Supply> {
        self.all().flat_map(|it| it.supplies())
    }

    /// The same of each version that may serve.
    pub(crate) fn named_by_tls(&self) -> impl Iterator<Item = &NamedByTls> {
        self.all().filter_map(|it| it.named_by_tls())
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Draft>> {
        std::iter::once(&self.newest).chain(&self.last_good)
    }

    /// Moves on to a newer version. Tells whether it says anything else.
    pub(crate) fn update(&mut self, newest: Draft) -> bool {
        if self.newest.same(&newest) {
            return false;
        }
        let before = std::mem::replace(&mut self.newest, Arc::new(newest));
        if before.is_good() {
            self.last_good = Some(before);
        }
        let newest = &self.newest;
        (self.last_good).take_if(|it| newest.is_good() || !it.stands_in_for(newest));
        true
    }

    /// Takes a version that was kept for the last good one, unless one is known that is as new. Of an
    /// object whose newest version is bad, or cannot be decoded. Tells whether that changes anything.
    pub(crate) fn restore(&mut self, kept: &Arc<Draft>) -> bool {
        let serving = self.serving();
        if serving.is_good() && serving.generation() >= kept.generation() {
            return false;
        }
        match self.newest.is_good() {
            // What came after it cannot be decoded.
            true => self.newest = Arc::clone(kept),
            false if kept.stands_in_for(&self.newest) => self.last_good = Some(Arc::clone(kept)),
            false => return false,
        }
        true
    }
}
