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
        "run", "check", "explain", "crds", "withdraw", "echo", "demo",
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
    let crd: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(out.split("\n---\n").next().unwrap()).unwrap();
    assert_eq!(crd["kind"], "CustomResourceDefinition");
    assert_eq!(crd["spec"]["names"]["kind"], "IngressRoute");
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
