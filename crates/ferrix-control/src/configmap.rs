//! `ConfigMap`: authorities that certificates are verified with. Nothing else of one is kept.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The entry with the authorities.
const AUTHORITIES: &str = "ca.crt";

/// The authorities of a ConfigMap, or why it has none, in a sentence.
pub(crate) type Authorities = Result<Arc<[CertificateDer<'static>]>, &'static str>;

/// Keeps what is read of a ConfigMap.
pub(crate) fn compile(map: &ConfigMap) -> Authorities {
    let text = map.data.as_ref().and_then(|data| data.get(AUTHORITIES));
    let text = text.ok_or("it has no entry `ca.crt`")?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|_| "`ca.crt` holds something that is no certificate in PEM form")?;
    let mut store = RootCertStore::empty();
    let refused = all.iter().any(|it| store.add(it.clone()).is_err());
    match all.is_empty() || refused {
        true => Err("`ca.crt` holds no certificate of an authority in PEM form"),
        false => Ok(all.into()),
    }
}
