//! Which certificate is presented for which name, and who loses where two routes claim one.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_table::{
    certificates::{Certificate, Certificates},
    ids::EntryPointIndex,
    rules::{HostPattern, Route},
};

use crate::{
    ingressroute::Draft,
    objects::{Key, ObjectName},
    referencegrant::{self, Referrer, Refused},
    report::{Finding, Reason},
    secret::Parsed,
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
    let name = ObjectName::new(namespace, name);
    match referencegrant::secret(world, settings, Referrer::Settings, &name) {
        Ok(state) => match state.serving() {
            Ok(parsed) => Ok(Some(Arc::clone(&parsed.certificate))),
            Err(fault) => Err((name, fault.to_string())),
        },
        Err(Refused::Missing | Refused::Forbidden) => Err((name, "it does not exist".to_owned())),
        Err(Refused::Unwatched) => Err((name, "its namespace is not watched".to_owned())),
    }
}

/// Which routes claim which names. Of two routes that claim a name, the older has it, and the
/// other is told.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// The first of each has the name.
    places: HashMap<Place, BTreeMap<Seniority, Claim>>,
    /// Who had the names that are claimed otherwise since [`Claims::settle`].
    touched: BTreeMap<Place, Option<(Seniority, Claim)>>,
}

/// A name on an entry point.
type Place = (EntryPointIndex, HostPattern);

/// What decides between claims to one name: the lesser has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seniority {
    /// A route that says which host it means comes before one that means what its certificate
    /// happens to hold.
    any_host: bool,
    ageless: bool,
    created: Option<i64>,
    route: Ranked,
}

/// A route by its key, in the order in which rules of equal age stand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranked(Key);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank().cmp(&other.0.rank())
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Debug)]
struct Claim {
    route: Arc<Route>,
    certificate: Arc<Certificate>,
}

impl Seniority {
    fn of(draft: &Draft) -> Self {
        let created = draft.route().created;
        Self {
            any_host: *draft.host() == HostPattern::Any,
            ageless: created.is_none(),
            created,
            route: Ranked(draft.key.clone()),
        }
    }
}

/// The names that a route has a certificate for.
fn names<'d>(draft: &'d Draft, parsed: &'d Parsed) -> &'d [HostPattern] {
    match draft.host() {
        HostPattern::Any => &parsed.names,
        host => std::slice::from_ref(host),
    }
}

impl Claims {
    /// Takes the claims of a route.
    pub(crate) fn add(&mut self, draft: &Draft) {
        let Some((parsed, _)) = &draft.certificate else {
            return;
        };
        self.each(draft, |claims| {
            let claim = Claim {
                route: Arc::clone(draft.route()),
                certificate: Arc::clone(&parsed.certificate),
            };
            claims.insert(Seniority::of(draft), claim);
        });
    }

    /// Forgets the claims of a route.
    pub(crate) fn remove(&mut self, draft: &Draft) {
        let seniority = Seniority::of(draft);
        self.each(draft, |claims| drop(claims.remove(&seniority)));
    }

    fn each(&mut self, draft: &Draft, change: impl Fn(&mut BTreeMap<Seniority, Claim>)) {
        let Some((parsed, entry_points)) = &draft.certificate else {
            return;
        };
        for name in names(draft, parsed) {
            for entry_point in entry_points {
                let place = (*entry_point, name.clone());
                let claims = self.places.entry(place.clone()).or_default();
                let holder = || claims.first_key_value();
                let cloned = |(one, other): (&Seniority, &Claim)| (one.clone(), other.clone());
                self.touched
                    .entry(place)
                    .or_insert_with(|| holder().map(cloned));
                change(claims);
            }
        }
    }

    /// Settles who has the names that are claimed otherwise than before: in `certificates`, and in
    /// the answer, which is the routes about which there may be something else to say.
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
                told.extend(losers.map(|(seniority, _)| seniority.route.0.clone()));
            }
            if claims.is_some_and(BTreeMap::is_empty) {
                self.places.remove(&place);
            }
        }
        told
    }

    /// Tells a route where the certificate of another is presented.
    pub(crate) fn tell(&self, draft: &mut Draft) {
        let Some((parsed, entry_points)) = draft.certificate.clone() else {
            return;
        };
        let names = names(draft, &parsed).to_vec();
        if names.is_empty() {
            draft.remark(Finding::warning(
                Reason::CertificateNotUsed,
                "spec.tls",
                "the certificate is never presented: the route has no host, and the certificate \
                 names none",
            ));
        }
        let mut lost: Vec<(HostPattern, &Claim)> = Vec::new();
        for name in names {
            for entry_point in &entry_points {
                let claims = self.places.get(&(*entry_point, name.clone()));
                let Some((_, holder)) = claims.and_then(BTreeMap::first_key_value) else {
                    continue;
                };
                let same = holder.certificate.id == parsed.certificate.id;
                let known = |(it, other): &(HostPattern, &Claim)| {
                    *it == name && other.route.key == holder.route.key
                };
                if !same && !lost.iter().any(known) {
                    lost.push((name.clone(), holder));
                }
            }
        }
        for (name, holder) in lost {
            tell(draft, &name, holder);
        }
    }
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
        HostPattern::Any => return,
    };
    match certificate {
        Some(certificate) => drop(names.insert(name.clone(), Arc::clone(certificate))),
        None => drop(names.remove(name)),
    }
}

fn tell(loser: &mut Draft, name: &HostPattern, holder: &Claim) {
    let (route, secret) = (&holder.route, &holder.certificate.id);
    let message = format!(
        "the certificate is not presented for {name}: that of Secret {secret} is, which {route} \
         claims"
    );
    if *loser.host() == HostPattern::Any {
        // Nobody asked for this name.
        let finding = Finding::info(Reason::CertificateNotUsed, "spec.tls", message);
        loser.remark(finding);
        return;
    }
    let why = match route.created == loser.route().created {
        true => "comes first by its name, as neither is older",
        false => "is older",
    };
    let message = format!("{message} and which {why}; use one Secret for the host");
    loser.conflict("spec.tls".to_owned(), message);
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
