//! The data plane in a process of its own.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
};

use ferrix_e2e::{Gateway, Routes, certificates::Authority, kill_on_drop::KillOnDrop, within};
use ferrix_table::services::Protocol;
use rustls::ClientConfig;

use crate::backend::Speaks;

/// Says to the child how backends are spoken to and where.
const PROTOCOL: &str = "FERRIX_TEST_PROTOCOL";
const BACKEND: &str = "FERRIX_TEST_BACKEND";

/// What the child's line begins with.
const READY: &str = "serving ";

/// A running data plane.
pub struct Process {
    child: KillOnDrop,
    /// Where plain HTTP is served.
    pub web: SocketAddr,
    /// Where HTTPS is served.
    pub websecure: SocketAddr,
}

impl Process {
    /// Starts it before this backend.
    pub async fn start(speaks: Speaks, backend: SocketAddr) -> Self {
        let protocol = match speaks {
            Speaks::Http1 | Speaks::Http1Chunked => "http1",
            Speaks::Http2 => "h2c",
            Speaks::Http1Tls | Speaks::Http2Tls => "tls",
        };
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "serve", "--ignored", "--nocapture"])
            .env(PROTOCOL, protocol)
            .env(BACKEND, backend.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let starting = tokio::task::spawn_blocking(move || {
            // The test harness may have begun the line.
            let addresses = lines.find_map(|line| {
                let line = line.unwrap();
                line.split_once(READY)
                    .map(|(_, addresses)| addresses.to_owned())
            });
            addresses.expect("a running data plane")
        });
        let addresses = within("the data plane to start", starting).await.unwrap();
        let (web, websecure) = addresses.split_once(' ').unwrap();
        Self {
            child: KillOnDrop(child),
            web: web.parse().unwrap(),
            websecure: websecure.parse().unwrap(),
        }
    }

    /// Bytes of memory that are its own.
    pub fn memory(&self) -> usize {
        let id = self.child.0.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes.unwrap().parse::<usize>().unwrap() * 1024
    }
}

/// What the child does.
pub async fn serve() {
    let (Ok(protocol), Ok(backend)) = (env::var(PROTOCOL), env::var(BACKEND)) else {
        return;
    };
    let protocol = match &*protocol {
        "http1" => Protocol::Http1,
        "h2c" => Protocol::Http2,
        _ => Protocol::Tls {
            server_name: "example.com".into(),
        },
    };
    let certified = Authority::new().certify("a", &["example.com"]);
    let routes = Routes::all_by(protocol, &[backend.parse().unwrap()]);
    let routes = routes.certificate(&["example.com"], &certified);
    // A backend that reads nothing is not given up: opening many messages may take a while.
    let settings = "upstream: {tls: {verify: false}, tcp: {user_timeout: 10m}}";
    let gateway = Gateway::start_with(settings, routes);
    println!("{READY}{} {}", gateway.web, gateway.websecure);
    // Until the parent ends it.
    std::future::pending::<()>().await;
}

/// A TLS client that takes any certificate.
pub fn trusting(alpn: &str) -> Arc<ClientConfig> {
    let mut config = Authority::new().client(&[alpn]);
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(anyone::Anyone));
    Arc::new(config)
}

mod anyone {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub struct Anyone;

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
            algorithms.supported_schemes()
        }
    }
}
