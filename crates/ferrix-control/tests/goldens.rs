//! One file per case: objects, and what becomes of them.
//!
//! ```text
//! # What the case shows.
//! # Settings: class=internal external-name loopback=no default=NAMESPACE/NAME namespaces=a,b entry-points=web
//! # Settings: first-claim allowed=NAMESPACE,LABEL=VALUE:HOST,HOST
//! # Settings: pod=NAMESPACE/ADDRESS
//! # Settings: platform=NAMESPACE entry-point-filter=web:NAMESPACE/NAME namespace-filter=a:NAMESPACE/NAME
//! # Settings: gateway pool=NETWORK,NETWORK exposed=ENTRY_POINT:PORT publish=ADDRESS,ADDRESS services=NAMESPACE
//! OBJECTS
//! ---
//! # Then            (optional, any number of times: what is applied next)
//! # Delete: KIND NAMESPACE/NAME
//! # Withhold: KIND [NAMESPACE]
//! # LookedUp: NAME ADDRESS…, or NXDOMAIN
//! # Fetched: URL and a set of keys, or why there is none
//! # Refused: ADDRESS WHY, of each place where nothing can listen, or nothing
//! OBJECTS
//! ---
//! # Output
//! TABLE AND REPORT
//! ```
//!
//! `FERRIX_REFRESH=1` writes the outputs anew.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ferrix_control::{
    decode::{self, Decoded, Strictness},
    external_name::{Answer, DomainName, Failure},
    issuer_keys::FetchedKeys,
    kubernetes::snapshot,
    objects::{FileOrigin, Key, Kind, ObjectName, Origin},
    settings::{
        DefaultCertificate, GatewayReach, GatewayServices, HostGrant, HostSet, NamespaceFilters,
        Pod, Publish, Settings,
    },
    translate,
    world::{Change, World},
    yaml,
};
use ferrix_table::{filters::jwt::Renewal, sockets::Place, table::EntryPoint};
use serde_json::{Value, json};

/// 2027-01-15, when every certificate of the cases is as its case says.
const NOW: i64 = 1_800_000_000;

#[test]
fn goldens() {
    let refresh = env::var_os("FERRIX_REFRESH").is_some();
    let cases = cases();
    let mut failed = Vec::new();
    for path in &cases {
        let text = fs::read_to_string(path).expect("a case");
        let input = input(&text);
        let output = run(path, input);
        let expected = format!("{input}\n---\n# Output\n{output}");
        if refresh {
            fs::write(path, expected).expect("the case can be written");
        } else if text != expected {
            let difference = expected
                .lines()
                .zip(text.lines())
                .find(|(one, other)| one != other)
                .map(|(is, was)| format!("is  {is}\nwas {was}"));
            failed.push(format!(
                "{}: {}",
                path.display(),
                difference.unwrap_or_default()
            ));
        }
    }
    assert!(cases.len() >= 50, "only {} cases were found", cases.len());
    assert!(
        failed.is_empty(),
        "{} of {} cases differ (FERRIX_REFRESH=1 writes them anew):\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}

fn run(path: &Path, input: &str) -> String {
    let settings = settings(input);
    let mut world = World::new();
    world.set_time(NOW);
    for change in steps(path, input) {
        world.take(change);
    }
    let (table, report) = translate(&world, &settings);
    let mut table = serde_json::to_value(table.dump()).expect("a dump");
    let fields = table.as_object_mut().expect("a mapping");
    fields.remove("generation");
    // Those of the settings are the same in all cases.
    if settings.gateway.is_none() {
        fields.remove("entry_points");
    }
    let mut objects = serde_json::to_value(
        report
            .entries()
            .iter()
            .map(|entry| serde_json::to_value(&**entry).expect("an entry"))
            .collect::<Vec<_>>(),
    )
    .expect("entries");
    for object in objects.as_array_mut().expect("a list") {
        let fields = object.as_object_mut().expect("a mapping");
        if fields["conditions"].as_array().is_some_and(Vec::is_empty) {
            for empty in [
                "conditions",
                "entry_points",
                "serving",
                "observed_generation",
            ] {
                fields.remove(empty);
            }
        }
    }
    let output = json!({ "table": table, "report": objects });
    serde_yaml_ng::to_string(&output).expect("YAML")
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    cases
}

/// A case without its output.
fn input(text: &str) -> &str {
    let mut parts = text.split("\n---\n# Output\n");
    parts.next().expect("an input").trim_end()
}

/// All that a case applies, in order.
fn steps(path: &Path, input: &str) -> Vec<Change> {
    let name: Arc<Path> = Path::new(path.file_name().expect("a name")).into();
    let mut steps = Vec::new();
    let mut line = 0;
    for part in input.split("\n---\n# Then\n") {
        let told =
            |what: &'static str| part.lines().filter_map(move |line| line.strip_prefix(what));
        steps.extend(told("# Delete: ").map(|key| Change::Remove(parse_key(key))));
        steps.extend(told("# Withhold: ").map(parse_withheld));
        steps.extend(told("# LookedUp: ").map(parse_looked_up));
        steps.extend(told("# Fetched: ").map(parse_fetched));
        let refused: Vec<_> = told("# Refused:").collect();
        if !refused.is_empty() {
            let places = refused.into_iter().filter_map(parse_refused);
            steps.push(Change::Refused(places.collect()));
        }
        // Lines count from the start of the file.
        let blank = "\n".repeat(line);
        steps.extend(changes(&name, &format!("{blank}{part}")));
        line += part.lines().count() + 2;
    }
    steps
}

fn changes(path: &Arc<Path>, text: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for document in yaml::documents(text) {
        let mut document = document.unwrap_or_else(|error| {
            panic!("{}:{}: {error}", path.display(), error.line);
        });
        let documents = match decode::is_list(&document.value) {
            true => document.items().expect("a list"),
            false => vec![document],
        };
        for document in documents {
            let origin = Origin::File(Arc::new(FileOrigin {
                path: Arc::clone(path),
                lines: document.lines,
            }));
            changes.push(match decode::decode(&document.value, Strictness::File) {
                Ok(Decoded::Object {
                    object,
                    unknown_fields,
                }) => {
                    assert_eq!(unknown_fields, [""; 0], "{}", path.display());
                    Change::Apply {
                        object,
                        origin,
                        notes: Vec::new(),
                    }
                }
                Ok(Decoded::Ignored(kind)) => panic!("{}: {kind} is ignored", path.display()),
                Err(error) => Change::Reject {
                    key: error.key.clone().expect("an object with a name"),
                    origin,
                    error,
                },
            });
        }
    }
    changes
}

fn settings(input: &str) -> Settings {
    let entry_point = |name: &str| match name.starts_with("websecure") {
        true => EntryPoint::https(name),
        false => EntryPoint::http(name),
    };
    let mut settings = Settings::for_files(vec![entry_point("web"), entry_point("websecure")]);
    let lines = input
        .lines()
        .filter_map(|line| line.strip_prefix("# Settings: "));
    for setting in lines.flat_map(str::split_whitespace) {
        match setting.split_once('=').unwrap_or((setting, "")) {
            ("class", class) => settings.ingress_class = Some(class.to_owned()),
            ("first-claim", _) => settings.hosts.first_claim = true,
            ("allowed", grant) => {
                let allowed = &mut settings.hosts.allowed;
                allowed.get_or_insert_default().push(parse_grant(grant));
            }
            ("issuers", grant) => {
                let allowed = &mut settings.issuers.allowed;
                allowed.get_or_insert_default().push(parse_grant(grant));
            }
            ("external-name", _) => settings.allow_external_name = true,
            ("loopback", _) => settings.allow_loopback_endpoints = false,
            ("default", secret) => {
                let (namespace, name) = secret.split_once('/').expect("NAMESPACE/NAME");
                settings.default_certificate = Some(DefaultCertificate::Secret {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                });
            }
            ("namespaces", names) => {
                settings.namespaces = Some(names.split(',').map(str::to_owned).collect());
            }
            ("entry-points", names) => {
                settings.entry_points = names.split(',').map(entry_point).collect();
            }
            ("gateway", _) => drop(settings.gateway.get_or_insert_default()),
            ("pool", networks) => {
                let gateway = settings.gateway.get_or_insert_default();
                let networks = networks.split(',').map(|it| it.parse().expect("a network"));
                gateway.reach = GatewayReach::Pool(networks.collect());
            }
            ("services", namespace) => {
                let gateway = settings.gateway.get_or_insert_default();
                gateway.reach = GatewayReach::Services(GatewayServices {
                    namespace: Some(namespace.to_owned()),
                    ..GatewayServices::default()
                });
            }
            ("exposed", port) => {
                let gateway = settings.gateway.get_or_insert_default();
                let (name, port) = port.split_once(':').expect("ENTRY_POINT:PORT");
                let port = port.parse().expect("a port");
                gateway.exposed_ports.insert(name.to_owned(), port);
            }
            ("publish", addresses) => {
                let addresses = addresses.split(',').map(str::to_owned);
                settings.publish = Publish::Addresses(addresses.collect());
            }
            ("pod", pod) => {
                let (namespace, address) = pod.split_once('/').expect("NAMESPACE/ADDRESS");
                settings.pod = Some(Pod {
                    namespace: namespace.to_owned(),
                    address: address.parse().expect("an address"),
                });
            }
            ("platform", namespace) => settings.filters.namespace = Some(namespace.to_owned()),
            ("entry-point-filter", filter) => {
                let (entry_point, filter) = parse_filter(filter);
                let filters = &mut settings.filters.entry_points;
                filters.entry(entry_point).or_default().push(filter);
            }
            ("namespace-filter", filter) => {
                let (namespace, filter) = parse_filter(filter);
                settings.filters.namespaces.push(NamespaceFilters {
                    namespaces: [namespace].into(),
                    filters: vec![filter],
                });
            }
            (other, _) => panic!("unknown setting {other}"),
        }
    }
    settings
}

fn parse_filter(text: &str) -> (String, ObjectName) {
    let (place, filter) = text.split_once(':').expect("PLACE:NAMESPACE/NAME");
    let (namespace, name) = filter.split_once('/').expect("NAMESPACE/NAME");
    (place.to_owned(), ObjectName::new(namespace, name))
}

fn parse_withheld(scope: &str) -> Change {
    let (kind, namespace) = scope.split_once(' ').unwrap_or((scope, ""));
    Change::Withhold {
        kind: parse_kind(kind),
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
        reason: Some(format!("Ferrix may not list {kind}s")),
    }
}

fn parse_grant(text: &str) -> HostGrant {
    let (selected, hosts) = text
        .split_once(':')
        .expect("NAMESPACE,LABEL=VALUE:HOST,HOST");
    let selected: Vec<&str> = selected.split(',').collect();
    let labels = selected.iter().filter_map(|it| it.split_once('='));
    let namespaces = selected.iter().filter(|it| !it.contains('='));
    let set = |host: &str| HostSet::try_from(host.to_owned()).expect("a host");
    HostGrant {
        namespaces: namespaces.map(|it| (*it).to_owned()).collect(),
        labels: labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        hosts: hosts.split(',').map(set).collect(),
    }
}

fn parse_looked_up(text: &str) -> Change {
    let (name, found) = text.split_once(' ').expect("NAME ADDRESS…");
    let of = |family: fn(&IpAddr) -> bool| match found {
        "NXDOMAIN" => Err(Failure::NoSuchName),
        found => {
            let addresses = found.split(' ').map(|it| it.parse().expect("an address"));
            let addresses: Vec<IpAddr> = addresses.filter(family).collect();
            match addresses.is_empty() {
                true => Err(Failure::NoAddresses),
                false => Ok(addresses),
            }
        }
    };
    Change::LookedUp {
        name: DomainName::parse(name).expect("a name"),
        answer: Answer {
            ipv4: of(IpAddr::is_ipv4),
            ipv6: of(IpAddr::is_ipv6),
        },
    }
}

fn parse_fetched(text: &str) -> Change {
    let (url, found) = text.split_once(' ').expect("URL KEYS");
    Change::KeysFetched {
        url: url.into(),
        fetched: FetchedKeys::parse(found).map_err(|error| match found.starts_with('{') {
            true => panic!("{error}"),
            false => found.into(),
        }),
        renewal: Renewal::default(),
    }
}

/// `None`: that there is no such place.
fn parse_refused(text: &str) -> Option<(Place, Arc<str>)> {
    let (address, why) = text.trim().split_once(' ')?;
    let place = Place {
        address: address.parse().expect("an address"),
        datagrams: false,
        entry_point: None,
    };
    Some((place, why.into()))
}

fn parse_key(text: &str) -> Key {
    let (kind, name) = text.split_once(' ').expect("KIND NAMESPACE/NAME");
    let (namespace, name) = name.split_once('/').expect("NAMESPACE/NAME");
    Key::new(parse_kind(kind), namespace, name)
}

fn parse_kind(name: &str) -> Kind {
    let mut kinds = Kind::ALL.into_iter();
    kinds.find(|it| it.as_str() == name).expect("a kind")
}

/// What a snapshot of each case has is the same as the case, to tables and reports, last good versions
/// with it: all that was written, and what is still needed of that.
#[test]
fn a_snapshot_makes_the_same_table_and_report() {
    let (mut ran, mut saved) = (0, 0);
    for path in cases() {
        let text = fs::read_to_string(&path).expect("a case");
        let input = input(&text);
        let settings = settings(input);
        let steps: Vec<_> = (steps(&path, input).into_iter())
            .map(from_the_api)
            .collect();
        let mut world = World::new();
        world.set_time(NOW);
        let mut lines = Vec::new();
        for step in &steps {
            let effect = world.take(step.clone());
            let record = snapshot::Record::new(step, &effect, &world);
            lines.extend(record.map(|it| it.line()));
        }
        let told = |world: &World| {
            let (table, report) = translate(world, &settings);
            let table = serde_json::to_string_pretty(&table.dump()).expect("a dump");
            (
                table,
                serde_json::to_string_pretty(&report).expect("a report"),
            )
        };
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let needed = snapshot::needed(&lines);
        saved += lines.len() - needed.len();
        for lines in [lines, needed] {
            let mut restored = World::new();
            restored.set_time(NOW);
            for line in lines {
                restored.take(snapshot::change_of(line).expect("a change"));
            }
            // What cannot be seen, what DNS and issuers say, and where nothing can listen, is found out anew.
            let anew = steps.iter().filter(|step| {
                matches!(
                    step,
                    Change::Withhold { .. }
                        | Change::LookedUp { .. }
                        | Change::KeysFetched { .. }
                        | Change::Refused(_)
                )
            });
            for step in anew {
                restored.take(step.clone());
            }
            assert_eq!(told(&restored), told(&world), "{}", path.display());
        }
        ran += 1;
    }
    assert!(ran >= 50 && saved > 0, "{ran} cases, {saved} lines less");
}

fn from_the_api(change: Change) -> Change {
    let origin = Origin::Api;
    match change {
        Change::Apply { object, notes, .. } => Change::Apply {
            object,
            origin,
            notes,
        },
        Change::Reject { key, error, .. } => Change::Reject { key, origin, error },
        other => other,
    }
}

/// Every reason that a condition or a finding can have is shown by some case, or is one that only
/// files can have, or the writer of statuses gives.
#[test]
fn every_reason_has_a_case() {
    let mut seen = String::new();
    for path in cases() {
        seen.push_str(&fs::read_to_string(path).expect("a case"));
    }
    let elsewhere = [
        "Duplicate",
        "Unreadable",
        "UnknownKind",
        "UnknownField",
        "OtherInstallation",
        "Pending",
        "FilterLost",
        "InternalError",
    ];
    for reason in ferrix_control::report::Reason::ALL {
        let reason = reason.as_str();
        let shown = seen.contains(&format!("reason: {reason}\n"));
        assert!(
            shown || elsewhere.contains(&reason),
            "no case shows {reason}"
        );
    }
}

/// The values of the dump that goldens leave out are there.
#[test]
fn a_dump_has_entry_points() {
    let settings = settings("");
    let (table, _) = translate(&World::new(), &settings);
    let dump: Value = serde_json::to_value(table.dump()).expect("a dump");
    assert_eq!(dump["entry_points"][1]["name"], "websecure");
}
