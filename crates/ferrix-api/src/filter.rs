//! `Filter`: a list of filters under a name, for rules of any kind to pass through.
//!
//! The list is that of a rule of an `IngressRoute`. What the schema cannot say is reported in
//! `status.conditions`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ingressroute::RouteFilter, pattern};

/// `spec` of a `Filter`: what happens to requests and responses.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "ferrix.com",
    version = "v1",
    kind = "Filter",
    namespaced,
    status = "FilterStatus",
    derive = "PartialEq",
    shortname = "ff",
    doc = "Filters under a name: what happens to requests and responses of the rules that name it, or that it attaches itself to.",
    printcolumn = r#"{"name": "Ready", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
        "description": "Whether requests pass through it as the spec asks for"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status",
        "description": "Whether everything in the spec could be used"}"#,
    printcolumn = r#"{"name": "Routes", "type": "integer", "jsonPath": ".status.usedBy.count",
        "description": "How many routes have rules that pass requests through it"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "string", "jsonPath": ".status.replicas",
        "description": "How many replicas of how many serve it; follows within a minute or so"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.filters.all(filter, !has(filter.filter))")
    .message("a Filter names no other Filter"))]
pub struct FilterSpec {
    /// The class of the installation whose routes may name this, where several share a cluster.
    /// Absent: the installation without a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,

    /// What happens to requests before they are forwarded, and to responses on their way back, in this
    /// order.
    #[schemars(length(min = 1, max = 16))]
    pub filters: Vec<RouteFilter>,

    /// What it attaches itself to: requests of all rules there pass through it, unasked. A Filter of the
    /// namespace of Ferrix may attach to entry points, namespaces and Gateways anywhere, another one to
    /// Gateways and routes of its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetReference>,

    /// Whether rules of other namespaces may exempt themselves from what is attached, by `without`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What a `Filter` attaches itself to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// `ferrix.com` for an EntryPoint or an IngressRoute; empty for a Namespace;
    /// `gateway.networking.k8s.io` for a Gateway, a ListenerSet, an HTTPRoute or a GRPCRoute;
    /// `networking.k8s.io` for an Ingress.
    #[schemars(length(max = 253))]
    pub group: String,

    /// One of these.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// The namespace of the object. Absent: that of the Filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,

    /// The name of the object, or of the entry point.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// A listener of the Gateway or the ListenerSet. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// What became of a `Filter`. Ferrix writes it; nobody else should.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilterStatus {
    /// The routes that pass requests through it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<UsedBy>,

    /// How many replicas of how many serve this generation, such as `2/2`. It follows when replicas
    /// have come or gone, within a minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,

    /// `Ready`: the others are true, so that requests pass through it as the spec asks for. `Accepted`:
    /// everything in the spec could be used. `ResolvedRefs`: every object that it names was found and
    /// may be used. `Programmed`: every replica serves this generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The installation that wrote this: the namespace and the name of the Lease that says which of its
    /// replicas writes, such as `ferrix/ferrix`. No other installation writes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
}

/// Who passes requests through a `Filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsedBy {
    /// How many routes.
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub count: u32,

    /// The first of them, such as `IngressRoute default/shop`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}
