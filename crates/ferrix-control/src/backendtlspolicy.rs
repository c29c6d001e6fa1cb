//! `BackendTLSPolicy`: how the endpoints of a Service are known over TLS.
//!
//! Of several policies for one port of a Service the one that names the port comes first, then the older;
//! what another of the same target asks for is not done, and it is told so.

use std::sync::Arc;

use ferrix_api::gateway::{BackendTlsPolicySpec, LocalReference};
use ferrix_table::verification::{Authorities, Prepared, SubjectName, Verification};
use rustls_pki_types::ServerName;

use crate::{
    listeners::Fault,
    names::shared_name,
    objects::{Key, ObjectName},
    referencegrant::Referrer,
    settings::Settings,
    verdict::Condition,
    version::Version,
    world::World,
};

/// One version of a policy.
pub(crate) type Policy = Version<BackendTlsPolicySpec>;

/// What a policy comes to by itself.
pub(crate) struct Checked {
    /// What endpoints have to show, or why nothing of the policy can be used.
    pub(crate) verification: Result<Arc<Verification>, Fault>,
    /// What of its references leads nowhere.
    unresolved: Option<Fault>,
}

/// The policy that a port of a Service has.
pub(crate) fn of_port<'w>(
    world: &'w World,
    service: &'w ObjectName,
    port: &str,
) -> Option<&'w Policy> {
    let for_port = |policy: &&Policy| sections(policy, service).any(|it| it == Some(port));
    let for_all = |policy: &&Policy| sections(policy, service).any(|it| it.is_none());
    let oldest = |fits: &dyn Fn(&&Policy) -> bool| {
        let policies = world.policies_of(service).filter(fits);
        policies.min_by_key(|policy| policy.seniority())
    };
    oldest(&for_port).or_else(|| oldest(&for_all))
}

/// The ports of a Service that a policy names; `None`: all of them.
fn sections<'p>(
    policy: &'p Policy,
    service: &'p ObjectName,
) -> impl Iterator<Item = Option<&'p str>> {
    let targets = policy.spec.target_refs.iter().filter(|target| {
        let is_service = target.group.is_empty() && target.kind == "Service";
        is_service && *target.name == *service.name
    });
    targets.map(|target| target.section_name.as_deref().filter(|it| !it.is_empty()))
}

/// An older policy for one of the very targets of a policy.
fn older<'w>(world: &'w World, policy: &Policy) -> Option<&'w Policy> {
    let namespace = &policy.key().namespace;
    for target in &policy.spec.target_refs {
        let service = shared_name(namespace, &target.name);
        let section = target.section_name.as_deref().filter(|it| !it.is_empty());
        let mut others = world.policies_of(&service).filter(|other| {
            other.seniority() < policy.seniority()
                && sections(other, &service).any(|it| it == section)
        });
        if let Some(older) = others.next() {
            return Some(older);
        }
    }
    None
}

/// Checks a policy.
pub(crate) fn check(world: &World, settings: &Settings, policy: &Policy) -> Checked {
    let validation = &policy.spec.validation;
    let invalid = |message: String| Checked {
        verification: Err(Fault {
            reason: "Invalid",
            message,
        }),
        unresolved: None,
    };
    // An address is none (`PreciseHostname`).
    let name = ServerName::try_from(validation.hostname.as_str());
    if !matches!(name, Ok(ServerName::DnsName(_))) {
        return invalid(format!("`{}` is no host name.", validation.hostname));
    }
    let well_known = validation.well_known_ca_certificates.as_deref();
    let well_known = well_known.filter(|it| !it.is_empty());
    if well_known.is_some() != validation.ca_certificate_refs.is_empty() {
        let message = "Expected either `caCertificateRefs` or `wellKnownCACertificates`.";
        return invalid(message.to_owned());
    }
    let mut names = Vec::new();
    for name in &validation.subject_alt_names {
        match (name.kind.as_str(), &name.hostname, &name.uri) {
            ("Hostname", Some(host), _) => names.push(SubjectName::Dns(host.as_str().into())),
            ("URI", _, Some(uri)) => names.push(SubjectName::Uri(uri.as_str().into())),
            (kind, ..) => return invalid(format!("`{kind}` is no type of name with this value.")),
        }
    }
    let mut unresolved = None;
    let authorities = match well_known {
        Some("System") => Authorities::OfSystem,
        Some(other) => {
            return invalid(format!("`{other}` are no authorities; expected `System`."));
        }
        None => {
            let mut found: Vec<Box<[u8]>> = Vec::new();
            for reference in &validation.ca_certificate_refs {
                match authorities(world, settings, policy.key(), reference) {
                    Ok(authorities) => found.extend(authorities),
                    Err(fault) => drop(unresolved.get_or_insert(fault)),
                }
            }
            if found.is_empty() {
                let message = "None of its authorities can be used: requests get 500.";
                return Checked {
                    verification: Err(Fault {
                        reason: "NoValidCACertificate",
                        message: message.to_owned(),
                    }),
                    unresolved,
                };
            }
            Authorities::These(found.into())
        }
    };
    Checked {
        verification: Ok(Arc::new(Verification {
            server_name: validation.hostname.as_str().into(),
            authorities,
            names: names.into(),
            client: None,
            prepared: Prepared::default(),
        })),
        unresolved,
    }
}

fn authorities(
    world: &World,
    settings: &Settings,
    policy: &Key,
    reference: &LocalReference,
) -> Result<Vec<Box<[u8]>>, Fault> {
    let (group, kind) = (reference.group.as_str(), reference.kind.as_str());
    if !matches!((group, kind), ("" | "core", "ConfigMap")) {
        return Err(Fault {
            reason: "InvalidKind",
            message: format!("Authorities are in ConfigMaps, not in a {kind} of group `{group}`."),
        });
    }
    let name = shared_name(&policy.namespace, &reference.name);
    let invalid = |why: &str| Fault {
        reason: "InvalidCACertificateRef",
        message: format!("ConfigMap {name} is of no use: {why}."),
    };
    match world.authorities(settings, Referrer::Object(policy), &name) {
        Ok(Ok(found)) => Ok(found.iter().map(|it| it.as_ref().into()).collect()),
        Ok(Err(why)) => Err(invalid(why)),
        Err(_) => Err(invalid("it does not exist")),
    }
}

/// Whether any target of a policy is a Service that exists, with the port that it names.
fn has_target(world: &World, settings: &Settings, policy: &Policy) -> bool {
    let namespace = &policy.key().namespace;
    let mut services =
        (policy.spec.target_refs.iter()).filter(|it| it.group.is_empty() && it.kind == "Service");
    let from = Referrer::Object(policy.key());
    services.any(|target| {
        let name = shared_name(namespace, &target.name);
        let section = target.section_name.as_deref().filter(|it| !it.is_empty());
        let found = world.service(settings, from, &name);
        found.is_ok_and(|(_, spec)| {
            section.is_none_or(|section| spec.ports.iter().any(|port| *port.name == *section))
        })
    })
}

/// `Accepted` and `ResolvedRefs` of a policy.
pub(crate) fn conditions(world: &World, settings: &Settings, policy: &Policy) -> Box<[Condition]> {
    let checked = check(world, settings, policy);
    let not = |reason, message: String| Condition::new("Accepted", false, reason, message);
    let accepted = match (older(world, policy), checked.verification) {
        (Some(older), _) => {
            let message = format!("{} is older, and for the same.", older.key());
            not("Conflicted", message)
        }
        (None, Err(fault)) => not(fault.reason, fault.message),
        (None, Ok(_)) if !has_target(world, settings, policy) => {
            let message = "None of its targets is a Service that exists, or a port of one.";
            not("TargetNotFound", message.to_owned())
        }
        (None, Ok(_)) => Condition::new("Accepted", true, "Accepted", "The policy is in force."),
    };
    let resolved = match checked.unresolved {
        Some(fault) => Condition::new("ResolvedRefs", false, fault.reason, fault.message),
        None => {
            let message = "Every object that the policy names was found.";
            Condition::new("ResolvedRefs", true, "ResolvedRefs", message)
        }
    };
    [accepted, resolved].into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        decode::{self, Decoded, Strictness},
        objects::Origin,
    };

    fn world(policy: &Value) -> World {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"},
            "spec": {"ports": [{"name": "web", "port": 443}]},
        });
        let mut world = World::new();
        for object in [&service, policy] {
            let Ok(Decoded::Object { object, .. }) = decode::decode(object, Strictness::Api) else {
                panic!("{object}");
            };
            world.apply(object, Origin::Api, Vec::new());
        }
        world
    }

    /// What the specification asks for, where the API server does not see to it (`BackendTLSPolicySpec`).
    #[test]
    fn which_policies_are_accepted() {
        let service = |more: &str| format!("{{group: '', kind: Service, name: s{more}}}");
        let system = "wellKnownCACertificates: System, hostname: a.test";
        let missing = "caCertificateRefs: [{group: '', kind: ConfigMap, name: none}]";
        let cases = [
            (service(""), system.to_owned(), "Accepted"),
            (service(", sectionName: web"), system.to_owned(), "Accepted"),
            (
                service(", sectionName: other"),
                system.to_owned(),
                "TargetNotFound",
            ),
            (
                service("").replace("name: s", "name: none"),
                system.to_owned(),
                "TargetNotFound",
            ),
            (
                service("").replace("Service", "Odd"),
                system.to_owned(),
                "TargetNotFound",
            ),
            (service(""), system.replace("System", "Odd"), "Invalid"),
            // A host has a name.
            (service(""), system.replace("a.test", "10.0.0.1"), "Invalid"),
            (
                service(""),
                system.replace("a.test", "'*.a.test'"),
                "Invalid",
            ),
            (service(""), system.replace("a.test", "''"), "Invalid"),
            // One of both, and an empty text is none.
            (service(""), "hostname: a.test".to_owned(), "Invalid"),
            (service(""), format!("{system}, {missing}"), "Invalid"),
            (
                service(""),
                format!("wellKnownCACertificates: '', {missing}, hostname: a.test"),
                "NoValidCACertificate",
            ),
            (
                service(""),
                format!("{missing}, hostname: a.test"),
                "NoValidCACertificate",
            ),
            (
                service(""),
                format!("{system}, subjectAltNames: [{{type: Odd, hostname: b.test}}]"),
                "Invalid",
            ),
            (
                service(""),
                format!("{system}, subjectAltNames: [{{type: URI, uri: 'spiffe://a/b'}}]"),
                "Accepted",
            ),
        ];
        for (target, validation, expected) in &cases {
            let text = format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\n\
                 metadata: {{name: p, namespace: n}}\nspec: {{targetRefs: [{target}], validation: \
                 {{{validation}}}}}\n"
            );
            let policy = serde_yaml_ng::from_str(&text).unwrap();
            let world = world(&policy);
            let policy = world.policy(&shared_name("n", "p")).unwrap();
            let conditions = conditions(&world, &Settings::default(), policy);
            let accepted = &conditions[0];
            assert_eq!(accepted.reason, *expected, "{text}");
            assert_eq!(accepted.status, *expected == "Accepted", "{text}");
        }
        assert_eq!(cases.len(), 15);
    }
}
