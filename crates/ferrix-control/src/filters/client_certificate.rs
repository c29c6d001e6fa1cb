//! Clients that may pass by their certificates, as it is written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::{
    client_certificate::{ClientCertificate, Detail, DetailHeader},
    from_object::FromObject,
};

use super::{Faults, credentials};
use crate::{names::shared_name, objects::Kind, report::Reason};

/// `namespace`: that of the object.
pub(super) fn compile(
    written: &filter::ClientCertificate,
    field: &str,
    namespace: &str,
    faults: &mut Faults,
) -> ClientCertificate {
    let filter::ClientCertificate {
        authorities: filter::CertificateAuthorities { secret, config_map },
        optional,
        details_to_headers,
    } = written;
    let of = format!("{field}.authorities");
    let (name, kind, member) = match (secret, config_map) {
        (None, Some(map)) => (map.as_str(), Kind::ConfigMap, "configMap"),
        (secret, config_map) => {
            if secret.is_none() || config_map.is_some() {
                let message = "expected exactly one of `secret` and `configMap`";
                faults.add(Reason::InvalidSpec, of.as_str(), message);
            }
            let secret = secret.as_deref().unwrap_or_default();
            (secret, Kind::Secret, "secret")
        }
    };
    let named = shared_name(namespace, name).key(kind);
    let authorities = FromObject::unknown(named, format!("{of}.{member}"));
    let mut headers: Vec<DetailHeader> = Vec::with_capacity(details_to_headers.len());
    for (at, filter::DetailHeader { detail, header }) in details_to_headers.iter().enumerate() {
        let before = headers.iter().map(|it| &*it.header);
        let field = format!("{field}.detailsToHeaders[{at}].header");
        credentials::another_header(header, before, &field, faults);
        headers.push(DetailHeader {
            detail: self::detail(*detail),
            header: header.as_str().into(),
        });
    }
    ClientCertificate {
        authorities,
        optional: *optional,
        headers: headers.into(),
    }
}

fn detail(written: filter::CertificateDetail) -> Detail {
    match written {
        filter::CertificateDetail::Subject => Detail::Subject,
        filter::CertificateDetail::Names => Detail::Names,
        filter::CertificateDetail::Fingerprint => Detail::Fingerprint,
        filter::CertificateDetail::Certificate => Detail::Certificate,
        filter::CertificateDetail::ForwardedClientCert => Detail::ForwardedClientCert,
    }
}
