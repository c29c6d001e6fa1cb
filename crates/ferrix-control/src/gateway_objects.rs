//! The objects of the Gateway API that make no rules, and the ConfigMaps that they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ferrix_api::gateway::{
    BackendTlsPolicy, BackendTlsPolicySpec, BackendTrafficPolicy, BackendTrafficPolicySpec,
    Gateway, GatewayClass, GatewayClassSpec, GatewaySpec, ListenerSet, ListenerSetSpec,
    ParentReference,
};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::{
    configmap::{self, Kept},
    gateway::{self, GatewayVersion},
    names::{shared, shared_name},
    objects::{Key, Kind, ObjectName, Origin},
    version::Version,
};

/// One version of such an object.
pub(crate) enum GatewayObject {
    Class(Version<GatewayClassSpec>),
    Gateway(Box<GatewayVersion>),
    ListenerSet(Version<ListenerSetSpec>),
    Policy(Version<BackendTlsPolicySpec>),
    TrafficPolicy(Version<BackendTrafficPolicySpec>),
    ConfigMap(Kept),
}

/// All that there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct GatewayObjects {
    classes: BTreeMap<ObjectName, Version<GatewayClassSpec>>,
    gateways: BTreeMap<ObjectName, GatewayVersion>,
    listener_sets: BTreeMap<ObjectName, Version<ListenerSetSpec>>,
    /// Each Gateway that ListenerSets name, with those.
    sets_of: BTreeSet<(ObjectName, ObjectName)>,
    policies: BTreeMap<ObjectName, Version<BackendTlsPolicySpec>>,
    /// Each Service that policies are for, with those.
    policies_of: BTreeSet<(ObjectName, ObjectName)>,
    traffic_policies: BTreeMap<ObjectName, Version<BackendTrafficPolicySpec>>,
    /// Each Service that these are for, with those.
    traffic_policies_of: BTreeSet<(ObjectName, ObjectName)>,
    config_maps: BTreeMap<ObjectName, Kept>,
}

impl GatewayObject {
    pub(crate) fn class(class: &GatewayClass, origin: Origin) -> Self {
        let (metadata, spec) = (&class.metadata, class.spec.clone());
        Self::Class(Version::new(Kind::GatewayClass, metadata, origin, spec))
    }

    pub(crate) fn gateway(gateway: &Gateway, origin: Origin) -> Self {
        Self::Gateway(gateway::compile(gateway, origin).into())
    }

    pub(crate) fn listener_set(set: &ListenerSet, origin: Origin) -> Self {
        let (metadata, spec) = (&set.metadata, set.spec.clone());
        Self::ListenerSet(Version::new(Kind::ListenerSet, metadata, origin, spec))
    }

    pub(crate) fn policy(policy: &BackendTlsPolicy, origin: Origin) -> Self {
        let (metadata, spec) = (&policy.metadata, policy.spec.clone());
        Self::Policy(Version::new(Kind::BackendTlsPolicy, metadata, origin, spec))
    }

    pub(crate) fn traffic_policy(policy: &BackendTrafficPolicy, origin: Origin) -> Self {
        let (metadata, spec) = (&policy.metadata, policy.spec.clone());
        let kind = Kind::XBackendTrafficPolicy;
        Self::TrafficPolicy(Version::new(kind, metadata, origin, spec))
    }

    pub(crate) fn config_map(map: &ConfigMap) -> Self {
        Self::ConfigMap(configmap::compile(map))
    }
}

impl GatewayObjects {
    /// Stores an object. Tells whether that changes anything.
    pub(crate) fn store(&mut self, name: &ObjectName, object: GatewayObject) -> bool {
        match object {
            GatewayObject::Class(class) => store(&mut self.classes, name, class),
            GatewayObject::Gateway(gateway) => store(&mut self.gateways, name, *gateway),
            GatewayObject::ListenerSet(set) => {
                self.forget_set(name);
                self.sets_of.insert((gateway_of(&set), name.clone()));
                store(&mut self.listener_sets, name, set)
            }
            GatewayObject::Policy(policy) => {
                self.forget_policy(name);
                let services = targets(name, &policy.spec);
                (self.policies_of).extend(services.map(|service| (service, name.clone())));
                store(&mut self.policies, name, policy)
            }
            GatewayObject::TrafficPolicy(policy) => {
                self.forget_traffic_policy(name);
                let services = services_of(name, &policy.spec);
                (self.traffic_policies_of).extend(services.map(|service| (service, name.clone())));
                store(&mut self.traffic_policies, name, policy)
            }
            GatewayObject::ConfigMap(kept) => store(&mut self.config_maps, name, kept),
        }
    }

    /// Forgets an object. Tells whether there was one.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let name = &key.object;
        match key.kind {
            Kind::GatewayClass => self.classes.remove(name).is_some(),
            Kind::Gateway => self.gateways.remove(name).is_some(),
            Kind::ListenerSet => {
                self.forget_set(name);
                self.listener_sets.remove(name).is_some()
            }
            Kind::BackendTlsPolicy => {
                self.forget_policy(name);
                self.policies.remove(name).is_some()
            }
            Kind::XBackendTrafficPolicy => {
                self.forget_traffic_policy(name);
                self.traffic_policies.remove(name).is_some()
            }
            Kind::ConfigMap => self.config_maps.remove(name).is_some(),
            _ => false,
        }
    }

    fn forget_set(&mut self, name: &ObjectName) {
        if let Some(before) = self.listener_sets.get(name) {
            self.sets_of.remove(&(gateway_of(before), name.clone()));
        }
    }

    fn forget_policy(&mut self, name: &ObjectName) {
        if let Some(before) = self.policies.get(name) {
            for service in targets(name, &before.spec) {
                self.policies_of.remove(&(service, name.clone()));
            }
        }
    }

    fn forget_traffic_policy(&mut self, name: &ObjectName) {
        if let Some(before) = self.traffic_policies.get(name) {
            for service in services_of(name, &before.spec) {
                self.traffic_policies_of.remove(&(service, name.clone()));
            }
        }
    }

    /// Every key of a kind.
    pub(crate) fn keys(&self, kind: Kind) -> Vec<Key> {
        let key = |name: &ObjectName| name.key(kind);
        match kind {
            Kind::GatewayClass => self.classes.keys().map(key).collect(),
            Kind::Gateway => self.gateways.keys().map(key).collect(),
            Kind::ListenerSet => self.listener_sets.keys().map(key).collect(),
            Kind::BackendTlsPolicy => self.policies.keys().map(key).collect(),
            Kind::XBackendTrafficPolicy => self.traffic_policies.keys().map(key).collect(),
            Kind::ConfigMap => self.config_maps.keys().map(key).collect(),
            _ => Vec::new(),
        }
    }

    /// Where an object comes from.
    pub(crate) fn origin(&self, key: &Key) -> Option<&Origin> {
        let name = &key.object;
        match key.kind {
            Kind::GatewayClass => self.classes.get(name).map(|it| &it.origin),
            Kind::Gateway => self.gateways.get(name).map(|it| &it.origin),
            Kind::ListenerSet => self.listener_sets.get(name).map(|it| &it.origin),
            Kind::BackendTlsPolicy => self.policies.get(name).map(|it| &it.origin),
            Kind::XBackendTrafficPolicy => self.traffic_policies.get(name).map(|it| &it.origin),
            _ => None,
        }
    }

    pub(crate) fn class(&self, name: &str) -> Option<&Version<GatewayClassSpec>> {
        self.classes.get(&shared_name("", name))
    }

    pub(crate) fn gateways(&self) -> impl Iterator<Item = &GatewayVersion> {
        self.gateways.values()
    }

    /// The ListenerSets that name a Gateway, by name.
    pub(crate) fn sets_of<'o>(
        &'o self,
        gateway: &'o ObjectName,
    ) -> impl Iterator<Item = &'o Version<ListenerSetSpec>> {
        let names = named(&self.sets_of, gateway);
        names.filter_map(|name| self.listener_sets.get(name))
    }

    /// The policies that are for a Service, by name.
    pub(crate) fn policies_of(
        &self,
        service: &ObjectName,
    ) -> impl Iterator<Item = &Version<BackendTlsPolicySpec>> {
        // Most Services have none, and nobody has to hold their names for so long.
        let names: Vec<_> = named(&self.policies_of, service).collect();
        names.into_iter().filter_map(|name| self.policies.get(name))
    }

    /// The XBackendTrafficPolicies that are for a Service, by name.
    pub(crate) fn traffic_policies_of(
        &self,
        service: &ObjectName,
    ) -> impl Iterator<Item = &Version<BackendTrafficPolicySpec>> {
        let names: Vec<_> = named(&self.traffic_policies_of, service).collect();
        let names = names.into_iter();
        names.filter_map(|name| self.traffic_policies.get(name))
    }

    pub(crate) fn traffic_policy(
        &self,
        name: &ObjectName,
    ) -> Option<&Version<BackendTrafficPolicySpec>> {
        self.traffic_policies.get(name)
    }

    pub(crate) fn policy(&self, name: &ObjectName) -> Option<&Version<BackendTlsPolicySpec>> {
        self.policies.get(name)
    }

    /// The policies of a namespace.
    pub(crate) fn policies_in<'o>(
        &'o self,
        namespace: &'o str,
    ) -> impl Iterator<Item = &'o ObjectName> {
        let first = ObjectName::new(namespace, "");
        let policies = self.policies.range(first..).map(|(name, _)| name);
        policies.take_while(move |name| *name.namespace == *namespace)
    }

    /// What is kept of a ConfigMap, for who may use it.
    pub(crate) fn config_map(&self, map: &ObjectName) -> Option<&Kept> {
        self.config_maps.get(map)
    }

    /// Every namespace with a Secret that a Gateway of ours or a ListenerSet of one names, some more than once.
    pub(crate) fn namespaces_of_secrets(
        &self,
        is_ours: impl Fn(&GatewayVersion) -> bool + Copy,
    ) -> impl Iterator<Item = Arc<str>> {
        let gateways = self.gateways.values().filter(move |it| is_ours(it));
        let of_gateways = gateways.flat_map(|gateway| {
            let spec = &gateway.spec.gateway;
            let client = spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
            let client = client.and_then(|it| it.client_certificate_ref.as_ref());
            let listeners = spec.listeners.iter().filter_map(|it| it.tls.as_ref());
            let references = listeners.flat_map(|it| &it.certificate_refs).chain(client);
            let own = &gateway.key().namespace;
            references.map(move |it| it.namespace.as_deref().map_or(Arc::clone(own), shared))
        });
        let sets = self.listener_sets.values().filter(move |set| {
            let gateway = self.gateways.get(&gateway_of(set));
            gateway.is_some_and(is_ours)
        });
        let of_sets = sets.flat_map(|set| {
            let listeners = set.spec.listeners.iter().filter_map(|it| it.tls.as_ref());
            let references = listeners.flat_map(|it| &it.certificate_refs);
            let own = &set.key().namespace;
            references.map(move |it| it.namespace.as_deref().map_or(Arc::clone(own), shared))
        });
        of_gateways.chain(of_sets)
    }

    /// Every namespace with a ConfigMap that a Gateway or a policy names, some more than once.
    pub(crate) fn namespaces_of_authorities(
        &self,
        is_ours: impl Fn(&GatewayVersion) -> bool,
    ) -> impl Iterator<Item = Arc<str>> {
        let gateways = self.gateways.values().filter(move |it| is_ours(it));
        let of_gateways = gateways.flat_map(|gateway| {
            let own = &gateway.key().namespace;
            let named = authorities_of(&gateway.spec.gateway);
            named.map(move |namespace| namespace.map_or(Arc::clone(own), shared))
        });
        let of_policies = self.policies.values().filter(|policy| {
            let references = &policy.spec.validation.ca_certificate_refs;
            !references.is_empty()
        });
        of_gateways.chain(of_policies.map(|policy| Arc::clone(&policy.key().namespace)))
    }
}

/// The namespaces of the authorities that a Gateway names; `None`: its own.
fn authorities_of(gateway: &GatewaySpec) -> impl Iterator<Item = Option<&str>> {
    let frontend = gateway.tls.iter().filter_map(|tls| tls.frontend.as_ref());
    let configs = frontend.flat_map(|it| {
        let ports = it.per_port.iter().map(|it| &it.tls);
        std::iter::once(&it.default).chain(ports)
    });
    let validations = configs.filter_map(|it| it.validation.as_ref());
    let references = validations.flat_map(|it| &it.ca_certificate_refs);
    references.map(|it| it.namespace.as_deref())
}

/// Stores a value. Tells whether that changes anything.
fn store<T: PartialEq>(stored: &mut BTreeMap<ObjectName, T>, name: &ObjectName, value: T) -> bool {
    match stored.get(name) {
        Some(before) if *before == value => false,
        _ => {
            stored.insert(name.clone(), value);
            true
        }
    }
}

/// What names an object.
fn named<'o, 'n>(
    all: &'o BTreeSet<(ObjectName, ObjectName)>,
    object: &'n ObjectName,
) -> impl Iterator<Item = &'o ObjectName> + use<'o, 'n> {
    let first = (object.clone(), ObjectName::new("", ""));
    let named = all.range(first..).take_while(move |(it, _)| it == object);
    named.map(|(_, name)| name)
}

/// The name of the Gateway that a ListenerSet names.
fn gateway_of(set: &Version<ListenerSetSpec>) -> ObjectName {
    let ParentReference {
        namespace, name, ..
    } = &set.spec.parent_ref;
    let namespace = namespace.as_deref().unwrap_or(&set.key().namespace);
    shared_name(namespace, name)
}

/// The Services that a policy is for.
fn targets(policy: &ObjectName, spec: &BackendTlsPolicySpec) -> impl Iterator<Item = ObjectName> {
    let services =
        (spec.target_refs.iter()).filter(|it| it.group.is_empty() && it.kind == "Service");
    services.map(|it| shared_name(&policy.namespace, &it.name))
}

/// The Services that an XBackendTrafficPolicy is for.
pub(crate) fn services_of(
    policy: &ObjectName,
    spec: &BackendTrafficPolicySpec,
) -> impl Iterator<Item = ObjectName> {
    let services =
        (spec.target_refs.iter()).filter(|it| it.group.is_empty() && it.kind == "Service");
    services.map(|it| shared_name(&policy.namespace, &it.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn listener(secret: Value) -> Value {
        json!([{
            "name": "l", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [secret]},
        }])
    }

    #[test]
    fn what_listener_sets_of_other_installations_name_is_not_read() {
        let mut objects = GatewayObjects::default();
        for (name, class) in [("a", "ours"), ("b", "theirs")] {
            let gateway = json!({
                "metadata": {"name": name, "namespace": "gateways"},
                "spec": {"gatewayClassName": class, "listeners": []},
            });
            let gateway: Gateway = serde_json::from_value(gateway).unwrap();
            let gateway = GatewayObject::gateway(&gateway, Origin::Api);
            objects.store(&shared_name("gateways", name), gateway);
        }
        let sets = [
            (
                "one",
                json!({"name": "a", "namespace": "gateways"}),
                json!({"name": "s"}),
            ),
            (
                "two",
                json!({"name": "b", "namespace": "gateways"}),
                json!({"name": "s"}),
            ),
            ("three", json!({"name": "a"}), json!({"name": "s"})),
            (
                "four",
                json!({"name": "a", "namespace": "gateways"}),
                json!({"name": "s", "namespace": "secrets"}),
            ),
        ];
        for (namespace, parent, secret) in &sets {
            let set = json!({
                "metadata": {"name": "l", "namespace": namespace},
                "spec": {"parentRef": parent, "listeners": listener(secret.clone())},
            });
            let set: ListenerSet = serde_json::from_value(set).unwrap();
            let set = GatewayObject::listener_set(&set, Origin::Api);
            objects.store(&shared_name(namespace, "l"), set);
        }
        let is_ours = |it: &GatewayVersion| it.spec.gateway.gateway_class_name == "ours";
        let read: BTreeSet<_> = objects.namespaces_of_secrets(is_ours).collect();
        let read: Vec<&str> = read.iter().map(|it| &**it).collect();
        assert_eq!(read, ["one", "secrets"]);
    }
}
