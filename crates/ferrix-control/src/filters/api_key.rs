//! Clients that may pass by their keys, as it is written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::{
    api_key::{ApiKey, CredentialPlace},
    from_object::FromObject,
};

use super::{Faults, credentials};
use crate::{names::shared_name, objects::Kind, report::Reason};

/// `namespace`: that of the object.
pub(super) fn compile(
    written: &filter::ApiKey,
    field: &str,
    namespace: &str,
    faults: &mut Faults,
) -> ApiKey {
    let filter::ApiKey {
        secret,
        from,
        client_header,
        hide_credentials,
    } = written;
    let place = credentials::place(from, &format!("{field}.from"), faults);
    // That of a filter that is no good.
    let place = place.unwrap_or_else(|| CredentialPlace::Header(Box::default()));
    let client_header = credentials::header(
        client_header.as_deref(),
        &format!("{field}.clientHeader"),
        faults,
    );
    if let (CredentialPlace::Header(key), Some(name)) = (&place, &client_header)
        && key.eq_ignore_ascii_case(name)
    {
        let message = format!("`{name}` has the key already");
        faults.add(
            Reason::InvalidSpec,
            format!("{field}.clientHeader"),
            message,
        );
    }
    let secret = shared_name(namespace, secret);
    ApiKey {
        clients: FromObject::unknown(secret.key(Kind::Secret), format!("{field}.secret")),
        place,
        client_header,
        hide_credentials: *hide_credentials,
    }
}
