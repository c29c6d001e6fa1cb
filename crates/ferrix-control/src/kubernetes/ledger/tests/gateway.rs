//! Statuses of the Gateway API.

use ferrix_api::gateway::{GatewayAddress, ParentReference};
use serde_json::Value;

use super::*;
use crate::{
    gateway_status,
    verdict::{self, ClassVerdict, GatewayVerdict, ListenerVerdict, ParentVerdict, Verdict},
};

const FOREIGN: &str = "example.com/controller";

/// One object, the ledger of a leader with two replicas, and a clock that moves when it is told.
struct Desk {
    ledger: Ledger,
    now: Instant,
    object: DynamicObject,
    kind: Kind,
    version: u64,
}

impl Desk {
    /// With an object that has this status, which a manager has written.
    fn new(kind: Kind, manager: &str, status: Value) -> Self {
        let object = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind.as_str(),
            "metadata": {
                "name": "r", "namespace": "default", "uid": "u", "generation": 1,
                "resourceVersion": "100",
                "managedFields": [{"manager": manager, "subresource": "status"}],
            },
            "status": status,
        });
        let mut desk = Self {
            ledger: Ledger::new(OURS, offer(&["web"])),
            now: Instant::now(),
            object: serde_json::from_value(object).unwrap(),
            kind,
            version: 100,
        };
        desk.ledger.lead(true, desk.now);
        desk.replicas(&[("a", 1_000), ("b", 1_000)]);
        desk.see();
        desk
    }

    fn key(&self) -> Key {
        let namespace = if self.kind.is_namespaced() {
            "default"
        } else {
            ""
        };
        objects::key(self.kind, namespace, "r")
    }

    fn replicas(&mut self, replicas: &[(&str, u64)]) {
        let replica = |(name, version): &(&str, u64)| {
            let mut replica = replica(0, offer(&["web"]));
            replica.progress.advance(self.kind, None, *version);
            ((*name).into(), replica)
        };
        let replicas = replicas.iter().map(replica).collect();
        self.ledger.replicas(replicas, self.now);
    }

    fn see(&mut self) {
        let seen = Seen::new((self.kind, "v1"), &self.object, WRITER.controller);
        self.ledger.see(self.key(), seen, self.now);
    }

    /// Somebody edits it.
    fn edit(&mut self, generation: i64) {
        self.version += 1;
        self.object.metadata.generation = Some(generation);
        self.object.metadata.resource_version = Some(self.version.to_string());
        self.see();
    }

    /// It is translated, to this verdict; `None`: it is not ours.
    fn tell(&mut self, verdict: Option<Verdict>) {
        let entry = verdict.map(|verdict| {
            Arc::new(Entry {
                observed_generation: self.object.metadata.generation,
                serving: Serving::Newest,
                entry_points: ["Gateway default/g/http".to_owned()].into(),
                verdict: Some(Arc::new(verdict)),
                ..Entry::remarks(self.key(), Origin::Api, Vec::new())
            })
        });
        let report = Report {
            entries: entry.into_iter().collect(),
            ..Report::default()
        };
        self.ledger.report(Arc::new(report), self.now);
    }

    /// Lets some time pass, writes all that is due, and sees what comes back. What was written last.
    fn write_after(&mut self, time: Duration) -> Option<Value> {
        self.now += time;
        let writes = self.ledger.writes(usize::MAX, self.now);
        for write in &writes {
            assert_eq!(
                write.version.to_string(),
                self.object.metadata.resource_version.clone().unwrap()
            );
            self.version += 1;
            let form = kinds::form(self.kind).unwrap();
            self.object.data["status"] = (form.write)(&write.status, &WRITER);
            self.object.metadata.resource_version = Some(self.version.to_string());
            let managed = json!([{
                "manager": seen::manager(&write.installation), "subresource": "status",
            }]);
            // Who owns nothing any more is not recorded.
            let owns = self.object.data["status"] != json!({});
            self.object.metadata.managed_fields =
                owns.then(|| serde_json::from_value(managed).unwrap());
            let done = Written::Done(self.version);
            self.ledger.written(write, done, self.now);
            self.see();
        }
        assert!(writes.len() < 2);
        (!writes.is_empty()).then(|| self.object.data["status"].clone())
    }

    fn write(&mut self) -> Option<Value> {
        self.write_after(Duration::ZERO)
    }

    /// That nothing is written, whatever time passes.
    fn rests(&mut self) {
        for _ in 0..120 {
            assert_eq!(self.write_after(SECOND), None);
        }
        assert_eq!(self.ledger.next(), None);
    }
}

fn parent(name: &str) -> ParentReference {
    ParentReference {
        name: name.to_owned(),
        ..ParentReference::default()
    }
}

/// A verdict of a route, for each parent whether it was accepted.
fn attached(parents: &[(&str, bool)]) -> Verdict {
    let parents = parents.iter().map(|(name, accepted)| ParentVerdict {
        parent: parent(name),
        conditions: [
            match accepted {
                true => verdict::Condition::new("Accepted", true, "Accepted", "ok"),
                false => verdict::Condition::new("Accepted", false, "NotAllowedByListeners", "no"),
            },
            verdict::Condition::new("ResolvedRefs", true, "ResolvedRefs", "ok"),
        ]
        .into(),
    });
    Verdict::Route(parents.collect())
}

/// An entry as it stands in a status.
fn entry_of(controller: &str, parent: &str) -> Value {
    json!({
        "parentRef": {"name": parent}, "controllerName": controller, "later": {"is": "kept"},
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "m",
            "observedGeneration": 1, "lastTransitionTime": FIRST,
        }],
    })
}

fn names_and_states(entry: &Value) -> Vec<String> {
    let conditions = entry["conditions"].as_array().unwrap().iter();
    conditions
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap().to_owned();
            format!("{} {} {}", text("type"), text("status"), text("reason"))
        })
        .collect()
}

#[test]
fn a_route_has_an_entry_for_each_parent_beside_those_of_others() {
    let foreign = entry_of(FOREIGN, "elsewhere");
    let mut desk = Desk::new(Kind::HttpRoute, "someone", json!({"parents": [foreign]}));
    desk.tell(Some(attached(&[("g", true), ("closed", false)])));
    let written = desk.write().expect("a status");
    let parents = written["parents"].as_array().unwrap();
    assert_eq!(parents.len(), 3);
    assert_eq!(parents[0], foreign);
    assert_eq!(parents[1]["parentRef"]["name"], "g");
    assert_eq!(parents[1]["controllerName"], WRITER.controller);
    let programmed = "ferrix.com/Programmed True Programmed".to_owned();
    assert_eq!(
        names_and_states(&parents[1]),
        [
            "Accepted True Accepted",
            "ResolvedRefs True ResolvedRefs",
            &programmed
        ]
    );
    assert_eq!(
        parents[1]["conditions"][2]["message"],
        "2/2 replicas serve this generation."
    );
    assert_eq!(parents[1]["conditions"][2]["observedGeneration"], 1);
    assert_eq!(
        names_and_states(&parents[2]),
        [
            "Accepted False NotAllowedByListeners",
            "ResolvedRefs True ResolvedRefs"
        ]
    );
    desk.rests();
}

#[test]
fn entries_for_parents_that_are_no_longer_named_go_and_times_stay() {
    let foreign = entry_of(FOREIGN, "g");
    let ours = |parent| entry_of(WRITER.controller, parent);
    let status = json!({"parents": [ours("former"), foreign, ours("g")]});
    let mut desk = Desk::new(Kind::GrpcRoute, "ferrix:ferrix/ferrix", status);
    desk.tell(Some(attached(&[("g", true)])));
    let written = desk.write().expect("a status");
    let parents = written["parents"].as_array().unwrap();
    assert_eq!((parents.len(), &parents[0]), (2, &foreign));
    assert_eq!(parents[1]["parentRef"]["name"], "g");
    let since = |place: usize| &parents[1]["conditions"][place]["lastTransitionTime"];
    assert_eq!(since(0), FIRST);
    assert_ne!(since(1), FIRST);
    desk.rests();
    // It attaches to nothing of ours any more.
    desk.edit(2);
    desk.tell(Some(attached(&[])));
    assert_eq!(desk.write(), Some(json!({"parents": [foreign]})));
    desk.rests();
    // Nobody writes to it where we never did.
    let mut desk = Desk::new(Kind::GrpcRoute, "someone", json!({"parents": [foreign]}));
    desk.tell(Some(attached(&[])));
    assert_eq!(desk.write(), None);
    desk.rests();
}

/// Whoever writes at the same time wins, and what it has written is there in the next attempt.
#[test]
fn what_others_write_meanwhile_is_kept() {
    let mut desk = Desk::new(Kind::TlsRoute, "someone", json!({"parents": []}));
    desk.tell(Some(attached(&[("g", true)])));
    let writes = desk.ledger.writes(usize::MAX, desk.now);
    assert_eq!(writes.len(), 1);
    let foreign = entry_of(FOREIGN, "elsewhere");
    desk.object.data["status"] = json!({"parents": [foreign]});
    desk.version += 1;
    desk.object.metadata.resource_version = Some(desk.version.to_string());
    desk.ledger.written(&writes[0], Written::Obsolete, desk.now);
    desk.see();
    let written = desk.write_after(PATIENCE).expect("a status");
    assert_eq!(written["parents"][0], foreign);
    assert_eq!(written["parents"].as_array().unwrap().len(), 2);
    desk.rests();
}

#[test]
fn programmed_waits_for_the_replicas_up_to_a_second() {
    let mut desk = Desk::new(Kind::HttpRoute, "someone", Value::Null);
    desk.edit(2);
    desk.replicas(&[("a", 101), ("b", 100)]);
    desk.tell(Some(attached(&[("g", true)])));
    assert_eq!(desk.write_after(PATIENCE / 2), None);
    let written = desk.write_after(PATIENCE / 2).expect("a status");
    let pending = &written["parents"][0];
    assert_eq!(
        names_and_states(pending)[2],
        "ferrix.com/Programmed False Pending"
    );
    let message = pending["conditions"][2]["message"].as_str().unwrap();
    assert!(message.starts_with("1 of 2 replicas serve"), "{message}");
    desk.replicas(&[("a", 101), ("b", 101)]);
    let written = (0..20)
        .find_map(|_| desk.write_after(SECOND))
        .expect("a status");
    assert_eq!(
        names_and_states(&written["parents"][0])[2],
        "ferrix.com/Programmed True Programmed"
    );
    // The others had been so before.
    let since =
        |status: &Value| status["parents"][0]["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(since(&written), since(&json!({"parents": [pending]})));
    desk.rests();
}

fn gateway(attached_routes: u32) -> Verdict {
    let conditions =
        || ["Accepted", "Programmed"].map(|it| verdict::Condition::new(it, true, it, "ok"));
    Verdict::Gateway(GatewayVerdict {
        addresses: [GatewayAddress {
            value: Some("10.250.1.1".to_owned()),
            ..GatewayAddress::default()
        }]
        .into(),
        conditions: conditions().into(),
        listeners: [ListenerVerdict {
            name: "http".to_owned(),
            supported_kinds: [Kind::GrpcRoute, Kind::HttpRoute].into(),
            attached_routes,
            conditions: conditions().into(),
        }]
        .into(),
        attached_listener_sets: 0,
    })
}

#[test]
fn a_gateway_tells_addresses_and_listeners() {
    let by_another = json!({
        "type": "example.com/Observed", "status": "True", "reason": "Seen", "message": "m",
        "observedGeneration": 1, "lastTransitionTime": FIRST,
    });
    let status = json!({"conditions": [by_another]});
    let mut desk = Desk::new(Kind::Gateway, "someone", status);
    desk.edit(2);
    desk.replicas(&[("a", 101), ("b", 100)]);
    desk.tell(Some(gateway(1)));
    assert_eq!(desk.write(), None);
    let written = desk.write_after(PATIENCE).expect("a status");
    assert_eq!(
        names_and_states(&written),
        ["Accepted True Accepted", "Programmed False Pending"]
    );
    desk.replicas(&[("a", 101), ("b", 101)]);
    let written = (0..20)
        .find_map(|_| desk.write_after(SECOND))
        .expect("a status");
    assert_eq!(
        names_and_states(&written),
        ["Accepted True Accepted", "Programmed True Programmed"]
    );
    let address = json!([{"type": "IPAddress", "value": "10.250.1.1"}]);
    assert_eq!(written["addresses"], address);
    assert_eq!(written["attachedListenerSets"], 0);
    let listener = &written["listeners"][0];
    assert_eq!(
        (&listener["name"], &listener["attachedRoutes"]),
        (&json!("http"), &json!(1))
    );
    let kinds = json!([
        {"group": "gateway.networking.k8s.io", "kind": "GRPCRoute"},
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"},
    ]);
    assert_eq!(listener["supportedKinds"], kinds);
    assert_eq!(
        names_and_states(listener),
        ["Accepted True Accepted", "Programmed True Programmed"]
    );
    desk.rests();
    // A route comes.
    desk.tell(Some(gateway(2)));
    let written = desk.write().expect("a status");
    assert_eq!(written["listeners"][0]["attachedRoutes"], 2);
    desk.rests();
    // It gets another class.
    desk.edit(3);
    desk.tell(None);
    assert_eq!(desk.write_after(PATIENCE), Some(json!({})));
    desk.rests();
}

#[test]
fn routes_that_come_in_a_crowd_are_counted_once_a_second() {
    let mut desk = Desk::new(Kind::Gateway, "someone", json!({}));
    desk.tell(Some(gateway(0)));
    assert!(desk.write().is_some());
    desk.rests();
    let mut writes = 0;
    for attached in 1..=1_000 {
        desk.tell(Some(gateway(attached)));
        writes += usize::from(desk.write_after(SECOND / 250).is_some());
    }
    let last = desk.write_after(PATIENCE).expect("the rest");
    assert_eq!(last["listeners"][0]["attachedRoutes"], 1_000);
    // At once, and in four seconds.
    assert!((4..=5).contains(&writes), "{writes} writes");
    desk.rests();
}

#[test]
fn a_gateway_of_another_installation_is_left_alone() {
    for manager in ["ferrix:other/ferrix", "someone"] {
        let told = json!({"conditions": entry_of(FOREIGN, "g")["conditions"]});
        let mut desk = Desk::new(Kind::Gateway, manager, told);
        // It has the same class, by mistake, or another.
        if manager != "someone" {
            desk.tell(Some(gateway(1)));
            desk.rests();
            assert_eq!(desk.ledger.others(), 1);
        }
        desk.tell(None);
        desk.rests();
    }
}

#[test]
fn a_class_tells_what_the_release_can_do_there() {
    for retries in [false, true] {
        let mut desk = Desk::new(Kind::GatewayClass, "someone", Value::Null);
        desk.replicas(&[("a", 0), ("b", 0)]);
        let accepted = verdict::Condition::new("Accepted", true, "Accepted", "ok");
        desk.tell(Some(Verdict::GatewayClass(ClassVerdict {
            conditions: [accepted].into(),
            retries,
        })));
        let written = desk.write().expect("a status, whatever replicas say");
        assert_eq!(names_and_states(&written), ["Accepted True Accepted"]);
        let features = written["supportedFeatures"].as_array().unwrap().iter();
        let features: Vec<_> = features.map(|it| it["name"].as_str().unwrap()).collect();
        let more = gateway_status::OF_RETRIES.iter().filter(|_| retries);
        let all: BTreeSet<_> = gateway_status::FEATURES
            .iter()
            .chain(more)
            .copied()
            .collect();
        assert!(features.iter().copied().eq(all), "{features:?}");
        assert!(features.contains(&"HTTPRoute"));
        desk.rests();
    }
}
