//! Authorisation by a real server of Envoy's protocol, through the whole program.

use std::{
    env,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Client,
    kill_on_drop::KillOnDrop,
    manifests::{Manifests, service},
};
use tokio::net::TcpStream;

/// Istio's sample: a request passes with `x-ext-authz: allow`, and no other.
struct Server {
    _process: KillOnDrop,
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let program =
            env::var("EXT_AUTHZ_SERVER").expect("EXT_AUTHZ_SERVER, the path of the server");
        let mut process = Command::new(program)
            .args(["-http", "0", "-grpc", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (told, lines) = mpsc::channel();
        // It is read to its end, so that the server never waits for that.
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        let [mut http, mut grpc] = [None; 2];
        while http.is_none() || grpc.is_none() {
            let line = lines.recv().expect("the server to say where it listens");
            if let Some((what, address)) = line.split_once(" server at [::]:") {
                let port = address.parse().expect(&line);
                let place = if what.ends_with("gRPC") {
                    &mut grpc
                } else {
                    &mut http
                };
                *place = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            }
        }
        Self {
            _process: KillOnDrop(process),
            http: http.expect("it was told"),
            grpc: grpc.expect("it was told"),
        }
    }
}

fn manifests(server: &Server, backend: SocketAddr) -> String {
    let rule = |path: &str, auth: &str| {
        format!(
            "    - matches: PathPrefix(`/{path}`)\n      service: {{name: api, port: 80}}\n      \
             filters: [{{externalAuth: {{{auth}, backendRef: {{name: {path}, port: 80}}, \
             forwardBody: {{maxSize: 100}}}}}}]\n"
        )
    };
    service("api", &[backend])
        + &service("grpc", &[server.grpc])
        + &service("http", &[server.http])
        + "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
           metadata: {name: guarded, namespace: default}\n\
           spec:\n  entrypoint: web\n  route:\n    host: example.com\n    rules:\n"
        + &rule("grpc", "protocol: GRPC")
        + &rule(
            "http",
            "protocol: HTTP, http: {allowedHeaders: [X-Ext-Authz]}",
        )
}

/// Status, what the server said of the request, and the body of the answer to a request with a body.
async fn ask(
    gateway: &Manifests,
    http2: bool,
    path: &str,
    verdict: Option<&str>,
) -> (u16, Option<String>, String) {
    const RESULT: &str = "x-ext-authz-check-result";
    let said = |value: Option<&str>| value.map(str::to_owned);
    match http2 {
        false => {
            let verdict = verdict.map(|it| format!("X-Ext-Authz: {it}\r\n"));
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 6\r\n\
                 {RESULT}: forged\r\n{}\r\na body",
                verdict.unwrap_or_default()
            );
            let answer = Client::connect(gateway.web).await.exchange(head).await;
            (answer.status, said(answer.head.one(RESULT)), answer.text())
        }
        true => {
            let stream = TcpStream::connect(gateway.web).await.unwrap();
            let mut client = Http2Client::new(stream, "http").await;
            let mut request = client.request("POST", path);
            let fields = request.headers_mut();
            fields.insert(RESULT, "forged".parse().unwrap());
            if let Some(verdict) = verdict {
                fields.insert("x-ext-authz", verdict.parse().unwrap());
            }
            let answer = client.post(request, "a body", None).await.unwrap();
            (
                answer.status.as_u16(),
                said(answer.field(RESULT)),
                answer.text(),
            )
        }
    }
}

#[tokio::test]
#[ignore = "needs the server, which conformance/ext-authz installs"]
async fn a_real_server_says_who_may_pass() {
    let server = Server::start();
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::from_manifests(&manifests(&server, backend.address()), "").await;
    assert_eq!(gateway.program.report().to_string(), "");
    let mut ran = 0;
    for (protocol, http2) in [
        ("grpc", false),
        ("grpc", true),
        ("http", false),
        ("http", true),
    ] {
        let path = format!("/{protocol}/a?b");
        for verdict in [None, Some("deny")] {
            let (status, said, text) = ask(&gateway, http2, &path, verdict).await;
            assert_eq!((status, said.as_deref()), (403, Some("denied")));
            assert!(
                text.starts_with("denied by ext_authz for not found header"),
                "{text}"
            );
            assert_eq!(backend.requests().len(), ran);
        }
        let (status, _, text) = ask(&gateway, http2, &path, Some("allow")).await;
        assert_eq!((status, &*text), (200, "hi"));
        ran += 1;
        let arrived = backend.last();
        assert_eq!(arrived.body, b"a body");
        assert_eq!(arrived.head.all("x-ext-authz-check-result"), ["allowed"]);
        let received = arrived.head.one("x-ext-authz-check-received").unwrap();
        for part in ["POST", "example.com", &*path, "a body"] {
            assert!(received.contains(part), "no {part} in {received}");
        }
    }
    assert_eq!((ran, backend.requests().len()), (4, 4));
    // Nobody passes without it.
    drop(server);
    for path in ["/grpc", "/http"] {
        assert_eq!(ask(&gateway, false, path, Some("allow")).await.0, 503);
    }
    assert_eq!(backend.requests().len(), 4);
}
