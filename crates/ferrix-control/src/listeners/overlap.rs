//! Listeners of one Gateway and port whose TLS is for some of the same hosts.
//!
//! A client may ask one for what belongs to another, on a connection that it has already (RFC 9113, section
//! 9.1.1): Ferrix answers 421 then, and the authors are told (Gateway API, `OverlappingTLSConfig`).

use std::collections::BTreeMap;

use ferrix_table::rules::HostPattern;

use super::{Listener, Parent};
use crate::verdict::Condition;

/// A listener: the place of its owner, and its own there.
type Place = (usize, usize);

/// Tells the listeners of a Gateway and its ListenerSets. Of those that overlap with none nothing is said.
pub(super) fn tell(parents: &mut [Parent]) {
    for (place, other) in overlaps(parents) {
        let message = {
            let (owner, other) = (&parents[other.0], &parents[other.0].listeners[other.1]);
            format!(
                "Listener `{}` of {} has hosts of this one on port {}.",
                other.name,
                owner.key(),
                other.port
            )
        };
        let (condition, reason) = ("OverlappingTLSConfig", "OverlappingHostnames");
        let told = Condition::new(condition, true, reason, message);
        let listener = &mut parents[place.0].listeners[place.1];
        let conditions = std::mem::take(&mut listener.conditions).into_iter();
        listener.conditions = conditions.chain([told]).collect();
    }
}

/// Each listener that overlaps with others, and one of those.
fn overlaps(parents: &[Parent]) -> BTreeMap<Place, Place> {
    // Two of one host are in conflict, so that one of them is not accepted.
    let mut all: BTreeMap<(u16, HostPattern), Place> = BTreeMap::new();
    for (owner, parent) in parents.iter().enumerate() {
        let listeners = parent.listeners.iter().enumerate();
        for (place, listener) in listeners.filter(|(_, it)| ends_tls(it)) {
            all.insert((listener.port, listener.host.clone()), (owner, place));
        }
    }
    let mut found = BTreeMap::new();
    for ((port, host), one) in &all {
        let wider = host.wider().filter_map(|wider| all.get(&(*port, wider)));
        for other in wider {
            found.entry(*one).or_insert(*other);
            found.entry(*other).or_insert(*one);
        }
    }
    found
}

/// Whether TLS ends there, with a certificate.
fn ends_tls(listener: &Listener) -> bool {
    listener.accepted && !listener.certificates.is_empty()
}
