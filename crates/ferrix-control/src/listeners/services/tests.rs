//! A leader whose deeds an API server does, and replicas that see what comes of it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::super::Gateways;
use super::*;
use crate::{
    decode::{self, Decoded, Strictness},
    objects::{self, Kind, Origin},
    settings::{GatewayReach, GatewaySettings},
};

const NAMESPACE: &str = "ferrix";

/// A cluster: its objects, in the order in which they came.
struct Cluster {
    settings: Settings,
    objects: Vec<Value>,
    /// Those that were made, so that each has a time and a uid of its own.
    made: u32,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self {
            settings: settings("LoadBalancer"),
            objects: Vec::new(),
            made: 0,
        };
        cluster.add(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "ferrix"},
            "spec": {"controllerName": "ferrix.com/gateway-controller"},
        }));
        cluster
    }

    /// Adds an object, or puts it in the place of another of its name.
    fn add(&mut self, object: Value) {
        self.remove(
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap(),
        );
        self.objects.push(object);
    }

    fn remove(&mut self, kind: &str, name: &str) {
        self.objects
            .retain(|it| (&it["kind"], &it["metadata"]["name"]) != (&json!(kind), &json!(name)));
    }

    fn object(&mut self, kind: &str, name: &str) -> &mut Value {
        let is_it = |it: &&mut Value| it["kind"] == kind && it["metadata"]["name"] == name;
        self.objects.iter_mut().find(is_it).unwrap()
    }

    fn gateway(&mut self, name: &str, ports: &[u16]) {
        self.made += 1;
        let listeners = ports
            .iter()
            .map(|port| json!({"name": format!("l{port}"), "port": port, "protocol": "HTTP"}));
        self.add(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}")},
            "spec": {"gatewayClassName": "ferrix", "listeners": listeners.collect::<Value>()},
        }));
    }

    /// A Service for a Gateway, which leads to these ports of the pods.
    fn service(&mut self, gateway: &str, ports: &[(u16, u16)]) {
        self.made += 1;
        let ports = ports
            .iter()
            .map(|(port, target)| json!({"port": port, "targetPort": target}));
        self.add(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": format!("gateway-uid-of-{gateway}"), "namespace": NAMESPACE,
                "uid": format!("service-{}", self.made),
                "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", self.made),
                "labels": {
                    "ferrix.com/installation": "ferrix",
                    "ferrix.com/gateway-uid": format!("uid-of-{gateway}"),
                },
            },
            "spec": {"type": "ClusterIP", "clusterIPs": ["10.96.0.7"], "ports": ports.collect::<Value>()},
        }));
    }

    fn world<'v>(objects: impl Iterator<Item = &'v Value>) -> World {
        let mut world = World::new();
        for object in objects {
            let Ok(Decoded::Object { object, .. }) = decode::decode(object, Strictness::Api) else {
                panic!("{object}");
            };
            world.apply(object, Origin::Api, Vec::new());
        }
        world
    }

    fn seen(&self) -> World {
        Self::world(self.objects.iter())
    }

    /// By another replica, which saw everything in another order.
    fn seen_otherwise(&self) -> World {
        Self::world(self.objects.iter().rev())
    }

    /// What is told of a Gateway whose Service cannot be written.
    fn unwritten(&self, service: &str, why: &str) -> Gateways {
        let mut world = self.seen();
        let unwritten = [(service.into(), why.to_owned())].into();
        assert!(
            !world
                .take(crate::world::Change::Unwritten(unwritten))
                .is_empty()
        );
        Gateways::of(&world, &self.settings)
    }

    fn gateways(&self) -> Gateways {
        let gateways = Gateways::of(&self.seen(), &self.settings);
        let otherwise = Gateways::of(&self.seen_otherwise(), &self.settings);
        assert_eq!(gateways.deeds(), otherwise.deeds());
        assert_eq!(places(&gateways), places(&otherwise));
        gateways
    }

    fn deeds(&self) -> Arc<[Deed]> {
        Arc::clone(self.gateways().deeds())
    }

    /// Does what is to be done, as an API server would. Returns the names of what was done.
    fn follow(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for deed in self.deeds().iter() {
            match deed {
                Deed::Apply {
                    name,
                    before,
                    manifest,
                    ..
                } => {
                    self.made += 1;
                    let mut service = (**manifest).clone();
                    let uid = match before {
                        Some(uid) => uid.to_string(),
                        None => format!("service-{}", self.made),
                    };
                    service["metadata"]["uid"] = uid.into();
                    service["metadata"]["creationTimestamp"] =
                        format!("2026-01-01T00:00:{:02}Z", self.made).into();
                    service["spec"]["clusterIPs"] = json!([format!("10.96.0.{}", self.made)]);
                    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": format!("192.0.2.{}", self.made)}]}});
                    self.add(service);
                    done.push(format!("apply {name}"));
                }
                Deed::Delete { name, .. } => {
                    self.remove("Service", name);
                    done.push(format!("delete {name}"));
                }
            }
        }
        done
    }

    /// A condition of a Gateway, or of one of its listeners.
    fn condition(&self, gateway: &str, listener: Option<u16>, condition: &str) -> String {
        let gateways = self.gateways();
        let parent = gateways.get(&objects::key(Kind::Gateway, "shop", gateway));
        let parent = parent.unwrap();
        let of_listener = |port| {
            let mut listeners = parent.listeners.iter();
            &listeners.find(|it| it.port == port).unwrap().conditions
        };
        let conditions = listener.map_or(&parent.conditions, of_listener);
        let found = conditions.iter().find(|it| it.condition == condition);
        let found = found.unwrap();
        format!("{} {}: {}", found.status, found.reason, found.message)
    }
}

fn metadata_of(cluster: &mut Cluster) -> &mut Value {
    &mut cluster.object("Service", "gateway-uid-of-one")["metadata"]
}

fn settings(kind: &str) -> Settings {
    let spec = json!({"type": kind, "selector": {"app": "ferrix"}});
    Settings {
        gateway: Some(GatewaySettings {
            reach: GatewayReach::Services(GatewayServices {
                namespace: Some(NAMESPACE.to_owned()),
                annotations: [("of.settings/a".to_owned(), "1".to_owned())].into(),
                spec: spec.as_object().unwrap().clone(),
            }),
            ..GatewaySettings::default()
        }),
        ..Settings::new(Vec::new())
    }
}

/// The entry points of all listeners, with the ports by which clients reach them.
fn places(gateways: &Gateways) -> Vec<(String, SocketAddr, Option<u16>)> {
    let entry_points = gateways.entry_points();
    let place = |it: &ferrix_table::entry_points::EntryPoint| {
        (it.name.to_string(), it.address, it.exposed_port)
    };
    entry_points.map(place).collect()
}

#[test]
fn a_gateway_gets_a_service_and_is_served_where_it_leads() {
    let mut cluster = Cluster::new();
    cluster.gateway("one", &[80, 8080]);
    cluster.gateway("two", &[80]);
    assert_eq!(places(&cluster.gateways()), []);
    let told = cluster.condition("one", None, "Programmed");
    assert!(told.starts_with("false AddressNotAssigned: "), "{told}");
    let told = cluster.condition("one", Some(80), "Programmed");
    assert!(told.starts_with("false Pending: "), "{told}");

    let done = cluster.follow();
    assert_eq!(
        done,
        ["apply gateway-uid-of-one", "apply gateway-uid-of-two"]
    );
    assert_eq!(cluster.follow(), [""; 0], "once is enough");
    let gateways = cluster.gateways();
    let places = places(&gateways);
    let exposed: Vec<_> = places
        .iter()
        .map(|(name, _, exposed)| (name.as_str(), exposed.unwrap()))
        .collect();
    assert_eq!(
        exposed,
        [
            ("Gateway shop/one/l80", 80),
            ("Gateway shop/one/l8080", 8080),
            ("Gateway shop/two/l80", 80),
        ]
    );
    let targets: HashSet<u16> = places.iter().map(|(_, it, _)| it.port()).collect();
    assert_eq!(targets.len(), 3, "{places:?}");
    assert!(targets.iter().all(|it| TARGET_PORTS.contains(it)));
    let told = cluster.condition("one", None, "Programmed");
    assert_eq!(told, "true Programmed: The Gateway is served.");
    let key = objects::key(Kind::Gateway, "shop", "one");
    let addresses = &gateways.get(&key).unwrap().addresses;
    assert_eq!(addresses[0].value.as_deref(), Some("192.0.2.3"));
}

#[test]
fn what_a_gateway_has_stays_when_ports_and_gateways_come_and_go() {
    let mut cluster = Cluster::new();
    cluster.gateway("one", &[80]);
    cluster.gateway("two", &[80]);
    cluster.follow();
    let before = places(&cluster.gateways());
    cluster.gateway("one", &[443, 80]);
    cluster.gateway("also", &[80]);
    let told = cluster.condition("one", None, "Programmed");
    assert!(told.starts_with("true "), "{told}");
    cluster.follow();
    let after = places(&cluster.gateways());
    assert_eq!(after.len(), 4);
    assert!(before.iter().all(|place| after.contains(place)));
    // A port that goes is not kept.
    cluster.gateway("one", &[443]);
    assert_eq!(cluster.follow(), ["apply gateway-uid-of-one"]);
    let ports = &cluster.object("Service", "gateway-uid-of-one")["spec"]["ports"];
    assert_eq!(ports.as_array().unwrap().len(), 1, "{ports}");
}

#[test]
fn the_service_of_a_gateway_goes_with_it_and_no_other_does() {
    let foreign = [
        // Of another installation, of somebody else, and one that only looks like ours.
        json!({"ferrix.com/installation": "ferrix-inner", "ferrix.com/gateway-uid": "x"}),
        json!({}),
        json!({"ferrix.com/installation": "ferrix"}),
        json!({"ferrix.com/installation": "ferrix", "ferrix.com/gateway-uid": "other"}),
    ];
    let mut cluster = Cluster::new();
    for labels in &foreign {
        let name = "gateway-x";
        cluster.add(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {"ports": [{"port": 80, "targetPort": 10_000}]},
        }));
        assert_eq!(*cluster.deeds(), [], "{labels}");
    }
    cluster.gateway("one", &[80]);
    cluster.follow();
    let uid = cluster.object("Service", "gateway-uid-of-one")["metadata"]["uid"].clone();
    let class = cluster.object("GatewayClass", "ferrix").clone();
    // Nobody knows whose it is without its class.
    cluster.remove("GatewayClass", "ferrix");
    assert_eq!(*cluster.deeds(), []);
    cluster.add(class);
    // A Gateway of which nothing can be served keeps what it has.
    cluster.object("Gateway", "one")["spec"]["listeners"][0]["protocol"] = "odd".into();
    assert_eq!(*cluster.deeds(), []);
    cluster.object("GatewayClass", "ferrix")["spec"]["controllerName"] = "example.com/c".into();
    let gone = |uid: &Value| Deed::Delete {
        name: "gateway-uid-of-one".into(),
        uid: uid.as_str().unwrap().into(),
    };
    assert_eq!(*cluster.deeds(), [gone(&uid)]);
    cluster.remove("Gateway", "one");
    assert_eq!(*cluster.deeds(), [gone(&uid)]);
    metadata_of(&mut cluster)["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
    assert_eq!(*cluster.deeds(), [], "it is on its way");
    metadata_of(&mut cluster)["deletionTimestamp"] = Value::Null;
    // One of that name and another uid is another.
    cluster.gateway("one", &[80]);
    cluster.object("GatewayClass", "ferrix")["spec"]["controllerName"] =
        "ferrix.com/gateway-controller".into();
    cluster.object("Gateway", "one")["metadata"]["uid"] = "another".into();
    assert_eq!(
        cluster.follow(),
        ["apply gateway-another", "delete gateway-uid-of-one"]
    );
}

#[test]
fn what_others_have_made_is_not_touched() {
    let mut cluster = Cluster::new();
    cluster.gateway("one", &[80]);
    cluster.service("one", &[(80, 10_000)]);
    for labels in [
        json!({}),
        json!({"ferrix.com/installation": "other", "ferrix.com/gateway-uid": "uid-of-one"}),
    ] {
        cluster.object("Service", "gateway-uid-of-one")["metadata"]["labels"] = labels;
        assert_eq!(*cluster.deeds(), []);
        assert_eq!(places(&cluster.gateways()), []);
        let told = cluster.condition("one", None, "Programmed");
        assert!(told.contains("that Ferrix has not made"), "{told}");
    }
}

#[test]
fn of_two_services_with_one_port_of_the_pods_the_older_has_it() {
    let mut cluster = Cluster::new();
    // The other way round in the order of names.
    cluster.gateway("b", &[80]);
    cluster.gateway("a", &[80]);
    cluster.service("b", &[(80, 10_001)]);
    cluster.service("a", &[(80, 10_001)]);
    let had = |cluster: &Cluster| {
        let places = places(&cluster.gateways()).into_iter();
        let all = places.map(|(name, address, _)| (name, address.port()));
        all.collect::<Vec<_>>()
    };
    assert_eq!(had(&cluster), [("Gateway shop/b/l80".to_owned(), 10_001)]);
    cluster.follow();
    let after = had(&cluster);
    assert_eq!(after.len(), 2);
    assert_eq!(after[1], ("Gateway shop/b/l80".to_owned(), 10_001));
    assert_ne!(after[0].1, 10_001);
}

#[test]
fn what_somebody_edits_is_put_right() {
    let mut cluster = Cluster::new();
    cluster.gateway("one", &[80]);
    cluster.follow();
    let before = places(&cluster.gateways());
    for target in [json!(9_999), json!("web"), json!(20_000)] {
        let service = cluster.object("Service", "gateway-uid-of-one");
        service["spec"]["ports"][0]["targetPort"] = target;
        assert_eq!(places(&cluster.gateways()), []);
        assert_eq!(cluster.follow(), ["apply gateway-uid-of-one"]);
        // The place to begin with is the Gateway's own.
        assert_eq!(places(&cluster.gateways()), before);
    }
}

#[test]
fn ports_that_cannot_be_had_are_told() {
    let mut cluster = Cluster::new();
    cluster.gateway("many", &[80]);
    let all: Vec<(u16, u16)> = TARGET_PORTS.map(|it| (it, it)).collect();
    cluster.service("many", &all);
    cluster.gateway("one", &[80]);
    let told = cluster.condition("one", Some(80), "Accepted");
    assert!(
        told.starts_with("false PortUnavailable: All of the 10000"),
        "{told}"
    );
}

#[test]
fn why_a_service_cannot_be_written_is_told() {
    let mut cluster = Cluster::new();
    cluster.gateway("one", &[80]);
    let gateways = cluster.unwritten("gateway-uid-of-one", "it is forbidden");
    let key = objects::key(Kind::Gateway, "shop", "one");
    let parent = gateways.get(&key).unwrap();
    let told = |conditions: &[crate::verdict::Condition]| {
        let mut programmed = conditions.iter().filter(|it| it.condition == "Programmed");
        programmed.next().unwrap().message.to_string()
    };
    let expected = "Its Service cannot be written: it is forbidden";
    assert_eq!(told(&parent.conditions), expected);
    assert!(told(&parent.listeners[0].conditions).ends_with("written: it is forbidden"));
}

#[test]
fn what_a_gateway_asks_for_is_in_its_service() {
    let mut cluster = Cluster::new();
    cluster.gateway("one", &[80]);
    let spec = &mut cluster.object("Gateway", "one")["spec"];
    spec["infrastructure"] = json!({
        "labels": {"team": "a", "ferrix.com/installation": "x", "ferrix.com/gateway-uid": "x"},
        "annotations": {"of.gateway/a": "2", "of.settings/a": "3", "ferrix.com/applied": "x"},
    });
    spec["addresses"] = json!([{"type": "IPAddress"}, {"value": "198.51.100.7"}]);
    spec["listeners"].as_array_mut().unwrap().extend([
        json!({"name": "udp", "port": 80, "protocol": "UDP"}),
        json!({"name": "tcp", "port": 9000, "protocol": "TCP"}),
    ]);
    let deeds = cluster.deeds();
    let [Deed::Apply { manifest, .. }] = &*deeds else {
        panic!("{deeds:?}");
    };
    let metadata = &manifest["metadata"];
    assert_eq!(
        metadata["labels"],
        json!({
            "team": "a", "ferrix.com/installation": "ferrix", "ferrix.com/gateway-uid": "uid-of-one",
            "gateway.networking.k8s.io/gateway-name": "one",
        })
    );
    let annotations = metadata["annotations"].as_object().unwrap();
    let told: Vec<_> = annotations
        .iter()
        .filter(|(name, _)| *name != "ferrix.com/applied")
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("ferrix.com/gateway", "shop/one"),
            ("of.gateway/a", "2"),
            ("of.settings/a", "3"),
        ]
    );
    let spec = &manifest["spec"];
    assert_eq!(spec["loadBalancerIP"], "198.51.100.7");
    assert_eq!(spec["selector"], json!({"app": "ferrix"}));
    let ports = spec["ports"].as_array().unwrap().iter();
    let named: Vec<_> = ports.map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["tcp-80", "udp-80", "tcp-9000"]);
    // Until its load balancer has that address, it is not where it asks to be.
    cluster.follow();
    let told = cluster.condition("one", None, "Programmed");
    assert!(
        told.starts_with("false AddressNotUsable: Address 198.51.100.7"),
        "{told}"
    );
    let service = cluster.object("Service", "gateway-uid-of-one");
    service["status"]["loadBalancer"]["ingress"][0]["ip"] = "198.51.100.7".into();
    assert!(
        cluster
            .condition("one", None, "Programmed")
            .starts_with("true ")
    );
    // What it asks for no more goes.
    cluster.object("Gateway", "one")["spec"]["infrastructure"] = json!({});
    assert_eq!(cluster.follow(), ["apply gateway-uid-of-one"]);
    assert_eq!(cluster.follow(), [""; 0]);
}

#[test]
fn the_address_of_a_gateway_is_what_its_service_got() {
    let cases = [
        // A load balancer that has not come yet is no reason to name what leads nowhere from outside.
        (
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]}),
            json!(null),
            json!([]),
        ),
        (
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]}),
            json!([{"ip": "192.0.2.1"}, {"hostname": "lb.test"}]),
            json!(["IPAddress 192.0.2.1", "Hostname lb.test"]),
        ),
        (
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.1", "fd00::1"]}),
            json!(null),
            json!(["IPAddress 10.96.0.1", "IPAddress fd00::1"]),
        ),
        (
            json!({"type": "ClusterIP", "clusterIPs": ["None"]}),
            json!(null),
            json!([]),
        ),
        (
            json!({"clusterIPs": ["10.96.0.1"]}),
            json!(null),
            json!(["IPAddress 10.96.0.1"]),
        ),
    ];
    for (spec, ingress, expected) in &cases {
        let mut cluster = Cluster::new();
        cluster.gateway("one", &[80]);
        cluster.service("one", &[(80, 10_000)]);
        let service = cluster.object("Service", "gateway-uid-of-one");
        let mut spec = spec.clone();
        spec["ports"] = service["spec"]["ports"].clone();
        service["spec"] = spec;
        service["status"] = json!({"loadBalancer": {"ingress": ingress}});
        let gateways = cluster.gateways();
        let key = objects::key(Kind::Gateway, "shop", "one");
        let addresses = gateways.get(&key).unwrap().addresses.iter();
        let told = addresses.map(|it| format!("{} {}", it.kind, it.value.as_ref().unwrap()));
        assert_eq!(json!(told.collect::<Vec<_>>()), *expected);
    }
    assert_eq!(cases.len(), 5);
}

#[test]
fn where_nobody_makes_services_each_gateway_has_its_ports() {
    let mut cluster = Cluster::new();
    cluster.gateway("one", &[80, 443]);
    let mut settings = settings("LoadBalancer");
    if let Some(gateway) = &mut settings.gateway
        && let GatewayReach::Services(services) = &mut gateway.reach
    {
        services.namespace = None;
    }
    cluster.settings = settings;
    assert_eq!(*cluster.deeds(), []);
    assert_eq!(places(&cluster.gateways()).len(), 2);
    assert!(
        cluster
            .condition("one", None, "Programmed")
            .starts_with("true ")
    );
}
