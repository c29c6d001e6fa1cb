//! The Service of a Gateway, where each has one of its own: the form that it has, and what is read back of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::RangeInclusive,
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use serde_json::{Value, json};

use crate::{
    gateway::GatewayVersion,
    names::INSTALLATION,
    objects::{Key, ObjectName},
    rare::Rare,
    settings::GatewayServices,
    status::Address,
};

/// The ports of the pods that ports of Gateways lead to. Below those that systems choose for connections
/// they open (32768 and up), and above those that settings name.
pub const TARGET_PORTS: RangeInclusive<u16> = 10_000..=19_999;

/// What labels and annotations of Ferrix's own begin with. No Gateway sets one.
const OWN: &str = "ferrix.com/";

/// The label that names the Gateway by its `metadata.uid`.
pub(crate) const GATEWAY_UID: &str = "ferrix.com/gateway-uid";

/// The annotation that names the Gateway for people.
const GATEWAY: &str = "ferrix.com/gateway";

/// The label that the specification has for the name of the Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The annotation with what was written last, so that a difference is seen.
const APPLIED: &str = "ferrix.com/applied";

/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// A port of a Gateway. TCP and UDP have numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) datagrams: bool,
}

/// Ports of a Gateway, each with the port of the pods that it leads to.
pub(crate) type Ports = BTreeMap<Port, u16>;

/// What is kept of a Service that an installation has made for a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exposed {
    /// The name of the installation, in the namespace of the Service.
    pub(crate) installation: Box<str>,
    /// Its `metadata.uid`.
    pub(crate) uid: Box<str>,
    /// Its `metadata.creationTimestamp`, in seconds since 1970.
    pub(crate) created: Option<i64>,
    pub(crate) ports: Ports,
    /// Whether it is about to go.
    pub(crate) is_terminating: bool,
    /// What its load balancer has; of one without, its cluster addresses.
    pub(crate) addresses: Rare<Address>,
    applied: Box<str>,
}

/// What there is in the place of the Service of a Gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'w> {
    Ours(&'w Exposed),
    /// One that nobody has made for this Gateway.
    Foreign,
    Nothing,
}

/// What is to be done about a Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// There is none yet, or another than there should be.
    Apply {
        gateway: Key,
        name: Box<str>,
        /// The `metadata.uid` of the one that there is.
        before: Option<Box<str>>,
        manifest: Arc<Value>,
    },
    /// Its Gateway is gone.
    Delete { name: Box<str>, uid: Box<str> },
}

/// The name of the Service of a Gateway of this `metadata.uid`. One that is made anew has another, so that nothing
/// is taken for its own which was not made for it.
pub(crate) fn name_of(uid: &str) -> String {
    format!("gateway-{uid}")
}

/// The Service of a Gateway in a namespace.
pub(crate) fn object_of(namespace: &str, gateway: &GatewayVersion) -> ObjectName {
    ObjectName::new(namespace, name_of(gateway.uid()))
}

/// Whether a Service was made for a Gateway, by whatever installation.
pub(crate) fn is_of_gateway(service: &core::Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(GATEWAY_UID))
}

/// What is kept of a Service; `None`: it was made for no Gateway. `balancer`: what its load balancer has.
pub(crate) fn read(service: &core::Service, balancer: &Rare<Address>) -> Option<Exposed> {
    let ObjectMeta {
        labels,
        annotations,
        name,
        uid,
        creation_timestamp,
        deletion_timestamp,
        ..
    } = &service.metadata;
    let labels = labels.as_ref()?;
    let installation = labels.get(INSTALLATION)?;
    let gateway = labels.get(GATEWAY_UID)?;
    if name.as_deref() != Some(&*name_of(gateway)) {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let applied = annotations.as_ref().and_then(|all| all.get(APPLIED));
    Some(Exposed {
        installation: installation.as_str().into(),
        uid: uid.as_deref().unwrap_or_default().into(),
        created: creation_timestamp.as_ref().map(|it| it.0.as_second()),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        is_terminating: deletion_timestamp.is_some(),
        addresses: match spec.type_.as_deref() {
            Some("LoadBalancer") => balancer.clone(),
            _ => cluster_addresses(spec).collect(),
        },
        applied: applied.map(String::as_str).unwrap_or_default().into(),
    })
}

fn port(port: &core::ServicePort) -> Option<(Port, u16)> {
    let Some(IntOrString::Int(target)) = port.target_port else {
        return None;
    };
    let target = u16::try_from(target).ok()?;
    let asked = Port {
        number: u16::try_from(port.port).ok()?,
        datagrams: port.protocol.as_deref() == Some("UDP"),
    };
    TARGET_PORTS.contains(&target).then_some((asked, target))
}

fn cluster_addresses(spec: &core::ServiceSpec) -> impl Iterator<Item = Address> {
    let all = spec.cluster_ips.iter().flatten();
    let addresses = all.filter(|it| !matches!(it.as_str(), "" | "None"));
    addresses.map(|it| Address::Ip(it.as_str().into()))
}

impl Exposed {
    /// Whether it is as it was written last, and this was that.
    pub(crate) fn is(&self, manifest: &Value, ports: &Ports) -> bool {
        self.ports == *ports
            && manifest["metadata"]["annotations"][APPLIED].as_str() == Some(&*self.applied)
    }
}

impl Found<'_> {
    pub(crate) fn addresses(&self) -> &[Address] {
        match self {
            Self::Ours(exposed) => &exposed.addresses,
            Self::Foreign | Self::Nothing => &[],
        }
    }
}

impl Deed {
    /// The name of the Service.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Apply { name, .. } | Self::Delete { name, .. } => name,
        }
    }
}

/// The Service of a Gateway, as it should be.
pub(crate) fn manifest(
    (namespace, installation): (&str, &str),
    settings: &GatewayServices,
    gateway: &GatewayVersion,
    ports: &Ports,
) -> Value {
    let wanted = &gateway.spec.gateway;
    let infrastructure = wanted.infrastructure.clone().unwrap_or_default();
    let key = gateway.key();
    let mut labels = asked_for(infrastructure.labels);
    labels.insert(INSTALLATION.to_owned(), installation.to_owned());
    labels.insert(GATEWAY_UID.to_owned(), gateway.uid().to_owned());
    if key.name.len() <= LONGEST_LABEL {
        labels.insert(GATEWAY_NAME.to_owned(), key.name.to_string());
    }
    let mut annotations = settings.annotations.clone();
    annotations.extend(asked_for(infrastructure.annotations));
    annotations.insert(GATEWAY.to_owned(), key.object.to_string());
    let mut spec = settings.spec.clone();
    let address = wanted.addresses.iter().find_map(|it| it.value.as_ref());
    if let (Some(address), Some("LoadBalancer")) =
        (address, spec.get("type").and_then(Value::as_str))
    {
        spec.insert("loadBalancerIP".to_owned(), address.as_str().into());
    }
    let ports = ports.iter().map(|(port, target)| {
        let protocol = if port.datagrams { "UDP" } else { "TCP" };
        let name = format!("{}-{}", protocol.to_lowercase(), port.number);
        json!({"name": name, "port": port.number, "protocol": protocol, "targetPort": target})
    });
    spec.insert("ports".to_owned(), ports.collect());
    let mut manifest = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name_of(gateway.uid()),
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    });
    manifest["metadata"]["annotations"][APPLIED] = manifest.to_string().into();
    manifest
}

/// What a Gateway asks for, but for what would stand in for what Ferrix knows its Services by.
fn asked_for(mut asked: BTreeMap<String, String>) -> BTreeMap<String, String> {
    asked.retain(|name, _| !name.starts_with(OWN) && name != GATEWAY_NAME);
    asked
}

/// What each of some Services has of the ports of the pods. Of several that have one, it is the oldest's: whoever
/// wrote the others had not seen that.
pub(crate) fn shares<'w>(
    exposed: impl Iterator<Item = (&'w ObjectName, &'w Exposed)>,
) -> HashMap<&'w ObjectName, Ports> {
    let mut all: Vec<_> = exposed.collect();
    all.sort_by_key(|(name, it)| (it.created.is_none(), it.created, *name));
    let mut taken = HashSet::new();
    let shares = all.into_iter().map(|(name, exposed)| {
        let ports = exposed.ports.iter().map(|(port, target)| (*port, *target));
        (
            name,
            ports.filter(|(_, target)| taken.insert(*target)).collect(),
        )
    });
    shares.collect()
}
