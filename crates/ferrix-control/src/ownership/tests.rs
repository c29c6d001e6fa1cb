use serde_json::json;

use super::*;
use crate::{
    listeners::Gateways,
    objects::{self, Kind, Object, Origin},
    settings::{HostGrant, HostSet},
};

/// An object with a host (none: empty), and when it was made.
#[derive(Clone, Copy, Debug)]
struct Made {
    namespace: &'static str,
    name: &'static str,
    host: &'static str,
    year: u32,
}

impl Made {
    fn key(&self) -> Key {
        objects::key(Kind::IngressRoute, self.namespace, self.name)
    }

    fn object(&self) -> Object {
        let mut route = json!({"rules": [{"service": {"name": "api", "port": 80}}]});
        if !self.host.is_empty() {
            route["host"] = json!(self.host);
        }
        let value = json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "creationTimestamp": format!("{}-01-01T00:00:00Z", self.year),
            },
            "spec": {"route": route},
        });
        Object::IngressRoute(Arc::new(serde_json::from_value(value).unwrap()))
    }
}

/// Objects, and who has which host.
#[derive(Default)]
struct Cluster {
    world: World,
    settings: Settings,
    ownership: Ownership,
}

impl Cluster {
    fn first_claim() -> Self {
        let mut cluster = Self::default();
        cluster.settings.hosts.first_claim = true;
        cluster
    }

    fn apply(&mut self, made: &Made) -> BTreeSet<Key> {
        (self.world).apply(made.object(), Origin::Api, Vec::new());
        self.follow(made.key())
    }

    fn remove(&mut self, key: Key) -> BTreeSet<Key> {
        self.world.remove(&key);
        self.follow(key)
    }

    fn follow(&mut self, key: Key) -> BTreeSet<Key> {
        let Self {
            world,
            settings,
            ownership,
        } = self;
        ownership.follow(world, settings, &Gateways::default(), &[key].into())
    }

    /// Why an object may not have its host.
    fn refusal(&self, key: &Key) -> Option<String> {
        let draft = self.world.route(key)?.serving();
        let Self {
            world,
            settings,
            ownership,
        } = self;
        let refusal = ownership.refusal(world, settings, key, &draft.hosts[0]);
        refusal.map(|refusal| refusal.to_string())
    }
}

fn made(namespace: &'static str, host: &'static str, year: u32) -> Made {
    Made {
        namespace,
        name: "r",
        host,
        year,
    }
}

#[test]
fn the_first_namespace_has_the_host() {
    // Objects, and the namespaces whose object is refused its host.
    let cases: [(&[Made], &[&str]); 10] = [
        (
            &[made("a", "x.test", 2001), made("b", "x.test", 2000)],
            &["a"],
        ),
        (&[made("a", "x.test", 2001), made("b", "y.test", 2000)], &[]),
        // Of one age, by name.
        (
            &[made("a", "x.test", 2000), made("b", "x.test", 2000)],
            &["b"],
        ),
        (
            &[made("a", "*.test", 2000), made("b", "x.test", 2001)],
            &["b"],
        ),
        (
            &[made("a", "*.test", 2001), made("b", "x.test", 2000)],
            &["a"],
        ),
        // A wildcard has one label.
        (
            &[made("a", "*.test", 2000), made("b", "x.y.test", 2001)],
            &[],
        ),
        // What is refused keeps nobody else away.
        (
            &[
                made("a", "x.test", 2000),
                made("b", "*.test", 2001),
                made("c", "y.test", 2002),
            ],
            &["b"],
        ),
        (
            &[
                made("a", "x.test", 2000),
                made("b", "x.test", 2001),
                made("c", "*.test", 2002),
            ],
            &["b", "c"],
        ),
        // No host at all is not claimed.
        (&[made("a", "", 2000), made("b", "x.test", 2001)], &["a"]),
        (
            &[made("a", "localhost", 2001), made("b", "localhost", 2000)],
            &["a"],
        ),
    ];
    for (objects, refused) in cases {
        let mut cluster = Cluster::first_claim();
        for made in objects {
            cluster.apply(made);
        }
        let is_refused = |made: &&Made| cluster.refusal(&made.key()).is_some();
        let found: Vec<_> = objects.iter().filter(is_refused).collect();
        let found: Vec<_> = found.iter().map(|made| made.namespace).collect();
        assert_eq!(found, refused, "{objects:?}");
    }
}

#[test]
fn who_has_a_host_is_named() {
    let mut cluster = Cluster::first_claim();
    let objects = [
        made("a", "x.test", 2000),
        made("b", "x.test", 2000),
        made("c", "*.test", 2001),
        made("d", "", 2000),
    ];
    for made in &objects {
        cluster.apply(made);
    }
    let refusal = |made: &Made| cluster.refusal(&made.key()).unwrap();
    assert_eq!(
        refusal(&objects[1]),
        "not served: x.test belongs to namespace a, by IngressRoute a/r, which comes first by its \
         name, as neither is older (`hosts.first_claim` of the settings); use another host, or a \
         route of namespace a"
    );
    assert_eq!(
        refusal(&objects[2]),
        "not served: *.test belongs to namespace a, by IngressRoute a/r for x.test, which is older \
         (`hosts.first_claim` of the settings); use another host, or a route of namespace a"
    );
    assert_eq!(
        refusal(&objects[3]),
        "not served: without a host it would take what is left of every host, which \
         `hosts.allowed` of the settings would have to allow by `\"*\"`, as hosts belong to who \
         claims them first; name a host"
    );
}

/// Nobody owns what its namespace may not have, however old the claim.
#[test]
fn a_claim_has_to_be_allowed() {
    let mut cluster = Cluster::first_claim();
    let grant = |namespace: &str, host: &str| HostGrant {
        namespaces: [namespace.to_owned()].into(),
        labels: BTreeMap::new(),
        hosts: vec![HostSet::try_from(host.to_owned()).unwrap()],
    };
    cluster.settings.hosts.allowed = Some(vec![grant("a", "x.test"), grant("b", "*")]);
    let objects = [
        made("a", "x.test", 2001),
        made("c", "x.test", 2000),
        made("b", "", 2000),
    ];
    for made in &objects {
        cluster.apply(made);
    }
    assert_eq!(cluster.refusal(&objects[0].key()), None);
    assert_eq!(cluster.refusal(&objects[2].key()), None);
    assert_eq!(
        cluster.refusal(&objects[1].key()).unwrap(),
        "not served: `hosts.allowed` of the settings gives x.test to namespace a and namespace b, \
         and to namespace c none; have it allowed by who runs Ferrix"
    );
}

/// A change concerns those that claim the same hosts, and only where another has them.
#[test]
fn whom_a_change_concerns() {
    let mut cluster = Cluster::first_claim();
    let keys = |concerned: BTreeSet<Key>| -> Vec<String> {
        let names = concerned.iter().map(|key| key.namespace.to_string());
        names.collect()
    };
    let claim = |name, namespace, host, year| Made {
        name,
        ..made(namespace, host, year)
    };
    let first = claim("r", "a", "x.test", 2000);
    assert_eq!(keys(cluster.apply(&first)), ["a"]);
    assert_eq!(keys(cluster.apply(&first)), [""; 0], "nothing new");
    assert_eq!(
        keys(cluster.apply(&claim("s", "a", "x.test", 2001))),
        [""; 0]
    );
    assert_eq!(
        keys(cluster.apply(&claim("r", "b", "x.test", 2002))),
        [""; 0]
    );
    assert_eq!(keys(cluster.apply(&claim("r", "c", "y.test", 2002))), ["c"]);
    // The wildcard is refused, which concerns nobody else.
    assert_eq!(keys(cluster.apply(&claim("r", "d", "*.test", 2003))), ["d"]);
    // The domain has an owner now.
    let wildcard = claim("w", "a", "*.test", 1999);
    assert_eq!(
        keys(cluster.apply(&wildcard)),
        ["a", "a", "a", "b", "c", "d"]
    );
    assert_eq!(
        keys(cluster.remove(wildcard.key())),
        ["a", "a", "b", "c", "d"]
    );
    // The next of the same namespace has the host.
    assert_eq!(keys(cluster.remove(first.key())), ["a", "b", "d"]);
    assert_eq!(cluster.ownership.domains.len(), 1);
}

/// After any changes the same is refused as by looking at all claims in the order of their age.
#[test]
fn refusals_are_those_of_the_order_of_age() {
    const NAMESPACES: [&str; 3] = ["a", "b", "c"];
    const NAMES: [&str; 4] = ["p", "q", "r", "s"];
    const HOSTS: [&str; 8] = [
        "x.test", "y.test", "*.test", "x.y.test", "*.y.test", "test", "", "z.test",
    ];
    let mut seed = 7_u32;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % bound
    };
    let (mut refused, mut granted) = (0, 0);
    for _ in 0..60 {
        let mut cluster = Cluster::first_claim();
        let mut there: BTreeMap<Key, Made> = BTreeMap::new();
        for _ in 0..60 {
            let made = Made {
                namespace: NAMESPACES[below(3)],
                name: NAMES[below(4)],
                host: HOSTS[below(8)],
                year: 2000 + u32::try_from(below(4)).unwrap(),
            };
            let told: BTreeMap<_, _> = (there.keys())
                .map(|key| (key.clone(), cluster.refusal(key)))
                .collect();
            let concerned = match below(4) {
                0 => {
                    there.remove(&made.key());
                    cluster.remove(made.key())
                }
                _ => {
                    there.insert(made.key(), made);
                    cluster.apply(&made)
                }
            };
            let mut ordered: Vec<&Made> = there.values().collect();
            ordered.sort_by_key(|it| (it.year, it.namespace, it.name));
            let mut held: Vec<(HostPattern, &str)> = Vec::new();
            for it in ordered {
                let is_granted = !it.host.is_empty() && {
                    let host = HostPattern::parse(it.host).unwrap();
                    let meets = |other: &HostPattern| host.covers(other) || other.covers(&host);
                    let free = held
                        .iter()
                        .all(|(other, namespace)| *namespace == it.namespace || !meets(other));
                    if free {
                        held.push((host, it.namespace));
                    }
                    free
                };
                let refusal = cluster.refusal(&it.key());
                assert_eq!(refusal.is_none(), is_granted, "{it:?} of {there:?}");
                let news = told.get(&it.key()).is_some_and(|before| *before != refusal);
                assert!(
                    !news || concerned.contains(&it.key()) || it.key() == made.key(),
                    "{it:?} is not told {refusal:?}"
                );
                refused += usize::from(!is_granted);
                granted += usize::from(is_granted);
            }
        }
    }
    println!("{granted} granted, {refused} refused");
    assert!(granted > 5_000 && refused > 5_000);
}
