//! The whole program on a folder of manifests.

use std::{fs, net::SocketAddr, time::Duration};

use ferrix::{Program, Settings};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::client::TlsStream;

use crate::{Client, within};

/// Ferrix with its control plane, on ports of its own.
pub struct Manifests {
    /// The running program.
    pub program: Program,
    /// Where plain HTTP is served.
    pub web: SocketAddr,
    /// Where HTTPS is served.
    pub websecure: SocketAddr,
    folder: TempDir,
    generation: watch::Receiver<u64>,
}

impl Manifests {
    /// Starts on a folder with this one file, and with settings in YAML beside those for sockets.
    ///
    /// # Panics
    /// Where Ferrix does not start.
    pub async fn start(manifests: &str, settings: &str) -> Self {
        Self::start_from("", manifests, settings).await
    }

    /// The same with these settings of the source besides, each with a comma before it.
    ///
    /// # Panics
    /// Where Ferrix does not start.
    pub async fn start_from(source: &str, manifests: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("all.yaml"), manifests).unwrap();
        let text = format!(
            "entry_points:\n\
             - {{name: web, address: 127.0.0.1, port: 0}}\n\
             - {{name: websecure, address: 127.0.0.1, port: 0, secure: true}}\n\
             admin: {{address: '127.0.0.1:0'}}\n\
             source: {{files: {{path: '{}'}}{source}}}\n\
             {settings}\n",
            folder.path().display()
        );
        let mut settings = Settings::parse("settings of a test", &text).unwrap();
        settings.proxy.server.threads = 2;
        settings.proxy.server.drain_delay = Duration::ZERO;
        let program = Program::start(settings).await.unwrap();
        let mut generation = program.generation();
        generation.mark_unchanged();
        Self {
            web: program.address("web").unwrap(),
            websecure: program.address("websecure").unwrap(),
            program,
            folder,
            generation,
        }
    }

    /// Writes a file as editors and volumes do, by renaming it into place, and waits for the next
    /// generation.
    pub async fn apply(&mut self, file: &str, manifests: &str) {
        self.generation.mark_unchanged();
        self.write(file, manifests);
        within("a new generation", self.generation.changed())
            .await
            .unwrap();
    }

    /// Writes a file and does not wait.
    ///
    /// # Panics
    /// Where that fails.
    pub fn write(&self, file: &str, manifests: &str) {
        let whole = self.folder.path().join(file);
        let part = self.folder.path().join(format!(".{file}.part"));
        fs::write(&part, manifests).unwrap();
        fs::rename(part, whole).unwrap();
    }

    /// Removes a file and waits for the next generation.
    ///
    /// # Panics
    /// Where there is no such file.
    pub async fn remove(&mut self, file: &str) {
        self.generation.mark_unchanged();
        fs::remove_file(self.folder.path().join(file)).unwrap();
        within("a new generation", self.generation.changed())
            .await
            .unwrap();
    }

    /// Waits until the report of the objects says this.
    pub async fn reported(&self, text: &str) {
        let mut reports = self.program.reports();
        let said = reports.wait_for(|report| report.to_string().contains(text));
        if tokio::time::timeout(crate::PATIENCE, said).await.is_err() {
            panic!(
                "the report does not say {text:?}: {}",
                self.program.report()
            );
        }
    }

    /// A plain HTTP/1 client.
    pub async fn client(&self) -> Client {
        Client::connect(self.web).await
    }

    /// A TLS connection for this name.
    pub async fn tls(
        &self,
        config: &ClientConfig,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        crate::gateway::tls(self.websecure, config, name).await
    }
}

/// A Service `default/NAME` with port 80, and its EndpointSlice with these addresses, which are
/// all of one port each: a slice for every address.
pub fn service(name: &str, endpoints: &[SocketAddr]) -> String {
    let mut text = format!(
        "---\n\
         apiVersion: v1\n\
         kind: Service\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec: {{ports: [{{name: http, port: 80}}]}}\n"
    );
    for (index, endpoint) in endpoints.iter().enumerate() {
        text.push_str(&format!(
            "---\n\
             apiVersion: discovery.k8s.io/v1\n\
             kind: EndpointSlice\n\
             metadata:\n  \
               name: {name}-{index}\n  \
               namespace: default\n  \
               labels: {{kubernetes.io/service-name: {name}}}\n\
             addressType: IPv4\n\
             ports: [{{name: http, port: {}}}]\n\
             endpoints: [{{addresses: ['{}'], conditions: {{ready: true}}}}]\n",
            endpoint.port(),
            endpoint.ip(),
        ));
    }
    text
}

/// An IngressRoute `default/NAME` on `web` for this host: one rule, to this service.
pub fn route(name: &str, host: &str, matches: &str, service: &str) -> String {
    format!(
        "---\n\
         apiVersion: ferrix.com/v1\n\
         kind: IngressRoute\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec:\n  \
           entrypoint: web\n  \
           route:\n    \
             host: {host}\n    \
             rules:\n    \
             - matches: {matches}\n      \
               service: {{name: {service}, port: 80}}\n"
    )
}

/// A Secret `default/NAME` of type `kubernetes.io/tls`.
pub fn secret(name: &str, certificate_pem: &str, key_pem: &str) -> String {
    let indented = |text: &str| text.trim_end().replace('\n', "\n    ");
    format!(
        "---\n\
         apiVersion: v1\n\
         kind: Secret\n\
         metadata: {{name: {name}, namespace: default}}\n\
         type: kubernetes.io/tls\n\
         stringData:\n  \
           tls.crt: |\n    {}\n  \
           tls.key: |\n    {}\n",
        indented(certificate_pem),
        indented(key_pem),
    )
}
