//! All watches into one compiler.
//!
//! Changes are taken in as they come: one alone at once, and whatever has come while the last ones
//! were compiled together. Nothing is published before every kind has been listed, but for what an
//! earlier process in the pod has left: see [`snapshot`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_table::sockets::Refusals;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};
use tracing::{debug, error, info, warn};

use super::{
    Secrets,
    archive::BadRoutes,
    discovery::{self, Served},
    expose::Deeds,
    fields,
    health::Outages,
    namespaces,
    progress::{Progress, Standing},
    pulse::{self, Watches},
    revision::BadRoute,
    revisions,
    seen::Seen,
    snapshot::{self, Snapshot},
    watch_kind::{self, Item, Message, Refusal, Scope},
};
use crate::{
    compiler::{Compiler, Published},
    key_fetch::{self, KeyFetcher, KeyFetches},
    kinds,
    lookup::{self, Dns, Lookups},
    names::shared,
    objects::{self, Key, Kind},
    settings::{DefaultCertificate, Settings},
    world::{Change, Unwritten, World},
};

/// Messages that may wait. The API server is read no faster than they are taken in.
const QUEUE: usize = 512;

/// How often time alone is reason enough to translate: certificates expire.
const REFRESH: Duration = Duration::from_secs(3600);

/// The same after a bug has kept changes from being taken in: certificates may have expired since, or
/// whatever it was about may be gone.
const REFRESH_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How often watches are looked at that are silent.
const LOOK: Duration = Duration::from_secs(2);

/// What status writing has to know.
#[derive(Debug)]
pub(super) enum Sighting {
    /// An object that has a status, as the API server has it; `None`: it is gone.
    Route(Key, Option<Box<Seen>>),
    /// A namespace, and whether it is about to go, with all that is in it.
    Namespace(Arc<str>, bool),
}

pub(super) struct Source {
    client: Client,
    secrets: Secrets,
    settings: Settings,
    compiler: Compiler,
    watches: HashMap<Scope, AbortHandle>,
    /// Ends all watches with the source.
    tasks: JoinSet<()>,
    /// Watches that have listed nothing yet.
    pending: HashSet<Scope>,
    /// Whether it is known which kinds the API server serves.
    discovered: bool,
    /// Watches that the API server refuses at present.
    refused: HashMap<Scope, Refusal>,
    /// How fresh they are.
    freshness: Watches,
    /// Which of them fail.
    outages: Outages,
    /// Watches that the API server was not heard on for long.
    stale: HashSet<Scope>,
    started: Instant,
    loaded: bool,
    sink: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    lookups: Arc<Lookups>,
    key_fetches: Arc<KeyFetches>,
    listed: Progress,
    standing: watch::Sender<Standing>,
    /// For the next process in the pod, and from the one before.
    snapshot: Option<Snapshot>,
    /// What is kept of last good versions, and what should be.
    kept: revisions::Reader,
    /// Whether the API server keeps `retry` of HTTPRoutes.
    keeps_retries: watch::Receiver<bool>,
    /// Where no replica can listen.
    refused_by_all: watch::Receiver<Refusals>,
    /// The Services of Gateways that cannot be written.
    unwritten: watch::Receiver<Unwritten>,
    bad: watch::Sender<BadRoutes>,
    deeds: watch::Sender<Deeds>,
    routes: mpsc::UnboundedSender<Vec<Sighting>>,
}

impl Source {
    pub(super) fn new(
        client: Client,
        secrets: Secrets,
        settings: Settings,
        compiler: Compiler,
        freshness: Watches,
    ) -> (
        Self,
        watch::Receiver<Standing>,
        mpsc::UnboundedReceiver<Vec<Sighting>>,
    ) {
        let (sink, inbox) = mpsc::channel(QUEUE);
        let (standing, standing_receiver) = watch::channel(Standing::default());
        let (routes, routes_receiver) = mpsc::unbounded_channel();
        let source = Self {
            client,
            secrets,
            settings,
            compiler,
            watches: HashMap::new(),
            tasks: JoinSet::new(),
            pending: HashSet::new(),
            discovered: false,
            refused: HashMap::new(),
            freshness,
            outages: Outages::default(),
            stale: HashSet::new(),
            started: Instant::now(),
            loaded: false,
            sink,
            inbox,
            lookups: Arc::default(),
            key_fetches: Arc::default(),
            listed: Progress::default(),
            standing,
            snapshot: None,
            kept: revisions::Reader::default(),
            keeps_retries: watch::channel(false).1,
            refused_by_all: watch::channel(Refusals::new()).1,
            unwritten: watch::channel(Unwritten::new()).1,
            bad: watch::Sender::default(),
            deeds: watch::Sender::default(),
            routes,
        };
        (source, standing_receiver, routes_receiver)
    }

    /// Keeps a snapshot, and may begin with that of an earlier process.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
    }

    /// Takes in what was kept of last good versions, before the first table and from then on.
    pub(super) fn follow_kept(&mut self, kept: revisions::Reader) {
        self.kept = kept;
    }

    /// Takes in where no replica can listen.
    pub(super) fn follow_refused(&mut self, by_all: watch::Receiver<Refusals>) {
        self.refused_by_all = by_all;
    }

    /// Takes in which Services of Gateways cannot be written.
    pub(super) fn follow_unwritten(&mut self, unwritten: watch::Receiver<Unwritten>) {
        self.unwritten = unwritten;
    }

    /// The routes that are bad, and what is to be kept of them.
    pub(super) fn bad_routes(&self) -> watch::Receiver<BadRoutes> {
        self.bad.subscribe()
    }

    /// What is to be done about the Services of Gateways.
    pub(super) fn deeds(&self) -> watch::Receiver<Deeds> {
        self.deeds.subscribe()
    }

    /// How lookups have gone.
    pub(super) fn lookups(&self) -> Arc<Lookups> {
        Arc::clone(&self.lookups)
    }

    /// How fetches of keys have gone.
    pub(super) fn key_fetches(&self) -> Arc<KeyFetches> {
        Arc::clone(&self.key_fetches)
    }

    pub(super) async fn run(mut self, keys: Arc<impl KeyFetcher>) {
        self.watch_all();
        let mut looked_up = self.look_up(keys);
        let failures = self.compiler.failures();
        let mut messages = Vec::new();
        let mut refreshed = Instant::now();
        let mut changes = Vec::new();
        loop {
            let refresh = match failures.borrow().in_a_row {
                0 => REFRESH,
                _ => REFRESH_AFTER_FAILURE,
            };
            tokio::select! {
                _ = self.inbox.recv_many(&mut messages, QUEUE) => {
                    let messages = std::mem::take(&mut messages);
                    self.survive(|source| source.take(messages));
                    refreshed = Instant::now();
                }
                _ = looked_up.recv_many(&mut changes, QUEUE), if !looked_up.is_closed() => {
                    let changes = std::mem::take(&mut changes);
                    self.survive(|source| {
                        source.apply(changes);
                        source.proceed(&Progress::default());
                    });
                }
                () = tokio::time::sleep_until((refreshed + refresh).into()) => {
                    self.survive(|source| log(source.compiler.refresh()));
                    refreshed = Instant::now();
                }
                () = tokio::time::sleep_until((self.started + snapshot::PATIENCE).into()),
                    if self.may_restore() => self.survive(Self::restore),
                () = self.kept.changed() => self.survive(Self::take_kept),
                Ok(()) = self.keeps_retries.changed() => self.survive(|source| {
                    let keeps = *source.keeps_retries.borrow_and_update();
                    source.apply(vec![Change::KeepsRetries(keeps)]);
                }),
                Ok(()) = self.refused_by_all.changed() => self.survive(|source| {
                    let refused = source.refused_by_all.borrow_and_update().clone();
                    source.apply(vec![Change::Refused(refused)]);
                }),
                Ok(()) = self.unwritten.changed() => self.survive(|source| {
                    let unwritten = source.unwritten.borrow_and_update().clone();
                    source.apply(vec![Change::Unwritten(unwritten)]);
                }),
                () = tokio::time::sleep(LOOK) => self.survive(|source| {
                    source.look_at_freshness();
                    source.load();
                }),
            }
        }
    }

    /// Waits until every kind has been listed, or refused.
    pub(super) async fn list(&mut self) {
        self.watch_all();
        self.settle().await;
    }

    /// Takes changes in, and waits for what has to be seen since.
    pub(super) async fn list_with(&mut self, changes: Vec<Change>) {
        self.apply(changes);
        // A version that serves again may name one.
        self.follow_named();
        self.settle().await;
    }

    async fn settle(&mut self) {
        let waits = |source: &Self| {
            let mut pending = source.pending.iter();
            !source.discovered || pending.any(|scope| !source.refused.contains_key(scope))
        };
        while waits(self) {
            let mut messages = Vec::new();
            self.inbox.recv_many(&mut messages, QUEUE).await;
            self.take(messages);
        }
    }

    /// What was seen.
    pub(super) fn world(&self) -> &World {
        self.compiler.world()
    }

    /// What could not be seen, with the reasons.
    pub(super) fn withheld(&self) -> Vec<String> {
        // Where there are no ReferenceGrants, nothing is granted, and nothing is missing.
        let none = |kind, refusal| is_add_on(kind) && refusal == Refusal::NotInstalled;
        let refused = self.refused.iter();
        let refused = refused.filter(|(scope, refusal)| !none(scope.kind, **refusal));
        let mut withheld: Vec<_> = refused.map(|(scope, it)| it.reason(scope)).collect();
        withheld.sort_unstable();
        withheld
    }

    /// Begins to look up names and to fetch keys, and gives what comes of it.
    fn look_up(&mut self, keys: Arc<impl KeyFetcher>) -> mpsc::UnboundedReceiver<Change> {
        let (tell, looked_up) = mpsc::unbounded_channel();
        let also_tell = tell.clone();
        self.tasks.spawn(key_fetch::follow(
            keys,
            self.compiler.key_urls(),
            Arc::clone(&self.key_fetches),
            move |change| {
                // Whoever listened has gone only if the program ends.
                let _ = also_tell.send(change);
            },
        ));
        self.tasks.spawn(lookup::follow(
            Dns::of_the_system(),
            self.compiler.names(),
            Arc::clone(&self.lookups),
            move |change| {
                // Whoever listened has gone only if the program ends.
                let _ = tell.send(change);
            },
        ));
        looked_up
    }

    pub(super) fn watch_all(&mut self) {
        match self.settings.gateway {
            Some(_) => {
                let served = discovery::run(self.client.clone(), self.sink.clone());
                self.tasks.spawn(served);
                let (keeps_retries, receiver) = watch::channel(false);
                self.tasks
                    .spawn(fields::run(self.client.clone(), keeps_retries));
                self.keeps_retries = receiver;
            }
            None => self.discovered = true,
        }
        for kind in Kind::ALL {
            match (kind, self.secrets) {
                // They follow what names them.
                (Kind::ConfigMap, _) | (Kind::Secret, Secrets::Namespaces) => {}
                _ if discovery::KINDS.contains(&kind) => {}
                _ => self.watch_kind(kind, objects::versions(kind)[0]),
            }
        }
        self.follow_named();
    }

    /// Watches the kinds that the API server has come to serve.
    fn serve(&mut self, served: Served) {
        self.discovered = true;
        for (kind, version) in served {
            self.watch_kind(kind, version);
        }
    }

    /// Watches a kind in every namespace that is watched.
    fn watch_kind(&mut self, kind: Kind, version: &'static str) {
        let Some(namespaces) = namespaces(&self.settings).cloned() else {
            return self.watch(Scope::of(kind, None), version);
        };
        // Whoever may see some namespaces only may not list what is in none.
        for namespace in namespaces.iter().filter(|_| kind.is_namespaced()) {
            let namespace = Some(namespace.as_str().into());
            self.watch(Scope::of(kind, namespace), version);
        }
    }

    fn watch(&mut self, scope: Scope, version: &'static str) {
        if self.watches.contains_key(&scope) {
            return;
        }
        let pulse = self.freshness.begin(watch_name(&scope));
        let (client, outages) = (self.client.clone(), self.outages.clone());
        let sink = self.sink.clone();
        let controller = self.settings.gateway_controller().into();
        let seeing = (scope.clone(), version);
        let watch = watch_kind::run(client, seeing, controller, pulse, outages, sink);
        let handle = self.tasks.spawn(watch);
        self.pending.insert(scope.clone());
        self.watches.insert(scope, handle);
    }

    /// Watches the certificates and the ConfigMaps of the namespaces that need them, and the Secrets that
    /// filters name, and no others.
    fn follow_named(&mut self) {
        let needed = self.needed();
        let certificates = self.secrets == Secrets::Namespaces;
        let follows = |scope: &Scope| match scope.kind {
            Kind::ConfigMap => true,
            Kind::Secret => certificates || scope.name.is_some(),
            _ => false,
        };
        let idle: Vec<Scope> = (self.watches.keys())
            .filter(|scope| follows(scope) && !needed.contains(scope))
            .cloned()
            .collect();
        for scope in idle {
            if let Some(watch) = self.watches.remove(&scope) {
                watch.abort();
            }
            self.pending.remove(&scope);
            let was_refused = self.refused.remove(&scope).is_some();
            let was_stale = self.stale.remove(&scope);
            self.freshness.end(&watch_name(&scope));
            let mut changes = self.gone(&scope, &HashSet::new());
            if was_refused || was_stale {
                changes.push(scope.withheld(None));
            }
            self.apply(changes);
        }
        for scope in needed {
            let version = objects::versions(scope.kind)[0];
            self.watch(scope, version);
        }
    }

    /// What is watched only where objects name it.
    pub(super) fn needed(&self) -> HashSet<Scope> {
        let world = self.compiler.world();
        let in_namespace = |kind| move |namespace| Scope::of(kind, Some(namespace));
        let config_maps = world.namespaces_with_config_maps(&self.settings);
        let mut needed: HashSet<_> = config_maps.map(in_namespace(Kind::ConfigMap)).collect();
        if self.secrets == Secrets::Namespaces {
            let namespaces = world.namespaces_with_tls(&self.settings);
            needed.extend(namespaces.map(in_namespace(Kind::Secret)));
            if let Some(DefaultCertificate::Secret { namespace, .. }) =
                &self.settings.default_certificate
            {
                needed.insert(in_namespace(Kind::Secret)(namespace.as_str().into()));
            }
        }
        needed.extend(world.secrets_by_name(&self.settings).map(|secret| Scope {
            name: Some((*secret.name).into()),
            ..in_namespace(Kind::Secret)(Arc::clone(&secret.namespace))
        }));
        if let Some(namespaces) = namespaces(&self.settings) {
            let is_watched = |it: &Arc<str>| namespaces.contains(&**it);
            needed.retain(|scope| scope.namespace.as_ref().is_some_and(is_watched));
        }
        needed
    }

    pub(super) fn take(&mut self, messages: Vec<Message>) {
        let mut changes = self.last_good(&messages);
        let mut seen = Vec::new();
        let mut progress = Progress::default();
        let mut follow = false;
        for message in messages {
            let (scope, version) = match message {
                // What came late from a watch that has been given up.
                Message::Listing(scope, _)
                | Message::Listed(scope, _)
                | Message::Applied(scope, _)
                | Message::Deleted(scope, ..)
                | Message::Refused(scope, _)
                    if !self.watches.contains_key(&scope) =>
                {
                    continue;
                }
                // How far the watch has come, the end of the list tells.
                Message::Listing(_, item) => {
                    take_item(*item, &mut changes, &mut seen);
                    continue;
                }
                Message::Listed(scope, listed) => {
                    self.pending.remove(&scope);
                    if self.refused.remove(&scope).is_some() {
                        info!(%scope, "the API server shows it");
                        changes.push(scope.withheld(None));
                    }
                    for change in self.gone(&scope, &listed.keys) {
                        if let Change::Remove(key) = &change {
                            seen.extend(lost(key));
                        }
                        changes.push(change);
                    }
                    (scope, listed.version)
                }
                Message::Applied(scope, item) => {
                    let version = item.version;
                    take_item(*item, &mut changes, &mut seen);
                    (scope, version)
                }
                Message::Deleted(scope, key, version) => {
                    seen.extend(lost(&key));
                    changes.push(scope.gone(key));
                    (scope, version)
                }
                Message::Refused(scope, refusal) => {
                    self.refused(scope, refusal, &mut changes);
                    continue;
                }
                Message::Served(served) => {
                    self.serve(served);
                    continue;
                }
            };
            if kinds::has_status(scope.kind) {
                follow = true;
                progress.advance(scope.kind, scope.namespace.as_deref(), version);
            }
        }
        self.apply(changes);
        if follow {
            self.follow_named();
        }
        self.load();
        if !seen.is_empty() {
            // Who is told has gone only if the program ends.
            let _ = self.routes.send(seen);
        }
        self.proceed(&progress);
    }

    pub(super) fn take_kept(&mut self) {
        let changes = self.kept.changes();
        self.apply(changes);
        // A version that serves again may name one.
        self.follow_named();
        self.load();
        self.proceed(&Progress::default());
    }

    /// The API server refuses a watch. What it showed stays, and what it serves says so. The first
    /// table does not wait for it where routes work without what it would show: where there are no
    /// ReferenceGrants, nothing is granted, and routes tell of Secrets that they miss. Nor where whoever
    /// runs Ferrix did not mean it to serve Ingress or the Gateway API.
    fn refused(&mut self, scope: Scope, refusal: Refusal, changes: &mut Vec<Change>) {
        let listed = !self.pending.contains(&scope);
        let optional = match refusal {
            Refusal::NotInstalled => is_add_on(scope.kind),
            Refusal::Forbidden => match scope.kind {
                Kind::ConfigMap | Kind::Secret => scope.namespace.is_some(),
                // The role may be one of the release before.
                Kind::BackendPolicy | Kind::Filter | Kind::Ingress | Kind::IngressClass => true,
                kind => discovery::KINDS.contains(&kind),
            },
        };
        if optional {
            self.pending.remove(&scope);
        }
        let nothing_to_see = optional && refusal == Refusal::NotInstalled && !listed;
        if self.refused.insert(scope.clone(), refusal) == Some(refusal) {
            return;
        }
        if nothing_to_see {
            info!(%scope, "the API server does not know it: there are none");
            return;
        }
        let reason = refusal.reason(&scope);
        error!(%scope, reason, "the API server refuses to show it; what was seen stays");
        changes.push(scope.withheld(Some(reason)));
    }

    /// What a silent watch has shown may no longer be true, and statuses say so: once for as long as it
    /// is silent.
    pub(super) fn look_at_freshness(&mut self) {
        let mut changes = Vec::new();
        for scope in self.watches.keys() {
            // A refusal says more.
            let refused = self.refused.contains_key(scope);
            let stale = !refused && self.freshness.is_stale(&watch_name(scope));
            if stale && self.stale.insert(scope.clone()) {
                let since =
                    Timestamp::now() - SignedDuration::try_from(pulse::STALE).unwrap_or_default();
                let reason = format!(
                    "the API server has told nothing of them since {since:.0}, or nothing of it \
                     arrives here"
                );
                warn!(%scope, reason, "a watch is silent; what was seen stays");
                changes.push(scope.withheld(Some(reason)));
            } else if !stale && self.stale.remove(scope) && !refused {
                info!(%scope, "a watch is heard again");
                changes.push(scope.withheld(None));
            }
        }
        if !changes.is_empty() {
            log(self.compiler.apply(changes));
            self.tell_deeds();
        }
    }

    /// That all is gone which the world has of a scope, but for `kept`.
    fn gone(&self, scope: &Scope, kept: &HashSet<Key>) -> Vec<Change> {
        let keys = self.compiler.world().keys(scope.kind).into_iter();
        keys.filter(|key| scope.has(key) && !kept.contains(key))
            .map(|key| scope.gone(key))
            .collect()
    }

    fn apply(&mut self, changes: Vec<Change>) {
        log(match &self.snapshot {
            None => self.compiler.apply(changes),
            Some(snapshot) => (self.compiler).apply_and_note(changes, |change, effect, world| {
                snapshot.record(change, effect, world);
            }),
        });
    }

    /// The versions that an earlier process has seen of objects that are listed, where these are not good.
    fn last_good(&mut self, messages: &[Message]) -> Vec<Change> {
        let Some(snapshot) = &mut self.snapshot else {
            return Vec::new();
        };
        let listed = messages.iter().filter_map(|message| match message {
            Message::Listing(_, item) => Some(&**item),
            _ => None,
        });
        snapshot.last_good(listed, self.compiler.world())
    }

    fn may_restore(&self) -> bool {
        !self.loaded && self.snapshot.as_ref().is_some_and(Snapshot::may_restore)
    }

    /// Publishes what an earlier process in the pod had seen, as the API server has not listed all that
    /// there is in time.
    pub(super) fn restore(&mut self) {
        let Some(restored) = self.snapshot.as_mut().and_then(Snapshot::restore) else {
            return;
        };
        let snapshot::Restored {
            mut world,
            progress,
            at,
        } = restored;
        for kind in Kind::ALL {
            let reason = format!(
                "the API server has not listed every kind since this process started, and what is \
                 served is what an earlier one in the same pod had seen until {at}"
            );
            world.withhold(kind, None, Some(reason));
        }
        if !matches!(self.compiler.restore(world, at), Published::Table { .. }) {
            return;
        }
        warn!(
            until = %at,
            "the API server does not list every kind; what an earlier process in this pod had seen is \
             served until it does"
        );
        let restored = true;
        self.standing.send_replace(Standing { progress, restored });
    }

    fn load(&mut self) {
        let listed = self.discovered && self.pending.is_empty();
        if self.loaded || !listed || self.kept.is_awaited(Instant::now()) {
            return;
        }
        self.loaded = true;
        let published = self.compiler.loaded();
        info!(after = ?self.started.elapsed(), "every kind has been listed");
        log(published);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.loaded(self.compiler.world());
        }
    }

    /// Tells how far the watches have come; not before anything is served.
    fn proceed(&mut self, further: &Progress) {
        self.listed.merge(further);
        let listed = &self.listed;
        // A route that needs Secrets which have not been listed yet is not served as it should be.
        if self.compiler.is_serving() && self.pending.is_empty() {
            self.standing.send_if_modified(|standing| {
                let differs = standing.restored || standing.progress != *listed;
                if differs {
                    standing.progress.clone_from(listed);
                    standing.restored = false;
                }
                differs
            });
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.proceed(listed);
        }
        if self.loaded {
            self.tell_bad_routes();
            self.tell_deeds();
        }
    }

    /// Not while anything is out of sight that Services follow from: what is not seen is not gone.
    fn tell_deeds(&self) {
        const FOLLOWED: [Kind; 5] = [
            Kind::Gateway,
            Kind::GatewayClass,
            Kind::ListenerSet,
            Kind::Namespace,
            Kind::Service,
        ];
        let is_seen = |kind| {
            let scope = Scope::of(kind, None);
            let is_optional = kind == Kind::ListenerSet;
            (is_optional || self.watches.contains_key(&scope))
                && !self.pending.contains(&scope)
                && !self.refused.contains_key(&scope)
                && !self.stale.contains(&scope)
        };
        let deeds = match FOLLOWED.into_iter().all(is_seen) {
            true => self.compiler.gateway_services(),
            false => Deeds::default(),
        };
        self.deeds.send_if_modified(|told| {
            let differ = *told != deeds;
            if differ {
                *told = deeds;
            }
            differ
        });
    }

    /// Not before all has been listed: of what has not been seen yet nobody knows whether it is bad.
    fn tell_bad_routes(&self) {
        let bad = self.compiler.world().bad_routes(&self.settings);
        let bad = bad.map(|(key, uid, last_good)| {
            let (uid, last_good) = (uid.into(), last_good.cloned());
            (key.clone(), BadRoute { uid, last_good })
        });
        let bad: BTreeMap<_, _> = bad.collect();
        self.bad.send_if_modified(|told| {
            let differs = told.as_deref() != Some(&bad);
            if differs {
                *told = Some(Arc::new(bad));
            }
            differs
        });
    }

    fn survive(&mut self, step: impl FnOnce(&mut Self)) {
        if panic::catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            error!("a change could not be taken in; what was served before is served still");
        }
    }
}

fn take_item(item: Item, changes: &mut Vec<Change>, seen: &mut Vec<Sighting>) {
    match (item.key.kind, item.seen) {
        (Kind::Namespace, _) => seen.push(Sighting::Namespace(
            shared(&item.key.name),
            item.terminating,
        )),
        (_, Some(route)) => seen.push(Sighting::Route(item.key, Some(Box::new(route)))),
        (_, None) => {}
    }
    changes.push(item.change);
}

/// That an object is gone, where status writing has to know.
fn lost(key: &Key) -> Option<Sighting> {
    match key.kind {
        Kind::Namespace => Some(Sighting::Namespace(shared(&key.name), false)),
        kind => kinds::has_status(kind).then(|| Sighting::Route(key.clone(), None)),
    }
}

/// What the freshness of a watch goes by.
fn watch_name(scope: &Scope) -> (&'static str, Option<Arc<str>>, Option<Arc<str>>) {
    let Scope {
        kind,
        namespace,
        name,
    } = scope;
    (kind.as_str(), namespace.clone(), name.clone())
}

impl Scope {
    /// That it cannot be seen, for this reason, or that it can.
    fn withheld(&self, reason: Option<String>) -> Change {
        Change::Withhold {
            kind: self.kind,
            namespace: self.namespace.clone(),
            reason,
        }
    }
}

impl Refusal {
    /// Why, and what to do. In the words of `deploy/ferrix.yaml`; a chart's release has names of its
    /// own.
    fn reason(self, scope: &Scope) -> String {
        let Scope {
            kind, namespace, ..
        } = scope;
        match (self, kind, namespace) {
            (Self::NotInstalled, Kind::IngressRoute, _) => {
                "the API server does not know IngressRoute; install it with \
                 `ferrix crds | kubectl apply --server-side -f -`"
                    .to_owned()
            }
            (Self::NotInstalled, ..) => format!("the API server does not know {kind}"),
            (Self::Forbidden, Kind::ConfigMap | Kind::Secret, Some(namespace)) => format!(
                "Ferrix may not list the {kind}s of namespace {namespace}; allow it with \
                 `kubectl -n {namespace} create rolebinding ferrix-secrets \
                 --clusterrole=ferrix-secrets --serviceaccount=ferrix:ferrix`, or the names of your \
                 installation"
            ),
            (Self::Forbidden, _, None) => {
                let plural = kind.plural();
                format!("Ferrix may not list and watch {plural}; its ClusterRole must allow both")
            }
            (Self::Forbidden, _, Some(namespace)) => format!(
                "Ferrix may not list and watch {} of namespace {namespace}; its Role there must \
                 allow both",
                kind.plural()
            ),
        }
    }
}

/// Whether a kind is one that not every cluster has: one of the Gateway API, or one of ours that the release
/// before did not have, as the chart does not upgrade definitions.
fn is_add_on(kind: Kind) -> bool {
    objects::group(kind) == objects::group(Kind::Gateway)
        || matches!(
            kind,
            Kind::BackendPolicy | Kind::XBackendTrafficPolicy | Kind::Filter
        )
}

/// A cluster changes all the time: how often is for metrics to tell.
fn log(published: Published) {
    match published {
        Published::Nothing => {}
        Published::Services {
            generation,
            services,
        } => debug!(generation, services, "endpoints changed"),
        Published::Table { generation } => debug!(generation, "a new table"),
    }
}
