//! What was asked of the API server, by its audit log.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use serde_json::Value;

/// The user that Ferrix is, as `deploy/ferrix.yaml` has it.
pub const FERRIX: &str = "system:serviceaccount:ferrix:ferrix";

/// A kind of request: verb, resource with subresource, namespace or nothing, status code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Such as `patch`.
    pub verb: String,
    /// Such as `ingressroutes/status`.
    pub resource: String,
    /// Empty for all namespaces.
    pub namespace: String,
    /// The query, for lists and watches.
    pub query: String,
    /// The status code of the response.
    pub code: u64,
    /// Whether the user may not do that. Code 403 has other reasons too, such as a namespace that
    /// is about to go.
    pub forbidden: bool,
}

/// The audit log of the cluster, from some point on.
pub struct Audit {
    file: PathBuf,
    from: usize,
}

impl Audit {
    /// All of it.
    pub fn whole() -> Self {
        let kubeconfig = env::var_os("KUBECONFIG")
            .map(PathBuf::from)
            .unwrap_or_default();
        Self {
            file: kubeconfig.with_file_name("audit.log"),
            from: 0,
        }
    }

    /// What comes from now on.
    ///
    /// # Panics
    /// Where there is no log.
    pub fn from_now() -> Self {
        let audit = Self::whole();
        let from = fs::read(&audit.file).unwrap().len();
        Self { from, ..audit }
    }

    /// What a user asked, each kind of request with its count.
    ///
    /// # Panics
    /// Where the log cannot be read.
    pub fn calls(&self, user: &str) -> BTreeMap<Call, usize> {
        let bytes = fs::read(&self.file).unwrap();
        let mut calls = BTreeMap::new();
        for line in String::from_utf8_lossy(&bytes[self.from..]).lines() {
            // The last line may be half written.
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            if event["user"]["username"] == user && event["stage"] != "ResponseStarted" {
                *calls.entry(call(&event)).or_default() += 1;
            }
        }
        calls
    }

    /// How many statuses of IngressRoutes Ferrix wrote.
    pub fn status_writes(&self, namespace: &str) -> usize {
        let calls = self.calls(FERRIX);
        let writes = calls
            .iter()
            .filter(|(call, _)| call.resource == "ingressroutes/status" && call.verb == "patch")
            .filter(|(call, _)| call.namespace == namespace);
        writes.map(|(_, count)| count).sum()
    }
}

fn call(event: &Value) -> Call {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reference = &event["objectRef"];
    let mut resource = text(&reference["resource"]);
    if let Some(subresource) = reference["subresource"].as_str() {
        resource = format!("{resource}/{subresource}");
    }
    let uri = text(&event["requestURI"]);
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let selectors = query.split('&').filter(|it| it.contains("Selector="));
    Call {
        verb: text(&event["verb"]),
        resource,
        namespace: text(&reference["namespace"]),
        query: selectors.collect::<Vec<_>>().join("&"),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        forbidden: event["annotations"]["authorization.k8s.io/decision"] != "allow",
    }
}
