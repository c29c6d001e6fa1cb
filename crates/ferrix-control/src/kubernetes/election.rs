//! Which replica writes: the holder of a Lease.
//!
//! The rules are client-go's: a Lease is free when its holder says so, or when it has not changed
//! for its whole duration by the observer's own clock; a holder that cannot renew gives up before
//! others may take over.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::sync::watch::{Receiver, Sender};
use tracing::{debug, info, warn};

use super::{
    Identity,
    leases::{self, EVERYWHERE, Leases, NAMESPACES, Observed, SILENT},
    own::INSTALLATION,
};
use crate::jitter::jittered;

/// Without a sign of life for so long, a holder is taken for dead.
const DURATION: Duration = Duration::from_secs(15);

/// A holder that could not renew for so long stops writing.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a holder renews.
const RENEWAL: Duration = Duration::from_secs(5);

/// How often the Lease is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What to do about the Lease.
#[derive(Debug, PartialEq)]
enum Move {
    /// There is none.
    Create,
    /// It is free, or ours: write this version.
    Take(Box<Lease>),
    /// It is another's.
    Wait,
}

pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) identity: Arc<Identity>,
    /// Those that are watched.
    pub(super) namespaces: BTreeSet<String>,
    pub(super) seen: Receiver<Arc<Leases>>,
    pub(super) leading: Sender<bool>,
    /// Namespaces that statuses were written in, and that are no longer watched.
    pub(super) former: Sender<BTreeSet<String>>,
    /// Whether nothing is left in those.
    pub(super) settled: Receiver<bool>,
    pub(super) left: Receiver<bool>,
}

/// Takes part in the election until the replica leaves, and tells who leads.
pub(super) async fn run(inputs: Inputs) {
    let Inputs {
        client,
        identity,
        namespaces,
        mut seen,
        leading,
        former,
        settled,
        mut left,
    } = inputs;
    let api: Api<Lease> = Api::namespaced(client, &identity.namespace);
    // As of the last write, which the watch may not have told yet.
    let mut held: Option<(Lease, Instant)> = None;
    let mut leaving = false;
    // That the Lease cannot be written.
    let mut said = false;
    loop {
        let leases = Arc::clone(&seen.borrow_and_update());
        let observed = (leases.as_ref().as_ref()).map(|it| it.get(&*identity.installation));
        let silent = (observed.flatten()).filter(|observed| observed.is_silent());
        if silent.is_some() && held.take().is_some() {
            info!("statuses are taken back: this replica writes none for a while");
            leading.send_replace(false);
        }
        let next = match (&held, observed) {
            _ if leaving => match &held {
                Some((lease, _)) => Move::Take(Box::new(released(lease))),
                None => return,
            },
            (None, Some(Some(observed))) if silent.is_some() => {
                match holder(&observed.lease) == Some(&*identity.name) {
                    true => Move::Take(Box::new(released(&observed.lease))),
                    false => Move::Wait,
                }
            }
            (Some((_, renewed)), _) if renewed.elapsed() < RENEWAL => Move::Wait,
            (Some((lease, _)), _) => {
                let lease = renewed(lease, &identity);
                Move::Take(Box::new(spread(lease, &namespaces, *settled.borrow())))
            }
            (None, Some(lease)) => {
                let next = decide(lease, &identity, Instant::now());
                if let Some(observed) = lease {
                    former.send_replace(given_up(&observed.lease, &namespaces));
                }
                match next {
                    Move::Take(lease) => Move::Take(Box::new(spread(*lease, &namespaces, false))),
                    next => next,
                }
            }
            (None, None) => Move::Wait,
        };
        let write = async {
            match &next {
                Move::Wait => None,
                Move::Create => {
                    let lease = spread(first(&identity), &namespaces, false);
                    Some(api.create(&PostParams::default(), &lease).await)
                }
                Move::Take(lease) => {
                    let name = &identity.installation;
                    Some(api.replace(name, &PostParams::default(), lease).await)
                }
            }
        };
        match tokio::time::timeout(LOOK, write).await {
            Ok(None) => {}
            Ok(Some(Ok(lease))) => {
                if std::mem::take(&mut said) {
                    info!("the Lease can be written again");
                }
                held = silent.is_none().then(|| (lease, Instant::now()));
            }
            Ok(Some(Err(kube::Error::Api(status)))) if status.code == 409 => {
                debug!("another replica was faster");
                held = None;
            }
            Ok(Some(Err(error))) => {
                if !std::mem::replace(&mut said, true) {
                    warn!(%error, "the Lease cannot be written; it is tried again, and this is said once");
                }
            }
            Err(_) => {
                if !std::mem::replace(&mut said, true) {
                    warn!("the API server does not answer in time; this is said once");
                }
            }
        }
        if leaving {
            leading.send_replace(false);
            return;
        }
        if held
            .as_ref()
            .is_some_and(|(_, renewed)| renewed.elapsed() > DEADLINE)
        {
            held = None;
        }
        let leads = held.is_some();
        leading.send_if_modified(|leading| {
            if *leading != leads {
                info!(leads, "who writes statuses has changed");
            }
            std::mem::replace(leading, leads) != leads
        });
        tokio::select! {
            () = tokio::time::sleep(jittered(LOOK)) => {}
            // A release is answered at once, and so is who asks for silence.
            changed = seen.changed() => if changed.is_err() { return },
            changed = left.changed() => if changed.is_err() { return },
        }
        leaving = *left.borrow();
    }
}

fn decide(observed: Option<&Observed>, identity: &Identity, now: Instant) -> Move {
    let Some(Observed { lease, at }) = observed else {
        return Move::Create;
    };
    let free = match holder(lease) {
        None | Some("") => true,
        // From an earlier life.
        Some(holder) if holder == identity.name => true,
        Some(_) => now.duration_since(*at) >= DURATION,
    };
    match free {
        true => Move::Take(Box::new(taken(lease, identity))),
        false => Move::Wait,
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

/// The namespaces that a Lease says statuses were written in.
fn written_in(lease: &Lease) -> BTreeSet<String> {
    let written = lease.annotations().get(NAMESPACES);
    let written = written.and_then(|written| serde_json::from_str(written).ok());
    written.unwrap_or_default()
}

/// Those of them that are no longer watched.
fn given_up(lease: &Lease, watched: &BTreeSet<String>) -> BTreeSet<String> {
    match watched.contains(EVERYWHERE) {
        true => BTreeSet::new(),
        false => &written_in(lease) - watched,
    }
}

/// A Lease that says where statuses are written: where they were before as well, until those are
/// settled.
fn spread(mut lease: Lease, watched: &BTreeSet<String>, settled: bool) -> Lease {
    let written = match settled {
        true => watched.clone(),
        false => watched | &given_up(&lease, watched),
    };
    // A list of texts always has a form in JSON.
    let written = serde_json::to_string(&written).unwrap_or_default();
    let annotations = lease.annotations_mut();
    annotations.insert(NAMESPACES.to_owned(), written);
    annotations.remove(SILENT);
    lease
}

fn first(identity: &Identity) -> Lease {
    let metadata = ObjectMeta {
        name: Some(identity.installation.clone()),
        labels: Some([(INSTALLATION.to_owned(), identity.installation.clone())].into()),
        ..ObjectMeta::default()
    };
    let lease = Lease {
        metadata,
        spec: None,
    };
    taken(&lease, identity)
}

fn taken(lease: &Lease, identity: &Identity) -> Lease {
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
    let mut lease = renewed(lease, identity);
    if let Some(spec) = &mut lease.spec {
        spec.acquire_time = Some(leases::now());
        spec.lease_transitions = Some(transitions.map_or(0, |count| count + 1));
    }
    lease
}

fn renewed(lease: &Lease, identity: &Identity) -> Lease {
    let spec = lease.spec.clone().unwrap_or_default();
    Lease {
        metadata: lease.metadata.clone(),
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.name.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(leases::now()),
            ..spec
        }),
    }
}

fn released(lease: &Lease) -> Lease {
    let spec = lease.spec.clone().unwrap_or_default();
    Lease {
        metadata: lease.metadata.clone(),
        spec: Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(leases::now()),
            ..spec
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            name: "me".to_owned(),
            namespace: "ferrix".to_owned(),
            controller: String::new(),
            installation: "ferrix".to_owned(),
            pod: None,
        }
    }

    fn held_by(holder: Option<&str>) -> Lease {
        let mut lease = first(&identity());
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = holder.map(str::to_owned);
        }
        lease
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free() {
        let now = Instant::now() + DURATION * 2;
        let just = DURATION - Duration::from_millis(1);
        let cases = [
            (Some("other"), Duration::ZERO, false),
            (Some("other"), just, false),
            (Some("other"), DURATION, true),
            (Some(""), Duration::ZERO, true),
            (None, Duration::ZERO, true),
            (Some("me"), Duration::ZERO, true),
        ];
        for (holder, silent, free) in cases {
            let observed = Observed {
                lease: held_by(holder),
                at: now - silent,
            };
            match decide(Some(&observed), &identity(), now) {
                Move::Take(lease) => {
                    assert!(free, "{holder:?} after {silent:?}");
                    let spec = lease.spec.unwrap_or_default();
                    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
                    assert_eq!(spec.lease_transitions, Some(1));
                }
                Move::Wait => assert!(!free, "{holder:?} after {silent:?}"),
                Move::Create => panic!("there is a Lease"),
            }
        }
        assert_eq!(decide(None, &identity(), now), Move::Create);
    }

    #[test]
    fn a_released_lease_is_free_and_counts_on() {
        let lease = released(&held_by(Some("me")));
        let observed = Observed {
            lease,
            at: Instant::now(),
        };
        let other = Identity {
            name: "other".to_owned(),
            ..identity()
        };
        let Move::Take(lease) = decide(Some(&observed), &other, Instant::now()) else {
            panic!("it is free");
        };
        assert_eq!(lease.spec.unwrap_or_default().lease_transitions, Some(1));
    }
}
