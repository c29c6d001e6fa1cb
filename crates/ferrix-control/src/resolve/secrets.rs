//! What filters have of the Secrets that they name.
//!
//! Without that no request passes: the filter stays, and refuses.

use std::sync::Arc;

use ferrix_table::filters::{Filter, from_secret::FromSecret, jwt::KeySource};

use super::{Seeker, no_longer_seen};
use crate::{
    backend,
    credentials::{Entries, Read},
    objects::Kind,
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
            if let KeySource::Secret { keys, entry } = &jwt.keys {
                let keys = found(seeker, keys, |it| it.keys(entry), findings);
                let entry = entry.clone();
                Arc::make_mut(&mut jwt).keys = KeySource::Secret { keys, entry };
            }
            Filter::Jwt(jwt)
        }
        other => other,
    }
}

/// What a Secret holds, read in one way.
fn found<T>(
    seeker: Seeker<'_>,
    named: &FromSecret<T>,
    read: impl Fn(&Entries) -> Read<T>,
    findings: &mut Vec<Finding>,
) -> FromSecret<T> {
    let Seeker {
        world,
        settings,
        from,
        ..
    } = seeker;
    let name = &named.secret;
    let mut tell = |finding: fn(Reason, String, String) -> Finding, reason, message: String| {
        findings.push(finding(reason, named.field.to_string(), message));
    };
    let held = match world.entries(settings, Referrer::Object(from), name) {
        Err(_) => Err((
            Reason::SecretNotFound,
            backend::why_missing(world, Kind::Secret, name),
        )),
        Ok(None) => {
            let message = format!("Secret {name} is of no use: it holds a certificate");
            Err((Reason::InvalidSecret, message))
        }
        Ok(Some(entries)) => match read(entries) {
            Ok((value, faults)) => {
                for fault in faults {
                    let message = format!("Secret {name}: {fault}");
                    tell(Finding::warning, Reason::InvalidSecret, message);
                }
                Ok(value)
            }
            Err(why) => {
                let message = format!("Secret {name} is of no use: {why}");
                Err((Reason::InvalidSecret, message))
            }
        },
    };
    let held = held.map_err(|(reason, message)| {
        let why = Arc::from(message.as_str());
        let message = format!("{message}: requests get 500");
        tell(Finding::problem, reason, message);
        why
    });
    if held.is_ok() {
        findings.extend(no_longer_seen(world, Kind::Secret, &name.namespace));
    }
    named.holding(held)
}
