//! Services of Gateways.

use super::*;
use crate::{
    gateway_service::Deed,
    kubernetes::expose::{self as exposing, Deeds},
    settings::{GatewayReach, GatewayServices},
};

pub(super) const SERVICES: &str = "GET /api/v1/namespaces/ferrix/services";
pub(super) const REMOVE_A: &str = "DELETE /api/v1/namespaces/ferrix/services/gateway-a";
pub(super) const REMOVE_B: &str = "DELETE /api/v1/namespaces/ferrix/services/gateway-b";
const WRITE_A: &str = "PATCH /api/v1/namespaces/ferrix/services/gateway-a";
const WRITE_B: &str = "PATCH /api/v1/namespaces/ferrix/services/gateway-b";

pub(super) fn service_list(names: &[&str]) -> Value {
    let service = |name: &&str| json!({"metadata": {"name": name, "namespace": "ferrix"}});
    json!({
        "apiVersion": "v1", "kind": "ServiceList", "metadata": {"resourceVersion": "9"},
        "items": names.iter().map(service).collect::<Vec<_>>(),
    })
}

pub(super) fn removed() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}})
}

fn apply(name: &str, before: Option<&str>) -> Deed {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "ferrix"},
        "spec": {"ports": [{"port": 80, "targetPort": 10_000}]},
    });
    Deed::Apply {
        gateway: objects::key(Kind::Gateway, "shop", name),
        name: name.into(),
        before: before.map(Into::into),
        manifest: Arc::new(manifest),
    }
}

#[tokio::test]
async fn services_of_gateways_are_written_and_removed_by_whoever_leads() {
    let (deeds, seen) = watch::channel(Deeds::from([apply("gateway-a", None)]));
    let (leading, leads) = watch::channel(false);
    let (unwritten, mut told) = watch::channel(Default::default());
    let script = Script::default();
    let task = tokio::spawn(exposing::run(exposing::Inputs {
        client: script.client(),
        identity: identity(),
        deeds: seen,
        leading: leads,
        unwritten,
    }));
    // What would be written before would be beyond the script.
    script.then(scene(WRITE_A, 200, Value::Null));
    leading.send_replace(true);
    let bodies = script.bodies().await;
    assert_eq!(bodies[0]["spec"]["ports"][0]["targetPort"], 10_000);
    assert_eq!(bodies[0]["metadata"]["uid"], Value::Null);

    // The one that was seen, and no other that has its name by then.
    script.then(scene(WRITE_A, 200, Value::Null));
    deeds.send_replace([apply("gateway-a", Some("u"))].into());
    let bodies = script.bodies().await;
    assert_eq!(bodies[1]["metadata"]["uid"], "u");

    script.then(scene(REMOVE_A, 404, failure(404)));
    let (name, uid) = ("gateway-a".into(), "u".into());
    deeds.send_replace([Deed::Delete { name, uid }].into());
    let bodies = script.bodies().await;
    assert_eq!(bodies[2]["preconditions"]["uid"], "u");

    // One that somebody else has made meanwhile is not taken over, and it is tried again.
    script.then(scene(WRITE_B, 409, failure(409)));
    script.then(scene(WRITE_B, 200, Value::Null));
    deeds.send_replace([apply("gateway-b", None)].into());
    let is_told = told.wait_for(|it| it.contains_key("gateway-b")).await;
    assert!(is_told.unwrap()["gateway-b"].contains("as the script says"));
    script.bodies().await;
    let is_over = told.wait_for(|it| it.is_empty()).await;
    is_over.unwrap();
    let queries = script.0.lock().unwrap().queries.clone();
    let forced: Vec<_> = queries.iter().map(|it| it.contains("force=true")).collect();
    assert_eq!(forced, [false, true, false, false, false]);
    assert!(queries[0].contains("fieldManager=ferrix"), "{queries:?}");
    task.abort();
}

/// A Gateway, and its class.
fn gateway() -> [(Kind, Value); 2] {
    let class = json!({
        "metadata": {"name": "ferrix"}, "spec": {"controllerName": CONTROLLER},
    });
    let gateway = json!({
        "metadata": {"name": "g", "namespace": "shop", "uid": "g"},
        "spec": {
            "gatewayClassName": "ferrix",
            "listeners": [{"name": "l", "port": 80, "protocol": "HTTP"}],
        },
    });
    [(Kind::GatewayClass, class), (Kind::Gateway, gateway)]
}

/// A source that has seen all there is, with one Gateway and a Service of one that is gone.
fn seeing() -> Served {
    let gateways = GatewaySettings {
        reach: GatewayReach::Services(GatewayServices {
            namespace: Some("ferrix".to_owned()),
            ..GatewayServices::default()
        }),
        ..GatewaySettings::default()
    };
    let mut served = Served::by(gateways, "PathPrefix(`/`)", revisions::Reader::default());
    let kinds = [(Kind::GatewayClass, "v1"), (Kind::Gateway, "v1")].into();
    served.source.take(vec![Message::Served(kinds)]);
    served.listed_all();
    let stray = json!({
        "metadata": {
            "name": "gateway-gone", "namespace": "ferrix", "uid": "s",
            "labels": {own::INSTALLATION: "ferrix", "ferrix.com/gateway-uid": "gone"},
        },
        "spec": {"ports": [{"port": 80, "targetPort": 10_000}]},
    });
    served.listed_as(Kind::Service, vec![stray]);
    served
}

#[tokio::test]
async fn services_follow_from_what_is_seen_alone() {
    let mut served = seeing();
    let deeds = served.source.deeds();
    let names = || {
        let all = deeds.borrow();
        all.iter()
            .map(|it| it.name().to_owned())
            .collect::<Vec<_>>()
    };
    for (kind, object) in gateway() {
        assert_eq!(names(), [""; 0], "not all of it has been listed");
        served.listed_as(kind, vec![object]);
    }
    assert_eq!(names(), ["gateway-g", "gateway-gone"]);
    // What is out of sight is not gone.
    let scope = Served::scope(Kind::Gateway);
    let refused = Message::Refused(scope.clone(), Refusal::NotInstalled);
    served.source.take(vec![refused]);
    assert_eq!(names(), [""; 0]);
    served.listed_as(Kind::Gateway, vec![gateway()[1].1.clone()]);
    assert_eq!(names(), ["gateway-g", "gateway-gone"]);
    served.source.take(vec![Message::Refused(
        Served::scope(Kind::Service),
        Refusal::Forbidden,
    )]);
    assert_eq!(names(), [""; 0]);
}
