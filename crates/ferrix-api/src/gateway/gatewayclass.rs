//! `GatewayClass`: which controller serves a Gateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use super::reference::ParametersReference;

/// `spec` of a GatewayClass.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// The name of the controller, such as `ferrix.com/gateway-controller`.
    pub controller_name: String,
    /// Settings of the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What became of a GatewayClass.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassStatus {
    /// `Accepted` and `SupportedVersion`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// What of the Gateway API the controller can do, in the order of the alphabet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<SupportedFeature>,
}

/// Something that a controller can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct SupportedFeature {
    /// As the suite of conformance tests names it, such as `HTTPRoute`.
    pub name: String,
}
