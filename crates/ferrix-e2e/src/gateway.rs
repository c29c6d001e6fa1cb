//! A running data plane on ports of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use ferrix_proxy::{
    Bound, Proxy,
    access_log::{self, Record},
    counters::{Counters, EntryPointCounters},
    failure::Failure,
    replicas::Peers,
    settings::{EntryPoint, Settings},
};
use ferrix_table::{Publisher, Table, publish, table};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Client, Http2Client, Manifests, Routes, within};

/// The data plane with tables made by hand.
pub struct Gateway {
    proxy: Proxy,
    publisher: Mutex<Publisher>,
    entry_points: Mutex<Vec<table::EntryPoint>>,
    /// Where plain HTTP is served.
    pub web: SocketAddr,
    /// Where HTTPS is served.
    pub websecure: SocketAddr,
}

impl Gateway {
    /// Starts with the default settings, but one worker.
    pub fn start(routes: Routes) -> Self {
        Self::start_with("{}", routes)
    }

    /// Starts with settings of the data plane, in YAML.
    pub fn start_with(settings: &str, routes: Routes) -> Self {
        Self::start_behind("[]", settings, routes)
    }

    /// Starts on entry points where these networks (a YAML list) speak the PROXY protocol.
    ///
    /// # Panics
    /// Where the settings are not valid.
    pub fn start_behind(proxy_protocol: &str, settings: &str, routes: Routes) -> Self {
        Self::build(proxy_protocol, settings, routes, None)
    }

    /// Starts with an access log, which the test reads.
    pub fn start_logged(routes: Routes) -> (Self, mpsc::Receiver<Record>) {
        Self::start_logged_with("{}", routes)
    }

    /// The same with settings of the data plane, in YAML.
    pub fn start_logged_with(settings: &str, routes: Routes) -> (Self, mpsc::Receiver<Record>) {
        let (sender, records) = access_log::channel(10_000);
        (Self::build("[]", settings, routes, Some(sender)), records)
    }

    fn build(
        proxy_protocol: &str,
        settings: &str,
        routes: Routes,
        access_log: Option<access_log::Sender>,
    ) -> Self {
        let mut settings: Settings = serde_yaml_ng::from_str(settings).unwrap();
        if settings.server.threads == 0 {
            // Each worker has connections of its own to backends, and tests count these.
            settings.server.threads = 1;
        }
        settings.loopback_servers = true;
        let entry_point = |name: &str, secure: bool| -> EntryPoint {
            let text = format!(
                "{{name: {name}, port: 0, secure: {secure}, proxy_protocol: {proxy_protocol}}}"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        let entry_points = [entry_point("web", false), entry_point("websecure", true)];
        let entry_points = entry_points.each_ref().map(Into::into);
        let (publisher, reader) = publish::channel();
        let publisher = Mutex::new(publisher);
        publish_at(&publisher, &entry_points, routes);
        let proxy = Bound::new(&entry_points, settings, reader, access_log).unwrap();
        let proxy = proxy.serve().unwrap();
        // As in a cluster: the sockets are for both families of addresses, clients use IPv4.
        let address = |index: usize| {
            let listening = proxy.addresses()[index].1;
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listening.port())
        };
        Self {
            web: address(0),
            websecure: address(1),
            proxy,
            publisher,
            entry_points: Mutex::new(entry_points.into()),
        }
    }

    /// The whole program instead, on a folder with these manifests.
    pub async fn from_manifests(manifests: &str, settings: &str) -> Manifests {
        Manifests::start(manifests, settings).await
    }

    /// Makes another table current. Requests that begin after this see it.
    pub fn publish(&self, routes: Routes) -> u64 {
        publish_at(&self.publisher, &self.entry_points.lock().unwrap(), routes)
    }

    /// The same on other entry points: these are listened on when it returns, as far as they can be.
    pub fn publish_on(&self, entry_points: Vec<table::EntryPoint>, routes: Routes) -> u64 {
        *self.entry_points.lock().unwrap() = entry_points;
        let generation = self.publish(routes);
        self.proxy.follow();
        generation
    }

    /// Where an entry point listens; `None`: it does not.
    pub fn address(&self, entry_point: &str) -> Option<SocketAddr> {
        let all = self.proxy.addresses();
        let (_, address) = all.into_iter().find(|(name, _)| name == entry_point)?;
        Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()))
    }

    /// The table that is current.
    pub fn table(&self) -> Arc<Table> {
        self.publisher.lock().unwrap().current()
    }

    /// A plain HTTP/1 client.
    pub async fn client(&self) -> Client {
        Client::connect(self.web).await
    }

    /// A plain HTTP/2 client, by prior knowledge.
    pub async fn http2(&self) -> Http2Client {
        let stream = TcpStream::connect(self.web).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Http2Client::new(stream, "http").await
    }

    /// A TLS connection for this name.
    pub async fn tls(
        &self,
        config: &ClientConfig,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        tls(self.websecure, config, name).await
    }

    /// An HTTP/1 client over TLS.
    pub async fn tls_client(&self, config: &ClientConfig, name: &str) -> Client {
        Client::new(self.tls(config, name).await.expect("a TLS handshake"))
    }

    /// An HTTP/2 client over TLS.
    pub async fn tls_http2(&self, config: &ClientConfig, name: &str) -> Http2Client {
        let stream = self.tls(config, name).await.expect("a TLS handshake");
        Http2Client::new(stream, "https").await
    }

    /// Ends serving, as at SIGTERM. Returns how many connections were left after `limit`.
    pub fn drain(&self, limit: Duration) -> impl Future<Output = usize> + Send + use<> {
        self.proxy.drain(limit)
    }

    /// What is counted.
    pub fn counters(&self) -> Arc<Counters> {
        self.proxy.counters()
    }

    /// The replicas that count limits together.
    pub fn peers(&self) -> Option<Arc<Peers>> {
        self.proxy.peers()
    }

    /// Waits until so many requests on the plain entry point have failed in this way.
    pub async fn failed(&self, name: &str, times: u64) {
        let index = Failure::NAMES
            .iter()
            .position(|it| *it == name)
            .expect("a failure's name");
        let what = format!("{times} failures {name}");
        self.counted(&what, |counters| counters.failures[index].get() == times)
            .await;
    }

    /// Waits until the counters of the plain entry point say so. A client may know what happened
    /// before it is counted.
    pub async fn counted(&self, what: &str, happened: impl Fn(&EntryPointCounters) -> bool) {
        self.counted_at("web", what, happened).await;
    }

    /// The same for the secure entry point.
    pub async fn counted_secure(&self, what: &str, happened: impl Fn(&EntryPointCounters) -> bool) {
        self.counted_at("websecure", what, happened).await;
    }

    /// The same for any entry point.
    pub async fn counted_at(
        &self,
        entry_point: &str,
        what: &str,
        happened: impl Fn(&EntryPointCounters) -> bool,
    ) {
        let counters = self.counters().entry_point(entry_point);
        let waiting = async {
            while !happened(&counters) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within(what, waiting).await;
    }
}

/// Publishes a table with these entry points, which keep the indices that they have.
fn publish_at(
    publisher: &Mutex<Publisher>,
    entry_points: &[table::EntryPoint],
    routes: Routes,
) -> u64 {
    let mut publisher = publisher.lock().unwrap();
    let current = publisher.current();
    publisher.publish(Table {
        entry_points: Arc::new(current.entry_points.followed_by(entry_points)),
        ..routes.into_table()
    })
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(
                self.counters().panics.get(),
                0,
                "tasks of the data plane panicked"
            );
        }
    }
}

/// A TLS connection for this name.
pub async fn tls(
    address: SocketAddr,
    config: &ClientConfig,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config.clone()));
    within("a TLS handshake", connector.connect(name, stream)).await
}
