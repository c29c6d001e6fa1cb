//! `Gateway`: where requests come in.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use serde::{Deserialize, Serialize};

use super::{
    listener::{Listener, ListenerStatus},
    reference::{LocalReference, ObjectReference, SecretReference},
};

/// `spec` of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// The name of its GatewayClass.
    pub gateway_class_name: String,
    /// Its own listeners; ListenerSets have more.
    pub listeners: Vec<Listener>,
    /// Where it is to be reached. Empty: wherever the controller chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// What is asked of objects that a controller makes for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which ListenerSets may attach. Absent: none.
    #[serde(default)]
    pub allowed_listeners: AllowedListeners,
    /// How TLS is spoken, on both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTls>,
    /// `All`: routes attach that ask for default Gateways. `None` or absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<String>,
}

/// An address, asked for or given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct GatewayAddress {
    /// `IPAddress`, which is what its absence means, `Hostname`, or a name with a domain.
    #[serde(rename = "type", default = "ip_address")]
    pub kind: String,
    /// Absent: any address of that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What is asked of objects that a controller makes for a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInfrastructure {
    /// Labels for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Settings of the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalReference>,
}

/// Which ListenerSets may attach to a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct AllowedListeners {
    /// Where they are.
    #[serde(default)]
    pub namespaces: ListenerNamespaces,
}

/// The namespaces whose ListenerSets may attach.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ListenerNamespaces {
    /// `All`, `Selector`, `Same`, or `None`, which is what its absence means.
    #[serde(default = "none")]
    pub from: String,
    /// With `Selector`: by the labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How a Gateway speaks TLS (`GatewayTLSConfig`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct GatewayTls {
    /// Towards backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<GatewayBackendTls>,
    /// Towards clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTls>,
}

/// How a Gateway speaks TLS with backends.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendTls {
    /// The certificate that it presents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretReference>,
}

/// How a Gateway speaks TLS with clients (`FrontendTLSConfig`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTls {
    /// On all ports but those of `per_port`.
    pub default: FrontendTlsConfig,
    /// On some ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_port: Vec<FrontendTlsOfPort>,
}

/// How TLS is spoken with clients on one port.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct FrontendTlsOfPort {
    /// From 1 to 65535.
    pub port: u16,
    /// How it is spoken there.
    pub tls: FrontendTlsConfig,
}

/// How TLS is spoken with clients (`TLSConfig`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct FrontendTlsConfig {
    /// How certificates of clients are verified. Absent: they are not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendValidation>,
}

/// How certificates of clients are verified (`FrontendTLSValidation`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendValidation {
    /// Authorities that clients' certificates have to come from: ConfigMaps with `ca.crt`.
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// `AllowValidOnly`, which is what its absence means, or `AllowInsecureFallback`.
    #[serde(default = "allow_valid_only")]
    pub mode: String,
}

/// What became of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Where it is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// `Accepted`, `Programmed` and others.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Of each of its own listeners.
    #[serde(default)]
    pub listeners: Vec<ListenerStatus>,
    /// How many ListenerSets are attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<u32>,
}

impl Default for GatewayAddress {
    fn default() -> Self {
        Self {
            kind: ip_address(),
            value: None,
        }
    }
}

impl Default for ListenerNamespaces {
    fn default() -> Self {
        Self {
            from: none(),
            selector: None,
        }
    }
}

impl Default for FrontendValidation {
    fn default() -> Self {
        Self {
            ca_certificate_refs: Vec::new(),
            mode: allow_valid_only(),
        }
    }
}

fn ip_address() -> String {
    "IPAddress".to_owned()
}

fn none() -> String {
    "None".to_owned()
}

fn allow_valid_only() -> String {
    "AllowValidOnly".to_owned()
}
