//! A real cluster, for the tests that need one.
//!
//! `cluster/test` brings it up, imports the image of Ferrix, and runs those tests inside the
//! node's network, one after the other. All of them share one installation of `deploy/ferrix.yaml`
//! in the namespace `ferrix`, and use namespaces of their own for everything else.

use std::{
    env, fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_yaml_ng::Value;
use tokio::time::timeout;

use crate::{Client, certificates::Certified, client::Response};

/// How long a rollout, or the start of a pod, may take on a machine that does other work too.
pub const ROLLOUT: Duration = Duration::from_secs(180);

/// How long a status may take while a machine does other work too, such as deleting a thousand
/// routes.
pub const REPORT: Duration = Duration::from_secs(40);

/// The image that `cluster/test` imports: Ferrix, and with `echo` a backend.
pub const IMAGE: &str = "ferrix:0.1.0";

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs `kubectl` and returns what it prints.
///
/// # Panics
/// Where it fails, or where there is no cluster.
pub fn kubectl(arguments: &[&str]) -> String {
    kubectl_with(arguments, "")
}

/// The same with something to read.
///
/// # Panics
/// As [`kubectl`].
pub fn kubectl_with(arguments: &[&str], input: &str) -> String {
    match try_kubectl(arguments, input) {
        Ok(output) => output,
        Err(error) => panic!("kubectl {}: {error}", arguments.join(" ")),
    }
}

/// The same where failing is an answer.
///
/// # Errors
/// What `kubectl` says.
pub fn try_kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    assert!(
        env::var_os("KUBECONFIG").is_some(),
        "there is no cluster; run the tests that need one with cluster/test"
    );
    run(Command::new("kubectl").args(arguments), input)
}

/// Runs `cluster/cluster`, for what no client of the API server can do.
///
/// # Panics
/// Where it fails.
pub fn cluster(arguments: &[&str]) -> String {
    let name = env::var("FERRIX_CLUSTER").unwrap_or_else(|_| "ferrix".to_owned());
    let (command, rest) = arguments.split_first().expect("a command is given");
    let mut program = Command::new(repository().join("cluster/cluster"));
    program.arg(command).args(["--name", &name]).args(rest);
    match run(&mut program, "") {
        Ok(output) => output,
        Err(error) => panic!("cluster {}: {error}", arguments.join(" ")),
    }
}

fn run(command: &mut Command, input: &str) -> Result<String, String> {
    use std::io::Write;

    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever does not read ends by itself, and says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Applies manifests.
///
/// # Panics
/// Where the API server refuses.
pub fn apply(manifests: &str) {
    kubectl_with(&["apply", "-f", "-"], manifests);
}

/// Waits until a Deployment, a DaemonSet or a StatefulSet is rolled out.
///
/// # Panics
/// Where that takes longer than [`ROLLOUT`].
pub fn rolled_out(namespace: &str, what: &str) {
    let timeout = format!("--timeout={}s", ROLLOUT.as_secs());
    kubectl(&["-n", namespace, "rollout", "status", what, &timeout]);
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// Where there is none within `limit`.
pub async fn until<T>(
    what: impl fmt::Display,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A namespace of a test. What the test made is deleted at the end, without waiting for it.
pub struct Namespace {
    name: String,
    ours: bool,
}

impl Namespace {
    /// Makes it.
    pub fn new(name: &str) -> Self {
        kubectl(&["create", "namespace", name]);
        Self {
            name: name.to_owned(),
            ours: true,
        }
    }

    /// One that was there before, and stays.
    pub fn existing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ours: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `kubectl` in it.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        kubectl(&all)
    }

    /// Applies manifests to it.
    pub fn apply(&self, manifests: &str) {
        kubectl_with(&["-n", &self.name, "apply", "-f", "-"], manifests);
    }

    /// Runs backends: a Deployment and a Service of this name, port 80, and waits for them.
    pub fn backend(&self, name: &str, replicas: usize) {
        self.apply(&backend(name, replicas));
        rolled_out(&self.name, &format!("deployment/{name}"));
    }

    /// A condition of a route as it is now: status, reason and message; empty while the status is about a
    /// version of before.
    pub fn condition(&self, route: &str, condition: &str) -> (String, String, String) {
        let object = self.object("ingressroute", route);
        let conditions = object["status"]["conditions"].as_sequence();
        let generation = &object["metadata"]["generation"];
        let is_asked =
            |it: &&Value| it["type"] == condition && it["observedGeneration"] == *generation;
        let found = conditions.into_iter().flatten().find(is_asked);
        let text = |field: &str| {
            let value = found.and_then(|found| found[field].as_str());
            value.unwrap_or_default().to_owned()
        };
        (text("status"), text("reason"), text("message"))
    }

    /// Waits until every replica serves a route.
    ///
    /// # Panics
    /// As [`Namespace::wait`].
    pub async fn programmed(&self, route: &str) -> String {
        self.wait(route, "Programmed", "True", "Programmed").await
    }

    /// Waits until a condition of a route has this status and reason; returns its message.
    ///
    /// # Panics
    /// Where that takes longer than [`REPORT`].
    pub async fn wait(&self, route: &str, condition: &str, status: &str, reason: &str) -> String {
        let what = format!("{condition} {status} {reason} of {route}");
        until(what, REPORT, async || {
            let found = self.condition(route, condition);
            (found.0 == status && found.1 == reason).then_some(found.2)
        })
        .await
    }

    /// An object as the API server has it.
    pub fn object(&self, kind: &str, name: &str) -> Value {
        let text = self.kubectl(&["get", kind, name, "-o", "yaml"]);
        serde_yaml_ng::from_str(&text).unwrap()
    }

    /// Makes a Secret of type `kubernetes.io/tls`, or replaces it.
    pub fn certificate(&self, name: &str, certified: &Certified) {
        let indented = |text: &str| text.trim().replace('\n', "\n    ");
        self.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\n\
             stringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
            indented(&certified.certificate_pem),
            indented(&certified.key_pem),
        ));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        // What is left behind goes with the cluster.
        let _ = try_kubectl(&["delete", "namespace", &self.name, "--wait=false"], "");
    }
}

/// A Deployment of echo backends that end well, and its Service. A kubelet that asks on a busy machine waits longer
/// than its second, or all of them are unready at once, and requests rightly get 503.
pub fn backend(name: &str, replicas: usize) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 15
      containers:
        - name: echo
          image: {IMAGE}
          args: [echo, --listen, '0.0.0.0:8080', --name, $(POD)]
          env:
            - {{name: POD, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
          lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1, timeoutSeconds: 3}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
"
    )
}

/// The installation that all tests share.
pub struct Ferrix {
    /// The entry point `web`, behind the Service.
    pub web: SocketAddr,
    /// The entry point `websecure`, behind the Service.
    pub websecure: SocketAddr,
}

impl Ferrix {
    /// Installs it as the README says, if nobody has yet, and waits for it.
    pub fn install() -> Self {
        let file = |path: &str| repository().join(path).display().to_string();
        let definition = file("crds/k8s");
        kubectl(&["apply", "--server-side", "-f", &definition]);
        kubectl(&["apply", "-f", &file("deploy/ferrix.yaml")]);
        rolled_out("ferrix", "deployment/ferrix");
        Self::behind("ferrix", "ferrix")
    }

    /// An installation behind this Service.
    pub fn behind(namespace: &str, service: &str) -> Self {
        let path = "jsonpath={.spec.clusterIP}";
        let address = kubectl(&["-n", namespace, "get", "service", service, "-o", path]);
        let address: IpAddr = address.parse().unwrap();
        Self {
            web: (address, 80).into(),
            websecure: (address, 443).into(),
        }
    }

    /// Asks over HTTP, on a connection of its own.
    pub async fn get(&self, host: &str, path: &str) -> Response {
        let mut client = Client::connect(self.web).await;
        client
            .exchange(format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await
    }

    /// Asks until the answer has this status.
    ///
    /// # Panics
    /// Where that takes longer than `limit`.
    pub async fn answers(&self, host: &str, path: &str, status: u16, limit: Duration) -> Response {
        until(format!("{status} from {host}{path}"), limit, async || {
            // Without the pods of a moment ago, an answer may take as long as connecting to them.
            let response = timeout(Duration::from_secs(2), self.get(host, path)).await;
            response.ok().filter(|response| response.status == status)
        })
        .await
    }

    /// Replaces its pods, one after the other, and waits until those before have ended.
    ///
    /// # Panics
    /// Where that takes longer than [`ROLLOUT`].
    pub async fn restart(&self) {
        let before = self.pods();
        kubectl(&["-n", "ferrix", "rollout", "restart", "deployment/ferrix"]);
        let rollout = tokio::task::spawn_blocking(|| rolled_out("ferrix", "deployment/ferrix"));
        rollout.await.unwrap();
        until("the old pods to end", ROLLOUT, async || {
            let pods = self.pods();
            (!before.iter().any(|pod| pods.contains(pod))).then_some(())
        })
        .await;
    }

    /// The names of its pods that run.
    pub fn pods(&self) -> Vec<String> {
        let selector = "app.kubernetes.io/name=ferrix";
        let names = kubectl(&[
            "-n",
            "ferrix",
            "get",
            "pods",
            "-l",
            selector,
            "--field-selector=status.phase=Running",
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ]);
        names.split_whitespace().map(str::to_owned).collect()
    }
}
