//! `IngressRoute`: the requests of one host, and the services that answer them.
//!
//! Bounds that a single value can break (forms, lengths, ranges, the size of lists) are in the schema, so
//! that the API server refuses them. What needs a parser or another object is reported in
//! `status.conditions`.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::filter::RouteFilter;
use crate::{
    gateway::{Retry, Timeouts},
    pattern,
};

pub mod filter;

/// `spec` of an `IngressRoute`: which requests are meant, and which services answer them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "ferrix.com",
    version = "v1",
    kind = "IngressRoute",
    namespaced,
    status = "IngressRouteStatus",
    derive = "PartialEq",
    shortname = "fir",
    shortname = "ir",
    shortname = "iroute",
    doc = "Routes the requests of one host to services, by rules on path, method, headers and more.",
    printcolumn = r#"{"name": "Host", "type": "string", "jsonPath": ".spec.route.host",
        "description": "The host of the route; empty: any"}"#,
    printcolumn = r#"{"name": "Entry points", "type": "string", "jsonPath": ".status.entryPoints",
        "description": "Where the route is served"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
        "description": "Whether requests get the answers that the spec asks for: the other conditions in one, and endpoints"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status",
        "description": "Whether everything in the spec could be used"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status",
        "description": "Whether every replica serves this generation"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "string", "jsonPath": ".status.replicas",
        "description": "How many replicas of how many serve it; follows within a minute or so"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.entrypoint) && has(self.entrypoints))")
    .message("give `entrypoint` (one name) or `entrypoints` (a list), not both"))]
pub struct IngressRouteSpec {
    /// The class of the installation that serves this route, where several share a cluster.
    /// Absent: the installation without a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,

    /// The one entry point (a listening socket of the settings, such as `web`) that serves this
    /// route. With neither `entrypoint` nor `entrypoints`, every entry point that fits serves it:
    /// the secure ones where `tls` is set, the plain ones where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::ENTRY_POINT))]
    pub entrypoint: Option<String>,

    /// The entry points that serve this route, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 63), regex(pattern = pattern::ENTRY_POINT))
    )]
    pub entrypoints: Option<Vec<String>>,

    /// The host and its rules.
    pub route: HostRules,

    /// The name of a Secret of type `kubernetes.io/tls` in the route's namespace. Its certificate
    /// is presented to clients that ask for the route's host, on the route's secure entry points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub tls: Option<String>,
}

/// A host and its rules.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostRules {
    /// A host such as `example.com`, or `*.example.com` for exactly one label before
    /// `example.com`. Absent: any host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::HOST))]
    pub host: Option<String>,

    /// What happens to requests and responses of every rule, before the filters of the rule and in this
    /// order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub filters: Option<Vec<RouteFilter>>,

    /// The rules. Of those that match a request, the one with the highest priority answers it.
    #[schemars(length(min = 1, max = 256))]
    pub rules: Vec<RouteRule>,
}

/// Which requests of the host, and who answers them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.service) && has(self.services))")
    .message("give `service` (one) or `services` (several, with weights), and not both"))]
#[x_kube(validation = Rule::new(
    "has(self.service) || has(self.services) || (has(self.filters) \
     && self.filters.exists(filter, has(filter.requestRedirect) || has(filter.respond) \
     || has(filter.filter)))")
    .message("give `service` (one) or `services` (several, with weights); only a rule that redirects, \
     responds, or names a Filter, has neither"))]
pub struct RouteRule {
    /// A rule such as ``PathPrefix(`/api`) && Method(`GET`)``. Absent: every request of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub matches: Option<String>,

    /// The rule with the higher number is tried first. Absent: the length of `matches` in bytes,
    /// so that the more specific rule tends to win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,

    /// Whether the rule serves nothing: requests go on to the next one, and how many it would have served is
    /// counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,

    /// The service that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,

    /// The services that share the requests, in proportion to their weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub services: Option<Vec<ServiceRef>>,

    /// What happens to requests before they are forwarded, and to responses on their way back, in this
    /// order. A rule whose filters answer every request, such as by a redirect, needs no service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub filters: Option<Vec<RouteFilter>>,

    /// Filters that are attached from above, and that requests of this rule do not pass through: `NAME`, or
    /// `NAMESPACE/NAME`. Those of the own namespace, and others that are `optional`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 317), regex(pattern = pattern::OBJECT_NAME))
    )]
    pub without: Option<Vec<String>>,

    /// How long requests may take. Absent: as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    /// Which attempts at a request are followed by another. Only idempotent requests have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// A port of a Kubernetes Service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// The name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::SUBDOMAIN))]
    pub name: String,

    /// The namespace of the Service. Absent: the route's. Any other needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,

    /// The port of the Service: its number or its name.
    pub port: Port,

    /// The share of this service among `services`. Absent: 1. With 0 it gets no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000), extend("format" = "int32"))]
    pub weight: Option<u32>,

    /// How the endpoints are spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,

    /// With `https`: the name to ask for and to verify in the endpoint's certificate.
    /// Absent: `NAME.NAMESPACE.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SERVER_NAME))]
    pub server_name: Option<String>,
}

/// How the endpoints are spoken to. Absent: what `appProtocol` of the port says; without it
/// `https` for port 443 and for ports whose name starts with `https`, and `http` otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HTTP/1.1 in plain text.
    Http,
    /// TLS, with HTTP/2 or HTTP/1.1 inside.
    Https,
    /// HTTP/2 in plain text.
    H2c,
}

/// A port of a Service, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// `spec.ports[].port` of the Service.
    Number(u16),
    /// `spec.ports[].name` of the Service.
    Name(String),
}

/// What became of an `IngressRoute`. Ferrix writes it; nobody else should.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressRouteStatus {
    /// The entry points that serve the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_points: Vec<String>,

    /// How many replicas of how many serve this generation, such as `2/2`. It follows when replicas
    /// have come or gone, within a minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,

    /// `Ready`: the others are true, and every service has an endpoint, so that requests get the
    /// answers that the spec asks for. `Accepted`: everything in the spec could be used.
    /// `ResolvedRefs`: every object that it names was found and may be used. `Programmed`: every
    /// replica serves this generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The installation that wrote this: the namespace and the name of the Lease that says which of its
    /// replicas writes, such as `ferrix/ferrix`. No other installation writes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
}

impl Default for Port {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u16(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;

        impl de::Visitor<'_> for PortVisitor {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number from 1 to 65535, or a port name")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Port, E> {
                match u16::try_from(number) {
                    Ok(number) if number != 0 => Ok(Port::Number(number)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Port, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            /// No port name is all digits, so a quoted number can only be meant as a number.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
                match text.parse() {
                    Ok(number) if !text.starts_with('+') => self.visit_u64(number),
                    Err(_) if text.is_empty() => {
                        Err(E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                    Ok(_) | Err(_) => Ok(Port::Name(text.to_owned())),
                }
            }
        }

        deserializer.deserialize_any(PortVisitor)
    }
}

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Each bound is for the one of both types that it fits.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": u16::MAX,
            "pattern": pattern::PORT,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports() {
        let port = |value| serde_json::from_value::<Port>(value).map_err(|error| error.to_string());
        assert_eq!(port(json!(8080)), Ok(Port::Number(8080)));
        assert_eq!(port(json!("8080")), Ok(Port::Number(8080)));
        assert_eq!(port(json!("http")), Ok(Port::Name("http".to_owned())));
        for wrong in [
            json!(0),
            json!(65536),
            json!(-1),
            json!(""),
            json!(true),
            json!("0"),
        ] {
            let error = port(wrong.clone()).expect_err("wrong");
            assert!(
                error.contains("a port number from 1 to 65535"),
                "{wrong}: {error}"
            );
        }
    }
}
