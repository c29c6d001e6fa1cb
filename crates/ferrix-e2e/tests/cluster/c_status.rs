//! Who writes statuses, how many, and what propagation takes.

use std::{
    env, fs,
    time::{Duration, Instant},
};

use ferrix_api::IngressRoute;
use ferrix_e2e::{
    Client,
    audit::Audit,
    cluster::{Ferrix, Namespace, REPORT, kubectl, rolled_out, until},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use tokio::task::JoinSet;

use crate::{SOON, d_chart::helm};

/// How many routes are applied at once.
const ROUTES: usize = 1_000;

fn object(name: &str, host: &str) -> IngressRoute {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "ferrix.com/v1",
        "kind": "IngressRoute",
        "metadata": {"name": name},
        "spec": {"route": {"host": host, "rules": [{"service": {"name": "api", "port": 80}}]}},
    }))
    .unwrap()
}

async fn routes_of(space: &Namespace) -> Api<IngressRoute> {
    let client = kube::Client::try_default().await.unwrap();
    Api::namespaced(client, space.name())
}

/// Makes routes, many at a time.
async fn create(space: &Namespace, api: &Api<IngressRoute>, numbers: std::ops::Range<usize>) {
    let mut tasks = JoinSet::new();
    for worker in 0..16 {
        let (api, space) = (api.clone(), space.name().to_owned());
        let mine: Vec<usize> = numbers.clone().skip(worker).step_by(16).collect();
        tasks.spawn(async move {
            for number in mine {
                let route = object(&format!("r-{number}"), &format!("r-{number}.{space}.test"));
                api.create(&PostParams::default(), &route).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

fn programmed(route: &IngressRoute) -> bool {
    let conditions = route.status.iter().flat_map(|status| &status.conditions);
    let fits = |it: &&Condition| it.type_ == "Programmed" && it.status == "True";
    let current = |it: Condition| it.observed_generation == route.metadata.generation;
    conditions.clone().find(fits).cloned().is_some_and(current)
}

/// Every route is reported, by one write.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs a cluster: cluster/test"]
async fn a_thousand_routes_are_reported_once_each() {
    let _ferrix = Ferrix::install();
    let space = Namespace::new("many");
    space.backend("api", 1);
    let api = routes_of(&space).await;
    let audit = Audit::from_now();
    let started = Instant::now();
    create(&space, &api, 0..ROUTES).await;
    let applied = started.elapsed();
    let all = Duration::from_secs(30);
    until("every route to be programmed", all, async || {
        let routes = api.list(&ListParams::default()).await.unwrap();
        routes.iter().all(programmed).then_some(())
    })
    .await;
    let reported = started.elapsed();
    // Nothing more may come.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let writes = audit.status_writes(space.name());
    println!(
        "{ROUTES} routes applied in {applied:?}, all reported {:?} later, by {writes} writes",
        reported - applied
    );
    assert!(writes >= ROUTES, "the audit log is read wrongly: {writes}");
    assert!(
        writes <= ROUTES * 11 / 10,
        "{writes} writes for {ROUTES} routes"
    );
}

/// A leader that stands still loses its office within 20 s, and nothing is written anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs a cluster: cluster/test"]
async fn the_office_moves_and_no_status_flaps() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("office");
    space.backend("api", 1);
    let api = routes_of(&space).await;
    create(&space, &api, 0..50).await;
    until(
        "every route to be programmed",
        Duration::from_secs(20),
        async || {
            let routes = api.list(&ListParams::default()).await.unwrap();
            routes.iter().all(programmed).then_some(())
        },
    )
    .await;
    let holder = || {
        let path = "jsonpath={.spec.holderIdentity}";
        kubectl(&["-n", "ferrix", "get", "lease", "ferrix", "-o", path])
    };
    let before = holder();
    assert!(ferrix.pods().contains(&before), "{before}");
    let audit = Audit::from_now();
    let process = process_of(&before);
    signal("-STOP", process);
    let stopped = Instant::now();
    until("another holder", Duration::from_secs(20), async || {
        (holder() != before).then_some(())
    })
    .await;
    println!("the Lease moved after {:?}", stopped.elapsed());
    signal("-CONT", process);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_ne!(holder(), before);
    assert_eq!(audit.status_writes(space.name()), 0, "statuses flap");
    // And the new one does its work.
    create(&space, &api, 50..51).await;
    space.wait("r-50", "Accepted", "True", "Accepted").await;
}

/// The count follows when replicas come and go, by one write for each route.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs a cluster: cluster/test"]
async fn the_count_follows_the_replicas() {
    const ROUTES: usize = 20;
    let _ferrix = Ferrix::install();
    let space = Namespace::new("count");
    space.backend("api", 1);
    let api = routes_of(&space).await;
    create(&space, &api, 0..ROUTES).await;
    let counted = async |count: &str| {
        let within = Duration::from_secs(90);
        let started = Instant::now();
        until(&format!("every route to say {count}"), within, async || {
            let routes = api.list(&ListParams::default()).await.unwrap();
            let says = |route: &IngressRoute| {
                let status = route.status.as_ref();
                status.and_then(|it| it.replicas.as_deref()) == Some(count)
            };
            routes.iter().all(says).then_some(())
        })
        .await;
        println!("{count} after {:?}", started.elapsed());
    };
    counted("2/2").await;
    for replicas in [3, 2] {
        let audit = Audit::from_now();
        let scale = format!("--replicas={replicas}");
        kubectl(&["-n", "ferrix", "scale", "deployment", "ferrix", &scale]);
        counted(&format!("{replicas}/{replicas}")).await;
        assert_eq!(audit.status_writes(space.name()), ROUTES);
    }
}

/// The process of Ferrix in a pod, as the machine numbers it.
fn process_of(pod: &str) -> u32 {
    let variable = format!("POD_NAME={pod}");
    let has = |process: &u32| {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|it| it == variable.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str()?.parse().ok()
    });
    processes.into_iter().find(has).unwrap()
}

fn signal(signal: &str, process: u32) {
    let status = std::process::Command::new("kill")
        .args([signal, &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// From 404 to 200 and nothing else, route by route, among `FERRIX_ROUTES` others (200 unless the
/// variable says otherwise). Prints what it takes; the first figure counts from the moment when
/// the API server is asked, the second from its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs a cluster: cluster/test"]
async fn a_new_route_is_404_and_then_200() {
    const PROBES: usize = 100;
    let number = env::var("FERRIX_ROUTES").ok();
    let others: usize = number.map_or(200, |number| number.parse().unwrap());
    let ferrix = Ferrix::install();
    let space = Namespace::new("propagation");
    space.backend("api", 1);
    let api = routes_of(&space).await;
    create(&space, &api, 0..others).await;
    if others > 0 {
        let last = format!("r-{}.propagation.test", others - 1);
        ferrix
            .answers(&last, "/", 200, Duration::from_secs(60))
            .await;
    }
    let mut asked = Vec::new();
    let mut answered = Vec::new();
    for probe in 0..PROBES {
        let host = format!("probe-{probe}.test");
        let prober = tokio::spawn(first_answer(ferrix.web, host.clone()));
        let sent = Instant::now();
        let route = object(&format!("probe-{probe}"), &host);
        api.create(&PostParams::default(), &route).await.unwrap();
        let accepted = Instant::now();
        let served = prober.await.unwrap();
        asked.push(served.duration_since(sent));
        answered.push(served.saturating_duration_since(accepted));
    }
    let mut figures = [asked, answered];
    for figures in &mut figures {
        figures.sort();
    }
    let [asked, answered] = figures.map(|it| (it[PROBES / 2], it[PROBES * 99 / 100]));
    println!(
        "{PROBES} new routes among {others}: from the request p50 {:?}, p99 {:?}; from its answer \
         p50 {:?}, p99 {:?}",
        asked.0, asked.1, answered.0, answered.1
    );
    let all = DeleteParams::default();
    api.delete_collection(&all, &ListParams::default())
        .await
        .unwrap();
}

/// Asks again and again, until the answer is 200; it may be nothing but 404 before.
async fn first_answer(address: std::net::SocketAddr, host: String) -> Instant {
    let started = Instant::now();
    let mut client = Client::connect(address).await;
    loop {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = client.exchange(request).await;
        match answer.status {
            200 => return Instant::now(),
            404 => {}
            status => panic!("{status} on the way to 200: {}", answer.text()),
        }
        if answer.head.one("connection") == Some("close") {
            client = Client::connect(address).await;
        }
        assert!(started.elapsed() < SOON, "{host} is not served");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A route for one path, to the Service `api`.
fn part(name: &str, host: &str, rule: &str, class: &str) -> String {
    format!(
        "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {{name: {name}}}\nspec:\n\
         {class}  route: {{host: {host}, rules: [{{{rule}, service: {{name: api, port: 80}}}}]}}\n"
    )
}

/// Where a route of one namespace takes a part of the requests of another's, both are told; where the
/// settings say whose the host is, the other is refused and gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs a cluster: cluster/test"]
async fn a_host_is_taken_in_part_or_belongs_to_a_namespace() {
    let ferrix = Ferrix::install();
    // Where both are made within a second, the order of names is that of age.
    let (owner, other) = (Namespace::new("own-a"), Namespace::new("own-b"));
    for space in [&owner, &other] {
        space.backend("api", 1);
    }
    let backend = |space: &Namespace| {
        let path = "jsonpath={.items[0].metadata.name}";
        space.kubectl(&["get", "pods", "-l", "app=api", "-o", path])
    };
    let answered = async |ferrix: &Ferrix, host: &str, path: &str, space: &Namespace| {
        let name = format!("\"name\": \"{}\"", backend(space));
        let what = format!("{} to answer {host}{path}", space.name());
        until(what, SOON, async || {
            let answer = ferrix.get(host, path).await;
            answer.text().contains(&name).then_some(())
        })
        .await;
    };
    let all = "matches: PathPrefix(`/`)";
    let pay = "matches: PathPrefix(`/pay`), priority: 1000";

    owner.apply(&part("shop", "part.test", all, ""));
    owner.programmed("shop").await;
    let (_, _, before) = owner.condition("shop", "Accepted");
    assert_eq!(before, "The spec is accepted.");
    other.apply(&part("hijack", "part.test", pay, ""));
    answered(&ferrix, "part.test", "/pay", &other).await;
    answered(&ferrix, "part.test", "/", &owner).await;
    let told = async |space: &Namespace, route: &str, words: &str| {
        let what = format!("{route} to be told {words:?}");
        until(what, REPORT, async || {
            let (status, reason, message) = space.condition(route, "Accepted");
            let fits = status == "True" && reason == "Accepted";
            (fits && message.contains(words)).then_some(())
        })
        .await;
        space.wait(route, "Ready", "True", "Ready").await;
    };
    let taken = "rules[0] of IngressRoute own-b/hijack takes requests for part.test that match \
                 PathPrefix(`/pay`) from it";
    told(&owner, "shop", taken).await;
    let takes = "takes requests for part.test that match PathPrefix(`/pay`) from rules[0] of \
                 IngressRoute own-a/shop";
    told(&other, "hijack", takes).await;
    other.kubectl(&["delete", "ingressroute", "hijack"]);
    told(&owner, "shop", "The spec is accepted.").await;
    until("the note to go", REPORT, async || {
        let (_, _, message) = owner.condition("shop", "Accepted");
        (message == "The spec is accepted.").then_some(())
    })
    .await;

    let policy = r#"settings={"hosts": {"first_claim": true, "allowed": [{"labels": {"team": "shop"}, "hosts": ["own.test"]}]}}"#;
    helm(&[
        "install",
        "owned",
        "charts/ferrix",
        "--namespace=own-a",
        "--skip-crds",
        "--set=ingressClass=owned",
        "--set=service.type=ClusterIP",
        // The node is small.
        "--set=resources.requests.cpu=50m",
        "--set-json",
        policy,
    ]);
    rolled_out("own-a", "deployment/owned-ferrix");
    let owned = Ferrix::behind("own-a", "owned-ferrix");
    let class = "  ingressClassName: owned\n";
    owner.apply(&part("owned", "own.test", all, class));
    owner
        .wait("owned", "Accepted", "False", "HostNotAllowed")
        .await;
    kubectl(&["label", "namespace", "own-a", "team=shop"]);
    owner.programmed("owned").await;
    answered(&owned, "own.test", "/pay", &owner).await;
    other.apply(&part("refused", "own.test", pay, class));
    let message = other
        .wait("refused", "Accepted", "False", "HostNotAllowed")
        .await;
    assert!(message.contains("labelled team=shop"), "{message}");
    // It is allowed now, and comes too late.
    kubectl(&["label", "namespace", "own-b", "team=shop"]);
    until("the owner to be named", REPORT, async || {
        let (_, reason, message) = other.condition("refused", "Accepted");
        let named = message.contains("belongs to namespace own-a, by IngressRoute own-a/owned");
        (reason == "HostNotAllowed" && named).then_some(())
    })
    .await;
    answered(&owned, "own.test", "/pay", &owner).await;
    let (status, _, message) = owner.condition("owned", "Accepted");
    assert_eq!((&*status, &*message), ("True", "The spec is accepted."));
    // Who was first has gone.
    owner.kubectl(&["delete", "ingressroute", "owned"]);
    other.programmed("refused").await;
    answered(&owned, "own.test", "/pay", &other).await;
    assert_eq!(owned.get("own.test", "/").await.status, 404);
    helm(&["uninstall", "owned", "--namespace=own-a"]);
}
