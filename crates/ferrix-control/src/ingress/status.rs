//! The form that a status has in an Ingress: addresses, and nothing else.

use k8s_openapi::api::networking::v1::{IngressLoadBalancerIngress, IngressStatus};
use serde_json::{Value, json};

use crate::status::{Address, Status, Writer};

/// The form that a status has in the object.
pub(crate) fn write(status: &Status, _: &Writer<'_>) -> Value {
    let addresses = status.addresses.iter().map(|address| match address {
        Address::Ip(ip) => json!({"ip": ip}),
        Address::Hostname(name) => json!({"hostname": name}),
    });
    match status.addresses.is_empty() {
        true => json!({}),
        false => json!({"loadBalancer": {"ingress": addresses.collect::<Value>()}}),
    }
}

/// The status that an object has. One that does not fit counts as none.
pub(crate) fn read(status: &Value, writer: &Writer<'_>) -> Status {
    let status: IngressStatus = serde_json::from_value(status.clone()).unwrap_or_default();
    let balancer = status.load_balancer.unwrap_or_default();
    let address = |it: IngressLoadBalancerIngress| match (it.ip, it.hostname) {
        (Some(ip), _) => Some(Address::Ip(ip.into())),
        (None, name) => Some(Address::Hostname(name?.into())),
    };
    Status {
        installation: writer.installation.map(str::to_owned),
        addresses: (balancer.ingress.into_iter().flatten())
            .filter_map(address)
            .collect(),
        ..Status::default()
    }
}
