use std::io::{Read as _, Write as _};

use ferrix_proxy::counters::Counters;
use ferrix_table::{Publisher, Table, publish};

use super::*;
use crate::metrics::{ConnectionLimits, Published, Sources};

fn start() -> (Admin, Readiness, Publisher) {
    start_with(watch::channel(Failures::default()).1)
}

fn start_with(failures: watch::Receiver<Failures>) -> (Admin, Readiness, Publisher) {
    let (publisher, table) = publish::channel();
    let reports = watch::channel(Arc::new(Report::default())).1;
    let readiness = Readiness::new(table.clone(), failures.clone(), reports.clone());
    let pages = Pages {
        readiness: readiness.clone(),
        table: table.clone(),
        reports: reports.clone(),
        watches: Some(Watches::default()),
        metrics: Arc::new(Metrics::new(Sources {
            table,
            counters: Arc::new(Counters::default()),
            reports,
            failures,
            cluster: None,
            lookups: Arc::default(),
            key_fetches: Arc::default(),
            buffered_limit: 0,
            access_log: None,
            published: Arc::new(Published::default()),
            connections: ConnectionLimits::default(),
            peers: None,
        })),
    };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (listener.serve(pages).unwrap(), readiness, publisher)
}

/// Header section and body of an answer.
fn ask(admin: &Admin, method: &str, path: &str) -> (String, String) {
    let mut stream = std::net::TcpStream::connect(admin.address()).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.into(), body.into())
}

fn status(admin: &Admin, method: &str, path: &str) -> u16 {
    let (head, _) = ask(admin, method, path);
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn ready_from_the_first_accept_to_the_first_signal() {
    let (admin, readiness, mut publisher) = start();
    let (head, body) = ask(&admin, "GET", "/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(body, "starting: no routing table has been published yet\n");
    assert_eq!(status(&admin, "GET", "/healthz"), 200);

    publisher.publish(Table::default());
    let (head, body) = ask(&admin, "GET", "/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(
        body,
        "starting: the entry points do not accept connections yet\n"
    );
    readiness.accepting();
    assert_eq!(status(&admin, "GET", "/readyz"), 200);

    readiness.drain();
    let (head, body) = ask(&admin, "GET", "/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(body, "draining: this instance is about to end\n");
    // The start may end after a signal has come.
    readiness.accepting();
    assert_eq!(status(&admin, "GET", "/readyz"), 503);
    assert_eq!(status(&admin, "GET", "/healthz"), 200);
}

#[test]
fn who_cannot_take_changes_in_says_so_and_serves_on() {
    let failing = Failures {
        total: 3,
        in_a_row: 3,
    };
    let (failures, seen) = watch::channel(failing);
    let (admin, readiness, mut publisher) = start_with(seen);
    readiness.accepting();
    let (head, body) = ask(&admin, "GET", "/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(body.starts_with("starting: a bug"), "{body}");

    publisher.publish(Table::default());
    let (head, body) = ask(&admin, "GET", "/readyz");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(body.starts_with("ready, but a bug"), "{body}");
    let (_, metrics) = ask(&admin, "GET", "/metrics");
    for line in [
        "ferrix_configuration_failures_total 3.0",
        "ferrix_configuration_frozen 1.0",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }

    failures.send_modify(|failures| failures.in_a_row = 0);
    let (_, body) = ask(&admin, "GET", "/readyz");
    assert_eq!(body, "ready\n");
    let (_, metrics) = ask(&admin, "GET", "/metrics");
    assert!(
        metrics.contains("ferrix_configuration_frozen 0.0"),
        "{metrics}"
    );
}

#[test]
fn pages() {
    let (admin, readiness, mut publisher) = start();
    publisher.publish(Table::default());
    readiness.accepting();
    let (_, index) = ask(&admin, "GET", "/");
    let paths = index.lines().filter(|line| line.starts_with('/'));
    let paths: Vec<_> = paths.map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        paths,
        ["/healthz", "/readyz", "/metrics", "/table", "/report"]
    );
    for path in &paths {
        assert_eq!(status(&admin, "GET", path), 200, "{path}");
    }
    let (_, table) = ask(&admin, "GET", "/table");
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    assert_eq!(table["generation"], 1);
    let (_, report) = ask(&admin, "GET", "/report");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["entries"].is_array() && report["watches"].is_array());
    let (head, metrics) = ask(&admin, "GET", "/metrics");
    assert!(head.contains(Metrics::CONTENT_TYPE), "{head}");
    assert!(
        metrics.contains("ferrix_configuration_generation 1"),
        "{metrics}"
    );
    assert_eq!(status(&admin, "GET", "/nothing"), 404);
}

#[test]
fn only_reading() {
    let (admin, _, _publisher) = start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let (head, _) = ask(&admin, method, "/healthz");
        assert!(head.starts_with("HTTP/1.1 405 "), "{method}: {head}");
        assert!(
            head.to_ascii_lowercase().contains("allow: get, head"),
            "{method}: {head}"
        );
    }
    let (head, body) = ask(&admin, "HEAD", "/healthz");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "");
}

#[test]
fn it_outlives_its_clients() {
    let (admin, _, _publisher) = start();
    for _ in 0..3 * CONNECTIONS {
        let mut stream = std::net::TcpStream::connect(admin.address()).unwrap();
        stream.write_all(b"\x00\x01nonsense\r\n\r\n").unwrap();
    }
    assert_eq!(status(&admin, "GET", "/healthz"), 200);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(
        Listener::bind(address).unwrap_err().to_string(),
        format!("admin.address: cannot listen on {address}: Address already in use (os error 98)"),
    );
}

#[test]
fn dropping_it_frees_the_address() {
    let (admin, _, _publisher) = start();
    let address = admin.address();
    drop(admin);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while Listener::bind(address).is_err() {
        assert!(std::time::Instant::now() < deadline, "it still listens");
        thread::sleep(Duration::from_millis(5));
    }
}
