//! Which hosts an object may have, under the policy of the settings, and why not.
//!
//! What is allowed to a namespace is known of each object alone. Which namespace was the first to claim a
//! host is known of all objects together, and is followed here: a change concerns those that claim the
//! same hosts, and only where another comes to have them.
//!
//! A host and the wildcard above it have requests in common, and so they are one claim to make: whoever
//! comes first to either has it, and no other namespace gets the other. All such hosts are below one
//! domain, and domains have nothing to do with each other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use ferrix_table::rules::HostPattern;

use crate::{
    attachment, draft::ClassReference, host_policy::HostPolicy, listeners::Gateways, objects::Key,
    seniority::Seniority, settings::Settings, world::World,
};

/// Who has which host, where the first claim counts. Empty otherwise.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    claims: HashMap<Key, Claimed>,
    /// By the domain itself; hosts of no domain are together under no name.
    domains: HashMap<Arc<str>, Domain>,
}

/// What an object claims.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claimed {
    seniority: Seniority,
    hosts: Box<[HostPattern]>,
}

/// The claims to hosts of one domain.
#[derive(Debug, Default)]
struct Domain {
    wildcard: BTreeSet<Seniority>,
    exact: HashMap<Arc<str>, BTreeSet<Seniority>>,
    standing: Standing,
}

/// Who has a domain, where somebody claims its wildcard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// The claim to the wildcard by which one namespace has the whole domain: no other came before it to
    /// any of its hosts.
    owner: Option<Seniority>,
    /// The oldest claim that has a host, and the oldest of another namespace than that.
    oldest: Option<Holder>,
    oldest_other: Option<Holder>,
}

/// A claim that has a host.
type Holder = (Seniority, Arc<str>);

/// Why an object may not have a host.
#[derive(Debug)]
pub(crate) struct Refusal<'o> {
    host: &'o HostPattern,
    namespace: &'o str,
    why: Why<'o>,
}

#[derive(Debug)]
enum Why<'o> {
    /// The settings do not allow it.
    NotAllowed {
        policy: &'o HostPolicy,
        /// What is allowed instead.
        instead: Option<String>,
    },
    /// Another namespace was first.
    Claimed {
        by: &'o Key,
        older: bool,
        /// What that one claims, where it is not the same.
        claimed: Option<HostPattern>,
    },
}

impl Ownership {
    /// Follows changes of these objects, or of what their namespaces may have. Returns those of which
    /// another host is refused than before, or for another reason.
    pub(crate) fn follow(
        &mut self,
        world: &World,
        settings: &Settings,
        gateways: &Gateways,
        changed: &BTreeSet<Key>,
    ) -> BTreeSet<Key> {
        let mut concerned = BTreeSet::new();
        if !settings.hosts.first_claim {
            return concerned;
        }
        // Who had each host before.
        let mut touched: BTreeMap<HostPattern, Option<Seniority>> = BTreeMap::new();
        for key in changed {
            let after = claims_of(world, settings, gateways, key);
            if self.claims.get(key) == after.as_ref() {
                continue;
            }
            let before = self.claims.remove(key);
            for host in before.iter().chain(&after).flat_map(|it| &it.hosts) {
                let holder = || self.claims_to(host).and_then(BTreeSet::first).cloned();
                touched.entry(host.clone()).or_insert_with(holder);
            }
            if let Some(Claimed { seniority, hosts }) = before {
                for host in &hosts {
                    self.domain(host).forget(host, &seniority);
                }
            }
            if let Some(after) = after {
                for host in &after.hosts {
                    self.domain(host).add(host, after.seniority.clone());
                }
                self.claims.insert(key.clone(), after);
            }
        }
        let mut domains = BTreeSet::new();
        for (host, before) in &touched {
            let claims = self.claims_to(host);
            if claims.and_then(BTreeSet::first) != before.as_ref() {
                let objects = claims.into_iter().flatten().map(Seniority::key);
                concerned.extend(objects.cloned());
            }
            domains.insert(name_of_domain(host));
        }
        for name in domains {
            self.settle(name, &mut concerned);
        }
        concerned
    }

    /// Why an object may not have a host; `None`: it may.
    pub(crate) fn refusal<'o>(
        &'o self,
        world: &World,
        settings: &'o Settings,
        object: &'o Key,
        host: &'o HostPattern,
    ) -> Option<Refusal<'o>> {
        let policy = &settings.hosts;
        if !policy.is_set() {
            return None;
        }
        let namespace = &object.namespace;
        let labels = world.labels(namespace);
        let why = match policy.allows(namespace, labels, host) {
            false => Why::NotAllowed {
                policy,
                instead: policy.hosts_of(namespace, labels),
            },
            true => self.lost(object, host)?,
        };
        Some(Refusal {
            host,
            namespace,
            why,
        })
    }

    /// That another namespace was the first to claim a host that this object claims.
    fn lost(&self, object: &Key, host: &HostPattern) -> Option<Why<'_>> {
        let domain = self.domains.get(name_of_domain(host))?;
        let standing = &domain.standing;
        let (first, claimed) = match (host, &standing.owner) {
            (_, Some(owner)) => (owner, HostPattern::Wildcard(name_of_domain(host).into())),
            (HostPattern::Exact(name), None) => (domain.exact.get(name)?.first()?, host.clone()),
            (HostPattern::Wildcard(_) | HostPattern::Below(_), None) => {
                let (first, name) = standing.oldest_not_of(&object.namespace)?;
                (first, HostPattern::Exact(Arc::clone(name)))
            }
            (HostPattern::Any, None) => return None,
        };
        let own = &self.claims.get(object)?.seniority;
        (first.key().namespace != object.namespace).then(|| Why::Claimed {
            by: first.key(),
            older: !own.is_as_old_as(first),
            claimed: (claimed != *host).then_some(claimed),
        })
    }

    fn claims_to(&self, host: &HostPattern) -> Option<&BTreeSet<Seniority>> {
        self.domains.get(name_of_domain(host))?.claims_to(host)
    }

    fn domain(&mut self, host: &HostPattern) -> &mut Domain {
        let name = name_of_domain(host).into();
        self.domains.entry(name).or_default()
    }

    /// Finds out who has a domain whose claims have changed, and whom that concerns.
    fn settle(&mut self, name: &str, concerned: &mut BTreeSet<Key>) {
        let Some(domain) = self.domains.get_mut(name) else {
            return;
        };
        let after = domain.find_standing();
        let before = std::mem::replace(&mut domain.standing, after);
        if before.owner != domain.standing.owner {
            let exact = domain.exact.values().flatten();
            concerned.extend(exact.map(|it| it.key().clone()));
        }
        if before != domain.standing {
            concerned.extend(domain.wildcard.iter().map(|it| it.key().clone()));
        }
        if domain.wildcard.is_empty() && domain.exact.is_empty() {
            self.domains.remove(name);
        }
    }
}

/// What an object claims: the hosts that its namespace may have. No host is not claimed.
fn claims_of(
    world: &World,
    settings: &Settings,
    gateways: &Gateways,
    key: &Key,
) -> Option<Claimed> {
    let draft = world.route(key)?.serving();
    if world.finding_if_not_ours(settings, draft).is_some() {
        return None;
    }
    let hosts: Vec<HostPattern> = match draft.class {
        // None where none of its parents is ours.
        ClassReference::Parents => {
            (attachment::hosts(world, gateways, draft).into_iter()).collect()
        }
        ClassReference::Name(_) | ClassReference::IngressClass(_) => draft.hosts.to_vec(),
    };
    let labels = world.labels(&key.namespace);
    let allowed = |host: &&HostPattern| {
        **host != HostPattern::Any && settings.hosts.allows(&key.namespace, labels, host)
    };
    Some(Claimed {
        seniority: Seniority::of(&draft.route),
        hosts: hosts.iter().filter(allowed).cloned().collect(),
    })
}

fn name_of_domain(host: &HostPattern) -> &str {
    host.domain().unwrap_or_default()
}

impl Domain {
    fn claims_to(&self, host: &HostPattern) -> Option<&BTreeSet<Seniority>> {
        match host {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Wildcard(_) | HostPattern::Below(_) => Some(&self.wildcard),
            HostPattern::Any => None,
        }
    }

    fn add(&mut self, host: &HostPattern, claim: Seniority) {
        match host {
            HostPattern::Exact(name) => {
                let claims = self.exact.entry(Arc::clone(name)).or_default();
                claims.insert(claim);
            }
            HostPattern::Wildcard(_) | HostPattern::Below(_) => {
                self.wildcard.insert(claim);
            }
            HostPattern::Any => {}
        }
    }

    fn forget(&mut self, host: &HostPattern, claim: &Seniority) {
        match host {
            HostPattern::Exact(name) => {
                if let Some(claims) = self.exact.get_mut(name) {
                    claims.remove(claim);
                    if claims.is_empty() {
                        self.exact.remove(name);
                    }
                }
            }
            HostPattern::Wildcard(_) | HostPattern::Below(_) => {
                self.wildcard.remove(claim);
            }
            HostPattern::Any => {}
        }
    }

    /// Who has the domain. The work is in proportion to its hosts, where somebody claims its wildcard,
    /// and none otherwise.
    fn find_standing(&self) -> Standing {
        if self.wildcard.is_empty() {
            return Standing::default();
        }
        let holders = || {
            let hosts = self.exact.iter();
            hosts.filter_map(|(name, claims)| Some((claims.first()?, name)))
        };
        let owned = |(claim, name): (&Seniority, &Arc<str>)| (claim.clone(), Arc::clone(name));
        let oldest = holders().min();
        let other = oldest.and_then(|(oldest, _)| {
            let of_another = |claim: &Seniority| claim.key().namespace != oldest.key().namespace;
            holders().filter(|(claim, _)| of_another(claim)).min()
        });
        let mut standing = Standing {
            owner: None,
            oldest: oldest.map(owned),
            oldest_other: other.map(owned),
        };
        let is_first = |claim: &&Seniority| {
            let other = standing.oldest_not_of(&claim.key().namespace);
            other.is_none_or(|(other, _)| *claim < other)
        };
        standing.owner = self.wildcard.iter().find(is_first).cloned();
        standing
    }
}

impl Standing {
    /// The oldest claim of another namespace that has a host.
    fn oldest_not_of(&self, namespace: &Arc<str>) -> Option<&Holder> {
        let oldest = self.oldest.as_ref();
        let foreign = oldest.filter(|(claim, _)| claim.key().namespace != *namespace);
        foreign.or(self.oldest_other.as_ref())
    }
}

/// What it is and what to do.
impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host, namespace, ..
        } = self;
        let any = **host == HostPattern::Any;
        match &self.why {
            Why::NotAllowed { policy, .. } if policy.allowed.is_none() => f.write_str(
                "not served: without a host it would take what is left of every host, which \
                 `hosts.allowed` of the settings would have to allow by `\"*\"`, as hosts belong to \
                 who claims them first; name a host",
            ),
            Why::NotAllowed { policy, instead } => {
                let holders = policy.holders(host);
                write!(
                    f,
                    "not served: `hosts.allowed` of the settings gives {host} to {holders}, and to \
                     namespace {namespace} "
                )?;
                match instead {
                    Some(hosts) if any => write!(f, "{hosts}; name a host"),
                    Some(hosts) => write!(
                        f,
                        "{hosts}; use such a host, or have this one allowed by who runs Ferrix"
                    ),
                    None => f.write_str("none; have it allowed by who runs Ferrix"),
                }
            }
            Why::Claimed { by, older, claimed } => {
                let owner = &by.namespace;
                write!(
                    f,
                    "not served: {host} belongs to namespace {owner}, by {by}"
                )?;
                if let Some(claimed) = claimed {
                    write!(f, " for {claimed}")?;
                }
                match older {
                    true => f.write_str(", which is older")?,
                    false => f.write_str(", which comes first by its name, as neither is older")?,
                }
                write!(
                    f,
                    " (`hosts.first_claim` of the settings); use another host, or a route of \
                     namespace {owner}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
