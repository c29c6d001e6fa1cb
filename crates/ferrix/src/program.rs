//! The whole program: settings in, a running Ferrix out, and its end.
//!
//! The order of the start is such that what fails, fails before traffic: settings, access log,
//! admin socket, first table, entry points. The order of the end is such that no request is lost:
//! readiness, a delay for the rest of the world to notice, requests in flight, logs.

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ferrix_control::{
    Failures, KeyFetcher, KeyFetches, Lookups, Report,
    files::{Files, FolderError},
    kubernetes::{self, Kubernetes, KubernetesError},
    objects::ObjectName,
    secret::{self, CertificateError},
    settings as control,
};
use ferrix_proxy::{Bound, Fetcher, Proxy};
use ferrix_table::{Publisher, Reader, Table, publish, sockets::Refusals};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{oneshot, watch},
};

use crate::{
    access_log::{self, Writer},
    admin::{self, Admin, Listener, Pages, Readiness},
    descriptors::{self, Shares},
    memory,
    metrics::{Cluster, ConnectionLimits, Metrics, Published, Sources},
    settings::{self, DefaultCertificate, Settings},
    signals::{Signal, Signals, Wish},
};

/// Why Ferrix does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict themselves.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// No source of objects.
    #[error(
        "there is no source of objects: name a folder of manifests with --files FOLDER, or give \
         source.files.path or source.kubernetes in the settings"
    )]
    NoSource,
    /// Gateways have Services, and this is no pod.
    #[error(
        "gateway.services is for pods, which Services lead to, and POD_NAMESPACE does not say where this \
         one is: take it out, or name networks as gateway.addresses"
    )]
    NoPod,
    /// The API server.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The folder of manifests.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file of the default certificate.
    #[error("tls.default_certificate: cannot read {}: {error}", path.display())]
    CertificateFile {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// What the files of the default certificate hold.
    #[error("tls.default_certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The access log.
    #[error(transparent)]
    AccessLog(#[from] access_log::Error),
    /// The admin page.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// The data plane, most often a port in use.
    #[error(transparent)]
    Proxy(#[from] ferrix_proxy::StartError),
    /// Threads of the control plane.
    #[error("the control plane cannot be started: {0}")]
    Control(io::Error),
    /// The source has ended before anything was published: a mistake of ours.
    #[error("the source of objects has ended; the log says why")]
    SourceEnded,
}

/// The running source of objects.
enum Source {
    Files(Files),
    Kubernetes(Kubernetes),
}

impl Source {
    fn generations(&self) -> watch::Receiver<u64> {
        match self {
            Self::Files(files) => files.generations(),
            Self::Kubernetes(kubernetes) => kubernetes.generations(),
        }
    }

    fn failures(&self) -> watch::Receiver<Failures> {
        match self {
            Self::Files(files) => files.failures(),
            Self::Kubernetes(kubernetes) => kubernetes.failures(),
        }
    }

    fn key_fetches(&self) -> Arc<KeyFetches> {
        match self {
            Self::Files(files) => files.key_fetches(),
            Self::Kubernetes(kubernetes) => kubernetes.key_fetches(),
        }
    }

    fn lookups(&self) -> Arc<Lookups> {
        match self {
            Self::Files(files) => files.lookups(),
            Self::Kubernetes(kubernetes) => kubernetes.lookups(),
        }
    }

    fn reports(&self) -> watch::Receiver<Arc<Report>> {
        match self {
            Self::Files(files) => files.reports(),
            Self::Kubernetes(kubernetes) => kubernetes.reports(),
        }
    }

    fn cluster(&self) -> Option<Cluster> {
        match self {
            Self::Files(_) => None,
            Self::Kubernetes(kubernetes) => Some(Cluster {
                figures: kubernetes.figures(),
                watches: kubernetes.watches(),
            }),
        }
    }

    /// Tells the other replicas not to wait for this one: it takes no part in statuses any more.
    async fn leave(&self) {
        if let Self::Kubernetes(kubernetes) = self {
            kubernetes.leave().await;
        }
    }
}

/// Keys of issuers come as what providers of logins say does.
struct Keys(Arc<Fetcher>);

impl KeyFetcher for Keys {
    async fn fetch(&self, url: &str) -> Result<String, String> {
        self.0.get(url).await
    }
}

/// A running Ferrix. Dropping it ends it at once; [`Program::drain`] first ends it well.
pub struct Program {
    // In this order they are dropped: traffic first, then what it writes to.
    proxy: Proxy,
    access_log: Option<Writer>,
    admin: Admin,
    source: Source,
    _control: Control,
    table: Reader,
    readiness: Readiness,
    drain_delay: Duration,
    drain_timeout: Duration,
}

impl Program {
    /// Starts everything, and returns when the first table is published and all sockets listen.
    /// Until then the admin page answers, as long as an API server may keep it waiting.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        install_crypto();
        settings.check()?;
        if settings.source.files.is_none() && settings.source.kubernetes.is_none() {
            return Err(StartError::NoSource);
        }
        let control_settings = control_settings(&settings)?;
        if settings.gateway.services.is_some() && pod_namespace().is_none() {
            return Err(StartError::NoPod);
        }
        let shares = descriptors::raise().map(Shares::of);
        let access_log = Writer::start(&settings.access_log)?;
        let admin = Listener::bind(settings.admin.address)?;

        let control = Control::new().map_err(StartError::Control)?;
        let (publisher, table) = publish::channel();
        let Settings {
            source,
            proxy: mut proxy_settings,
            ..
        } = settings;
        if let Some(shares) = shares {
            shares.lower(&mut proxy_settings);
        }
        memory::budget(&mut proxy_settings);
        proxy_settings.loopback_servers = control_settings.allow_loopback_endpoints;
        let buffered_limit = proxy_settings.limits.buffered_bytes;
        let connections = ConnectionLimits::from(&proxy_settings);
        let drain_delay = proxy_settings.server.drain_delay;
        let drain_timeout = proxy_settings.server.drain_timeout;
        let sender = access_log.as_ref().map(Writer::sender);
        let bound = Bound::new(
            &control_settings.entry_points,
            proxy_settings,
            table.clone(),
            sender,
        )?;
        let source = control
            .wait(start_source(
                source,
                control_settings,
                publisher,
                bound.refused(),
                Arc::new(Keys(bound.fetcher())),
            ))
            .await??;
        let published = Arc::new(Published::default());
        let mut generations = source.generations();
        control.spawn({
            let published = Arc::clone(&published);
            async move {
                while generations
                    .wait_for(|generation| *generation > 0)
                    .await
                    .is_ok()
                {
                    published.set();
                    if generations.changed().await.is_err() {
                        return;
                    }
                }
            }
        });
        control.spawn(memory::give_back());
        let readiness = Readiness::new(table.clone(), source.failures(), source.reports());
        let metrics = Arc::new(Metrics::new(Sources {
            table: table.clone(),
            counters: bound.counters(),
            reports: source.reports(),
            failures: source.failures(),
            cluster: source.cluster(),
            lookups: source.lookups(),
            key_fetches: source.key_fetches(),
            access_log: access_log.as_ref().map(Writer::losses),
            published,
            connections,
            buffered_limit: buffered_limit.map_or(0, |limit| limit.as_u64()),
            peers: bound.peers(),
        }));
        let admin = admin.serve(Pages {
            readiness: readiness.clone(),
            table: table.clone(),
            reports: source.reports(),
            watches: source.cluster().map(|it| it.watches),
            metrics,
        })?;
        let mut generations = source.generations();
        let first = generations.wait_for(|generation| *generation > 0);
        first.await.map_err(|_| StartError::SourceEnded)?;
        let proxy = bound.serve()?;
        let follow = proxy.follower();
        let mut changes = generations.clone();
        control.spawn(async move {
            while changes.changed().await.is_ok() {
                follow();
            }
        });
        readiness.accepting();
        announce_limits(shares, &connections);
        Ok(Self {
            proxy,
            access_log,
            admin,
            source,
            _control: control,
            table,
            readiness,
            drain_delay,
            drain_timeout,
        })
    }

    /// The entry points with the addresses that they listen on, in the order of the settings.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.proxy.addresses()
    }

    /// Where an entry point listens.
    pub fn address(&self, entry_point: &str) -> Option<SocketAddr> {
        let mut addresses = self.addresses().into_iter();
        addresses
            .find(|(name, _)| name == entry_point)
            .map(|(_, address)| address)
    }

    /// Where the admin page is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The generation of the table published last.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.source.generations()
    }

    /// The table that requests read now.
    pub fn table(&self) -> Arc<Table> {
        self.table.load()
    }

    /// What became of each object.
    pub fn report(&self) -> Arc<Report> {
        self.source.reports().borrow().clone()
    }

    /// The same, again after each change.
    pub fn reports(&self) -> watch::Receiver<Arc<Report>> {
        self.source.reports()
    }

    /// Opens the files of logs anew, for whoever has moved them away.
    pub fn reopen_logs(&self) {
        if let Some(access_log) = &self.access_log {
            access_log.reopen();
        }
    }

    /// Ends well: not ready from now on, accepting for `server.drain_delay`, then waiting at most
    /// `server.drain_timeout` for what is in flight. Returns how many connections were cut.
    pub async fn drain(&self) -> usize {
        self.drain_after(self.drain_delay).await
    }

    async fn drain_after(&self, delay: Duration) -> usize {
        self.readiness.drain();
        let drained = async {
            tokio::time::sleep(delay).await;
            self.proxy.drain(self.drain_timeout).await
        };
        tokio::join!(drained, self.source.leave()).0
    }

    /// Runs until a signal asks for the end: the first drains, the second ends at once.
    pub async fn run(self, mut signals: Signals) -> Ended {
        let (signal, delay) = self.end(&mut signals).await;
        tracing::info!(
            signal = signal.name(),
            ?delay,
            timeout = ?self.drain_timeout,
            "draining; a second signal ends at once",
        );
        let ended = tokio::select! {
            cut = self.drain_after(delay) => Ended::Drained { cut },
            _ = self.end(&mut signals) => Ended::AtOnce,
        };
        match ended {
            Ended::Drained { cut: 0 } => tracing::info!("drained"),
            Ended::Drained { cut } => tracing::warn!(cut, "drained, but connections were cut"),
            Ended::AtOnce => tracing::warn!("ended by a second signal"),
        }
        ended
    }

    /// Follows signals until one asks for the end, and tells how long to go on accepting.
    async fn end(&self, signals: &mut Signals) -> (Signal, Duration) {
        loop {
            match signals.next().await {
                (signal, Wish::Drain) => return (signal, self.drain_delay),
                (signal, Wish::DrainNow) => return (signal, Duration::ZERO),
                (signal, Wish::ReopenLogs) => {
                    self.reopen_logs();
                    tracing::info!(signal = signal.name(), "log files are opened anew");
                }
                (signal, Wish::Nothing) => {
                    tracing::info!(signal = signal.name(), "this signal means nothing here");
                }
            }
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("addresses", &self.addresses())
            .field("admin_address", &self.admin_address())
            .field("generation", &self.table.generation())
            .finish_non_exhaustive()
    }
}

/// Says what there may be of connections, and why.
fn announce_limits(shares: Option<Shares>, connections: &ConnectionLimits) {
    tracing::info!(
        file_descriptors = shares.map(|it| it.limit),
        reserved = shares.map(|it| it.reserve),
        clients = connections.clients,
        per_client = connections.client,
        backends = connections.backends,
        per_endpoint = connections.endpoint,
        "limits of connections",
    );
}

/// How [`Program::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// After the first signal.
    Drained {
        /// Connections that outlasted the timeout.
        cut: usize,
    },
    /// By a second signal.
    AtOnce,
}

/// One provider for all of the process. An error means that somebody installed one already.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

async fn start_source(
    source: settings::Source,
    settings: control::Settings,
    publisher: Publisher,
    refused: watch::Receiver<Refusals>,
    keys: Arc<Keys>,
) -> Result<Source, StartError> {
    if let Some(files) = source.files {
        let files = ferrix_control::run_files(files.path, settings, publisher, refused, keys);
        let files = files.await?;
        return Ok(Source::Files(files));
    }
    let kubernetes = source.kubernetes.ok_or(StartError::NoSource)?;
    let options = kubernetes_options(&kubernetes);
    let kubernetes = ferrix_control::run_kubernetes(options, settings, publisher, refused, keys);
    let kubernetes = kubernetes.await?;
    Ok(Source::Kubernetes(kubernetes))
}

pub(crate) fn kubernetes_options(settings: &settings::Kubernetes) -> kubernetes::Options {
    kubernetes::Options {
        kubeconfig: settings.kubeconfig.clone(),
        secrets: match settings.secrets {
            settings::Secrets::Namespaces => kubernetes::Secrets::Namespaces,
            settings::Secrets::Cluster => kubernetes::Secrets::Cluster,
        },
        snapshot_folder: settings.snapshot_folder.clone(),
    }
}

/// Where clients reach this installation.
fn publish_at(settings: &settings::Kubernetes) -> control::Publish {
    let service = settings.publish_service.as_ref();
    match service.and_then(|it| it.split_once('/')) {
        Some((namespace, name)) => control::Publish::Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        None if settings.publish_addresses.is_empty() => control::Publish::Nothing,
        None => control::Publish::Addresses(settings.publish_addresses.clone()),
    }
}

/// The pod that this process is, as far as it is told.
fn pod() -> Option<control::Pod> {
    Some(control::Pod {
        namespace: std::env::var("POD_NAMESPACE").ok()?,
        address: std::env::var("POD_IP").ok()?.parse().ok()?,
    })
}

/// Where Gateways are reached. Only a pod can be by a Service: whoever looks at manifests, or at a cluster from
/// outside, takes it that each Gateway has its ports.
fn gateway_reach(settings: &Settings) -> control::GatewayReach {
    let gateway = &settings.gateway;
    let in_pod = settings.source.kubernetes.is_some() && settings.source.files.is_none();
    match &gateway.services {
        Some(services) => control::GatewayReach::Services(control::GatewayServices {
            namespace: pod_namespace().filter(|_| in_pod),
            annotations: services.annotations.clone(),
            spec: services.spec.clone(),
        }),
        None if gateway.addresses.is_empty() => control::GatewayReach::EntryPoints,
        None => control::GatewayReach::Pool(gateway.addresses.clone()),
    }
}

fn pod_namespace() -> Option<String> {
    let namespace = std::env::var("POD_NAMESPACE").ok();
    namespace.filter(|it| !it.is_empty())
}

/// Filters from above.
fn filter_settings(settings: &Settings) -> control::FilterSettings {
    let filters = |names: &[String]| -> Vec<ObjectName> {
        let parts = names.iter().filter_map(|name| name.split_once('/'));
        parts
            .map(|(namespace, name)| ObjectName::new(namespace, name))
            .collect()
    };
    let namespace = settings.filters.namespace.clone().or_else(pod_namespace);
    let entry_points = settings.entry_points.iter();
    let entry_points = entry_points.filter(|it| !it.filters.is_empty());
    let namespaces = settings.filters.namespaces.iter();
    control::FilterSettings {
        namespace: Some(namespace.unwrap_or_else(|| "ferrix".to_owned())),
        entry_points: entry_points
            .map(|it| (it.name.clone(), filters(&it.filters)))
            .collect(),
        namespaces: namespaces
            .map(|it| control::NamespaceFilters {
                namespaces: it.namespaces.clone(),
                filters: filters(&it.filters),
            })
            .collect(),
    }
}

/// What the control plane is told.
pub(crate) fn control_settings(settings: &Settings) -> Result<control::Settings, StartError> {
    let entry_points = settings.entry_points.iter().map(Into::into).collect();
    let mut control = match settings.source.kubernetes {
        Some(_) => control::Settings::new(entry_points),
        None => control::Settings::for_files(entry_points),
    };
    control
        .ingress_class
        .clone_from(&settings.source.ingress_class);
    control.namespaces.clone_from(&settings.source.namespaces);
    control.hosts.clone_from(&settings.hosts);
    control.issuers.clone_from(&settings.issuers);
    control.filters = filter_settings(settings);
    let exposed = settings.entry_points.iter();
    control.gateway = Some(control::GatewaySettings {
        controller: settings.gateway.controller.clone(),
        reach: gateway_reach(settings),
        exposed_ports: exposed
            .filter_map(|it| Some((it.name.clone(), it.exposed_port?)))
            .collect(),
    });
    control.allow_external_name = settings.source.allow_external_name;
    control.pod = pod();
    control.shares_limits = settings.proxy.replicas.is_some();
    if let Some(kubernetes) = &settings.source.kubernetes {
        control.publish = publish_at(kubernetes);
    }
    control.default_certificate = match &settings.default_certificate {
        None => None,
        Some(DefaultCertificate::Secret { namespace, name }) => {
            Some(control::DefaultCertificate::Secret {
                namespace: namespace.clone(),
                name: name.clone(),
            })
        }
        Some(DefaultCertificate::Files { certificate, key }) => {
            let read = |path: &PathBuf| {
                std::fs::read(path).map_err(|error| StartError::CertificateFile {
                    path: path.clone(),
                    error,
                })
            };
            let parsed = secret::certificate("default", &read(certificate)?, &read(key)?)?;
            Some(control::DefaultCertificate::Loaded(parsed.certificate))
        }
    };
    Ok(control)
}

/// The control plane's own runtime, so that its work never delays a request.
#[derive(Debug)]
struct Control(Option<Runtime>);

impl Control {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(future);
        }
    }

    /// Runs a future on that runtime, and waits for its result from any other.
    async fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StartError> {
        let (sender, receiver) = oneshot::channel();
        self.spawn(async move {
            // Nobody listens if the caller has gone.
            let _ = sender.send(future.await);
        });
        let gone = |_| StartError::Control(io::Error::other("it panicked at its start"));
        receiver.await.map_err(gone)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // This may run inside another runtime, where waiting for threads panics. Nothing is lost.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
