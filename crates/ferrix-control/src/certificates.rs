//! Which certificate is presented for which name, and who loses where two routes claim one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_table::{
    certificates::{Certificate, Certificates},
    ids::EntryPointIndex,
    rules::{HostPattern, Route},
};

use crate::{
    names::shared_name,
    objects::{Key, ObjectName},
    referencegrant::{Referrer, Refused},
    report::{Finding, Reason},
    resolve::{Presented, Resolved},
    seniority::Seniority,
    settings::{DefaultCertificate, Settings},
    world::World,
};

/// The default certificate, `None` where the settings have none, or why it cannot be presented.
pub(crate) fn default_certificate(
    world: &World,
    settings: &Settings,
) -> Result<Option<Arc<Certificate>>, (ObjectName, String)> {
    let (namespace, name) = match &settings.default_certificate {
        None => return Ok(None),
        Some(DefaultCertificate::Loaded(certificate)) => return Ok(Some(Arc::clone(certificate))),
        Some(DefaultCertificate::Secret { namespace, name }) => (namespace, name),
    };
    let name = shared_name(namespace, name);
    match world.secret(settings, Referrer::Settings, &name) {
        Ok(state) => match state.serving() {
            Ok(parsed) => Ok(Some(Arc::clone(&parsed.certificate))),
            Err(fault) => Err((name, fault.to_string())),
        },
        Err(Refused::Missing | Refused::Forbidden) => Err((name, "it does not exist".to_owned())),
        Err(Refused::Unwatched) => Err((name, "its namespace is not watched".to_owned())),
    }
}

/// Which objects claim which names. Of two that claim a name, the older has it, and the other is
/// told.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// All claims to each name, the first of which has it.
    places: HashMap<Place, BTreeMap<Rank, Claim>>,
    /// Names with claims that came or went since the last [`Claims::settle`], and who had them
    /// before.
    touched: BTreeMap<Place, Option<(Rank, Claim)>>,
}

/// A name on an entry point.
type Place = (EntryPointIndex, HostPattern);

/// What decides between claims to one name: the lesser has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// An object that says which host it means comes before one that means what its certificate
    /// happens to hold.
    any_host: bool,
    seniority: Seniority,
    /// Its place among the certificates of the object.
    place: usize,
}

#[derive(Clone, Debug)]
struct Claim {
    route: Arc<Route>,
    certificate: Arc<Certificate>,
}

/// The names that a certificate is to be presented for: the hosts, and where one is any, what the
/// certificate names besides; and whether each is only one that the certificate happens to hold.
fn names(presented: &Presented) -> impl Iterator<Item = (&HostPattern, bool)> {
    presented.hosts.iter().flat_map(|host| {
        let held: &[HostPattern] = match host {
            HostPattern::Any => &presented.parsed.names,
            HostPattern::Exact(_) | HostPattern::Wildcard(_) | HostPattern::Below(_) => &[],
        };
        std::iter::once((host, false)).chain(held.iter().map(|name| (name, true)))
    })
}

impl Claims {
    /// Takes the claims of an object.
    pub(crate) fn add(&mut self, route: &Arc<Route>, certificates: &[Presented]) {
        self.each(route, certificates, |claims, rank, presented| {
            let claim = Claim {
                route: Arc::clone(route),
                certificate: Arc::clone(&presented.parsed.certificate),
            };
            claims.insert(rank, claim);
        });
    }

    /// Forgets the claims of an object.
    pub(crate) fn remove(&mut self, route: &Arc<Route>, certificates: &[Presented]) {
        self.each(route, certificates, |claims, rank, _| {
            claims.remove(&rank);
        });
    }

    fn each(
        &mut self,
        route: &Arc<Route>,
        certificates: &[Presented],
        change: impl Fn(&mut BTreeMap<Rank, Claim>, Rank, &Presented),
    ) {
        for (at, presented) in certificates.iter().enumerate() {
            for (name, any_host) in names(presented) {
                for entry_point in &presented.entry_points {
                    let place = (*entry_point, name.clone());
                    let claims = self.places.entry(place.clone()).or_default();
                    let holder = || claims.first_key_value();
                    let cloned = |(one, other): (&Rank, &Claim)| (one.clone(), other.clone());
                    self.touched
                        .entry(place)
                        .or_insert_with(|| holder().map(cloned));
                    let rank = Rank {
                        any_host,
                        seniority: Seniority::of(route),
                        place: at,
                    };
                    change(claims, rank, presented);
                }
            }
        }
    }

    /// Presents, for each name whose claims changed, the certificate of whoever has the name now.
    /// Returns the objects that have lost a name, or have one again: those of which something else
    /// is to be said than before.
    pub(crate) fn settle(&mut self, certificates: &mut Arc<Certificates>) -> BTreeSet<Key> {
        let mut told = BTreeSet::new();
        for (place, before) in std::mem::take(&mut self.touched) {
            let claims = self.places.get(&place);
            let after = claims.and_then(BTreeMap::first_key_value);
            let same_holder = match (&before, after) {
                (Some((one, _)), Some((other, _))) => one == other,
                (one, other) => one.is_none() && other.is_none(),
            };
            let (earlier, later) = (
                before.as_ref().map(|(_, claim)| &claim.certificate),
                after.map(|(_, claim)| &claim.certificate),
            );
            if !same(earlier, later) {
                present(certificates, &place, later);
            }
            // Routes that share the Secret of the holder have lost nothing.
            let id = |certificate: Option<&Arc<Certificate>>| certificate.map(|it| it.id.clone());
            let (before, after) = (id(earlier), id(later));
            if !same_holder || before != after {
                let losers = claims.into_iter().flatten().filter(|(_, claim)| {
                    let id = Some(&claim.certificate.id);
                    id != before.as_ref() || id != after.as_ref()
                });
                told.extend(losers.map(|(rank, _)| rank.seniority.key().clone()));
            }
            if claims.is_some_and(BTreeMap::is_empty) {
                self.places.remove(&place);
            }
        }
        told
    }

    /// Tells an object where the certificate of another is presented.
    pub(crate) fn tell(&self, resolved: &mut Resolved) {
        for presented in resolved.certificates.clone() {
            for lost in self.lost(&presented) {
                tell(resolved, &presented, &lost);
            }
        }
    }

    /// The names for which another certificate is presented, each once for every holder.
    fn lost<'c>(&'c self, presented: &'c Presented) -> Vec<Lost<'c>> {
        let mut lost: Vec<Lost<'_>> = Vec::new();
        for (name, any_host) in names(presented) {
            for entry_point in &presented.entry_points {
                let claims = self.places.get(&(*entry_point, name.clone()));
                let Some((_, holder)) = claims.and_then(BTreeMap::first_key_value) else {
                    continue;
                };
                let same = holder.certificate.id == presented.parsed.certificate.id;
                let known =
                    |it: &Lost<'_>| it.name == name && it.holder.route.key == holder.route.key;
                if !same && !lost.iter().any(known) {
                    lost.push(Lost {
                        name,
                        any_host,
                        holder,
                    });
                }
            }
        }
        lost
    }
}

/// A name that another has.
struct Lost<'c> {
    name: &'c HostPattern,
    any_host: bool,
    holder: &'c Claim,
}

/// Presents a certificate, or none, for a name.
fn present(
    certificates: &mut Arc<Certificates>,
    (entry_point, name): &Place,
    certificate: Option<&Arc<Certificate>>,
) {
    let entry_point = usize::from(*entry_point);
    let names = &mut Arc::make_mut(certificates).entry_points[entry_point];
    let (names, name) = match name {
        HostPattern::Exact(name) => (&mut names.exact, name),
        HostPattern::Wildcard(suffix) => (&mut names.wildcard, suffix),
        HostPattern::Below(suffix) => (&mut names.below, suffix),
        HostPattern::Any => {
            names.any = certificate.cloned();
            return;
        }
    };
    match certificate {
        Some(certificate) => drop(names.insert(name.clone(), Arc::clone(certificate))),
        None => drop(names.remove(name)),
    }
}

fn tell(loser: &mut Resolved, presented: &Presented, lost: &Lost<'_>) {
    let Lost { name, holder, .. } = lost;
    let field = presented.field.to_string();
    let (route, secret) = (&holder.route, &holder.certificate.id);
    let place = match name {
        HostPattern::Any => "names that have none of their own".to_owned(),
        name => name.to_string(),
    };
    let message = format!(
        "the certificate is not presented for {place}: that of Secret {secret} is, which {route} \
         claims"
    );
    // A route without a host is often for the names in its certificate, and may have those.
    let has_others = **name == HostPattern::Any && !presented.parsed.names.is_empty();
    if lost.any_host || has_others {
        // Nobody asked for this name.
        let finding = Finding::info(Reason::CertificateNotUsed, field, message);
        loser.outcome.remark(finding);
        return;
    }
    let why = match route.created == loser.route().created {
        true => "comes first by its name, as neither is older",
        false => "is older",
    };
    let message = format!("{message} and which {why}; use one Secret for the host");
    loser.conflict(field, message);
}

/// Whether two are presented as the same.
pub(crate) fn same(one: Option<&Arc<Certificate>>, other: Option<&Arc<Certificate>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            Arc::ptr_eq(one, other) || (one.id == other.id && one.key.cert == other.key.cert)
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}
