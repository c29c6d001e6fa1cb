//! What holds for any objects in any order.

use std::{collections::HashMap, sync::Arc};

use ferrix_control::{
    Compiler,
    compiler::Published,
    decode::{self, DecodeError, Decoded, Strictness},
    external_name::{Answer, DomainName, Failure},
    issuer_keys::FetchedKeys,
    kubernetes::snapshot,
    objects::{Key, Object, ObjectName, Origin},
    report::{ConditionType, Finding, Reason, Severity},
    settings::{
        DefaultCertificate, FilterSettings, GatewayReach, GatewaySettings, HostGrant, HostPolicy,
        HostSet, NamespaceFilters, Settings,
    },
    translate,
    world::{Change, World},
    yaml,
};
use ferrix_table::{
    Table, filters::jwt::Renewal, publish, rules::HostPattern, services::Endpoint,
    table::EntryPoint,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

/// One of a few objects that know each other, in one of a few versions, some of them bad.
#[derive(Clone, Debug)]
enum Spec {
    Route {
        name: u8,
        namespace: u8,
        host: u8,
        created: Option<u8>,
        tls: Option<u8>,
        entry_points: u8,
        rules: Vec<RuleSpec>,
    },
    Service {
        name: u8,
        namespace: u8,
        variant: u8,
    },
    Slice {
        name: u8,
        namespace: u8,
        service: u8,
        addresses: Vec<(u8, u8)>,
        port: u8,
    },
    Secret {
        name: u8,
        namespace: u8,
        variant: u8,
    },
    Grant {
        namespace: u8,
        to: Option<u8>,
    },
    Namespace {
        name: u8,
        label: u8,
    },
    /// Of the Gateway API, or about Filters: see [`gateway_text`].
    Gateway {
        what: u8,
        name: u8,
        namespace: u8,
        variant: u8,
        created: Option<u8>,
    },
}

/// The expression of a rule, and its services.
type RuleSpec = (u8, Vec<(u8, u8, u8)>);

fn route() -> impl Strategy<Value = Spec> {
    let small = || 0..3_u8;
    let services = proptest::collection::vec((small(), 0..2_u8, 0..4_u8), 1..3);
    let rules = prop_oneof![
        3 => proptest::collection::vec((0..11_u8, services.clone()), 1),
        1 => proptest::collection::vec((0..11_u8, services), 2..4),
    ];
    (
        (0..6_u8, 0..2_u8, 0..5_u8),
        proptest::option::of(small()),
        proptest::option::of(small()),
        0..7_u8,
        rules,
    )
        .prop_map(
            |((name, namespace, host), created, tls, entry_points, rules)| Spec::Route {
                name,
                namespace,
                host,
                created,
                tls,
                entry_points,
                rules,
            },
        )
}

fn spec() -> impl Strategy<Value = Spec> {
    let small = || 0..3_u8;
    let namespace = || 0..2_u8;
    let service =
        (small(), namespace(), 0..9_u8).prop_map(|(name, namespace, variant)| Spec::Service {
            name,
            namespace,
            variant,
        });
    let slice = (
        small(),
        namespace(),
        small(),
        proptest::collection::vec((0..6_u8, 0..4_u8), 0..4),
        0..3_u8,
    )
        .prop_map(|(name, namespace, service, addresses, port)| Spec::Slice {
            name,
            namespace,
            service,
            addresses,
            port,
        });
    let secret =
        (small(), namespace(), 0..6_u8).prop_map(|(name, namespace, variant)| Spec::Secret {
            name,
            namespace,
            variant,
        });
    let grant = (namespace(), proptest::option::of(small()))
        .prop_map(|(namespace, to)| Spec::Grant { namespace, to });
    let named = (namespace(), 0..3_u8).prop_map(|(name, label)| Spec::Namespace { name, label });
    prop_oneof![6 => route(), 3 => service, 8 => slice, 2 => secret, 1 => grant, 1 => named]
}

/// Those, objects of the Gateway API, Filters with routes that name them, and BackendPolicies.
fn any_spec() -> impl Strategy<Value = Spec> {
    let small = || 0..2_u8;
    let gateway = (
        0..12_u8,
        small(),
        small(),
        0..4_u8,
        proptest::option::of(small()),
    );
    let gateway = gateway.prop_map(|(what, name, namespace, variant, created)| Spec::Gateway {
        what,
        name,
        namespace,
        variant,
        created,
    });
    prop_oneof![3 => spec(), 1 => gateway]
}

/// Objects of the Gateway API that name each other, Filters with IngressRoutes that name them, and
/// BackendPolicies, in four versions each.
fn gateway_text(what: u8, name: u8, namespace: u8, variant: u8, created: Option<u8>) -> String {
    let pick = |all: [&'static str; 4]| all[usize::from(variant)];
    let (kind, prefix, spec) = match what {
        0 => {
            let ours = "ferrix.com/gateway-controller";
            let controller = pick([ours, ours, ours, "example.com/other"]);
            return format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\n\
                 metadata: {{name: c}}\nspec: {{controllerName: {controller}}}\n"
            );
        }
        1 | 2 => {
            let rest = pick([
                "listeners: [{name: http, port: 80, protocol: HTTP, \
                 allowedRoutes: {namespaces: {from: All}}}]",
                "listeners: [{name: http, port: 80, protocol: HTTP, hostname: '*.example'}, \
                 {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c0}]}}]",
                "defaultScope: All, allowedListeners: {namespaces: {from: All}}, \
                 listeners: [{name: tcp, port: 9000, protocol: TCP}, \
                 {name: odd, port: 80, protocol: odd}]",
                "allowedListeners: {namespaces: {from: Same}}, addresses: [{value: 192.0.2.3}], \
                 listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: \
                 {namespaces: {from: Selector, selector: {matchLabels: {team: x}}}}}, \
                 {name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}}]",
            ]);
            ("Gateway", "g", format!("gatewayClassName: c, {rest}"))
        }
        3 => {
            let rest = pick([
                "listeners: [{name: l, port: 80, protocol: HTTP, hostname: b.example}]",
                "listeners: [{name: l, port: 9000, protocol: TCP}]",
                "listeners: [{name: l, port: 80, protocol: HTTP}]",
                "listeners: [{name: l, port: 443, protocol: HTTPS, \
                 tls: {certificateRefs: [{name: c1}, {name: c0}]}}]",
            ]);
            (
                "ListenerSet",
                "l",
                format!("parentRef: {{name: g0, namespace: n0}}, {rest}"),
            )
        }
        4 => {
            let rest = pick([
                "parentRefs: [{name: g0}], rules: [{backendRefs: [{name: s0, port: 80}, \
                 {name: s1, namespace: n1, port: 80}]}]",
                "parentRefs: [{name: g0, namespace: n0, sectionName: http}, {name: g1}], \
                 hostnames: [a.example, '*.example'], rules: [{matches: [{path: {value: /a}}, \
                 {method: GET}], backendRefs: [{name: s0, port: 80}]}, {filters: \
                 [{type: RequestRedirect, requestRedirect: {scheme: https}}]}]",
                "parentRefs: [{kind: ListenerSet, name: l0}, {name: g0}], rules: [{matches: \
                 [{path: {type: RegularExpression, value: '('}}], \
                 backendRefs: [{name: s0, port: 80}]}]",
                "parentRefs: [{name: none}], rules: [{backendRefs: [{name: s0, port: 80}]}]",
            ]);
            ("HTTPRoute", "h", rest.to_owned())
        }
        5 => {
            let rest = pick([
                "parentRefs: [{name: g0}], rules: [{backendRefs: [{name: s0, port: 80}]}]",
                "parentRefs: [{kind: ListenerSet, name: l0}], \
                 rules: [{backendRefs: [{name: s1, port: 80}]}]",
                "parentRefs: [{name: g0}, {name: g1}], rules: [{}]",
                "useDefaultGateways: All, parentRefs: [], rules: [{backendRefs: [{name: s0, port: 80}]}]",
            ]);
            ("TCPRoute", "t", rest.to_owned())
        }
        6 => {
            let rest = pick([
                "targetRefs: [{group: '', kind: Service, name: s0}], validation: \
                 {hostname: a.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: m0}]}",
                "targetRefs: [{group: '', kind: Service, name: s0, sectionName: http}], \
                 validation: {hostname: b.example, wellKnownCACertificates: System}",
                "targetRefs: [{group: '', kind: Service, name: s1}, \
                 {group: '', kind: Service, name: s0}], \
                 validation: {hostname: a.example, wellKnownCACertificates: Other}",
                "targetRefs: [{group: '', kind: Service, name: s1}], validation: \
                 {hostname: a.example, caCertificateRefs: [{group: '', kind: Odd, name: m0}]}",
            ]);
            ("BackendTLSPolicy", "p", rest.to_owned())
        }
        7 => {
            let filters = pick([
                "requestHeaderModifier: {remove: [a]}}, {apiKey: {secret: c1, from: {header: K}}",
                "requestMirror: {backendRef: {name: s0, port: 80}}",
                "requestMirror: {backendRef: {kind: Odd, name: s0, port: 80}}",
                "jwt: {jwks: {configMap: {name: m0}}}}, {requestMirror: {backendRef: {name: s1, \
                 namespace: n1, port: 80}}",
            ]);
            let rest = [
                "",
                ", targetRefs: [{group: '', kind: Namespace, name: n1}, \
                 {group: gateway.networking.k8s.io, kind: Gateway, name: g0}]",
                ", optional: true, targetRefs: [{group: ferrix.com, kind: EntryPoint, name: web}]",
            ][created.map_or(0, |it| 1 + usize::from(it))];
            return format!(
                "apiVersion: ferrix.com/v1\nkind: Filter\nmetadata: {{name: f{name}, namespace: \
                 n{namespace}, uid: u, generation: {}}}\nspec: {{filters: [{{{filters}}}]{rest}}}\n",
                1 + variant
            );
        }
        8 => {
            let filters = pick([
                "filter: f0}, {basicAuth: {secret: c0}",
                "filter: n0/f1}, {jwt: {jwks: {url: 'https://x.example/'}}",
                "responseHeaderModifier: {remove: [a]}}, {filter: f0}, {filter: f1",
                "filter: none",
            ]);
            return format!(
                "apiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {{name: q{name}, \
                 namespace: n{namespace}, uid: u, generation: 1}}\n\
                 spec: {{route: {{host: q.example, rules: [{{filters: [{{{filters}}}], \
                 without: [n0/f0], service: {{name: s1, port: 80}}}}]}}}}\n"
            );
        }
        9 => {
            let rest = pick([
                "targetRefs: [{group: '', kind: Service, name: s0}], \
                 balancing: {algorithm: LeastRequests}",
                "targetRefs: [{group: '', kind: Service, name: s1}, \
                 {group: '', kind: Service, name: s0, sectionName: http}], \
                 connection: {tls: {wellKnownCACertificates: System}}, \
                 limits: {retries: {percent: 5}}",
                "targetRefs: [{group: '', kind: Service, name: s0}], \
                 balancing: {algorithm: ConsistentHash}",
                "targetRefs: [{group: '', kind: Odd, name: s0}]",
            ]);
            let created = created_at(created);
            return format!(
                "apiVersion: ferrix.com/v1\nkind: BackendPolicy\nmetadata: {{name: b{name}, \
                 namespace: n{namespace}, uid: u, generation: {}{created}}}\nspec: {{{rest}}}\n",
                1 + variant
            );
        }
        10 => {
            let rest = pick([
                "targetRefs: [{group: '', kind: Service, name: s0}], retryConstraint: {}",
                "targetRefs: [{group: '', kind: Service, name: s1}, \
                 {group: '', kind: Service, name: s0}], sessionPersistence: {type: Header}",
                "targetRefs: [{group: '', kind: Service, name: s0}], \
                 retryConstraint: {budget: {percent: 101}}",
                "targetRefs: [{group: '', kind: Odd, name: s0}]",
            ]);
            let created = created_at(created);
            return format!(
                "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\n\
                 metadata: {{name: x{name}, namespace: n{namespace}, uid: u, generation: \
                 {}{created}}}\nspec: {{{rest}}}\n",
                1 + variant
            );
        }
        _ => {
            let authority = match variant {
                0 | 1 => certificate(usize::from(variant)).0,
                _ => "none",
            };
            let authority = authority.trim_end().replace('\n', "\n    ");
            return format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{name}, \
                 namespace: n{namespace}}}\ndata:\n  ca.crt: |\n    {authority}\n  \
                 jwks.json: '{}'\n",
                key_set(variant)
            );
        }
    };
    let created = created_at(created);
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{name: {prefix}{name}, namespace: n{namespace}, uid: u, \
         generation: {}{created}}}\nspec: {{{spec}}}\n",
        1 + variant
    )
}

fn created_at(year: Option<u8>) -> String {
    year.map_or(String::new(), |year| {
        format!(", creationTimestamp: '202{year}-01-01T00:00:00Z'")
    })
}

impl Spec {
    fn object(&self) -> Object {
        let text = self.text();
        let document = yaml::documents(&text)
            .next()
            .expect("a document")
            .expect("YAML");
        match decode::decode(&document.value, Strictness::Api) {
            Ok(Decoded::Object { object, .. }) => object,
            other => panic!("{other:?}\n{text}"),
        }
    }

    fn change(&self) -> Change {
        Change::Apply {
            object: self.object(),
            origin: Origin::Api,
            notes: Vec::new(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Route {
                name,
                namespace,
                host,
                created,
                tls,
                entry_points,
                rules,
            } => {
                let host =
                    ["a.example", "'*.example'", "b.example", "'bad host'", ""][usize::from(*host)];
                let host = match host {
                    "" => String::new(),
                    host => format!("host: {host}, "),
                };
                let created = created.map_or(String::new(), |year| {
                    format!(", creationTimestamp: '202{year}-01-01T00:00:00Z'")
                });
                let tls = tls.map_or(String::new(), |tls| format!("tls: c{tls}, "));
                let entry_points = [
                    "",
                    "entrypoint: web, ",
                    "entrypoint: websecure, ",
                    "entrypoints: [web, websecure], ",
                    "entrypoints: [web, unknown], ",
                    "entrypoints: [internal, web], ",
                    "ingressClassName: other, ",
                ][usize::from(*entry_points)];
                // Nothing but what makes versions comparable: a rule that is bad is of a later one than some
                // that are good.
                let generation = 1 + rules[0].0;
                let rules: Vec<_> = rules.iter().map(rule_text).collect();
                let rules = rules.join(", ");
                format!(
                    "apiVersion: ferrix.com/v1\nkind: IngressRoute\n\
                     metadata: {{name: r{name}, namespace: n{namespace}, uid: u, \
                     generation: {generation}{created}}}\n\
                     spec: {{{entry_points}{tls}route: {{{host}rules: [{rules}]}}}}\n"
                )
            }
            Self::Service {
                name,
                namespace,
                variant,
            } => {
                let spec = [
                    "ports: [{name: http, port: 80}]",
                    "ports: [{name: http, port: 81, appProtocol: kubernetes.io/h2c}]",
                    "ports: [{name: http, port: 80, appProtocol: odd}, {name: x, port: 1}]",
                    "ports: [{name: other, port: 80}]",
                    "ports: [{name: http, port: 443}], ipFamilies: [IPv6]",
                    "ports: [{name: http, port: 80}], type: ExternalName, externalName: x.example",
                    "ports: [{name: http, port: 443}], type: ExternalName, externalName: X.example.",
                    "ports: [{name: http, port: 80}], type: ExternalName, externalName: y.example",
                    "ports: [{name: http, port: 80}], type: ExternalName, externalName: 192.0.2.1",
                ][usize::from(*variant)];
                format!(
                    "apiVersion: v1\nkind: Service\n\
                     metadata: {{name: s{name}, namespace: n{namespace}}}\nspec: {{{spec}}}\n"
                )
            }
            Self::Slice {
                name,
                namespace,
                service,
                addresses,
                port,
            } => {
                let address = |(address, state): &(u8, u8)| {
                    let address = [
                        "10.0.0.1",
                        "10.0.0.2",
                        "10.0.0.3",
                        "'2001:db8::1'",
                        "127.0.0.1",
                        "x",
                    ][usize::from(*address)];
                    let state = [
                        "",
                        ", conditions: {ready: false}",
                        ", conditions: {ready: false, terminating: true}",
                        ", conditions: {ready: true}",
                    ][usize::from(*state)];
                    format!("{{addresses: [{address}]{state}}}")
                };
                let addresses: Vec<_> = addresses.iter().map(address).collect();
                let port = ["http", "x", "other"][usize::from(*port)];
                format!(
                    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                     metadata: {{name: e{name}, namespace: n{namespace}, \
                     labels: {{kubernetes.io/service-name: s{service}}}}}\n\
                     addressType: IPv4\nports: [{{name: {port}, port: 8080}}]\n\
                     endpoints: [{}]\n",
                    addresses.join(", ")
                )
            }
            Self::Secret {
                name,
                namespace,
                variant,
            } => {
                if let 4.. = variant {
                    let auth = ["a:$apr1$a$1234567890123456789012", "a:b"];
                    return format!(
                        "apiVersion: v1\nkind: Secret\nmetadata: {{name: c{name}, \
                         namespace: n{namespace}}}\nstringData: {{auth: '{}'}}\n",
                        auth[usize::from(*variant) - 4]
                    );
                }
                let (certificate, key) = match variant {
                    0 => certificate(0),
                    1 => certificate(1),
                    2 => certificate(2),
                    _ => (certificate(0).0, certificate(1).1),
                };
                let block = |text: &str| text.trim_end().replace('\n', "\n    ");
                format!(
                    "apiVersion: v1\nkind: Secret\n\
                     metadata: {{name: c{name}, namespace: n{namespace}}}\n\
                     type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n    {}\n  \
                     tls.key: |\n    {}\n",
                    block(certificate),
                    block(key)
                )
            }
            Self::Grant { namespace, to } => {
                let to = to.map_or(String::new(), |to| format!(", name: s{to}"));
                let from = 1 - namespace;
                format!(
                    "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\n\
                     metadata: {{name: g, namespace: n{namespace}}}\nspec:\n  \
                     from: [{{group: ferrix.com, kind: IngressRoute, namespace: n{from}}}]\n  \
                     to: [{{group: '', kind: Service{to}}}, {{group: ferrix.com, kind: Filter}}]\n"
                )
            }
            Self::Gateway {
                what,
                name,
                namespace,
                variant,
                created,
            } => gateway_text(*what, *name, *namespace, *variant, *created),
            Self::Namespace { name, label } => {
                let label = ["", "team: x", "team: y"][usize::from(*label)];
                format!(
                    "apiVersion: v1\nkind: Namespace\n\
                     metadata: {{name: n{name}, labels: {{{label}}}}}\n"
                )
            }
        }
    }
}

fn rule_text((rule, services): &RuleSpec) -> String {
    let rule = [
        "",
        "matches: Path(`/a`), ",
        "matches: PathPrefix(`/`), ",
        "matches: 'Path(`/a`) || Path(`/b`)', ",
        "matches: Path(, ",
        "priority: 50, ",
        "matches: Path(`/a`), priority: 12, ",
        "matches: Host(`a.example`), ",
        "matches: Host(`b.example`) && Path(`/a`), ",
        "matches: Host(`*.example`), ",
        "matches: Host(`a.example`) || Host(`b.example`), ",
    ][usize::from(*rule)];
    let services: Vec<_> = services
        .iter()
        .map(|(service, namespace, weight)| {
            format!("{{name: s{service}, namespace: n{namespace}, port: http, weight: {weight}}}")
        })
        .collect();
    format!("{{{rule}services: [{}]}}", services.join(", "))
}

/// One of three certificates, the same in a whole run. The last ceases to be valid in 2028.
fn certificate(which: usize) -> (&'static str, &'static str) {
    static MADE: std::sync::LazyLock<[(String, String); 3]> = std::sync::LazyLock::new(|| {
        [
            ("a.example", 2100),
            ("b.example", 2100),
            ("a.example", 2028),
        ]
        .map(|(name, year)| {
            let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            let made = parameters.self_signed(&key).expect("made");
            (made.pem(), key.serialize_pem())
        })
    });
    let (certificate, key) = &MADE[which];
    (certificate, key)
}

fn settings() -> Settings {
    Settings {
        allow_external_name: true,
        default_certificate: Some(DefaultCertificate::Secret {
            namespace: "n0".to_owned(),
            name: "c0".to_owned(),
        }),
        ..Settings::new(vec![
            EntryPoint::http("web"),
            EntryPoint::https("websecure"),
            EntryPoint::http("internal"),
        ])
    }
}

/// Every policy about hosts: none, and each part of one with and without the other.
fn policies() -> [HostPolicy; 4] {
    let grant = |namespaces: &[&str], labels: &[(&str, &str)], hosts: &[&str]| HostGrant {
        namespaces: namespaces.iter().map(ToString::to_string).collect(),
        labels: (labels.iter())
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        hosts: (hosts.iter())
            .map(|host| HostSet::try_from(host.to_string()).expect("a host"))
            .collect(),
    };
    let allowed = || {
        Some(vec![
            grant(&["n0"], &[], &["a.example", "*"]),
            grant(&[], &[("team", "x")], &["a.example"]),
            grant(&[], &[("team", "y")], &["**.example"]),
        ])
    };
    [
        (false, None),
        (true, None),
        (false, allowed()),
        (true, allowed()),
    ]
    .map(|(first_claim, allowed)| HostPolicy {
        first_claim,
        allowed,
    })
}

fn settings_with(hosts: &HostPolicy) -> Settings {
    Settings {
        hosts: hosts.clone(),
        // The same installations have Filters from above.
        filters: match hosts.first_claim {
            false => FilterSettings {
                namespace: Some("n0".to_owned()),
                ..FilterSettings::default()
            },
            true => FilterSettings {
                namespace: Some("n1".to_owned()),
                entry_points: [("internal".to_owned(), vec![ObjectName::new("n0", "f0")])].into(),
                namespaces: vec![NamespaceFilters {
                    namespaces: ["n1".to_owned()].into(),
                    filters: vec![ObjectName::new("n0", "f1")],
                }],
            },
        },
        // Some installations have a pool of addresses, and the others are reached by their ports.
        gateway: Some(GatewaySettings {
            reach: match hosts.first_claim {
                false => GatewayReach::Pool(vec!["192.0.2.0/29".parse().expect("a network")]),
                true => GatewayReach::EntryPoints,
            },
            exposed_ports: [("web".to_owned(), 80), ("websecure".to_owned(), 443)].into(),
            ..GatewaySettings::default()
        }),
        ..settings()
    }
}

/// The table as a document, but for its generation.
fn dump(table: &Table) -> serde_json::Value {
    let mut dump = serde_json::to_value(table.dump()).expect("a dump");
    dump.as_object_mut()
        .expect("a mapping")
        .remove("generation");
    dump
}

/// A step in the life of a cluster.
#[derive(Clone, Debug)]
enum Step {
    Apply(Spec),
    /// Decoding found something.
    Note(Spec),
    Remove(Spec),
    /// A version that cannot be decoded.
    Reject(Spec),
    /// A version that others have kept, or keep no more.
    Keep(Spec),
    Discard(Spec),
    /// Something about a file, or nothing any more.
    Remark(bool),
    /// A name is looked up, and this is found: see [`looked_up`].
    LookedUp(u8, u8),
    /// Keys are fetched, and this is found: see [`fetched`].
    Fetched(u8),
    /// A kind cannot be seen, or can again; in all namespaces, or in that of the object.
    Withhold {
        spec: Spec,
        everywhere: bool,
        there: bool,
    },
}

impl Step {
    fn change(&self) -> Change {
        match self {
            Self::Apply(spec) => spec.change(),
            Self::Note(spec) => Change::Apply {
                object: spec.object(),
                origin: Origin::Api,
                notes: vec![finding()],
            },
            Self::Remove(spec) => Change::Remove(spec.object().key()),
            Self::Reject(spec) => Change::Reject {
                key: spec.object().key(),
                origin: Origin::Api,
                error: DecodeError {
                    key: Some(spec.object().key()),
                    uid: Some("u".into()),
                    generation: Some(7),
                    faults: Vec::new(),
                    bug: false,
                },
            },
            Self::Keep(spec) => Change::Keep(spec.object()),
            Self::Discard(spec) => Change::Discard {
                key: spec.object().key(),
                uid: "u".into(),
            },
            Self::Remark(there) => Change::Remark {
                path: std::path::Path::new("file").into(),
                findings: there.then(finding).into_iter().collect(),
            },
            Self::LookedUp(name, found) => looked_up(*name, *found),
            Self::Fetched(found) => fetched(*found),
            Self::Withhold {
                spec,
                everywhere,
                there,
            } => {
                let key = spec.object().key();
                Change::Withhold {
                    kind: key.kind,
                    namespace: (!everywhere).then_some(key.namespace.clone()),
                    reason: there.then(|| "forbidden".to_owned()),
                }
            }
        }
    }
}

fn looked_up(name: u8, found: u8) -> Change {
    let name = ["x.example", "y.example", "z.example"][usize::from(name)];
    let name = DomainName::parse(name).expect("a name");
    let addresses = |list: &[&str]| Ok(list.iter().map(|it| it.parse().expect("one")).collect());
    let answer = |ipv4, ipv6| Answer { ipv4, ipv6 };
    let none = || Err(Failure::NoAddresses);
    let answer = match found {
        0 => answer(addresses(&["10.0.0.1", "10.0.0.2"]), none()),
        1 => answer(addresses(&["10.0.0.2"]), addresses(&["2001:db8::1"])),
        2 => answer(addresses(&["127.0.0.1"]), none()),
        3 => Answer::failed(Failure::NoSuchName),
        4 => Answer::failed(Failure::TimedOut),
        5 => answer(Err(Failure::TimedOut), addresses(&["2001:db8::2"])),
        _ => return Change::Forget(name),
    };
    Change::LookedUp { name, answer }
}

fn fetched(found: u8) -> Change {
    let url = "https://x.example/".into();
    let fetched = match found {
        0 | 1 => Ok(FetchedKeys::parse(&key_set(found)).expect("a set")),
        2 => Err("no answer".into()),
        _ => return Change::ForgetKeys(url),
    };
    Change::KeysFetched {
        url,
        fetched,
        renewal: Renewal::default(),
    }
}

/// A set of one key, or nothing that is one.
fn key_set(variant: u8) -> String {
    let x = ["A", "E"].get(usize::from(variant)).map(|it| it.repeat(43));
    let key = |x| format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}"}}"#);
    let keys = x.map_or_else(String::new, key);
    format!(r#"{{"keys": [{keys}]}}"#)
}

fn finding() -> Finding {
    Finding {
        severity: Severity::Warning,
        reason: Reason::UnknownField,
        field: "spec".to_owned(),
        line: None,
        message: "odd".to_owned(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => any_spec().prop_map(Step::Apply),
        1 => any_spec().prop_map(Step::Note),
        6 => any_spec().prop_map(Step::Remove),
        2 => any_spec().prop_map(Step::Reject),
        3 => route().prop_map(Step::Keep),
        1 => route().prop_map(Step::Discard),
        1 => any::<bool>().prop_map(Step::Remark),
        6 => (0..3_u8, 0..7_u8).prop_map(|(name, found)| Step::LookedUp(name, found)),
        2 => (0..4_u8).prop_map(Step::Fetched),
        2 => (spec(), any::<bool>(), any::<bool>()).prop_map(|(spec, everywhere, there)| {
            Step::Withhold { spec, everywhere, there }
        }),
    ]
}

/// A step as an API server tells of it at a time: an object was made once, and its generations ascend.
fn told_by_an_api_server(step: &Step, time: usize) -> Option<Change> {
    let time = i64::try_from(time).expect("a small number");
    let versions = |mut object: Object, generation: i64| {
        if let Object::IngressRoute(route) = &mut object {
            let route = Arc::make_mut(route);
            route.metadata.creation_timestamp = None;
            route.metadata.generation = Some(generation);
            // What comes from another installation is no version of ours.
            route.spec.ingress_class_name = None;
        }
        if let Object::HttpRoute(route) = &mut object {
            let route = Arc::make_mut(route);
            route.metadata.creation_timestamp = None;
            route.metadata.generation = Some(generation);
        }
        if let Object::BackendPolicy(policy) = &mut object {
            let policy = Arc::make_mut(policy);
            policy.metadata.creation_timestamp = None;
            policy.metadata.generation = Some(generation);
        }
        if let Object::Filter(filter) = &mut object {
            Arc::make_mut(filter).metadata.generation = Some(generation);
        }
        object
    };
    match (step, step.change()) {
        (
            Step::Apply(_),
            Change::Apply {
                object,
                origin,
                notes,
            },
        ) => {
            let object = versions(object, 2 * time);
            Some(Change::Apply {
                object,
                origin,
                notes,
            })
        }
        (
            Step::Reject(_),
            Change::Reject {
                key,
                origin,
                mut error,
            },
        ) => {
            error.generation = Some(2 * time);
            Some(Change::Reject { key, origin, error })
        }
        // Of before, and so perhaps of the version that is bad now.
        (Step::Keep(_), Change::Keep(object)) => Some(Change::Keep(versions(object, time))),
        (Step::Remove(_) | Step::Discard(_), change) => Some(change),
        _ => None,
    }
}

/// What outlives tables: of routes and services that both have, and of their endpoints.
fn assert_states_stay(before: &Table, after: &Table) {
    let routes: HashMap<_, _> = (before.rules.iter())
        .map(|rule| (&rule.route.key, &rule.route.state))
        .collect();
    for rule in &*after.rules {
        if let Some(state) = routes.get(&rule.route.key) {
            assert!(Arc::ptr_eq(state, &rule.route.state), "{rule}");
        }
    }
    let services: HashMap<_, _> = before.services.iter().map(|it| (&it.id, it)).collect();
    for service in &*after.services {
        let Some(earlier) = services.get(&service.id) else {
            continue;
        };
        assert!(
            Arc::ptr_eq(&earlier.state, &service.state),
            "{}",
            service.id
        );
        for endpoint in &service.endpoints {
            let same = |it: &&Endpoint| it.address == endpoint.address;
            if let Some(earlier) = earlier.endpoints.iter().find(same) {
                assert!(Arc::ptr_eq(&earlier.state, &endpoint.state));
            }
        }
    }
}

/// Whether each route with a good host may have it, by looking at one after the other.
fn decided(policy: &HostPolicy, specs: &[Spec]) -> Vec<(Key, HostPattern, bool)> {
    let label = |namespace: u8| {
        let mut labels = specs.iter().filter_map(|spec| match spec {
            Spec::Namespace { name, label } if *name == namespace => Some(*label),
            _ => None,
        });
        labels.next_back().unwrap_or(0)
    };
    let mut routes: Vec<_> = (specs.iter())
        .filter_map(|spec| match spec {
            // Those of another class are not ours.
            Spec::Route { host: 3, .. }
            | Spec::Route {
                entry_points: 6, ..
            } => None,
            Spec::Route {
                name,
                namespace,
                host,
                created,
                ..
            } => {
                let key = spec.object().key();
                Some((created.unwrap_or(9), *namespace, *name, *host, key))
            }
            _ => None,
        })
        .collect();
    routes.sort();
    let mut held: Vec<(HostPattern, u8)> = Vec::new();
    let mut decided = Vec::new();
    for (_, namespace, _, host, key) in routes {
        let pattern = match host {
            4 => HostPattern::Any,
            host => {
                let host = ["a.example", "*.example", "b.example"][usize::from(host)];
                HostPattern::parse(host).expect("a host")
            }
        };
        let any = host == 4;
        let allowed = match (&policy.allowed, label(namespace)) {
            (None, _) => !any || !policy.first_claim,
            (Some(_), _) if namespace == 0 => true,
            (Some(_), 1) => host == 0,
            (Some(_), label) => label == 2 && !any,
        };
        let meets = |other: &HostPattern| pattern.covers(other) || other.covers(&pattern);
        let taken = |(other, by): &(HostPattern, u8)| *by != namespace && meets(other);
        let granted = allowed && (any || !policy.first_claim || !held.iter().any(taken));
        if granted && !any {
            held.push((pattern.clone(), namespace));
        }
        decided.push((key, pattern, granted));
    }
    decided
}

/// After any history, taken in any portions and at any time, what is published and reported is
/// what a translation of the whole world gives.
#[test]
fn the_short_way_leads_to_the_same_place() {
    const LIVES: usize = 120;
    const STEPS: usize = 60;
    let mut runner = TestRunner::deterministic();
    let mut steps = 0;
    let mut kinds = [0; 3];
    let mut refused = 0;
    let mut overlaps = 0;
    for policy in policies().iter().cycle().take(LIVES) {
        let settings = settings_with(policy);
        let (publisher, reader) = publish::channel();
        let mut compiler = Compiler::new(settings.clone(), publisher);
        let reports = compiler.reports();
        let first = proptest::collection::vec(any_spec(), 0..40);
        let first = first.new_tree(&mut runner).expect("objects").current();
        // The first publication waits for names and keys.
        let found = (0..3).map(|name| looked_up(name, 3)).chain([fetched(2)]);
        let published = compiler.apply_at(first.iter().map(Spec::change).chain(found), 0);
        assert_eq!(published, Published::Nothing, "not everything was seen");
        assert_eq!(reader.generation(), 0);
        assert_eq!(compiler.loaded(), Published::Table { generation: 1 });
        let mut history = Vec::new();
        for _ in 0..STEPS {
            let portion = proptest::collection::vec(step(), 0..6);
            // Before and after a certificate ceases to be valid.
            let times = prop_oneof![Just(1_800_000_000), Just(1_900_000_000)];
            let step = (portion, times).new_tree(&mut runner).expect("a step");
            let (portion, now) = step.current();
            history.push((portion.clone(), now));
            let before = reader.load();
            let published = compiler.apply_at(portion.iter().map(Step::change), now);
            let (table, report) = translate(compiler.world(), &settings);
            let current = reader.load();
            assert_eq!(dump(&current), dump(&table), "{history:#?}");
            assert_eq!(*reports.borrow().clone(), report, "{history:#?}");
            let entries = report.entries().iter();
            refused += entries.filter(|it| !it.refused_hosts.is_empty()).count();
            let reasons = report.findings().map(|it| it.finding.reason);
            overlaps += reasons.filter(|it| *it == Reason::Overlaps).count();
            assert_states_stay(&before, &current);
            match published {
                Published::Nothing => {
                    assert_eq!(current.generation, before.generation);
                    kinds[0] += 1;
                }
                Published::Services { generation, .. } => {
                    assert_eq!(current.generation, generation);
                    assert!(Arc::ptr_eq(&current.rules, &before.rules));
                    assert_ne!(dump(&current), dump(&before));
                    kinds[1] += 1;
                }
                Published::Table { generation } => {
                    assert_eq!(current.generation, generation);
                    assert_eq!(current.generation, before.generation + 1);
                    kinds[2] += 1;
                }
            }
            steps += 1;
        }
    }
    println!(
        "{steps} steps: nothing, services, table: {kinds:?}; {refused} refused, {overlaps} told"
    );
    assert!(refused > 1_000 && overlaps > 1_000, "{refused}, {overlaps}");
    assert!(
        steps >= 2_000 && kinds.iter().all(|it| *it > 100),
        "{kinds:?}"
    );
}

/// The Service that a slice has left has no word about it any more, and the other has.
#[test]
fn a_slice_that_moves_to_another_service() {
    let route = |name, service| Spec::Route {
        name,
        namespace: 0,
        host: name,
        created: None,
        tls: None,
        entry_points: 1,
        rules: vec![(0, vec![(service, 0, 1)])],
    };
    let service = |name| Spec::Service {
        name,
        namespace: 0,
        variant: 0,
    };
    let slice = |service| Spec::Slice {
        name: 0,
        namespace: 0,
        service,
        // Loopback, which is refused.
        addresses: vec![(4, 0)],
        port: 0,
    };
    for (from, to) in [(0, 1), (1, 0)] {
        let (publisher, _) = publish::channel();
        let mut compiler = Compiler::new(settings(), publisher);
        let all = [
            route(0, 0),
            route(1, 1),
            service(0),
            service(1),
            slice(from),
        ];
        compiler.apply_at(all.iter().map(Spec::change), 0);
        compiler.loaded();
        compiler.apply_at([slice(to).change()], 0);
        let (_, report) = translate(compiler.world(), &settings());
        assert_eq!(*compiler.reports().borrow().clone(), report);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The same objects in any order give the same table and the same report.
    #[test]
    fn order_does_not_matter(
        specs in proptest::collection::vec(any_spec(), 0..60),
        seed in any::<u64>(),
        policy in 0..4_usize,
    ) {
        let settings = settings_with(&policies()[policy]);
        // The last of each name: earlier versions would be history.
        let mut last: Vec<(_, Change)> = Vec::new();
        for spec in &specs {
            let key = spec.object().key();
            last.retain(|(it, _)| *it != key);
            last.push((key, spec.change()));
        }
        let mut shuffled = last.clone();
        shuffled.sort_by_key(|(key, _)| {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            (seed, key).hash(&mut hasher);
            hasher.finish()
        });
        let made = |changes: Vec<(_, Change)>| {
            let mut world = World::new();
            for (_, change) in changes {
                world.take(change);
            }
            translate(&world, &settings)
        };
        let (table, report) = made(last);
        let (other_table, other_report) = made(shuffled);
        prop_assert_eq!(dump(&table), dump(&other_table));
        prop_assert_eq!(report, other_report);
    }

    /// What was written of a history makes the same world, and so does what is needed of that.
    #[test]
    fn a_snapshot_makes_the_same_world(steps in proptest::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        let mut lines = Vec::new();
        for (time, step) in steps.iter().enumerate() {
            let Some(change) = told_by_an_api_server(step, time) else {
                continue;
            };
            let effect = world.take(change.clone());
            let record = snapshot::Record::new(&change, &effect, &world);
            lines.extend(record.map(|it| it.line()));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let settings = settings_with(&HostPolicy::default());
        let (table, report) = translate(&world, &settings);
        for lines in [snapshot::needed(&lines), lines] {
            let mut restored = World::new();
            for line in lines {
                restored.take(snapshot::change_of(line).expect("a change"));
            }
            let (other_table, other_report) = translate(&restored, &settings);
            prop_assert_eq!(dump(&table), dump(&other_table));
            prop_assert_eq!(&report, &other_report);
        }
    }

    /// Which hosts are refused is what the policy says of one object after the other, in the order of
    /// their age; and nothing is served for a host that is refused.
    #[test]
    fn hosts_are_served_for_who_has_them(
        specs in proptest::collection::vec(spec(), 0..40),
        policy in 0..4_usize,
    ) {
        let policy = &policies()[policy];
        let mut last: Vec<Spec> = Vec::new();
        for spec in &specs {
            let key = spec.object().key();
            last.retain(|it| it.object().key() != key);
            last.push(spec.clone());
        }
        let mut world = World::new();
        for spec in &last {
            world.take(spec.change());
        }
        let (table, report) = translate(&world, &settings_with(policy));
        for (key, host, granted) in decided(policy, &last) {
            let entry = report.get(&key).expect("every route has an entry");
            let refused = entry.refused_hosts.contains(&host);
            prop_assert_eq!(refused, !granted, "{} for {}", key, host);
            let served = table.rules.iter().any(|it| it.route.key == key && it.host == host);
            prop_assert!(granted || !served, "{} is served for {}", key, host);
            let accepted = entry.condition(ConditionType::Accepted).expect("a condition");
            prop_assert!(granted || !accepted.status);
        }
    }

    /// Whatever becomes of an object that was good once, its rules are served until it is
    /// deleted or given to another installation.
    #[test]
    fn what_was_good_goes_on_serving(
        good in route(),
        bad in proptest::collection::vec(route(), 1..4),
    ) {
        let mut good = good;
        if let Spec::Route { host, rules, entry_points, .. } = &mut good {
            (*host, *entry_points) = (*host % 3, 1);
            rules.truncate(1);
            rules[0].0 %= 4;
        }
        let Spec::Route { name, namespace, created, .. } = good else { unreachable!() };
        let mut world = World::new();
        world.take(good.change());
        let (before, _) = translate(&world, &settings());
        prop_assert_eq!(before.rules.len(), 1);
        for mut bad in bad {
            if let Spec::Route { name: its, namespace: of, created: at, entry_points, rules, .. } =
                &mut bad
            {
                (*its, *of, *at) = (name, namespace, created);
                *entry_points %= 6;
                rules[0].0 = 4;
            }
            world.take(bad.change());
            let (table, report) = translate(&world, &settings());
            prop_assert_eq!(dump(&table), dump(&before));
            let entry = &report.entries()[0];
            for condition in [
                ConditionType::Ready,
                ConditionType::Accepted,
                ConditionType::Programmed,
            ] {
                let is_true = entry.condition(condition).is_some_and(|it| it.status);
                prop_assert!(!is_true, "{condition:?}");
            }
        }
        world.take(Change::Remove(good.object().key()));
        let (after, report) = translate(&world, &settings());
        prop_assert!(after.rules.is_empty());
        let ours = |entry: &Arc<ferrix_control::report::Entry>| !entry.conditions.is_empty();
        prop_assert_eq!(report.entries().iter().filter(|entry| ours(entry)).count(), 0);
    }
}
