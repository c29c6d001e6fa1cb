//! What is wrong with the manifests that install Ferrix, as far as reading them can tell.
//!
//! ```text
//!  documents ─┬─► settings     the ConfigMap, as Ferrix itself reads it
//!             ├─► permissions  what roles and bindings grant, against what Ferrix asks for
//!             ├─► pods         rights, probes, resources, time to end; and what runs at the end
//!             └─► around them  Services, PodDisruptionBudget, NetworkPolicy: do they meet the pods?
//! ```
//!
//! It reads `deploy/ferrix.yaml`, and what `helm template` makes of the chart.

use std::{collections::BTreeSet, fmt::Display, path::Path, time::Duration};

use ferrix::{Settings, settings::TARGET_PORTS};
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

/// Where a permission of Ferrix has to be granted, and may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// In all namespaces, or in each of `source.namespaces`.
    Watched,
    /// In all namespaces; not needed with `source.namespaces`.
    Cluster,
    /// In the namespace of the installation.
    Own,
    /// The same, where Gateways have Services.
    GatewayServices,
    /// In as many namespaces as one likes, but never in all at once.
    Chosen,
}

/// All that Ferrix asks of the API server: group, resource, verbs, where.
const ASKED: &[(&str, &str, &[&str], Scope)] = &[
    ("ferrix.com", "backendpolicies", READ, Scope::Watched),
    (
        "ferrix.com",
        "backendpolicies/status",
        PATCH,
        Scope::Watched,
    ),
    ("ferrix.com", "filters", READ, Scope::Watched),
    ("ferrix.com", "filters/status", PATCH, Scope::Watched),
    ("ferrix.com", "ingressroutes", READ, Scope::Watched),
    ("ferrix.com", "ingressroutes/status", PATCH, Scope::Watched),
    ("networking.k8s.io", "ingresses", READ, Scope::Watched),
    ("networking.k8s.io", "ingressclasses", READ, Scope::Cluster),
    (
        "networking.k8s.io",
        "ingresses/status",
        PATCH,
        Scope::Watched,
    ),
    ("", "services", READ, Scope::Watched),
    (
        "",
        "services",
        &["create", "patch", "delete"],
        Scope::GatewayServices,
    ),
    ("", "namespaces", READ, Scope::Cluster),
    ("", "secrets", READ, Scope::Chosen),
    ("", "configmaps", READ, Scope::Chosen),
    ("discovery.k8s.io", "endpointslices", READ, Scope::Watched),
    (GATEWAY, "backendtlspolicies", READ, Scope::Watched),
    (GATEWAY, "gatewayclasses", READ, Scope::Cluster),
    (GATEWAY, "gateways", READ, Scope::Watched),
    (GATEWAY, "grpcroutes", READ, Scope::Watched),
    (GATEWAY, "httproutes", READ, Scope::Watched),
    (GATEWAY, "listenersets", READ, Scope::Watched),
    (GATEWAY, "referencegrants", READ, Scope::Watched),
    (GATEWAY, "tcproutes", READ, Scope::Watched),
    (GATEWAY, "tlsroutes", READ, Scope::Watched),
    (GATEWAY, "udproutes", READ, Scope::Watched),
    (GATEWAY, "backendtlspolicies/status", PATCH, Scope::Watched),
    (GATEWAY, "gatewayclasses/status", PATCH, Scope::Cluster),
    (GATEWAY, "gateways/status", PATCH, Scope::Watched),
    (GATEWAY, "grpcroutes/status", PATCH, Scope::Watched),
    (GATEWAY, "httproutes/status", PATCH, Scope::Watched),
    (GATEWAY, "listenersets/status", PATCH, Scope::Watched),
    (GATEWAY, "tcproutes/status", PATCH, Scope::Watched),
    (GATEWAY, "tlsroutes/status", PATCH, Scope::Watched),
    (GATEWAY, "udproutes/status", PATCH, Scope::Watched),
    (
        EXPERIMENTAL,
        "xbackendtrafficpolicies",
        READ,
        Scope::Watched,
    ),
    (
        EXPERIMENTAL,
        "xbackendtrafficpolicies/status",
        PATCH,
        Scope::Watched,
    ),
    ("events.k8s.io", "events", &["create"], Scope::Watched),
    (
        "coordination.k8s.io",
        "leases",
        &["list", "watch", "create", "patch", "update", "delete"],
        Scope::Own,
    ),
    (
        "apps",
        "controllerrevisions",
        &["list", "watch", "create", "delete"],
        Scope::Own,
    ),
];

const READ: &[&str] = &["list", "watch"];

const PATCH: &[&str] = &["patch"];

const GATEWAY: &str = "gateway.networking.k8s.io";

const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";

/// The documents of a file, without empty ones.
///
/// # Panics
/// Where the text is not YAML.
pub fn documents(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .filter(|document| !document.is_null())
        .collect()
}

/// The settings file in the ConfigMap `namespace/name`, as text.
pub fn settings_text<'a>(documents: &'a [Value], namespace: &str, name: &str) -> Option<&'a str> {
    find(documents, "ConfigMap", namespace, name)
        .and_then(|config_map| at(config_map, "data/ferrix.yaml").as_str())
}

/// Everything that should not be as it is; each finding begins with the object.
pub fn lint(documents: &[Value]) -> Vec<String> {
    let mut lint = Lint {
        documents,
        findings: Vec::new(),
    };
    let workloads: Vec<_> = (["Deployment", "DaemonSet"].iter())
        .flat_map(|kind| of_kind(documents, kind))
        .collect();
    if workloads.len() != 1 {
        let what = format!("expected one, found {}", workloads.len());
        lint.say("Deployment or DaemonSet", what);
    }
    lint.roles();
    for workload in workloads {
        if let Some(settings) = lint.settings(workload) {
            lint.permissions(workload, &settings);
            lint.grace_period(workload, &settings);
            lint.ports(workload, &settings);
            lint.snapshot(workload, &settings);
            lint.temporary_folder(workload, &settings);
        }
        match is_daemon_set(workload) {
            true => lint.daemon_rollout(workload),
            false => lint.rollout(workload),
        }
        lint.pod(workload);
        lint.container(workload);
        lint.probes(workload);
        lint.selectors(workload);
        for job in of_kind(documents, "Job") {
            lint.pod(job);
            lint.container(job);
            lint.job(job, workload);
        }
    }
    lint.findings
}

struct Lint<'a> {
    documents: &'a [Value],
    findings: Vec<String>,
}

impl<'a> Lint<'a> {
    fn say(&mut self, place: impl Display, what: impl Display) {
        self.findings.push(format!("{place}: {what}"));
    }

    fn check(&mut self, holds: bool, place: impl Display, what: impl Display) {
        if !holds {
            self.say(place, what);
        }
    }

    fn settings(&mut self, workload: &Value) -> Option<Settings> {
        let place = title(workload);
        let volumes = list(at(workload, POD), "volumes");
        let name = volumes.iter().find_map(|it| {
            let mounts = list(at(workload, CONTAINER), "volumeMounts");
            let mounted = mounts.iter().any(|mount| {
                at(mount, "name") == at(it, "name") && text(mount, "mountPath") == "/etc/ferrix"
            });
            at(it, "configMap/name").as_str().filter(|_| mounted)
        });
        let Some(name) = name else {
            self.say(place, "no ConfigMap is mounted at /etc/ferrix");
            return None;
        };
        let Some(text) = settings_text(self.documents, namespace(workload), name) else {
            let what = format!("there is no ConfigMap {name} with a key ferrix.yaml");
            self.say(place, what);
            return None;
        };
        match Settings::parse(&format!("ConfigMap {name}"), text) {
            Ok(settings) => Some(settings),
            Err(error) => {
                self.findings.push(error.to_string());
                None
            }
        }
    }

    /// What roles grant, bound or not.
    fn roles(&mut self) {
        for role in ["ClusterRole", "Role"]
            .iter()
            .flat_map(|kind| of_kind(self.documents, kind))
        {
            let aggregated = !at(role, "aggregationRule").is_null();
            self.check(
                !aggregated,
                title(role),
                "grants what is written elsewhere (aggregationRule)",
            );
            for rule in list(role, "rules") {
                let urls = list(rule, "nonResourceURLs").is_empty();
                self.check(urls, title(role), "grants URLs (nonResourceURLs)");
            }
            for (group, resource, verb) in grants(role) {
                if [group, resource, verb].iter().any(|it| it.contains('*')) {
                    let what = format!("a wildcard: {verb} {resource} of {group:?}");
                    self.say(title(role), what);
                } else if asked(group, resource, verb).is_none() {
                    let what = format!("Ferrix does not need to {verb} {resource} of {group:?}");
                    self.say(title(role), what);
                }
            }
        }
    }

    /// What the service account may do, and where: no more and no less than it has to.
    fn permissions(&mut self, workload: &'a Value, settings: &Settings) {
        let own = namespace(workload);
        let account = text(at(workload, POD), "serviceAccountName");
        let known = find(self.documents, "ServiceAccount", own, account).is_some();
        let what = format!("there is no ServiceAccount {account:?}");
        self.check(known, title(workload), what);

        let watched: Vec<Option<&str>> = match &settings.source.namespaces {
            None => vec![None],
            Some(namespaces) => namespaces.iter().map(|it| Some(&**it)).collect(),
        };
        let for_gateways = settings.gateway.services.is_some();
        let may_be_at = |scope: Scope, place: Option<&str>| match scope {
            Scope::Watched => watched.contains(&place),
            Scope::Cluster => place.is_none() && watched.contains(&None),
            Scope::Own => place == Some(own),
            Scope::GatewayServices => place == Some(own) && for_gateways,
            Scope::Chosen => place.is_some(),
        };

        let mut granted: BTreeSet<(Option<&str>, &str, &str, &str)> = BTreeSet::new();
        for binding in ["ClusterRoleBinding", "RoleBinding"]
            .iter()
            .flat_map(|kind| of_kind(self.documents, kind))
        {
            let place = match text(binding, "kind") {
                "ClusterRoleBinding" => None,
                _ => Some(namespace(binding)),
            };
            let ours = |subject: &Value| {
                text(subject, "kind") == "ServiceAccount"
                    && text(subject, "name") == account
                    && text(subject, "namespace") == own
            };
            let subjects = list(binding, "subjects");
            let only_ours = !subjects.is_empty() && subjects.iter().all(ours);
            let what = format!("binds others than the ServiceAccount {own}/{account}");
            self.check(only_ours, title(binding), what);
            let (kind, name) = (text(binding, "roleRef/kind"), text(binding, "roleRef/name"));
            let role_namespace = match kind {
                "Role" => namespace(binding),
                _ => "",
            };
            let Some(role) = find(self.documents, kind, role_namespace, name) else {
                let what = format!("binds {kind} {name}, which is not here");
                self.say(title(binding), what);
                continue;
            };
            for (group, resource, verb) in grants(role) {
                let scope = asked(group, resource, verb);
                if scope.is_some_and(|scope| !may_be_at(scope, place)) {
                    let reach = place.unwrap_or("all namespaces");
                    let what = format!("grants to {verb} {resource} in {reach}");
                    self.say(title(binding), what);
                }
                granted.insert((place, group, resource, verb));
            }
        }

        for (group, resource, verbs, scope) in ASKED {
            let places = match scope {
                Scope::Watched => watched.clone(),
                Scope::Cluster if watched.contains(&None) => vec![None],
                Scope::GatewayServices if for_gateways => vec![Some(own)],
                Scope::Own => vec![Some(own)],
                Scope::Cluster | Scope::GatewayServices | Scope::Chosen => Vec::new(),
            };
            for place in places {
                for verb in *verbs {
                    let holds = granted.contains(&(place, group, resource, verb))
                        || granted.contains(&(None, group, resource, verb));
                    let reach = place.unwrap_or("all namespaces");
                    let what = format!("may not {verb} {resource} of {group:?} in {reach}");
                    self.check(holds, format!("ServiceAccount {own}/{account}"), what);
                }
            }
        }
    }

    fn grace_period(&mut self, workload: &Value, settings: &Settings) {
        let pre_stop = number(at(workload, CONTAINER), "lifecycle/preStop/sleep/seconds");
        self.check(
            pre_stop.is_some(),
            title(workload),
            "no preStop of the kubelet's own: sleep",
        );
        let server = &settings.proxy.server;
        let needed =
            Duration::from_secs(pre_stop.unwrap_or(0)) + server.drain_delay + server.drain_timeout;
        // What Kubernetes takes where nothing is said.
        let given = number(at(workload, POD), "terminationGracePeriodSeconds").unwrap_or(30);
        let what = format!(
            "terminationGracePeriodSeconds {given} is not above {needed:?}: preStop, \
             server.drain_delay and server.drain_timeout"
        );
        self.check(Duration::from_secs(given) > needed, title(workload), what);
    }

    /// Services lead to entry points, and only inside of the cluster to the admin page.
    fn ports(&mut self, workload: &Value, settings: &Settings) {
        let admin = settings.admin.address;
        self.check(
            !admin.ip().is_loopback(),
            title(workload),
            "admin.address is out of reach for the kubelet",
        );
        let open: Vec<(&str, u16)> = (settings.entry_points.iter())
            .map(|it| (&*it.name, it.port))
            .chain([("admin", admin.port())])
            .collect();
        let ports = list(at(workload, CONTAINER), "ports");
        for (name, port) in &open {
            let declared = ports.iter().any(|it| {
                text(it, "name") == *name && number(it, "containerPort") == Some((*port).into())
            });
            let what = format!("no container port {name} with number {port}");
            self.check(declared, title(workload), what);
        }
        for port in ports {
            // A DaemonSet is there for that, and nobody gets one without asking.
            let no_host = at(port, "hostPort").is_null() || is_daemon_set(workload);
            self.check(no_host, title(workload), "a port of the host (hostPort)");
        }
        for service in of_kind(self.documents, "Service") {
            let outside = !matches!(text(service, "spec/type"), "" | "ClusterIP");
            for port in list(service, "spec/ports") {
                let target = at(port, "targetPort");
                let found = open.iter().find(|(name, number)| {
                    target.as_str() == Some(name) || target.as_u64() == Some((*number).into())
                });
                let what = match found {
                    None => format!("targetPort {target:?} is no entry point"),
                    Some(("admin", _)) if outside => {
                        "shows the admin page to the outside".to_owned()
                    }
                    Some(_) => continue,
                };
                self.say(title(service), what);
            }
        }
        for policy in of_kind(self.documents, "NetworkPolicy") {
            for rule in list(policy, "spec/ingress") {
                for port in list(rule, "ports") {
                    let first = number(port, "port");
                    let last = number(port, "endPort").or(first);
                    let of_gateways = settings.gateway.services.is_some()
                        && first == Some((*TARGET_PORTS.start()).into())
                        && last == Some((*TARGET_PORTS.end()).into());
                    let known = of_gateways
                        || first == last && open.iter().any(|(_, it)| first == Some((*it).into()));
                    self.check(known, title(policy), "lets in to a port that nobody has");
                }
            }
        }
    }

    /// What holds keys stays in memory, within bounds, in a folder that nobody else can look into.
    fn snapshot(&mut self, workload: &Value, settings: &Settings) {
        let kubernetes = settings.source.kubernetes.as_ref();
        let Some(folder) = kubernetes.and_then(|it| it.snapshot_folder.as_deref()) else {
            return;
        };
        // A mount point is root's, and open to all.
        let above = |mount: &&Value| {
            let path = Path::new(text(mount, "mountPath"));
            path.is_absolute() && path != folder && folder.starts_with(path)
        };
        let (writable, volume) = volume(workload, above);
        for (holds, what) in [
            (
                writable,
                "source.kubernetes.snapshot_folder is not below a volume that can be written to",
            ),
            (
                text(volume, "emptyDir/medium") == "Memory",
                "the snapshot, which holds keys, is not kept in memory",
            ),
            (
                !at(volume, "emptyDir/sizeLimit").is_null(),
                "no limit of the memory of the snapshot (sizeLimit)",
            ),
        ] {
            self.check(holds, title(workload), what);
        }
    }

    /// What bodies are stored in takes no more of a node than it may.
    fn temporary_folder(&mut self, workload: &Value, settings: &Settings) {
        let folder = settings.proxy.server.temporary_folder.as_deref();
        let folder = folder.unwrap_or(Path::new("/tmp"));
        let above = |mount: &&Value| {
            let path = Path::new(text(mount, "mountPath"));
            path.is_absolute() && folder.starts_with(path)
        };
        let (writable, volume) = volume(workload, above);
        let limited = !at(volume, "emptyDir/sizeLimit").is_null();
        for (holds, what) in [
            (
                writable,
                "server.temporary_folder is not on a volume that can be written to",
            ),
            (
                !writable || limited,
                "no limit of what is stored in server.temporary_folder (sizeLimit)",
            ),
        ] {
            self.check(holds, title(workload), what);
        }
    }

    fn rollout(&mut self, workload: &Value) {
        let place = title(workload);
        let scaled = of_kind(self.documents, "HorizontalPodAutoscaler").next();
        let replicas = match scaled {
            None => number(workload, "spec/replicas").unwrap_or(1),
            Some(autoscaler) => {
                let none = at(workload, "spec/replicas").is_null();
                self.check(none, &place, "replicas beside an autoscaler");
                number(autoscaler, "spec/minReplicas").unwrap_or(1)
            }
        };
        self.check(replicas >= 2, &place, "one replica alone");
        let strategy = at(workload, "spec/strategy/rollingUpdate");
        let kept = number(strategy, "maxUnavailable") == Some(0);
        self.check(kept, &place, "a rollout may take replicas away first");
        let spread = list(at(workload, POD), "topologySpreadConstraints");
        self.check(
            !spread.is_empty(),
            &place,
            "replicas are not spread over nodes",
        );
        let budgets: Vec<_> = of_kind(self.documents, "PodDisruptionBudget").collect();
        self.check(!budgets.is_empty(), &place, "no PodDisruptionBudget");
        for budget in budgets {
            let always_one = match at(budget, "spec/maxUnavailable") {
                Value::Number(number) => number.as_u64() > Some(0),
                Value::String(share) => !share.starts_with('0'),
                _ => false,
            };
            let sensible = always_one && at(budget, "spec/minAvailable").is_null();
            let what = "may keep a node from being drained for ever";
            self.check(sensible, title(budget), what);
        }
        if let Some(autoscaler) = scaled {
            self.scaling(autoscaler, workload);
        }
    }

    /// Replicas are added where those that there are have much to do, and can have as much.
    fn scaling(&mut self, autoscaler: &Value, workload: &Value) {
        let amount = |path: &str| milli_cpu(at(at(workload, CONTAINER), path));
        let target = at(autoscaler, "spec/metrics/0/resource/target");
        let (Some(request), Some(limit)) = (
            amount("resources/requests/cpu"),
            amount("resources/limits/cpu"),
        ) else {
            return;
        };
        let share = number(target, "averageUtilization").map(|share| request * share / 100);
        let Some(aim) = share.or_else(|| milli_cpu(at(target, "averageValue"))) else {
            self.say(title(autoscaler), "has no target");
            return;
        };
        let what = format!(
            "adds replicas above {aim}m of CPU, where each asks for {request}m and gets {limit}m at most"
        );
        self.check((request..limit).contains(&aim), title(autoscaler), what);
    }

    /// The pods of a node are replaced one after the other where they have a port of it, else side by
    /// side.
    fn daemon_rollout(&mut self, workload: &Value) {
        let ports = list(at(workload, CONTAINER), "ports");
        let on_host = ports.iter().any(|it| !at(it, "hostPort").is_null());
        let strategy = at(workload, "spec/updateStrategy/rollingUpdate");
        let numbers = ["maxUnavailable", "maxSurge"].map(|it| number(strategy, it));
        let (expected, what) = match on_host {
            true => ([Some(1), Some(0)], "a rollout waits for a port of the host"),
            false => ([Some(0), Some(1)], "a rollout may take replicas away first"),
        };
        self.check(numbers == expected, title(workload), what);
    }

    fn pod(&mut self, workload: &Value) {
        let place = title(workload);
        let pod = at(workload, POD);
        for (holds, what) in [
            (
                at(pod, "automountServiceAccountToken").as_bool() == Some(true),
                "automountServiceAccountToken does not say that the token is needed",
            ),
            (
                at(pod, "securityContext/runAsNonRoot").as_bool() == Some(true),
                "may run as root (runAsNonRoot)",
            ),
            (
                number(pod, "securityContext/runAsUser").is_some_and(|user| user > 0),
                "runs as root, or as nobody knows whom (runAsUser)",
            ),
            (
                text(pod, "securityContext/seccompProfile/type") == "RuntimeDefault",
                "any system call (seccompProfile)",
            ),
            (
                ["hostNetwork", "hostPID", "hostIPC"]
                    .iter()
                    .all(|key| at(pod, key).is_null()),
                "shares a namespace of the host",
            ),
            (
                list(pod, "volumes")
                    .iter()
                    .all(|volume| at(volume, "hostPath").is_null()),
                "files of the host (hostPath)",
            ),
            (
                list(pod, "containers").len() == 1 && list(pod, "initContainers").is_empty(),
                "more than one container",
            ),
        ] {
            self.check(holds, &place, what);
        }
    }

    fn container(&mut self, workload: &Value) {
        let place = title(workload);
        let container = at(workload, CONTAINER);
        let security = at(container, "securityContext");
        let image = text(container, "image");
        let tag = image
            .rsplit('/')
            .next()
            .and_then(|name| name.split_once([':', '@']))
            .map_or("", |(_, tag)| tag);
        let dropped = list(security, "capabilities/drop");
        for (holds, what) in [
            (
                !matches!(tag, "" | "latest"),
                "an image without a version of its own",
            ),
            (
                at(security, "allowPrivilegeEscalation").as_bool() == Some(false),
                "may gain rights (allowPrivilegeEscalation)",
            ),
            (
                at(security, "readOnlyRootFilesystem").as_bool() == Some(true),
                "may write to its image (readOnlyRootFilesystem)",
            ),
            (at(security, "privileged").is_null(), "is privileged"),
            (
                dropped.iter().any(|it| it.as_str() == Some("ALL"))
                    && list(security, "capabilities/add").is_empty(),
                "has capabilities",
            ),
            (
                ["runAsUser", "runAsNonRoot", "seccompProfile"]
                    .iter()
                    .all(|key| at(security, key).is_null()),
                "overrides the pod's security settings",
            ),
        ] {
            self.check(holds, &place, what);
        }
        for kind in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                let amount = at(container, &format!("resources/{kind}/{resource}"));
                let what = format!("no {kind} of {resource}");
                self.check(!amount.is_null(), &place, what);
            }
        }
        for (variable, field) in [
            ("POD_NAME", "metadata.name"),
            ("POD_NAMESPACE", "metadata.namespace"),
            ("POD_UID", "metadata.uid"),
            ("POD_IP", "status.podIP"),
        ] {
            let given = list(container, "env").iter().any(|it| {
                text(it, "name") == variable && text(it, "valueFrom/fieldRef/fieldPath") == field
            });
            let what = format!("{variable} is not {field}");
            self.check(given, &place, what);
        }
    }

    fn probes(&mut self, workload: &Value) {
        for (probe, path) in [
            ("startupProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
            ("readinessProbe", "/readyz"),
        ] {
            let get = at(at(workload, CONTAINER), &format!("{probe}/httpGet"));
            let right = text(get, "path") == path && text(get, "port") == "admin";
            let what = format!("{probe} does not ask for {path} on port admin");
            self.check(right, title(workload), what);
        }
    }

    /// What takes statuses back before all is deleted: with the rights and the settings of the pods, and
    /// no traffic.
    fn job(&mut self, job: &Value, workload: &Value) {
        let of = |object, path: &str| at(at(object, POD), path).clone();
        let args = list(at(job, CONTAINER), "args");
        let volumes = list(at(job, POD), "volumes");
        let those_of_the_pods = list(at(workload, POD), "volumes");
        for (holds, what) in [
            (
                text(job, "metadata/annotations/helm.sh~1hook") == "pre-delete",
                "does not run before all is deleted",
            ),
            (
                args.first().and_then(Value::as_str) == Some("withdraw"),
                "does something else than to withdraw",
            ),
            (
                of(job, "serviceAccountName") == of(workload, "serviceAccountName")
                    && !volumes.is_empty()
                    && volumes.iter().all(|it| those_of_the_pods.contains(it)),
                "has not the rights and the settings of the pods",
            ),
            (
                number(job, "spec/activeDeadlineSeconds").is_some(),
                "may keep a deletion waiting for ever",
            ),
        ] {
            self.check(holds, title(job), what);
        }
        let labels = at(job, "spec/template/metadata/labels");
        let name = labels.get("app.kubernetes.io/name");
        let served = at(workload, "spec/selector/matchLabels").get("app.kubernetes.io/name");
        self.check(
            name != served,
            title(job),
            "gets traffic like the pods that serve",
        );
    }

    /// Whatever selects pods selects these.
    fn selectors(&mut self, workload: &Value) {
        let labels = at(workload, "spec/template/metadata/labels");
        let selects = |selector: &Value| {
            selector.as_mapping().is_some_and(|it| {
                !it.is_empty()
                    && it
                        .iter()
                        .all(|(name, value)| labels.get(name) == Some(value))
            })
        };
        let own = (workload, at(workload, "spec/selector/matchLabels"));
        let spread = list(at(workload, POD), "topologySpreadConstraints")
            .iter()
            .map(|it| (workload, at(it, "labelSelector/matchLabels")));
        let others = [
            ("Service", "spec/selector"),
            ("PodDisruptionBudget", "spec/selector/matchLabels"),
            ("NetworkPolicy", "spec/podSelector/matchLabels"),
        ];
        let others = others.iter().flat_map(|(kind, path)| {
            of_kind(self.documents, kind).map(move |object| (object, at(object, path)))
        });
        let all: Vec<_> = [own].into_iter().chain(spread).chain(others).collect();
        for (object, selector) in all {
            let near = namespace(object) == namespace(workload);
            self.check(
                near && selects(selector),
                title(object),
                "does not select the pods",
            );
        }
        for autoscaler in of_kind(self.documents, "HorizontalPodAutoscaler") {
            let target = at(autoscaler, "spec/scaleTargetRef");
            let right = text(target, "kind") == "Deployment"
                && text(target, "name") == text(workload, "metadata/name");
            self.check(right, title(autoscaler), "scales something else");
        }
    }
}

/// An amount of CPU in thousandths.
fn milli_cpu(amount: &Value) -> Option<u64> {
    match amount {
        Value::String(text) => match text.strip_suffix('m') {
            Some(thousandths) => thousandths.parse().ok(),
            None => text
                .parse::<f64>()
                .ok()
                .map(|whole| (whole * 1000.0) as u64),
        },
        number => number.as_f64().map(|whole| (whole * 1000.0) as u64),
    }
}

fn is_daemon_set(workload: &Value) -> bool {
    text(workload, "kind") == "DaemonSet"
}

/// The pod that a Deployment or a DaemonSet makes.
const POD: &str = "spec/template/spec";

/// Its only container.
const CONTAINER: &str = "spec/template/spec/containers/0";

/// Where a permission belongs; `None` where Ferrix does not need it.
fn asked(group: &str, resource: &str, verb: &str) -> Option<Scope> {
    ASKED
        .iter()
        .find(|it| it.0 == group && it.1 == resource && it.2.contains(&verb))
        .map(|it| it.3)
}

/// What a role grants, each combination by itself: group, resource, verb.
fn grants(role: &Value) -> impl Iterator<Item = (&str, &str, &str)> {
    list(role, "rules").iter().flat_map(|rule| {
        texts(rule, "apiGroups").flat_map(move |group| {
            texts(rule, "resources").flat_map(move |resource| {
                texts(rule, "verbs").map(move |verb| (group, resource, verb))
            })
        })
    })
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    documents
        .iter()
        .filter(move |document| text(document, "kind") == kind)
}

fn find<'a>(
    documents: &'a [Value],
    kind: &str,
    in_namespace: &str,
    name: &str,
) -> Option<&'a Value> {
    of_kind(documents, kind)
        .find(|it| namespace(it) == in_namespace && text(it, "metadata/name") == name)
}

fn title(object: &Value) -> String {
    let (kind, name) = (text(object, "kind"), text(object, "metadata/name"));
    match namespace(object) {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

/// Empty for an object of the whole cluster.
fn namespace(object: &Value) -> &str {
    text(object, "metadata/namespace")
}

/// What is at a path such as `spec/ports/0/name`; null where there is nothing.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |value, key| {
        match key.parse::<usize>() {
            Ok(index) => value.get(index),
            // `~1` stands for a slash, as in JSON pointers.
            Err(_) => value.get(key.replace("~1", "/")),
        }
        .unwrap_or(&Value::Null)
    })
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

fn number(value: &Value, path: &str) -> Option<u64> {
    at(value, path).as_u64()
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_sequence().map_or(&[], Vec::as_slice)
}

fn texts<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a str> {
    list(value, path).iter().filter_map(Value::as_str)
}

/// The volume that a mount is of, and whether it can be written to there.
fn volume(workload: &Value, is_it: impl Fn(&&Value) -> bool) -> (bool, &Value) {
    let mounts = list(at(workload, CONTAINER), "volumeMounts");
    let Some(mount) = mounts.iter().find(is_it) else {
        return (false, &Value::Null);
    };
    let mut volumes = list(at(workload, POD), "volumes").iter();
    let volume = volumes.find(|it| text(mount, "name") == text(it, "name"));
    let writable = at(mount, "readOnly").is_null();
    (writable, volume.unwrap_or(&Value::Null))
}
