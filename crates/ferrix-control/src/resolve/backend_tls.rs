//! What BackendPolicies have of the ConfigMaps and Secrets that they name.
//!
//! Without that nobody is believed: endpoints are not spoken to.

use std::sync::Arc;

use ferrix_table::{
    backend_policy::BackendPolicy,
    connection::BackendTls,
    verification::{Authorities, ClientCertificate},
};

use super::no_longer_seen;
use crate::{
    backend,
    draft::{NamedByTls, ServicePolicy},
    objects::{Key, Kind, ObjectName},
    referencegrant::Referrer,
    report::{Finding, Reason},
    settings::Settings,
    world::World,
};

/// Where a policy names the certificate that is presented.
const CLIENT: &str = "spec.connection.tls.clientCertificateRef";

/// A policy, of this key, with what it names.
pub(super) fn look_up(
    world: &World,
    settings: &Settings,
    from: &Key,
    said: &ServicePolicy,
    findings: &mut Vec<Finding>,
) -> Arc<BackendPolicy> {
    if let Some(tls) = &said.policy.connection.tls
        && tls.authorities == Authorities::Anyone
    {
        let message = "any certificate of an endpoint will do: nobody knows who the endpoint is";
        let field = "spec.connection.tls.insecureSkipVerify";
        findings.push(Finding::warning(Reason::NotVerified, field, message));
    }
    let Some(named) = &said.named else {
        return Arc::clone(&said.policy);
    };
    let mut policy = BackendPolicy::clone(&said.policy);
    if let Some(tls) = &mut policy.connection.tls {
        let seeker = Seeker {
            world,
            settings,
            from,
        };
        seeker.fill_in(tls, named, findings);
    }
    Arc::new(policy)
}

#[derive(Clone, Copy)]
struct Seeker<'w> {
    world: &'w World,
    settings: &'w Settings,
    from: &'w Key,
}

impl Seeker<'_> {
    fn fill_in(self, tls: &mut BackendTls, named: &NamedByTls, findings: &mut Vec<Finding>) {
        let mut authorities: Vec<Box<[u8]>> = Vec::new();
        let mut missing = Vec::new();
        for (field, name) in &named.authorities {
            match self.authorities(name) {
                Ok(found) => authorities.extend(found),
                Err((reason, why)) => missing.push((reason, field.to_string(), why)),
            }
            let namespace = &name.namespace;
            findings.extend(no_longer_seen(self.world, Kind::ConfigMap, namespace));
        }
        let what = match authorities.is_empty() {
            true => "requests get 502",
            false => "the other authorities are believed",
        };
        findings.extend(
            missing.into_iter().map(|(reason, field, why)| {
                Finding::problem(reason, field, format!("{why}: {what}"))
            }),
        );
        if !named.authorities.is_empty() {
            tls.authorities = Authorities::These(authorities.into());
        }
        let Some(name) = &named.client else {
            return;
        };
        match self.client(name) {
            Ok(client) => tls.client = Some(client),
            Err(finding) => {
                findings.push(finding);
                // Whoever is to know Ferrix by it would take it for somebody else.
                tls.authorities = Authorities::These(Box::default());
            }
        }
        findings.extend(no_longer_seen(self.world, Kind::Secret, &name.namespace));
    }

    fn authorities(self, name: &ObjectName) -> Result<Vec<Box<[u8]>>, (Reason, String)> {
        match (self.world).authorities(self.settings, Referrer::Object(self.from), name) {
            Ok(Ok(found)) => Ok(found.iter().map(|it| it.as_ref().into()).collect()),
            Ok(Err(why)) => {
                let why = format!("ConfigMap {name} is of no use: {why}");
                Err((Reason::InvalidCertificate, why))
            }
            Err(_) => {
                let why = backend::why_missing(self.world, Kind::ConfigMap, name);
                Err((Reason::ConfigMapNotFound, why))
            }
        }
    }

    fn client(self, name: &ObjectName) -> Result<ClientCertificate, Finding> {
        let refuse = |reason, why: String| {
            Finding::problem(reason, CLIENT, format!("{why}: requests get 502"))
        };
        let state = (self.world).secret(self.settings, Referrer::Object(self.from), name);
        let state = state.map_err(|_| {
            let why = backend::why_missing(self.world, Kind::Secret, name);
            refuse(Reason::SecretNotFound, why)
        })?;
        let parsed = state.serving().map_err(|why| {
            let why = format!("Secret {name} is of no use: {why}");
            refuse(Reason::InvalidCertificate, why)
        })?;
        Ok(ClientCertificate(Arc::clone(&parsed.certificate)))
    }
}
