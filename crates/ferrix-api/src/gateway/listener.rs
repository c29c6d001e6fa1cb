//! Listeners, as Gateways and ListenerSets have them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use serde::{Deserialize, Serialize};

use super::{gateway_group, reference::SecretReference};

/// A port, a protocol and perhaps a hostname, that routes attach to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// What tells it apart from the others of its object.
    pub name: String,
    /// A host such as `example.com`, or `*.example.com`. Absent or empty: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// From 1 to 65535.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or a name of an implementation's own.
    pub protocol: String,
    /// How TLS is spoken. Needed with `HTTPS` and `TLS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Which routes may attach. Absent: those of the same namespace.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// `Terminate`, which is what its absence means, or `Passthrough`.
    #[serde(default = "terminate")]
    pub mode: String,
    /// The Secrets of its certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_refs: Vec<SecretReference>,
    /// Settings of implementations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct AllowedRoutes {
    /// Where they are.
    #[serde(default)]
    pub namespaces: RouteNamespaces,
    /// Their kinds. Empty: those that suit the protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<RouteKind>,
}

/// The namespaces whose routes may attach.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RouteNamespaces {
    /// `All`, `Selector`, or `Same`, which is what its absence means.
    #[serde(default = "same")]
    pub from: String,
    /// With `Selector`: by the labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A kind of routes (`RouteGroupKind`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct RouteKind {
    /// Absent: that of the Gateway API.
    #[serde(default = "gateway_group")]
    pub group: String,
    /// Such as `HTTPRoute`.
    pub kind: String,
}

/// What became of a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The name of the listener.
    pub name: String,
    /// Those of the kinds that it allows which are known.
    #[serde(default)]
    pub supported_kinds: Vec<RouteKind>,
    /// How many routes are attached.
    #[serde(default)]
    pub attached_routes: u32,
    /// `Accepted`, `Programmed`, `ResolvedRefs`, `Conflicted` and others.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl Default for ListenerTls {
    fn default() -> Self {
        Self {
            mode: terminate(),
            certificate_refs: Vec::new(),
            options: BTreeMap::new(),
        }
    }
}

impl Default for RouteNamespaces {
    fn default() -> Self {
        Self {
            from: same(),
            selector: None,
        }
    }
}

fn terminate() -> String {
    "Terminate".to_owned()
}

fn same() -> String {
    "Same".to_owned()
}
