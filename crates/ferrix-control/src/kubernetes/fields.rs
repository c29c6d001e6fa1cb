//! Whether the API server keeps `retry` of HTTPRoutes: the definitions of the experimental channel have it.
//!
//! Definitions may be replaced at any time. Their schemas are in the API server's OpenAPI documents, which
//! whoever may ask for anything may read; to read definitions would be a right over the whole cluster. The
//! index says which documents have changed.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use serde::Deserialize;
use tokio::sync::watch::Sender;
use tracing::debug;

use super::discovery;
use crate::jitter::jittered;

/// How soon a change of the definitions is noticed.
const PAUSE: Duration = Duration::from_secs(60);

/// Where the documents are listed, and the one of HTTPRoutes there.
const INDEX: &str = "/openapi/v3";
const DOCUMENT: &str = "apis/gateway.networking.k8s.io/v1";

/// Follows what the API server keeps, until nobody listens.
pub(super) async fn run(client: Client, keeps_retries: Sender<bool>) {
    let mut read = None;
    loop {
        match look(&client, &mut read).await {
            Ok(None) => {}
            Ok(Some(keeps)) => {
                keeps_retries.send_if_modified(|told| std::mem::replace(told, keeps) != keeps);
            }
            // Nothing is claimed then.
            Err(error) => debug!(%error, "the API server does not say which fields it keeps"),
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(PAUSE)) => {}
            () = keeps_retries.closed() => return,
        }
    }
}

/// Whether it keeps them. `None`: nothing has changed since the document of this address was `read`.
async fn look(client: &Client, read: &mut Option<String>) -> Result<Option<bool>, kube::Error> {
    let index: Option<Index> = discovery::get(client, INDEX).await?;
    let document = index.and_then(|mut index| index.paths.remove(DOCUMENT));
    let Some(Place { address }) = document else {
        *read = None;
        return Ok(Some(false));
    };
    if read.as_ref() == Some(&address) {
        return Ok(None);
    }
    let document: Option<Document> = discovery::get(client, &address).await?;
    *read = Some(address);
    Ok(Some(document.is_some_and(|it| it.has_retries())))
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    paths: BTreeMap<String, Place>,
}

#[derive(Deserialize)]
struct Place {
    /// With a digest of the document.
    #[serde(rename = "serverRelativeURL")]
    address: String,
}

#[derive(Deserialize)]
struct Document {
    components: Components,
}

#[derive(Deserialize)]
struct Components {
    schemas: BTreeMap<String, Schema>,
}

/// Which fields there are, and no more.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Schema {
    properties: BTreeMap<String, Schema>,
    items: Option<Box<Schema>>,
    #[serde(rename = "x-kubernetes-group-version-kind")]
    kinds: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    kind: String,
}

impl Document {
    fn has_retries(&self) -> bool {
        let is_route = |it: &&Schema| it.kinds.iter().any(|it| it.kind == "HTTPRoute");
        let rules = self.components.schemas.values().find(is_route);
        let rules = rules.and_then(|it| it.properties.get("spec")?.properties.get("rules"));
        let rule = rules.and_then(|rules| rules.items.as_ref());
        rule.is_some_and(|rule| rule.properties.contains_key("retry"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_kept_where_the_schema_has_it() {
        let document = |kind: &str, fields: serde_json::Value| -> Document {
            serde_json::from_value(json!({"openapi": "3.0.0", "components": {"schemas": {
                "any.HTTPRouteList": {"type": "object", "properties": {"items": {
                    "type": "array", "items": {"$ref": "#/components/schemas/any.HTTPRoute"},
                }}},
                "any.HTTPRoute": {
                    "type": "object",
                    "properties": {"spec": {"properties": {"rules": {
                        "type": "array", "items": {"type": "object", "properties": fields},
                    }}}},
                    "x-kubernetes-group-version-kind": [
                        {"group": "gateway.networking.k8s.io", "kind": kind, "version": "v1"},
                    ],
                },
            }}}))
            .expect("a document")
        };
        let retry = || json!({"retry": {"type": "object"}, "timeouts": {}});
        assert!(document("HTTPRoute", retry()).has_retries());
        assert!(!document("HTTPRoute", json!({"timeouts": {}})).has_retries());
        assert!(!document("GRPCRoute", retry()).has_retries());
    }
}
