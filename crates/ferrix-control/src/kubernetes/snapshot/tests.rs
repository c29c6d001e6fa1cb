//! An API server that goes and comes back, and processes of one pod that start meanwhile.

use std::{sync::Mutex, time::Instant};

use ferrix_table::{Reader, filters::jwt::Renewal, publish, table::EntryPoint};
use http::{Request, Response, Uri};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{
    sync::watch::Receiver,
    task::{JoinHandle, JoinSet},
};
use tower::service_fn;

use super::{
    super::{Secrets, own, progress::Standing, pulse::Watches, revisions, source::Source},
    *,
};
use crate::{
    compiler::Compiler,
    decode::{Decoded, Strictness, decode},
    issuer_keys::FetchedKeys,
    key_fetch::KeyFetcher,
    objects::{self, Origin},
    report::{ConditionType, Report, Serving},
    settings::Settings,
};

/// No route here has keys at a URL that is asked for.
struct Nobody;

impl KeyFetcher for Nobody {
    async fn fetch(&self, _: &str) -> Result<String, String> {
        std::future::pending().await
    }
}

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// How an API server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Well,
    /// It answers everything with this code.
    Refusing(u16),
    /// Nobody answers.
    Silent,
    /// Nobody listens.
    Away,
}

/// An API server that lists, and watches without a word; it has no streams in place of lists.
#[derive(Clone)]
struct Server(Arc<Mutex<(Mode, Vec<Value>)>>);

impl Server {
    fn new(mode: Mode, objects: Vec<Value>) -> Self {
        Self(Arc::new(Mutex::new((mode, objects))))
    }

    fn becomes(&self, mode: Mode, objects: Vec<Value>) {
        *self.0.lock().unwrap() = (mode, objects);
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            let uri = request.uri().clone();
            async move { server.answer(&uri).await }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, uri: &Uri) -> io::Result<Response<Body>> {
        let (mode, objects) = self.0.lock().unwrap().clone();
        let query = uri.query().unwrap_or_default();
        let (watches, streams) = (
            query.contains("watch=true"),
            query.contains("sendInitialEvents"),
        );
        let (code, answer) = match mode {
            Mode::Well if streams => (422, failure(422)),
            Mode::Well if watches => std::future::pending().await,
            Mode::Silent => std::future::pending().await,
            Mode::Away => return Err(io::ErrorKind::ConnectionRefused.into()),
            Mode::Refusing(code) => (code, failure(code)),
            // Nothing of it is installed.
            Mode::Well if uri.path() == "/apis/gateway.networking.k8s.io" => (404, failure(404)),
            Mode::Well => (200, list(uri.path(), &objects)),
        };
        let answer = Body::from(serde_json::to_vec(&answer).unwrap());
        Ok(Response::builder().status(code).body(answer).unwrap())
    }
}

fn failure(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "as the test says", "reason": "Test", "code": code, "metadata": {},
    })
}

/// Of the objects those of the kind that a path ends with, such as `…/services`.
fn list(path: &str, objects: &[Value]) -> Value {
    let plural = path.rsplit('/').next().unwrap();
    let of_kind = objects.iter().filter(|object| {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        format!("{kind}s") == plural
    });
    json!({
        "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "100"},
        "items": of_kind.collect::<Vec<_>>(),
    })
}

fn route(name: &str, uid: &str, matches: &str, version: u64) -> Value {
    json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {
            "name": name, "namespace": "default", "uid": uid, "generation": version,
            "resourceVersion": version.to_string(), "managedFields": [{"manager": "test"}],
        },
        "spec": {"route": {"rules": [
            {"matches": matches, "service": {"name": "api", "port": 80}},
        ]}},
        "status": {"entryPoints": ["web"]},
    })
}

/// A Service with an endpoint.
fn service() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "api", "namespace": "default"}, "spec": {"ports": [{"port": 80}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "api-1", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "api"},
            },
            "addressType": "IPv4", "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod"}}],
        }),
    ]
}

fn with_service(routes: impl IntoIterator<Item = Value>) -> Vec<Value> {
    service().into_iter().chain(routes).collect()
}

fn identity(pod: &str) -> Identity {
    Identity {
        name: "me".to_owned(),
        namespace: "ferrix".to_owned(),
        installation: "ferrix".to_owned(),
        controller: "ferrix.com/gateway-controller".to_owned(),
        pod: Some(OwnerReference {
            uid: pod.to_owned(),
            ..OwnerReference::default()
        }),
    }
}

/// A process of a pod.
struct Process {
    reader: Reader,
    generations: Receiver<u64>,
    reports: Receiver<Arc<Report>>,
    standing: Receiver<Standing>,
    figures: Arc<Figures>,
    task: JoinHandle<()>,
    /// Of what others have kept.
    _watch: JoinSet<()>,
}

impl Process {
    fn start(server: &Server, folder: &Path, pod: &str) -> Self {
        Self::start_with(server, folder, pod, &["web"])
    }

    /// With these entry points.
    fn start_with(server: &Server, folder: &Path, pod: &str, names: &[&str]) -> Self {
        let (publisher, reader) = publish::channel();
        let entry_point = |name: &&str| EntryPoint::http(name);
        let settings = Settings::new(names.iter().map(entry_point).collect());
        let compiler = Compiler::new(settings.clone(), publisher);
        let (generations, reports) = (compiler.generations(), compiler.reports());
        let (client, watches) = (server.client(), Watches::default());
        let pulse = watches.begin((revisions::KIND, None, None));
        let shown = revisions::Shown::new();
        let kept = shown.reader();
        let mut watch = JoinSet::new();
        watch.spawn(revisions::follow(
            client.clone(),
            Arc::new(identity(pod)),
            pulse,
            shown,
        ));
        let (mut source, standing, sightings) =
            Source::new(client, Secrets::Cluster, settings, compiler, watches);
        source.follow_kept(kept);
        let figures = Arc::new(Figures::default());
        let snapshot = Snapshot::new(folder, &identity(pod), Arc::clone(&figures)).unwrap();
        source.keep(snapshot);
        let task = tokio::spawn(async move {
            let _sightings = sightings;
            source.run(Arc::new(Nobody)).await;
        });
        Self {
            reader,
            generations,
            reports,
            standing,
            figures,
            task,
            _watch: watch,
        }
    }

    async fn publishes(&mut self, generation: u64) {
        let published = self.generations.wait_for(|it| *it >= generation);
        let published = tokio::time::timeout(LIMIT, published).await;
        assert_eq!(*published.expect("in time").unwrap(), generation);
    }

    /// It is killed, and what it has recorded is written.
    async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
        let started = Instant::now();
        while Arc::strong_count(&self.figures) > 1 {
            assert!(started.elapsed() < LIMIT);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is served, but for the number of the publication.
    fn table(&self) -> Value {
        let mut table = serde_json::to_value(self.reader.load().dump()).unwrap();
        table.as_object_mut().unwrap().remove("generation");
        table
    }

    /// The rules that are served.
    fn rules(&self) -> Vec<String> {
        let table = self.reader.load();
        let mut rules: Vec<_> = (table.rules.iter())
            .map(|rule| rule.text().unwrap_or_default().to_owned())
            .collect();
        rules.sort_unstable();
        rules
    }

    /// How far the replica says that it has come, and whether it says that it is restored.
    fn standing(&self) -> (String, bool) {
        let standing = self.standing.borrow();
        let progress = serde_json::to_string(&standing.progress).unwrap();
        (progress, standing.restored)
    }

    fn report(&self) -> String {
        serde_json::to_string(&**self.reports.borrow()).unwrap()
    }

    fn is_restored(&self) -> bool {
        self.reports.borrow().snapshot().is_some()
    }

    /// What the status of a route says of what serves.
    fn programmed(&self, route: &str) -> String {
        let key = objects::key(Kind::IngressRoute, "default", route);
        let report = self.reports.borrow();
        let entry = report.get(&key).expect("an entry");
        let condition = entry.condition(ConditionType::Programmed);
        condition.expect("a condition").message.to_string()
    }

    /// How many entry points each rule is served on.
    fn entry_points(&self) -> Vec<usize> {
        let table = self.reader.load();
        table.rules.iter().map(|it| it.entry_points.len()).collect()
    }

    fn serving(&self, route: &str) -> Serving {
        let key = objects::key(Kind::IngressRoute, "default", route);
        let report = self.reports.borrow();
        report.get(&key).expect("an entry").serving
    }
}

/// A folder in which a process of the pod `one` has left a snapshot of these objects.
async fn left_behind(objects: Vec<Value>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&Server::new(Mode::Well, objects), folder.path(), "one");
    process.publishes(1).await;
    process.end().await;
    folder
}

const A: &str = "Path(`/a`)";
const B: &str = "Path(`/b`)";
const BAD: &str = "Path(`/a`";

#[tokio::test]
async fn without_an_api_server_a_snapshot_serves_until_all_is_listed_again() {
    let both = with_service([route("a", "1", A, 7), route("b", "2", B, 8)]);
    let server = Server::new(Mode::Well, both);
    let folder = tempfile::tempdir().unwrap();
    let mut first = Process::start(&server, folder.path(), "one");
    first.publishes(1).await;
    let served = first.table();
    assert_eq!(first.rules(), [A, B]);
    assert_eq!(
        first.standing(),
        (
            r#"{"BackendPolicy/":0,"Filter/":0,"Ingress/":0,"":8}"#.to_owned(),
            false
        )
    );
    assert!(!first.is_restored());
    first.end().await;

    server.becomes(Mode::Away, Vec::new());
    // Any number of times.
    for _ in 0..2 {
        let mut process = Process::start(&server, folder.path(), "one");
        process.publishes(1).await;
        assert_eq!(process.table(), served);
        assert_eq!(
            process.standing(),
            (
                r#"{"BackendPolicy/":0,"Filter/":0,"Ingress/":0,"":8}"#.to_owned(),
                true
            )
        );
        let report = process.report();
        assert!(report.contains(r#""snapshot":"20"#), "{report}");
        assert!(report.contains("can no longer be seen"), "{report}");
        process.end().await;
    }

    let mut second = Process::start(&server, folder.path(), "one");
    second.publishes(1).await;
    // One route is gone, and the other was edited.
    server.becomes(Mode::Well, with_service([route("b", "2", "Path(`/c`)", 9)]));
    second.publishes(2).await;
    assert_eq!(second.rules(), ["Path(`/c`)"]);
    assert!(!second.is_restored());
    let report = second.report();
    assert!(!report.contains("snapshot"), "{report}");
    let standing = second.standing.wait_for(|it| !it.restored);
    tokio::time::timeout(LIMIT, standing)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        second.standing(),
        (
            r#"{"BackendPolicy/":0,"Filter/":0,"Ingress/":0,"":9}"#.to_owned(),
            false
        )
    );
    let served = second.table();
    second.end().await;

    server.becomes(Mode::Away, Vec::new());
    let mut third = Process::start(&server, folder.path(), "one");
    third.publishes(1).await;
    assert_eq!(third.table(), served, "the snapshot is that of the second");
    third.end().await;
}

#[tokio::test]
async fn whatever_keeps_the_api_server_from_listing_every_kind() {
    let refusals = [401, 403, 404, 429, 500, 503].map(Mode::Refusing);
    let mut all = JoinSet::new();
    for mode in [Mode::Away, Mode::Silent].into_iter().chain(refusals) {
        all.spawn(async move {
            let folder = left_behind(with_service([route("a", "1", A, 7)])).await;
            let server = Server::new(mode, Vec::new());
            let mut process = Process::start(&server, folder.path(), "one");
            process.publishes(1).await;
            assert_eq!(process.rules(), [A], "{mode:?}");
            assert!(process.is_restored());
            process.end().await;
        });
    }
    assert_eq!(all.join_all().await.len(), 8);
}

/// What makes a snapshot useless, and keeps a process from being ready as if there were none.
#[tokio::test]
async fn nothing_is_served_without_a_snapshot_of_this_pod_that_can_be_read() {
    type Spoil = fn(&Path);
    let broken: [(&str, Spoil); 5] = [
        ("one", |folder| fs::remove_file(folder.join(NAME)).unwrap()),
        ("two", |_| {}),
        ("one", |folder| fs::write(folder.join(NAME), "").unwrap()),
        ("one", |folder| {
            let mut file = fs::read(folder.join(NAME)).unwrap();
            let last = file.len() - 1;
            file[last] ^= 1;
            fs::write(folder.join(NAME), file).unwrap();
        }),
        ("one", |folder| {
            let file = fs::read(folder.join(NAME)).unwrap();
            let line = file.iter().position(|byte| *byte == b'\n').unwrap();
            fs::write(folder.join(NAME), &file[..line + 2]).unwrap();
        }),
    ];
    let mut all = JoinSet::new();
    for (pod, spoil) in broken {
        all.spawn(async move {
            let folder = left_behind(with_service([route("a", "1", A, 7)])).await;
            spoil(folder.path());
            let server = Server::new(Mode::Away, Vec::new());
            let mut process = Process::start(&server, folder.path(), pod);
            // Longer than it would have waited.
            tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
            assert_eq!(*process.generations.borrow(), 0);
            assert_eq!(process.standing(), ("{}".to_owned(), false));
            server.becomes(Mode::Well, with_service([route("b", "2", B, 8)]));
            process.publishes(1).await;
            assert_eq!(process.rules(), [B]);
            process.end().await;
        });
    }
    assert_eq!(all.join_all().await.len(), 5);
}

/// Also where the API server answers at once, and once more by what the second process has left.
#[tokio::test]
async fn versions_that_were_good_outlive_the_process() {
    let mut undecodable = route("a", "1", A, 9);
    undecodable["spec"]["route"]["rules"] = json!("none");
    let last_good = Serving::LastGood {
        generation: Some(7),
    };
    let cases = [
        (route("a", "1", BAD, 9), Some(last_good)),
        (undecodable, Some(last_good)),
        // Another object of the same name.
        (route("a", "9", BAD, 9), None),
        (route("a", "1", B, 9), Some(Serving::Newest)),
    ];
    let mut all = JoinSet::new();
    for (edited, serving) in cases {
        all.spawn(async move {
            let folder = left_behind(with_service([route("a", "1", A, 7)])).await;
            let server = Server::new(Mode::Well, with_service([edited.clone()]));
            let mut second = Process::start(&server, folder.path(), "one");
            second.publishes(1).await;
            let (rules, table) = (second.rules(), second.table());
            match serving {
                Some(Serving::LastGood { .. }) => assert_eq!(rules, [A], "{edited}"),
                Some(_) => assert_eq!(rules, [B]),
                None => assert_eq!(rules, [""; 0]),
            }
            if let Some(serving) = serving {
                assert_eq!(second.serving("a"), serving);
            }
            second.end().await;
            server.becomes(Mode::Away, Vec::new());
            let mut third = Process::start(&server, folder.path(), "one");
            third.publishes(1).await;
            assert_eq!(third.table(), table, "{edited}");
            third.end().await;
        });
    }
    assert_eq!(all.join_all().await.len(), 4);
}

/// A version as replicas that have ended kept it.
fn kept(route: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": "kept", "namespace": "ferrix", "labels": {own::INSTALLATION: "ferrix"}},
        "revision": route["metadata"]["generation"], "data": route,
    })
}

/// A process that began while a route was bad serves what others had kept of it, and so does the next one
/// in its pod, though the API server is away, or shows it no more when it is back.
#[tokio::test]
async fn versions_that_others_have_kept_outlive_the_process() {
    let mut undecodable = route("a", "1", A, 9);
    undecodable["spec"]["route"]["rules"] = json!("none");
    let mut all = JoinSet::new();
    for bad in [route("a", "1", BAD, 9), undecodable] {
        all.spawn(async move {
            let last_good = Serving::LastGood {
                generation: Some(7),
            };
            let serves = |process: &Process| {
                assert_eq!(
                    (process.rules(), process.serving("a")),
                    (vec![A.to_owned()], last_good)
                );
            };
            let folder = tempfile::tempdir().unwrap();
            let both = with_service([bad.clone(), kept(&route("a", "1", A, 7))]);
            let server = Server::new(Mode::Well, both);
            let mut first = Process::start(&server, folder.path(), "one");
            first.publishes(1).await;
            serves(&first);
            first.end().await;

            server.becomes(Mode::Away, Vec::new());
            let mut second = Process::start(&server, folder.path(), "one");
            second.publishes(1).await;
            assert!(second.is_restored());
            serves(&second);
            // It is back, and nobody keeps anything.
            server.becomes(Mode::Well, with_service([bad]));
            second.publishes(2).await;
            assert!(!second.is_restored());
            serves(&second);
            second.end().await;

            server.becomes(Mode::Away, Vec::new());
            let mut third = Process::start(&server, folder.path(), "one");
            third.publishes(1).await;
            serves(&third);
            third.end().await;
        });
    }
    assert_eq!(all.join_all().await.len(), 2);
}

/// The settings change while a route is bad, and each process that starts with others serves the last good
/// version by these: in a new pod, in the same one, and in the same one without an API server.
#[tokio::test]
async fn last_good_versions_outlive_an_edit_of_the_settings() {
    let (one, two) = (["web"], ["web", "extra"]);
    let serves = |process: &Process, names: &[&str]| {
        assert_eq!(process.rules(), [A]);
        assert_eq!(process.entry_points(), [names.len()]);
        let names: Vec<_> = names.iter().map(|it| format!("`{it}`")).collect();
        let names = names.join(" and ");
        let expected = format!("The last good version, generation 7, is served on {names}.");
        assert_eq!(process.programmed("a"), expected);
    };
    let bad = with_service([route("a", "1", BAD, 9), kept(&route("a", "1", A, 7))]);
    let server = Server::new(Mode::Well, bad.clone());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut starts = 0;
    for (mode, folder, pod, names) in [
        (Mode::Well, 0, "one", &one[..]),
        // Replaced, and then restarted.
        (Mode::Well, 1, "two", &two),
        (Mode::Well, 1, "two", &two),
        (Mode::Away, 1, "two", &two),
        // The pod of before, whose container reads the settings of now, and of then again.
        (Mode::Away, 0, "one", &two),
        (Mode::Well, 0, "one", &two),
        (Mode::Away, 0, "one", &one),
    ] {
        server.becomes(mode, bad.clone());
        let mut process = Process::start_with(&server, folders[folder].path(), pod, names);
        process.publishes(1).await;
        assert_eq!(process.is_restored(), mode == Mode::Away);
        serves(&process, names);
        process.end().await;
        starts += 1;
    }
    assert_eq!(starts, 7);
}

#[tokio::test]
async fn nobody_else_may_read_it() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    for (name, before) in [("new", None), ("there", Some(0o777))] {
        let folder = parent.path().join(name);
        if let Some(before) = before {
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(before)).unwrap();
        }
        let server = Server::new(Mode::Well, service());
        let mut process = Process::start(&server, &folder, "one");
        process.publishes(1).await;
        process.end().await;
        assert_eq!((mode(&folder), mode(&folder.join(NAME))), (0o700, 0o600));
        let files = fs::read_dir(&folder).unwrap().count();
        assert_eq!(files, 1);
    }
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = Snapshot::new(&file.join("below"), &identity("one"), Arc::default());
    let error = refused.unwrap_err().to_string();
    assert!(
        error.starts_with("source.kubernetes.snapshot_folder: "),
        "{error}"
    );
}

/// Letters that deflate to about the half of themselves.
fn noise(seed: &mut u64, length: usize) -> String {
    let mut letter = || {
        *seed =
            (seed.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((*seed >> 33) as u32 % 16, 16).unwrap()
    };
    (0..length).map(|_| letter()).collect()
}

/// Whatever changes how often, the file has little that is out of date.
#[test]
fn a_file_is_written_anew_when_much_of_it_is_out_of_date() {
    const SUBJECTS: u64 = 64;
    const ROUNDS: u64 = 40;
    const BODY: usize = 4096;
    let folder = tempfile::tempdir().unwrap();
    let figures = Arc::new(Figures::default());
    let first_line = file::first_line("ferrix/ferrix", "one");
    let path = folder.path().to_owned();
    let writer = Writer::new(path, first_line.clone(), Arc::clone(&figures)).unwrap();
    let (orders, ordered) = mpsc::sync_channel(QUEUE);
    let thread = std::thread::spawn(move || writer.run(&ordered));
    let mut seed = 1;
    let mut newest = Vec::new();
    for round in 0..ROUNDS {
        newest = (0..SUBJECTS)
            .map(|number| named(number, noise(&mut seed, BODY)))
            .collect();
        for service in &newest {
            orders.send(Order::Record(recorded(service))).unwrap();
        }
        if round == 0 {
            orders.send(Order::Whole).unwrap();
        }
    }
    drop(orders);
    thread.join().unwrap();
    let length = fs::metadata(folder.path().join(NAME)).unwrap().len();
    assert_eq!(figures.snapshot_bytes(), length);
    let all = SUBJECTS * ROUNDS * BODY as u64 / 2;
    let needed = SUBJECTS * BODY as u64 / 2;
    // What is needed, half of that, what may be out of date in any file, and blocks.
    let most = needed * 8 / 5 + 3 * (256 << 10);
    assert!(
        length < most && most < all,
        "{length} of {all}, at most {most}"
    );
    let file = File::open(folder.path().join(NAME)).unwrap();
    let mut blocks = Blocks::new(BufReader::new(file), &first_line).unwrap();
    let mut found = String::new();
    while let Some(block) = blocks.next().unwrap() {
        found.push_str(&block);
    }
    let lines: Vec<&str> = found.split_inclusive('\n').collect();
    let mut kept: Vec<&str> = needed_of_services(&lines);
    kept.sort_unstable();
    let mut expected: Vec<_> = newest.iter().map(|it| recorded(it).line()).collect();
    expected.sort_unstable();
    assert_eq!(kept, expected);
}

/// A Service with much to say.
fn named(number: u64, text: String) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("s{number}"), "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": text},
    })
}

fn recorded(object: &Value) -> Record {
    let change = applied(object);
    let mut world = World::new();
    let effect = world.take(change.clone());
    Record::new(&change, &effect, &world).unwrap()
}

/// The change that an object comes as.
fn applied(object: &Value) -> Change {
    let decoded = decode(object, Strictness::Api);
    let Ok(Decoded::Object { object, .. }) = decoded else {
        panic!("{decoded:?}");
    };
    Change::Apply {
        object,
        origin: Origin::Api,
        notes: Vec::new(),
    }
}

fn needed_of_services<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let needed = needed(lines).into_iter();
    needed.filter(|line| line.contains(" Service/")).collect()
}

/// What may lack something must not be served.
#[test]
fn what_cannot_be_written_is_no_snapshot_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let figures = Arc::new(Figures::default());
    fs::write(folder.path().join(NAME), "of an earlier process").unwrap();
    let first_line = file::first_line("ferrix/ferrix", "one");
    let writer = Writer::new(folder.path().to_owned(), first_line, Arc::clone(&figures)).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != NAME {
            fs::remove_file(path).unwrap();
        }
    }
    let (orders, ordered) = mpsc::sync_channel(QUEUE);
    orders.send(Order::Whole).unwrap();
    drop(orders);
    writer.run(&ordered);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(figures.snapshot_bytes(), 0);
}

/// Whoever has good versions that serve while the newest are bad keeps both, and forgets what is gone.
#[test]
fn lines_that_are_needed() {
    let good = |it: u8| format!("good IngressRoute/a/r {it}\n");
    let bad = |it: u8| format!("bad IngressRoute/a/r {it}\n");
    let undecodable = |it: u8| format!("undecodable IngressRoute/a/r {it}\n");
    let gone = || "gone IngressRoute/a/r null\n".to_owned();
    let other = || "good IngressRoute/a/other 1\n".to_owned();
    let kept = |it: u8| format!("good kept/IngressRoute/a/r/u {it}\n");
    let discarded = || "gone kept/IngressRoute/a/r/u null\n".to_owned();
    let of_another = || "good kept/IngressRoute/a/r2/u 1\n".to_owned();
    let cases = [
        (vec![good(1), good(2)], vec![1]),
        (vec![good(1), bad(2), bad(3)], vec![0, 2]),
        (vec![bad(1), bad(2)], vec![1]),
        (vec![good(1), bad(2), undecodable(3)], vec![0, 1, 2]),
        (vec![good(1), undecodable(2), bad(3)], vec![0, 2]),
        (vec![good(1), bad(2), undecodable(3), good(4)], vec![3]),
        (vec![undecodable(1), undecodable(2)], vec![1]),
        (vec![good(1), bad(2), gone()], vec![]),
        (vec![good(1), gone(), bad(2)], vec![2]),
        (vec![good(1), other(), good(2)], vec![1, 2]),
        // What others have kept, whether it came before the bad version or after.
        (vec![kept(1), bad(2), bad(3)], vec![0, 2]),
        (vec![bad(2), kept(1), kept(1)], vec![0, 2]),
        (vec![undecodable(2), kept(1)], vec![0, 1]),
        (vec![kept(1), good(2)], vec![0, 1]),
        // It serves on when it is not kept any more, until the object is good again or gone.
        (vec![kept(1), discarded(), bad(2)], vec![2]),
        (vec![kept(1), bad(2), discarded(), bad(3)], vec![0, 3]),
        (vec![undecodable(2), kept(1), discarded()], vec![0, 1]),
        (vec![bad(2), kept(1), discarded(), good(3)], vec![3]),
        (vec![bad(2), kept(1), discarded(), gone()], vec![]),
        (
            vec![bad(2), kept(1), of_another(), discarded(), good(3)],
            vec![2, 4],
        ),
    ];
    let count = cases.len();
    for (lines, expected) in cases {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let expected: Vec<&str> = expected.into_iter().map(|it: usize| lines[it]).collect();
        assert_eq!(needed(&lines), expected, "{lines:?}");
    }
    assert_eq!(count, 20);
}

#[test]
fn lines_that_nobody_has_written_mean_nothing() {
    let wrong = [
        "",
        "good",
        "good Service/default/api",
        "good Service/default/api {",
        "best Service/default/api {}",
        "gone Pod/default/api null",
        "gone Service null",
        "good name/exa_mple..org []",
        "good name/example.org [\"nowhere\"]",
        "undecodable IngressRoute/default/api {}",
        // Another object than the one that it is said to be.
        r#"good Service/default/api {"apiVersion":"v1","kind":"Service","metadata":{"name":"b"}}"#,
        r#"good Service/default/api {"apiVersion":"v1","kind":"Pod","metadata":{"name":"api"}}"#,
        "good Service/default/api null",
        "good time never",
        "gone kept/IngressRoute/r null",
        "good kept/IngressRoute/default/r/u null",
        // A version of another object.
        r#"good kept/IngressRoute/default/r/u {"metadata":{"name":"r","namespace":"default","uid":"v"},"spec":{"route":{"rules":[]}}}"#,
    ];
    for line in wrong {
        let meaning = Line::parse(line).and_then(|line| line.meaning());
        assert!(meaning.is_none(), "{line}: {meaning:?}");
    }
    assert_eq!(wrong.len(), 17);
}

/// What Ferrix makes nothing of is not kept, Secrets' other entries least of all.
#[test]
fn what_is_written_of_an_object_is_what_something_is_made_of() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {
            "name": "s", "namespace": "default", "uid": "u", "resourceVersion": "5",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1"},
            "managedFields": [{"manager": "test"}],
        },
        "data": {"tls.crt": "YQ==", "tls.key": "Yg==", "ca.crt": "Yw=="},
    });
    let users = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "namespace": "default"}, "data": {"auth": "YQ=="},
    });
    let cases = [
        (secret, vec!["tls.crt", "tls.key", "kept", "\"uid\""]),
        (users, vec!["auth"]),
        (route("a", "1", A, 7), vec!["/a", "\"generation\":7"]),
        (service()[1].clone(), vec!["10.0.0.1", "service-name"]),
    ];
    let mut ran = 0;
    for (object, kept) in cases {
        let line = recorded(&object).line();
        for part in kept {
            assert!(line.contains(part), "{part}: {line}");
        }
        for part in [
            "managedFields",
            "resourceVersion",
            "last-applied",
            "status",
            "targetRef",
            "ca.crt",
        ] {
            assert!(!line.contains(part), "{part}: {line}");
        }
        ran += 1;
    }
    assert_eq!(ran, 4);
}

/// Keys that were fetched serve on where neither the API server nor the issuer is there.
#[test]
fn keys_of_issuers_are_kept() {
    let x = "A".repeat(43);
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x}]});
    let url: Arc<str> = "https://id.example.com/keys?of=a".into();
    let mut world = World::new();
    let mut line = |change: Change| {
        let effect = world.take(change.clone());
        record::Record::new(&change, &effect, &world).map(|it| it.line())
    };
    let fetched = |fetched| Change::KeysFetched {
        url: Arc::clone(&url),
        fetched,
        renewal: Renewal::default(),
    };
    assert_eq!(line(fetched(Err("no answer".into()))), None);
    let kept = line(fetched(
        FetchedKeys::parse(&set.to_string()).map_err(Arc::from),
    ));
    let still = line(fetched(Err("no answer".into())));
    let gone = line(Change::ForgetKeys(Arc::clone(&url)));
    let mut restored = World::new();
    for (line, there) in [(kept, true), (still, true), (gone, false)] {
        let line = line.expect("a line");
        restored.take(record::change_of(&line).expect(&line));
        let last = restored.keys_at(&url).and_then(|it| it.last.clone());
        assert_eq!(
            last.is_some_and(|it| it.keys.keys.len() == 1),
            there,
            "{line}"
        );
    }
}
