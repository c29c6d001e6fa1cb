//! Which certificate is presented for which name, and who loses where two routes claim one.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use ferrix_table::{
    certificates::{Certificate, Certificates, ServerNames},
    rules::HostPattern,
};

use crate::{
    ingressroute::Draft,
    objects::ObjectName,
    referencegrant::{self, Referrer, Refused},
    report::{Finding, Reason},
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

/// What every secure entry point presents. Of two routes that claim a name, the older has it, and
/// the other is told.
pub(crate) fn certificates(
    default: Option<Arc<Certificate>>,
    settings: &Settings,
    drafts: &mut [Draft],
) -> Certificates {
    let mut by_age: Vec<usize> = (0..drafts.len())
        .filter(|place| drafts[*place].certificate.is_some())
        .collect();
    by_age.sort_by_key(|place| {
        let created = drafts[*place].route.created;
        // The drafts are in the order of their names: that decides among equals.
        (created.is_none(), created)
    });
    let mut claims = Claims {
        names: settings
            .entry_points
            .iter()
            .map(|_| ServerNames::default())
            .collect(),
        holders: HashMap::new(),
    };
    // A route that says which host it means comes before one that means what its certificate
    // happens to hold.
    let (exact, any): (Vec<usize>, Vec<usize>) = by_age
        .into_iter()
        .partition(|place| drafts[*place].host != HostPattern::Any);
    for place in exact.into_iter().chain(any) {
        claims.claim(drafts, place);
    }
    Certificates {
        entry_points: claims.names,
        default,
    }
}

struct Claims {
    /// By entry point.
    names: Vec<ServerNames>,
    /// Which draft has a name.
    holders: HashMap<(usize, HostPattern), usize>,
}

impl Claims {
    fn claim(&mut self, drafts: &mut [Draft], place: usize) {
        let Some((parsed, entry_points)) = drafts[place].certificate.clone() else {
            return;
        };
        let by_host = drafts[place].host != HostPattern::Any;
        let names = match by_host {
            true => std::slice::from_ref(&drafts[place].host).to_vec(),
            false => parsed.names.clone(),
        };
        if names.is_empty() {
            drafts[place].remark(Finding::warning(
                Reason::CertificateNotUsed,
                "spec.tls",
                "the certificate is never presented: the route has no host, and the certificate \
                 names none",
            ));
        }
        let mut lost: Vec<(HostPattern, usize)> = Vec::new();
        for name in names {
            for entry_point in &entry_points {
                let entry_point = usize::from(*entry_point);
                let certificate = &parsed.certificate;
                match self.holders.entry((entry_point, name.clone())) {
                    hash_map::Entry::Vacant(free) => {
                        free.insert(place);
                        let names = &mut self.names[entry_point];
                        let certificate = Arc::clone(certificate);
                        match &name {
                            HostPattern::Exact(name) => {
                                names.exact.insert(name.clone(), certificate)
                            }
                            HostPattern::Wildcard(suffix) => {
                                names.wildcard.insert(suffix.clone(), certificate)
                            }
                            HostPattern::Any => None,
                        };
                    }
                    hash_map::Entry::Occupied(taken) => {
                        let holder = *taken.get();
                        let theirs = &drafts[holder].certificate;
                        let same = theirs
                            .as_ref()
                            .is_some_and(|(theirs, _)| theirs.certificate.id == certificate.id);
                        if !same && !lost.contains(&(name.clone(), holder)) {
                            lost.push((name.clone(), holder));
                        }
                    }
                }
            }
        }
        for (name, holder) in lost {
            tell(drafts, place, &name, holder, by_host);
        }
    }
}

fn tell(drafts: &mut [Draft], loser: usize, name: &HostPattern, holder: usize, by_host: bool) {
    let winner = &drafts[holder];
    let secret = winner
        .certificate
        .as_ref()
        .map(|(parsed, _)| parsed.certificate.id.clone());
    let secret = secret.unwrap_or_default();
    let route = &winner.route;
    let message = format!(
        "the certificate is not presented for {name}: that of Secret {secret} is, which {route} \
         claims"
    );
    match by_host {
        true => {
            let (one, other) = (winner.route.created, drafts[loser].route.created);
            let why = match one == other {
                true => "comes first by its name, as neither is older",
                false => "is older",
            };
            let message = format!("{message} and which {why}; use one Secret for the host");
            drafts[loser].conflict("spec.tls".to_owned(), message);
        }
        // Nobody asked for this name.
        false => {
            drafts[loser].remark(Finding::info(
                Reason::CertificateNotUsed,
                "spec.tls",
                message,
            ));
        }
    }
}

/// Whether two of them present the same.
pub(crate) fn same(one: &Certificates, other: &Certificates) -> bool {
    let same = |one: &Arc<Certificate>, other: &Arc<Certificate>| {
        Arc::ptr_eq(one, other) || (one.id == other.id && one.key.cert == other.key.cert)
    };
    let same_names = |one: &HashMap<Box<str>, Arc<Certificate>>, other: &HashMap<_, _>| {
        one.len() == other.len()
            && one
                .iter()
                .all(|(name, it)| other.get(name).is_some_and(|other| same(it, other)))
    };
    let defaults = match (&one.default, &other.default) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    defaults
        && one.entry_points.len() == other.entry_points.len()
        && one
            .entry_points
            .iter()
            .zip(&other.entry_points)
            .all(|(one, other)| {
                same_names(&one.exact, &other.exact) && same_names(&one.wildcard, &other.wildcard)
            })
}
