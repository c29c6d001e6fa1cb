//! Authorities of clients, and what they have revoked, as an object has them in PEM.

use std::sync::Arc;

use ferrix_table::filters::client_certificate::ClientAuthorities;
use rustls::{crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};

use crate::{authorities, read::Read};

/// The entry with what they have revoked.
pub(crate) const REVOCATIONS: &str = "ca.crl";

/// Reads authorities, and lists of what they have revoked. Where there are lists, a certificate that none is
/// about is not valid, nor is any once its list is out of date: whoever revokes means it.
pub(crate) fn parse(entry: Option<&[u8]>, revocations: Option<&[u8]>) -> Read<ClientAuthorities> {
    let authorities = authorities::parse(entry)?;
    let roots = authorities::roots(&authorities)?;
    let lists = revocations.unwrap_or_default();
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(lists).collect();
    let lists =
        lists.map_err(|_| "`ca.crl` holds something that is no revocation list in PEM form")?;
    if revocations.is_some() && lists.is_empty() {
        return Err("`ca.crl` holds no revocation list in PEM form".to_owned());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(lists.iter().cloned())
        .only_check_end_entity_revocation()
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| format!("`ca.crl` cannot be used: {error}"))?;
    let authorities = ClientAuthorities {
        authorities: authorities.to_vec().into(),
        revocations: lists.into(),
        verifier,
    };
    Ok((Arc::new(authorities), Vec::new()))
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
    };

    use super::*;

    #[test]
    fn authorities_and_lists_are_read_or_told_of() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).unwrap().pem().unwrap();
        let authority = issuer.as_ref().pem();
        let two = authority.repeat(2);
        let good = [
            (&authority, None),
            (&authority, Some(&list)),
            (&two, Some(&list)),
        ];
        for (authorities, lists) in good {
            let lists = lists.map(|it| it.as_bytes());
            let (read, _) = parse(Some(authorities.as_bytes()), lists).unwrap();
            assert_eq!(read.revocations.len(), usize::from(lists.is_some()));
        }
        let bad = [
            (None, None, "it has no entry `ca.crt`"),
            (Some(""), None, "no certificate of an authority"),
            (Some("text"), None, "no certificate of an authority"),
            (Some(&*list), None, "no certificate of an authority"),
            (
                Some(&*authority),
                Some(""),
                "`ca.crl` holds no revocation list",
            ),
            (
                Some(&*authority),
                Some(&*authority),
                "`ca.crl` holds no revocation list",
            ),
        ];
        for (authorities, lists, expected) in bad {
            let read = parse(authorities.map(str::as_bytes), lists.map(str::as_bytes));
            let why = read.unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert_eq!((good.len(), bad.len()), (3, 6));
    }
}
