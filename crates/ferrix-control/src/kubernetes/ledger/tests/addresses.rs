//! Statuses that are addresses alone: those of Ingresses.

use super::*;

/// An Ingress as the API server has it, and the ledger that writes its status.
struct Ingress {
    ledger: Ledger,
    object: DynamicObject,
    entry: Entry,
    addresses: Vec<Address>,
    version: u64,
}

impl Ingress {
    fn new() -> Self {
        let mut desk = Desk::leading();
        desk.route("r", 1);
        desk.translated("r", 1, None);
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "r", "namespace": "default", "uid": "u", "generation": 1},
        });
        Self {
            ledger: Desk::leading().ledger,
            object: serde_json::from_value(object).unwrap(),
            entry: Entry {
                key: Self::key(),
                ..desk.entries["r"].clone()
            },
            addresses: vec![Address::of("192.0.2.1")],
            version: 100,
        }
    }

    fn key() -> Key {
        objects::key(Kind::Ingress, "default", "r")
    }

    /// Somebody has written the status. Who has no field of it is not among its writers.
    fn status(&mut self, status: serde_json::Value, manager: &str) {
        let managed = match status["loadBalancer"].is_null() {
            true => json!([]),
            false => json!([{
                "manager": manager, "operation": "Apply", "subresource": "status",
                "apiVersion": "networking.k8s.io/v1", "fieldsType": "FieldsV1", "fieldsV1": {},
            }]),
        };
        self.object.metadata.managed_fields = serde_json::from_value(managed).unwrap();
        self.object.data["status"] = status;
    }

    /// What is written when all is seen and told, as the API server then has it.
    fn writes(&mut self) -> Vec<Write> {
        let now = Instant::now();
        self.version += 1;
        self.object.metadata.resource_version = Some(self.version.to_string());
        let seen = Seen::new((Kind::Ingress, "v1"), &self.object, WRITER.controller);
        self.ledger.see(Self::key(), seen, now);
        let report = Report {
            entries: vec![Arc::new(self.entry.clone())],
            addresses: self.addresses.as_slice().into(),
            ..Report::default()
        };
        self.ledger.report(Arc::new(report), now);
        let writes = self.ledger.writes(usize::MAX, now);
        for write in &writes {
            let write_status = kinds::form(Kind::Ingress).unwrap().write;
            self.status(
                write_status(&write.status, &WRITER),
                &seen::manager(&write.installation),
            );
            self.version += 1;
            self.ledger.written(write, Written::Done(self.version), now);
        }
        writes
    }

    fn balancer(&self) -> &serde_json::Value {
        &self.object.data["status"]["loadBalancer"]["ingress"]
    }

    /// Its class is another's by now.
    fn leaves(&mut self) {
        self.entry.conditions = [].into();
        self.entry.serving = Serving::Nothing;
    }
}

#[test]
fn an_ingress_gets_the_addresses_and_loses_them_with_its_class() {
    let mut ingress = Ingress::new();
    assert_eq!(ingress.writes().len(), 1);
    assert_eq!(*ingress.balancer(), json!([{"ip": "192.0.2.1"}]));
    assert!(ingress.writes().is_empty(), "nothing is new");
    ingress.addresses = vec![Address::of("lb.example.com")];
    assert_eq!(ingress.writes().len(), 1);
    assert_eq!(*ingress.balancer(), json!([{"hostname": "lb.example.com"}]));
    ingress.leaves();
    assert_eq!(ingress.writes().len(), 1);
    assert!(ingress.balancer().is_null());
    assert!(ingress.writes().is_empty());
}

#[test]
fn what_others_have_written_stays() {
    let others = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}});
    for manager in ["nginx-ingress-controller", "ferrix:other/ferrix"] {
        let mut ingress = Ingress::new();
        ingress.status(others.clone(), manager);
        ingress.leaves();
        assert!(ingress.writes().is_empty(), "{manager}");
    }
    // Of two installations of one class, one writes.
    let mut ingress = Ingress::new();
    ingress.status(others.clone(), "ferrix:other/ferrix");
    assert!(ingress.writes().is_empty());
    assert_eq!(ingress.ledger.others(), 1);
    // Who came from another controller has its addresses until ours are there.
    let mut ingress = Ingress::new();
    ingress.status(others, "nginx-ingress-controller");
    assert_eq!(ingress.writes().len(), 1);
    assert_eq!(*ingress.balancer(), json!([{"ip": "192.0.2.1"}]));
}

#[test]
fn of_what_nothing_is_served_has_no_address_and_is_told_why() {
    let mut desk = Desk::leading();
    desk.route("r", 1);
    desk.translated("r", 1, Some("`/a` is no path"));
    let mut ingress = Ingress::new();
    ingress.entry = Entry {
        key: Ingress::key(),
        serving: Serving::Nothing,
        ..desk.entries["r"].clone()
    };
    ingress.status(
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
        &seen::manager(OURS),
    );
    let writes = ingress.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].events.len(), 1, "{:?}", writes[0].events);
    assert!(ingress.balancer().is_null());
    assert!(ingress.writes().is_empty(), "it is told once");
}
