//! Authorities of certificates, as the entry `ca.crt` of an object has them in PEM.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The entry.
pub(crate) const ENTRY: &str = "ca.crt";

/// Those of an object, or why it has none, in a sentence.
pub(crate) type Authorities = Result<Arc<[CertificateDer<'static>]>, &'static str>;

/// Reads the entry.
pub(crate) fn parse(entry: Option<&[u8]>) -> Authorities {
    let pem = entry.ok_or("it has no entry `ca.crt`")?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|_| "`ca.crt` holds something that is no certificate in PEM form")?;
    if all.is_empty() {
        return Err("`ca.crt` holds no certificate of an authority in PEM form");
    }
    roots(&all)?;
    Ok(all.into())
}

/// What certificates are verified by that come from authorities.
pub(crate) fn roots(
    authorities: &[CertificateDer<'static>],
) -> Result<RootCertStore, &'static str> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let unusable = |_| "`ca.crt` holds a certificate that cannot be one of an authority";
        roots.add(authority.clone()).map_err(unusable)?;
    }
    Ok(roots)
}
