//! What is too large or too many.

use ferrix_e2e::{
    Backend, Gateway, Routes,
    frames::{self, Frames, kind},
    within,
};

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

/// A client that goes on after the goodbye, and never acknowledges the ping that comes with it.
#[tokio::test]
async fn no_more_requests_after_the_last_one() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "{limits: {requests_per_connection: 3}, http2: {streams: 10}}",
        Routes::all_to(&[backend.address()]),
    );
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let (mut codes, mut stream) = (Vec::new(), 1);
    'requests: loop {
        frames.send(&frames::get(stream)).await;
        stream += 2;
        loop {
            match frames.next().await {
                Some(frame) if frame.kind == kind::GOAWAY => codes.extend(frame.code()),
                Some(frame) if frame.kind == kind::DATA => break,
                Some(_) => {}
                None => break 'requests,
            }
        }
    }
    assert_eq!(codes, [0, 11]);
    // What may have been underway when it was told.
    assert_eq!(backend.requests().len(), 3 + 10);
}

/// Header sections are kept while their requests are open, and all together have a limit too.
#[tokio::test]
async fn the_limit_of_all_header_sections() {
    let (backend, gate) = Backend::gated("hi").await;
    let gateway = Gateway::start_with(
        "http2: {request_headers: 64KiB}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    let request = |length: usize| {
        let mut request = client.request("GET", "/");
        let value = "x".repeat(length).parse().unwrap();
        request.headers_mut().insert("x-large", value);
        request
    };
    let (few, many) = (request(15_000), request(31_000));
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(client.open(few.clone(), true).await.unwrap().0);
    }
    let mut refused = 0;
    for response in open.drain(4..) {
        let error = within("an answer", response).await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
        refused += 1;
    }
    assert_eq!(refused, 2);
    gate.add_permits(4);
    for response in open {
        assert_eq!(within("an answer", response).await.unwrap().status(), 200);
    }
    // There is room again.
    for _ in 0..2 {
        gate.add_permits(1);
        assert_eq!(client.fetch(many.clone()).await.unwrap().status, 200);
    }
    assert_eq!(backend.requests().len(), 6);

    // A request alone is never too much.
    let gateway = Gateway::start_with(
        "http2: {request_headers: 1KiB}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    gate.add_permits(1);
    assert_eq!(client.fetch(many).await.unwrap().status, 200);
}
