//! What the gateway answers itself when a backend or a route cannot.

use std::sync::Arc;

use ferrix_e2e::{
    Backend, Gateway, Routes,
    backend::{Connection, Dead},
};
use ferrix_table::services::Protocol;

use crate::{post, to};

#[tokio::test]
async fn a_backend_that_answers_nonsense_is_502() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(
        client.get("/").await.status,
        502,
        "the client's connection stays"
    );
    assert_eq!(
        backend.requests().len(),
        2,
        "a fresh connection that breaks is not tried again"
    );
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let backend = Backend::hello("hi").await;
    let dead = Dead::new();
    let gateway = Gateway::start(Routes::all_to(&[dead.address(), backend.address()]));
    let mut client = gateway.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.text(), "hi");
        assert_eq!(client.exchange(post("/", b"pay")).await.text(), "hi");
    }
    assert_eq!(backend.requests().len(), 8);
    let state = Arc::clone(&gateway.table().services[0].state);
    assert!(state.connect_failures.get() > 0);
    assert_eq!(state.retries.get(), 1, "then it is left alone");
}

#[tokio::test]
async fn answers_of_the_gateway_itself() {
    let dead = [Dead::new(), Dead::new()];
    let addresses: Vec<_> = dead.iter().map(Dead::address).collect();
    let routes = Routes::new()
        .service("dead", Protocol::Http1, &addresses)
        .service("empty", Protocol::Http1, &[])
        .rule("*", "Path(`/dead`)", &[("dead", 1)])
        .rule("*", "Path(`/empty`)", &[("empty", 1)])
        .rule("*", "Path(`/weightless`)", &[("empty", 0)])
        .unresolved("*", "Path(`/unresolved`)");
    let gateway = Gateway::start(routes);
    let mut client = gateway.client().await;
    let cases = [
        ("/dead", 502),
        ("/empty", 503),
        ("/weightless", 503),
        ("/unresolved", 500),
        ("/no", 404),
    ];
    for (path, status) in cases {
        let response = client.get(path).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.head.one("server"), Some("ferrix"));
        assert_eq!(
            response.head.one("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(response.text().contains(&status.to_string()));
        let json = client
            .exchange(format!(
                "GET {path} HTTP/1.1\r\nHost: example.com\r\nAccept: application/json\r\n\r\n"
            ))
            .await;
        assert_eq!(json.status, status);
        assert_eq!(json.head.one("content-type"), Some("application/json"));
        assert!(
            json.text().starts_with(&format!("{{\"status\":{status},")),
            "{}",
            json.text()
        );
        client
            .send(format!("HEAD {path} HTTP/1.1\r\nHost: example.com\r\n\r\n"))
            .await;
        let head = client.try_response("HEAD").await.unwrap();
        assert_eq!(head.status, status);
        // A body that nobody reads does not cost the connection.
        assert_eq!(
            client.exchange(post(path, b"unread")).await.status,
            status,
            "{path}"
        );
    }
}
