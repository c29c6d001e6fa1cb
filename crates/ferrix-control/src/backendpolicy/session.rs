//! Sessions, as they are written.

use std::sync::Arc;

use ferrix_api::backendpolicy;
use ferrix_table::{
    object::ObjectName,
    policy::{Session, SessionCarrier},
};

use crate::{
    filters::{Faults, is_token, policy},
    report::Reason,
};

const FIELD: &str = "spec.session";

/// `services`: how many the policy is for.
pub(super) fn compile(
    written: &backendpolicy::Session,
    name: &ObjectName,
    services: usize,
    faults: &mut Faults,
) -> Option<Session> {
    // A field that is new belongs in here.
    let backendpolicy::Session {
        cookie,
        header,
        lasts,
    } = written;
    if services > 1 {
        let message = "is for one Service: sessions of several would end each other";
        faults.add(Reason::InvalidSpec, FIELD, message);
    }
    let lasts = lasts.as_deref();
    let lasts = lasts.and_then(|text| policy::duration(text, &format!("{FIELD}.lasts"), faults));
    let lasts = lasts.filter(|lasts| !lasts.is_zero());
    let carrier = match (cookie, header) {
        (Some(cookie), None) => {
            if cookie.permanent && lasts.is_none() {
                let message = "a permanent cookie needs `lasts`";
                faults.add(Reason::InvalidSpec, format!("{FIELD}.cookie"), message);
            }
            SessionCarrier::Cookie {
                name: match &cookie.name {
                    Some(name) => token(name, "cookie.name", faults),
                    None => policy::session_name(&name.to_string()),
                },
                path: "/".into(),
                permanent: cookie.permanent,
            }
        }
        (None, Some(header)) => SessionCarrier::Header(token(header, "header", faults)),
        _ => {
            let message = "expected exactly one of `cookie` and `header`";
            faults.add(Reason::InvalidSpec, FIELD, message);
            return None;
        }
    };
    Some(Session {
        carrier,
        absolute_timeout: lasts,
    })
}

fn token(name: &str, field: &str, faults: &mut Faults) -> Arc<str> {
    if !is_token(name) {
        let message = format!("`{name}` is no name of a cookie or a header");
        faults.add(Reason::InvalidSpec, format!("{FIELD}.{field}"), message);
    }
    name.into()
}
