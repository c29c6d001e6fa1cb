//! What is at a URL, by one request of HTTP/1.1 on a connection of its own.
//!
//! Whoever may write a route says what is asked for: never what listens on the proxy's own host, nor what a
//! cloud offers to its machines. Redirects are not followed, as they lead elsewhere.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, HOST, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;

use super::Fetcher;
use crate::settings::Settings;

/// The longest set of keys that is read, in bytes.
const LONGEST: usize = 256 * 1024;

/// A client that asks for no address which the settings refuse.
pub(crate) struct Http {
    settings: Settings,
    /// Made when the first URL needs it: most installations have none.
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Http {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            tls: OnceLock::new(),
        }
    }

    /// One that knows others by these certificates alone.
    #[cfg(test)]
    pub(super) fn trusting(
        settings: Settings,
        roots: impl IntoIterator<Item = rustls_pki_types::CertificateDer<'static>>,
    ) -> Self {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots);
        Self {
            settings,
            tls: OnceLock::from(trusting(store)),
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let found = lookup_host((host, port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|_| format!("`{host}` has no address"))?
            .collect();
        let mut why = format!("`{host}` has no address");
        for address in found {
            if let Some(refusal) = self.settings.refusal(address.ip()) {
                why = refusal.to_owned();
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = format!("no connection: {}", error.kind()),
            }
        }
        Err(why)
    }

    fn tls(&self) -> Arc<ClientConfig> {
        let config = self.tls.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            trusting(roots)
        });
        Arc::clone(config)
    }
}

/// What a connection is secured by whose other side has a certificate of one of these.
fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

impl Fetcher for Http {
    async fn fetch(&self, url: &str) -> Result<String, String> {
        let url: Uri = url.parse().map_err(|_| "it is no URL")?;
        let secure = url.scheme_str() == Some("https");
        let host = url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = self.connect(host, port).await?;
        if !secure {
            return get(stream, &url).await;
        }
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| "its host cannot have a certificate")?;
        let connector = TlsConnector::from(self.tls());
        let stream = connector.connect(name, stream).await;
        get(stream.map_err(|error| format!("no TLS: {error}"))?, &url).await
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Uri,
) -> Result<String, String> {
    let failed = |_| "no answer of HTTP/1.1";
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let path = url.path_and_query().map_or("/", |it| it.as_str());
    let authority = url.authority().map_or("", |it| it.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, "ferrix")
        .body(Empty::<Bytes>::new())
        .map_err(|_| "it is no URL")?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| match error.is::<hyper::Error>() {
            true => "the answer has broken off".to_owned(),
            false => format!("the answer is longer than {LONGEST} bytes"),
        })?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| "the answer is no text".to_owned())
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // Whatever it has read is there still.
        _ = &mut connection => answer.await,
    }
}
