//! Where the system does not let a replica listen: what replicas tell one another.
//!
//! An address of a Gateway is on one machine: what is refused to the replicas on all others is no fault. So
//! nothing is said of an address where any replica may listen.

use std::collections::BTreeSet;

use ferrix_table::sockets::{Place, Refusals};
use serde::{Deserialize, Serialize};

/// A replica tells of no more places, so that its Lease stays small. Of the others nothing is said.
const MAX_PLACES: usize = 100;

/// The version of what replicas tell.
const VERSION: u32 = 1;

/// As a replica's Lease has it. Replicas of neighbouring releases read it of each other.
#[derive(Deserialize, Serialize)]
struct Told {
    version: u32,
    places: Vec<String>,
}

/// What is refused to one replica and to all others.
pub(super) fn common(
    refused: &Refusals,
    others: impl Iterator<Item = BTreeSet<Place>>,
) -> Refusals {
    let mut common = refused.clone();
    if !common.is_empty() {
        for other in others {
            common.retain(|place, _| other.contains(place));
        }
    }
    common
}

/// For a Lease; `None`: there is nothing to tell.
pub(super) fn write(refused: &Refusals) -> Option<String> {
    // Of a port that the system chooses there is no telling on other machines.
    let places = refused.keys().filter(|it| it.entry_point.is_none());
    let places: Vec<_> = places.take(MAX_PLACES).map(written).collect();
    let told = (!places.is_empty()).then_some(Told {
        version: VERSION,
        places,
    });
    // A number and texts always have a form in JSON.
    told.map(|told| serde_json::to_string(&told).unwrap_or_default())
}

/// What a Lease has. What is there in a way that this release does not know means that nothing is refused.
pub(super) fn read(told: Option<&str>) -> BTreeSet<Place> {
    let told = told.and_then(|told| serde_json::from_str::<Told>(told).ok());
    let told = told.filter(|told| told.version == VERSION);
    let places = told.into_iter().flat_map(|told| told.places);
    places.filter_map(|place| read_place(&place)).collect()
}

fn written(place: &Place) -> String {
    let transport = if place.datagrams { "udp" } else { "tcp" };
    format!("{}/{transport}", place.address)
}

fn read_place(text: &str) -> Option<Place> {
    let (address, transport) = text.rsplit_once('/')?;
    Some(Place {
        address: address.parse().ok()?,
        datagrams: match transport {
            "tcp" => false,
            "udp" => true,
            _ => return None,
        },
        entry_point: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(places: &[&str]) -> Refusals {
        let places = places.iter().filter_map(|it| read_place(it));
        places.map(|place| (place, "in use".into())).collect()
    }

    #[test]
    fn what_a_replica_tells_another_reads() {
        assert_eq!(write(&Refusals::new()), None);
        let told = refused(&[
            "192.0.2.1:80/tcp",
            "192.0.2.1:80/udp",
            "[2001:db8::1]:443/tcp",
        ]);
        let text = write(&told).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"places":["192.0.2.1:80/tcp","192.0.2.1:80/udp","[2001:db8::1]:443/tcp"]}"#
        );
        assert_eq!(read(Some(&text)), told.into_keys().collect());
        let known =
            r#"{"version":1,"new":1,"places":["192.0.2.1:80/tcp","192.0.2.1:80/new","odd"]}"#;
        assert_eq!(read(Some(known)).len(), 1);
        let unknown = [
            None,
            Some("odd"),
            Some("{}"),
            Some(r#"{"version":2,"places":["192.0.2.1:80/tcp"]}"#),
        ];
        for told in unknown {
            assert_eq!(read(told), BTreeSet::new(), "{told:?}");
        }
    }

    #[test]
    fn one_replica_that_listens_is_enough() {
        let ours = refused(&["192.0.2.1:80/tcp", "192.0.2.2:80/tcp"]);
        let same = || read(write(&ours).as_deref());
        let other = || refused(&["192.0.2.2:80/tcp"]).into_keys().collect();
        let cases: [(Vec<BTreeSet<Place>>, usize); 4] = [
            (vec![], 2),
            (vec![same(), same()], 2),
            (vec![same(), other()], 1),
            (vec![other(), BTreeSet::new()], 0),
        ];
        for (others, left) in cases {
            assert_eq!(common(&ours, others.into_iter()).len(), left);
        }
    }
}
