use std::{
    env,
    process::{Command, Stdio},
};

use ferrix_e2e::{Backend, Gateway, Routes, certificates::Authority};
use tokio::task::spawn_blocking;

/// All of h2spec 2.2.1, the strict cases included.
const CASES: usize = 146;

#[tokio::test]
#[ignore = "needs h2spec, which conformance/http2 installs"]
async fn conformance() {
    let program = env::var("H2SPEC").expect("H2SPEC, the path of h2spec");
    let authority = Authority::new();
    let certificate = authority.certify("default/localhost", &["localhost"]);
    let backend = Backend::hello("hello").await;
    let routes = Routes::all_to(&[backend.address()]).default_certificate(&certificate);
    let gateway = Gateway::start(routes);
    let port = gateway.websecure.port().to_string();
    let mut command = Command::new(program);
    command
        .args(["--tls", "--insecure", "--strict", "--host", "127.0.0.1"])
        .args(["--port", &port])
        .stderr(Stdio::inherit());
    let output = spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // h2spec that found no case to run ends well too.
    let told = format!("{CASES} tests, {CASES} passed, 0 skipped, 0 failed");
    assert!(text.contains(&told), "{text}");
}
