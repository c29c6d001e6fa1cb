//! Users that may pass by their passwords, as it is written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::{basic_auth::BasicAuth, from_object::FromObject};

use super::{Faults, credentials};
use crate::{names::shared_name, objects::Kind, report::Reason};

/// What browsers are told that the password is for where nothing else is said.
pub(super) const REALM: &str = "ferrix";

/// `namespace`: that of the object.
pub(super) fn compile(
    written: &filter::BasicAuth,
    field: &str,
    namespace: &str,
    faults: &mut Faults,
) -> BasicAuth {
    let filter::BasicAuth {
        secret,
        realm,
        user_header,
        hide_credentials,
    } = written;
    let realm = realm.as_deref().unwrap_or(REALM);
    let fits = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if !realm.bytes().all(fits) {
        let message = "expected printable ASCII without `\"` and `\\`";
        faults.add(Reason::InvalidSpec, format!("{field}.realm"), message);
    }
    let secret = shared_name(namespace, secret);
    BasicAuth {
        users: FromObject::unknown(secret.key(Kind::Secret), format!("{field}.secret")),
        realm: realm.into(),
        user_header: credentials::header(
            user_header.as_deref(),
            &format!("{field}.userHeader"),
            faults,
        ),
        hide_credentials: *hide_credentials,
    }
}
