//! The CustomResourceDefinitions as text.

use kube::CustomResourceExt;
use serde_json::Value;

use crate::IngressRoute;

/// Every CustomResourceDefinition of Ferrix as YAML, ready for `kubectl apply -f -`.
pub fn crd_yaml() -> String {
    let crd = crd_value();
    serde_yaml_ng::to_string(&crd).expect("a JSON value has a YAML form")
}

/// `spec` and all below of an IngressRoute, as the API server is told to check it.
pub fn ingressroute_schema() -> Value {
    let mut crd = crd_value();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

fn crd_value() -> Value {
    serde_json::to_value(IngressRoute::crd()).expect("a CRD has a JSON form")
}
