//! Objects that other controllers serve, and what to write for Ferrix in their place.

use ferrix_api::gateway::{EXPERIMENTAL_GROUP, GROUP};
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
        EXPERIMENTAL_GROUP if kind == "XListenerSet" => {
            Some("write a ListenerSet of gateway.networking.k8s.io/v1")
        }
        GROUP => Some(
            "release 1.6 of the Gateway API has no such kind; it has BackendTLSPolicy, GRPCRoute, Gateway, \
             GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute and UDPRoute",
        ),
        _ if kind == "IngressRoute" => Some("those of Ferrix are of ferrix.com/v1"),
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
             `matches` and its `middlewares` as `filters`, and `tls.secretName` becomes `spec.tls`"
        }
        "Middleware" => {
            "write a Filter of ferrix.com/v1, which rules name in `filters`; without one, requests go on as \
             if it were not there, so do not rely on what it checks"
        }
        "TraefikService" => {
            "several services of a rule, each with a `weight`, take the place of `weighted`, the filter \
             `requestMirror` that of `mirroring`, and `session` of a BackendPolicy that of `sticky`"
        }
        "ServersTransport" => "`connection` and `timeouts` of a BackendPolicy take its place",
        "TLSOption" | "TLSStore" => {
            "`tls` of the settings takes its place, and for certificates of clients the filter \
             `clientCertificate`"
        }
        "IngressRouteTCP" => {
            "write a TLSRoute of gateway.networking.k8s.io/v1 for a server name, or a TCPRoute for a port, \
             and a Gateway with a listener for it"
        }
        "IngressRouteUDP" => {
            "write a UDPRoute of gateway.networking.k8s.io/v1, and a Gateway with a listener for it"
        }
        _ => "nothing takes its place",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::{Kind, group};

    #[test]
    fn whose_objects_are_told_of() {
        let cases = [
            ("extensions/v1beta1", "Ingress", "networking.k8s.io/v1"),
            ("extensions/v1beta1", "NetworkPolicy", ""),
            ("networking.k8s.io/v1", "NetworkPolicy", ""),
            ("traefik.io/v1alpha1", "IngressRoute", "spec.route.rules"),
            (
                "traefik.containo.us/v1alpha1",
                "Middleware",
                "write a Filter",
            ),
            ("traefik.io/v1alpha1", "TraefikService", "requestMirror"),
            ("traefik.io/v1alpha1", "ServersTransport", "BackendPolicy"),
            ("traefik.io/v1alpha1", "TLSOption", "clientCertificate"),
            ("traefik.io/v1alpha1", "IngressRouteTCP", "TLSRoute"),
            ("traefik.io/v1alpha1", "IngressRouteUDP", "UDPRoute"),
            (
                "traefik.io/v1alpha1",
                "MiddlewareTCP",
                "nothing takes its place",
            ),
            ("gateway.networking.k8s.io/v1", "HTTPRout", "HTTPRoute"),
            (
                "gateway.networking.x-k8s.io/v1alpha1",
                "XListenerSet",
                "ListenerSet of",
            ),
            ("gateway.networking.x-k8s.io/v1alpha1", "XMesh", ""),
            ("ferrix.io/v1", "IngressRoute", "ferrix.com/v1"),
            ("apps/v1", "Deployment", ""),
            ("v1", "ConfigMap", ""),
        ];
        for (api_version, kind, words) in cases {
            let value = json!({"apiVersion": api_version, "kind": kind});
            let found = instead(&value).unwrap_or_default();
            assert!(found.contains(words), "{api_version} {kind}: {found}");
            assert_eq!(found.is_empty(), words.is_empty(), "{api_version} {kind}");
        }
        assert_eq!(cases.len(), 17);
        let unknown = instead(&json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "A"}));
        let known = Kind::ALL.into_iter().filter(|it| group(*it) == GROUP);
        let missing = |it: &Kind| !unknown.is_some_and(|told| told.contains(it.as_str()));
        assert_eq!(known.filter(missing).collect::<Vec<_>>(), []);
    }
}
