//! What the documents say must be what the program does.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees tests only in functions marked as such"
)]

use std::{fs, path::Path};

use ferrix_control::{files, report::Reason, settings::Settings};
use ferrix_rule::Rule;
use ferrix_table::table::EntryPoint;

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(name)).unwrap()
}

#[test]
fn every_reason_is_documented() {
    let text = document("docs/ingressroute.md");
    for reason in Reason::ALL {
        assert!(
            text.contains(&format!("`{}`", reason.as_str())),
            "{reason:?} is not"
        );
    }
}

/// The oldest version that builds it, and the one that everybody builds it with.
#[test]
fn one_version_of_rust() {
    let value = |file: &str, key: &str| {
        let text = document(file);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap();
        line.trim_matches(['"', ' ', '=']).to_owned()
    };
    let oldest = value("Cargo.toml", "rust-version");
    let pinned = value("rust-toolchain.toml", "channel");
    assert!(
        pinned.starts_with(&format!("{oldest}.")),
        "{pinned}, {oldest}"
    );
    for (file, words) in [
        ("Containerfile", format!("FROM rust:{pinned}-")),
        ("README.md", format!("Rust {oldest} or newer")),
        ("CONTRIBUTING.md", format!("Rust {oldest} or newer")),
    ] {
        assert!(document(file).contains(&words), "{file} lacks {words:?}");
    }
}

#[test]
fn every_rule_in_the_documents_parses() {
    let mut rules = 0;
    for line in document("docs/ingressroute.md")
        .lines()
        .chain(document("README.md").lines())
    {
        if let Some((_, rule)) = line.split_once("matches: ") {
            Rule::parse(rule).unwrap_or_else(|error| panic!("{error}"));
            rules += 1;
        }
    }
    let text = document("docs/rules.md");
    let example = text
        .lines()
        .find(|line| line.starts_with("PathPrefix("))
        .unwrap();
    Rule::parse(example).unwrap();
    assert_eq!(rules, 4);
}

#[test]
fn the_error_in_the_documents_is_the_one_given() {
    let text = document("docs/rules.md");
    let error = Rule::parse("Hots(`example.com`)").unwrap_err().to_string();
    let shown: Vec<_> = error.lines().take(3).collect();
    assert!(text.contains(&shown.join("\n")), "{error}");
}

/// Every example of the document loads without a word, and is in force.
#[test]
fn every_policy_in_the_documents_is_in_force() {
    let text = document("docs/backendpolicy.md");
    let blocks = text.split("```yaml\n").skip(1);
    let examples: Vec<_> = blocks.map(|it| it.split("```").next().unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("examples.yaml"), examples.join("---\n")).unwrap();
    let names = [
        "shop", "images", "cart", "api", "calls", "reports", "mail", "vault", "search", "prices",
    ];
    // What one of them names.
    let case = document("crates/ferrix-control/tests/goldens/backend-policy-tls.yaml");
    let named = case.split("\n---\n").filter(|it| it.starts_with("# Then"));
    let named: Vec<_> = named.collect();
    let mut objects = named.join("\n---\n");
    objects = objects.replace("name: ca,", "name: vault-ca,");
    objects = objects.replace("name: client,", "name: ferrix-client,") + "\n";
    for name in names {
        objects += &format!(
            "{}---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
             metadata: {{name: {name}, namespace: default}}\nspec: {{route: {{host: {name}.test, \
             rules: [{{service: {{name: {name}, port: 80}}}}]}}}}\n",
            service(name)
        );
    }
    fs::write(folder.path().join("objects.yaml"), objects).unwrap();
    let settings = Settings::for_files(vec![EntryPoint::http("web")]);
    let (table, report) = files::load(folder.path(), &settings).unwrap();
    let findings: Vec<_> = report.findings().map(|it| it.to_string()).collect();
    assert_eq!(findings, [""; 0]);
    let services = table.services.iter();
    let in_force = services.filter(|service| service.policy.is_some()).count();
    assert_eq!((examples.len(), in_force), (names.len(), names.len()));
}

/// The policy of the Gateway API that the document shows is in force.
#[test]
fn the_traffic_policy_in_the_documents_is_in_force() {
    let text = document("docs/gateway-api.md");
    let mut blocks = text.split("```yaml\n").skip(1);
    let is_it = |it: &&str| it.contains("kind: XBackendTrafficPolicy");
    let example = blocks.find(is_it).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let route = "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
                 metadata: {name: shop, namespace: default}\nspec: {route: {host: shop.test, \
                 rules: [{service: {name: shop, port: 80}}]}}\n---\n";
    let objects = service("shop") + route + example;
    fs::write(folder.path().join("objects.yaml"), objects).unwrap();
    let settings = Settings::for_files(vec![EntryPoint::http("web")]);
    let (table, report) = files::load(folder.path(), &settings).unwrap();
    let findings: Vec<_> = report.findings().map(|it| it.to_string()).collect();
    assert_eq!(findings, [""; 0]);
    let policy = table.services.iter().next().unwrap().policy.as_ref();
    let policy = policy.unwrap();
    assert!(policy.retries.is_some() && policy.session.is_some());
}

/// A Service with an endpoint.
fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{ports: [{{name: http, port: 80}}]}}\n---\napiVersion: discovery.k8s.io/v1\n\
         kind: EndpointSlice\nmetadata:\n  name: {name}\n  namespace: default\n  \
         labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.0.0.1]}}]\n"
    )
}

/// A Secret with a certificate for a host, and that certificate.
fn certificate(name: &str, host: &str) -> (String, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let indented = |text: &str| text.trim_end().replace('\n', "\n    ");
    let (certificate, key) = (
        indented(&cert.pem()),
        indented(&signing_key.serialize_pem()),
    );
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\n\
         metadata: {{name: {name}, namespace: default}}\n\
         stringData:\n  tls.crt: |\n    {certificate}\n  tls.key: |\n    {key}\n"
    );
    (secret, certificate)
}

/// What the examples of client certificates name: an authority, and a certificate of a server.
fn authorities() -> String {
    let (secret, certificate) = certificate("banking-tls", "banking.example.com");
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: partners, namespace: default}}\n\
         data:\n  ca.crt: |\n    {certificate}\n{secret}"
    )
}

/// Every route of the document loads without a word, and serves, or is tried.
#[test]
fn every_route_in_the_documents_is_served() {
    let text = document("docs/ingressroute.md");
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.map(|it| it.split("```").next().unwrap());
    let examples: Vec<_> = blocks
        .filter(|it| it.starts_with("apiVersion: ferrix.com"))
        .collect();
    let (secret, _) = certificate("shop-certificate", "shop.example.com");
    let objects = ["api", "api-next", "web", "web-next"].map(service).concat() + &secret;
    // All of it is of one team.
    let objects = objects.replace("namespace: default", "namespace: shop") + "---\n";
    let folder = tempfile::tempdir().unwrap();
    let objects = objects + &examples.join("---\n");
    fs::write(folder.path().join("objects.yaml"), objects).unwrap();
    let entry_points = vec![EntryPoint::http("web"), EntryPoint::https("websecure")];
    let (table, report) = files::load(folder.path(), &Settings::for_files(entry_points)).unwrap();
    let findings: Vec<_> = report.findings().map(|it| it.to_string()).collect();
    assert_eq!(findings, [""; 0]);
    let tried = table
        .rules
        .iter()
        .filter(|rule| rule.dry_run.is_some())
        .count();
    assert_eq!((examples.len(), table.rules.len(), tried), (2, 3, 1));
}

/// Every example of the document loads without a word.
#[test]
fn every_filter_in_the_documents_is_served() {
    let text = document("docs/filters.md");
    let blocks = text.split("```yaml\n").skip(1);
    let examples: Vec<_> = blocks.map(|it| it.split("```").next().unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("examples.yaml"), examples.join("---\n")).unwrap();
    let services = ["api", "api-next", "authority"].map(service).concat() + &authorities();
    fs::write(folder.path().join("services.yaml"), services).unwrap();
    let entry_points = vec![EntryPoint::http("web"), EntryPoint::https("websecure")];
    let mut settings = Settings::for_files(entry_points);
    settings.filters.namespace = Some("ferrix".to_owned());
    settings.shares_limits = true;
    let (table, report) = files::load(folder.path(), &settings).unwrap();
    // Keys at a URL are fetched at run time.
    let findings = (report.findings()).filter(|it| it.finding.reason != Reason::NotFetched);
    let findings: Vec<_> = findings.map(|it| it.to_string()).collect();
    assert_eq!(findings, [""; 0]);
    assert_eq!((examples.len(), table.rules.len()), (27, 30));
    assert!(table.rules.iter().all(|rule| rule.policy.is_some()));
}
