use std::collections::{BTreeMap, BTreeSet};

use ferrix_api::pattern;
use serde_yaml_ng::Value;

use super::{keys::KEYS, read::Sections, *};

/// The message for a broken text.
#[track_caller]
fn broken(text: &str, message: &str) {
    let error = Settings::parse("ferrix.yaml", text).expect_err("these settings are broken");
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_smallest_file_of_the_documents() {
    let settings = Settings::parse(
        "ferrix.yaml",
        "\
entry_points:
  - name: web
    port: 6190
    secure: false
server:
  threads: 1
",
    )
    .unwrap();
    let [web] = &settings.entry_points[..] else {
        panic!("{:?}", settings.entry_points)
    };
    assert_eq!(
        (web.name.as_str(), web.port, web.secure),
        ("web", 6190, false)
    );
    assert!(web.address.is_unspecified());
    assert_eq!(settings.proxy.server.threads, 1);
    assert_eq!(settings.admin.address.to_string(), "127.0.0.1:6192");
}

#[test]
fn nothing_means_defaults() {
    for text in [
        "",
        "# nothing\n",
        "---\n",
        "server:\n",
        "entry_points:\nlog:\n  level:\n",
    ] {
        let settings = Settings::parse("ferrix.yaml", text).unwrap();
        let names: Vec<_> = (settings.entry_points.iter())
            .map(|it| (it.name.as_str(), it.port, it.secure))
            .collect();
        assert_eq!(
            names,
            [("web", 6190, false), ("websecure", 6191, true)],
            "{text:?}"
        );
        assert_eq!(settings.log.level, LogLevel::Info);
        settings.check().unwrap();
    }
}

#[test]
fn the_header_list_of_http2_follows_the_limits() {
    let cases = [
        ("{}", 40 * 1024),
        ("limits: {header_bytes: 16KiB}", 40 * 1024),
        ("limits: {header_bytes: 64KiB}", 64 * 1024 + 200 * 32),
        ("limits: {header_count: 256}", 32 * 1024 + 256 * 32),
        (
            "{limits: {header_bytes: 64KiB}, http2: {header_list: 16KiB}}",
            16 * 1024,
        ),
    ];
    for (text, expected) in cases {
        let settings = Settings::parse("ferrix.yaml", text).unwrap();
        assert_eq!(
            settings.proxy.http2.header_list.as_u64(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn every_key_is_read() {
    let settings = Settings::parse("ferrix.yaml", EVERY_KEY).unwrap();
    assert_eq!(
        settings.default_certificate,
        Some(DefaultCertificate::Files {
            certificate: "tls.crt".into(),
            key: "tls.key".into(),
        }),
    );
    assert_eq!(settings.source.files.unwrap().path, Path::new("manifests"));
    assert_eq!(settings.access_log.format, AccessLogFormat::Json);
    let value: Value = serde_yaml_ng::from_str(EVERY_KEY).unwrap();
    let mut present = BTreeSet::new();
    paths(&value, String::new(), &mut present);
    let absent: Vec<_> = (KEYS.iter().map(|(key, _)| *key))
        .filter(|key| !present.contains(*key))
        .collect();
    // These cannot stand beside what the text has.
    let alternatives = [
        "source.kubernetes",
        "source.kubernetes.kubeconfig",
        "source.kubernetes.secrets",
        "source.kubernetes.snapshot_folder",
        "source.kubernetes.publish_service",
        "source.kubernetes.publish_addresses",
        "source.kubernetes.publish_addresses[]",
        "gateway.services",
        "gateway.services.annotations",
        "gateway.services.spec",
        "tls.default_certificate.secret",
    ];
    assert_eq!(absent, alternatives);
}

const EVERY_KEY: &str = r#"
entry_points:
  - name: web
    address: 0.0.0.0
    port: 8080
    exposed_port: 80
    secure: false
    proxy_protocol: [10.0.0.0/8]
    filters: [platform/common]
gateway: {controller: example.com/gateway-controller, addresses: [10.1.0.0/24]}
source:
  files: {path: manifests}
  namespaces: [default]
  ingress_class: ferrix
  allow_external_name: true
filters:
  namespace: platform
  namespaces: [{namespaces: [default], filters: [platform/common]}]
issuers: {allowed: [{namespaces: [default], labels: {team: a}, hosts: [id.example.com]}]}
hosts:
  first_claim: true
  allowed: [{namespaces: [default], labels: {team: a}, hosts: [example.com]}]
admin: {address: "127.0.0.1:0"}
log: {level: debug, format: json}
access_log: {format: json, path: access.log, buffer: 10}
server: {threads: 2, name: "", drain_delay: 0s, drain_timeout: 1m, temporary_folder: /tmp}
limits:
  header_bytes: 32KiB
  header_count: 50
  uri_bytes: 8192
  body_bytes: 1 MB
  connections: 0
  connections_per_client: 0
  requests_per_client: 0
  udp_sessions: 10
  requests_per_connection: 0
  body_rate: 1KiB
  buffered_bytes: 100MiB
timeouts:
  header: 1s
  tls_handshake: 1s
  keep_alive: 1s
  body: 1s
  body_grace: 1s
  write: 1s
  connect: 500ms
  response: 0s
  upgraded: 1h 30m
  udp: 1s
http2: {streams: 10, stream_window: 65535, connection_window: 1MiB, header_list: 16KiB, request_headers: 1MiB, reset_streams: 100, control_frames: 1000}
tls:
  minimum_version: "1.3"
  tickets: false
  default_certificate: {certificate_file: tls.crt, key_file: tls.key}
paths: {merge_slashes: false, refuse_encoded_slashes: true}
headers: {underscores: refuse, odd_responses: refuse}
forwarded: {trusted: ["10.0.0.0/8", "::1/128"]}
upstream:
  connections: 0
  connections_per_endpoint: 0
  idle_connections: 0
  idle_timeout: 1s
  attempts: 1
  tls: {verify: false, authorities: ca.pem}
  tcp:
    keep_alive_idle: 30s
    keep_alive_interval: 1s
    keep_alive_probes: 3
    user_timeout: 0s
    source_addresses: [10.0.0.1, "2001:db8::1"]
    fast_open: true
    receive_buffer: 64KiB
    dscp: 46
replicas: {address: "0.0.0.0:6193", peers: ["ferrix-replicas:6193"], key_file: replicas.key}
"#;

/// Every path of a value, in the manner of [`KEYS`].
fn paths(value: &Value, path: String, all: &mut BTreeSet<String>) {
    all.insert(path.clone());
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let key = key.as_str().unwrap();
                let dot = if path.is_empty() { "" } else { "." };
                paths(value, format!("{path}{dot}{key}"), all);
            }
        }
        Value::Sequence(sequence) => {
            for value in sequence {
                paths(value, format!("{path}[]"), all);
            }
        }
        _ => {}
    }
}

/// Asks serde itself, by an unknown key, which keys each mapping has.
#[test]
fn keys_are_those_that_serde_knows() {
    /// Mappings that are elements of lists.
    const LISTED: [&str; 4] = [
        "entry_points[]",
        "hosts.allowed[]",
        "issuers.allowed[]",
        "filters.namespaces[]",
    ];
    let mappings = [
        ("", "zzz: 1"),
        ("entry_points[]", "entry_points: [{zzz: 1}]"),
        ("source", "source: {zzz: 1}"),
        ("source.files", "source: {files: {zzz: 1}}"),
        ("source.kubernetes", "source: {kubernetes: {zzz: 1}}"),
        ("gateway", "gateway: {zzz: 1}"),
        ("gateway.services", "gateway: {services: {zzz: 1}}"),
        ("filters", "filters: {zzz: 1}"),
        ("filters.namespaces[]", "filters: {namespaces: [{zzz: 1}]}"),
        ("hosts", "hosts: {zzz: 1}"),
        ("hosts.allowed[]", "hosts: {allowed: [{zzz: 1}]}"),
        ("issuers", "issuers: {zzz: 1}"),
        ("issuers.allowed[]", "issuers: {allowed: [{zzz: 1}]}"),
        ("admin", "admin: {zzz: 1}"),
        ("log", "log: {zzz: 1}"),
        ("access_log", "access_log: {zzz: 1}"),
        ("server", "server: {zzz: 1}"),
        ("limits", "limits: {zzz: 1}"),
        ("timeouts", "timeouts: {zzz: 1}"),
        ("http2", "http2: {zzz: 1}"),
        ("tls", "tls: {zzz: 1}"),
        (
            "tls.default_certificate",
            "tls: {default_certificate: {zzz: 1}}",
        ),
        ("paths", "paths: {zzz: 1}"),
        ("headers", "headers: {zzz: 1}"),
        ("forwarded", "forwarded: {zzz: 1}"),
        ("upstream", "upstream: {zzz: 1}"),
        ("upstream.tls", "upstream: {tls: {zzz: 1}}"),
        ("upstream.tcp", "upstream: {tcp: {zzz: 1}}"),
        ("replicas", "replicas: {zzz: 1}"),
    ];
    let mut known = BTreeSet::from([String::new()]);
    for (path, text) in mappings {
        let value: Value = serde_yaml_ng::from_str(text).unwrap();
        let error = serde_path_to_error::deserialize::<_, Sections>(&value)
            .err()
            .unwrap();
        let message = error.inner().to_string();
        // serde names one or two keys without a list.
        let keys = message.split('`').skip(3).step_by(2);
        let dot = if path.is_empty() { "" } else { "." };
        known.extend(keys.map(|key| format!("{path}{dot}{key}")));
    }
    let listed: BTreeSet<String> = (KEYS.iter())
        .map(|(key, _)| key.to_string())
        .filter(|key| LISTED.contains(&key.as_str()) || !key.ends_with("[]"))
        .collect();
    known.extend(LISTED.map(str::to_owned));
    assert_eq!(listed, known);
}

#[test]
fn every_key_is_in_the_documents() {
    let document = include_str!("../../../../docs/settings.md");
    for (key, _) in KEYS
        .iter()
        .filter(|(key, _)| !key.is_empty() && !key.ends_with(']'))
    {
        assert!(
            document.contains(&format!("`{key}`")),
            "docs/settings.md lacks `{key}`"
        );
    }
}

#[test]
fn not_even_yaml() {
    broken(
        "a: [",
        "ferrix.yaml:2: this is not YAML: did not find expected node content",
    );
    broken(
        "server: {",
        "ferrix.yaml:2: this is not YAML: did not find expected node content",
    );
    broken(
        "server:\n  threads: 1\n threads: 2\n",
        "ferrix.yaml:3: this is not YAML: did not find expected key",
    );
    broken(
        "server:\n\tthreads: 1\n",
        "ferrix.yaml:2: this is not YAML: found character that cannot start any token",
    );
    broken(
        "---\nserver:\n---\nserver:\n",
        "ferrix.yaml: this is not YAML: deserializing from YAML containing more than one document \
         is not supported",
    );
}

#[test]
fn not_a_mapping() {
    broken(
        "- name: web\n",
        "ferrix.yaml:1: expected a mapping, found a list",
    );
    broken("web", "ferrix.yaml:1: expected a mapping, found \"web\"");
    broken("6190", "ferrix.yaml:1: expected a mapping, found 6190");
    broken("1: 2", "ferrix.yaml:1: expected words as keys");
    broken(
        "\nserver: 1\n",
        "ferrix.yaml:2: server: expected a mapping, found 1",
    );
    broken(
        "limits: []",
        "ferrix.yaml:1: limits: expected a mapping, found a list",
    );
}

#[test]
fn unknown_and_missing_keys() {
    broken(
        "entry_points:\n  - name: web\n    prot: 6190\n",
        "ferrix.yaml:3: entry_points[0].prot: unknown key \"prot\"; did you mean \"port\"?",
    );
    broken(
        "entryPoints: []\n",
        "ferrix.yaml:1: entryPoints: unknown key \"entryPoints\"; did you mean \"entry_points\"?",
    );
    broken(
        "log:\n  levl: info\n",
        "ferrix.yaml:2: log.levl: unknown key \"levl\"; did you mean \"level\"?",
    );
    broken(
        "log:\n  colour: red\n",
        "ferrix.yaml:2: log.colour: unknown key \"colour\"; the keys here are level, format",
    );
    broken(
        "upstream:\n  tls:\n    ca: a.pem\n",
        "ferrix.yaml:3: upstream.tls.ca: unknown key \"ca\"; the keys here are verify, authorities",
    );
    broken(
        "admin:\n  port: 1\n",
        "ferrix.yaml:2: admin.port: unknown key \"port\"; the keys here are address",
    );
    broken(
        "entry_points:\n  - port: 6190\n",
        "ferrix.yaml:2: entry_points[0]: missing key \"name\"; every entry point has one",
    );
    broken(
        "entry_points:\n  - name: web\n    port:\n",
        "ferrix.yaml:2: entry_points[0]: missing key \"port\"; every entry point has one",
    );
    broken(
        "source:\n  files: {}\n",
        "ferrix.yaml:2: source.files: missing key \"path\"; it has no default",
    );
    broken(
        "server:\n  threads: 1\n  threads: 2\n",
        "ferrix.yaml:2: the key \"threads\" stands twice in one mapping",
    );
}

#[test]
fn values_of_another_kind() {
    let port = |value: &str| format!("entry_points:\n  - name: web\n    port: {value}\n");
    let expected = "ferrix.yaml:3: entry_points[0].port: expected a number from 0 to 65535, found";
    for (value, found) in [
        ("x", "\"x\""),
        ("\"80\"", "\"80\""),
        ("65536", "65536"),
        ("-1", "-1"),
        ("80.5", "80.5"),
        ("true", "true"),
        ("[80]", "a list"),
        ("{number: 80}", "a mapping"),
    ] {
        broken(&port(value), &format!("{expected} {found}"));
    }
    broken(
        "entry_points:\n  web: 6190\n",
        "ferrix.yaml:1: entry_points: expected a list of entry points, found a mapping",
    );
    broken(
        "entry_points: [web]\n",
        "ferrix.yaml:1: entry_points[0]: expected a mapping with name and port, found \"web\"",
    );
    broken(
        "entry_points:\n  - {name: web, port: 1, secure: yes}\n",
        "ferrix.yaml:2: entry_points[0].secure: expected true or false, found \"yes\"",
    );
    broken(
        "entry_points:\n  - {name: web, port: 1, address: localhost}\n",
        "ferrix.yaml:2: entry_points[0].address: expected an IP address such as 0.0.0.0, found \
         \"localhost\"",
    );
    broken(
        "forwarded:\n  trusted:\n    - 10.0.0.0/8\n    - 10.0.0.0/99\n",
        "ferrix.yaml:4: forwarded.trusted[1]: expected a network such as 10.0.0.0/8 or \
         2001:db8::/32, found \"10.0.0.0/99\"",
    );
    broken(
        "server: {drain_delay: 5}\n",
        "ferrix.yaml:1: server.drain_delay: expected a duration such as 10s, from 0s to 1d, found 5",
    );
    broken(
        "timeouts:\n  header: soon\n",
        "ferrix.yaml:2: timeouts.header: expected a duration such as 10s, from 1ms to 1h, found \
         \"soon\"",
    );
    broken(
        "limits:\n  header_bytes: 64 parsecs\n",
        "ferrix.yaml:2: limits.header_bytes: expected a size such as 64KiB, from 1KiB to 16MiB, \
         found \"64 parsecs\"",
    );
    broken(
        "limits:\n  header_count: many\n",
        "ferrix.yaml:2: limits.header_count: expected a number from 1 to 256, found \"many\"",
    );
    broken(
        "admin:\n  address: 6192\n",
        "ferrix.yaml:2: admin.address: expected an address and port such as 127.0.0.1:6192, found \
         6192",
    );
    broken(
        "log:\n  level: loud\n",
        "ferrix.yaml:2: log.level: expected error, warn, info, debug or trace, found \"loud\"",
    );
    broken(
        "log: {format: xml}",
        "ferrix.yaml:1: log.format: expected text or json, found \"xml\"",
    );
    broken(
        "access_log:\n  format: on\n",
        "ferrix.yaml:2: access_log.format: expected off, text or json, found \"on\"",
    );
    broken(
        "tls:\n  minimum_version: 1.2\n",
        "ferrix.yaml:2: tls.minimum_version: expected \"1.2\" or \"1.3\" (with quotes), found 1.2",
    );
    broken(
        "tls:\n  minimum_version: \"1.1\"\n",
        "ferrix.yaml:2: tls.minimum_version: expected \"1.2\" or \"1.3\" (with quotes), found \
         \"1.1\"",
    );
    broken(
        "source:\n  files: manifests\n",
        "ferrix.yaml:2: source.files: expected a mapping with path, found \"manifests\"",
    );
    broken(
        &format!("log:\n  level: {}\n", "x".repeat(1_000)),
        &format!(
            "ferrix.yaml:2: log.level: expected error, warn, info, debug or trace, found \"{}\"…",
            "x".repeat(60),
        ),
    );
}

/// A route may name what can be an entry point, and nothing else.
#[test]
fn names_of_entry_points_are_those_that_routes_may_name() {
    let (mut can_be, mut cannot) = (0, 0);
    let form = regex::Regex::new(pattern::ENTRY_POINT).unwrap();
    let letters = ["a", "Z", "0", "-", "_", ".", " ", "/", "é", ""];
    for name in letters
        .iter()
        .flat_map(|one| letters.map(|other| format!("{one}{other}")))
    {
        let text = format!("entry_points:\n  - {{name: '{name}', port: 80}}\n");
        let taken = Settings::parse("ferrix.yaml", &text).is_ok();
        let fits = form.is_match(&name);
        assert_eq!(taken, fits, "{name:?}");
        *(if taken { &mut can_be } else { &mut cannot }) += 1;
    }
    assert_eq!((can_be, cannot), (25 + 10, 65));
}

#[test]
fn entry_points_that_cannot_be() {
    broken(
        "entry_points: []\n",
        "ferrix.yaml:1: entry_points: expected at least one entry point; without the key there are \
         web on 6190 and websecure on 6191",
    );
    let two = |first: &str, second: &str| format!("entry_points:\n  - {first}\n  - {second}\n");
    broken(
        &two("{name: web, port: 1}", "{name: web, port: 2}"),
        "ferrix.yaml:3: entry_points[1].name: \"web\" is the name of entry_points[0] already",
    );
    broken(
        &two("{name: a, port: 80}", "{name: b, port: 80}"),
        "ferrix.yaml:3: entry_points[1].port: port 80 is taken by entry_points[0] (a) already",
    );
    broken(
        &two(
            "{name: a, port: 80, address: 127.0.0.1}",
            "{name: b, port: 80, address: 0.0.0.0}",
        ),
        "ferrix.yaml:3: entry_points[1].port: port 80 is taken by entry_points[0] (a) already",
    );
    broken(
        "entry_points:\n  - {name: web, port: 6192}\n",
        "ferrix.yaml:2: entry_points[0].port: port 6192 is taken by admin.address already",
    );
    broken(
        "entry_points:\n  - {name: my web, port: 1}\n",
        "ferrix.yaml:2: entry_points[0].name: expected a name of letters, digits, - and _, at most \
         63 long, found \"my web\"",
    );
    for fine in [
        two("{name: a, port: 0}", "{name: b, port: 0}"),
        two(
            "{name: a, port: 80, address: 127.0.0.1}",
            "{name: b, port: 80, address: 127.0.0.2}",
        ),
        two(
            "{name: a, port: 80, address: 0.0.0.0}",
            "{name: b, port: 80, address: '::1'}",
        ),
    ] {
        Settings::parse("ferrix.yaml", &fine).unwrap();
    }
}

#[test]
fn every_duration_is_bounded_and_every_bound_is_documented() {
    let bounds: BTreeMap<&str, String> = (check::BOUNDS.iter())
        .map(|bound| (bound.key, bound.expected()))
        .chain((proxy::BOUNDS.iter()).map(|bound| (bound.key, bound.expected())))
        .collect();
    let keys: BTreeMap<&str, String> = (KEYS.iter())
        .filter(|(key, expected)| bounds.contains_key(key) || expected.contains("duration"))
        .map(|(key, expected)| (*key, expected.to_string()))
        .collect();
    assert_eq!(keys, bounds);
    let document = include_str!("../../../../docs/settings.md");
    for (key, expected) in bounds {
        let row = format!("| `{key}` | {expected} |");
        assert!(document.contains(&row), "docs/settings.md lacks {row}");
    }
}

/// Each of these broke every request, or the start.
#[test]
fn values_that_would_break_something() {
    let cases = [
        // The clock overflows.
        "timeouts: {response: 18446744073709551615s}",
        "timeouts: {keep_alive: 584542046090years}",
        "server: {drain_timeout: 18446744073709551615s}",
        "upstream: {idle_timeout: 18446744073709551615s}",
        // A socket option counts milliseconds in 31 bits.
        "timeouts: {connect: 25d}",
        // A request counts its attempts in 8 bits.
        "upstream: {attempts: 256}",
        // The queue cannot be made.
        "access_log: {buffer: 18446744073709551615}",
        // The codec holds 256 fields, whatever is allowed.
        "limits: {header_count: 257}",
        "http2: {header_list: 4GiB}",
    ];
    for text in cases {
        let (section, rest) = text.split_once(": {").unwrap();
        let (key, value) = rest.trim_end_matches('}').split_once(": ").unwrap();
        let error = Settings::parse("ferrix.yaml", text).unwrap_err();
        assert_eq!(error.key, format!("{section}.{key}"), "{error}");
        assert_eq!(error.line, Some(1));
        assert!(error.message.starts_with("expected "), "{error}");
        assert!(error.message.contains(", found "), "{value}: {error}");
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn what_types_cannot_say() {
    broken(
        "source:\n  files: {path: a}\n  kubernetes: {}\n",
        "ferrix.yaml:1: source: expected one of files and kubernetes, found both",
    );
    broken(
        "timeouts:\n  keep_alive: 1s\n  header: 0s\n",
        "ferrix.yaml:3: timeouts.header: expected a duration such as 10s, from 1ms to 1h, found 0s: \
         this limit cannot be lifted",
    );
    broken(
        "limits: {header_bytes: 0}\n",
        "ferrix.yaml:1: limits.header_bytes: expected a size such as 64KiB, from 1KiB to 16MiB, \
         found 0: this limit cannot be lifted",
    );
    broken(
        "upstream:\n  attempts: 0\n",
        "ferrix.yaml:2: upstream.attempts: expected a number from 1 to 100, found 0: this limit cannot \
         be lifted",
    );
    broken(
        "limits:\n  header_bytes: 1KiB\n",
        "ferrix.yaml:1: limits.uri_bytes: expected at most limits.header_bytes (1.0 KiB), which \
         the request line is part of, found 16.0 KiB",
    );
    broken(
        "server:\n  threads: 5000\n",
        "ferrix.yaml:2: server.threads: expected a number from 0 to 1024, found 5000",
    );
    broken(
        "server:\n  name: \"a\\nb\"\n",
        "ferrix.yaml:2: server.name: expected a text that can stand in a header, found \"a\\nb\"",
    );
    broken(
        "http2:\n  stream_window: 1KiB\n",
        "ferrix.yaml:2: http2.stream_window: expected a size such as 64KiB, from 65535B to 2147483647B, \
         found 1KiB",
    );
    broken(
        "tls:\n  default_certificate: {}\n",
        "ferrix.yaml:2: tls.default_certificate: expected either secret, or certificate_file and \
         key_file",
    );
    broken(
        "tls:\n  default_certificate: {secret: a/b, key_file: c}\n",
        "ferrix.yaml:2: tls.default_certificate: expected either secret, or certificate_file and \
         key_file",
    );
    broken(
        "tls:\n  default_certificate:\n    secret: wildcard\n",
        "ferrix.yaml:3: tls.default_certificate.secret: expected NAMESPACE/NAME, found \"wildcard\"",
    );
}

#[test]
fn services_of_gateways_keep_what_their_manifests_say() {
    let text = "gateway: {services: {annotations: {a: b}, spec: {selector: {app: ferrix, tier: null}, \
                sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}}}}";
    let settings = Settings::parse("ferrix.yaml", text).unwrap();
    let services = settings.gateway.services.unwrap();
    assert_eq!(services.annotations["a"], "b");
    let spec = serde_json::Value::from(services.spec);
    let expected = serde_json::json!({
        "selector": {"app": "ferrix", "tier": null},
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}},
    });
    assert_eq!(spec, expected);
}

#[test]
fn services_of_gateways_that_cannot_be() {
    let selector = "spec: {selector: {app: ferrix}}";
    let cases = [
        (
            "gateway: {services: {}}".to_owned(),
            "gateway.services: missing key \"spec\"; it has no default",
        ),
        (
            "gateway: {services: {spec: {type: ClusterIP}}}".to_owned(),
            "gateway.services.spec: expected a mapping with a selector, the labels of the pods of this \
             installation",
        ),
        (
            "gateway: {services: {spec: {selector: {}}}}".to_owned(),
            "gateway.services.spec: expected a mapping with a selector, the labels of the pods of this \
             installation",
        ),
        (
            "gateway: {services: {spec: {selector: {a: b}, ports: []}}}".to_owned(),
            "gateway.services.spec: expected a mapping without ports: those are the ports of the Gateway",
        ),
        (
            "gateway: {services: {spec: 1}}".to_owned(),
            "gateway.services.spec: expected a mapping, the spec of a Service without its ports, found 1",
        ),
        (
            format!("gateway: {{addresses: [10.0.0.0/8], services: {{{selector}}}}}"),
            "gateway: expected one of addresses and services, found both",
        ),
        (
            format!("{{source: {{namespaces: [a]}}, gateway: {{services: {{{selector}}}}}}}"),
            "gateway.services: Gateways are served where all namespaces are watched; take this out, or \
             source.namespaces",
        ),
        (
            format!(
                "{{entry_points: [{{name: web, port: 10000}}], gateway: {{services: {{{selector}}}}}}}"
            ),
            "entry_points[0].port: port 10000 is one of 10000 to 19999, which are for Gateways where \
             gateway.services is given",
        ),
        (
            format!("{{admin: {{address: '[::]:19999'}}, gateway: {{services: {{{selector}}}}}}}"),
            "admin.address: port 19999 is one of 10000 to 19999, which are for Gateways where \
             gateway.services is given",
        ),
    ];
    for (text, message) in &cases {
        broken(text, &format!("ferrix.yaml:1: {message}"));
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn hosts_of_namespaces() {
    let text = "\
hosts:
  allowed:
    - namespaces: [shop]
      labels: {team: a, tier: \"\"}
      hosts: [shop.example, \"*.shop.example\", \"**.a.example\"]
    - {namespaces: [\"*\"], hosts: [\"*\"]}
";
    let hosts = Settings::parse("ferrix.yaml", text).unwrap().hosts;
    assert!(!hosts.first_claim);
    let [first, second] = &hosts.allowed.unwrap()[..] else {
        panic!("two elements");
    };
    let texts = |sets: &[ferrix_control::settings::HostSet]| -> Vec<String> {
        sets.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        texts(&first.hosts),
        ["shop.example", "*.shop.example", "**.a.example"]
    );
    assert_eq!(first.labels["tier"], "");
    assert_eq!(texts(&second.hosts), ["*"]);
    let none = Settings::parse("ferrix.yaml", "hosts:\n  allowed:\n").unwrap();
    assert_eq!(none.hosts, HostPolicy::default());
    // Those of issuers are written alike.
    let text = text.replace("hosts:\n  allowed", "issuers:\n  allowed");
    let settings = Settings::parse("ferrix.yaml", &text).unwrap();
    let allowed = settings.issuers.allowed.unwrap();
    assert_eq!(texts(&allowed[0].hosts), texts(&first.hosts));
    assert_eq!(settings.hosts, HostPolicy::default());
}

#[test]
fn hosts_that_cannot_be_allowed() {
    let one = |element: &str| format!("hosts:\n  allowed:\n    - {element}\n");
    broken(
        "hosts:\n  allowed: []\n",
        "ferrix.yaml:2: hosts.allowed: expected at least one element; without the key every namespace \
         may have every host",
    );
    broken(
        "issuers:\n  allowed: []\n",
        "ferrix.yaml:2: issuers.allowed: expected at least one element; without the key every namespace \
         may have every issuer asked",
    );
    broken(
        "issuers:\n  allowed:\n    - {namespaces: [shop], hosts: ['https://a.example']}\n",
        "ferrix.yaml:3: issuers.allowed[0].hosts[0]: expected \"*\" (with quotes), or a host such as \
         example.com, \"*.example.com\" or \"**.example.com\", found \"https://a.example\"",
    );
    broken(
        "hosts:\n  first_claims: true\n",
        "ferrix.yaml:2: hosts.first_claims: unknown key \"first_claims\"; did you mean \
         \"first_claim\"?",
    );
    broken(
        "hosts:\n  first_claim: oldest\n",
        "ferrix.yaml:2: hosts.first_claim: expected true or false, found \"oldest\"",
    );
    broken(
        &one("{hosts: [a.example]}"),
        "ferrix.yaml:3: hosts.allowed[0]: expected a mapping with hosts, and with namespaces or \
         labels; every namespace is namespaces: [\"*\"]",
    );
    // Neither is every namespace, which would be more than was meant.
    broken(
        &one("{namespaces: [], labels: {}, hosts: [a.example]}"),
        "ferrix.yaml:3: hosts.allowed[0]: expected a mapping with hosts, and with namespaces or \
         labels; every namespace is namespaces: [\"*\"]",
    );
    let without_value = Settings::parse("f", &one("{labels: {team: }, hosts: [a.example]}"));
    let error = without_value.unwrap_err();
    assert!(error.key.starts_with("hosts.allowed[0].labels"), "{error}");
    broken(
        &one("{namespaces: [shop]}"),
        "ferrix.yaml:3: hosts.allowed[0]: missing key \"hosts\"; every element has some",
    );
    broken(
        &one("{namespaces: [shop], hosts: []}"),
        "ferrix.yaml:3: hosts.allowed[0].hosts: expected at least one host",
    );
    broken(
        &one("{namespaces: [Shop], hosts: [a.example]}"),
        "ferrix.yaml:3: hosts.allowed[0].namespaces: expected the name of a namespace, or \"*\" (with \
         quotes) for every one, found \"Shop\"",
    );
    for host in ["a example", "*.*.example", "a.*", "", "a.example:80"] {
        broken(
            &one(&format!(
                "{{namespaces: [shop], hosts: [b.example, '{host}']}}"
            )),
            &format!(
                "ferrix.yaml:3: hosts.allowed[0].hosts[1]: expected \"*\" (with quotes), or a host \
                 such as example.com, \"*.example.com\" or \"**.example.com\", found {host:?}"
            ),
        );
    }
    broken(
        &format!(
            "source: {{kubernetes: {{}}, namespaces: [shop]}}\n{}",
            one("{labels: {team: a}, hosts: [a.example]}")
        ),
        "ferrix.yaml:4: hosts.allowed[0].labels: labels of namespaces are not seen where \
         source.namespaces names those that are watched; name them in namespaces here as well",
    );
}

#[test]
fn a_program_is_told_without_a_file() {
    let mut settings = Settings::default();
    settings.entry_points[1].name = "web".into();
    assert_eq!(
        settings.check().unwrap_err().to_string(),
        "settings: entry_points[1].name: \"web\" is the name of entry_points[0] already",
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Settings::read(Path::new("/nonexistent/ferrix.yaml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/ferrix.yaml: cannot be read: No such file or directory (os error 2)",
    );
}

#[test]
fn relative_paths_start_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ferrix.yaml");
    std::fs::write(&file, EVERY_KEY).unwrap();
    let settings = Settings::read(&file).unwrap();
    let expected = |name: &str| folder.path().join(name);
    assert_eq!(settings.source.files.unwrap().path, expected("manifests"));
    assert_eq!(settings.access_log.path, Some(expected("access.log")));
    assert_eq!(
        settings.proxy.upstream.tls.authorities,
        Some(expected("ca.pem"))
    );
    assert_eq!(
        settings.proxy.replicas.unwrap().key_file,
        expected("replicas.key")
    );
    assert_eq!(
        settings.default_certificate,
        Some(DefaultCertificate::Files {
            certificate: expected("tls.crt"),
            key: expected("tls.key"),
        }),
    );
    let cluster = "source: {kubernetes: {kubeconfig: k, secrets: cluster, snapshot_folder: s}}";
    std::fs::write(&file, cluster).unwrap();
    let kubernetes = Settings::read(&file).unwrap().source.kubernetes.unwrap();
    assert_eq!(kubernetes.kubeconfig, Some(expected("k")));
    assert_eq!(kubernetes.secrets, Secrets::Cluster);
    assert_eq!(kubernetes.snapshot_folder, Some(expected("s")));
}
