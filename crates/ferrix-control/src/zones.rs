//! The zone that this replica is in, and how many replicas are there.
//!
//! Which zone a node is in its labels say, and to read those would be a right over the whole cluster. The
//! EndpointSlices of a Service of Ferrix's own say it as well.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::{
    endpointslice::{Slice, Use},
    objects::ObjectName,
    settings::Settings,
    world::World,
};

/// Where this replica is among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnZone {
    pub(crate) name: Arc<str>,
    /// How many replicas are in the zone, this one included.
    near: usize,
    /// How many there are.
    all: usize,
}

impl OwnZone {
    /// How many requests of a thousand may stay in the zone, where so many of all endpoints are there: no more
    /// than those have of the endpoints, as the replicas of the zone have `near` of `all` of the requests.
    pub(crate) fn per_mille(&self, endpoints_near: usize, endpoints: usize) -> u16 {
        let stays = 1000 * endpoints_near * self.all / (endpoints * self.near).max(1);
        u16::try_from(stays.min(1000)).unwrap_or(1000)
    }
}

/// The zone of this replica. `None`: it is no pod, or no Service of its own namespace has it with a zone.
pub(crate) fn own(world: &World, settings: &Settings) -> Option<OwnZone> {
    let pod = settings.pod.as_ref()?;
    let mut of_service: BTreeMap<&ObjectName, Vec<&Slice>> = BTreeMap::new();
    for (service, slice) in world.slices_in(&pod.namespace) {
        of_service.entry(service).or_default().push(slice);
    }
    let mut found = of_service.values();
    found.find_map(|slices| {
        let mut replicas = BTreeMap::new();
        for slice in slices {
            let ready = slice.endpoints.iter().filter(|it| it.use_ == Use::Ready);
            replicas.extend(ready.filter_map(|it| Some((it.address, slice.zone(it)?))));
        }
        zone_of(pod.address, &replicas)
    })
}

fn zone_of(address: IpAddr, replicas: &BTreeMap<IpAddr, &Arc<str>>) -> Option<OwnZone> {
    let name = *replicas.get(&address)?;
    let family = replicas
        .iter()
        .filter(|(it, _)| it.is_ipv4() == address.is_ipv4());
    Some(OwnZone {
        name: Arc::clone(name),
        near: family.clone().filter(|(_, zone)| **zone == name).count(),
        all: family.count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_keeps_no_more_than_its_share() {
        // Replicas near and in all, endpoints near and in all.
        let cases = [
            (1, 1, 1, 4, 250),
            (1, 3, 1, 3, 1000),
            (1, 3, 2, 3, 1000),
            (2, 4, 1, 4, 500),
            (2, 3, 1, 10, 150),
            (1, 2, 0, 5, 0),
            (3, 3, 5, 5, 1000),
        ];
        for (near, all, endpoints_near, endpoints, expected) in cases {
            let zone = OwnZone {
                name: "a".into(),
                near,
                all,
            };
            let stays = zone.per_mille(endpoints_near, endpoints);
            assert_eq!(stays, expected, "{near}/{all} {endpoints_near}/{endpoints}");
        }
        assert_eq!(cases.len(), 7);
    }
}
