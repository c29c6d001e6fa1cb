//! What the tests before asked of the API server. Those after have one that has just been started,
//! and refuses until it knows all roles.

use std::collections::BTreeSet;

use ferrix_e2e::{
    audit::{Audit, FERRIX},
    cluster::Ferrix,
};

/// The kinds of the Gateway API that are followed where the API server has them.
const GATEWAY_API: [&str; 9] = [
    "backendtlspolicies",
    "gatewayclasses",
    "gateways",
    "grpcroutes",
    "httproutes",
    "listenersets",
    "tcproutes",
    "tlsroutes",
    "udproutes",
];

/// Proof 9: what is granted is enough, and all that is asked for is needed.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn nothing_is_forbidden_and_nothing_is_asked_in_vain() {
    let _ferrix = Ferrix::install();
    let calls = Audit::whole().calls(FERRIX);
    let mut wrong = Vec::new();
    let mut asked = BTreeSet::new();
    for (call, count) in &calls {
        println!("{count:6} {call:?}");
        let resource = call.resource.as_str();
        let fits = match call.verb.as_str() {
            // Which kinds the API server serves.
            "get" => resource.is_empty(),
            "list" | "watch" => match resource {
                "backendpolicies" | "filters" | "ingressroutes" | "services" | "namespaces"
                | "endpointslices" | "referencegrants" | "ingresses" | "ingressclasses" => {
                    call.namespace.is_empty()
                }
                // Authorities and keys that filters name.
                "configmaps" => !call.namespace.is_empty(),
                // Certificates, and those that filters name.
                "secrets" => {
                    let query = &call.query;
                    let by_name = query.contains("metadata.name%3D");
                    let by_type = query.contains("=type%3Dkubernetes.io%2Ftls");
                    !call.namespace.is_empty() && (by_name || by_type)
                }
                "leases" => call.namespace == "ferrix",
                "controllerrevisions" => {
                    call.namespace == "ferrix" && call.query.contains("installation%3Dferrix")
                }
                // With the experimental channel alone.
                "xbackendtrafficpolicies" => call.namespace.is_empty(),
                _ => GATEWAY_API.contains(&resource) && call.namespace.is_empty(),
            },
            "patch" => match resource.strip_suffix("/status") {
                Some(kind) => {
                    matches!(
                        kind,
                        "backendpolicies"
                            | "filters"
                            | "ingressroutes"
                            | "ingresses"
                            | "xbackendtrafficpolicies"
                    ) || GATEWAY_API.contains(&kind)
                }
                None => resource == "leases",
            },
            "create" => matches!(resource, "events" | "leases" | "controllerrevisions"),
            "update" => resource == "leases" && call.namespace == "ferrix",
            "delete" => {
                matches!(resource, "leases" | "controllerrevisions") && call.namespace == "ferrix"
            }
            _ => false,
        };
        // There a test looks at what is said of Secrets that may not be read.
        let expected = call.namespace == "withheld" && resource == "secrets";
        if !fits || (call.forbidden && !expected) {
            wrong.push(call);
        }
        asked.insert((call.verb.as_str(), resource));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let watched = GATEWAY_API.map(|resource| ("watch", resource));
    for needed in watched.into_iter().chain([
        ("watch", "backendpolicies"),
        ("watch", "filters"),
        ("watch", "ingressroutes"),
        ("watch", "ingresses"),
        ("watch", "ingressclasses"),
        ("watch", "services"),
        ("watch", "endpointslices"),
        ("watch", "referencegrants"),
        ("watch", "secrets"),
        ("patch", "backendpolicies/status"),
        ("patch", "ingressroutes/status"),
        ("patch", "ingresses/status"),
        ("create", "events"),
        ("update", "leases"),
        ("watch", "controllerrevisions"),
        ("create", "controllerrevisions"),
        ("delete", "controllerrevisions"),
    ]) {
        assert!(asked.contains(&needed), "{needed:?} was never asked");
    }
}
