//! Objects from an API server, and what became of them told back to it.
//!
//! ```text
//!  watch      one kind in one namespace, or in all: events to changes, whatever happens to the API server
//!  pulse      how long a watch may be silent, and when it was heard last
//!  health     how long a watch pauses after failures, and what it says of them
//!  discovery  which kinds of the Gateway API the API server serves
//!  fields     which fields of routes it keeps
//!  source     all watches into one compiler; which namespaces' Secrets and ConfigMaps are needed
//!  snapshot   what they have told, for the next process in the pod
//!  own        objects of this installation in its own namespace, as all replicas see them
//!  leases     its Leases
//!  revision   the last good version of a route, as it is kept: a ControllerRevision
//!  revisions  those that are kept, and what is new about them
//!  archive    which versions are to be kept, and which are not any more (pure)
//!  keep       writes and removes them
//!  expose     writes the Services of Gateways, and removes them
//!  election   which replica writes
//!  replica    how far this replica has come, for the one that writes
//!  progress   how far a replica's watches have come, as replicas tell one another
//!  exceptions what serves on a replica in place of bad objects, as they tell one another (pure)
//!  endpoint_health  how endpoints are that BackendPolicies are about, as they tell one another (pure)
//!  endpoints  how they are on this replica
//!  refused    where the system does not let a replica listen, as they tell one another (pure)
//!  sockets    where no replica can listen
//!  census     which replicas there are, what each offers, and how many serve a route (pure)
//!  definition whether the API server's definition of a kind has a place for all of a status (pure)
//!  seen       what the API server has of an object that has a status
//!  backoff    when statuses are written again that could not be (pure)
//!  budget     how often one status is written (pure)
//!  statement  what a status says (pure)
//!  ledger     which status is due (pure)
//!  status     writes it, and Events for what went wrong
//!  withdraw   takes back what was written, where it is no longer true
//!  look       one look at a cluster, for those who run a command
//!  figures    what is counted of all this, for metrics
//! ```
//!
//! An error of the API server never takes anything away: what was published last serves on.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use ferrix_table::{Publisher, sockets::Refusals};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Client, Config,
    config::{InClusterError, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::{
    sync::watch::{self, Receiver},
    task::JoinSet,
};
use tracing::error;

use crate::{
    compiler::{Compiler, Failures},
    key_fetch::{KeyFetcher, KeyFetches},
    lookup::Lookups,
    names::label,
    report::Report,
    settings::Settings,
    world::Unwritten,
};

mod archive;
mod backoff;
mod budget;
mod census;
mod definition;
mod discovery;
mod election;
mod endpoint_health;
mod endpoints;
mod exceptions;
mod expose;
mod fields;
mod figures;
mod health;
mod keep;
mod leases;
mod ledger;
mod look;
mod own;
mod progress;
mod pulse;
mod refused;
mod replica;
mod revision;
mod revisions;
mod seen;
pub mod snapshot;
mod sockets;
mod source;
mod statement;
mod status;
#[cfg(test)]
mod tests;
mod waits;
mod watch_kind;
mod withdraw;

use endpoint_health::EndpointHealth;
pub use figures::Figures;
pub use look::{Look, look};
pub use pulse::{Watch, Watches};
use snapshot::Snapshot;
pub use withdraw::{WithdrawError, Withdrawn};

/// How to reach the API server, and what to ask of it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A kubeconfig file, for a program outside the cluster. `None`: the service account of the
    /// pod.
    pub kubeconfig: Option<PathBuf>,
    /// Whose Secrets are watched.
    pub secrets: Secrets,
    /// The folder of the snapshot that the next process in the pod serves where the API server does not
    /// answer it; it is made for this user alone, and should be in memory. `None`: there is none.
    pub snapshot_folder: Option<PathBuf>,
}

/// Whose Secrets of type `kubernetes.io/tls` are watched. Others are one by one, where filters name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Those of namespaces with a route that uses TLS, each by a watch of its own.
    #[default]
    Namespaces,
    /// Those of the whole cluster, by one watch.
    Cluster,
}

/// How long an end waits for the API server.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why the API server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// No service account.
    #[error(
        "the service account of the pod cannot be used: {0}; outside a cluster, name a kubeconfig \
         file as source.kubernetes.kubeconfig"
    )]
    InCluster(#[from] InClusterError),
    /// The kubeconfig file.
    #[error("source.kubernetes.kubeconfig: {path}: {error}")]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: KubeconfigError,
    },
    /// The client.
    #[error("no client for the API server can be made: {0}")]
    Client(#[from] kube::Error),
    /// What has been written cannot be taken back.
    #[error(transparent)]
    Withdraw(#[from] WithdrawError),
    /// The API server does not answer, or refuses whoever asks.
    #[error("the API server cannot be asked: {0}")]
    Unreachable(kube::Error),
    /// It does not say all that there is.
    #[error("the API server has not listed every kind within {} s", look::LONGEST.as_secs())]
    Slow,
    /// Neither of the ways to find a configuration.
    #[error(transparent)]
    Infer(#[from] InferConfigError),
}

/// Who this process is among the replicas of its installation.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The name of the pod.
    name: String,
    /// Where the installation's Leases are.
    namespace: String,
    /// The installation, by class: `ferrix`, or `ferrix-CLASS`.
    installation: String,
    /// The name that entries of ours have in statuses that several controllers write.
    controller: String,
    /// The pod, so that what it leaves behind goes with it.
    pod: Option<OwnerReference>,
}

/// A cluster that is watched. Dropping it ends the watch; what was published last stays.
#[derive(Debug)]
pub struct Kubernetes {
    generations: Receiver<u64>,
    reports: Receiver<Arc<Report>>,
    failures: Receiver<Failures>,
    lookups: Arc<Lookups>,
    key_fetches: Arc<KeyFetches>,
    leaving: watch::Sender<bool>,
    figures: Arc<Figures>,
    watches: Watches,
    /// They end with it.
    _tasks: JoinSet<()>,
}

impl Kubernetes {
    /// The generation that was published last.
    pub fn generations(&self) -> Receiver<u64> {
        self.generations.clone()
    }

    /// What came of every object, as of the newest change.
    pub fn reports(&self) -> Receiver<Arc<Report>> {
        self.reports.clone()
    }

    /// How translation fails.
    pub fn failures(&self) -> Receiver<Failures> {
        self.failures.clone()
    }

    /// What is counted of the dealings with the API server.
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// How fresh each watch is.
    pub fn watches(&self) -> Watches {
        self.watches.clone()
    }

    /// How lookups of names have gone.
    pub fn lookups(&self) -> Arc<Lookups> {
        Arc::clone(&self.lookups)
    }

    /// How fetches of keys have gone.
    pub fn key_fetches(&self) -> Arc<KeyFetches> {
        Arc::clone(&self.key_fetches)
    }

    /// Tells the other replicas that this one is about to end, so that none waits for it, and
    /// returns when they have been told, or soon. The objects are watched on.
    pub async fn leave(&self) {
        self.leaving.send_replace(true);
        // Whoever has something to tell keeps a receiver until it is told.
        let _ = tokio::time::timeout(GOODBYE, self.leaving.closed()).await;
    }
}

impl Identity {
    fn new(settings: &Settings, namespace: &str) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let name = variable("POD_NAME").or_else(|| variable("HOSTNAME"));
        let name = label(&name.unwrap_or_default());
        Self {
            controller: settings.gateway_controller().to_owned(),
            namespace: variable("POD_NAMESPACE").unwrap_or_else(|| namespace.to_owned()),
            installation: settings.installation(),
            pod: variable("POD_UID").map(|uid| OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: variable("POD_NAME").unwrap_or_else(|| name.clone()),
                uid,
                ..OwnerReference::default()
            }),
            name,
        }
    }

    /// The installation among all that there are, as statuses name it.
    fn installation(&self) -> String {
        format!("{}/{}", self.namespace, self.installation)
    }
}

/// Watches a cluster from now on, on the current runtime, and publishes once every kind has been
/// listed, or soon where there is a snapshot. Fails only where there is no way to ask: an API server
/// that does not answer is waited for. `refused`: where the system does not let the proxy listen. `keys`: who gets the
/// keys of issuers.
pub async fn run_kubernetes(
    options: Options,
    settings: Settings,
    publisher: Publisher,
    refused: Receiver<Refusals>,
    keys: Arc<impl KeyFetcher>,
) -> Result<Kubernetes, KubernetesError> {
    let config = config(&options).await?;
    let identity = Arc::new(Identity::new(&settings, &config.default_namespace));
    let client = Client::try_from(config)?;
    let offer = census::Offer::new(&settings.entry_points);
    let table = publisher.reader();
    let compiler = Compiler::new(settings.clone(), publisher);
    let (generations, reports) = (compiler.generations(), compiler.reports());
    let failures = compiler.failures();
    let (leaving, left) = watch::channel(false);
    let (leases, seen_leases) = watch::channel(Arc::default());
    let (leading, leads) = watch::channel(false);
    let everywhere = || BTreeSet::from([leases::EVERYWHERE.to_owned()]);
    let watched = settings.namespaces.clone().unwrap_or_else(everywhere);
    let watches = Watches::default();
    let (mut source, standing, sightings) = source::Source::new(
        client.clone(),
        options.secrets,
        settings,
        compiler,
        watches.clone(),
    );
    let figures = Arc::new(Figures::default());
    if let Some(folder) = &options.snapshot_folder {
        // It is worth less than a start.
        match Snapshot::new(folder, &identity, Arc::clone(&figures)) {
            Ok(snapshot) => source.keep(snapshot),
            Err(error) => error!(%error, "there is no snapshot"),
        }
    }
    let lookups = source.lookups();
    let key_fetches = source.key_fetches();
    let mut tasks = JoinSet::new();
    let shown = revisions::Shown::new();
    source.follow_kept(shown.reader());
    let (by_all, refused_by_all) = watch::channel(Refusals::new());
    source.follow_refused(refused_by_all);
    tasks.spawn(sockets::run(sockets::Inputs {
        identity: Arc::clone(&identity),
        refused: refused.clone(),
        leases: seen_leases.clone(),
        by_all,
    }));
    tasks.spawn(keep::run(keep::Inputs {
        client: client.clone(),
        identity: Arc::clone(&identity),
        bad: source.bad_routes(),
        revisions: shown.revisions.subscribe(),
        leading: leads.clone(),
    }));
    let (unwritten, seen_unwritten) = watch::channel(Unwritten::new());
    source.follow_unwritten(seen_unwritten);
    tasks.spawn(expose::run(expose::Inputs {
        client: client.clone(),
        identity: Arc::clone(&identity),
        deeds: source.deeds(),
        leading: leads.clone(),
        unwritten,
    }));
    tasks.spawn(source.run(keys));
    let own: Option<Arc<str>> = Some(identity.namespace.as_str().into());
    let pulse = watches.begin((revisions::KIND, own.clone(), None));
    tasks.spawn(revisions::follow(
        client.clone(),
        Arc::clone(&identity),
        pulse,
        shown,
    ));
    let pulse = watches.begin(("Lease", own, None));
    tasks.spawn(leases::follow(
        client.clone(),
        Arc::clone(&identity),
        pulse,
        leases,
    ));
    let (former, formerly) = watch::channel(BTreeSet::new());
    let (settling, settled) = watch::channel(false);
    tasks.spawn(election::run(election::Inputs {
        client: client.clone(),
        identity: Arc::clone(&identity),
        namespaces: watched.clone(),
        seen: seen_leases.clone(),
        leading,
        former,
        settled,
        left: left.clone(),
    }));
    tasks.spawn(withdraw::run(withdraw::Inputs {
        client: client.clone(),
        identity: Arc::clone(&identity),
        namespaces: watched,
        leading: leads.clone(),
        former: formerly,
        settled: settling,
    }));
    let (told, endpoints) = watch::channel(EndpointHealth::default());
    tasks.spawn(endpoints::run(table, generations.clone(), told));
    tasks.spawn(replica::run(replica::Inputs {
        client: client.clone(),
        identity: Arc::clone(&identity),
        offer: offer.clone(),
        standing,
        reports: reports.clone(),
        refused,
        endpoints,
        left,
    }));
    tasks.spawn(status::run(status::Inputs {
        client,
        identity,
        offer,
        sightings,
        reports: reports.clone(),
        leases: seen_leases,
        leading: leads,
        figures: Arc::clone(&figures),
    }));
    Ok(Kubernetes {
        generations,
        reports,
        failures,
        lookups,
        key_fetches,
        leaving,
        figures,
        watches,
        _tasks: tasks,
    })
}

/// Takes back every status that an installation has written, and what it has kept of routes, in the
/// namespaces of the settings or in all, and tells it to write none for two minutes. `installation`: as
/// statuses name it; `None`: that of these settings, in the namespace of this pod or of the kubeconfig.
pub async fn withdraw(
    options: Options,
    settings: &Settings,
    installation: Option<String>,
) -> Result<Withdrawn, KubernetesError> {
    let config = config(&options).await?;
    let own = || Identity::new(settings, &config.default_namespace).installation();
    let installation = installation.unwrap_or_else(own);
    let client = Client::try_from(config)?;
    let controller = settings.gateway_controller();
    let namespaces = namespaces(settings);
    Ok(withdraw::all(&client, (&installation, controller), namespaces).await?)
}

async fn config(options: &Options) -> Result<Config, KubernetesError> {
    let mut config = match &options.kubeconfig {
        None => Config::incluster()?,
        Some(path) => {
            let refuse = |error| KubernetesError::Kubeconfig {
                path: path.clone(),
                error,
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(refuse)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(refuse)?
        }
    };
    config.connect_timeout = Some(Duration::from_secs(5));
    // No answer is silent for longer, watches least of all. On a connection that idled it counts from
    // the request.
    config.read_timeout = Some(Duration::from_secs(30));
    config.reset_reader_on_write = true;
    Ok(config)
}

/// The namespaces to ask one by one; `None`: all at once.
fn namespaces(settings: &Settings) -> Option<&BTreeSet<String>> {
    settings.namespaces.as_ref()
}
