//! A folder that is watched: every kind of edit, until it is served.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ferrix_control::{
    KeyFetcher,
    files::{Files, run_files},
    objects::{Key, Kind},
    report::ConditionType,
    settings::Settings,
};
use ferrix_table::{Reader, publish, sockets::Refusals, table::EntryPoint};
use tempfile::TempDir;
use tokio::sync::watch::{self, Receiver};

struct Running {
    folder: TempDir,
    files: Files,
    reader: Reader,
}

async fn start(files: &[(&str, &str)]) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let (publisher, reader) = publish::channel();
    let files = run_files(
        folder.path().to_owned(),
        settings(),
        publisher,
        nothing_refused(),
        Arc::new(NoKeys),
    )
    .await
    .expect("a folder");
    assert_eq!(
        reader.generation(),
        1,
        "the first table is there before anything else"
    );
    Running {
        folder,
        files,
        reader,
    }
}

/// No route here has keys at a URL.
struct NoKeys;

impl KeyFetcher for NoKeys {
    async fn fetch(&self, url: &str) -> Result<String, String> {
        panic!("{url}")
    }
}

/// The system lets whoever asks listen.
fn nothing_refused() -> Receiver<Refusals> {
    watch::channel(Refusals::new()).1
}

fn settings() -> Settings {
    Settings::for_files(vec![EntryPoint::http("web")])
}

impl Running {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// Hosts of all rules, in order of their names.
    fn hosts(&self) -> Vec<String> {
        let table = self.reader.load();
        let mut hosts: Vec<_> = table
            .rules
            .iter()
            .map(|rule| rule.host.to_string())
            .collect();
        hosts.sort();
        hosts
    }

    /// Waits for generations until the rules are for these hosts.
    async fn serves(&self, hosts: &[&str]) {
        let mut generations = self.files.generations();
        let wait = async {
            while self.hosts() != hosts {
                generations.changed().await.expect("the watch goes on");
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(
            waited.is_ok(),
            "expected {hosts:?}, found {:?}",
            self.hosts()
        );
    }

    /// Waits for reports until there is a problem that says so.
    async fn reports(&self, text: &str) {
        let mut reports = self.files.reports();
        let wait = reports.wait_for(|report| {
            report
                .problems()
                .any(|problem| problem.to_string().contains(text))
        });
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(
            waited.is_ok(),
            "no {text:?} in\n{}",
            self.files.reports().borrow().as_ref()
        );
    }
}

fn route(host: &str) -> String {
    let name = host.split('.').next().unwrap_or_default();
    format!(
        "apiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {{name: {name}}}\n\
         spec: {{route: {{host: {host}, rules: [{{service: {{name: api, port: 80}}}}]}}}}\n"
    )
}

#[tokio::test]
async fn an_edit() {
    let running = start(&[("a.yaml", &route("a.example"))]).await;
    running.serves(&["a.example"]).await;
    running.write(
        "a.yaml",
        &(route("a.example") + "---\n" + &route("b.example")),
    );
    running.serves(&["a.example", "b.example"]).await;
}

#[tokio::test]
async fn an_atomic_rename() {
    let running = start(&[("a.yaml", &route("a.example"))]).await;
    running.write(".a.yaml.tmp", &route("b.example"));
    fs::rename(running.path(".a.yaml.tmp"), running.path("a.yaml")).expect("a rename");
    running.serves(&["b.example"]).await;
}

#[tokio::test]
async fn a_new_file_a_deletion_and_a_rename() {
    let running = start(&[]).await;
    assert_eq!(running.hosts(), [""; 0]);
    running.write("a.yaml", &route("a.example"));
    running.serves(&["a.example"]).await;
    running.write("b.yaml", &route("b.example"));
    running.serves(&["a.example", "b.example"]).await;
    fs::remove_file(running.path("a.yaml")).expect("a deletion");
    running.serves(&["b.example"]).await;
    fs::rename(running.path("b.yaml"), running.path("b.off")).expect("a rename");
    running.serves(&[]).await;
}

#[tokio::test]
async fn new_folders() {
    let running = start(&[]).await;
    fs::create_dir_all(running.path("x/y")).expect("folders");
    running.write("x/y/a.yaml", &route("a.example"));
    running.serves(&["a.example"]).await;
    running.write("x/y/a.yaml", &route("b.example"));
    running.serves(&["b.example"]).await;
    fs::remove_dir_all(running.path("x")).expect("a deletion");
    running.serves(&[]).await;
}

#[tokio::test]
async fn a_file_that_is_half_written() {
    let whole = route("a.example") + "---\n" + &route("b.example");
    let running = start(&[("a.yaml", &whole)]).await;
    running.serves(&["a.example", "b.example"]).await;
    let cut = whole.rfind("rules").expect("rules");
    running.write("a.yaml", &whole[..cut]);
    running.reports("default/b").await;
    running.serves(&["a.example", "b.example"]).await;
    running.write("a.yaml", &(whole + "---\n" + &route("c.example")));
    running
        .serves(&["a.example", "b.example", "c.example"])
        .await;
}

#[tokio::test]
async fn a_file_that_is_written_bit_by_bit() {
    let running = start(&[("a.yaml", &route("a.example"))]).await;
    running.serves(&["a.example"]).await;
    let text = route("b.example") + "---\n" + &route("c.example");
    let mut file = fs::File::create(running.path("a.yaml")).expect("a file");
    for bytes in text.as_bytes().chunks(40) {
        file.write_all(bytes).expect("a write");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    drop(file);
    running.serves(&["b.example", "c.example"]).await;
}

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_version() {
    let running = start(&[("a.yaml", &route("a.example"))]).await;
    running.write(
        "a.yaml",
        &route("a.example").replace("service", "matches: Path(, service"),
    );
    running.reports("spec.route.rules[0].matches").await;
    running.serves(&["a.example"]).await;
    let report = running.files.reports().borrow().clone();
    let entry = report
        .get(&Key::new(Kind::IngressRoute, "default", "a"))
        .expect("an entry");
    let programmed = entry.condition(ConditionType::Programmed);
    let programmed = programmed.expect("a condition");
    assert_eq!(programmed.reason.as_str(), "LastGoodServed");
    assert_eq!(
        programmed.message,
        "The last good version is served on `web`."
    );
    running.write("a.yaml", &route("b.example"));
    running.serves(&["b.example"]).await;
}

#[tokio::test]
async fn a_mounted_config_map() {
    let running = start(&[]).await;
    let version = |name: &str, host: &str| {
        fs::create_dir(running.path(name)).expect("a folder");
        running.write(&format!("{name}/a.yaml"), &route(host));
        symlink(name, running.path("..data_tmp")).expect("a link");
        fs::rename(running.path("..data_tmp"), running.path("..data")).expect("a rename");
    };
    version("..1", "a.example");
    symlink("..data/a.yaml", running.path("a.yaml")).expect("a link");
    running.serves(&["a.example"]).await;
    version("..2", "b.example");
    fs::remove_dir_all(running.path("..1")).expect("a deletion");
    running.serves(&["b.example"]).await;
}

#[tokio::test]
async fn a_linked_file_elsewhere() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let target = elsewhere.path().join("a.yaml");
    fs::write(&target, route("a.example")).expect("a file");
    let running = start(&[]).await;
    symlink(&target, running.path("a.yaml")).expect("a link");
    running.serves(&["a.example"]).await;
    fs::write(&target, route("b.example")).expect("a file");
    running.serves(&["b.example"]).await;
}

#[tokio::test]
async fn what_changes_nothing_is_not_published() {
    let running = start(&[("a.yaml", &route("a.example"))]).await;
    running.write("a.yaml", &format!("# A comment.\n{}", route("a.example")));
    running.write(
        "b.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: unused}\n",
    );
    running.write("c.yaml", &route("c.example"));
    running.serves(&["a.example", "c.example"]).await;
    assert_eq!(running.reader.generation(), 2);
}

#[tokio::test]
async fn endpoints_change() {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: api}\n\
                   spec: {ports: [{port: 80}]}\n";
    let slice = |address: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: api-1, labels: {{kubernetes.io/service-name: api}}}}\n\
             addressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{{addresses: [{address}]}}]\n"
        )
    };
    let routes = route("a.example") + service;
    let running = start(&[("a.yaml", &routes), ("b.yaml", &slice("10.0.0.1"))]).await;
    let rules = running.reader.load().rules.clone();
    running.write("b.yaml", &slice("10.0.0.2"));
    let mut generations = running.files.generations();
    let changed = generations.wait_for(|generation| *generation == 2);
    tokio::time::timeout(Duration::from_secs(20), changed)
        .await
        .expect("in time")
        .expect("alive");
    let table = running.reader.load();
    assert_eq!(
        table.services[0].endpoints[0].address.to_string(),
        "10.0.0.2:80"
    );
    assert!(
        std::sync::Arc::ptr_eq(&table.rules, &rules),
        "the rules are shared"
    );
}

#[tokio::test]
async fn folders_that_cannot_be_used() {
    for (path, expected) in [
        ("/does/not/exist", "cannot be read"),
        ("/dev/null", "is no folder"),
    ] {
        let (publisher, reader) = publish::channel();
        let error = run_files(
            Path::new(path).to_owned(),
            settings(),
            publisher,
            nothing_refused(),
            Arc::new(NoKeys),
        )
        .await;
        let error = error.map(|_| ()).expect_err("no folder").to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(reader.generation(), 0);
    }
}
