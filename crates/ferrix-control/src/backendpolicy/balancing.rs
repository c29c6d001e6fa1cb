//! Balancing, as it is written.

use std::time::Duration;

use ferrix_api::backendpolicy::{self, HashKey};
use ferrix_table::{
    balancing::{self, Algorithm, Balancing, Zones},
    filters::limit_key::IPV6_PREFIX,
};

use crate::{
    filters::{Faults, is_token, policy},
    report::Reason,
};

/// The longest slow start.
const LONGEST: Duration = Duration::from_secs(3600);

/// Of the endpoints of a zone, where nothing else is said.
const MIN_PERCENT: u8 = 50;

const FIELD: &str = "spec.balancing";

pub(super) fn compile(written: &backendpolicy::Balancing, faults: &mut Faults) -> Balancing {
    // A field that is new belongs in here.
    let backendpolicy::Balancing {
        algorithm,
        hash,
        max_load,
        slow_start,
        zones,
    } = written;
    let is_hash = *algorithm == Some(backendpolicy::Algorithm::ConsistentHash);
    let with = [("hash", hash.is_some()), ("maxLoad", max_load.is_some())];
    for (name, _) in with.into_iter().filter(|(_, given)| *given && !is_hash) {
        let message = "is for the algorithm ConsistentHash alone";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.{name}"), message);
    }
    if is_hash && slow_start.is_some() {
        let message = "cannot be had with the algorithm ConsistentHash: keys keep their endpoint";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.slowStart"), message);
    }
    if is_hash && zones.is_some() {
        let message = "cannot be had with the algorithm ConsistentHash: a key has one endpoint on all replicas";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.zones"), message);
    }
    if let Some(percent) = zones.as_ref().and_then(|it| it.min_percent)
        && !(1..=100).contains(&percent)
    {
        let field = format!("{FIELD}.zones.minPercent");
        faults.add(Reason::InvalidSpec, field, "expected 1 to 100");
    }
    if let Some(load) = max_load.filter(|load| *load <= 100) {
        let message = format!("{load} percent of the mean cannot bear all; expected 101 at least");
        faults.add(Reason::InvalidSpec, format!("{FIELD}.maxLoad"), message);
    }
    let algorithm = match algorithm.unwrap_or_default() {
        backendpolicy::Algorithm::RoundRobin => Algorithm::RoundRobin,
        backendpolicy::Algorithm::LeastRequests => Algorithm::LeastRequests,
        backendpolicy::Algorithm::Latency => Algorithm::Latency,
        backendpolicy::Algorithm::ConsistentHash => Algorithm::ConsistentHash {
            by: key(hash.as_ref(), faults),
            max_load: *max_load,
        },
    };
    Balancing {
        algorithm,
        slow_start: slow_start.as_deref().and_then(|text| time(text, faults)),
        zones: zones.as_ref().map(|it| Zones {
            min_percent: it.min_percent.unwrap_or(MIN_PERCENT),
        }),
    }
}

fn time(text: &str, faults: &mut Faults) -> Option<Duration> {
    let field = format!("{FIELD}.slowStart");
    let time = policy::duration(text, &field, faults)?;
    if time > LONGEST {
        let message = "expected an hour (`1h`) at most";
        faults.add(Reason::InvalidSpec, field, message);
    }
    Some(time).filter(|time| !time.is_zero())
}

fn key(written: Option<&HashKey>, faults: &mut Faults) -> balancing::HashKey {
    let by_client = balancing::HashKey::Client {
        ipv6_prefix: IPV6_PREFIX,
    };
    let mut refuse = |field: &str, message: String| {
        faults.add(Reason::InvalidSpec, format!("{FIELD}.{field}"), message);
    };
    let Some(written) = written else {
        let message = "is missing: what do requests of one endpoint have in common?";
        refuse("hash", message.to_owned());
        return by_client;
    };
    // A field that is new belongs in here.
    let HashKey {
        client,
        header,
        cookie,
        query,
    } = written;
    let name = |name: &String| Box::from(name.as_str());
    let all = [
        client.as_ref().map(|client| balancing::HashKey::Client {
            ipv6_prefix: client.ipv6_prefix.unwrap_or(IPV6_PREFIX),
        }),
        (header.as_ref()).map(|it| balancing::HashKey::Header(name(it))),
        (cookie.as_ref()).map(|it| balancing::HashKey::Cookie(name(it))),
        query.as_ref().map(|it| balancing::HashKey::Query(name(it))),
    ];
    let mut named = all.into_iter().flatten();
    let (Some(key), None) = (named.next(), named.next()) else {
        let message = "expected exactly one of `client`, `header`, `cookie` and `query`";
        refuse("hash", message.to_owned());
        return by_client;
    };
    match &key {
        balancing::HashKey::Client { ipv6_prefix } if !(32..=128).contains(ipv6_prefix) => refuse(
            "hash.client.ipv6Prefix",
            format!("{ipv6_prefix} bits are no client; expected 32 to 128"),
        ),
        balancing::HashKey::Header(name) if !is_token(name) => {
            refuse("hash.header", format!("`{name}` is no name of a header"));
        }
        balancing::HashKey::Cookie(name) if !is_token(name) => {
            refuse("hash.cookie", format!("`{name}` is no name of a cookie"));
        }
        _ => {}
    }
    key
}
