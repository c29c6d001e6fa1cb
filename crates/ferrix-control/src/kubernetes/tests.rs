//! The API server's part is played by a script: what is asked without being in it fails the test.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use ferrix_table::sockets::{Place, Refusals};
use http::{Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::{
    backoff::Blame,
    watch_kind::{Listed, Message, Refusal, Scope},
    *,
};
use crate::{
    decode,
    fallback::{Fallback, Fallbacks},
    ingressroute,
    objects::{self, Kind},
    report::Reason,
    settings::GatewaySettings,
    status::Status,
    world::Change,
};

mod expose;

/// One request that is expected, and its answer: an array is what a watch tells, one after the other.
struct Scene {
    asked: &'static str,
    code: u16,
    answer: Value,
}

fn scene(asked: &'static str, code: u16, answer: Value) -> Scene {
    Scene {
        asked,
        code,
        answer,
    }
}

/// An API server that follows a script.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Played>>);

#[derive(Default)]
struct Played {
    scenes: VecDeque<Scene>,
    /// What was sent, in order.
    bodies: Vec<Value>,
    /// The query of each, in order.
    queries: Vec<String>,
    /// What was asked beyond the script.
    wrong: Vec<String>,
}

impl Script {
    fn new(scenes: impl IntoIterator<Item = Scene>) -> Self {
        let script = Self::default();
        script.0.lock().unwrap().scenes.extend(scenes);
        script
    }

    /// What is asked next.
    fn then(&self, scene: Scene) {
        self.0.lock().unwrap().scenes.push_back(scene);
    }

    fn client(&self) -> Client {
        let script = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let script = script.clone();
            async move {
                let (parts, body) = request.into_parts();
                let asked = format!("{} {}", parts.method, parts.uri.path());
                let body = body.collect_bytes().await.unwrap();
                let query = parts.uri.query().unwrap_or_default().to_owned();
                script.0.lock().unwrap().queries.push(query);
                let (code, answer) = script.play(&asked, &body);
                let answer = match answer {
                    Value::Array(told) => told.iter().map(|it| format!("{it}\n")).collect(),
                    answer => answer.to_string(),
                };
                let answer = Body::from(answer.into_bytes());
                Ok::<_, std::convert::Infallible>(
                    Response::builder().status(code).body(answer).unwrap(),
                )
            }
        });
        Client::new(service, "default")
    }

    fn play(&self, asked: &str, body: &[u8]) -> (u16, Value) {
        let mut played = self.0.lock().unwrap();
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        match played.scenes.pop_front() {
            Some(scene) if scene.asked == asked => {
                played.bodies.push(sent.clone());
                // Null: what was sent comes back.
                let answer = if scene.answer.is_null() {
                    sent
                } else {
                    scene.answer
                };
                (scene.code, answer)
            }
            scene => {
                let expected = scene.map_or("nothing", |scene| scene.asked);
                played.wrong.push(format!("{asked} instead of {expected}"));
                (500, failure(500))
            }
        }
    }

    /// Waits until the script is at its end, and returns what was sent.
    async fn bodies(&self) -> Vec<Value> {
        let started = Instant::now();
        loop {
            {
                let played = self.0.lock().unwrap();
                assert_eq!(played.wrong, [""; 0]);
                if played.scenes.is_empty() {
                    return played.bodies.clone();
                }
                let left = played.scenes.len();
                assert!(
                    started.elapsed() < Duration::from_secs(15),
                    "{left} scenes are left"
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn failure(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "as the script says", "reason": "Script", "code": code, "metadata": {},
    })
}

fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        name: "me".to_owned(),
        namespace: "ferrix".to_owned(),
        installation: "ferrix".to_owned(),
        controller: CONTROLLER.to_owned(),
        pod: None,
    })
}

const CONTROLLER: &str = "ferrix.com/gateway-controller";

const LEASES: &str = "POST /apis/coordination.k8s.io/v1/namespaces/ferrix/leases";
const LEASE: &str = "PUT /apis/coordination.k8s.io/v1/namespaces/ferrix/leases/ferrix";
const STATUS: &str = "PATCH /apis/ferrix.com/v1/namespaces/default/ingressroutes/r/status";
const EVENTS: &str = "POST /apis/events.k8s.io/v1/namespaces/default/events";

/// Runs an election against a script; the Leases that are seen are none but listed.
fn elect(
    script: &Script,
    seen: leases::Leases,
) -> (
    Receiver<bool>,
    watch::Sender<bool>,
    tokio::task::JoinHandle<()>,
) {
    let (leading, leads) = watch::channel(false);
    let (leaving, left) = watch::channel(false);
    let (sender, seen) = watch::channel(Arc::new(seen));
    let client = script.client();
    let task = tokio::spawn(async move {
        let _sender = sender;
        election::run(election::Inputs {
            client,
            identity: identity(),
            namespaces: [leases::EVERYWHERE.to_owned()].into(),
            seen,
            leading,
            former: watch::channel(BTreeSet::new()).0,
            settled: watch::channel(false).1,
            left,
        })
        .await;
    });
    (leads, leaving, task)
}

async fn becomes(leads: &mut Receiver<bool>, expected: bool) {
    let changed = leads.wait_for(|leads| *leads == expected);
    let changed = tokio::time::timeout(Duration::from_secs(15), changed).await;
    changed.expect("in time").expect("the election goes on");
}

#[tokio::test]
async fn the_first_makes_the_lease_and_gives_it_back_when_it_leaves() {
    let script = Script::new([
        scene(LEASES, 201, Value::Null),
        scene(LEASE, 200, Value::Null),
    ]);
    let (mut leads, leaving, task) = elect(&script, Some([].into()));
    becomes(&mut leads, true).await;
    leaving.send_replace(true);
    becomes(&mut leads, false).await;
    let bodies = script.bodies().await;
    assert_eq!(bodies[0]["spec"]["holderIdentity"], "me");
    assert_eq!(bodies[0]["spec"]["leaseDurationSeconds"], 15);
    assert_eq!(bodies[0]["metadata"]["labels"][own::INSTALLATION], "ferrix");
    assert_eq!(bodies[1]["spec"]["holderIdentity"], "");
    task.await.unwrap();
}

#[tokio::test]
async fn who_is_slower_does_not_lead() {
    let script = Script::new([scene(LEASES, 409, failure(409))]);
    let (leads, leaving, task) = elect(&script, Some([].into()));
    script.bodies().await;
    leaving.send_replace(true);
    task.await.unwrap();
    assert!(!*leads.borrow());
}

#[tokio::test]
async fn nothing_is_asked_before_the_leases_are_known_and_while_another_holds() {
    let held = json!({
        "metadata": {"name": "ferrix"},
        "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15},
    });
    let lease: Lease = serde_json::from_value(held).unwrap();
    let observed = leases::Observed {
        lease,
        at: Instant::now(),
    };
    for seen in [None, Some([("ferrix".into(), observed)].into())] {
        let script = Script::new([]);
        let (leads, leaving, task) = elect(&script, seen);
        // Longer than the election ever waits.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        leaving.send_replace(true);
        task.await.unwrap();
        script.bodies().await;
        assert!(!*leads.borrow());
    }
}

#[tokio::test]
async fn a_lease_that_another_has_taken_is_given_up() {
    let script = Script::new([
        scene(LEASES, 201, Value::Null),
        scene(LEASE, 409, failure(409)),
    ]);
    let (mut leads, leaving, task) = elect(&script, Some([].into()));
    becomes(&mut leads, true).await;
    // It is renewed after five seconds, and another was there.
    becomes(&mut leads, false).await;
    leaving.send_replace(true);
    task.await.unwrap();
    assert_eq!(script.bodies().await.len(), 2);
}

fn write(events: Vec<(Reason, String)>) -> ledger::Write {
    ledger::Write {
        key: objects::key(Kind::IngressRoute, "default", "r"),
        installation: "ferrix/ferrix".into(),
        uid: "u".into(),
        version: 7,
        api_version: "v1",
        status: Status {
            entry_points: vec!["web".to_owned()],
            ..Status::default()
        },
        events,
    }
}

#[tokio::test]
async fn a_status_is_applied_by_our_own_field_manager() {
    let object = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": "default", "resourceVersion": "8"},
        "spec": {"route": {"rules": []}},
    });
    let script = Script::new([scene(STATUS, 200, object), scene(EVENTS, 201, Value::Null)]);
    let long = "é".repeat(2_000);
    let events = vec![(Reason::InvalidRule, long)];
    let sent = status::send(script.client(), identity(), write(events)).await;
    assert_eq!(sent.outcome, ledger::Written::Done(8));
    let bodies = script.bodies().await;
    assert_eq!(bodies[0]["metadata"]["uid"], "u");
    assert_eq!(bodies[0]["metadata"]["resourceVersion"], "7");
    assert_eq!(bodies[0]["status"]["entryPoints"], json!(["web"]));
    assert_eq!(bodies[1]["regarding"]["kind"], Kind::IngressRoute.as_str());
    assert_eq!(bodies[1]["reason"], "InvalidRule");
    assert_eq!(bodies[1]["type"], "Warning");
    let note = bodies[1]["note"].as_str().unwrap();
    assert!(
        note.len() <= 1024 && note.ends_with('…'),
        "{} bytes",
        note.len()
    );
}

/// A definition of a release before has no place for the name: the API server refuses the status, or
/// drops the name. Either way the rest of the status is written, once, and so are its Events.
#[tokio::test]
async fn a_status_goes_without_what_the_definition_has_no_place_for() {
    const UNDECLARED: &str = "failed to create typed patch object (default/r; ferrix.com/v1, \
                              Kind=IngressRoute): .status.installation: field not declared in schema";
    let refused = || {
        let mut refused = failure(500);
        refused["message"] = UNDECLARED.into();
        scene(STATUS, 500, refused)
    };
    let stored = || {
        let mut object = written_by(8, &[None])["items"][0].clone();
        object["status"] = json!({"entryPoints": ["web"]});
        scene(STATUS, 200, object)
    };
    let named = || {
        let mut write = write(vec![(Reason::InvalidRule, "wrong".to_owned())]);
        write.status.installation = Some("ferrix/ferrix".to_owned());
        write
    };
    let event = || scene(EVENTS, 201, Value::Null);
    for scenes in [vec![refused(), stored(), event()], vec![stored(), event()]] {
        let script = Script::new(scenes);
        let sent = status::send(script.client(), identity(), named()).await;
        assert_eq!(sent.outcome, ledger::Written::Nameless(8));
        let bodies = script.bodies().await;
        assert_eq!(bodies[0]["status"]["installation"], "ferrix/ferrix");
        if let [_, again, _] = &*bodies {
            assert_eq!(again["status"], json!({"entryPoints": ["web"]}));
            assert_eq!(again["metadata"], bodies[0]["metadata"]);
        }
    }
    // What is refused for another reason, or again, is not sent a third time.
    for (scenes, expected) in [
        (vec![scene(STATUS, 500, failure(500))], Blame::Kind),
        (
            vec![refused(), scene(STATUS, 422, failure(422))],
            Blame::Object,
        ),
    ] {
        let script = Script::new(scenes);
        let sent = status::send(script.client(), identity(), named()).await;
        assert_eq!(sent.outcome, ledger::Written::Failed(expected));
        script.bodies().await;
    }
}

/// The writer as a whole, with an API server whose definition is of a release before: two attempts for a
/// route, and then silence, whatever the watch shows.
#[tokio::test]
async fn a_writer_whose_status_is_pruned_does_not_go_on_writing() {
    let route = |version: &str, status: Value| {
        json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": {
                "name": "r", "namespace": "default", "uid": "u", "generation": 2,
                "resourceVersion": version,
            },
            "spec": {"route": {"rules": []}},
            "status": status,
        })
    };
    let mut refused = failure(500);
    refused["message"] = ".status.installation: field not declared in schema".into();
    let script = Script::new([scene(STATUS, 500, refused), scene(STATUS, 200, Value::Null)]);
    let served = Served::new();
    let figures = Arc::new(Figures::default());
    let (sight, sightings) = tokio::sync::mpsc::unbounded_channel();
    let (_leases, leases) = watch::channel(Arc::default());
    let leading = watch::Sender::new(true);
    let mut writer = tokio::spawn(status::run(status::Inputs {
        client: script.client(),
        identity: identity(),
        offer: census::Offer::default(),
        sightings,
        reports: served.reports.clone(),
        leases,
        leading: leading.subscribe(),
        figures: Arc::clone(&figures),
    }));
    let key = objects::key(Kind::IngressRoute, "default", "r");
    let see = |object: Value| {
        let object = serde_json::from_value(object).unwrap();
        let seen = seen::Seen::new((Kind::IngressRoute, "v1"), &object, CONTROLLER).unwrap();
        let sighting = source::Sighting::Route(key.clone(), Some(Box::new(seen)));
        sight.send(vec![sighting]).unwrap();
    };
    see(route("7", Value::Null));
    leading.send_replace(true);
    let bodies = script.bodies().await;
    assert_eq!(bodies.len(), 2);
    let written = bodies[1]["status"].clone();
    assert!(written["installation"].is_null());
    assert_eq!(written["conditions"].as_array().unwrap().len(), 4);
    // The watch shows what was stored, more than once. A route is looked at for its count alone within
    // 12 s after the writer has begun, so that another write would come in that time.
    for version in ["7", "8", "9"] {
        see(route(version, written.clone()));
        let longer = Duration::from_millis(4_500);
        let ended = tokio::time::timeout(longer, &mut writer).await;
        assert!(ended.is_err(), "the writer has ended");
        script.bodies().await;
    }
    assert!(figures.is_definition_outdated());
    assert_eq!((figures.written(), figures.failed()), (1, 0));
    writer.abort();
}

/// A namespace that is about to go takes no Events, and that is not said of each route in it.
#[tokio::test]
async fn who_is_told_that_a_namespace_is_about_to_go_does_not_ask_again() {
    let mut refused = failure(403);
    refused["details"] = json!({"causes": [{"reason": "NamespaceTerminating"}]});
    let object = written_by(8, &[None])["items"][0].clone();
    let cases = [
        (refused, true),
        (failure(403), false),
        (failure(503), false),
    ];
    for (answer, about_to_go) in cases {
        let code = answer["code"].as_u64().unwrap() as u16;
        let script = Script::new([
            scene(STATUS, 200, object.clone()),
            scene(EVENTS, code, answer),
        ]);
        let events = vec![
            (Reason::InvalidRule, "one".to_owned()),
            (Reason::ServiceNotFound, "two".to_owned()),
        ];
        let sent = status::send(script.client(), identity(), write(events)).await;
        assert_eq!(sent.outcome, ledger::Written::Done(8));
        script.bodies().await;
        assert_eq!(sent.is_about_to_go(), about_to_go);
    }
}

#[tokio::test]
async fn what_becomes_of_a_status_that_is_not_taken() {
    use ledger::Written::{Failed, Obsolete};

    let cases = [
        (404, Obsolete),
        (409, Obsolete),
        (429, Failed(Blame::Kind)),
        (401, Failed(Blame::Namespace)),
        (403, Failed(Blame::Namespace)),
        (400, Failed(Blame::Object)),
        (422, Failed(Blame::Object)),
        (500, Failed(Blame::Kind)),
        (503, Failed(Blame::Kind)),
    ];
    for (code, expected) in cases {
        // And no Event, which would tell of a status that nobody can read.
        let script = Script::new([scene(STATUS, code, failure(code))]);
        let events = vec![(Reason::InvalidRule, "wrong".to_owned())];
        let sent = status::send(script.client(), identity(), write(events)).await;
        assert_eq!(sent.outcome, expected, "{code}");
        script.bodies().await;
    }
}

/// Runs a watch over Services against a script until the API server refuses. What was told, and why
/// it ended.
async fn refused(script: &Script) -> (Vec<Message>, Option<Refusal>) {
    watched(script, watch_kind::config(&Scope::of(Kind::Service, None))).await
}

async fn watched(
    script: &Script,
    config: kube::runtime::watcher::Config,
) -> (Vec<Message>, Option<Refusal>) {
    let scope = Scope::of(Kind::Service, None);
    let (sink, mut inbox) = tokio::sync::mpsc::channel(16);
    let api = watch_kind::api(&script.client(), &scope, "v1");
    let mut health = health::Health::default();
    let watch = watch_kind::watch(api, config, (&scope, "v1"), "", &mut health, &sink);
    let refusal = tokio::time::timeout(Duration::from_secs(15), watch).await;
    drop(sink);
    let mut told = Vec::new();
    while let Some(message) = inbox.recv().await {
        told.push(message);
    }
    (told, refusal.expect("in time"))
}

#[tokio::test]
async fn a_refusal_after_a_list_tells_nothing_of_objects() {
    const SERVICES: &str = "GET /api/v1/services";

    let list = || {
        let service = json!({"metadata": {"name": "api", "namespace": "default"}});
        let list = json!({
            "apiVersion": "v1", "kind": "ServiceList",
            "metadata": {"resourceVersion": "7"}, "items": [service],
        });
        scene(SERVICES, 200, list)
    };
    // The watch ends because too much has happened meanwhile.
    let gone = || {
        scene(
            SERVICES,
            200,
            json!({"type": "ERROR", "object": failure(410)}),
        )
    };
    let refusals = [(404, Refusal::NotInstalled), (403, Refusal::Forbidden)];
    for (code, expected) in refusals {
        let no = || scene(SERVICES, code, failure(code));
        for script in [vec![list(), gone(), no()], vec![list(), no()]] {
            let script = Script::new(script);
            let (told, refusal) = refused(&script).await;
            assert_eq!(refusal, Some(expected));
            script.bodies().await;
            assert!(
                matches!(&*told, [Message::Listing(..), Message::Listed(_, listed)] if listed.keys.len() == 1)
            );
        }
    }
}

/// After a stream, and where there is none, the API server is asked for a list.
#[tokio::test]
async fn a_stream_comes_first_and_then_lists() {
    const SERVICES: &str = "GET /api/v1/services";
    const STREAM: &str = "sendInitialEvents=true";

    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "resourceVersion": "7"},
        })
    };
    let list = || {
        let list = json!({
            "apiVersion": "v1", "kind": "ServiceList",
            "metadata": {"resourceVersion": "8"}, "items": [service("listed")],
        });
        scene(SERVICES, 200, list)
    };
    let told = |ends: bool| {
        let end = json!({"type": "BOOKMARK", "object": {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"},
            },
        }});
        let mut told = vec![json!({"type": "ADDED", "object": service("streamed")})];
        told.extend(ends.then_some(end));
        scene(SERVICES, 200, Value::Array(told))
    };
    let lost = |code| {
        let told = json!({"type": "ERROR", "object": failure(code)});
        scene(SERVICES, 200, told)
    };
    let no = || scene(SERVICES, 403, failure(403));
    let failed = |code| scene(SERVICES, code, failure(code));
    let cases = [
        // Too much has happened since.
        (
            vec![told(true), lost(410), list(), no()],
            "streamed, 1 listed, listed, 1 listed",
        ),
        // It ends before its end is told.
        (
            vec![told(false), told(false), list(), no()],
            "streamed, listed, 1 listed",
        ),
        // Its database has no streams.
        (vec![lost(500), list(), no()], "listed, 1 listed"),
        (vec![failed(422), list(), no()], "listed, 1 listed"),
        (vec![failed(500), list(), no()], "listed, 1 listed"),
    ];
    for (scenes, expected) in cases {
        let script = Script::new(scenes);
        let config = watch_kind::config(&Scope::of(Kind::Service, None)).streaming_lists();
        let (told, refusal) = watched(&script, config).await;
        assert_eq!(refusal, Some(Refusal::Forbidden));
        script.bodies().await;
        let told = told.iter().map(|message| match message {
            Message::Listing(_, item) => item.key.name.to_string(),
            Message::Listed(_, listed) => format!("{} listed", listed.keys.len()),
            message => panic!("{message:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>().join(", "), expected);
        let queries = script.0.lock().unwrap().queries.clone();
        let last_stream = queries.iter().rposition(|it| it.contains(STREAM)).unwrap();
        let first_list = queries.iter().position(|it| it.contains("limit=")).unwrap();
        assert!(
            queries[0].contains(STREAM) && last_stream < first_list,
            "{queries:?}"
        );
    }
}

/// A version of a route.
fn route(generation: i64, matches: &str) -> Value {
    json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {
            "name": "r", "namespace": "default", "uid": "u", "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"route": {"rules": [{
            "matches": matches, "service": {"name": "api", "namespace": "other", "port": 80},
        }]}},
    })
}

/// A source whose client is never answered, with all that it needs to serve one route.
struct Served {
    source: source::Source,
    watches: Watches,
    reader: ferrix_table::Reader,
    reports: Receiver<Arc<Report>>,
    /// What the rule of the route matches.
    matches: &'static str,
}

impl Served {
    fn new() -> Self {
        Self::with("PathPrefix(`/`)", revisions::Reader::default())
    }

    /// The second version of a route, and what was kept of the first.
    fn with(matches: &'static str, kept: revisions::Reader) -> Self {
        let mut served = Self::unlisted(matches, kept);
        let nothing = Message::Served(discovery::Served::new());
        served.source.take(vec![nothing]);
        served.listed_all();
        served
    }

    /// Nothing has been listed.
    fn unlisted(matches: &'static str, kept: revisions::Reader) -> Self {
        Self::by(GatewaySettings::default(), matches, kept)
    }

    /// The same, with these settings.
    fn by(gateway: GatewaySettings, matches: &'static str, kept: revisions::Reader) -> Self {
        let client = Client::new(
            service_fn(|_: Request<Body>| {
                std::future::pending::<Result<Response<Body>, kube::Error>>()
            }),
            "default",
        );
        let (publisher, reader) = ferrix_table::publish::channel();
        let entry_point = ferrix_table::table::EntryPoint::http("web");
        let mut settings = Settings::new(vec![entry_point]);
        settings.gateway = Some(gateway);
        let compiler = Compiler::new(settings.clone(), publisher);
        let reports = compiler.reports();
        let secrets = Secrets::Namespaces;
        let watches = Watches::default();
        let (mut source, ..) =
            source::Source::new(client, secrets, settings, compiler, watches.clone());
        source.follow_kept(kept);
        source.watch_all();
        Self {
            source,
            watches,
            reader,
            reports,
            matches,
        }
    }

    /// Every kind that is watched in every cluster.
    fn listed_all(&mut self) {
        for kind in Kind::ALL {
            let depends = matches!(kind, Kind::ConfigMap | Kind::Secret);
            if !depends && !discovery::KINDS.contains(&kind) {
                self.listed(kind);
            }
        }
    }

    fn scope(kind: Kind) -> Scope {
        Scope::of(kind, None)
    }

    /// A list of all that there is of a kind.
    fn listed(&mut self, kind: Kind) {
        let objects = match kind {
            Kind::IngressRoute => vec![route(2, self.matches)],
            Kind::Service => vec![json!({
                "metadata": {"name": "api", "namespace": "other"},
                "spec": {"ports": [{"port": 80}]},
            })],
            Kind::EndpointSlice => vec![json!({
                "metadata": {
                    "name": "api-1", "namespace": "other",
                    "labels": {"kubernetes.io/service-name": "api"},
                },
                "addressType": "IPv4", "ports": [{"port": 8080}],
                "endpoints": [{"addresses": ["10.0.0.1"]}],
            })],
            Kind::ReferenceGrant => vec![json!({
                "metadata": {"name": "grant", "namespace": "other"},
                "spec": {
                    "from": [{
                        "group": "ferrix.com", "kind": "IngressRoute", "namespace": "default",
                    }],
                    "to": [{"group": "", "kind": "Service"}],
                },
            })],
            _ => Vec::new(),
        };
        self.listed_as(kind, objects);
    }

    /// A list of these objects of a kind.
    fn listed_as(&mut self, kind: Kind, objects: Vec<Value>) {
        let scope = Self::scope(kind);
        let item = |object| {
            let object = serde_json::from_value(object).unwrap();
            watch_kind::item((&scope, objects::versions(kind)[0]), CONTROLLER, object).unwrap()
        };
        let mut listed = Listed::default();
        let mut messages = Vec::new();
        for item in objects.into_iter().map(item) {
            listed.add(&item);
            messages.push(Message::Listing(scope.clone(), Box::new(item)));
        }
        messages.push(Message::Listed(scope, listed));
        self.source.take(messages);
    }

    /// Whether requests are forwarded, and what the route's author is told besides.
    fn state(&self) -> (bool, String) {
        let table = self.reader.load();
        let forwards = table.rules.iter().all(|rule| {
            let ferrix_table::rules::Action::Forward(split) = &rule.action else {
                return false;
            };
            let index = split.choose().service.clone().unwrap();
            let service = table.service(index);
            service.is_some_and(|service| service.endpoints.len() == 1)
        });
        let report = self.reports.borrow();
        let entry = report.get(&objects::key(Kind::IngressRoute, "default", "r"));
        let conditions = entry.unwrap().conditions.iter();
        let told =
            conditions.map(|it| format!("{}={} {}\n", it.reason.as_str(), it.status, it.message));
        (forwards && table.rules.len() == 1, told.collect())
    }
}

#[tokio::test]
async fn what_an_api_server_refuses_to_show_serves_on_and_the_status_says_so() {
    let mut cases = 0;
    let kinds = [
        Kind::EndpointSlice,
        Kind::IngressRoute,
        Kind::ReferenceGrant,
        Kind::Service,
    ];
    for kind in kinds {
        for refusal in [Refusal::NotInstalled, Refusal::Forbidden] {
            let mut served = Served::new();
            let (forwards, before) = served.state();
            assert!(forwards && !before.contains("no longer"), "{before}");
            let scope = Served::scope(kind);
            served.source.take(vec![Message::Refused(scope, refusal)]);
            let (forwards, told) = served.state();
            assert!(forwards, "{kind} {refusal:?}: {told}");
            let expected = format!("{kind}s of namespace ");
            assert!(
                told.contains(&expected) && told.contains("no longer be seen"),
                "{told}"
            );
            assert!(told.contains("Programmed=true"), "{told}");
            served.listed(kind);
            assert_eq!(served.state(), (true, before));
            cases += 1;
        }
    }
    assert_eq!(cases, 8);
}

#[tokio::test]
async fn the_first_table_waits_for_the_kinds_that_are_served_and_for_no_others() {
    let mut served = Served::unlisted("PathPrefix(`/`)", revisions::Reader::default());
    let is_published = |served: &Served| served.reader.load().generation > 0;
    served.listed_all();
    assert!(
        !is_published(&served),
        "which kinds are served is not known"
    );
    let some = |kind| Message::Served([(kind, "v1")].into());
    served.source.take(vec![some(Kind::HttpRoute)]);
    assert!(!is_published(&served));
    served.listed(Kind::HttpRoute);
    assert!(is_published(&served));
    let (forwards, before) = served.state();
    assert!(forwards, "{before}");
    // One that comes later is watched as well, and whatever becomes of it takes nothing away.
    served.source.take(vec![some(Kind::Gateway)]);
    let watched = served.watches.list().into_iter().map(|it| it.kind);
    let gateway_api: Vec<_> = watched
        .filter(|it| discovery::KINDS.iter().any(|kind| kind.as_str() == *it))
        .collect();
    assert_eq!(gateway_api, ["Gateway", "HTTPRoute"]);
    for kind in [Kind::Gateway, Kind::HttpRoute] {
        for refusal in [Refusal::NotInstalled, Refusal::Forbidden] {
            let scope = Served::scope(kind);
            served.source.take(vec![Message::Refused(scope, refusal)]);
            assert_eq!(served.state(), (true, before.clone()), "{kind} {refusal:?}");
        }
    }
}

/// A cluster whose definitions, or whose rights, are of a release before there were Filters.
#[tokio::test]
async fn routes_are_served_where_there_are_no_filters() {
    let mut cases = 0;
    for refusal in [Refusal::NotInstalled, Refusal::Forbidden] {
        let mut served = Served::unlisted("PathPrefix(`/`)", revisions::Reader::default());
        let nothing = Message::Served(discovery::Served::new());
        served.source.take(vec![nothing]);
        for kind in Kind::ALL {
            let depends = matches!(kind, Kind::ConfigMap | Kind::Secret | Kind::Filter);
            if !depends && !discovery::KINDS.contains(&kind) {
                served.listed(kind);
            }
        }
        assert_eq!(served.reader.load().generation, 0, "they may be there");
        let scope = Served::scope(Kind::Filter);
        served.source.take(vec![Message::Refused(scope, refusal)]);
        assert_eq!(served.reader.load().generation, 1);
        let (forwards, told) = served.state();
        assert!(forwards && !told.contains("no longer"), "{told}");
        cases += 1;
    }
    assert_eq!(cases, 2);
}

const V1: &str = "GET /apis/gateway.networking.k8s.io/v1";

fn served_versions(versions: &[&str]) -> Value {
    let version = |it: &&str| json!({"groupVersion": format!("g/{it}"), "version": it});
    let versions: Vec<_> = versions.iter().map(version).collect();
    let name = "gateway.networking.k8s.io";
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions})
}

fn served_kinds(kinds: &[&str]) -> Value {
    let resource = |kind: &&str| {
        json!({
            "name": "n", "singularName": "", "namespaced": true, "kind": kind, "verbs": ["list"],
        })
    };
    let resources: Vec<_> = kinds.iter().map(resource).collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "g/v", "resources": resources,
    })
}

#[tokio::test]
async fn kinds_of_the_gateway_api_are_taken_up_when_they_appear() {
    const GROUP: &str = GATEWAY_API;
    const V1ALPHA2: &str = "GET /apis/gateway.networking.k8s.io/v1alpha2";
    const EXPERIMENTAL: &str = "GET /apis/gateway.networking.x-k8s.io/v1alpha1";
    let script = Script::new([
        scene(GROUP, 404, failure(404)),
        scene(GROUP, 404, failure(404)),
        scene(GROUP, 503, failure(503)),
        scene(GROUP, 200, served_versions(&["v1", "v1beta9"])),
        scene(
            V1,
            200,
            served_kinds(&["Gateway", "HTTPRoute", "LaterRoute"]),
        ),
        scene(EXPERIMENTAL_API, 404, failure(404)),
        // The status of a kind is listed beside it.
        scene(GROUP, 200, served_versions(&["v1alpha2", "v1"])),
        scene(
            V1,
            200,
            served_kinds(&["Gateway", "HTTPRoute", "HTTPRoute"]),
        ),
        scene(
            V1ALPHA2,
            200,
            served_kinds(&["TCPRoute", "HTTPRoute", "ListenerSet"]),
        ),
        scene(EXPERIMENTAL_API, 200, served_versions(&["v1alpha1"])),
        scene(
            EXPERIMENTAL,
            200,
            served_kinds(&["XBackendTrafficPolicy", "XMesh"]),
        ),
        scene(GROUP, 403, failure(403)),
        scene(GROUP, 200, served_versions(&[])),
        scene(EXPERIMENTAL_API, 404, failure(404)),
    ]);
    let client = script.client();
    let mut discovery = discovery::Discovery::default();
    let mut told = Vec::new();
    for _ in 0..7 {
        let served = discovery.look(&client).await.ok();
        told.push(served.map(|served| {
            let kinds = served.into_iter().flatten();
            let text = kinds.map(|(kind, version)| format!("{kind} {version}"));
            text.collect::<Vec<_>>()
        }));
    }
    script.bodies().await;
    let some = |all: &[&str]| Some(all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    assert_eq!(
        told[..5],
        [
            some(&[]),
            some(&[]),
            None,
            some(&["Gateway v1", "HTTPRoute v1"]),
            some(&["TCPRoute v1alpha2", "XBackendTrafficPolicy v1alpha1"]),
        ]
    );
    // Whoever may not ask tries each.
    assert_eq!(told[5].as_ref().map(Vec::len), Some(6));
    assert_eq!(told[6], some(&[]));
}

#[tokio::test]
async fn what_a_silent_watch_has_shown_serves_on_and_the_status_says_so() {
    let mut cases = 0;
    let kinds = [
        Kind::EndpointSlice,
        Kind::IngressRoute,
        Kind::ReferenceGrant,
        Kind::Service,
    ];
    for kind in kinds {
        let mut served = Served::new();
        let (forwards, before) = served.state();
        assert!(forwards && !before.contains("no longer"), "{before}");
        let mut silent_for = |seconds| {
            let age = Duration::from_secs(seconds);
            served.watches.set_age(kind.as_str(), age);
            served.source.look_at_freshness();
            served.state()
        };
        assert_eq!(silent_for(59), (true, before.clone()));
        let (forwards, told) = silent_for(61);
        assert!(forwards, "{kind}: {told}");
        let expected = format!("{kind}s of namespace ");
        assert!(
            told.contains(&expected) && told.contains("no longer be seen"),
            "{told}"
        );
        assert!(told.contains("Programmed=true"), "{told}");
        // Nothing is said anew while it goes on.
        assert_eq!(silent_for(3_600), (true, told));
        assert_eq!(silent_for(1), (true, before));
        cases += 1;
    }
    assert_eq!(cases, 4);
}

const REVISIONS: &str = "GET /apis/apps/v1/namespaces/ferrix/controllerrevisions";
const WRITE_REVISION: &str = "POST /apis/apps/v1/namespaces/ferrix/controllerrevisions";
const REMOVE_REVISION: &str =
    "DELETE /apis/apps/v1/namespaces/ferrix/controllerrevisions/ferrix-u-3";

/// A list of what was kept: versions of a route in each of these namespaces.
fn revision_list(kept: &[(&str, i64)]) -> Value {
    let revision = |(namespace, generation): &(&str, i64)| {
        let mut data = route(*generation, "Path(`/good`)");
        data["metadata"]["namespace"] = json!(namespace);
        json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {"name": format!("ferrix-u-{generation}"), "namespace": "ferrix"},
            "revision": generation, "data": data,
        })
    };
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevisionList",
        "metadata": {"resourceVersion": "9"},
        "items": kept.iter().map(revision).collect::<Vec<_>>(),
    })
}

fn revisions_of(list: &Value) -> revisions::Revisions {
    let items = list["items"].as_array().unwrap().iter();
    let named = items.map(|item| {
        let kept = serde_json::from_value(item.clone()).unwrap();
        let name: Box<str> = item["metadata"]["name"].as_str().unwrap().into();
        (name, revision::read(&kept).unwrap())
    });
    Some(named.collect())
}

#[tokio::test]
async fn what_was_kept_is_read_before_the_first_table() {
    const BAD: &str = "PathPrefx(`/`)";
    let shown = revisions::Shown::new();
    let mut served = Served::with(BAD, shown.reader());
    assert_eq!(served.reader.load().generation, 0, "nothing is published");
    let kept = revisions_of(&revision_list(&[("default", 1)]));
    shown.revisions.send_replace(Arc::new(kept));
    served.source.take_kept();
    let (forwards, told) = served.state();
    assert_eq!(served.reader.load().generation, 1, "at once");
    assert!(
        forwards && told.contains("generation 1, is served"),
        "{told}"
    );

    // It may not be read: as releases before had it, and without delay.
    let shown = revisions::Shown::new();
    let mut served = Served::with(BAD, shown.reader());
    shown.refused.send_replace(true);
    served.source.take_kept();
    assert_eq!(served.reader.load().generation, 1);
    let (_, told) = served.state();
    assert!(told.contains("Nothing of it is served"), "{told}");
    // And it is taken when it comes.
    let kept = revisions_of(&revision_list(&[("default", 1)]));
    shown.revisions.send_replace(Arc::new(kept));
    served.source.take_kept();
    let (forwards, told) = served.state();
    assert!(
        forwards && told.contains("generation 1, is served"),
        "{told}"
    );
}

/// The bad version names no Secret, and the one that was kept does.
#[tokio::test]
async fn the_secret_of_a_version_that_was_kept_is_there_before_the_first_table() {
    let shown = revisions::Shown::new();
    let mut served = Served::with("PathPrefx(`/`)", shown.reader());
    let mut list = revision_list(&[("default", 1)]);
    list["items"][0]["data"]["spec"]["tls"] = json!("cert");
    shown.revisions.send_replace(Arc::new(revisions_of(&list)));
    served.source.take_kept();
    assert_eq!(served.reader.load().generation, 0, "it is not listed yet");
    let secrets = Scope::of(Kind::Secret, Some("default".into()));
    served
        .source
        .take(vec![Message::Listed(secrets, Listed::default())]);
    assert_eq!(served.reader.load().generation, 1);
}

/// Of a Secret with authorities its name is asked for, of a ConfigMap all of the namespace; of a policy that is
/// another installation's nothing.
#[tokio::test]
async fn what_policies_name_for_authorities_is_watched() {
    let mut served = Served::new();
    let policies = Served::scope(Kind::BackendPolicy);
    let maps = Scope::of(Kind::ConfigMap, Some("default".into()));
    let named = Scope {
        name: Some("ca".into()),
        ..Scope::of(Kind::Secret, Some("default".into()))
    };
    let cases = [
        ("Secret", "ferrix", Some(named)),
        ("ConfigMap", "ferrix", Some(maps)),
        ("Secret", "other", None),
        ("ConfigMap", "other", None),
    ];
    for (generation, (kind, class, expected)) in (1..).zip(cases) {
        let policy = json!({
            "apiVersion": "ferrix.com/v1", "kind": "BackendPolicy",
            "metadata": {"name": "p", "namespace": "default", "uid": "u", "generation": generation},
            "spec": {
                "ingressClassName": class,
                "targetRefs": [{"group": "", "kind": "Service", "name": "api"}],
                "connection": {"tls": {"caCertificateRefs": [{"kind": kind, "name": "ca"}]}},
            },
        });
        let policy = serde_json::from_value(policy).unwrap();
        let item = watch_kind::item((&policies, "v1"), CONTROLLER, policy).unwrap();
        let applied = Message::Applied(policies.clone(), Box::new(item));
        served.source.take(vec![applied]);
        let expected: Vec<_> = expected.into_iter().collect();
        let needed: Vec<_> = served.source.needed().into_iter().collect();
        assert_eq!(needed, expected, "{kind} of {class}");
    }
}

/// What the watch over certificates tells of a name and what that over one Secret tells of it come in any order.
#[tokio::test]
async fn secrets_that_filters_name_are_watched_beside_certificates() {
    let mut served = Served::new();
    let certificates = Scope::of(Kind::Secret, Some("default".into()));
    let named = Scope {
        name: Some("users".into()),
        ..certificates.clone()
    };
    let selector = |scope| watch_kind::config(scope).field_selector.unwrap();
    assert_eq!(selector(&certificates), "type=kubernetes.io/tls");
    let expected = "metadata.name=users,type!=kubernetes.io/tls";
    assert_eq!(selector(&named), expected);

    let applied = |scope: &Scope, object: Value| {
        let object = serde_json::from_value(object).unwrap();
        let item = watch_kind::item((scope, "v1"), CONTROLLER, object).unwrap();
        vec![Message::Applied(scope.clone(), Box::new(item))]
    };
    let routes = Served::scope(Kind::IngressRoute);
    let mut guarded = route(3, "PathPrefix(`/`)");
    guarded["spec"]["tls"] = json!("cert");
    guarded["spec"]["route"]["rules"][0]["filters"] = json!([{"basicAuth": {"secret": "users"}}]);
    served.source.take(applied(&routes, guarded));
    let (_, told) = served.state();
    assert!(
        told.contains("Secret default/users does not exist"),
        "{told}"
    );

    let secret = |kind: &str| {
        json!({
            "metadata": {"name": "users", "namespace": "default"},
            "type": kind, "data": {"auth": "YTokYXByMSRhJDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="},
        })
    };
    let key = objects::key(Kind::Secret, "default", "users");
    let gone = |scope: &Scope| vec![Message::Deleted(scope.clone(), key.clone(), 9)];
    let nothing = |scope: &Scope| vec![Message::Listed(scope.clone(), Listed::default())];
    let steps = [
        (applied(&named, secret("Opaque")), Some(false)),
        (nothing(&certificates), Some(false)),
        (gone(&certificates), Some(false)),
        (gone(&named), None),
        (applied(&named, secret("Opaque")), Some(false)),
        (
            applied(&certificates, secret("kubernetes.io/tls")),
            Some(true),
        ),
        (gone(&named), Some(true)),
        (nothing(&named), Some(true)),
        (applied(&routes, route(4, "PathPrefix(`/`)")), None),
    ];
    for (step, (messages, expected)) in steps.into_iter().enumerate() {
        served.source.take(messages);
        let is_certificate = served.source.world().is_certificate(&key.object);
        assert_eq!(is_certificate, expected, "step {step}");
        let (_, told) = served.state();
        let serves = !told.contains("users");
        assert_eq!(
            serves,
            expected == Some(false) || step == 8,
            "step {step}: {told}"
        );
    }
}

/// Which routes are bad is told when all have been seen, and not before: what is kept of others would
/// be removed.
#[tokio::test]
async fn bad_routes_are_told_after_the_first_table() {
    let shown = revisions::Shown::new();
    let mut served = Served::with("PathPrefx(`/`)", shown.reader());
    let bad = served.source.bad_routes();
    assert!(bad.borrow().is_none());
    let kept = revisions_of(&revision_list(&[("default", 1)]));
    shown.revisions.send_replace(Arc::new(kept));
    served.source.take_kept();
    let told = bad.borrow().clone().unwrap();
    let [(key, route)] = &told.iter().collect::<Vec<_>>()[..] else {
        panic!("{told:?}");
    };
    assert_eq!((&*key.name, &*route.uid), ("r", "u"));
    let last_good = route.last_good.as_ref().unwrap();
    assert_eq!(last_good.generation(), Some(1));
    served.matches = "PathPrefix(`/`)";
    served.listed(Kind::IngressRoute);
    assert!(bad.borrow().as_ref().unwrap().is_empty());
}

/// A Filter that routes name.
fn filter(generation: i64, header: &str) -> Value {
    json!({
        "apiVersion": "ferrix.com/v1", "kind": "Filter",
        "metadata": {
            "name": "f", "namespace": "default", "uid": "u", "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"filters": [{"requestHeaderModifier": {"remove": [header]}}]},
    })
}

/// As an API server tells of an object.
fn object(document: &Value) -> objects::Object {
    match decode::decode(document, decode::Strictness::Api) {
        Ok(decode::Decoded::Object { object, .. }) => object,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_last_good_version_is_written_as_it_is_read_and_removed_when_its_object_heals() {
    let mut ran = 0;
    for good in [route(3, "Path(`/good`)"), filter(3, "X-Good")] {
        let read = object(&good);
        let (key, origin) = (read.key(), objects::Origin::Api);
        let draft = match read {
            objects::Object::IngressRoute(good) => ingressroute::draft(&good, origin),
            objects::Object::Filter(good) => crate::filter::draft(&good, origin),
            other => panic!("{other:?}"),
        };
        let bad = revision::BadRoute {
            uid: "u".into(),
            last_good: Some(Arc::new(draft)),
        };
        // It is refused at first, and there already when it is tried again.
        let script = Script::new([
            scene(WRITE_REVISION, 503, failure(503)),
            scene(WRITE_REVISION, 409, failure(409)),
        ]);
        let bad_routes = watch::Sender::new(Some(Arc::new([(key, bad)].into())));
        let revisions = watch::Sender::new(Arc::new(revisions_of(&revision_list(&[]))));
        let leading = watch::Sender::new(true);
        let task = tokio::spawn(keep::run(keep::Inputs {
            client: script.client(),
            identity: identity(),
            bad: bad_routes.subscribe(),
            revisions: revisions.subscribe(),
            leading: leading.subscribe(),
        }));
        let bodies = script.bodies().await;
        assert_eq!(bodies[0], bodies[1]);
        assert_eq!(bodies[0]["metadata"]["name"], "ferrix-u-3");
        assert_eq!(
            bodies[0]["metadata"]["labels"],
            json!({own::INSTALLATION: "ferrix"})
        );
        assert_eq!(bodies[0]["revision"], 3);
        assert_eq!(bodies[0]["data"], good);

        let written = json!({"items": [bodies[0].clone()]});
        revisions.send_replace(Arc::new(revisions_of(&written)));
        script.then(scene(REMOVE_REVISION, 404, failure(404)));
        bad_routes.send_replace(Some(Arc::default()));
        script.bodies().await;
        task.abort();
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// What is told of a Filter: who names it, and that what was kept of it serves in place of a bad edit that
/// this process begins with.
#[tokio::test]
async fn a_filter_is_told_who_names_it_and_what_serves() {
    const FILTER: &str = "PATCH /apis/ferrix.com/v1/namespaces/default/filters/f/status";
    let entry_points = vec![ferrix_table::table::EntryPoint::http("web")];
    let (publisher, _) = ferrix_table::publish::channel();
    let mut compiler = Compiler::new(Settings::new(entry_points), publisher);
    let reports = compiler.reports();
    let mut named = route(1, "Path(`/`)");
    named["spec"]["route"]["filters"] = json!([{"filter": "f"}]);
    // No field has such a name, which only another release could have admitted.
    let bad = filter(2, "X Bad");
    let applied = [&named, &bad].map(|document| Change::Apply {
        object: object(document),
        origin: objects::Origin::Api,
        notes: Vec::new(),
    });
    compiler.apply(applied);
    compiler.apply([Change::Keep(object(&filter(1, "X-Good")))]);
    compiler.loaded();

    let script = Script::new([scene(FILTER, 200, Value::Null)]);
    script.then(scene(EVENTS, 201, Value::Null));
    let (sight, sightings) = tokio::sync::mpsc::unbounded_channel();
    let (_leases, leases) = watch::channel(Arc::default());
    let leading = watch::Sender::new(true);
    let writer = tokio::spawn(status::run(status::Inputs {
        client: script.client(),
        identity: identity(),
        offer: census::Offer::default(),
        sightings,
        reports,
        leases,
        leading: leading.subscribe(),
        figures: Arc::default(),
    }));
    let mut seen = bad.clone();
    seen["metadata"]["resourceVersion"] = "7".into();
    let seen = serde_json::from_value(seen).unwrap();
    let seen = seen::Seen::new((Kind::Filter, "v1"), &seen, CONTROLLER).unwrap();
    let key = objects::key(Kind::Filter, "default", "f");
    sight
        .send(vec![source::Sighting::Route(key, Some(Box::new(seen)))])
        .unwrap();
    leading.send_replace(true);
    let bodies = script.bodies().await;
    let status = &bodies[0]["status"];
    assert_eq!(
        status["usedBy"],
        json!({"count": 1, "routes": ["IngressRoute default/r"]})
    );
    assert_eq!(status["installation"], "ferrix/ferrix");
    let conditions = status["conditions"].as_array().unwrap().iter();
    let told: Vec<_> = conditions
        .map(|it| {
            format!(
                "{} {} {}",
                it["type"], it["status"], it["observedGeneration"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            r#""Ready" "False" 2"#,
            r#""Accepted" "False" 2"#,
            r#""ResolvedRefs" "False" 2"#,
            r#""Programmed" "False" 2"#,
        ]
    );
    let accepted = status["conditions"][1]["message"].as_str().unwrap();
    assert!(
        accepted.contains("`X Bad` is no name")
            && accepted.contains("pass through the last good version, generation 1"),
        "{accepted}"
    );
    assert_eq!(bodies[1]["regarding"]["kind"], "Filter");
    writer.abort();
}

/// An API server that answers lists of what was kept by these, one after the other, and then no more;
/// watches are never answered.
fn showing(answers: Vec<(u16, Value)>) -> Client {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = service_fn(move |request: Request<Body>| {
        let answers = Arc::clone(&answers);
        async move {
            let query = request.uri().query().unwrap_or_default();
            assert!(
                query.contains("labelSelector=ferrix.com%2Finstallation%3Dferrix"),
                "{query}"
            );
            let answer = match query.contains("watch=true") {
                true => None,
                false => answers.lock().unwrap().pop_front(),
            };
            let Some((code, answer)) = answer else {
                return std::future::pending().await;
            };
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, kube::Error>(Response::builder().status(code).body(answer).unwrap())
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn what_was_kept_is_followed_whatever_the_api_server_answers_first() {
    let list = || (200, revision_list(&[("default", 1), ("default", 3)]));
    let mut cases = 0;
    for (first, refused) in [(403, true), (404, true), (500, false), (429, false)] {
        let shown = revisions::Shown::new();
        let mut refusals = shown.refused.subscribe();
        let mut known = shown.revisions.subscribe();
        let client = showing(vec![(first, failure(first)), list()]);
        let pulse = Watches::default().begin((revisions::KIND, None, None));
        let task = tokio::spawn(revisions::follow(client, identity(), pulse, shown));
        let listed = known.wait_for(|known| known.is_some());
        let listed = tokio::time::timeout(Duration::from_secs(15), listed).await;
        let listed = listed.unwrap().unwrap().clone();
        let names: Vec<_> = listed.iter().flatten().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["ferrix-u-1", "ferrix-u-3"]);
        assert_eq!(*refusals.borrow_and_update(), refused, "{first}");
        task.abort();
        cases += 1;
    }
    assert_eq!(cases, 4);
}

/// A Lease is written for what serves in place of bad objects as well, where the system does not let
/// the replica listen, and how endpoints are: no route need have changed.
#[tokio::test]
async fn a_replica_tells_what_serves_in_place_of_bad_objects() {
    const OWN: &str = "PATCH /apis/coordination.k8s.io/v1/namespaces/ferrix/leases/me";
    const GONE: &str = "DELETE /apis/coordination.k8s.io/v1/namespaces/ferrix/leases/me";
    let script = Script::new([scene(OWN, 200, Value::Null)]);
    let standing = watch::Sender::new(progress::Standing::default());
    let reports: watch::Sender<Arc<Report>> = watch::Sender::default();
    let refused: watch::Sender<Refusals> = watch::Sender::default();
    let endpoints: watch::Sender<EndpointHealth> = watch::Sender::default();
    let left = watch::Sender::new(false);
    let task = tokio::spawn(replica::run(replica::Inputs {
        client: script.client(),
        identity: identity(),
        offer: census::Offer::default(),
        standing: standing.subscribe(),
        reports: reports.subscribe(),
        refused: refused.subscribe(),
        endpoints: endpoints.subscribe(),
        left: left.subscribe(),
    }));
    standing.send_modify(|it| it.progress.advance(Kind::IngressRoute, None, 7));
    let bodies = script.bodies().await;
    let told = |body: &Value| body["metadata"]["annotations"][leases::EXCEPTIONS].clone();
    assert!(told(&bodies[0]).is_null());
    let user = objects::key(Kind::IngressRoute, "default", "r");
    let secret = objects::key(Kind::Secret, "default", "tls");
    let mut fallbacks = Fallbacks::default();
    fallbacks.set(&user, vec![(secret, Fallback::Nothing)]);
    script.then(scene(OWN, 200, Value::Null));
    reports.send_replace(Arc::new(Report {
        fallbacks: Arc::new(fallbacks),
        ..Report::default()
    }));
    let bodies = script.bodies().await;
    assert_eq!(
        told(&bodies[1]),
        r#"{"version":1,"objects":[{"object":"Secret/default/tls","lastGood":false}]}"#
    );
    script.then(scene(OWN, 200, Value::Null));
    reports.send_replace(Arc::default());
    let bodies = script.bodies().await;
    assert!(told(&bodies[2]).is_null());
    script.then(scene(OWN, 200, Value::Null));
    let place = Place {
        address: "192.0.2.1:80".parse().unwrap(),
        datagrams: false,
        entry_point: None,
    };
    refused.send_replace([(place, "in use".into())].into());
    let bodies = script.bodies().await;
    assert_eq!(
        bodies[3]["metadata"]["annotations"][leases::REFUSED],
        r#"{"version":1,"places":["192.0.2.1:80/tcp"]}"#
    );
    script.then(scene(OWN, 200, Value::Null));
    let of_endpoints =
        r#"{"version":1,"policies":{"a/p":[{"service":"s","endpoints":1,"healthy":1}]}}"#;
    endpoints.send_replace(EndpointHealth::read(Some(of_endpoints)));
    let bodies = script.bodies().await;
    assert_eq!(
        bodies[4]["metadata"]["annotations"][leases::ENDPOINTS],
        of_endpoints
    );
    script.then(scene(GONE, 200, Value::Null));
    left.send_replace(true);
    task.await.unwrap();
    script.bodies().await;
}

const ROUTES: &str = "GET /apis/ferrix.com/v1/ingressroutes";
const POLICIES: &str = "GET /apis/ferrix.com/v1/backendpolicies";
const POLICIES_OF_A: &str = "GET /apis/ferrix.com/v1/namespaces/a/backendpolicies";
const FILTERS: &str = "GET /apis/ferrix.com/v1/filters";
const FILTERS_OF_A: &str = "GET /apis/ferrix.com/v1/namespaces/a/filters";
const INGRESSES: &str = "GET /apis/networking.k8s.io/v1/ingresses";
const INGRESSES_OF_A: &str = "GET /apis/networking.k8s.io/v1/namespaces/a/ingresses";
const ROUTES_OF_A: &str = "GET /apis/ferrix.com/v1/namespaces/a/ingressroutes";
const EXPERIMENTAL_API: &str = "GET /apis/gateway.networking.x-k8s.io";
const GATEWAY_API: &str = "GET /apis/gateway.networking.k8s.io";
const LIST_LEASES: &str = "GET /apis/coordination.k8s.io/v1/namespaces/ferrix/leases";

/// A list of one route for each writer, of this version.
fn written_by(version: u64, writers: &[Option<&str>]) -> Value {
    let route = |(number, writer): (usize, &Option<&str>)| {
        json!({
            "metadata": {
                "name": if number == 0 { "r".to_owned() } else { format!("r{number}") },
                "namespace": "default", "uid": "u", "resourceVersion": version.to_string(),
            },
            "spec": {"route": {"rules": []}},
            "status": {"installation": writer, "entryPoints": ["web"], "replicas": "2/2"},
        })
    };
    json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRouteList",
        "metadata": {"resourceVersion": "9"},
        "items": writers.iter().enumerate().map(route).collect::<Vec<_>>(),
    })
}

fn lease_list(holder: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList",
        "metadata": {"resourceVersion": "9"},
        "items": [{
            "metadata": {
                "name": "ferrix", "namespace": "ferrix", "resourceVersion": "5",
                "annotations": annotations,
            },
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
        }],
    })
}

#[tokio::test]
async fn a_withdrawal_silences_the_replicas_and_takes_back_its_own_statuses_alone() {
    let writers = [Some("ferrix/ferrix"), Some("other/ferrix"), None];
    let script = Script::new([
        scene(LIST_LEASES, 200, lease_list("me", json!({"kept": "yes"}))),
        // It was renewed meanwhile.
        scene(LEASE, 409, failure(409)),
        scene(LIST_LEASES, 200, lease_list("me", json!({"kept": "yes"}))),
        scene(LEASE, 200, Value::Null),
        scene(LIST_LEASES, 200, lease_list("", json!({}))),
        scene(REVISIONS, 200, revision_list(&[("default", 3)])),
        scene(
            REMOVE_REVISION,
            200,
            revision_list(&[("default", 3)])["items"][0].clone(),
        ),
        scene(
            expose::SERVICES,
            200,
            expose::service_list(&["gateway-a", "gateway-b"]),
        ),
        scene(expose::REMOVE_A, 404, failure(404)),
        scene(expose::REMOVE_B, 200, expose::removed()),
        scene(GATEWAY_API, 404, failure(404)),
        scene(POLICIES, 404, failure(404)),
        scene(FILTERS, 404, failure(404)),
        scene(INGRESSES, 200, written_by(20, &[])),
        scene(ROUTES, 200, written_by(20, &writers)),
        scene(STATUS, 409, failure(409)),
        scene(ROUTES, 200, written_by(21, &writers)),
        scene(STATUS, 200, written_by(22, &[None])["items"][0].clone()),
    ]);
    let withdrawn = withdraw::all(&script.client(), ("ferrix/ferrix", CONTROLLER), None).await;
    let withdrawn = withdrawn.unwrap();
    let bodies = script.bodies().await;
    assert_eq!(withdrawn.objects, 1);
    assert_eq!(withdrawn.left, []);
    assert!(withdrawn.silenced);
    let mark = &bodies[3]["metadata"]["annotations"];
    let until: k8s_openapi::jiff::Timestamp =
        mark[leases::SILENT].as_str().unwrap().parse().unwrap();
    let seconds = until.as_second() - k8s_openapi::jiff::Timestamp::now().as_second();
    assert!((110..=120).contains(&seconds), "{seconds} s");
    assert_eq!(mark["kept"], "yes");
    assert_eq!(bodies[3]["metadata"]["resourceVersion"], "5");
    assert_eq!((withdrawn.kept, withdrawn.services), (Some(1), Some(1)));
    for (place, version) in [(15, "20"), (17, "21")] {
        assert_eq!(bodies[place]["metadata"]["resourceVersion"], version);
        assert_eq!(bodies[place]["status"], json!({}));
    }
}

#[tokio::test]
async fn statuses_of_an_installation_out_of_reach_are_taken_back_all_the_same() {
    let script = Script::new([
        scene(LIST_LEASES, 403, failure(403)),
        scene(REVISIONS, 403, failure(403)),
        scene(GATEWAY_API, 404, failure(404)),
        scene(POLICIES_OF_A, 404, failure(404)),
        scene(FILTERS_OF_A, 404, failure(404)),
        // It was never meant to serve these.
        scene(INGRESSES_OF_A, 403, failure(403)),
        scene(ROUTES_OF_A, 200, written_by(20, &[Some("other/ferrix")])),
    ]);
    let only = BTreeSet::from(["a".to_owned()]);
    let withdrawn =
        withdraw::all(&script.client(), ("ferrix/ferrix", CONTROLLER), Some(&only)).await;
    let withdrawn = withdrawn.unwrap();
    assert_eq!((withdrawn.objects, withdrawn.silenced), (0, false));
    assert_eq!(withdrawn.kept, None);
    script.bodies().await;
    for wrong in ["ferrix", "/ferrix", "ferrix/", ""] {
        let refused = withdraw::all(&script.client(), (wrong, CONTROLLER), None).await;
        assert!(refused.unwrap_err().to_string().contains("NAMESPACE/NAME"));
    }
}

/// An object of the Gateway API, with this status.
fn gateway_object(kind: &str, name: &str, manager: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("uid of {name}"),
            "resourceVersion": "20", "generation": 1,
            "managedFields": [{"manager": manager, "operation": "Apply", "subresource": "status"}],
        },
        "spec": {}, "status": status,
    })
}

/// An entry of a controller in the status of a route.
fn parent_entry(controller: &str) -> Value {
    json!({
        "parentRef": {"name": "g"}, "controllerName": controller, "more": "than is known",
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    })
}

const OTHER_CONTROLLER: &str = "example.com/controller";

#[tokio::test]
async fn a_withdrawal_leaves_what_other_controllers_have_written() {
    const GATEWAYS: &str = "GET /apis/gateway.networking.k8s.io/v1/gateways";
    const HTTP_ROUTES: &str = "GET /apis/gateway.networking.k8s.io/v1/httproutes";
    const GATEWAY: &str =
        "PATCH /apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/ours/status";
    const HTTP_ROUTE: &str =
        "PATCH /apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/both/status";

    let list = |items: Value| {
        json!({
            "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "9"}, "items": items,
        })
    };
    let (foreign, ours) = (parent_entry(OTHER_CONTROLLER), parent_entry(CONTROLLER));
    let told = json!({"conditions": ours["conditions"]});
    let gateway = |name, manager| gateway_object("Gateway", name, manager, &told);
    let gateways = json!([
        gateway("ours", "ferrix:ferrix/ferrix"),
        gateway("other", "ferrix:other/ferrix"),
        gateway("foreign", "someone"),
    ]);
    let route = |name, parents: &[&Value]| {
        gateway_object("HTTPRoute", name, "someone", &json!({"parents": parents}))
    };
    let routes = json!([
        route("both", &[&ours, &foreign]),
        route("foreign", &[&foreign]),
        route("neither", &[]),
    ]);
    let script = Script::new([
        scene(LIST_LEASES, 403, failure(403)),
        scene(REVISIONS, 403, failure(403)),
        scene(expose::SERVICES, 403, failure(403)),
        scene(GATEWAY_API, 200, served_versions(&["v1"])),
        scene(V1, 200, served_kinds(&["Gateway", "HTTPRoute"])),
        scene(EXPERIMENTAL_API, 404, failure(404)),
        scene(POLICIES, 403, failure(403)),
        scene(FILTERS, 403, failure(403)),
        scene(GATEWAYS, 200, list(gateways)),
        scene(GATEWAY, 200, Value::Null),
        scene(HTTP_ROUTES, 200, list(routes)),
        scene(HTTP_ROUTE, 200, Value::Null),
        scene(INGRESSES, 200, written_by(20, &[])),
        scene(ROUTES, 200, written_by(20, &[])),
    ]);
    let withdrawn = withdraw::all(&script.client(), ("ferrix/ferrix", CONTROLLER), None).await;
    let withdrawn = withdrawn.unwrap();
    assert_eq!((withdrawn.objects, withdrawn.left), (2, vec![]));
    let bodies = script.bodies().await;
    assert_eq!(bodies[9]["status"], json!({}));
    assert_eq!(bodies[11]["status"], json!({"parents": [foreign]}));
    assert_eq!(bodies[11]["metadata"]["resourceVersion"], "20");
}

#[tokio::test]
async fn a_status_of_the_gateway_api_goes_where_its_object_was_seen() {
    const CLASS: &str = "PATCH /apis/gateway.networking.k8s.io/v1/gatewayclasses/r/status";
    const TCP_ROUTE: &str =
        "PATCH /apis/gateway.networking.k8s.io/v1alpha2/namespaces/default/tcproutes/r/status";

    let cases = [
        (Kind::GatewayClass, "", "v1", CLASS),
        (Kind::TcpRoute, "default", "v1alpha2", TCP_ROUTE),
    ];
    let foreign = parent_entry(OTHER_CONTROLLER);
    for (kind, namespace, api_version, asked) in cases {
        let script = Script::new([
            scene(asked, 409, failure(409)),
            scene(asked, 200, Value::Null),
        ]);
        let write = ledger::Write {
            key: objects::key(kind, namespace, "r"),
            api_version,
            status: Status {
                foreign: vec![foreign.clone()],
                ..Status::default()
            },
            ..write(Vec::new())
        };
        let sent = status::send(script.client(), identity(), write.clone()).await;
        assert_eq!(
            sent.outcome,
            ledger::Written::Obsolete,
            "it has changed meanwhile"
        );
        status::send(script.client(), identity(), write).await;
        let body = &script.bodies().await[1];
        let version = format!("gateway.networking.k8s.io/{api_version}");
        assert_eq!(body["apiVersion"], version);
        assert_eq!(body["metadata"]["resourceVersion"], "7");
        assert_eq!(
            body["metadata"].get("namespace").is_some(),
            kind.is_namespaced()
        );
        let queries = script.0.lock().unwrap().queries.clone();
        assert!(
            queries[0].contains("fieldManager=ferrix%3Aferrix%2Fferrix"),
            "{queries:?}"
        );
        if kind == Kind::TcpRoute {
            assert_eq!(body["status"], json!({"parents": [foreign]}));
        }
    }
}

/// Runs an election that sees these Leases, in one namespace.
struct Elected {
    leads: Receiver<bool>,
    seen: watch::Sender<Arc<leases::Leases>>,
    former: Receiver<BTreeSet<String>>,
    settled: watch::Sender<bool>,
    leaving: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Elected {
    fn new(script: &Script, seen: leases::Leases) -> Self {
        let (leading, leads) = watch::channel(false);
        let (seen, seen_leases) = watch::channel(Arc::new(seen));
        let (formerly, former) = watch::channel(BTreeSet::new());
        let (settled, settling) = watch::channel(false);
        let (leaving, left) = watch::channel(false);
        let task = tokio::spawn(election::run(election::Inputs {
            client: script.client(),
            identity: identity(),
            namespaces: ["b".to_owned()].into(),
            seen: seen_leases,
            leading,
            former: formerly,
            settled: settling,
            left,
        }));
        Self {
            leads,
            seen,
            former,
            settled,
            leaving,
            task,
        }
    }

    fn sees(&self, holder: &str, annotations: Value) {
        self.seen
            .send_replace(Arc::new(observed(holder, annotations)));
    }
}

fn observed(holder: &str, annotations: Value) -> leases::Leases {
    let lease = lease_list(holder, annotations)["items"][0].clone();
    let lease = serde_json::from_value(lease).unwrap();
    let at = Instant::now();
    Some([("ferrix".into(), leases::Observed { lease, at })].into())
}

#[tokio::test]
async fn whoever_is_asked_to_be_silent_gives_the_lease_back_and_takes_it_again_later() {
    let script = Script::new([
        scene(LEASE, 200, Value::Null),
        // Given back.
        scene(LEASE, 200, Value::Null),
        // Taken again.
        scene(LEASE, 200, Value::Null),
        // It leaves.
        scene(LEASE, 200, Value::Null),
    ]);
    let mut election = Elected::new(&script, observed("", json!({})));
    becomes(&mut election.leads, true).await;
    let soon = k8s_openapi::jiff::Timestamp::now() + Duration::from_millis(2_500);
    let mark = || json!({leases::SILENT: soon.to_string()});
    election.sees("me", mark());
    becomes(&mut election.leads, false).await;
    election.sees("", mark());
    becomes(&mut election.leads, true).await;
    assert!(k8s_openapi::jiff::Timestamp::now() >= soon);
    election.leaving.send_replace(true);
    election.task.await.unwrap();
    let bodies = script.bodies().await;
    assert_eq!(bodies[1]["spec"]["holderIdentity"], "");
    assert_eq!(
        bodies[1]["metadata"]["annotations"][leases::SILENT],
        mark()[leases::SILENT]
    );
    assert_eq!(bodies[2]["spec"]["holderIdentity"], "me");
    assert!(bodies[2]["metadata"]["annotations"][leases::SILENT].is_null());
}

#[tokio::test]
async fn namespaces_that_are_no_longer_watched_are_known_until_nothing_is_left_in_them() {
    let script = Script::new([
        scene(LEASE, 200, Value::Null),
        scene(LEASE, 200, Value::Null),
        scene(LEASE, 200, Value::Null),
    ]);
    let written = json!({leases::NAMESPACES: r#"["a","b"]"#});
    let mut election = Elected::new(&script, observed("", written));
    becomes(&mut election.leads, true).await;
    assert_eq!(*election.former.borrow(), ["a".to_owned()].into());
    election.settled.send_replace(true);
    // It is renewed after five seconds.
    tokio::time::sleep(Duration::from_secs(8)).await;
    election.leaving.send_replace(true);
    election.task.await.unwrap();
    let bodies = script.bodies().await;
    let written =
        |place: usize| bodies[place]["metadata"]["annotations"][leases::NAMESPACES].clone();
    assert_eq!(written(0), r#"["a","b"]"#);
    assert_eq!(written(1), r#"["b"]"#);
}

#[tokio::test]
async fn statuses_in_namespaces_that_are_no_longer_watched_are_taken_back() {
    const STATUS_IN_A: &str = "PATCH /apis/ferrix.com/v1/namespaces/default/ingressroutes/r/status";
    let mut cases = 0;
    let ours = || written_by(20, &[Some("ferrix/ferrix"), Some("other/ferrix")]);
    for scenes in [
        vec![
            scene(GATEWAY_API, 404, failure(404)),
            scene(POLICIES_OF_A, 404, failure(404)),
            scene(FILTERS_OF_A, 404, failure(404)),
            scene(INGRESSES_OF_A, 200, written_by(20, &[])),
            scene(ROUTES_OF_A, 200, ours()),
            scene(
                STATUS_IN_A,
                200,
                written_by(21, &[None])["items"][0].clone(),
            ),
        ],
        // It has no right there any more.
        vec![
            scene(GATEWAY_API, 404, failure(404)),
            scene(POLICIES_OF_A, 404, failure(404)),
            scene(FILTERS_OF_A, 404, failure(404)),
            scene(INGRESSES_OF_A, 403, failure(403)),
            scene(ROUTES_OF_A, 403, failure(403)),
        ],
        // It is tried again.
        vec![
            scene(GATEWAY_API, 404, failure(404)),
            scene(POLICIES_OF_A, 404, failure(404)),
            scene(FILTERS_OF_A, 404, failure(404)),
            scene(INGRESSES_OF_A, 200, written_by(20, &[])),
            scene(ROUTES_OF_A, 500, failure(500)),
            scene(GATEWAY_API, 404, failure(404)),
            scene(POLICIES_OF_A, 404, failure(404)),
            scene(FILTERS_OF_A, 404, failure(404)),
            scene(INGRESSES_OF_A, 200, written_by(20, &[])),
            scene(ROUTES_OF_A, 200, written_by(20, &[])),
        ],
    ] {
        let script = Script::new(scenes);
        let (settled, mut settles) = watch::channel(false);
        let leads = watch::Sender::new(true);
        let former = watch::Sender::new(BTreeSet::from(["a".to_owned()]));
        let task = tokio::spawn(withdraw::run(withdraw::Inputs {
            client: script.client(),
            identity: identity(),
            namespaces: ["b".to_owned()].into(),
            leading: leads.subscribe(),
            former: former.subscribe(),
            settled,
        }));
        becomes(&mut settles, true).await;
        script.bodies().await;
        leads.send_replace(false);
        becomes(&mut settles, false).await;
        task.abort();
        cases += 1;
    }
    assert_eq!(cases, 3);
}
