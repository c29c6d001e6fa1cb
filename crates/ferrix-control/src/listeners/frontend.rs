//! What a Gateway asks of the certificates of its clients, port by port.

use std::sync::Arc;

use ferrix_api::gateway::{FrontendValidation, GatewaySpec, ObjectReference};
use ferrix_table::certificates::ClientCertificates;
use rustls_pki_types::CertificateDer;

use super::Fault;
use crate::{
    names::shared_name,
    objects::{Key, Kind},
    referencegrant::{Referrer, Refused},
    settings::Settings,
    world::World,
};

/// What is asked on one port.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontend {
    /// `None`: nothing.
    pub(super) certificates: Option<Arc<ClientCertificates>>,
    /// What of its references leads nowhere.
    pub(super) unresolved: Option<Fault>,
    /// Why no client could be verified.
    pub(super) unverifiable: Option<Fault>,
}

/// Clients without a valid certificate are served all the same.
const INSECURE: &str = "AllowInsecureFallback";

/// What a Gateway asks on a port.
fn validation(gateway: &GatewaySpec, port: u16) -> Option<&FrontendValidation> {
    let frontend = gateway.tls.as_ref()?.frontend.as_ref()?;
    let mut ports = frontend.per_port.iter();
    let own = ports.find(|it| it.port == port).map(|it| &it.tls);
    own.unwrap_or(&frontend.default).validation.as_ref()
}

/// Whether a Gateway serves clients on any port whose certificate is not valid.
pub(super) fn is_insecure(gateway: &GatewaySpec) -> bool {
    let frontend = gateway.tls.iter().filter_map(|tls| tls.frontend.as_ref());
    let mut all = frontend.flat_map(|it| {
        let ports = it.per_port.iter().map(|it| &it.tls);
        std::iter::once(&it.default).chain(ports)
    });
    all.any(|it| (it.validation.as_ref()).is_some_and(|it| it.mode == INSECURE))
}

impl Frontend {
    pub(super) fn new(
        world: &World,
        settings: &Settings,
        owner: &Key,
        gateway: &GatewaySpec,
        port: u16,
    ) -> Self {
        let Some(validation) = validation(gateway, port) else {
            return Self::default();
        };
        let mut authorities: Vec<CertificateDer<'static>> = Vec::new();
        let mut unresolved = None;
        for reference in &validation.ca_certificate_refs {
            match self::authorities(world, settings, owner, reference) {
                Ok(found) => authorities.extend(found.iter().cloned()),
                Err(fault) => drop(unresolved.get_or_insert(fault)),
            }
        }
        if authorities.is_empty() {
            let message = "None of the authorities can be used that clients' certificates have to \
                           come from.";
            return Self {
                certificates: None,
                unresolved,
                unverifiable: Some(Fault {
                    reason: "NoValidCACertificate",
                    message: message.to_owned(),
                }),
            };
        }
        Self {
            certificates: Some(Arc::new(ClientCertificates {
                authorities: authorities.into(),
                required: validation.mode != INSECURE,
            })),
            unresolved,
            unverifiable: None,
        }
    }
}

fn authorities(
    world: &World,
    settings: &Settings,
    owner: &Key,
    reference: &ObjectReference,
) -> Result<Arc<[CertificateDer<'static>]>, Fault> {
    let (group, kind) = (reference.group.as_str(), reference.kind.as_str());
    if !matches!((group, kind), ("" | "core", "ConfigMap")) {
        return Err(Fault {
            reason: "InvalidCACertificateKind",
            message: format!("Authorities are in ConfigMaps, not in a {kind} of group `{group}`."),
        });
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&owner.namespace);
    let name = shared_name(namespace, &reference.name);
    let invalid = |why: &str| Fault {
        reason: "InvalidCACertificateRef",
        message: format!("{} {name} is of no use: {why}.", Kind::ConfigMap),
    };
    match world.authorities(settings, Referrer::Object(owner), &name) {
        Ok(Ok(authorities)) => Ok(Arc::clone(authorities)),
        Ok(Err(why)) => Err(invalid(why)),
        Err(Refused::Forbidden) => Err(Fault {
            reason: "RefNotPermitted",
            message: format!("No ReferenceGrant of its namespace permits ConfigMap {name}."),
        }),
        Err(Refused::Missing) => Err(invalid("it does not exist")),
        Err(Refused::Unwatched) => Err(invalid("its namespace is not watched")),
    }
}
