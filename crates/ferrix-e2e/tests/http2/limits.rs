//! What is too large or too many.

use ferrix_e2e::{Backend, Gateway, Routes, within};

use crate::with_fields;

#[tokio::test]
async fn limits_of_the_header_section() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "{limits: {header_count: 100, uri_bytes: 1KiB}, http2: {header_list: 16KiB}}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    let mut few = client.request("GET", "/");
    for index in 0..100 {
        few.headers_mut().append("x-many", index.into());
    }
    let mut many = client.request("GET", "/");
    for index in 0..101 {
        many.headers_mut().append("x-many", index.into());
    }
    assert_eq!(client.fetch(few).await.unwrap().status, 200);
    assert_eq!(client.fetch(many).await.unwrap().status, 431);
    let long = client.request("GET", &format!("/{}", "x".repeat(1024)));
    assert_eq!(client.fetch(long).await.unwrap().status, 414);
    let mut large = client.request("GET", "/");
    large
        .headers_mut()
        .append("x-large", "x".repeat(20_000).parse().unwrap());
    // Above the announced limit: the codec answers or resets, but nothing is forwarded.
    match client.fetch(large).await {
        Ok(response) => assert_eq!(response.status, 431),
        Err(error) => assert!(error.reason().is_some(), "{error}"),
    }
    assert_eq!(backend.requests().len(), 1);
    assert_eq!(gateway.http2().await.get("/").await.status, 200);
}

#[tokio::test]
async fn the_limit_of_the_body() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "limits: {body_bytes: 1KiB}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    for (length, status) in [(1024, 200), (1025, 413)] {
        let request = client.request("POST", "/");
        let response = client
            .post(request, vec![b'x'; length], None)
            .await
            .unwrap();
        assert_eq!(response.status, status);
        let request = client.request("POST", "/");
        let request = with_fields(request, &[("content-length", &length.to_string())]);
        let response = client
            .post(request, vec![b'x'; length], None)
            .await
            .unwrap();
        assert_eq!(response.status, status);
    }
    assert_eq!(
        backend.requests().iter().filter(|it| it.complete).count(),
        2
    );
}

#[tokio::test]
async fn requests_on_one_connection_are_counted() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "limits: {requests_per_connection: 3}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    drop(client.send);
    within("the connection's end", client.connection)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(backend.requests().len(), 3);
}
