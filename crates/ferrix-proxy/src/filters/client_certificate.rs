//! Certificates of clients at work.
//!
//! TLS asks for one before the rule is known, by the name that the client gives, and verifies that the key is the
//! client's; whose certificate it is, and whether it lets pass, is judged here, by the authorities of the rule.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferrix_http1::RequestHead;
use ferrix_table::filters::client_certificate::{ClientCertificate, Detail};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::{client::ClientConnection, failure::Failure};

/// Lets a client pass that has a certificate. Returns whether it has one: it may be optional.
///
/// # Errors
/// [`Failure::CertificateRefused`]: it has none, or not a valid one. [`Failure::Misdirected`]: it was not asked, as
/// it gave another name. [`Failure::Unresolved`]: nobody knows the authorities.
pub(crate) fn check(
    filter: &ClientCertificate,
    connection: &ClientConnection,
    head: &mut RequestHead,
) -> Result<bool, Failure> {
    let authorities = filter.authorities();
    let authorities = authorities.map_err(|_| Failure::Unresolved)?;
    let Some(shown) = &connection.shown else {
        return match (connection.secure, filter.optional) {
            // Another connection is asked.
            (true, _) => Err(Failure::Misdirected),
            (false, true) => Ok(false),
            (false, false) => Err(Failure::CertificateRefused),
        };
    };
    let Some(certificate) = shown.certificate() else {
        return match filter.optional {
            true => Ok(false),
            false => Err(Failure::CertificateRefused),
        };
    };
    if !shown.is_valid(authorities) {
        return Err(Failure::CertificateRefused);
    }
    for header in &filter.headers {
        // What it does not have, no header tells.
        if let Some(value) = detail(header.detail, certificate) {
            head.fields.set(&header.header, value.as_bytes());
        }
    }
    Ok(true)
}

/// Something of a certificate, as a header can carry it.
fn detail(detail: Detail, der: &[u8]) -> Option<String> {
    match detail {
        Detail::Subject => subject(&parse(der)?),
        Detail::Names => {
            let names = names(&parse(der)?);
            let names = names
                .iter()
                .map(|(kind, name)| format!("{kind}:{}", plain(name, ",")));
            Some(names.collect::<Vec<_>>().join(",")).filter(|it| !it.is_empty())
        }
        Detail::Fingerprint => Some(fingerprint(der)),
        Detail::Certificate => Some(encoded(&pem(der))),
        Detail::ForwardedClientCert => forwarded(der),
    }
}

fn parse(der: &[u8]) -> Option<CertificateInner<Raw>> {
    CertificateInner::<Raw>::from_der(der).ok()
}

fn subject(certificate: &CertificateInner<Raw>) -> Option<String> {
    let subject = certificate.tbs_certificate().subject().to_string();
    (!subject.is_empty()).then(|| plain(&subject, ""))
}

/// Alternative names, each with its kind.
fn names(certificate: &CertificateInner<Raw>) -> Vec<(&'static str, String)> {
    let extension = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(names)))) = extension else {
        return Vec::new();
    };
    let names = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(("DNS", name.to_string())),
        GeneralName::UniformResourceIdentifier(uri) => Some(("URI", uri.to_string())),
        GeneralName::Rfc822Name(name) => Some(("email", name.to_string())),
        _ => None,
    });
    names.collect()
}

fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines = body.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

/// `Hash=…;Subject="…";URI=…;DNS=…`, as Envoy writes it.
fn forwarded(der: &[u8]) -> Option<String> {
    let certificate = parse(der)?;
    let mut text = format!("Hash={}", fingerprint(der));
    if let Some(subject) = subject(&certificate) {
        let subject = subject.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(text, ";Subject=\"{subject}\"");
    }
    for (kind, name) in names(&certificate) {
        if kind != "email" {
            let _ = write!(text, ";{kind}={}", plain(&name, ",;=\"\\"));
        }
    }
    Some(text)
}

/// A text with what no header can carry, `%` and `more` in the form of URLs.
fn plain(text: &str, more: &str) -> String {
    percent(text, |byte| {
        matches!(byte, b' '..=b'~') && byte != b'%' && !more.as_bytes().contains(&byte)
    })
}

/// The same of all but what URLs reserve for nothing (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    percent(text, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
    })
}

fn percent(text: &str, stays: impl Fn(u8) -> bool) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        match stays(byte) {
            true => text.push(char::from(byte)),
            false => _ = write!(text, "%{byte:02X}"),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn details_are_such_that_headers_can_carry_them() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Jörg \"Sons\", Inc.");
        name.push(DnType::CommonName, "a\r\nX-Admin: 1");
        let uri = "spiffe://example/a,URI:b;DNS=c".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let der = certificate.der();
        let all = [
            Detail::Subject,
            Detail::Names,
            Detail::Fingerprint,
            Detail::Certificate,
            Detail::ForwardedClientCert,
        ];
        let [subject, names, fingerprint, certificate, forwarded] =
            all.map(|it| detail(it, der).unwrap());
        for value in [&subject, &names, &fingerprint, &certificate, &forwarded] {
            assert!(value.bytes().all(|it| matches!(it, b' '..=b'~')), "{value}");
        }
        assert!(subject.contains("CN=a\\0d\\0aX-Admin: 1"), "{subject}");
        assert!(subject.contains("J%C3%B6rg"), "{subject}");
        assert_eq!(names, "DNS:a.example,URI:spiffe://example/a%2CURI:b;DNS=c");
        assert_eq!(fingerprint.len(), 64);
        assert!(certificate.starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
        assert!(certificate.ends_with("%0A-----END%20CERTIFICATE-----%0A"));
        let hash = format!("Hash={fingerprint};Subject=\"");
        assert!(forwarded.starts_with(&hash), "{forwarded}");
        let end = "\";DNS=a.example;URI=spiffe://example/a%2CURI:b%3BDNS%3Dc";
        assert!(forwarded.ends_with(end), "{forwarded}");
        for nothing in [Detail::Subject, Detail::Names, Detail::ForwardedClientCert] {
            assert_eq!(detail(nothing, b"nothing"), None);
        }
    }
}
