//! The built binary, as a person or a script uses it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees tests only in functions marked as such"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take before a test fails; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

const ROUTE: &str = "\
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {name: example-route, namespace: default}
spec:
  entrypoint: web
  route:
    host: example.com
    rules:
      - matches: Path(`/api`)
        service: {name: api-service, port: 8080}
";

fn ferrix(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrix"));
    command
        .args(args)
        .env_remove("FERRIX_LOG")
        .stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    ferrix(args).output().unwrap()
}

/// Exit code, standard output and standard error.
fn finished(args: &[&str]) -> (i32, String, String) {
    let output = output(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// It must fail with this one line.
#[track_caller]
fn refused(args: &[&str], message: &str) {
    let (code, out, error) = finished(args);
    assert_eq!(
        (code, out.as_str(), error.as_str()),
        (1, "", format!("{message}\n").as_str())
    );
}

/// A folder with a route to endpoints on these ports.
fn manifests(ports: &[u16]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("route.yaml"), ROUTE).unwrap();
    fs::write(folder.path().join("service.yaml"), service(ports)).unwrap();
    folder
}

fn service(ports: &[u16]) -> String {
    let slices = ports.iter().map(|port| {
        format!(
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: api-service-{port}
  namespace: default
  labels: {{kubernetes.io/service-name: api-service}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints:
  - addresses: [127.0.0.1]
    conditions: {{ready: true}}
"
        )
    });
    let service = "\
apiVersion: v1
kind: Service
metadata: {name: api-service, namespace: default}
spec:
  ports: [{name: http, port: 8080}]
";
    slices.fold(service.into(), |text, slice| text + &slice)
}

fn write_settings(folder: &Path, text: &str) -> String {
    let file = folder.join("ferrix.yaml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().into()
}

/// Settings for ports that the system chooses.
const ANY_PORT: &str = "\
entry_points:
  - {name: web, port: 0, address: 127.0.0.1}
admin: {address: '127.0.0.1:0'}
log: {format: json}
server: {threads: 1, drain_delay: 0s, drain_timeout: 5s}
";

/// A running `ferrix run`.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    web: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    /// Starts and waits until it serves.
    fn start(settings: &str, manifests: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = write_settings(folder.path(), settings);
        let args = [
            "run",
            "--config",
            &config,
            "--files",
            manifests.to_str().unwrap(),
        ];
        Self::of(ferrix(&args))
    }

    /// The same, by this command.
    fn of(mut command: Command) -> Self {
        let mut child = (command.stdout(Stdio::piped()).stderr(Stdio::piped()))
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut web, mut admin) = (None, None);
        loop {
            let mut line = String::new();
            assert_ne!(
                log.read_line(&mut line).unwrap(),
                0,
                "it ended before it served"
            );
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            let address = || line["address"].as_str().unwrap().parse().ok();
            match line["message"].as_str().unwrap() {
                "listening" if line["entry_point"] == "web" => web = address(),
                "admin page" => admin = address(),
                "serving" => break,
                _ => {}
            }
        }
        // What nobody reads would be lost, and counted.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            web: web.unwrap(),
            admin: admin.unwrap(),
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code().expect("it ends by itself"),
                None if Instant::now() > deadline => panic!("it does not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `ferrix echo`.
struct Echo(Child, u16);

impl Echo {
    fn start(name: &str) -> Self {
        let args = ["echo", "--listen", "127.0.0.1:0", "--name", name];
        let mut child = ferrix(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line
            .trim_end()
            .trim_end_matches('/')
            .rsplit(':')
            .next()
            .unwrap();
        let port = port.parse().expect("its port");
        Self(child, port)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status and body of a GET.
fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, body.into())
}

#[test]
fn help_is_for_a_person() {
    let (code, out, _) = finished(&["--help"]);
    assert_eq!(code, 0);
    assert!(out.contains("Examples:"), "{out}");
    for command in [
        "run", "new", "check", "explain", "diff", "crds", "withdraw", "echo", "demo",
    ] {
        assert!(
            out.contains(&format!("\n  {command} ")),
            "{command} is not in\n{out}"
        );
        let (code, out, _) = finished(&[command, "--help"]);
        assert_eq!(code, 0);
        assert!(out.contains("Usage: ferrix"), "{out}");
    }
    assert!(
        out.lines().all(|line| line.len() <= 100),
        "too wide:\n{out}"
    );
    assert_eq!(
        finished(&["--version"]).1,
        concat!("ferrix ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(finished(&[]).0, 2);
    assert_eq!(finished(&["rnu"]).0, 2);
    assert_eq!(finished(&["check"]).0, 2);
    assert_eq!(
        finished(&["explain", "--files", ".", "GET", "example.com/"]).0,
        2
    );
}

#[test]
fn an_app_that_runs_already() {
    let echo = Echo::start("mine");
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("new/manifests");
    let files = manifests.to_str().unwrap();
    let (first, second) = (
        format!("app.localhost=127.0.0.1:{}", echo.1),
        format!("'*.example.com'=localhost:{}", echo.1).replace('\'', ""),
    );
    let (code, out, error) = finished(&["new", "--folder", files, &first, &second]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for line in [
        format!(
            "{files}/app-localhost.yaml: app.localhost goes to 127.0.0.1:{}",
            echo.1
        ),
        format!(
            "{files}/any-example-com.yaml: *.example.com goes to 127.0.0.1:{0} and [::1]:{0}",
            echo.1
        ),
        format!("  ferrix run --files {files}"),
        "  curl -H 'Host: app.localhost' http://127.0.0.1:6190/".to_owned(),
    ] {
        assert!(
            out.lines().any(|it| it == line),
            "{line:?} is not in\n{out}"
        );
    }
    let (code, out, _) = finished(&["check", files]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(out, format!("{files}: 2 routes with 2 rules, 0 problems\n"));

    let running = Running::start(ANY_PORT, &manifests);
    for _ in 0..4 {
        for host in ["app.localhost", "demo.example.com"] {
            let (status, body) = get(running.web, host, "/anything");
            assert_eq!(status, 200, "{host}: {body}");
            assert!(body.contains("mine"), "{body}");
        }
    }
    assert_eq!(get(running.web, "other.example", "/").0, 404);

    // At once, from another folder.
    let again = folder.path().join("again");
    let config = write_settings(folder.path(), ANY_PORT);
    let args = [
        "new",
        "--run",
        "--config",
        &config,
        "--folder",
        again.to_str().unwrap(),
        &first,
    ];
    let mut running = Running::of(ferrix(&args));
    assert_eq!(get(running.web, "app.localhost", "/").0, 200);
    let port = running.web.port();
    let expected = format!("  curl -H 'Host: app.localhost' http://127.0.0.1:{port}/\n");
    let mut line = String::new();
    while line != expected {
        line.clear();
        assert_ne!(
            running.stdout.read_line(&mut line).unwrap(),
            0,
            "no {expected}"
        );
    }
    running.signal("TERM");
    assert_eq!(running.exit_code(), 0);

    // Nothing is overwritten, and nothing is written beside what is in the way.
    let message = format!(
        "ferrix: {files}/app-localhost.yaml is there already; remove it, or name another folder \
         with --folder"
    );
    refused(
        &["new", "--folder", files, "a.b=127.0.0.1:1", &first],
        &message,
    );
    assert_eq!(fs::read_dir(&manifests).unwrap().count(), 2);
    let (code, _, error) = finished(&["new", "--folder", files, "app.localhost"]);
    assert_eq!(code, 2);
    assert!(error.contains("app.localhost=127.0.0.1:3000"), "{error}");
}

#[test]
fn colours_are_for_terminals() {
    let folder = manifests(&[9001]);
    let broken = ROUTE
        .replace("Path(", "Pfad(")
        .replace("example-route", "broken");
    fs::write(folder.path().join("broken.yaml"), broken).unwrap();
    let files = folder.path().to_str().unwrap();
    let check = ["check", files];
    let explain = ["explain", "--files", files, "GET", "http://example.com/api"];
    let mut cases = 0;
    for args in [&check[..], &explain[..]] {
        let run = |variables: &[&str]| {
            let mut command = ferrix(args);
            command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
            command.envs(variables.iter().map(|name| (name, "1")));
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let plain = run(&[]);
        assert!(!plain.contains('\x1b'), "{plain}");
        let coloured = run(&["CLICOLOR_FORCE"]);
        assert!(
            coloured.contains("\x1b[31m") || coloured.contains("\x1b[32m"),
            "{coloured}"
        );
        assert_eq!(run(&["NO_COLOR", "CLICOLOR_FORCE"]), plain);
        cases += 1;
    }
    assert_eq!(cases, 2);
    let mut json = ferrix(&["check", "--format", "json", files]);
    let json = json.env("CLICOLOR_FORCE", "1").output().unwrap().stdout;
    serde_json::from_slice::<Value>(&json).unwrap();
}

#[test]
fn what_others_serve_is_told_of() {
    let folder = manifests(&[9001]);
    let others = [
        (
            "extensions/v1beta1",
            "Ingress",
            "write an Ingress of networking.k8s.io/v1",
        ),
        (
            "traefik.io/v1alpha1",
            "IngressRoute",
            "write an IngressRoute of ferrix.com/v1",
        ),
        (
            "traefik.io/v1alpha1",
            "Middleware",
            "write a Filter of ferrix.com/v1",
        ),
    ];
    let mut text = String::new();
    for (api_version, kind, _) in others {
        text += &format!("---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\n");
    }
    fs::write(folder.path().join("others.yaml"), text).unwrap();
    let files = folder.path().to_str().unwrap();
    let (code, out, _) = finished(&["check", files]);
    assert_eq!(code, 0, "{out}");
    for (place, (api_version, kind, words)) in others.iter().enumerate() {
        let line = 2 + 4 * place;
        let start =
            format!("{files}/others.yaml:{line}: warning: {kind} ({api_version}) is not served: ");
        let found = out.lines().find(|line| line.starts_with(&start));
        assert!(
            found.is_some_and(|line| line.contains(words)),
            "{start}{words}\nis not in\n{out}"
        );
    }
}

/// The part of an API server that is asked here: lists, by their paths. Everything else is not
/// installed, and watches never tell anything.
struct ApiServer {
    address: SocketAddr,
    /// Every method and path that was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl ApiServer {
    /// With these routes and Services, and nothing else.
    fn with(routes: Value, services: Value) -> Self {
        let none = || serde_json::json!([]);
        Self::start(vec![
            (
                "/apis/ferrix.com/v1/ingressroutes",
                200,
                api_list("IngressRoute", routes),
            ),
            ("/api/v1/services", 200, api_list("Service", services)),
            (
                "/apis/discovery.k8s.io/v1/endpointslices",
                200,
                api_list("EndpointSlice", none()),
            ),
            ("/api/v1/namespaces", 200, api_list("Namespace", none())),
        ])
    }

    fn start(lists: Vec<(&'static str, u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let (asked, lists) = (Arc::clone(&server.asked), Arc::new(lists));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, lists) = (Arc::clone(&asked), Arc::clone(&lists));
                thread::spawn(move || answer_api_requests(stream.unwrap(), &asked, &lists));
            }
        });
        server
    }

    /// One that nobody can connect to.
    fn nowhere() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        }
    }

    fn kubeconfig(&self, folder: &Path) -> String {
        let text = format!(
            "apiVersion: v1\nkind: Config\n\
             clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             current-context: x\n",
            self.address
        );
        let file = folder.join("kubeconfig");
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().into()
    }
}

fn answer_api_requests(
    stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    lists: &[(&'static str, u16, Value)],
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line);
        }
        let length = head.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<u64>().unwrap())
        });
        let mut body = Vec::new();
        let mut unread = reader.by_ref().take(length.unwrap_or(0));
        unread.read_to_end(&mut body).unwrap();
        let mut words = head[0].split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        asked.lock().unwrap().push(format!("{method} {path}"));
        let streams = query.contains("sendInitialEvents");
        if query.contains("watch=true") && !streams {
            continue;
        }
        let known = lists.iter().find(|(it, ..)| *it == path);
        let (status, body) = match known {
            // It has none in place of lists.
            _ if streams => (422, serde_json::json!({"kind": "Status", "code": 422})),
            Some((_, status, body)) => (*status, body.clone()),
            // Every cluster has these, and few tests any of them.
            None if path.starts_with("/apis/networking.k8s.io/v1/") => {
                (200, api_list("Ingress", serde_json::json!([])))
            }
            None => (
                404,
                serde_json::json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
                    "message": "not found", "reason": "NotFound", "code": 404,
                }),
            ),
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} As Asked\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        reader
            .get_mut()
            .write_all((head + &body).as_bytes())
            .unwrap();
    }
}

#[test]
fn check_and_explain_look_no_name_up() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: api-service, namespace: default}\n\
                   spec: {type: ExternalName, externalName: none.invalid}\n";
    fs::write(manifests.join("route.yaml"), ROUTE).unwrap();
    fs::write(manifests.join("service.yaml"), service).unwrap();
    let files = manifests.to_str().unwrap();
    let config = write_settings(folder.path(), "source: {allow_external_name: true}\n");
    let words = "`none.invalid` is looked up at run time; until then requests get 503";
    let (code, out, _) = finished(&["check", "--config", &config, files]);
    assert_eq!(code, 0, "{out}");
    let line = format!(
        "{files}/service.yaml:4: info: Service default/api-service: spec.externalName: {words}"
    );
    assert!(out.lines().any(|it| it == line), "{line}\nis not in\n{out}");
    let url = "http://example.com/api";
    let (_, out, _) = finished(&["explain", "--config", &config, "--files", files, "GET", url]);
    let answer = format!("answer: from service default/api-service:8080: {words}\n");
    assert!(out.ends_with(&answer), "{out}");
}

#[test]
fn check_and_explain_know_whose_a_host_is() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("route.yaml"), ROUTE).unwrap();
    let files = manifests.to_str().unwrap();
    let hosts = "hosts: {allowed: [{namespaces: [shop], hosts: [example.com]}]}\n";
    let config = write_settings(folder.path(), hosts);
    let words = "not served: `hosts.allowed` of the settings gives example.com to namespace shop, and to \
                 namespace default none; have it allowed by who runs Ferrix";
    let (code, out, _) = finished(&["check", "--config", &config, files]);
    assert_eq!(code, 1, "{out}");
    let found = format!("IngressRoute default/example-route: spec.route.host: {words}\n");
    assert!(out.contains(&found), "{found}\nis not in\n{out}");
    let url = "http://example.com/api";
    let (_, out, _) = finished(&["explain", "--config", &config, "--files", files, "GET", url]);
    let found = format!("Not by IngressRoute default/example-route: {words}\n");
    assert!(out.contains(&found), "{found}\nis not in\n{out}");
}

/// Of a kind, as the API server lists them.
fn api_list(kind: &str, items: Value) -> Value {
    serde_json::json!({
        "kind": format!("{kind}List"), "apiVersion": "v1",
        "metadata": {"resourceVersion": "7"}, "items": items,
    })
}

#[test]
fn names_in_a_cluster_are_looked_up() {
    let metadata = serde_json::json!({
        "name": "local", "namespace": "default", "resourceVersion": "5", "generation": 1,
    });
    let route = serde_json::json!([{
        "metadata": metadata,
        "spec": {"entrypoint": "web", "route": {"host": "example.com", "rules": [
            {"service": {"name": "local", "port": 8080}},
        ]}},
    }]);
    let service = serde_json::json!([{
        "metadata": metadata, "spec": {"type": "ExternalName", "externalName": "localhost"},
    }]);
    let server = ApiServer::with(route, service);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = server.kubeconfig(folder.path());
    let settings = format!(
        "{ANY_PORT}source: {{allow_external_name: true, kubernetes: {{kubeconfig: '{kubeconfig}'}}}}\n"
    );
    let config = write_settings(folder.path(), &settings);
    let running = Running::of(ferrix(&["run", "--config", &config]));
    // It was looked up before anything was served, and its address is refused in a cluster.
    assert_eq!(get(running.web, "example.com", "/").0, 503);
    let (_, report) = get(running.admin, "a", "/report");
    let refused = "address 127.0.0.1 of `localhost` is left out: loopback addresses are refused";
    assert!(report.contains(refused), "{report}");
    let (_, metrics) = get(running.admin, "a", "/metrics");
    let found = "ferrix_name_lookups_total{result=\"found\"} 1.0";
    assert!(metrics.lines().any(|line| line == found), "{metrics}");
}

/// As a container does that is killed while the API server is away, and restarts in its pod.
#[test]
fn whoever_starts_without_an_api_server_serves_what_was_seen_before() {
    let metadata = serde_json::json!({
        "name": "r", "namespace": "default", "uid": "u", "resourceVersion": "5", "generation": 1,
    });
    let route = serde_json::json!([{
        "metadata": metadata,
        "spec": {"entrypoint": "web", "route": {"host": "example.com", "rules": [
            {"service": {"name": "api", "port": 8080}},
        ]}},
    }]);
    let service = serde_json::json!([{
        "metadata": {"name": "api", "namespace": "default", "resourceVersion": "6"},
        "spec": {"ports": [{"port": 8080}]},
    }]);
    let server = ApiServer::with(route, service);
    let folder = tempfile::tempdir().unwrap();
    let start = |server: &ApiServer| {
        let kubeconfig = server.kubeconfig(folder.path());
        let settings = format!(
            "{ANY_PORT}source: {{kubernetes: {{kubeconfig: '{kubeconfig}', snapshot_folder: s/t}}}}\n"
        );
        let config = write_settings(folder.path(), &settings);
        Running::of(ferrix(&["run", "--config", &config]))
    };
    let answers = |running: &Running| {
        let (_, metrics) = get(running.admin, "a", "/metrics");
        let metric = metrics
            .lines()
            .find_map(|line| line.strip_prefix("ferrix_configuration_snapshot "));
        let (_, report) = get(running.admin, "a", "/report");
        let report: Value = serde_json::from_str(&report).unwrap();
        (
            // There is such a route, and its service has no endpoint.
            get(running.web, "example.com", "/").0,
            get(running.admin, "a", "/readyz"),
            metric.unwrap().to_owned(),
            report["snapshot"].clone(),
        )
    };
    let running = start(&server);
    let ready = (200, "ready\n".to_owned());
    assert_eq!(
        answers(&running),
        (503, ready, "0.0".to_owned(), Value::Null)
    );
    let snapshot = folder.path().join("s/t/snapshot");
    let deadline = Instant::now() + PATIENCE;
    while !snapshot.exists() {
        assert!(Instant::now() < deadline, "there is no snapshot");
        thread::sleep(Duration::from_millis(5));
    }
    let (_, metrics) = get(running.admin, "a", "/metrics");
    assert!(!metrics.contains("ferrix_snapshot_bytes 0.0"), "{metrics}");
    // It is killed.
    drop(running);
    let running = start(&ApiServer::nowhere());
    let (status, (code, ready), metric, until) = answers(&running);
    assert_eq!((status, code, &*metric), (503, 200, "1.0"));
    let until = until.as_str().unwrap();
    let words = format!(
        "ready, from a snapshot: the API server has not listed every kind since the start, and what \
         is served is the configuration as it was seen until {until}\n"
    );
    assert_eq!(ready, words);
}

#[test]
fn a_cluster_is_looked_at() {
    let version = serde_json::json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    });
    let metadata = serde_json::json!({
        "name": "api-service", "namespace": "default", "resourceVersion": "5",
        "labels": {"kubernetes.io/service-name": "api-service"},
    });
    let route = serde_json::json!([{
        "metadata": {"name": "r", "namespace": "default", "resourceVersion": "6"},
        "spec": {"entrypoint": "web", "route": {"host": "example.com", "rules": [
            {"service": {"name": "api-service", "port": 8080}},
        ]}},
    }]);
    let service = serde_json::json!([{
        "metadata": metadata, "spec": {"ports": [{"name": "http", "port": 8080}]},
    }]);
    let slice = serde_json::json!([{
        "metadata": metadata, "addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    }]);
    let lists = vec![
        ("/version", 200, version),
        (
            "/apis/ferrix.com/v1/ingressroutes",
            200,
            api_list("IngressRoute", route),
        ),
        ("/api/v1/services", 200, api_list("Service", service)),
        (
            "/apis/discovery.k8s.io/v1/endpointslices",
            200,
            api_list("EndpointSlice", slice),
        ),
        (
            "/api/v1/namespaces",
            200,
            api_list("Namespace", serde_json::json!([])),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::start(lists.clone());
    let kubeconfig = server.kubeconfig(folder.path());
    let (code, out, error) = finished(&["check", "--kubeconfig", &kubeconfig]);
    assert_eq!(
        (code, out.as_str(), error.as_str()),
        (0, "cluster: 1 route with 1 rule, 0 problems\n", "")
    );
    let explain = [
        "explain",
        "--kubeconfig",
        &kubeconfig,
        "GET",
        "http://example.com/",
    ];
    let (code, out, error) = finished(&explain);
    assert_eq!((code, error.as_str()), (0, ""));
    let answer = "answer: from service default/api-service:8080, 10.0.0.1:80 in turn\n";
    assert!(out.ends_with(answer), "{out}");
    // As in a pod, by the settings.
    let settings = format!("source: {{kubernetes: {{kubeconfig: '{kubeconfig}'}}}}\n");
    let config = write_settings(folder.path(), &settings);
    assert_eq!(finished(&["check", "--config", &config]).0, 0);
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|it| it.starts_with("GET ")), "{asked:?}");
    let secrets = |it: &&String| it.contains("secrets");
    assert_eq!(asked.iter().filter(secrets).count(), 0, "no route uses TLS");

    // What may not be seen is said, and does not keep the rest from being looked at.
    let mut lists = lists;
    lists[2] = (
        "/api/v1/services",
        403,
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
            "message": "no", "reason": "Forbidden", "code": 403,
        }),
    );
    let server = ApiServer::start(lists);
    let kubeconfig = server.kubeconfig(folder.path());
    let (code, out, _) = finished(&["check", "--kubeconfig", &kubeconfig]);
    assert_eq!(code, 1);
    let reason = "Ferrix may not list and watch Services; its ClusterRole must allow both";
    assert!(out.starts_with(&format!("{reason}\n")), "{out}");
    assert!(
        out.contains("cluster: 1 route with 1 rule, 2 problems"),
        "{out}"
    );

    // An API server that is not there is said at once.
    let kubeconfig = ApiServer::nowhere().kubeconfig(folder.path());
    let (code, _, error) = finished(&["check", "--kubeconfig", &kubeconfig]);
    assert_eq!(code, 1);
    assert!(
        error.starts_with("ferrix: the API server cannot be asked: "),
        "{error}"
    );
    let empty = write_settings(folder.path(), "{}\n");
    refused(
        &["check", "--config", &empty],
        "ferrix: there are no objects to look at: name a folder of manifests, a cluster with \
         --kubeconfig FILE, or settings with a source with --config FILE",
    );
}

/// What `kubectl get -A -o yaml`, and `-o json`, write of a large cluster.
#[test]
fn dumps_of_any_size() {
    const ROUTES: usize = 2_500;
    let managed: Vec<_> = (0..20)
        .map(|field| (format!("f:field-{field}"), serde_json::json!({})))
        .collect();
    let managed: serde_json::Map<_, _> = managed.into_iter().collect();
    let metadata = |name: &str| {
        serde_json::json!({
            "name": name, "namespace": "default", "uid": "0", "resourceVersion": "7",
            "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(900)},
            "managedFields": [{
                "apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "kubectl",
                "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": managed,
            }],
        })
    };
    let mut items = vec![serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata("s"),
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]},
        "status": {"loadBalancer": {}},
    })];
    items.extend((0..ROUTES).map(|number| {
        serde_json::json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": metadata(&format!("r{number}")),
            "spec": {"route": {"host": format!("h{number}.example"), "rules": [
                {"service": {"name": "s", "port": 80}},
            ]}},
            "status": {"conditions": [], "replicas": "1/1"},
        })
    }));
    let list = serde_json::json!({
        "apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""},
    });
    let folder = tempfile::tempdir().unwrap();
    let dumps = [
        ("dump.json", serde_json::to_string_pretty(&list).unwrap()),
        ("dump.yaml", serde_yaml_ng::to_string(&list).unwrap()),
    ];
    for (name, text) in dumps {
        assert!(
            text.len() > 4 * 1024 * 1024,
            "{name} has only {} bytes",
            text.len()
        );
        let path = folder.path().join(name);
        fs::write(&path, &text).unwrap();
        let file = path.to_str().unwrap();
        let (code, out, error) = finished(&["check", file]);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        let last = format!("{file}: {ROUTES} routes with {ROUTES} rules, 0 problems");
        assert_eq!(out.lines().last(), Some(last.as_str()), "{name}");
        let (code, out, _) = finished(&["explain", "--files", file, "GET", "http://h7.example/"]);
        assert_eq!(code, 0);
        assert!(
            out.contains("served by rule 0 of IngressRoute default/r7"),
            "{out}"
        );
        let mut piped = ferrix(&["check", "-"]);
        let mut piped = (piped.stdin(Stdio::piped()).stdout(Stdio::piped()))
            .spawn()
            .unwrap();
        let mut stdin = piped.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let out = String::from_utf8(piped.wait_with_output().unwrap().stdout).unwrap();
        let last = last.replace(file, "/dev/stdin");
        assert_eq!(out.lines().last(), Some(last.as_str()), "{name}");
    }
}

#[test]
fn broken_settings() {
    let folder = manifests(&[]);
    let files = folder.path().to_str().unwrap();
    let config = write_settings(folder.path(), "entry_points:\n  - name: web\n    port: x\n");
    let message = format!(
        "ferrix: {config}:3: entry_points[0].port: expected a number from 0 to 65535, found \"x\"",
    );
    refused(&["run", "--config", &config], &message);
    refused(&["check", "--config", &config, files], &message);
    refused(
        &[
            "explain",
            "--config",
            &config,
            "--files",
            files,
            "GET",
            "http://a/",
        ],
        &message,
    );
    refused(
        &["run", "--config", "/nonexistent.yaml"],
        "ferrix: /nonexistent.yaml: cannot be read: No such file or directory (os error 2)",
    );
}

#[test]
fn no_source() {
    refused(
        &["run"],
        "ferrix: there is no source of objects: name a folder of manifests with --files FOLDER, or \
         give source.files.path or source.kubernetes in the settings",
    );
    let folder = tempfile::tempdir().unwrap();
    let config = write_settings(
        folder.path(),
        "source: {kubernetes: {kubeconfig: nowhere}}\nadmin: {address: '127.0.0.1:0'}\n\
         entry_points: [{name: web, port: 0}]\n",
    );
    let (code, _, error) = finished(&["run", "--config", &config]);
    assert_eq!(code, 1);
    assert!(
        error.starts_with("ferrix: source.kubernetes.kubeconfig: ") && error.contains("nowhere"),
        "{error}"
    );
    let (code, _, error) = finished(&["run", "--files", "/nonexistent"]);
    assert_eq!(code, 1);
    assert!(
        error.starts_with("ferrix: the folder /nonexistent cannot be read: "),
        "{error}"
    );
}

#[test]
fn ports_in_use() {
    let folder = manifests(&[]);
    let files = folder.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = write_settings(
        folder.path(),
        &format!(
            "entry_points: [{{name: web, address: 127.0.0.1, port: {}}}]\n\
             admin: {{address: '127.0.0.1:0'}}\n\
             log: {{level: error}}\n",
            address.port(),
        ),
    );
    refused(
        &["run", "--config", &config, "--files", files],
        &format!(
            "ferrix: entry point web: cannot listen on {address}: Address already in use (os error \
             98)",
        ),
    );
    let config = write_settings(
        folder.path(),
        &format!("entry_points: [{{name: web, port: 0}}]\nadmin: {{address: '{address}'}}\n"),
    );
    refused(
        &["run", "--config", &config, "--files", files],
        &format!(
            "ferrix: admin.address: cannot listen on {address}: Address already in use (os error \
             98)",
        ),
    );
    refused(
        &["echo", "--listen", &address.to_string()],
        &format!("ferrix: cannot listen on {address}: Address already in use (os error 98)"),
    );
}

#[test]
fn a_log_filter_that_cannot_be() {
    let folder = manifests(&[]);
    let output = ferrix(&["run", "--files", folder.path().to_str().unwrap()])
        .env("FERRIX_LOG", "ferrix=loud")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.starts_with("ferrix: FERRIX_LOG: expected a filter such as info,"),
        "{error}"
    );
}

#[test]
fn crds_are_yaml() {
    let (code, out, _) = finished(&["crds"]);
    assert_eq!(code, 0);
    let documents = out.split("\n---\n");
    let kinds = documents.map(|it| {
        let crd: serde_yaml_ng::Value = serde_yaml_ng::from_str(it).unwrap();
        assert_eq!(crd["kind"], "CustomResourceDefinition");
        crd["spec"]["names"]["kind"].as_str().unwrap().to_owned()
    });
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        ["BackendPolicy", "Filter", "IngressRoute"]
    );
}

#[test]
fn check() {
    let folder = manifests(&[9001]);
    let files = folder.path().to_str().unwrap();
    let (code, out, error) = finished(&["check", files]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(
        out.ends_with(&format!("{files}: 1 route with 1 rule, 0 problems\n")),
        "{out}"
    );

    let broken = ROUTE
        .replace("Path(`/api`)", "Paht(`/api`)")
        .replace("example-route", "broken");
    fs::write(folder.path().join("broken.yaml"), broken).unwrap();
    let (code, out, _) = finished(&["check", files]);
    assert_eq!(code, 1, "{out}");
    let place = format!("{files}/broken.yaml:9: IngressRoute default/broken: ");
    assert!(out.contains(&place), "{place} is not in\n{out}");

    let (code, out, _) = finished(&["check", "--format", "json", files]);
    assert_eq!(code, 1);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["problems"], 1, "{out}");
    assert_eq!(json["findings"][0]["object"]["name"], "broken", "{out}");
    assert_eq!(json["findings"][0]["severity"], "problem", "{out}");

    assert_eq!(finished(&["check", "/nonexistent"]).0, 1);
}

#[test]
fn explain() {
    let folder = manifests(&[9001, 9002]);
    let files = folder.path().to_str().unwrap();
    let (code, out, error) =
        finished(&["explain", "--files", files, "GET", "http://example.com/api"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(
        out.contains("served by rule 0 of IngressRoute default/example-route"),
        "{out}"
    );
    assert!(
        out.ends_with(
            "answer: from service default/api-service:8080, 127.0.0.1:9001, 127.0.0.1:9002 in \
             turn\n"
        ),
        "{out}",
    );
    let (code, out, _) = finished(&[
        "explain",
        "--files",
        files,
        "GET",
        "http://127.0.0.1/other",
        "-H",
        "Host: example.com",
    ]);
    assert_eq!(code, 0);
    assert!(out.contains("Path(`/api`)"), "the loser is named:\n{out}");
    assert!(out.ends_with("answer: 404, no rule takes it\n"), "{out}");
    let (code, out, _) = finished(&["explain", "--files", files, "GET", "http://exampel.com/api"]);
    assert_eq!(code, 0);
    assert!(
        out.ends_with("answer: 404, no rule is for exampel.com\n\nThe most like it: example.com\n"),
        "{out}"
    );

    let (code, _, error) = finished(&[
        "explain",
        "--files",
        files,
        "--entry-point",
        "x",
        "GET",
        "http://example.com/",
    ]);
    assert_eq!(code, 1);
    assert!(
        error.contains("the entry points are web, websecure"),
        "{error}"
    );
}

#[test]
fn run_serves_and_drains() {
    let echo = Echo::start("one");
    let folder = manifests(&[echo.1]);
    let settings = ANY_PORT.replace("drain_delay: 0s", "drain_delay: 1s");
    let settings = format!("{settings}access_log: {{format: json}}\n");
    let mut running = Running::start(&settings, folder.path());

    let (status, body) = get(running.web, "example.com", "/api?a=b");
    assert_eq!(status, 200, "{body}");
    let json: Value = serde_json::from_str(&body).expect(&body);
    assert_eq!(
        (&json["name"], &json["path"]),
        (&"one".into(), &"/api?a=b".into())
    );
    assert_eq!(get(running.web, "example.com", "/").0, 404);

    let mut line = String::new();
    running.stdout.read_line(&mut line).unwrap();
    let json: Value = serde_json::from_str(&line).expect(&line);
    assert_eq!(
        (&json["status"], &json["entry_point"]),
        (&200.into(), &"web".into())
    );
    assert_eq!(json["route_name"], "example-route");

    let (_, metrics) = get(running.admin, "a", "/metrics");
    for line in [
        "ferrix_entry_point_requests_total{entry_point=\"web\",class=\"2xx\"} 1.0",
        "ferrix_entry_point_failures_total{entry_point=\"web\",reason=\"no_route\"} 1.0",
        "ferrix_route_requests_total{kind=\"IngressRoute\",namespace=\"default\",\
         name=\"example-route\",class=\"2xx\"} 1.0",
        "ferrix_service_requests_total{namespace=\"default\",name=\"api-service\",port=\"8080\",\
         scheme=\"http\",class=\"2xx\"} 1.0",
    ] {
        assert!(
            metrics.lines().any(|it| it == line),
            "{line}\nis not in\n{metrics}"
        );
    }
    let (_, table) = get(running.admin, "a", "/table");
    let table: Value = serde_json::from_str(&table).unwrap();
    assert_eq!(
        table["rules"][0]["route"],
        "IngressRoute default/example-route"
    );
    let (_, report) = get(running.admin, "a", "/report");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report.to_string().contains("\"Programmed\""), "{report}");

    assert_eq!(get(running.admin, "a", "/readyz").0, 200);
    running.signal("TERM");
    let deadline = Instant::now() + PATIENCE;
    while get(running.admin, "a", "/readyz").0 != 503 {
        assert!(Instant::now() < deadline, "it stays ready");
    }
    // Whoever has not learned of it yet is served all the same.
    assert_eq!(get(running.web, "example.com", "/api").0, 200);
    assert_eq!(running.exit_code(), 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = manifests(&[]);
    let settings = ANY_PORT.replace("drain_delay: 0s", "drain_delay: 10m");
    let mut running = Running::start(&settings, folder.path());
    running.signal("TERM");
    let deadline = Instant::now() + PATIENCE;
    while get(running.admin, "a", "/readyz").0 != 503 {
        assert!(Instant::now() < deadline, "it stays ready");
    }
    running.signal("TERM");
    assert_eq!(running.exit_code(), 1);
}

#[test]
fn signals_that_do_not_end_it() {
    let folder = manifests(&[]);
    let logs = tempfile::tempdir().unwrap();
    let path = logs.path().join("access.log");
    let settings = format!(
        "{ANY_PORT}access_log: {{format: json, path: '{}'}}\n",
        path.display()
    );
    let mut running = Running::start(&settings, folder.path());
    for (round, signal) in ["HUP", "USR1"].into_iter().enumerate() {
        fs::rename(&path, logs.path().join(round.to_string())).unwrap();
        running.signal(signal);
        // Without a request that would have to be logged.
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            assert!(Instant::now() < deadline, "{signal} opens no new file");
            thread::sleep(Duration::from_millis(5));
        }
    }
    running.signal("USR2");
    assert_eq!(get(running.web, "example.com", "/").0, 404);
    running.signal("QUIT");
    assert_eq!(running.exit_code(), 0);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[test]
fn the_limit_of_descriptors_is_raised_and_shared_out() {
    let folder = manifests(&[]);
    let settings = tempfile::tempdir().unwrap();
    let config = write_settings(settings.path(), ANY_PORT);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 256; ulimit -S -n 64; exec \"$0\" \"$@\""])
        .args([env!("CARGO_BIN_EXE_ferrix"), "run", "--config", &config])
        .args(["--files", folder.path().to_str().unwrap()])
        .env_remove("FERRIX_LOG")
        .stdin(Stdio::null());
    let running = Running::of(command);
    let (_, metrics) = get(running.admin, "a", "/metrics");
    for line in [
        "ferrix_connection_limit{of=\"client\"} 96.0",
        "ferrix_connection_limit{of=\"backend\"} 96.0",
        "ferrix_connection_limit{of=\"endpoint\"} 48.0",
        "process_max_fds 256.0",
    ] {
        assert!(
            metrics.lines().any(|it| it == line),
            "{line}\nis not in\n{metrics}"
        );
    }
}

#[test]
fn demo_answers() {
    // Ports that were free a moment ago.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [free(), free()].map(|it| it.local_addr().unwrap().port());
    let folder = manifests(&ports);
    let settings = tempfile::tempdir().unwrap();
    let config = write_settings(settings.path(), ANY_PORT);
    let args = ["demo", "--config", &config, folder.path().to_str().unwrap()];
    let mut child = ferrix(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("Ctrl-C") {
        assert_ne!(out.read_line(&mut text).unwrap(), 0, "it ended:\n{text}");
    }
    let command = text
        .lines()
        .find(|line| line.ends_with("/api"))
        .expect("a command to try");
    let command = command
        .trim()
        .strip_prefix("curl -H 'Host: example.com' http://")
        .expect(command);
    let address: SocketAddr = command
        .strip_suffix("/api")
        .expect(command)
        .parse()
        .unwrap();

    let (first, second) = (
        get(address, "example.com", "/api"),
        get(address, "example.com", "/api"),
    );
    assert_eq!((first.0, second.0), (200, 200));
    let name = |body: &str| serde_json::from_str::<Value>(body).expect(body)["name"].to_string();
    assert_ne!(
        name(&first.1),
        name(&second.1),
        "both endpoints have their turn"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What replicas have kept of a route that is bad serves, so a look at the cluster has to know it; where that
/// may not be read, the rest is said all the same.
#[test]
fn kept_versions_are_looked_at_in_a_cluster() {
    const KEPT: &str = "/apis/apps/v1/namespaces/proxies/controllerrevisions";
    const SECRETS: &str = "/api/v1/namespaces/default/secrets";
    let route = |generation: i64, matches: &str| {
        serde_json::json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": {
                "name": "r", "namespace": "default", "uid": "u", "generation": generation,
                "resourceVersion": "7",
            },
            "spec": {
                "entrypoints": ["web"],
                "route": {"host": "example.com", "rules": [
                    {"matches": matches, "service": {"name": "api", "port": 80}},
                ]},
            },
            "status": {"installation": "proxies/ferrix"},
        })
    };
    let service = serde_json::json!([{
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    }]);
    let slice = serde_json::json!([{
        "metadata": {
            "name": "api-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "api"},
        },
        "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    }]);
    let mut kept = route(1, "Path(`/good`)");
    kept["spec"]["tls"] = "tls".into();
    let kept = serde_json::json!([{"metadata": {"name": "k"}, "revision": 1, "data": kept}]);
    let forbidden = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "message": "no", "reason": "Forbidden", "code": 403,
    });
    let lists = |matches: &str, kept: (u16, Value)| {
        let routes = serde_json::json!([route(2, matches)]);
        vec![
            (
                "/version",
                200,
                serde_json::json!({"major": "1", "minor": "33"}),
            ),
            (
                "/apis/ferrix.com/v1/ingressroutes",
                200,
                api_list("IngressRoute", routes),
            ),
            (
                "/api/v1/services",
                200,
                api_list("Service", service.clone()),
            ),
            (
                "/apis/discovery.k8s.io/v1/endpointslices",
                200,
                api_list("EndpointSlice", slice.clone()),
            ),
            (
                "/api/v1/namespaces",
                200,
                api_list("Namespace", serde_json::json!([])),
            ),
            (SECRETS, 200, api_list("Secret", serde_json::json!([]))),
            (KEPT, kept.0, kept.1),
        ]
    };
    let shown = || (200, api_list("ControllerRevision", kept.clone()));
    let hint = "the ControllerRevisions of namespace proxies cannot be read, where last good versions of \
                bad routes are kept, so that these may be served otherwise than is said here: you may not \
                list them\n";
    let folder = tempfile::tempdir().unwrap();
    let mut cases = 0;
    for (matches, kept, asks, serves, says) in [
        ("Pfad(`/bad`)", shown(), true, true, ""),
        ("Pfad(`/bad`)", (403, forbidden), true, false, hint),
        // Nobody needs it.
        ("Path(`/good`)", shown(), false, true, ""),
    ] {
        let server = ApiServer::start(lists(matches, kept));
        let kubeconfig = server.kubeconfig(folder.path());
        let (code, out, error) = finished(&["check", "--kubeconfig", &kubeconfig]);
        assert_eq!(code, i32::from(asks), "{out}{error}");
        assert!(out.starts_with(says), "{out}");
        assert_eq!(
            out.contains("ControllerRevisions"),
            !says.is_empty(),
            "{out}"
        );
        let explain = [
            "explain",
            "--kubeconfig",
            &kubeconfig,
            "GET",
            "http://example.com/good",
        ];
        let (_, out, _) = finished(&explain);
        assert!(out.contains(says), "{out}");
        assert_eq!(out.contains("from service default/api:80"), serves, "{out}");
        let asked = server.asked.lock().unwrap().clone();
        let lists_of = |path: &str| asked.iter().filter(|it| it.ends_with(path)).count();
        assert_eq!(lists_of(KEPT), 2 * usize::from(asks), "{asked:?}");
        // The version that serves names one, and the bad one does not.
        assert_eq!(lists_of(SECRETS) > 0, asks && serves, "{asked:?}");
        cases += 1;
    }
    assert_eq!(cases, 3);
}
