//! Objects that other controllers serve, and what to write for Ferrix in their place.

use serde_json::Value;

/// What to write in the place of a document that asks somebody else to serve requests; `None`: it does
/// not.
pub(crate) fn instead(value: &Value) -> Option<&'static str> {
    let api_version = value["apiVersion"].as_str()?;
    let (group, _) = api_version.split_once('/')?;
    let kind = value["kind"].as_str()?;
    match group {
        "extensions" => ingress(kind),
        "traefik.io" | "traefik.containo.us" => Some(traefik(kind)),
        _ => None,
    }
}

fn ingress(kind: &str) -> Option<&'static str> {
    let text =
        "Kubernetes has not had this version for years; write an Ingress of networking.k8s.io/v1";
    // A NetworkPolicy serves nothing.
    (kind == "Ingress").then_some(text)
}

fn traefik(kind: &str) -> &'static str {
    match kind {
        "IngressRoute" => {
            "write an IngressRoute of ferrix.com/v1 for each host: the name in Host(`…`) becomes \
             `spec.route.host`, each of `routes` one of `spec.route.rules`, with the rest of `match` as \
             `matches`, and `tls.secretName` becomes `spec.tls`"
        }
        "Middleware" => {
            "nothing takes its place: requests go on without it, so do not rely on what it checks"
        }
        "TraefikService" => {
            "several services of a rule, each with a `weight`, take the place of `weighted`; nothing \
             takes that of `mirroring`"
        }
        "ServersTransport" => {
            "`serverName` of a service and `upstream.tls` of the settings take its place"
        }
        "TLSOption" | "TLSStore" => "`tls` of the settings takes its place",
        _ => "only HTTP is served, by IngressRoutes of ferrix.com/v1",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whose_objects_are_told_of() {
        let cases = [
            ("extensions/v1beta1", "Ingress", "networking.k8s.io/v1"),
            ("extensions/v1beta1", "NetworkPolicy", ""),
            ("networking.k8s.io/v1", "NetworkPolicy", ""),
            ("traefik.io/v1alpha1", "IngressRoute", "spec.route.rules"),
            ("traefik.containo.us/v1alpha1", "Middleware", "do not rely"),
            ("traefik.io/v1alpha1", "IngressRouteTCP", "only HTTP"),
            ("apps/v1", "Deployment", ""),
            ("v1", "ConfigMap", ""),
        ];
        for (api_version, kind, words) in cases {
            let value = json!({"apiVersion": api_version, "kind": kind});
            let found = instead(&value).unwrap_or_default();
            assert!(found.contains(words), "{api_version} {kind}: {found}");
            assert_eq!(found.is_empty(), words.is_empty(), "{api_version} {kind}");
        }
        assert_eq!(cases.len(), 8);
    }
}
