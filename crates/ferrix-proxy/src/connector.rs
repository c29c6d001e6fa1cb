//! Opens connections to backends, by Pingora's connector.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use ferrix_table::{connection::TcpOptions, services::Protocol, verification::Verification};
use pingora_core::{
    connectors::{ConnectorOptions, TransportConnector},
    protocols::{TcpKeepalive, l4::socket},
    upstreams::peer::{Peer, PeerOptions},
};
use rustix::io::Errno;
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::io::AsyncWriteExt;

use crate::{
    settings::UpstreamTcp,
    transport::{self, Stream},
    trust,
    upstream::Wanted,
};

/// What Pingora reads as the file of the authorities that its own TLS trusts. That TLS is not used, and
/// would otherwise load the system's authorities, and panic where one of them is broken.
const NO_AUTHORITIES: &str = "/dev/null";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Pingora(Box<pingora_core::Error>),
    #[error("timed out")]
    Timeout,
    /// Too many connections are open, and none was closed in time.
    #[error("no connection is free")]
    Busy,
    /// The current table has the endpoint no more.
    #[error("the endpoint is gone")]
    Gone,
    #[error("HTTP/2 handshake: {0}")]
    Http2(#[from] h2::Error),
    #[error("invalid TLS server name {0:?}")]
    ServerName(String),
}

impl From<Box<pingora_core::Error>> for ConnectError {
    /// What the system said is all that there is to say, where it said something.
    fn from(error: Box<pingora_core::Error>) -> Self {
        let cause = error.root_cause().downcast_ref::<io::Error>();
        match cause.and_then(io::Error::raw_os_error) {
            Some(code) => Self::Io(io::Error::from_raw_os_error(code)),
            None => Self::Pingora(error),
        }
    }
}

impl ConnectError {
    /// Whether it tells of the endpoint. This machine may be short of something instead.
    pub(crate) fn is_of_endpoint(&self) -> bool {
        match self {
            Self::Busy | Self::Gone => false,
            Self::Io(error) => !matches!(
                Errno::from_io_error(error),
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
            ),
            Self::Pingora(_) | Self::Timeout | Self::Http2(_) | Self::ServerName(_) => true,
        }
    }
}

/// Opens connections to backends.
#[derive(Clone)]
pub(crate) struct Connector {
    transport: Arc<TransportConnector>,
    options: Arc<PeerOptions>,
    /// Where the settings say how backends are verified.
    tls: Configs,
}

/// How TLS is spoken to a backend.
#[derive(Clone)]
struct Configs {
    any: Arc<ClientConfig>,
    /// The same, but without HTTP/2: for upgrades.
    http1: Arc<ClientConfig>,
}

impl Configs {
    fn new(tls: &ClientConfig) -> Self {
        let with_alpn = |protocols: &[&[u8]]| {
            let mut config = tls.clone();
            config.max_fragment_size = Some(transport::RECORD);
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self {
            any: with_alpn(&[b"h2", b"http/1.1"]),
            http1: with_alpn(&[b"http/1.1"]),
        }
    }

    /// As an object says, where these are those of the settings. Made once for each version of it.
    fn verified(&self, verification: &Verification) -> Result<Self, ConnectError> {
        let made = || trust::verified(verification, &self.any).map(|config| Self::new(&config));
        let made = verification.prepared.get_or_make(made);
        match made.as_deref() {
            Some(Ok(configs)) => Ok(configs.clone()),
            Some(Err(_)) | None => {
                Err(io::Error::other("what verifies the backend cannot be used").into())
            }
        }
    }
}

impl Connector {
    pub(crate) fn new(settings: &UpstreamTcp, tls: &ClientConfig) -> Self {
        // Pingora makes ring the provider of the process, unless there is one already.
        let _ = aws_lc_rs::default_provider().install_default();
        Self {
            transport: Arc::new(TransportConnector::new(Some(connector_options(settings)))),
            options: Arc::new(peer_options(settings)),
            tls: Configs::new(tls),
        }
    }

    /// A new connection, what the endpoint is told of the client and TLS included.
    ///
    /// The caller limits the time, by a timer of the runtime: Pingora's own, for the timeouts of a
    /// peer, starts a thread that ticks every 10 ms.
    pub(crate) async fn open(
        &self,
        address: SocketAddr,
        protocol: &Protocol,
        wanted: &Wanted,
        tcp: Option<&TcpOptions>,
    ) -> Result<Stream, ConnectError> {
        let peer = Backend {
            address: address.into(),
            options: match tcp {
                Some(tcp) if *tcp != TcpOptions::default() => with(tcp, &self.options),
                _ => Arc::clone(&self.options),
            },
        };
        let mut stream = self.transport.new_stream(&peer).await?;
        if let Some(introduction) = &wanted.introduction {
            stream.write_all(&introduction.header()?).await?;
            stream.flush().await?;
        }
        let (server_name, configs) = match protocol {
            Protocol::Tls { server_name } => (server_name, self.tls.clone()),
            Protocol::Verified(verification) => {
                (&verification.server_name, self.tls.verified(verification)?)
            }
            Protocol::Http1 | Protocol::Http2 | Protocol::Tcp | Protocol::Udp => {
                return Ok(stream);
            }
        };
        let name = ServerName::try_from(server_name.to_string())
            .map_err(|_| ConnectError::ServerName(server_name.to_string()))?;
        let config = if wanted.upgrade {
            &configs.http1
        } else {
            &configs.any
        };
        let stream = transport::plain(stream);
        let stream = stream.expect("Pingora opens a plain stream to a peer without TLS");
        Ok(Box::new(transport::connect(config, name, *stream).await?))
    }
}

fn connector_options(settings: &UpstreamTcp) -> ConnectorOptions {
    let addresses = settings.source_addresses.iter();
    let (v4, v6) = addresses
        .map(|address| SocketAddr::new(*address, 0))
        .partition(SocketAddr::is_ipv4);
    // No connection is given back to Pingora's pool.
    let mut options = ConnectorOptions::new(0);
    options.ca_file = Some(NO_AUTHORITIES.into());
    options.bind_to_v4 = v4;
    options.bind_to_v6 = v6;
    options
}

/// A peer that vanished without a word is noticed while data is underway (`TCP_USER_TIMEOUT`) and
/// while nothing is (keep-alive probes).
fn peer_options(settings: &UpstreamTcp) -> PeerOptions {
    let mut options = PeerOptions::new();
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: settings.keep_alive_idle,
        interval: settings.keep_alive_interval,
        count: settings.keep_alive_probes,
        #[cfg(target_os = "linux")]
        user_timeout: settings.user_timeout,
    });
    options.tcp_fast_open = settings.fast_open;
    options.dscp = (settings.dscp > 0).then_some(settings.dscp);
    let buffer = usize::try_from(settings.receive_buffer.as_u64()).unwrap_or(usize::MAX);
    options.tcp_recv_buf = (buffer > 0).then_some(buffer);
    options
}

/// The same, as far as a policy does not say otherwise.
fn with(tcp: &TcpOptions, of_settings: &PeerOptions) -> Arc<PeerOptions> {
    // A field that is new belongs in here.
    let TcpOptions {
        keep_alive_idle,
        keep_alive_interval,
        keep_alive_probes,
        user_timeout,
    } = tcp;
    let mut options = of_settings.clone();
    if let Some(keep_alive) = &mut options.tcp_keepalive {
        keep_alive.idle = keep_alive_idle.unwrap_or(keep_alive.idle);
        keep_alive.interval = keep_alive_interval.unwrap_or(keep_alive.interval);
        keep_alive.count = keep_alive_probes.map_or(keep_alive.count, usize::from);
        #[cfg(target_os = "linux")]
        {
            keep_alive.user_timeout = user_timeout.unwrap_or(keep_alive.user_timeout);
        }
    }
    Arc::new(options)
}

/// A backend, for Pingora. TLS is not Pingora's to begin: see [`transport::connect`].
#[derive(Clone)]
struct Backend {
    address: socket::SocketAddr,
    options: Arc<PeerOptions>,
}

impl Peer for Backend {
    fn address(&self) -> &socket::SocketAddr {
        &self.address
    }

    fn tls(&self) -> bool {
        false
    }

    fn sni(&self) -> &str {
        ""
    }

    /// For Pingora's pool, which is not used.
    fn reuse_hash(&self) -> u64 {
        0
    }

    fn get_peer_options(&self) -> Option<&PeerOptions> {
        Some(&self.options)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_policy_has_the_last_word_on_each_option() {
        let seconds = Duration::from_secs;
        let some = TcpOptions {
            keep_alive_interval: Some(seconds(7)),
            user_timeout: Some(seconds(20)),
            ..TcpOptions::default()
        };
        let all = TcpOptions {
            keep_alive_idle: Some(seconds(61)),
            keep_alive_interval: Some(seconds(11)),
            keep_alive_probes: Some(4),
            user_timeout: Some(Duration::ZERO),
        };
        let cases = [
            (TcpOptions::default(), (15, 5, 9, 5)),
            (some, (15, 7, 9, 20)),
            (all, (61, 11, 4, 0)),
        ];
        let of_settings = peer_options(&UpstreamTcp::default());
        for (tcp, expected) in cases {
            let options = with(&tcp, &of_settings);
            let is = options.tcp_keepalive.as_ref().unwrap();
            let is = (
                is.idle.as_secs(),
                is.interval.as_secs(),
                is.count,
                is.user_timeout.as_secs(),
            );
            assert_eq!(is, expected);
        }
    }

    #[test]
    fn what_this_machine_lacks_is_no_endpoints_fault() {
        let io = |error: Errno| ConnectError::from(io::Error::from(error));
        let cases = [
            (io(Errno::CONNREFUSED), true),
            (io(Errno::HOSTUNREACH), true),
            // All ports towards this endpoint are in use, and none towards others.
            (io(Errno::ADDRNOTAVAIL), true),
            (io(Errno::MFILE), false),
            (io(Errno::NFILE), false),
            (io(Errno::NOBUFS), false),
            (io(Errno::NOMEM), false),
            (
                io::Error::other("a certificate that is not trusted").into(),
                true,
            ),
            (ConnectError::Timeout, true),
            (ConnectError::Busy, false),
            (ConnectError::Gone, false),
        ];
        for (error, of_endpoint) in &cases {
            assert_eq!(error.is_of_endpoint(), *of_endpoint, "{error}");
        }
        assert_eq!(cases.len(), 11);
    }
}
