//! How connections to the endpoints of a Service are made, and how long they are kept, where its policy says
//! so. Whatever it leaves open is as the settings have it.

use std::{fmt, time::Duration};

use crate::{
    services::Scheme,
    verification::{Authorities, ClientCertificate, SubjectName},
};

/// How connections are made and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// What endpoints speak, where the route does not say so.
    pub protocol: Option<Scheme>,
    /// How endpoints are known over TLS.
    pub tls: Option<Box<BackendTls>>,
    /// Sockets.
    pub tcp: TcpOptions,
    /// Endpoints are told the client. Such a connection is for one request.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How old one may become. Never zero.
    pub max_age: Option<Duration>,
    /// How long one is kept that carries no request. Zero: not at all.
    pub idle_timeout: Option<Duration>,
}

/// How endpoints are known over TLS, and know Ferrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The name that is asked for, where the route names none. `None`: that of the Service.
    pub server_name: Option<Box<str>>,
    /// Those that certificates have to come from. None at all, where they cannot be had: then nobody is
    /// believed.
    pub authorities: Authorities,
    /// Names of which a certificate has to have one. Empty: the one that is asked for.
    pub names: Box<[SubjectName]>,
    /// What is presented to endpoints that ask for a certificate.
    pub client: Option<ClientCertificate>,
}

/// Sockets: `None` is as the settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// How long a connection may be still before the system asks whether the endpoint is there. In whole
    /// seconds, at least one.
    pub keep_alive_idle: Option<Duration>,
    /// Between two such questions. In whole seconds, at least one.
    pub keep_alive_interval: Option<Duration>,
    /// Questions without an answer before the connection is given up. At least 1.
    pub keep_alive_probes: Option<u8>,
    /// How long data may wait to be acknowledged (`TCP_USER_TIMEOUT`). Zero: as long as the system likes.
    pub user_timeout: Option<Duration>,
}

/// A version of the PROXY protocol (HAProxy, `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}

/// What it asks for, a line each, for a person.
impl ConnectionOptions {
    pub(crate) fn lines(&self) -> Vec<String> {
        let time = |name: &str, time: Option<Duration>| match time? {
            Duration::ZERO => Some(format!("{name}: 0s")),
            time => Some(format!("{name}: {time:?}")),
        };
        let protocol = self.protocol.map(|it| format!("protocol: {}", it.as_str()));
        let proxy_protocol = self
            .proxy_protocol
            .map(|it| format!("PROXY protocol: {it:?}"));
        let lines = [
            protocol,
            self.tls.as_ref().map(|tls| tls.to_string()),
            time("keep-alive after", self.tcp.keep_alive_idle),
            time("keep-alive every", self.tcp.keep_alive_interval),
            (self.tcp.keep_alive_probes).map(|it| format!("keep-alive probes: {it}")),
            time("unacknowledged data", self.tcp.user_timeout),
            proxy_protocol,
            time("age of connections", self.max_age),
            time("idle connections", self.idle_timeout),
        ];
        lines.into_iter().flatten().collect()
    }
}

impl fmt::Display for BackendTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS: ")?;
        match &self.authorities {
            Authorities::Anyone => f.write_str("any certificate")?,
            Authorities::OfSettings => f.write_str("by the authorities of the settings")?,
            Authorities::OfSystem => f.write_str("by the authorities of the system")?,
            Authorities::These(_) => f.write_str("by authorities of its own")?,
        }
        if let Some(name) = &self.server_name {
            write!(f, ", as {name}")?;
        }
        for name in &self.names {
            let (SubjectName::Dns(name) | SubjectName::Uri(name)) = name;
            write!(f, ", with the name {name}")?;
        }
        match &self.client {
            Some(ClientCertificate(client)) => write!(f, ", with the certificate {}", client.id),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_it() {
        let options = ConnectionOptions {
            protocol: Some(Scheme::Https),
            tls: Some(Box::new(BackendTls {
                server_name: Some("api.test".into()),
                authorities: Authorities::These([[1].into()].into()),
                names: [SubjectName::Uri("spiffe://a/b".into())].into(),
                client: None,
            })),
            tcp: TcpOptions {
                keep_alive_idle: Some(Duration::from_secs(30)),
                user_timeout: Some(Duration::ZERO),
                ..TcpOptions::default()
            },
            proxy_protocol: Some(ProxyProtocol::V2),
            max_age: Some(Duration::from_secs(600)),
            idle_timeout: None,
        };
        assert_eq!(
            options.lines(),
            [
                "protocol: https",
                "TLS: by authorities of its own, as api.test, with the name spiffe://a/b",
                "keep-alive after: 30s",
                "unacknowledged data: 0s",
                "PROXY protocol: V2",
                "age of connections: 600s",
            ]
        );
        assert_eq!(ConnectionOptions::default().lines(), [""; 0]);
    }
}
