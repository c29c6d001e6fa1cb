//! The whole program inside another one, as tests of the other crates use it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees tests only in functions marked as such"
)]

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use ferrix::{
    Program, Settings,
    program::StartError,
    settings::{DefaultCertificate, Files},
};

/// On ports that the system chooses.
fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::default();
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for entry_point in &mut settings.entry_points {
        entry_point.address = loopback.ip();
        entry_point.port = 0;
    }
    settings.admin.address = loopback;
    settings.source.files = Some(Files {
        path: folder.into(),
    });
    settings.proxy.server.threads = 1;
    settings.proxy.server.drain_delay = Duration::ZERO;
    settings
}

#[tokio::test]
async fn it_starts_and_ends_inside_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(settings(folder.path())).await.unwrap();
    let addresses = program.addresses();
    let names: Vec<_> = addresses.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["web", "websecure"]);
    assert_eq!(program.address("web"), Some(program.addresses()[0].1));
    assert_eq!(program.address("nothing"), None);
    assert_ne!(program.admin_address().port(), 0);
    assert_eq!(*program.generation().borrow(), 1);
    assert_eq!(program.table().generation, 1);
    assert!(program.report().entries().is_empty());
    assert_eq!(program.drain().await, 0);
}

#[tokio::test]
async fn a_change_of_the_folder_is_a_new_generation() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(settings(folder.path())).await.unwrap();
    let mut generations = program.generation();
    let route = "\
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {name: a, namespace: default}
spec:
  entrypoint: web
  route:
    host: example.com
    rules:
      - service: {name: a, port: 80}
";
    fs::write(folder.path().join("route.yaml"), route).unwrap();
    let changed = tokio::time::timeout(
        Duration::from_secs(30),
        generations.wait_for(|generation| *generation > 1),
    );
    changed.await.expect("a new generation in time").unwrap();
    assert_eq!(program.table().rules.len(), 1);
    // The report has a channel of its own, which may be a moment behind.
    let mut reports = program.reports();
    let reported = reports.wait_for(|report| report.entries().len() == 1);
    let reported = tokio::time::timeout(Duration::from_secs(30), reported).await;
    reported.expect("a new report in time").unwrap();
}

#[tokio::test]
async fn settings_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.entry_points[1].name = "web".into();
    let error = Program::start(settings).await.unwrap_err();
    assert!(matches!(error, StartError::Settings(_)), "{error}");
}

#[tokio::test]
async fn a_default_certificate_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tls.pem");
    let mut settings = settings(folder.path());
    settings.default_certificate = Some(DefaultCertificate::Files {
        certificate: file.clone(),
        key: file.clone(),
    });
    let error = Program::start(settings.clone())
        .await
        .unwrap_err()
        .to_string();
    let expected = format!(
        "tls.default_certificate: cannot read {}: No such file",
        file.display()
    );
    assert!(error.starts_with(&expected), "{error}");

    fs::write(&file, "nothing").unwrap();
    let error = Program::start(settings).await.unwrap_err().to_string();
    assert!(error.starts_with("tls.default_certificate: "), "{error}");
}
