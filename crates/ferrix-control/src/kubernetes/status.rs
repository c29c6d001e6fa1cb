//! Writes what is due: statuses by server-side apply, and an Event for what went wrong.
//!
//! Only the replica that leads does. Only fields of our own are ever written.

use std::{sync::Arc, time::Instant};

use k8s_openapi::api::{core::v1::ObjectReference, events::v1::Event};
use kube::{
    Api, Client,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch::Receiver},
    task::JoinSet,
};
use tracing::{debug, info, warn};

use super::{
    Identity,
    backoff::{Blame, News},
    census::Offer,
    figures::Figures,
    leases::{self, Leases},
    ledger::{Ledger, Other, Write, Written},
    replica::FIELD_MANAGER,
    seen,
    source::Sighting,
    waits,
    watch_kind::{self, Scope},
};
use crate::{
    kinds,
    objects::{self, Key, Kind},
    report::{Reason, Report},
    status::{Signature, Writer},
};

/// Writes at once. The API server is shared.
const CONCURRENCY: usize = 16;

/// How long a write may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// How long no Events are written after one could not be.
const EVENTS_PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

/// The longest note of an Event that the API server takes.
const MAX_NOTE: usize = 1024;

pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) identity: Arc<Identity>,
    /// Of this replica.
    pub(super) offer: Offer,
    pub(super) sightings: UnboundedReceiver<Vec<Sighting>>,
    pub(super) reports: Receiver<Arc<Report>>,
    pub(super) leases: Receiver<Arc<Leases>>,
    pub(super) leading: Receiver<bool>,
    pub(super) figures: Arc<Figures>,
}

/// What came of a write.
pub(super) struct Sent {
    write: Write,
    pub(super) outcome: Written,
    /// Why it was not done.
    error: Option<kube::Error>,
    /// What came of its Events, if it had any.
    events: Option<Result<(), kube::Error>>,
}

impl Sent {
    /// Whether the namespace is: nothing is made in it any more.
    pub(super) fn is_about_to_go(&self) -> bool {
        let Some(Err(kube::Error::Api(status))) = &self.events else {
            return false;
        };
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        causes.any(|cause| cause.reason == "NamespaceTerminating")
    }
}

/// Writes until the source ends.
pub(super) async fn run(mut inputs: Inputs) {
    let mut ledger = Ledger::new(&inputs.identity.installation(), inputs.offer);
    let mut events = Events::default();
    let mut writes: JoinSet<Sent> = JoinSet::new();
    // Events about other installations, which nobody waits for.
    let mut told = JoinSet::new();
    loop {
        let now = Instant::now();
        if *inputs.leading.borrow() {
            for mut write in ledger.writes(CONCURRENCY - writes.len(), now) {
                if events.are_paused(now) {
                    write.events.clear();
                }
                writes.spawn(send(
                    inputs.client.clone(),
                    Arc::clone(&inputs.identity),
                    write,
                ));
            }
        }
        for other in ledger.others_to_tell_of() {
            let (client, identity) = (inputs.client.clone(), Arc::clone(&inputs.identity));
            told.spawn(async move { tell_of(&client, &identity, &other).await });
        }
        while told.try_join_next().is_some() {}
        inputs.figures.set_others(ledger.others());
        let outdated = ledger.is_definition_outdated();
        inputs.figures.set_definition_outdated(outdated);
        let full = writes.len() == CONCURRENCY;
        let next = ledger.next().filter(|_| !full);
        tokio::select! {
            sightings = inputs.sightings.recv() => match sightings {
                None => return,
                Some(sightings) => for sighting in sightings {
                    match sighting {
                        Sighting::Route(key, seen) => {
                            ledger.see(key, seen.map(|seen| *seen), Instant::now());
                        }
                        Sighting::Namespace(name, terminating) => {
                            ledger.namespace(&name, terminating);
                        }
                    }
                },
            },
            Ok(()) = inputs.reports.changed() => {
                let report = Arc::clone(&inputs.reports.borrow_and_update());
                // What an earlier process had seen says nothing of the objects as they are now.
                if report.snapshot().is_none() {
                    ledger.report(report, Instant::now());
                }
            }
            Ok(()) = inputs.leases.changed() => {
                let leases = Arc::clone(&inputs.leases.borrow_and_update());
                let replicas = (leases.iter().flatten())
                    .filter(|(_, observed)| observed.is_alive())
                    .filter_map(|(name, observed)| Some((name.clone(), observed.replica()?)));
                ledger.replicas(replicas.collect(), Instant::now());
            }
            Ok(()) = inputs.leading.changed() => {
                let leading = *inputs.leading.borrow_and_update();
                inputs.figures.set_leads(leading);
                ledger.lead(leading, Instant::now());
            }
            Some(sent) = writes.join_next() => match sent {
                Ok(sent) => take_in(sent, &mut ledger, &mut events, &inputs.figures),
                Err(error) => warn!(%error, "a write of a status was given up"),
            },
            () = waits::until(next) => {}
        }
    }
}

/// Takes note of what came of a write, and says what is new about it.
fn take_in(sent: Sent, ledger: &mut Ledger, events: &mut Events, figures: &Figures) {
    let about_to_go = sent.is_about_to_go();
    let Sent {
        write,
        outcome,
        error,
        events: told,
    } = sent;
    match outcome {
        Written::Done(_) | Written::Nameless(_) => figures.add_written(),
        Written::Obsolete => {}
        Written::Failed(_) => figures.add_failed(),
    }
    let (key, now) = (&write.key, Instant::now());
    let outdated = ledger.is_definition_outdated();
    let news = ledger.written(&write, outcome, now);
    match (outdated, ledger.is_definition_outdated()) {
        (false, true) => warn!(
            kind = key.kind.as_str(),
            "the API server's definition of this kind is of an older release: it has no place for \
             status.installation, which statuses go without, so that they cannot be taken back and \
             two installations of one class do not know each other. Apply the definition of this \
             release: ferrix crds | kubectl apply --server-side --force-conflicts -f -"
        ),
        (true, false) => info!(
            kind = key.kind.as_str(),
            "the API server's definition of this kind has all that statuses need"
        ),
        _ => {}
    }
    match (news, outcome, error) {
        (Some(News::Works), ..) => info!("statuses can be written again"),
        (Some(News::Fails), _, Some(error)) => warn!(
            route = %key,
            %error,
            "statuses cannot be written; it is tried again, ever less often, and this is said once"
        ),
        (_, Written::Failed(Blame::Object), Some(error)) if ledger.is_first_refusal(key) => {
            warn!(route = %key, %error, "its status is refused; it is tried again, ever less often");
        }
        (_, _, Some(error)) => debug!(route = %key, %error, "a status cannot be written"),
        _ => {}
    }
    match told {
        Some(_) if about_to_go => ledger.refuses(&key.namespace),
        Some(told) => events.take_in(told, now),
        None => {}
    }
}

/// Whether Events can be written.
#[derive(Debug, Default)]
struct Events {
    failed: Option<Instant>,
}

impl Events {
    /// Nobody depends on an Event: where they fail, there are none for a while.
    fn are_paused(&self, now: Instant) -> bool {
        self.failed
            .is_some_and(|failed| now < failed + EVENTS_PAUSE)
    }

    fn take_in(&mut self, told: Result<(), kube::Error>, now: Instant) {
        match told {
            Ok(()) if self.failed.take().is_some() => info!("Events can be written again"),
            Ok(()) => {}
            Err(error) => {
                if self.failed.replace(now).is_none() {
                    warn!(%error, "Events cannot be written; this is said once");
                }
            }
        }
    }
}

/// Writes a status, and then its Events.
pub(super) async fn send(client: Client, identity: Arc<Identity>, write: Write) -> Sent {
    let mut sent = match apply(&client, &identity.controller, &write).await {
        Ok(outcome) => Sent {
            write,
            outcome,
            error: None,
            events: None,
        },
        Err(error) => Sent {
            write,
            outcome: Written::Failed(blame(&error)),
            error: Some(error),
            events: None,
        },
    };
    let (Written::Done(_) | Written::Nameless(_)) = sent.outcome else {
        return sent;
    };
    let object = (&sent.write.key, &*sent.write.uid);
    for (reason, message) in &sent.write.events {
        let told = tell(&client, &identity, object, *reason, message).await;
        let failed = told.is_err();
        sent.events = Some(told);
        if failed {
            break;
        }
    }
    sent
}

/// Whose fault it is that a status was not written.
pub(super) fn blame(error: &kube::Error) -> Blame {
    match error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => Blame::Namespace,
            400..=428 | 430..=499 => Blame::Object,
            _ => Blame::Kind,
        },
        _ => Blame::Kind,
    }
}

/// Writes a status; an error is one that may pass.
pub(super) async fn apply(
    client: &Client,
    controller: &str,
    write: &Write,
) -> Result<Written, kube::Error> {
    let key = &write.key;
    // Only objects of such kinds are ever seen by the ledger.
    let Some(form) = kinds::form(key.kind) else {
        return Ok(Written::Obsolete);
    };
    let writer = Writer {
        installation: Some(&write.installation),
        controller,
    };
    let namespace = (key.kind.is_namespaced()).then(|| Arc::clone(&key.namespace));
    let scope = Scope::of(key.kind, namespace);
    let objects = watch_kind::api(client, &scope, write.api_version);
    // The identifier keeps a status from a route that was deleted and made again, the version from one
    // that another installation has written to meanwhile.
    let mut patch = json!({
        "apiVersion": objects::api_version(key.kind, write.api_version),
        "kind": key.kind.as_str(),
        "metadata": {"name": &*key.name, "uid": &*write.uid},
        "status": (form.write)(&write.status, &writer),
    });
    if key.kind.is_namespaced() {
        patch["metadata"]["namespace"] = json!(&*key.namespace);
    }
    if write.version != 0 {
        patch["metadata"]["resourceVersion"] = json!(write.version.to_string());
    }
    let manager = match form.signature {
        Signature::Name => FIELD_MANAGER.to_owned(),
        Signature::Manager | Signature::Entries => seen::manager(&write.installation),
    };
    let mut patched = patch_status(&objects, &manager, &patch).await;
    if let Err(kube::Error::Api(refusal)) = &patched
        && leave_out_undeclared(&mut patch["status"], &refusal.message)
    {
        patched = patch_status(&objects, &manager, &patch).await;
    }
    match patched {
        Ok(object) => {
            let version = seen::version(&object);
            let kept = seen::status(key.kind, &object, controller).unwrap_or_default();
            let nameless = form.signature == Signature::Name
                && write.status.installation.is_some()
                && kept.installation.is_none();
            Ok(match nameless {
                true => Written::Nameless(version),
                false => Written::Done(version),
            })
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Written::Obsolete),
        Err(error) => Err(error),
    }
}

async fn patch_status(
    objects: &Api<DynamicObject>,
    manager: &str,
    patch: &Value,
) -> Result<DynamicObject, kube::Error> {
    let name = patch["metadata"]["name"].as_str().unwrap_or_default();
    let parameters = PatchParams::apply(manager).force();
    let patch = Patch::Apply(patch);
    let patched = objects.patch_status(name, &parameters, &patch);
    waits::answered(PATIENCE, patched).await
}

/// Takes those fields out of a status that the API server does not know, where that is why it refuses.
/// By server-side apply it drops none by itself, but says so, as a failure of its own (500). Whether there
/// was any.
fn leave_out_undeclared(status: &mut Value, refusal: &str) -> bool {
    let Some(fields) = status.as_object_mut() else {
        return false;
    };
    let before = fields.len();
    fields.retain(|name, _| {
        let undeclared = format!(".status.{name}: field not declared in schema");
        !refusal.contains(&undeclared)
    });
    fields.len() < before
}

/// An Event, which nobody depends on: it is not tried again.
async fn tell(
    client: &Client,
    identity: &Identity,
    (key, uid): (&Key, &str),
    reason: Reason,
    message: &str,
) -> Result<(), kube::Error> {
    let now = leases::now();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", key.name, now.0.as_nanosecond())),
            ..ObjectMeta::default()
        },
        action: Some("Accept".to_owned()),
        event_time: Some(now),
        note: Some(shortened(message)),
        reason: Some(reason.as_str().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(api_version(key.kind)),
            kind: Some(key.kind.as_str().to_owned()),
            name: Some(key.name.to_string()),
            namespace: Some(key.namespace.to_string()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("ferrix.com/ferrix".to_owned()),
        reporting_instance: Some(identity.name.clone()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), &key.namespace);
    let parameters = PostParams::default();
    let created = waits::answered(PATIENCE, events.create(&parameters, &event)).await;
    created.map(drop)
}

/// Says once that another installation serves this class as well.
async fn tell_of(client: &Client, identity: &Identity, other: &Other) {
    let Other {
        installation,
        key,
        uid,
    } = other;
    let message = format!(
        "The installation {installation} has written the status of this route, and maybe of others of \
         this class: {} serves them too, and leaves their statuses as they are. Give one of the two \
         another class. If {installation} is gone, `ferrix withdraw --installation {installation}` \
         takes its statuses back.",
        identity.installation(),
    );
    warn!(route = %key, "{message}");
    // The log has it, whether there is an Event or not.
    let _ = tell(
        client,
        identity,
        (key, uid),
        Reason::OtherInstallation,
        &message,
    )
    .await;
}

/// The version that statuses are written in: the newest.
fn api_version(kind: Kind) -> String {
    objects::api_version(kind, objects::versions(kind)[0])
}

fn shortened(message: &str) -> String {
    if message.len() <= MAX_NOTE {
        return message.to_owned();
    }
    let ellipsis = "…";
    let end = message.floor_char_boundary(MAX_NOTE - ellipsis.len());
    format!("{}{ellipsis}", &message[..end])
}
