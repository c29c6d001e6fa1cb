//! The form that a status has in an object of the Gateway API.
//!
//! Gateways, ListenerSets and GatewayClasses have one controller, which writes all of their status. Of a
//! route or a policy each controller writes the entries that bear its name: those of others are kept as
//! they are, whatever is in them.

use ferrix_api::gateway::{
    GatewayAddress, GatewayStatus, ListenerSetStatus, ListenerStatus, ParentReference, RouteKind,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    report::Entry,
    status::{self, Address, Part, PartOf, Status, Writer},
    verdict::{self, ListenerVerdict, ParentVerdict, Verdict},
};

/// The condition of a route that says how many replicas serve it, at one of its parents.
pub(crate) const PROGRAMMED: &str = "ferrix.com/Programmed";

/// The condition of a route that has lost a Filter which was attached above it.
pub(crate) const FILTER_LOST: &str = "ferrix.com/FilterLost";

/// What the message of [`PROGRAMMED`] says after the number of replicas.
const SERVE: &str = " replicas serve this generation.";

/// What the release can do, as the official suite of conformance tests names it, in the order of the
/// alphabet: what passes (`conformance/gateway`).
pub(crate) const FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];

/// The same of retries, where the API server keeps them: those of the standard channel do not.
pub(crate) const OF_RETRIES: [&str; 3] = [
    "HTTPRouteRetry",
    "HTTPRouteRetryBackendTimeout",
    "HTTPRouteRetryConnectionError",
];

/// The conditions that are written here. Others of an object are somebody else's.
const CONDITIONS: [&str; 11] = [
    "Accepted",
    "Conflicted",
    "DefaultGateway",
    "InsecureFrontendValidationMode",
    "OverlappingTLSConfig",
    "PartiallyInvalid",
    "Programmed",
    "ResolvedRefs",
    "SupportedVersion",
    PROGRAMMED,
    FILTER_LOST,
];

/// The field of the entries of each controller, and of what an entry is about.
type Fields = (&'static str, &'static str);

const ROUTE: Fields = ("parents", "parentRef");
const POLICY: Fields = ("ancestors", "ancestorRef");

/// An entry of a controller, but for what it is about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ControllerEntry {
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// How many replicas of how many serve a route, as the message of [`PROGRAMMED`] says it.
pub(crate) fn served_by(count: &str) -> String {
    format!("{count}{SERVE}")
}

/// What is to be told of an object, but for times and replicas.
pub(crate) fn of(entry: &Entry) -> Status {
    let generation = entry.observed_generation;
    let conditions = |all: &[verdict::Condition]| -> Vec<Condition> {
        all.iter().map(|it| condition(it, generation)).collect()
    };
    let parent = |it: &ParentVerdict| Part {
        of: PartOf::Parent(it.parent.clone()),
        conditions: conditions(&it.conditions),
    };
    let listener = |it: &ListenerVerdict| Part {
        of: PartOf::Listener {
            name: it.name.clone(),
            supported_kinds: it
                .supported_kinds
                .iter()
                .map(|it| route_kind(it.as_str()))
                .collect(),
            attached_routes: it.attached_routes,
        },
        conditions: conditions(&it.conditions),
    };
    match entry.verdict.as_deref() {
        None | Some(Verdict::Filter(_)) => Status::default(),
        Some(Verdict::GatewayClass(told)) => Status {
            conditions: conditions(&told.conditions),
            features: features(told.retries),
            ..Status::default()
        },
        Some(Verdict::Gateway(told)) => Status {
            conditions: conditions(&told.conditions),
            addresses: told.addresses.iter().filter_map(read_address).collect(),
            parts: told.listeners.iter().map(listener).collect(),
            attached_listener_sets: Some(told.attached_listener_sets),
            ..Status::default()
        },
        Some(Verdict::ListenerSet(told)) => Status {
            conditions: conditions(&told.conditions),
            parts: told.listeners.iter().map(listener).collect(),
            ..Status::default()
        },
        Some(Verdict::Route(parents) | Verdict::Policy(parents)) => Status {
            parts: parents.iter().map(parent).collect(),
            ..Status::default()
        },
    }
}

/// What is supported, in the order of the alphabet.
fn features(retries: bool) -> Vec<String> {
    let of_retries = OF_RETRIES.iter().filter(|_| retries);
    let features = FEATURES.iter().chain(of_retries);
    let mut features: Vec<_> = features.map(|it| (*it).to_owned()).collect();
    features.sort_unstable();
    features
}

fn condition(told: &verdict::Condition, generation: Option<i64>) -> Condition {
    let message = told.message.to_string();
    status::timeless(
        (told.condition, told.status),
        told.reason,
        message,
        told.generation.or(generation),
    )
}

fn route_kind(kind: &str) -> RouteKind {
    RouteKind {
        group: ferrix_api::gateway::GROUP.to_owned(),
        kind: kind.to_owned(),
    }
}

/// That of a GatewayClass.
pub(crate) fn write_class(status: &Status, _: &Writer<'_>) -> Value {
    if status.conditions.is_empty() {
        return json!({});
    }
    let features = status.features.iter().map(|name| json!({"name": name}));
    json!({
        "conditions": status.conditions,
        "supportedFeatures": features.collect::<Value>(),
    })
}

/// That of a Gateway.
pub(crate) fn write_gateway(status: &Status, writer: &Writer<'_>) -> Value {
    let mut written = write_listener_set(status, writer);
    if let Some(sets) = status.attached_listener_sets {
        let addresses = status.addresses.iter().map(write_address);
        written["addresses"] = addresses.collect();
        written["attachedListenerSets"] = sets.into();
    }
    written
}

/// That of a ListenerSet.
pub(crate) fn write_listener_set(status: &Status, _: &Writer<'_>) -> Value {
    if status.conditions.is_empty() {
        return json!({});
    }
    let listeners = status.parts.iter().filter_map(|part| {
        let PartOf::Listener {
            name,
            supported_kinds,
            attached_routes,
        } = &part.of
        else {
            return None;
        };
        Some(json!({
            "name": name,
            "supportedKinds": supported_kinds,
            "attachedRoutes": attached_routes,
            "conditions": part.conditions,
        }))
    });
    json!({"conditions": status.conditions, "listeners": listeners.collect::<Value>()})
}

/// That of a route.
pub(crate) fn write_route(status: &Status, writer: &Writer<'_>) -> Value {
    write_entries(ROUTE, status, writer)
}

/// That of a policy.
pub(crate) fn write_policy(status: &Status, writer: &Writer<'_>) -> Value {
    write_entries(POLICY, status, writer)
}

fn write_entries((list, about): Fields, status: &Status, writer: &Writer<'_>) -> Value {
    let ours = status.parts.iter().filter_map(|part| {
        let PartOf::Parent(parent) = &part.of else {
            return None;
        };
        Some(json!({
            about: parent,
            "controllerName": writer.controller,
            "conditions": part.conditions,
        }))
    });
    let all = status.foreign.iter().cloned().chain(ours);
    json!({list: all.collect::<Value>()})
}

/// That of a GatewayClass.
pub(crate) fn read_class(status: &Value, writer: &Writer<'_>) -> Status {
    let conditions = Vec::<Condition>::deserialize(&status["conditions"]);
    let features = status["supportedFeatures"].as_array();
    let features = features.into_iter().flatten();
    Status {
        installation: writer.installation.map(str::to_owned),
        conditions: ours(conditions.unwrap_or_default()),
        features: features
            .filter_map(|it| it["name"].as_str().map(str::to_owned))
            .collect(),
        ..Status::default()
    }
}

/// That of a Gateway.
pub(crate) fn read_gateway(status: &Value, writer: &Writer<'_>) -> Status {
    let told = GatewayStatus::deserialize(status).unwrap_or_default();
    Status {
        installation: writer.installation.map(str::to_owned),
        conditions: ours(told.conditions),
        addresses: told.addresses.iter().filter_map(read_address).collect(),
        parts: told.listeners.into_iter().map(read_listener).collect(),
        attached_listener_sets: told.attached_listener_sets,
        ..Status::default()
    }
}

/// That of a ListenerSet.
pub(crate) fn read_listener_set(status: &Value, writer: &Writer<'_>) -> Status {
    let told = ListenerSetStatus::deserialize(status).unwrap_or_default();
    Status {
        installation: writer.installation.map(str::to_owned),
        conditions: ours(told.conditions),
        parts: told.listeners.into_iter().map(read_listener).collect(),
        ..Status::default()
    }
}

/// That of a route.
pub(crate) fn read_route(status: &Value, writer: &Writer<'_>) -> Status {
    read_entries(ROUTE, status, writer)
}

/// That of a policy.
pub(crate) fn read_policy(status: &Value, writer: &Writer<'_>) -> Status {
    read_entries(POLICY, status, writer)
}

fn read_entries((list, about): Fields, status: &Value, writer: &Writer<'_>) -> Status {
    let mut read = Status::default();
    for entry in status[list].as_array().into_iter().flatten() {
        if entry["controllerName"].as_str() != Some(writer.controller) {
            read.foreign.push(entry.clone());
            continue;
        }
        // One that does not fit is replaced by one that does.
        let parent = ParentReference::deserialize(&entry[about]).unwrap_or_default();
        let told = ControllerEntry::deserialize(entry).map(|it| it.conditions);
        read.parts.push(Part {
            of: PartOf::Parent(parent),
            conditions: ours(told.unwrap_or_default()),
        });
    }
    let mut conditions = read.parts.iter().flat_map(|part| &part.conditions);
    read.replicas = conditions.find_map(|it| {
        let count = it.message.strip_suffix(SERVE)?;
        (it.type_ == PROGRAMMED).then(|| count.to_owned())
    });
    read
}

fn read_listener(told: ListenerStatus) -> Part {
    Part {
        of: PartOf::Listener {
            name: told.name,
            supported_kinds: told.supported_kinds,
            attached_routes: told.attached_routes,
        },
        conditions: ours(told.conditions),
    }
}

fn ours(mut conditions: Vec<Condition>) -> Vec<Condition> {
    conditions.retain(|it| is_known(&it.type_));
    conditions
}

/// Whether a condition is one of those that are written here.
pub(crate) fn is_known(condition: &str) -> bool {
    CONDITIONS.contains(&condition)
}

fn read_address(address: &GatewayAddress) -> Option<Address> {
    let value = address.value.as_deref()?;
    Some(match &*address.kind {
        "Hostname" => Address::Hostname(value.into()),
        _ => Address::Ip(value.into()),
    })
}

fn write_address(address: &Address) -> Value {
    match address {
        Address::Ip(ip) => json!({"type": "IPAddress", "value": ip}),
        Address::Hostname(name) => json!({"type": "Hostname", "value": name}),
    }
}
