//! The world to a table and a report, in one pass over whatever has changed.
//!
//! Pure and total: the same objects give the same table and the same report, in whatever order
//! they came and after whatever was there before, and no object can make it fail. What an object
//! gets wrong becomes a finding about that object.
//!
//! ```text
//!  Effect ─► gateways   and their listeners, where anything changed that they name
//!              └─► entry points
//!         ─► filters   under a name: those that changed, or name what changed
//!         ─► policies  of Services: those that changed
//!         ─► routes    the same, and those that name a Filter that differs
//!              ├─► ownership             and those that come to have a host, or lose it; all resolved anew
//!              ├─► rules ─► conflicts        which of them lose against which
//!              ├─► certificates              who has which name
//!              └─► backends ─► services      with the endpoints that there are now
//!                                └─► entries of the report, for each object that this is about
//! ```
//!
//! A translation of a whole world is one that begins with nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ferrix_table::{
    Table,
    certificates::{Certificate, Certificates, ServerNames},
    ids::ServiceIndex,
    rule_set::RuleSet,
    rules::{Action, Route, Rule},
    services::Services,
    succession::succeed,
    table::EntryPoints,
};

use crate::{
    backend::{self, Backends},
    backendtrafficpolicy,
    certificates::{self, Claims},
    conflict::Conflicts,
    entry_points,
    external_name::DomainName,
    gateway_service::Deed,
    guard::{Step, guarded},
    kinds,
    listeners::Gateways,
    logins::Logins,
    names::Known,
    objects::{self, Key, Kind, ObjectName},
    outcome::Facts,
    ownership::Ownership,
    report::{Condition, Report},
    resolve::{Context, NamedFilters, Presented, Resolved, ServicePolicies, TableLists},
    settings::Settings,
    supply::Supply,
    world::{Effect, World},
    zones::{self, OwnZone},
};

mod entries;
mod filters;
mod gateways;
mod policies;
mod service_policies;
mod supplies;
mod traffic_policies;

use filters::FilterUsers;
use supplies::SupplyUsers;

/// Makes the table and the report of a world.
pub fn translate(world: &World, settings: &Settings) -> (Table, Report) {
    let mut translation = Translation::default();
    let next = translation.follow(world, settings, &world.everything(), &Table::default());
    (next.table, translation.report)
}

/// What was made of a world, route by route, and all that is needed to follow its changes.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    pub(crate) report: Report,
    common: Common,
    /// Boxed, as a third of a large map is empty.
    routes: HashMap<Key, Box<Translated>>,
    /// Those of them that could not be resolved anew, for a bug of ours: they are as they were before.
    failed: BTreeSet<Key>,
    /// The routes that name each Service, and depend on each Secret, whether it exists or not.
    users_of_service: Users,
    users_of_secret: Users,
    filters: NamedFilters,
    /// Those that name each Service, and each Secret, whether it exists or not.
    filters_of_service: Users,
    filters_of_secret: Users,
    users_of_filter: FilterUsers,
    users_of_supply: SupplyUsers,
    table_lists: TableLists,
    service_policies: ServicePolicies,
    /// The zone that this replica is in, where a policy asks for it.
    zone: Option<OwnZone>,
    gateways: Gateways,
    /// What each Gateway and ListenerSet presents.
    presented: HashMap<Key, (Arc<Route>, Box<[Presented]>)>,
    /// The routes that name each Gateway and ListenerSet, whether it exists or not.
    users_of_parent: BTreeSet<(Key, Key)>,
    /// The Services that each policy is for, when that was last looked at.
    policy_targets: HashMap<ObjectName, Vec<ObjectName>>,
    /// The same of XBackendTrafficPolicies.
    traffic_policy_targets: HashMap<ObjectName, Vec<ObjectName>>,
    /// How many routes are attached to each listener that has any.
    attached: HashMap<(Key, Arc<str>), u32>,
    ownership: Ownership,
    backends: Backends,
    conflicts: Conflicts,
    logins: Logins,
    claims: Claims,
    has_default_certificate: bool,
}

/// What most routes have in common with others.
#[derive(Debug, Default)]
struct Common {
    facts: Known<Arc<Facts>>,
    entry_points: Known<Arc<[String]>>,
    conditions: Known<Arc<[Condition]>>,
}

/// What is named, and who names it.
type Users = BTreeSet<(ObjectName, Key)>;

/// A route, and what became of it.
#[derive(Debug)]
struct Translated {
    resolved: Resolved,
    rules: Box<[Arc<Rule>]>,
}

impl Translated {
    /// A route whose rules are not in the table yet.
    fn without_rules(resolved: Resolved) -> Box<Self> {
        Box::new(Self {
            resolved,
            rules: Box::default(),
        })
    }
}

/// The table that follows another, and what is new about it.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) table: Table,
    /// Whether it differs in more than what is behind services.
    pub(crate) differs: bool,
    /// How many services differ.
    pub(crate) services: usize,
    /// Whether the report differs.
    pub(crate) told: bool,
}

/// What a change has come to concern.
#[derive(Debug, Default)]
struct Concerned {
    /// Routes about which there may be something else to say.
    routes: BTreeSet<Key>,
    /// The same for Gateways and ListenerSets.
    parents: BTreeSet<Key>,
    /// The same for Filters.
    filters: BTreeSet<ObjectName>,
    /// The same for BackendTLSPolicies.
    policies: BTreeSet<ObjectName>,
    /// The same for XBackendTrafficPolicies.
    traffic_policies: BTreeSet<ObjectName>,
    /// The same for BackendPolicies.
    service_policies: BTreeSet<ObjectName>,
    /// Services with other backends, other endpoints or another policy.
    services: HashSet<ObjectName>,
    /// Indices that lost their backend.
    vacated: Vec<ServiceIndex>,
}

impl Translation {
    /// The names that have to be looked up, in order.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &DomainName> {
        self.backends.names()
    }

    /// The URLs that keys have to be fetched from, in order.
    pub(crate) fn key_urls(&self) -> impl Iterator<Item = &Arc<str>> {
        self.users_of_supply.urls()
    }

    /// What is to be done about the Services of Gateways.
    pub(crate) fn gateway_services(&self) -> &Arc<[Deed]> {
        self.gateways.deeds()
    }

    /// Follows a change of the world. `current` is the table that was made last.
    pub(crate) fn follow(
        &mut self,
        world: &World,
        settings: &Settings,
        effect: &Effect,
        current: &Table,
    ) -> Next {
        let default = certificates::default_certificate(world, settings);
        let has_default_certificate = matches!(default, Ok(Some(_)));
        let parents = self.follow_gateways(world, settings, effect);
        let entry_points = match !parents.is_empty() || effect.sight {
            true => {
                let listeners = self.gateways.entry_points();
                entry_points::followed_by(&current.entry_points, settings, listeners)
            }
            false => Arc::clone(&current.entry_points),
        };
        self.claim(&parents, &entry_points);
        let mut routes = self.routes_to_resolve(world, settings, has_default_certificate, effect);
        routes.extend(self.users_of(&parents));
        let (policies, services) = self.follow_policies(world, effect, &mut routes);
        let mut of_policies = self.follow_service_policies(world, settings, effect, &mut routes);
        for service in &of_policies.services {
            // Whether routes can use it is for the policy to say.
            if world.has_unknown_protocol(settings, service) {
                routes.extend(users(&self.users_of_service, service).cloned());
                routes.extend(users(&self.filters_of_service, service).cloned());
            }
        }
        for service in &services {
            let naming = self.service_policies.naming(service);
            of_policies.policies.extend(naming.cloned());
        }
        let named = self.follow_filters(world, settings, &mut routes);
        // Nobody asks for them here before they are back.
        let mut ownership = std::mem::take(&mut self.ownership);
        let gateways = std::mem::take(&mut self.gateways);
        let filters = std::mem::take(&mut self.filters);
        routes.extend(ownership.follow(world, settings, &gateways, &routes));
        let context = Context {
            world,
            settings,
            ownership: &ownership,
            filters: &filters,
            gateways: &gateways,
            entry_points: &entry_points,
            has_default_certificate,
            client_certificate: None,
        };
        let mut concerned = Concerned {
            routes,
            parents: parents.into_iter().collect(),
            filters: named,
            policies,
            traffic_policies: BTreeSet::new(),
            service_policies: of_policies.policies,
            services: effect.endpoints.iter().cloned().collect(),
            vacated: Vec::new(),
        };
        let changed = effect.objects.iter();
        let changed = changed.filter(|key| key.kind == Kind::Service);
        (concerned.services).extend(changed.map(|key| key.object.clone()));
        concerned.services.extend(of_policies.services);
        self.follow_traffic_policies(world, effect, &mut concerned);
        let asks = self.service_policies.ask_for_zones();
        let zone = asks.then(|| zones::own(world, settings)).flatten();
        if zone != self.zone {
            let services = self.service_policies.in_zones();
            concerned.services.extend(services.cloned());
            self.zone = zone;
        }
        self.has_default_certificate = has_default_certificate;

        let rules = self.rules(&context, &mut concerned, &current.rules);
        let certificates = self.certificates(
            default.as_ref().ok().and_then(Option::as_ref),
            &entry_points,
            &mut concerned,
            &current.certificates,
        );
        let mut services = Arc::clone(&current.services);
        let (changed, moved) = self.services(&context, &mut concerned, &mut services);
        let told = self.tell(
            &context,
            effect,
            &concerned,
            &services,
            default.as_ref().err(),
        );
        self.ownership = ownership;
        self.filters = filters;
        self.gateways = gateways;

        let differs = !Arc::ptr_eq(&entry_points, &current.entry_points)
            || moved
            || !Arc::ptr_eq(&rules, &current.rules)
            || !Arc::ptr_eq(&certificates, &current.certificates);
        Next {
            table: Table {
                generation: 0,
                entry_points,
                rules,
                services,
                certificates,
            },
            differs,
            services: changed,
            told,
        }
    }

    /// The routes, the Filters and the BackendPolicies that changed, or name what changed.
    fn routes_to_resolve(
        &self,
        world: &World,
        settings: &Settings,
        has_default_certificate: bool,
        effect: &Effect,
    ) -> BTreeSet<Key> {
        let of_policy = |name: &ObjectName| name.key(Kind::BackendPolicy);
        let mut routes = BTreeSet::new();
        if effect.sight || has_default_certificate != self.has_default_certificate {
            routes.extend(self.routes.keys().cloned());
            routes.extend(self.filters.names().map(|name| name.key(Kind::Filter)));
            let policies = self.service_policies.names();
            routes.extend(policies.map(of_policy));
        }
        for url in &effect.keys {
            let supply = Supply::Url(Arc::clone(url));
            routes.extend(self.users_of_supply.of(&supply).cloned());
        }
        for key in &effect.objects {
            let name = key.object.clone();
            match key.kind {
                Kind::BackendPolicy
                | Kind::Filter
                | Kind::GrpcRoute
                | Kind::HttpRoute
                | Kind::Ingress
                | Kind::IngressRoute
                | Kind::TcpRoute
                | Kind::TlsRoute
                | Kind::UdpRoute => routes.extend([key.clone()]),
                Kind::Service => {
                    routes.extend(users(&self.users_of_service, &name).cloned());
                    routes.extend(users(&self.filters_of_service, &name).cloned());
                }
                Kind::Secret => {
                    routes.extend(users(&self.users_of_secret, &name).cloned());
                    routes.extend(users(&self.filters_of_secret, &name).cloned());
                    routes.extend(self.service_policies.users(key).map(of_policy));
                }
                Kind::ConfigMap => {
                    let supply = Supply::ConfigMap(name);
                    routes.extend(self.users_of_supply.of(&supply).cloned());
                    routes.extend(self.service_policies.users(key).map(of_policy));
                }
                // Only Services and Filters are named from another namespace.
                Kind::ReferenceGrant => {
                    let filters = self.users_of_filter.all();
                    for all in [&self.users_of_service, &self.filters_of_service, filters] {
                        let named = users_in(all, &key.namespace);
                        routes.extend(named.filter(|it| it.namespace != key.namespace).cloned());
                    }
                }
                // Its Secrets can be seen now, or no longer; or it has other labels.
                Kind::Namespace => {
                    for all in [&self.users_of_secret, &self.filters_of_secret] {
                        routes.extend(users_in(all, &key.name).cloned());
                    }
                    let policies = self.service_policies.users_of_secrets_in(&key.name);
                    routes.extend(policies.map(of_policy));
                    // Listeners choose namespaces by labels as well.
                    let has_parents = |key: &&Key| kinds::has_parents(key.kind);
                    let in_namespace = world.routes_in(&key.name);
                    match settings.hosts.has_labels() || settings.issuers.has_labels() {
                        true => routes.extend(in_namespace.cloned()),
                        false => routes.extend(in_namespace.filter(has_parents).cloned()),
                    }
                }
                // With a class comes every Ingress that it may be of.
                Kind::EndpointSlice | Kind::IngressClass => {}
                // Those that name what changed there: see `follow_gateways`.
                Kind::Gateway | Kind::GatewayClass | Kind::ListenerSet => {}
                Kind::BackendTlsPolicy | Kind::XBackendTrafficPolicy => {}
            }
        }
        routes
    }

    /// Resolves routes anew, and makes the set of rules that follows.
    fn rules(
        &mut self,
        context: &Context<'_>,
        concerned: &mut Concerned,
        current: &Arc<RuleSet>,
    ) -> Arc<RuleSet> {
        let mut gone: Vec<Arc<Rule>> = Vec::new();
        let mut fresh: Vec<Rule> = Vec::new();
        // And how many of the fresh rules are of each.
        let mut changed: Vec<(Box<Translated>, usize)> = Vec::new();
        let routes = std::mem::take(&mut concerned.routes);
        for key in &routes {
            let versions = context.world.route(key);
            let resolved = guarded(Step::Resolve, key, || {
                versions.map(|versions| Resolved::new(context, versions))
            });
            let Ok(resolved) = resolved else {
                self.failed.insert(key.clone());
                continue;
            };
            self.failed.remove(key);
            let (mut resolved, rules) = resolved.unzip();
            if let Some(Resolved { outcome, .. }) = &mut resolved {
                self.common.facts.share(&mut outcome.facts);
            }
            let before = self.routes.remove(key);
            let named = before.iter().map(|it| &it.resolved).chain(&resolved);
            for service in named.flat_map(Resolved::services) {
                let policies = context.world.policies_of(service);
                (concerned.policies).extend(policies.map(|it| it.key().object.clone()));
                let policies = context.world.traffic_policies_of(service);
                (concerned.traffic_policies).extend(policies.map(|it| it.key().object.clone()));
            }
            self.refer(
                context,
                before.as_ref().map(|it| &it.resolved),
                resolved.as_ref(),
                concerned,
            );
            let before = before.map_or_else(Box::default, |before| before.rules);
            let known = fresh.len();
            if let (Some(resolved), Some(rules)) = (&resolved, rules) {
                let rules = rules.into_iter();
                let lists = &mut self.table_lists;
                fresh.extend(rules.map(|rule| resolved.table_rule(rule, &self.backends, lists)));
            }
            match resolved.map(Translated::without_rules) {
                Some(mut route) if same_rules(&before, &fresh[known..]) => {
                    fresh.truncate(known);
                    route.rules = before;
                    self.routes.insert(key.clone(), route);
                }
                route => {
                    gone.extend(before);
                    changed.extend(route.map(|route| (route, fresh.len() - known)));
                }
            }
        }
        concerned.routes = routes;
        let mut fresh = succeed(&gone, fresh);
        let mut rest = &*fresh;
        self.routes.reserve(changed.len());
        for (mut route, count) in changed {
            let (rules, further) = rest.split_at(count);
            rest = further;
            route.rules = rules.into();
            self.routes.insert(route.resolved.key().clone(), route);
        }
        if gone.is_empty() && fresh.is_empty() {
            return Arc::clone(current);
        }
        // Sorted once, for all who need it so.
        fresh.sort_by(|one, other| one.precedence(other));
        let rules = current.with(&gone, &fresh);
        let touched = self.conflicts.replace(&rules, &gone, &fresh);
        concerned.routes.extend(touched);
        concerned.routes.extend(self.logins.replace(&gone, &fresh));
        Arc::new(rules)
    }

    /// Moves from what a route named before to what it names now.
    fn refer(
        &mut self,
        context: &Context<'_>,
        before: Option<&Resolved>,
        after: Option<&Resolved>,
        concerned: &mut Concerned,
    ) {
        // Before the others are forgotten, so that what stays keeps its index.
        for backend in after.into_iter().flat_map(Resolved::backends) {
            if self.backends.refer(backend) {
                concerned.services.insert(backend.service().clone());
            }
        }
        for backend in before.into_iter().flat_map(Resolved::backends) {
            if let Some(index) = self.backends.forget(backend) {
                concerned.vacated.push(index);
                concerned.services.insert(backend.service().clone());
            }
        }
        if let Some(route) = after.or(before).map(|it| it.key().clone()) {
            let [before, after] =
                [before, after].map(|it| it.into_iter().flat_map(Resolved::filters));
            self.name_filters(&route, before, after, concerned);
        }
        if let Some(route) = after.or(before).map(Resolved::key) {
            let [before, after] =
                [before, after].map(|it| it.into_iter().flat_map(Resolved::supplies));
            let after =
                after.filter(|supply| context.world.may_have(context.settings, route, supply));
            self.users_of_supply.replace(route, before, after);
        }
        if let Some(before) = before {
            let user = |named: &ObjectName| (named.clone(), before.key().clone());
            for service in before.services() {
                self.users_of_service.remove(&user(service));
            }
            for secret in before.secrets() {
                self.users_of_secret.remove(&user(secret));
            }
            for parent in before.parents() {
                self.users_of_parent.remove(&(parent, before.key().clone()));
            }
            for listener in &before.attached {
                self.detach(listener, concerned);
            }
            self.claims.remove(before.route(), &before.certificates);
        }
        if let Some(after) = after {
            let user = |named: &ObjectName| (named.clone(), after.key().clone());
            (self.users_of_service).extend(after.services().map(user));
            (self.users_of_secret).extend(after.secrets().map(user));
            let parents = after.parents();
            (self.users_of_parent).extend(parents.map(|it| (it, after.key().clone())));
            for listener in &after.attached {
                *self.attached.entry(listener.clone()).or_default() += 1;
                concerned.parents.insert(listener.0.clone());
            }
            self.claims.add(after.route(), &after.certificates);
        }
    }

    fn certificates(
        &mut self,
        default: Option<&Arc<Certificate>>,
        entry_points: &EntryPoints,
        concerned: &mut Concerned,
        current: &Arc<Certificates>,
    ) -> Arc<Certificates> {
        let mut certificates = Arc::clone(current);
        let last = entry_points.iter().last();
        let room = last.map_or(0, |(index, _)| usize::from(index) + 1);
        // Those of entry points that are gone are taken out one by one.
        if certificates.entry_points.len() < room {
            let names = &mut Arc::make_mut(&mut certificates).entry_points;
            names.resize_with(room, ServerNames::default);
        }
        let told = self.claims.settle(&mut certificates).into_iter();
        concerned
            .routes
            .extend(told.filter(|key| kinds::makes_rules(key.kind)));
        if !certificates::same(default, certificates.default.as_ref()) {
            Arc::make_mut(&mut certificates).default = default.cloned();
        }
        certificates
    }

    /// Makes the services anew that have other backends or other endpoints. Tells how many differ
    /// behind the same index, and whether any index has come or gone. Where a service has its first
    /// endpoint or has lost its last, or comes to be spoken to by TLS or no longer, there is something else to
    /// say about the routes that name it.
    fn services(
        &self,
        context: &Context<'_>,
        concerned: &mut Concerned,
        services: &mut Arc<Services>,
    ) -> (usize, bool) {
        let (mut changed, mut moved) = (0, false);
        for index in &concerned.vacated {
            Arc::make_mut(services).put(*index, None);
            moved = true;
        }
        for name in &concerned.services {
            let backends = self.backends.of_service(name);
            let Context {
                world, settings, ..
            } = *context;
            let policy = |port: &str| {
                let own = self.service_policies.of(name, port);
                backendtrafficpolicy::combined(world, name, own)
            };
            let zone = self.zone.as_ref();
            let made = backend::table_services(world, settings, policy, zone, backends, services);
            for (placed, service) in backends.iter().zip(made) {
                let before = services.get(placed.index as usize);
                let was_empty = before.is_none_or(|before| before.endpoints.is_empty());
                let was_tls = before.is_some_and(|before| before.protocol.is_tls());
                if was_empty != service.endpoints.is_empty() || was_tls != service.protocol.is_tls()
                {
                    let users = users(&self.users_of_service, name);
                    concerned.routes.extend(users.cloned());
                }
                match services.get(placed.index as usize) {
                    Some(before) if backend::same(before, &service) => continue,
                    Some(_) => changed += 1,
                    None => moved = true,
                }
                Arc::make_mut(services).put(placed.index, Some(service));
            }
        }
        (changed, moved)
    }
}

/// Who names an object.
fn users<'u>(users: &'u Users, named: &'u ObjectName) -> impl Iterator<Item = &'u Key> {
    let users = users.range((named.clone(), first_key())..);
    let users = users.take_while(move |(it, _)| it == named);
    users.map(|(_, user)| user)
}

/// Who names any object of a namespace.
fn users_in<'u>(users: &'u Users, namespace: &'u str) -> impl Iterator<Item = &'u Key> {
    let first = ObjectName::new(namespace, "");
    let users = users.range((first, first_key())..);
    let users = users.take_while(move |(it, _)| *it.namespace == *namespace);
    users.map(|(_, user)| user)
}

/// No key comes before it.
fn first_key() -> Key {
    objects::key(Kind::ALL[0], "", "")
}

fn same_rules(one: &[Arc<Rule>], other: &[Rule]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| same_rule(one, other))
}

/// Whether two rules of one route serve the same.
fn same_rule(one: &Rule, other: &Rule) -> bool {
    let same_action = match (&one.action, &other.action) {
        (Action::Forward(one), Action::Forward(other)) => one.cumulative == other.cumulative,
        (Action::Unresolved(one), Action::Unresolved(other)) => one == other,
        (Action::Answered, Action::Answered) | (Action::Unavailable, Action::Unavailable) => true,
        _ => false,
    };
    let route = |rule: &Rule| (rule.route.generation, rule.route.created);
    same_action
        && route(one) == route(other)
        && one.position == other.position
        && one.host == other.host
        && one.text() == other.text()
        && one.weight == other.weight
        && one.entry_points == other.entry_points
        && one.policy == other.policy
        && one.dry_run == other.dry_run
}
