//! From a draft back to a spec: the last good version of a route is kept as its author may have written
//! it, so that whoever reads it judges it anew.
//!
//! Nothing but drafts is held of routes, and nearly all are never written back. What a spec says in
//! several ways, and what is the same when it is left out, is written in one.

use ferrix_api::ingressroute::{self, HostRules, IngressRouteSpec, RouteRule, ServiceRef};
use ferrix_table::{rules::HostPattern, services::Scheme};

use super::draft::{ENTRY_POINT, SERVICE, default_priority};
use super::policy;
use crate::draft::{BackendReference, ClassReference, Draft, DraftRule, EntryPointNames};

/// The spec of a draft that is good.
pub(crate) fn spec(draft: &Draft) -> IngressRouteSpec {
    // A field that is new belongs in here, or has to be seen not to.
    let Draft {
        route,
        origin: _,
        class,
        entry_points,
        hosts,
        rules,
        unserved: _,
        certificates,
        faults: _,
        notes: _,
        host_field: _,
    } = draft;
    let (entrypoint, entrypoints) = names(entry_points);
    let tls = certificates.first().map(|it| it.secret.name.to_string());
    let namespace = &route.key.namespace;
    let policy = rules.first().and_then(|rule| rule.policy.as_deref());
    let filters = policy.and_then(|policy| policy::write_of_route(policy, namespace));
    let rules = rules.iter().map(|it| rule(it, namespace));
    IngressRouteSpec {
        ingress_class_name: match class {
            ClassReference::Name(class) => class.as_deref().map(str::to_owned),
            ClassReference::IngressClass(_) | ClassReference::Parents => None,
        },
        entrypoint,
        entrypoints,
        route: HostRules {
            host: hosts.first().and_then(host),
            filters,
            rules: rules.collect(),
        },
        tls,
    }
}

/// `entrypoint` and `entrypoints`.
fn names(entry_points: &EntryPointNames) -> (Option<String>, Option<Vec<String>>) {
    match entry_points {
        EntryPointNames::Fitting
        | EntryPointNames::All
        | EntryPointNames::Parents(_)
        | EntryPointNames::Targets(_)
        | EntryPointNames::Services(_) => (None, None),
        EntryPointNames::Named(names) => match &**names {
            [(field, name)] if field.path() == ENTRY_POINT => (Some(name.to_string()), None),
            names => {
                let names = names.iter().map(|(_, name)| name.to_string());
                (None, Some(names.collect()))
            }
        },
    }
}

fn host(host: &HostPattern) -> Option<String> {
    match host {
        HostPattern::Any => None,
        // An IPv6 address.
        HostPattern::Exact(host) if host.contains(':') => Some(format!("[{host}]")),
        HostPattern::Exact(_) | HostPattern::Wildcard(_) | HostPattern::Below(_) => {
            Some(host.to_string())
        }
    }
}

fn rule(rule: &DraftRule, own_namespace: &str) -> RouteRule {
    let DraftRule {
        field: _,
        position: _,
        hosts: _,
        matches,
        weight,
        backends,
        lost: _,
        policy,
        dry_run,
    } = rule;
    let default = default_priority(matches.as_ref());
    let is_one = backends
        .first()
        .is_some_and(|it| it.field.path() == SERVICE);
    let mut services = backends.iter().map(|it| backend(it, own_namespace));
    let (service, services) = match is_one {
        true => (services.next(), None),
        false if backends.is_empty() => (None, None),
        false => (None, Some(services.collect())),
    };
    let mut written = RouteRule {
        matches: matches.as_ref().and_then(|it| it.text()).map(str::to_owned),
        priority: weight.priority().filter(|it| *it != default),
        service,
        services,
        dry_run: *dry_run,
        ..RouteRule::default()
    };
    if let Some(policy) = policy {
        policy::write(policy, own_namespace, &mut written);
    }
    written
}

fn backend(reference: &BackendReference, own_namespace: &str) -> ServiceRef {
    let BackendReference {
        field: _,
        service,
        weight,
        port,
        scheme,
        default_scheme: _,
        server_name,
        filters: _,
    } = reference;
    let namespace = Some(&*service.namespace).filter(|it| *it != own_namespace);
    ServiceRef {
        name: service.name.to_string(),
        namespace: namespace.map(str::to_owned),
        port: port.clone(),
        weight: *weight,
        scheme: scheme.and_then(|scheme| match scheme {
            Scheme::Http => Some(ingressroute::Scheme::Http),
            Scheme::Https => Some(ingressroute::Scheme::Https),
            Scheme::H2c => Some(ingressroute::Scheme::H2c),
            // No IngressRoute has these.
            Scheme::Tcp | Scheme::Udp => None,
        }),
        server_name: server_name.as_deref().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use ferrix_api::IngressRoute;
    use serde_json::{Value, json};

    use super::*;
    use crate::{ingressroute::draft, objects::Origin};

    fn route(spec: Value) -> IngressRoute {
        let value = json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": {
                "name": "r", "namespace": "default", "generation": 7,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_spec_that_is_written_back_says_the_same() {
        let api = json!({"name": "api", "port": 80});
        let services = json!([
            {"name": "api", "port": 80, "weight": 3},
            {"name": "api", "namespace": "other", "port": "http", "weight": 0},
            {"name": "tls", "port": 443, "scheme": "https", "serverName": "inside.test"},
            {"name": "plain", "port": 1, "scheme": "http"},
            {"name": "grpc", "namespace": "default", "port": 65535, "scheme": "h2c"},
        ]);
        let filters = json!([
            {"requestHeaderModifier": {
                "set": [{"name": "X-A", "value": "a"}], "add": [{"name": "X-B", "value": "b"}],
                "remove": ["X-C"],
            }},
            {"responseHeaderModifier": {"remove": ["X-C"]}},
            {"urlRewrite": {
                "hostname": "Inside.Test",
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
            }},
            {"requestMirror": {"backendRef": api, "percent": 10}},
            {"requestMirror": {"backendRef": {"name": "b", "namespace": "other", "port": 1}}},
            {"cors": {
                "allowOrigins": ["https://a.test:443", "https://*.b.test:8443"],
                "allowMethods": ["*"], "allowHeaders": ["X-A", "X-B"],
            }},
            {"externalAuth": {
                "protocol": "HTTP", "backendRef": api, "forwardBody": {"maxSize": 5},
                "http": {"path": "/check/", "allowedHeaders": ["Cookie"]},
            }},
            {"compression": {"encodings": ["br", "gzip"], "contentTypes": ["Text/*", "+json"]}},
            {"ipFilter": {"allow": ["10.1.2.3/8", "::ffff:192.0.2.1"], "deny": ["2001:db8::/32"]}},
            {"rateLimit": {"requests": 100, "per": "1m", "burst": 20, "by": {"header": "X-Key"}}},
            {"rateLimit": {"requests": 5, "by": {"client": {"ipv6Prefix": 56}}, "dryRun": true}},
            {"rateLimit": {"requests": 5, "by": {"route": {}}, "scope": "Cluster"}},
            {"concurrency": {"requests": 10, "by": {"cookie": "session"}}},
            {"concurrency": {"requests": 10}},
            {"bodySize": {"max": "10MB"}},
            {"bandwidth": {"response": {"bytesPerSecond": "1MB", "burst": "10MB"}}},
            {"bandwidth": {"request": {"bytesPerSecond": "1500KiB"}, "by": {"route": {}}}},
            {"cache": {"maxBytes": "10MB", "defaultTtl": "1m30s", "keyHeaders": ["X-A"]}},
        ]);
        let keys =
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "A".repeat(43)}]});
        let url = "https://id.example.com:8443/keys?of=shop";
        let who = json!([
            {"basicAuth": {"secret": "people", "realm": "shop", "userHeader": "X-User", "hideCredentials": true}},
            {"apiKey": {"secret": "partners", "from": {"cookie": "key"}, "clientHeader": "X-Client"}},
            {"jwt": {
                "jwks": {"inline": keys.to_string()}, "issuer": "https://id.example.com",
                "audiences": ["a", "b"], "leeway": "1m", "from": {"query": "token"},
                "requiredClaims": [{"name": "scope", "values": ["x", "y"]}, {"name": "sub"}],
                "claimsToHeaders": [{"claim": "org.team", "header": "X-Team"}],
                "optional": true, "hideCredentials": true,
            }},
            {"clientCertificate": {
                "authorities": {"configMap": "partners"}, "optional": true,
                "detailsToHeaders": [
                    {"detail": "Subject", "header": "X-Client"}, {"detail": "Names", "header": "X-Names"},
                    {"detail": "Fingerprint", "header": "X-Hash"},
                    {"detail": "Certificate", "header": "X-Cert"},
                    {"detail": "ForwardedClientCert", "header": "X-Forwarded-Client-Cert"},
                ],
            }},
            {"rateLimit": {"requests": 5, "by": {"claim": "org.team"}}},
            {"concurrency": {"requests": 5, "by": {"claim": "sub"}}},
        ]);
        let alone = |filter: Value| {
            json!({
                "route": {"rules": [{"service": {"name": "api", "port": 80}, "filters": [filter]}]},
            })
        };
        let by_grpc = json!([
            {"externalAuth": {
                "protocol": "GRPC", "backendRef": api, "grpc": {"allowedHeaders": ["Cookie"]},
                "cache": {"ttl": "1m30s", "keyHeaders": ["Cookie"], "headersAlone": true},
                "signIn": "https://sign-in.example.com/start?a=b",
            }},
        ]);
        let host = |host: &str| json!({"route": {"host": host, "rules": [{"service": api}]}});
        let rule = |rule: Value| json!({"route": {"rules": [rule]}});
        let cases = [
            rule(json!({"service": api})),
            host("Shop.Example.COM"),
            host("*.example.com"),
            host("xn--bcher-kva.example."),
            host("192.0.2.1"),
            host("[2001:db8::1]"),
            rule(json!({"services": services})),
            rule(json!({"services": [{"name": "api", "port": 80, "weight": 5}]})),
            // Which has no effect, and that is said.
            rule(json!({"service": {"name": "api", "port": 80, "weight": 5}})),
            rule(json!({"service": {"name": "api", "port": "8080"}})),
            rule(json!({"service": api, "matches": " PathPrefix( `/a` )&&!Method(`GET`) "})),
            rule(json!({"service": api, "matches": "Path(`/a`)", "priority": 10})),
            rule(json!({"service": api, "matches": "Path(`/a`)", "priority": -1})),
            rule(json!({"service": api, "priority": 0})),
            rule(json!({"service": api, "matches": "Path(`/a`)", "dryRun": true})),
            rule(json!({"service": api, "priority": i64::MAX})),
            // Never matches, and that is said.
            rule(json!({"service": api, "matches": "Host(`a.test`) && Host(`b.test`)"})),
            json!({"route": {"rules": [
                {"service": api, "matches": "Path(`/a`)"}, {"services": [api]}, {"service": api},
            ]}}),
            rule(json!({"service": api, "matches": "PathPrefix(`/a`)", "filters": filters})),
            rule(json!({"service": api, "filters": [
                {"filter": "first"}, {"cors": {"allowOrigins": ["https://a.test"]}},
                {"filter": "other/second"},
            ]})),
            rule(json!({"filters": [{"filter": "moved"}]})),
            rule(json!({"service": api, "without": ["first", "other/second"]})),
            json!({"route": {
                "filters": [
                    {"filter": "first"}, {"requestMirror": {"backendRef": api}},
                    {"urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}},
                ],
                "rules": [
                    {"service": api, "matches": "PathPrefix(`/a`)", "filters": [{"filter": "second"}]},
                    {"service": api, "matches": "PathPrefix(`/b`)"},
                ],
            }}),
            rule(json!({"service": api, "filters": by_grpc})),
            rule(json!({"service": api, "filters": who})),
            alone(json!({"basicAuth": {"secret": "people"}})),
            alone(
                json!({"apiKey": {"secret": "partners", "from": {"header": "X-Key"}, "hideCredentials": true}}),
            ),
            alone(json!({"apiKey": {"secret": "partners", "from": {"query": "key"}}})),
            alone(json!({"clientCertificate": {"authorities": {"secret": "partners"}}})),
            alone(json!({"jwt": {"jwks": {"secret": {"name": "keys"}}, "leeway": "0s"}})),
            alone(json!({"jwt": {"jwks": {"configMap": {"name": "keys", "key": "all"}}}})),
            alone(json!({"jwt": {"jwks": {"url": url}, "from": {"header": "X-Token"}}})),
            rule(json!({"filters": [{"requestRedirect": {"scheme": "https", "statusCode": 301}}]})),
            rule(json!({"filters": [
                {"respond": {"status": 503, "body": "closed", "headers": [{"name": "A", "value": "b"}]}},
            ]})),
            rule(json!({"service": api, "filters": [
                {"respond": {"body": "{}", "contentType": "application/json"}},
            ]})),
            rule(json!({"filters": [
                {"respond": {"headers": [{"name": "Content-Type", "value": "text/css"}]}},
            ]})),
            rule(json!({"service": api, "filters": [
                {"requestRedirect": {
                    "www": "Strip",
                    "path": {"type": "StripPrefix", "stripPrefix": ["/a/", "/ä/b"]},
                }},
                {"urlRewrite": {"path": {
                    "type": "ReplaceRegexMatch",
                    "replaceRegexMatch": {"pattern": "^/(?P<x>a+?)/", "substitution": "/${x}$$/"},
                }}},
            ]})),
            rule(json!({"service": api, "filters": [
                {"errorPages": {"statuses": [404, "500-599"], "body": "sorry", "status": 200}},
                {"errorPages": {
                    "statuses": ["403-403"], "backendRef": {"name": "b", "namespace": "other", "port": 1},
                    "path": "/{status}/{status}.html",
                }},
                {"faults": {"delay": {"duration": "1m500ms"}, "abort": {"status": 500, "percent": 3}}},
                {"accessLog": {"requestHeaders": ["X-A"], "responseHeaders": ["X-B", "x-c"]}},
            ]})),
            rule(json!({"service": api, "filters": [
                {"faults": {"abort": {"status": 599, "percent": 0}}}, {"accessLog": {"enabled": false}},
                {"requestBuffering": {"maxBytes": "1.5MB"}},
            ]})),
            rule(json!({"service": api, "filters": [
                {"requestRedirect": {"www": "Add", "port": 8443}},
                {"urlRewrite": {"path": {"type": "AddPrefix", "addPrefix": "/a/"}}},
            ]})),
            rule(json!({"service": api, "filters": [
                {"oidc": {"issuer": "https://id.test", "clientId": "shop", "secret": "login"}},
            ]})),
            rule(json!({"service": api, "filters": [
                {"oidc": {
                    "issuer": "https://id.test:8443/realms/a/", "clientId": "a b", "secret": "login",
                    "clientAuthentication": "Post", "scopes": ["openid", "groups"],
                    "callbackPath": "/ä", "logoutPath": "/out", "afterLogout": "/",
                    "sessionLifetime": "720h", "leeway": "0s",
                    "requiredClaims": [{"name": "groups", "values": ["staff"]}, {"name": "sub"}],
                    "claimsToHeaders": [{"claim": "email", "header": "X-Email"}],
                }},
            ]})),
            rule(json!({
                "service": api, "timeouts": {"request": "1h1m1s1ms", "backendRequest": "0s"},
                "retry": {"codes": [500, 503], "attempts": 3, "backoff": "25ms"},
            })),
            rule(json!({"service": api, "timeouts": {"request": "90s"}, "retry": {}})),
            json!({"entrypoint": "web", "route": {"rules": [{"service": api}]}}),
            json!({"entrypoints": ["web"], "route": {"rules": [{"service": api}]}}),
            json!({"entrypoints": ["web", "extra"], "route": {"rules": [{"service": api}]}}),
            json!({
                "ingressClassName": "internal", "entrypoints": [], "tls": "cert",
                "route": {"host": "a.test", "rules": [{"service": api}]},
            }),
        ];
        let mut ran = 0;
        for case in cases {
            let before = route(case.clone());
            let drafted = draft(&before, Origin::Api);
            assert_eq!(*drafted.faults, [], "{case}");
            // As it is sent and read.
            let written = serde_json::to_value(spec(&drafted)).unwrap();
            let after = draft(&route(written.clone()), Origin::Api);
            assert!(drafted.same(&after), "{case} became {written}");
            ran += 1;
        }
        assert_eq!(ran, 48);
    }
}
