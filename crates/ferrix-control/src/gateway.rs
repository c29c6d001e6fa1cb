//! `Gateway`: where requests come in. See `listeners` for what becomes of it.

use std::net::IpAddr;

use ferrix_api::gateway::{Gateway, GatewaySpec};

use crate::{objects::Kind, objects::Origin, version::Version};

/// The only scope of default Gateways that there is, but for `None`.
pub(crate) const ALL_SCOPES: &str = "All";

/// One version of a Gateway.
pub(crate) type GatewayVersion = Version<KeptGateway>;

/// What is kept of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptGateway {
    pub(crate) gateway: GatewaySpec,
    /// The addresses that its status tells: those that it has had.
    pub(crate) addresses: Box<[IpAddr]>,
    /// Its `metadata.uid`; empty where it comes from a file.
    uid: Box<str>,
}

impl GatewayVersion {
    /// Whether routes attach that ask for default Gateways.
    pub(crate) fn is_default(&self) -> bool {
        self.spec.gateway.default_scope.as_deref() == Some(ALL_SCOPES)
    }

    /// Its `metadata.uid`; empty where it comes from a file.
    pub(crate) fn uid(&self) -> &str {
        &self.spec.uid
    }
}

/// Keeps what is read of a Gateway.
pub(crate) fn compile(gateway: &Gateway, origin: Origin) -> GatewayVersion {
    let told = gateway.status.iter().flat_map(|status| &status.addresses);
    let addresses = told.filter_map(|it| it.value.as_deref()?.parse().ok());
    let kept = KeptGateway {
        gateway: gateway.spec.clone(),
        addresses: addresses.collect(),
        uid: gateway.metadata.uid.as_deref().unwrap_or_default().into(),
    };
    Version::new(Kind::Gateway, &gateway.metadata, origin, kept)
}
