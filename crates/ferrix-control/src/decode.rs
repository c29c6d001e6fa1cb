//! A document to an object.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::document::{DecodeError, Fault, Strictness};
use crate::{
    backendpolicy,
    document::{self, Read},
    draft::Draft,
    endpointslice, filter,
    gateway_route::{grpcroute, httproute, stream},
    guard::{Bug, Step, guarded},
    ingress, ingressclass, ingressroute, namespace,
    objects::{self, Key, Kind, Object, Origin},
    rare::Rare,
    referencegrant, secret, service,
};

/// What a document is.
#[derive(Debug)]
pub enum Decoded {
    /// An object of a watched kind.
    Object {
        /// The object.
        object: Object,
        /// Fields that nobody reads.
        unknown_fields: Vec<String>,
    },
    /// A kind that is not watched, by its name.
    Ignored(String),
}

/// Whether the document is a list of objects, such as `kubectl get -o yaml` prints.
pub fn is_list(value: &Value) -> bool {
    let kind = value["kind"].as_str().unwrap_or_default();
    value["items"].is_array()
        && kind.strip_suffix("List").is_some_and(|kind| {
            kind.is_empty() || Kind::ALL.iter().any(|known| known.as_str() == kind)
        })
}

/// Reads one document.
pub fn decode(value: &Value, strictness: Strictness) -> Result<Decoded, DecodeError> {
    let kind = match kind(value)? {
        Ok(kind) => kind,
        Err(ignored) => return Ok(Decoded::Ignored(ignored)),
    };
    let key = key(kind, value).map_err(|mut faults| {
        faults.extend(faults_of_nameless(kind, value, strictness));
        DecodeError {
            key: None,
            uid: None,
            generation: None,
            faults,
            bug: false,
        }
    })?;
    let metadata = &value["metadata"];
    let (uid, generation) = (metadata["uid"].as_str(), metadata["generation"].as_i64());
    let refuse = |faults| DecodeError {
        key: Some(key.clone()),
        uid: uid.map(Into::into),
        generation,
        faults,
        bug: false,
    };
    version(kind, value).map_err(|fault| refuse(vec![fault]))?;
    match guarded(Step::Decode, &key, || typed(kind, value, strictness)) {
        Ok(read) => read.map_err(refuse),
        Err(Bug) => Err(DecodeError::bug(&key, uid, generation)),
    }
}

/// What is wrong with an object besides its name or namespace.
fn faults_of_nameless(kind: Kind, value: &Value, strictness: Strictness) -> Vec<Fault> {
    if let Err(fault) = version(kind, value) {
        return vec![fault];
    }
    let nameless = objects::key(kind, "", "");
    let read = guarded(Step::Decode, &nameless, || typed(kind, value, strictness));
    let mut faults = match read {
        Ok(Err(faults)) => faults,
        Ok(Ok(_)) | Err(Bug) => Vec::new(),
    };
    let told = ["metadata", "metadata.name", "metadata.namespace"];
    faults.retain(|fault| !told.contains(&&*fault.field));
    faults
}

fn typed(kind: Kind, value: &Value, strictness: Strictness) -> Result<Decoded, Vec<Fault>> {
    match kind {
        Kind::BackendPolicy => {
            backendpolicy::decode(value, strictness).map(|it| object(it, Object::BackendPolicy))
        }
        Kind::BackendTlsPolicy => known(value, strictness, Object::BackendTlsPolicy),
        Kind::XBackendTrafficPolicy => known(value, strictness, Object::XBackendTrafficPolicy),
        Kind::ConfigMap => {
            document::read(value, strictness).map(|it| object(it, Object::ConfigMap))
        }
        Kind::EndpointSlice => {
            endpointslice::decode(value, strictness).map(|it| object(it, Object::EndpointSlice))
        }
        Kind::Filter => filter::decode(value, strictness).map(|it| object(it, Object::Filter)),
        Kind::GrpcRoute => route(value, strictness, grpcroute::draft, Object::GrpcRoute),
        Kind::Gateway => known(value, strictness, Object::Gateway),
        Kind::GatewayClass => known(value, strictness, Object::GatewayClass),
        Kind::HttpRoute => route(value, strictness, httproute::draft, Object::HttpRoute),
        Kind::Ingress => ingress::decode(value, strictness).map(|it| object(it, Object::Ingress)),
        Kind::IngressClass => {
            ingressclass::decode(value, strictness).map(|it| object(it, Object::IngressClass))
        }
        Kind::IngressRoute => {
            ingressroute::decode(value, strictness).map(|it| object(it, Object::IngressRoute))
        }
        Kind::ListenerSet => known(value, strictness, Object::ListenerSet),
        Kind::Namespace => {
            namespace::decode(value, strictness).map(|it| object(it, Object::Namespace))
        }
        Kind::ReferenceGrant => {
            referencegrant::decode(value, strictness).map(|it| object(it, Object::ReferenceGrant))
        }
        Kind::Secret => secret::decode(value, strictness).map(|it| object(it, Object::Secret)),
        Kind::Service => service::decode(value, strictness).map(|it| object(it, Object::Service)),
        Kind::TcpRoute => route(value, strictness, stream::tcp, Object::TcpRoute),
        Kind::TlsRoute => route(value, strictness, stream::tls, Object::TlsRoute),
        Kind::UdpRoute => route(value, strictness, stream::udp, Object::UdpRoute),
    }
}

/// Reads a kind of which every field is known, and that is compiled with what it names.
fn known<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
    object: fn(Arc<T>) -> Object,
) -> Result<Decoded, Vec<Fault>> {
    let read = document::read_known(value, strictness, |_| Rare::default());
    read.map(|it| self::object(it, object))
}

/// Reads a route of the Gateway API.
fn route<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
    draft: fn(&T, Origin) -> Draft,
    object: fn(Arc<T>) -> Object,
) -> Result<Decoded, Vec<Fault>> {
    let faults = |it: &T| draft(it, Origin::Api).faults;
    let read = document::read_known(value, strictness, faults);
    read.map(|it| self::object(it, object))
}

fn object<T>(read: Read<T>, object: fn(Arc<T>) -> Object) -> Decoded {
    Decoded::Object {
        object: object(read.object),
        unknown_fields: read.unknown_fields,
    }
}

/// The watched kind, or the name of one that is not.
fn kind(value: &Value) -> Result<Result<Kind, String>, DecodeError> {
    let refuse = |field: &str, message: &str| DecodeError {
        key: None,
        uid: None,
        generation: None,
        faults: vec![Fault {
            field: field.to_owned(),
            message: message.to_owned(),
        }],
        bug: false,
    };
    if !value.is_object() {
        return Err(refuse(
            "",
            "expected a Kubernetes object with `apiVersion`, `kind` and `metadata`",
        ));
    }
    let Some(kind) = value["kind"].as_str() else {
        return Err(refuse(
            "kind",
            "is missing; expected such as `IngressRoute`",
        ));
    };
    let Some(api_version) = value["apiVersion"].as_str() else {
        return Err(refuse(
            "apiVersion",
            "is missing; expected such as `ferrix.com/v1`",
        ));
    };
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let watched = Kind::ALL
        .into_iter()
        .find(|it| it.as_str() == kind && objects::group(*it) == group);
    match watched {
        Some(kind) => Ok(Ok(kind)),
        // Nothing else is in our group: this can only be a mistake.
        None if group == objects::group(Kind::IngressRoute) => {
            let ours = Kind::ALL.into_iter();
            let ours = ours.filter(|it| objects::group(*it) == group);
            let ours: Vec<_> = ours.map(|it| format!("`{it}`")).collect();
            let ours = ours.join(", ");
            let message = format!("`{kind}` is not a kind of {group}; expected one of {ours}");
            Err(refuse("kind", &message))
        }
        None if kind == Kind::IngressRoute.as_str() && group.is_empty() => Err(refuse(
            "apiVersion",
            &format!("is `{api_version}`; expected `ferrix.com/v1`"),
        )),
        None => Ok(Err(format!("{kind} ({api_version})"))),
    }
}

fn version(kind: Kind, value: &Value) -> Result<(), Fault> {
    let api_version = value["apiVersion"].as_str().unwrap_or_default();
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let versions = objects::versions(kind);
    if versions.contains(&version) {
        return Ok(());
    }
    let expected = objects::api_version(kind, versions[0]);
    Err(Fault {
        field: "apiVersion".to_owned(),
        message: format!("is `{api_version}`; expected `{expected}`"),
    })
}

fn key(kind: Kind, value: &Value) -> Result<Key, Vec<Fault>> {
    let namespace = match kind.is_namespaced() {
        false => Ok(""),
        true => namespace(&value["metadata"]),
    };
    match (name(&value["metadata"]), namespace) {
        (Ok(name), Ok(namespace)) => Ok(objects::key(kind, namespace, name)),
        (name, namespace) => Err(name.err().into_iter().chain(namespace.err()).collect()),
    }
}

fn name(metadata: &Value) -> Result<&str, Fault> {
    let refuse = |message: &str| Fault {
        field: "metadata.name".to_owned(),
        message: message.to_owned(),
    };
    let name = text(&metadata["name"]).map_err(|message| refuse(&message))?;
    let name = name.ok_or_else(|| refuse("is missing"))?;
    match is_subdomain(name) {
        true => Ok(name),
        false => Err(refuse(&format!(
            "`{name}` is no name: expected at most 253 of a-z, 0-9, `-` and `.`, with a letter or \
             digit at both ends"
        ))),
    }
}

fn namespace(metadata: &Value) -> Result<&str, Fault> {
    let refuse = |message: String| Fault {
        field: "metadata.namespace".to_owned(),
        message,
    };
    let namespace = text(&metadata["namespace"]).map_err(refuse)?;
    let namespace = namespace.unwrap_or("default");
    match is_label(namespace) {
        true => Ok(namespace),
        false => Err(refuse(format!(
            "`{namespace}` is no namespace: expected at most 63 of a-z, 0-9 and `-`, with a letter \
             or digit at both ends"
        ))),
    }
}

fn text(value: &Value) -> Result<Option<&str>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(format!("expected a text, found `{other}`")),
    }
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(has_the_letters_of_a_label)
}

fn is_label(label: &str) -> bool {
    label.len() <= 63 && has_the_letters_of_a_label(label)
}

fn has_the_letters_of_a_label(label: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    label.bytes().next().is_some_and(alphanumeric)
        && label.bytes().next_back().is_some_and(alphanumeric)
        && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
}

#[cfg(test)]
mod tests;
