//! Objects that are edited badly, while replicas come and go.

use std::time::Duration;

use ferrix_e2e::{
    certificates::Authority,
    cluster::{self, Ferrix, Namespace, REPORT, kubectl, rolled_out, until},
    load::{Load, Target},
};
use serde_json::json;

use crate::{SOON, allow_secrets, route};

const SERVICE: &str = "{name: api, port: 80}";

/// A status that follows replicas, which are waited for until they have settled.
const COUNTED: Duration = Duration::from_secs(90);

fn scale(replicas: usize) {
    let replicas = format!("--replicas={replicas}");
    kubectl(&["-n", "ferrix", "scale", "deployment", "ferrix", &replicas]);
    rolled_out("ferrix", "deployment/ferrix");
}

/// The names of what is kept, one a line.
fn kept() -> String {
    let ours = "ferrix.com/installation=ferrix";
    kubectl(&[
        "-n",
        "ferrix",
        "get",
        "controllerrevisions",
        "-l",
        ours,
        "-o",
        "name",
    ])
}

/// Waits until the installation has so many pods, and none of those before.
async fn replaced(ferrix: &Ferrix, before: &[String], replicas: usize) {
    rolled_out("ferrix", "deployment/ferrix");
    until("the old pods to end", cluster::ROLLOUT, async || {
        let pods = ferrix.pods();
        let new = pods.iter().all(|pod| !before.contains(pod));
        (new && pods.len() == replicas).then_some(())
    })
    .await;
}

/// The pods, once there are so many.
async fn pods(ferrix: &Ferrix, replicas: usize) -> Vec<String> {
    until("the pods that are left", cluster::ROLLOUT, async || {
        Some(ferrix.pods()).filter(|pods| pods.len() == replicas)
    })
    .await
}

fn restart() {
    kubectl(&["-n", "ferrix", "rollout", "restart", "deployment/ferrix"]);
}

/// Replaces every pod once, one after the other.
async fn replace_pods(ferrix: &Ferrix, replicas: usize) {
    let before = pods(ferrix, replicas).await;
    match replicas {
        // Its successor is there before it goes.
        1 => restart(),
        _ => {
            for pod in &before {
                kubectl(&["-n", "ferrix", "delete", "pod", pod]);
                rolled_out("ferrix", "deployment/ferrix");
            }
        }
    }
    replaced(ferrix, &before, replicas).await;
}

/// Edits a route so that it is bad.
fn edit_badly(space: &Namespace, name: &str) {
    let bad = r#"{"spec":{"route":{"rules":[
        {"matches":"PathPrefx(`/`)","service":{"name":"api","port":80}}]}}}"#;
    space.kubectl(&["patch", "ingressroute", name, "--type=merge", "-p", bad]);
}

/// The settings file of the installation.
fn settings() -> String {
    let path = r"jsonpath={.data.ferrix\.yaml}";
    kubectl(&["-n", "ferrix", "get", "configmap", "ferrix", "-o", path])
}

/// Changes the settings, and replaces the pods, which read them once.
async fn edit_settings(ferrix: &Ferrix, replicas: usize, settings: &str) {
    let before = pods(ferrix, replicas).await;
    let patch = json!({"data": {"ferrix.yaml": settings}}).to_string();
    let edit = ["patch", "configmap", "ferrix", "--type=merge", "-p", &patch];
    kubectl(&[&["-n", "ferrix"], &edit[..]].concat());
    restart();
    replaced(ferrix, &before, replicas).await;
}

/// A route that is edited badly serves on when no pod is left that saw it before, and its status says
/// what is so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn the_last_good_version_of_a_route_outlives_every_pod() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("last-good");
    space.backend("api", 2);
    // What tests before have broken is gone, or will soon be.
    until("nothing to be kept", REPORT, async || {
        kept().is_empty().then_some(())
    })
    .await;
    for replicas in [3, 1] {
        scale(replicas);
        space.apply(&route("edited", "edited.test", SERVICE, ""));
        space.programmed("edited").await;
        let good = space.object("ingressroute", "edited")["metadata"]["generation"].clone();
        let kept_alive = Target::get(ferrix.web, "edited.test", "/");
        let target = Target {
            close: true,
            ..kept_alive.clone()
        };
        let loads = [Load::start(&kept_alive, 2, 2), Load::start(&target, 4, 0)];
        for load in &loads {
            load.reach(100, SOON).await;
        }

        edit_badly(&space, "edited");
        let expected = format!(
            "The last good version, generation {}, is served on `web`.",
            good.as_i64().unwrap()
        );
        let programmed = ["edited", "Programmed", "False", "LastGoodServed"];
        let [name, condition, status, reason] = programmed;
        let message = space.wait(name, condition, status, reason).await;
        assert_eq!(message, expected);
        until("the version to be kept", SOON, async || {
            (kept().lines().count() == 1).then_some(())
        })
        .await;

        replace_pods(&ferrix, replicas).await;
        for _ in 0..100 {
            assert_eq!(ferrix.get("edited.test", "/").await.status, 200);
        }
        // It says the same when all replicas have been counted anew.
        space.apply(&route("counted", "counted.test", SERVICE, ""));
        until("the replicas to be counted", COUNTED, async || {
            let counted = space.object("ingressroute", "counted")["status"]["replicas"].clone();
            (counted == format!("{replicas}/{replicas}")).then_some(())
        })
        .await;
        let message = space.wait(name, condition, status, reason).await;
        assert_eq!(message, expected);

        for load in loads {
            let tally = load.stop().await;
            println!("{replicas} replicas replaced after a bad edit: {tally}");
            assert_eq!(tally.failed(), 0, "{tally}");
        }
        space.apply(&route("edited", "edited.test", SERVICE, ""));
        space.programmed("edited").await;
        until("what was kept to be removed", SOON, async || {
            kept().is_empty().then_some(())
        })
        .await;
    }
    scale(2);
}

/// The settings change while a route is bad, twice and back again, and each time replicas are replaced one
/// after the other: its last good version serves all the time, and its status says where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn the_last_good_version_of_a_route_outlives_an_edit_of_the_settings() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("settings-edit");
    space.backend("api", 2);
    let original = settings();
    // The entry points that there were get other places.
    let extra = "entry_points:\n  - {name: extra, port: 6193, secure: false}\n";
    let with_extra = original.replacen("entry_points:\n", extra, 1);
    assert_ne!(with_extra, original);
    let timeout = format!("{original}\ntimeouts: {{connect: 4s}}\n");
    let edits = [
        (timeout, "`web`"),
        (with_extra, "`extra` and `web`"),
        (original, "`web`"),
    ];
    until("nothing to be kept", REPORT, async || {
        kept().is_empty().then_some(())
    })
    .await;
    for replicas in [3, 1] {
        scale(replicas);
        space.apply(&route("edited", "settings.test", SERVICE, ""));
        space.programmed("edited").await;
        let good = space.object("ingressroute", "edited")["metadata"]["generation"].clone();
        let good = good.as_i64().unwrap();
        // On kept connections: minutes of new ones would take all ports of the client.
        let target = Target::get(ferrix.web, "settings.test", "/");
        let load = Load::start(&target, 4, 0);
        load.reach(100, SOON).await;
        edit_badly(&space, "edited");
        let bad = ["Programmed", "False", "LastGoodServed"];
        let [condition, status, reason] = bad;
        space.wait("edited", condition, status, reason).await;
        until("the version to be kept", SOON, async || {
            (kept().lines().count() == 1).then_some(())
        })
        .await;
        for (settings, names) in &edits {
            edit_settings(&ferrix, replicas, settings).await;
            for _ in 0..100 {
                assert_eq!(ferrix.get("settings.test", "/").await.status, 200);
            }
            // Of replicas that have none of the entry points it says so, until they are gone.
            let expected =
                format!("The last good version, generation {good}, is served on {names}.");
            until("the status to say what is so", COUNTED, async || {
                let found = space.condition("edited", condition);
                (found == (status.to_owned(), reason.to_owned(), expected.clone())).then_some(())
            })
            .await;
            assert_eq!(kept().lines().count(), 1);
        }
        let tally = load.stop().await;
        println!("{replicas} replicas with other settings after a bad edit: {tally}");
        assert_eq!(tally.failed(), 0, "{tally}");
        space.apply(&route("edited", "settings.test", SERVICE, ""));
        space.programmed("edited").await;
        until("what was kept to be removed", SOON, async || {
            kept().is_empty().then_some(())
        })
        .await;
    }
    scale(2);
}

/// Certificates are nobody's to keep: a replica that starts while a Secret is of no use has none, and the
/// status names it.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn a_replica_without_the_last_good_certificate_is_named() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("bad-secret");
    allow_secrets("bad-secret");
    space.backend("api", 1);
    let authority = Authority::new();
    let certified = authority.certify("bad secret", &["secret.test"]);
    space.certificate("tls", &certified);
    space.apply(&route("api", "secret.test", SERVICE, "  tls: tls\n"));
    space.programmed("api").await;
    let broken = r#"{"data":{"tls.crt":"bm9uZQ=="}}"#;
    space.kubectl(&["patch", "secret", "tls", "-p", broken]);
    space
        .wait("api", "ResolvedRefs", "False", "InvalidCertificate")
        .await;

    let before = ferrix.pods();
    let (gone, stays) = before.split_first().unwrap();
    kubectl(&["-n", "ferrix", "delete", "pod", gone]);
    replaced(&ferrix, std::slice::from_ref(gone), 2).await;
    let pods = ferrix.pods();
    let new = pods.iter().find(|pod| !stays.contains(pod)).unwrap();
    // Whichever of the two writes: one has a certificate, and the other has not.
    let named = [
        format!("Not on {new}: no certificate of Secret bad-secret/tls is known there."),
        format!(
            "Not on {}: the last good certificate of Secret bad-secret/tls is presented there.",
            stays[0]
        ),
    ];
    until("the status to name the replica", COUNTED, async || {
        let (_, _, message) = space.condition("api", "Programmed");
        named.iter().any(|it| message.contains(it)).then_some(())
    })
    .await;
    space.certificate("tls", &certified);
    space.programmed("api").await;
    until("both replicas to count", COUNTED, async || {
        let object = space.object("ingressroute", "api");
        (object["status"]["replicas"] == "2/2").then_some(())
    })
    .await;
}
