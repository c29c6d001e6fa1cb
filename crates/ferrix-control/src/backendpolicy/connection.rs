//! Connections, as they are written.

use std::time::Duration;

use ferrix_api::backendpolicy::{
    self, BackendProtocol, BackendTls, ProxyProtocol, SubjectAltName, Tcp, WellKnownAuthorities,
};
use ferrix_table::{
    connection::{self, ConnectionOptions, TcpOptions},
    services::Scheme,
    verification::{Authorities, SubjectName},
};
use rustls_pki_types::ServerName;

use crate::{
    draft::NamedByTls,
    field::Field,
    filters::{Faults, policy},
    names::shared_name,
    objects::Kind,
    report::Reason,
};

const FIELD: &str = "spec.connection";

/// The longest time of a socket's keep-alive: the system counts seconds in 15 bits.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(32_767);

/// The longest that data may be unacknowledged.
const LONGEST_USER_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// A connection that may not become as old as this is made for nearly each request.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// What is written, and the objects that it names.
pub(super) fn compile(
    written: &backendpolicy::Connection,
    namespace: &str,
    faults: &mut Faults,
) -> (ConnectionOptions, Option<Box<NamedByTls>>) {
    // A field that is new belongs in here.
    let backendpolicy::Connection {
        protocol,
        tls,
        tcp,
        proxy_protocol,
        max_age,
        idle_timeout,
    } = written;
    if let (Some(BackendProtocol::Http1 | BackendProtocol::H2c), Some(_)) = (protocol, tls) {
        let message = "is in plain text, and cannot be had with `tls`; expected `HTTPS`";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.protocol"), message);
    }
    let protocol = match (protocol, tls) {
        (None, None) => None,
        (Some(BackendProtocol::Http1), _) => Some(Scheme::Http),
        (Some(BackendProtocol::H2c), _) => Some(Scheme::H2c),
        (Some(BackendProtocol::Https), _) | (None, Some(_)) => Some(Scheme::Https),
    };
    let max_age = time(max_age.as_deref(), "maxAge", faults);
    if max_age.is_some_and(|age| age < LEAST_AGE) {
        let message = "expected a second (`1s`) at least";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.maxAge"), message);
    }
    let options = ConnectionOptions {
        protocol,
        tls: tls.as_ref().map(|tls| Box::new(self::tls(tls, faults))),
        tcp: (tcp.as_ref()).map_or_else(TcpOptions::default, |tcp| self::tcp(tcp, faults)),
        proxy_protocol: proxy_protocol.map(|version| match version {
            ProxyProtocol::V1 => connection::ProxyProtocol::V1,
            ProxyProtocol::V2 => connection::ProxyProtocol::V2,
        }),
        max_age,
        idle_timeout: time(idle_timeout.as_deref(), "idleTimeout", faults),
    };
    let named = tls.as_ref().and_then(|tls| named(tls, namespace, faults));
    (options, named.map(Box::new))
}

/// Authorities and the certificate that is presented are those of other objects.
fn tls(written: &BackendTls, faults: &mut Faults) -> connection::BackendTls {
    // A field that is new belongs in here, or to what is `named`.
    let BackendTls {
        server_name,
        ca_certificate_refs,
        well_known_ca_certificates,
        subject_alt_names,
        client_certificate_ref: _,
        insecure_skip_verify,
    } = written;
    let mut refuse = |field: &str, message: String| {
        faults.add(Reason::InvalidSpec, format!("{FIELD}.tls.{field}"), message);
    };
    if let Some(name) = server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        refuse("serverName", format!("`{name}` is no host name"));
    }
    let by_references = !ca_certificate_refs.is_empty();
    let kinds = [
        ("insecureSkipVerify", *insecure_skip_verify),
        ("caCertificateRefs", by_references),
        (
            "wellKnownCACertificates",
            well_known_ca_certificates.is_some(),
        ),
    ];
    let mut given = kinds.into_iter().filter(|(_, given)| *given);
    if let (Some((first, _)), Some((second, _))) = (given.next(), given.next()) {
        refuse(second, format!("cannot be had with `{first}`"));
    }
    let authorities = match well_known_ca_certificates {
        _ if *insecure_skip_verify => Authorities::Anyone,
        // They are looked up.
        _ if by_references => Authorities::These(Box::default()),
        Some(WellKnownAuthorities::System) => Authorities::OfSystem,
        None => Authorities::OfSettings,
    };
    if !subject_alt_names.is_empty()
        && matches!(authorities, Authorities::Anyone | Authorities::OfSettings)
    {
        let message = "needs `caCertificateRefs` or `wellKnownCACertificates`";
        refuse("subjectAltNames", message.to_owned());
    }
    let mut names = Vec::with_capacity(subject_alt_names.len());
    for (place, SubjectAltName { hostname, uri }) in subject_alt_names.iter().enumerate() {
        match (hostname, uri) {
            (Some(host), None) => names.push(SubjectName::Dns(host.as_str().into())),
            (None, Some(uri)) => names.push(SubjectName::Uri(uri.as_str().into())),
            _ => refuse(
                &format!("subjectAltNames[{place}]"),
                "expected exactly one of `hostname` and `uri`".to_owned(),
            ),
        }
    }
    connection::BackendTls {
        server_name: server_name.as_deref().map(Into::into),
        authorities,
        names: names.into(),
        client: None,
    }
}

fn named(written: &BackendTls, namespace: &str, faults: &mut Faults) -> Option<NamedByTls> {
    let mut authorities = Vec::new();
    for (place, reference) in written.ca_certificate_refs.iter().enumerate() {
        let field = Field::new("spec.connection.tls.caCertificateRefs[]", [place]);
        let kind = match reference.kind.as_deref() {
            None | Some("ConfigMap") => Kind::ConfigMap,
            Some("Secret") => Kind::Secret,
            Some(kind) => {
                let message = format!("authorities are in ConfigMaps and Secrets, not in a {kind}");
                faults.add(Reason::UnsupportedValue, format!("{field}.kind"), message);
                continue;
            }
        };
        let name = shared_name(namespace, &reference.name);
        authorities.push((field, name.key(kind)));
    }
    let client = written.client_certificate_ref.as_ref();
    let client = client.map(|reference| shared_name(namespace, &reference.name));
    let names_any = !authorities.is_empty() || client.is_some();
    names_any.then(|| NamedByTls {
        authorities: authorities.into(),
        client,
    })
}

fn tcp(written: &Tcp, faults: &mut Faults) -> TcpOptions {
    // A field that is new belongs in here.
    let Tcp {
        keep_alive_idle,
        keep_alive_interval,
        keep_alive_probes,
        user_timeout,
    } = written;
    if keep_alive_probes.is_some_and(|probes| !(1..=127).contains(&probes)) {
        let field = format!("{FIELD}.tcp.keepAliveProbes");
        faults.add(Reason::InvalidSpec, field, "expected 1 to 127");
    }
    let mut seconds = |text: &Option<String>, name: &str| {
        let field = format!("tcp.{name}");
        let time = time(text.as_deref(), &field, faults)?;
        let is_whole = time.subsec_nanos() == 0 && !time.is_zero();
        if !is_whole || time > LONGEST_KEEP_ALIVE {
            let message = "expected whole seconds, from `1s` to `32767s`";
            faults.add(Reason::InvalidSpec, format!("{FIELD}.{field}"), message);
        }
        Some(time)
    };
    let (idle, interval) = (
        seconds(keep_alive_idle, "keepAliveIdle"),
        seconds(keep_alive_interval, "keepAliveInterval"),
    );
    let user_timeout = time(user_timeout.as_deref(), "tcp.userTimeout", faults);
    if user_timeout.is_some_and(|timeout| timeout > LONGEST_USER_TIMEOUT) {
        let field = format!("{FIELD}.tcp.userTimeout");
        faults.add(Reason::InvalidSpec, field, "expected a day (`24h`) at most");
    }
    TcpOptions {
        keep_alive_idle: idle,
        keep_alive_interval: interval,
        keep_alive_probes: *keep_alive_probes,
        user_timeout,
    }
}

fn time(text: Option<&str>, field: &str, faults: &mut Faults) -> Option<Duration> {
    policy::duration(text?, &format!("{FIELD}.{field}"), faults)
}
