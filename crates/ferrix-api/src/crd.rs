//! The CustomResourceDefinitions as text.

use kube::CustomResourceExt;
use serde_json::Value;

use crate::{BackendPolicy, Filter, IngressRoute};

/// Every CustomResourceDefinition of Ferrix as YAML, ready for `kubectl apply -f -`.
pub fn crd_yaml() -> String {
    let documents = definitions().map(|(_, definition)| yaml(&definition));
    documents.join("---\n")
}

/// Every CustomResourceDefinition, with the name of its kind in lower case.
pub fn definitions() -> [(&'static str, Value); 3] {
    [
        ("backendpolicy", definition::<BackendPolicy>()),
        ("filter", definition::<Filter>()),
        ("ingressroute", definition::<IngressRoute>()),
    ]
}

/// A definition as YAML.
pub fn yaml(definition: &Value) -> String {
    serde_yaml_ng::to_string(definition).expect("a JSON value has a YAML form")
}

/// `spec` and all below of an object of a kind, as the API server is told to check it.
pub fn schema<K: CustomResourceExt>() -> Value {
    let mut crd = definition::<K>();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

fn definition<K: CustomResourceExt>() -> Value {
    serde_json::to_value(K::crd()).expect("a CRD has a JSON form")
}
