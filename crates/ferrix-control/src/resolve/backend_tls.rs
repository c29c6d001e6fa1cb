//! What BackendPolicies have of the ConfigMaps and Secrets that they name.
//!
//! Without that nobody is believed: endpoints are not spoken to.

use std::sync::Arc;

use ferrix_table::{
    backend_policy::BackendPolicy,
    connection::BackendTls,
    verification::{self, ClientCertificate},
};

use rustls_pki_types::CertificateDer;

use super::no_longer_seen;
use crate::{
    backend,
    credentials::Entries,
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
        && tls.authorities == verification::Authorities::Anyone
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
        for (field, key) in &named.authorities {
            match self.authorities(key) {
                Ok(found) => authorities.extend(found.iter().map(|it| it.as_ref().into())),
                Err((reason, why)) => missing.push((reason, field.to_string(), why)),
            }
            findings.extend(no_longer_seen(self.world, key.kind, &key.namespace));
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
            tls.authorities = verification::Authorities::These(authorities.into());
        }
        let Some(name) = &named.client else {
            return;
        };
        match self.client(name) {
            Ok(client) => tls.client = Some(client),
            Err(finding) => {
                findings.push(finding);
                // Whoever is to know Ferrix by it would take it for somebody else.
                tls.authorities = verification::Authorities::These(Box::default());
            }
        }
        findings.extend(no_longer_seen(self.world, Kind::Secret, &name.namespace));
    }

    fn authorities(self, key: &Key) -> Result<Arc<[CertificateDer<'static>]>, (Reason, String)> {
        let (world, name) = (self.world, &key.object);
        let (settings, from) = (self.settings, Referrer::Object(self.from));
        let (missing, found) = match key.kind {
            Kind::Secret => {
                let found = world.entries(settings, from, name);
                let found = found.map(|entries| {
                    let entries = entries.ok_or("it holds a certificate");
                    entries.and_then(Entries::authorities)
                });
                (Reason::SecretNotFound, found)
            }
            _ => {
                let found = world.authorities(settings, from, name);
                (Reason::ConfigMapNotFound, found.cloned())
            }
        };
        match found {
            Ok(found) => found.map_err(|why| {
                let why = format!("{} {name} is of no use: {why}", key.kind);
                (Reason::InvalidCertificate, why)
            }),
            Err(_) => Err((missing, backend::why_missing(world, key.kind, name))),
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
