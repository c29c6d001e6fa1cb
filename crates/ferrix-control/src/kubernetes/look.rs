//! One look at a cluster, for `ferrix check` and `ferrix explain`: what replicas would serve, and say.
//!
//! Nothing is written, and no name is looked up.

use std::{collections::BTreeSet, time::Duration};

use ferrix_table::{Table, publish};
use kube::Client;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    Identity, KubernetesError, Options, config,
    pulse::Watches,
    revisions,
    source::{Sighting, Source},
};
use crate::{
    compiler::Compiler,
    objects::Key,
    report::Report,
    settings::Settings,
    translate,
    world::{Change, World},
};

/// How long a look may take.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// How long it waits for what was kept of routes in a namespace: it can go on without.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one look at a cluster has found.
#[derive(Debug)]
pub struct Look {
    /// What Ferrix would serve.
    pub table: Table,
    /// What it would say of each object.
    pub report: Report,
    /// What could not be seen, and why.
    pub withheld: Vec<String>,
}

/// Looks at a cluster once.
pub async fn look(options: &Options, settings: &Settings) -> Result<Look, KubernetesError> {
    let config = config(options).await?;
    let identity = Identity::new(settings, &config.default_namespace);
    let client = Client::try_from(config)?;
    // What is wrong with the way there is told at once; the watches would try again.
    let version = client.apiserver_version().await;
    version.map_err(KubernetesError::Unreachable)?;
    let (publisher, _) = publish::channel();
    let compiler = Compiler::new(settings.clone(), publisher);
    let (source, _standing, sightings) = Source::new(
        client.clone(),
        options.secrets,
        settings.clone(),
        compiler,
        Watches::default(),
    );
    let seen = see(&client, &identity, settings, source, sightings);
    let seen = tokio::time::timeout(LONGEST, seen).await;
    let (world, withheld) = seen.map_err(|_| KubernetesError::Slow)?;
    let (table, report) = translate(&world, settings);
    Ok(Look {
        table,
        report,
        withheld,
    })
}

/// All that there is, with the last good versions that replicas have kept, and what could not be seen.
async fn see(
    client: &Client,
    identity: &Identity,
    settings: &Settings,
    mut source: Source,
    mut sightings: UnboundedReceiver<Vec<Sighting>>,
) -> (World, Vec<String>) {
    source.list().await;
    let bad = source.world().bad_routes(settings);
    let bad: BTreeSet<Key> = bad.map(|(key, ..)| key.clone()).collect();
    let mut unread = Vec::new();
    for namespace in namespaces(&bad, identity, &mut sightings) {
        match kept(client, &namespace, &identity.installation).await {
            Ok(kept) => source.list_with(kept).await,
            Err(reason) => unread.push(reason),
        }
    }
    let mut withheld = source.withheld();
    withheld.extend(unread);
    (source.world().clone(), withheld)
}

/// Where installations of this class have kept versions of bad routes: in the namespaces that the statuses
/// of those name, or else in that of whoever asks.
fn namespaces(
    bad: &BTreeSet<Key>,
    identity: &Identity,
    sightings: &mut UnboundedReceiver<Vec<Sighting>>,
) -> BTreeSet<String> {
    if bad.is_empty() {
        return BTreeSet::new();
    }
    let mut found = BTreeSet::new();
    while let Ok(seen) = sightings.try_recv() {
        for sighting in seen {
            if let Sighting::Route(key, Some(route)) = sighting
                && bad.contains(&key)
                && let Some((namespace, name)) = route.installation.as_deref().and_then(split)
                && name == identity.installation
            {
                found.insert(namespace.to_owned());
            }
        }
    }
    match found.is_empty() {
        true => [identity.namespace.clone()].into(),
        false => found,
    }
}

/// An installation as statuses name it: its namespace, and its name there.
fn split(installation: &str) -> Option<(&str, &str)> {
    installation.split_once('/')
}

/// What an installation has kept in a namespace, or why that is not known.
async fn kept(client: &Client, namespace: &str, installation: &str) -> Result<Vec<Change>, String> {
    let listed = tokio::time::timeout(PATIENCE, revisions::list(client, (namespace, installation)));
    let why = match listed.await {
        Ok(Ok(kept)) => return Ok(kept),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            "you may not list them".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    Err(format!(
        "the ControllerRevisions of namespace {namespace} cannot be read, where last good versions of bad \
         routes are kept, so that these may be served otherwise than is said here: {why}"
    ))
}
