//! How endpoints are: what the status of a BackendPolicy says of them.

use serde_json::Value;

use super::*;
use crate::kubernetes::endpoint_health::EndpointHealth;

/// A policy that two replicas serve, as the API server has it, and the ledger of a leader.
struct Policy {
    ledger: Ledger,
    now: Instant,
    object: DynamicObject,
    version: u64,
}

impl Policy {
    fn new() -> Self {
        let mut desk = Desk::leading();
        desk.route("r", 1);
        desk.translated("r", 1, None);
        let entry = Entry {
            key: Self::key(),
            ..desk.entries["r"].clone()
        };
        let mut policy = Self {
            ledger: Desk::leading().ledger,
            now: Instant::now(),
            object: desk.objects.remove("r").unwrap(),
            version: 200,
        };
        policy.see();
        let entries = vec![Arc::new(entry)];
        let report = Report {
            entries,
            ..Report::default()
        };
        policy.ledger.report(Arc::new(report), policy.now);
        policy
    }

    fn key() -> Key {
        objects::key(Kind::BackendPolicy, "default", "r")
    }

    fn see(&mut self) {
        let kind = (Kind::BackendPolicy, "v1");
        let seen = Seen::new(kind, &self.object, WRITER.controller);
        self.ledger.see(Self::key(), seen, self.now);
    }

    /// What each replica tells of the endpoints of the policy's one Service.
    fn tell(&mut self, told: &[(&str, Value)]) {
        let replica = |(name, service): &(&str, Value)| {
            let told = json!({"version": 1, "policies": {"default/r": [service]}});
            let mut replica = replica(0, offer(&["web"]));
            replica.progress.advance(Kind::BackendPolicy, None, 1_000);
            replica.endpoints = EndpointHealth::read(Some(&told.to_string()));
            ((*name).into(), replica)
        };
        self.ledger
            .replicas(told.iter().map(replica).collect(), self.now);
    }

    /// Lets time pass, and takes what is written. Returns how many writes there were in each second.
    fn seconds(&mut self, count: usize) -> Vec<usize> {
        let second = |_| {
            self.now += SECOND;
            let writes = self.ledger.writes(usize::MAX, self.now);
            for write in &writes {
                self.version += 1;
                take(&mut self.object, write, self.version);
                self.ledger
                    .written(write, Written::Done(self.version), self.now);
                self.see();
            }
            writes.len()
        };
        (0..count).map(second).collect()
    }

    fn services(&self) -> &Value {
        &self.object.data["status"]["services"]
    }
}

fn healthy() -> Value {
    json!({"service": "api", "endpoints": 3, "healthy": 3})
}

fn ejected() -> Value {
    json!({
        "service": "api", "endpoints": 3, "healthy": 2, "ejected": 1,
        "worst": [{"endpoint": "10.0.0.3:80", "state": "Ejected", "replicas": 1}],
    })
}

#[test]
fn one_write_for_a_change_that_replicas_tell_one_after_the_other() {
    let mut policy = Policy::new();
    policy.tell(&[("a", healthy()), ("b", healthy())]);
    assert_eq!(policy.seconds(20).iter().sum::<usize>(), 1);
    assert_eq!(*policy.services(), json!([healthy()]));

    policy.tell(&[("a", ejected()), ("b", healthy())]);
    assert_eq!(policy.seconds(3), [0; 3]);
    policy.tell(&[("a", ejected()), ("b", ejected())]);
    assert_eq!(policy.seconds(20).iter().sum::<usize>(), 1);
    let mut on_both = ejected();
    on_both["worst"][0]["replicas"] = json!(2);
    assert_eq!(*policy.services(), json!([on_both]));

    // What is over before it is told costs nothing.
    policy.tell(&[("a", healthy()), ("b", ejected())]);
    assert_eq!(policy.seconds(2), [0; 2]);
    policy.tell(&[("a", ejected()), ("b", ejected())]);
    assert_eq!(policy.seconds(60), [0; 60]);

    // One replica is enough to say so.
    policy.tell(&[("a", ejected()), ("b", healthy())]);
    assert_eq!(policy.seconds(20).iter().sum::<usize>(), 1);
    assert_eq!(*policy.services(), json!([ejected()]));
}
