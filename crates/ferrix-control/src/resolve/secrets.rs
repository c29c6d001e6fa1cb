//! What filters have of the Secrets that they name, and keys from elsewhere.
//!
//! Without that no request passes: the filter stays, and refuses.

use std::sync::Arc;

use ferrix_table::filters::{
    Filter,
    from_object::FromObject,
    jwt::{HeldKeys, KeySource, Renewal},
};

use super::{Seeker, no_longer_seen};
use crate::{
    backend,
    configmap::Kept,
    credentials::Entries,
    issuer_keys::{FetchedKeys, KnownKeys},
    objects::Kind,
    read::Read,
    referencegrant::Referrer,
    report::{Finding, Reason},
};

/// A filter with what the Secret holds that it names.
pub(super) fn look_up<S>(
    seeker: Seeker<'_>,
    filter: Filter<S>,
    findings: &mut Vec<Finding>,
) -> Filter<S> {
    match filter {
        Filter::BasicAuth(mut auth) => {
            let users = found(seeker, &auth.users, |it| it.users().clone(), findings);
            Arc::make_mut(&mut auth).users = users;
            Filter::BasicAuth(auth)
        }
        Filter::ApiKey(mut auth) => {
            let clients = found(seeker, &auth.clients, |it| it.clients().clone(), findings);
            Arc::make_mut(&mut auth).clients = clients;
            Filter::ApiKey(auth)
        }
        Filter::Jwt(mut jwt) => {
            if let Some(keys) = keys(seeker, &jwt.keys, findings) {
                Arc::make_mut(&mut jwt).keys = keys;
            }
            Filter::Jwt(jwt)
        }
        Filter::ClientCertificate(mut it) => {
            let named = &it.authorities;
            let authorities = match named.named.kind {
                Kind::ConfigMap => found_in_map(
                    seeker,
                    named,
                    |it| it.client_authorities().clone(),
                    findings,
                ),
                _ => found(
                    seeker,
                    named,
                    |it| it.client_authorities().clone(),
                    findings,
                ),
            };
            Arc::make_mut(&mut it).authorities = authorities;
            Filter::ClientCertificate(it)
        }
        Filter::Oidc(mut oidc) => {
            let named = &oidc.secrets;
            let place = named.field.rsplit_once('.').map_or("", |(place, _)| place);
            let secrets = match refused(seeker, &oidc.issuer, &format!("{place}.issuer")) {
                Some(finding) => {
                    let why = finding.message.as_str().into();
                    findings.push(finding);
                    named.holding(Err(why))
                }
                None => found(seeker, named, |it| it.oidc().clone(), findings),
            };
            Arc::make_mut(&mut oidc).secrets = secrets;
            Filter::Oidc(oidc)
        }
        other => other,
    }
}

/// Keys of an issuer with what was found of them. `None`: they are as they were written.
fn keys(seeker: Seeker<'_>, source: &KeySource, findings: &mut Vec<Finding>) -> Option<KeySource> {
    let mut source = source.clone();
    match &mut source {
        KeySource::Inline(_) => return None,
        KeySource::Object { keys, entry } => {
            *keys = match keys.named.kind {
                Kind::ConfigMap => found_in_map(seeker, keys, |it| it.keys(entry), findings),
                _ => found(seeker, keys, |it| it.keys(entry), findings),
            };
        }
        KeySource::Url {
            url,
            field,
            held,
            renewal,
        } => {
            if let Some(finding) = refused(seeker, url, field) {
                *held = Err(finding.message.as_str().into());
                findings.push(finding);
                return Some(source);
            }
            let known = seeker.world.keys_at(url);
            *renewal = known.map_or_else(Renewal::default, |known| known.renewal.clone());
            *held = keys_at(known, url, field, findings);
        }
    }
    Some(source)
}

/// Why the settings do not let a namespace have a URL asked that it names in a field, where they do not.
fn refused(seeker: Seeker<'_>, url: &str, field: &str) -> Option<Finding> {
    let Seeker {
        world,
        settings,
        from,
        ..
    } = seeker;
    let namespace = &from.namespace;
    let refusal = (settings.issuers).refusal(namespace, world.labels(namespace), url)?;
    let message = format!("{refusal}: nobody passes");
    let reason = Reason::IssuerNotAllowed;
    Some(Finding::problem(reason, field, message))
}

/// What a ConfigMap holds, read in one way.
fn found_in_map<T>(
    seeker: Seeker<'_>,
    named: &FromObject<T>,
    read: impl Fn(&Kept) -> Read<T>,
    findings: &mut Vec<Finding>,
) -> FromObject<T> {
    let Seeker {
        world,
        settings,
        from,
        ..
    } = seeker;
    let name = &named.named.object;
    let useless = Reason::InvalidConfigMap;
    let read = match world.config_map(settings, Referrer::Object(from), name) {
        Err(_) => {
            let why = backend::why_missing(world, Kind::ConfigMap, name);
            Err((Reason::ConfigMapNotFound, why))
        }
        Ok(map) => {
            read(map).map_err(|why| (useless, format!("ConfigMap {name} is of no use: {why}")))
        }
    };
    named.holding(held(seeker, named, useless, read, findings))
}

/// The keys at a URL, of which this is known.
fn keys_at(
    known: Option<&KnownKeys>,
    url: &str,
    field: &str,
    findings: &mut Vec<Finding>,
) -> HeldKeys {
    let Some(KnownKeys { last, trouble, .. }) = known else {
        let message =
            format!("the keys at {url} are fetched at run time; until then requests get 503");
        findings.push(Finding::info(Reason::NotFetched, field, message));
        return Err("the keys were not fetched yet".into());
    };
    let Some(FetchedKeys { keys, faults }) = last else {
        let why = trouble.as_deref().unwrap_or("they were not fetched yet");
        let message = format!("there are no keys at {url}: {why}");
        let finding = format!("{message}: requests get 503");
        findings.push(Finding::problem(Reason::KeysNotFetched, field, finding));
        return Err(message.into());
    };
    if let Some(why) = trouble {
        let message =
            format!("the keys at {url} are fetched in vain: {why}; those fetched last serve on");
        findings.push(Finding::warning(Reason::FetchFailed, field, message));
    }
    for fault in faults {
        let message = format!("the keys at {url}: {fault}");
        findings.push(Finding::warning(Reason::FetchFailed, field, message));
    }
    Ok(Arc::clone(keys))
}

/// What a Secret holds, read in one way.
fn found<T>(
    seeker: Seeker<'_>,
    named: &FromObject<T>,
    read: impl Fn(&Entries) -> Read<T>,
    findings: &mut Vec<Finding>,
) -> FromObject<T> {
    let Seeker {
        world,
        settings,
        from,
        ..
    } = seeker;
    let name = &named.named.object;
    let useless = Reason::InvalidSecret;
    let of_no_use = |why: &str| (useless, format!("Secret {name} is of no use: {why}"));
    let read = match world.entries(settings, Referrer::Object(from), name) {
        Err(_) => {
            let why = backend::why_missing(world, Kind::Secret, name);
            Err((Reason::SecretNotFound, why))
        }
        Ok(None) => Err(of_no_use("it holds a certificate")),
        Ok(Some(entries)) => read(entries).map_err(|why| of_no_use(&why)),
    };
    named.holding(held(seeker, named, useless, read, findings))
}

/// What a filter has of an object that it names, as that was read, and what there is to say of it.
/// `useless`: the reason for parts that are of no use.
fn held<T>(
    seeker: Seeker<'_>,
    named: &FromObject<T>,
    useless: Reason,
    read: Result<(Arc<T>, Vec<String>), (Reason, String)>,
    findings: &mut Vec<Finding>,
) -> Result<Arc<T>, Arc<str>> {
    let FromObject { named, field, .. } = named;
    match read {
        Ok((value, faults)) => {
            for fault in faults {
                let message = format!("{named}: {fault}");
                findings.push(Finding::warning(useless, &**field, message));
            }
            findings.extend(no_longer_seen(seeker.world, named.kind, &named.namespace));
            Ok(value)
        }
        Err((reason, message)) => {
            let finding = format!("{message}: requests get 500");
            findings.push(Finding::problem(reason, &**field, finding));
            Err(message.into())
        }
    }
}
