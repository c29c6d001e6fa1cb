//! The manifests and the chart that install Ferrix hold what they promise, and the rules that say so
//! can fail. What needs Helm is ignored; `charts/check` runs it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    process::{Command, Output},
};

use ferrix::Settings;
use ferrix_e2e::deploy::{documents, lint, settings_text};
use serde_yaml_ng::Value;

const MANIFESTS: &str = "../../deploy/ferrix.yaml";
const CHART: &str = "../../charts/ferrix";

fn manifests() -> String {
    fs::read_to_string(MANIFESTS).unwrap()
}

#[test]
fn nothing_is_wrong_with_the_manifests() {
    assert_eq!(lint(&documents(&manifests())), [""; 0]);
}

#[test]
fn settings_are_those_of_the_documents() {
    let documents = documents(&manifests());
    let text = settings_text(&documents, "ferrix", "ferrix").unwrap();
    let settings = Settings::parse("ConfigMap", text).unwrap();
    let entry_points: Vec<_> = (settings.entry_points.iter())
        .map(|it| (&*it.name, it.port, it.secure))
        .collect();
    assert_eq!(
        entry_points,
        [("web", 6190, false), ("websecure", 6191, true)]
    );
    let kubernetes = settings.source.kubernetes.unwrap();
    let folder = kubernetes.snapshot_folder.unwrap();
    assert_eq!(folder.to_str(), Some("/run/ferrix/snapshot"));
    assert_eq!(settings.admin.address.to_string(), "[::]:6192");
}

/// What stands in the manifests, what to put in its place, and what must be said about that.
const BROKEN: &[(&str, &str, &str)] = &[
    // Permissions.
    (
        "verbs: [create]\n",
        "verbs: ['*']\n",
        "ClusterRole ferrix: a wildcard: * events of \"events.k8s.io\"",
    ),
    (
        "resources: [services, namespaces]",
        "resources: ['*']",
        "ClusterRole ferrix: a wildcard: list * of \"\"",
    ),
    (
        "apiGroups: [discovery.k8s.io]",
        "apiGroups: ['*']",
        "ClusterRole ferrix: a wildcard: watch endpointslices of \"*\"",
    ),
    (
        "verbs: [patch]",
        "verbs: [patch, update]",
        "ClusterRole ferrix: Ferrix does not need to update backendpolicies/status",
    ),
    (
        "filters/status, ingressroutes/status]",
        "filters/status, ingressroutes/status, ingressroutes]",
        "ClusterRole ferrix: Ferrix does not need to patch ingressroutes",
    ),
    (
        "resources: [services, namespaces]",
        "resources: [services, namespaces, pods]",
        "ClusterRole ferrix: Ferrix does not need to watch pods",
    ),
    (
        "resources: [services, namespaces]",
        "resources: [services, namespaces, secrets]",
        "ClusterRoleBinding ferrix: grants to list secrets in all namespaces",
    ),
    (
        "resources: [secrets, configmaps]\n    verbs: [list, watch]",
        "resources: [secrets, configmaps]\n    verbs: [get, list, watch]",
        "ClusterRole ferrix-secrets: Ferrix does not need to get secrets",
    ),
    (
        "kind: ClusterRoleBinding\nmetadata:\n  name: ferrix\n",
        "kind: ClusterRoleBinding\nmetadata: {name: all}\nroleRef: {kind: ClusterRole, name: \
         ferrix-secrets}\nsubjects: [{kind: ServiceAccount, name: ferrix, namespace: ferrix}]\n\
         ---\nkind: ClusterRoleBinding\nmetadata:\n  name: ferrix\n",
        "ClusterRoleBinding all: grants to watch secrets in all namespaces",
    ),
    (
        "kind: ClusterRole\n  name: ferrix\n",
        "kind: ClusterRole\n  name: cluster-admin\n",
        "ClusterRoleBinding ferrix: binds ClusterRole cluster-admin, which is not here",
    ),
    (
        "subjects:\n",
        "subjects:\n  - {kind: Group, name: 'system:authenticated'}\n",
        "ClusterRoleBinding ferrix: binds others than the ServiceAccount ferrix/ferrix",
    ),
    (
        "rules:\n",
        "aggregationRule: {}\nrules:\n  - {nonResourceURLs: [/metrics], verbs: [get]}\n",
        "ClusterRole ferrix: grants URLs",
    ),
    (
        "rules:\n",
        "aggregationRule: {clusterRoleSelectors: []}\nrules:\n",
        "ClusterRole ferrix: grants what is written elsewhere",
    ),
    (
        "apiGroups: [events.k8s.io]\n    resources: [events]\n    verbs: [create]",
        "apiGroups: [coordination.k8s.io]\n    resources: [leases]\n    verbs: [update]",
        "ClusterRoleBinding ferrix: grants to update leases in all namespaces",
    ),
    (
        "apiGroups: [discovery.k8s.io]\n    resources: [endpointslices]\n    verbs: [list, watch]",
        "apiGroups: [discovery.k8s.io]\n    resources: [endpointslices]\n    verbs: [list]",
        "ServiceAccount ferrix/ferrix: may not watch endpointslices of \"discovery.k8s.io\" in all \
         namespaces",
    ),
    (
        "verbs: [list, watch, create, patch, update, delete]",
        "verbs: [list, watch, create, update, delete]",
        "ServiceAccount ferrix/ferrix: may not patch leases of \"coordination.k8s.io\" in ferrix",
    ),
    (
        "verbs: [list, watch, create, delete]",
        "verbs: [list, watch, create]",
        "ServiceAccount ferrix/ferrix: may not delete controllerrevisions of \"apps\" in ferrix",
    ),
    (
        "verbs: [list, watch, create, delete]\n",
        "verbs: [list, watch, create, delete]\n  - apiGroups: ['']\n    resources: [services]\n    \
         verbs: [create]\n",
        "RoleBinding ferrix/ferrix-leases: grants to create services in ferrix",
    ),
    (
        "verbs: [list, watch, create, delete]",
        "verbs: [list, watch, create, update, delete]",
        "Role ferrix/ferrix-leases: Ferrix does not need to update controllerrevisions",
    ),
    (
        "      kubernetes:\n",
        "      namespaces: [shop]\n      kubernetes:\n",
        "ClusterRoleBinding ferrix: grants to list ingressroutes in all namespaces",
    ),
    // Settings.
    (
        "    admin:\n",
        "    amdin:\n",
        "ConfigMap ferrix:15: amdin: unknown key \"amdin\"",
    ),
    (
        "\"[::]:6192\"",
        "\"127.0.0.1:6192\"",
        "Deployment ferrix/ferrix: admin.address is out of reach for the kubelet",
    ),
    (
        "  ferrix.yaml: |",
        "  ferrix.yml: |",
        "Deployment ferrix/ferrix: there is no ConfigMap ferrix with a key ferrix.yaml",
    ),
    (
        "mountPath: /etc/ferrix",
        "mountPath: /etc",
        "Deployment ferrix/ferrix: no ConfigMap is mounted at /etc/ferrix",
    ),
    (
        "        port: 6190",
        "        port: 7000",
        "Deployment ferrix/ferrix: no container port web with number 7000",
    ),
    (
        "      - name: websecure\n        port: 6191\n        exposed_port: 443\n        \
         secure: true\n",
        "",
        "Service ferrix/ferrix: targetPort String(\"websecure\") is no entry point",
    ),
    (
        "targetPort: websecure",
        "targetPort: admin",
        "Service ferrix/ferrix: shows the admin page to the outside",
    ),
    (
        "  - apiGroups: [ferrix.com]\n",
        "  - apiGroups: [ferrix.com]\n    resources: [ingressroutes]\n    verbs: [deletecollection]\n\
         \x20 - apiGroups: [ferrix.com]\n",
        "ClusterRole ferrix: Ferrix does not need to deletecollection ingressroutes",
    ),
    // The pod.
    (
        "serviceAccountName: ferrix",
        "serviceAccountName: default",
        "Deployment ferrix/ferrix: there is no ServiceAccount \"default\"",
    ),
    (
        "automountServiceAccountToken: true",
        "automountServiceAccountToken: false",
        "Deployment ferrix/ferrix: automountServiceAccountToken",
    ),
    (
        "runAsNonRoot: true",
        "runAsNonRoot: false",
        "Deployment ferrix/ferrix: may run as root",
    ),
    (
        "runAsUser: 65532",
        "runAsUser: 0",
        "Deployment ferrix/ferrix: runs as root",
    ),
    (
        "type: RuntimeDefault",
        "type: Unconfined",
        "Deployment ferrix/ferrix: any system call",
    ),
    (
        "enableServiceLinks: false",
        "hostNetwork: true",
        "Deployment ferrix/ferrix: shares a namespace of the host",
    ),
    (
        "      volumes:\n",
        "      volumes:\n        - {name: host, hostPath: {path: /}}\n",
        "Deployment ferrix/ferrix: files of the host",
    ),
    (
        "      containers:\n",
        "      initContainers: [{name: init}]\n      containers:\n",
        "Deployment ferrix/ferrix: more than one container",
    ),
    (
        "image: ferrix:0.1.0",
        "image: ferrix:latest",
        "Deployment ferrix/ferrix: an image without a version",
    ),
    (
        "image: ferrix:0.1.0",
        "image: example.com:5000/ferrix",
        "Deployment ferrix/ferrix: an image without a version",
    ),
    (
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
        "Deployment ferrix/ferrix: may gain rights",
    ),
    (
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "Deployment ferrix/ferrix: may write to its image",
    ),
    (
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: true\n            privileged: true",
        "Deployment ferrix/ferrix: is privileged",
    ),
    (
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: true\n            runAsUser: 0",
        "Deployment ferrix/ferrix: overrides the pod's security settings",
    ),
    (
        "drop: [ALL]",
        "drop: [NET_RAW]",
        "Deployment ferrix/ferrix: has capabilities",
    ),
    (
        "drop: [ALL]",
        "drop: [ALL]\n              add: [NET_ADMIN]",
        "Deployment ferrix/ferrix: has capabilities",
    ),
    (
        "containerPort: 6190",
        "containerPort: 6190\n              hostPort: 80",
        "Deployment ferrix/ferrix: a port of the host",
    ),
    (
        "              memory: 512Mi\n",
        "",
        "Deployment ferrix/ferrix: no limits of memory",
    ),
    (
        "              cpu: 100m\n",
        "",
        "Deployment ferrix/ferrix: no requests of cpu",
    ),
    (
        "fieldPath: metadata.uid",
        "fieldPath: metadata.name",
        "Deployment ferrix/ferrix: POD_UID is not metadata.uid",
    ),
    // Probes, and the end.
    (
        "startupProbe:",
        "oldProbe:",
        "Deployment ferrix/ferrix: startupProbe does not ask for /healthz",
    ),
    (
        "livenessProbe:\n            httpGet:\n              path: /healthz",
        "livenessProbe:\n            httpGet:\n              path: /readyz",
        "Deployment ferrix/ferrix: livenessProbe does not ask for /healthz",
    ),
    (
        "path: /readyz\n              port: admin",
        "path: /readyz\n              port: web",
        "Deployment ferrix/ferrix: readinessProbe does not ask for /readyz on port admin",
    ),
    (
        "terminationGracePeriodSeconds: 40",
        "terminationGracePeriodSeconds: 30",
        "Deployment ferrix/ferrix: terminationGracePeriodSeconds 30 is not above 30s",
    ),
    (
        "      terminationGracePeriodSeconds: 40\n",
        "",
        "Deployment ferrix/ferrix: terminationGracePeriodSeconds 30 is not above 30s",
    ),
    (
        "    admin:\n",
        "    server: {drain_timeout: 1m}\n    admin:\n",
        "Deployment ferrix/ferrix: terminationGracePeriodSeconds 40 is not above 70s",
    ),
    (
        "              sleep:\n                seconds: 5",
        "              exec:\n                command: [sleep, '5']",
        "Deployment ferrix/ferrix: no preStop of the kubelet's own",
    ),
    // The snapshot.
    (
        "mountPath: /run/ferrix\n",
        "mountPath: /run/ferrix/snapshot\n",
        "Deployment ferrix/ferrix: source.kubernetes.snapshot_folder is not below a volume",
    ),
    (
        "mountPath: /run/ferrix\n",
        "mountPath: /run/ferrix\n              readOnly: true\n",
        "Deployment ferrix/ferrix: source.kubernetes.snapshot_folder is not below a volume",
    ),
    (
        "snapshot_folder: /run/ferrix/snapshot",
        "snapshot_folder: /snapshot",
        "Deployment ferrix/ferrix: source.kubernetes.snapshot_folder is not below a volume",
    ),
    (
        "            medium: Memory\n",
        "",
        "Deployment ferrix/ferrix: the snapshot, which holds keys, is not kept in memory",
    ),
    (
        "            sizeLimit: 64Mi\n",
        "",
        "Deployment ferrix/ferrix: no limit of the memory of the snapshot",
    ),
    // Bodies that are stored.
    (
        "mountPath: /tmp\n",
        "mountPath: /scratch\n",
        "Deployment ferrix/ferrix: server.temporary_folder is not on a volume",
    ),
    (
        "mountPath: /tmp\n",
        "mountPath: /tmp\n              readOnly: true\n",
        "Deployment ferrix/ferrix: server.temporary_folder is not on a volume",
    ),
    (
        "    admin:\n",
        "    server: {temporary_folder: /var/tmp}\n    admin:\n",
        "Deployment ferrix/ferrix: server.temporary_folder is not on a volume",
    ),
    (
        "            sizeLimit: 1Gi\n",
        "            medium: ''\n",
        "Deployment ferrix/ferrix: no limit of what is stored in server.temporary_folder",
    ),
    // Replicas, and who finds them.
    (
        "replicas: 2",
        "replicas: 1",
        "Deployment ferrix/ferrix: one replica alone",
    ),
    (
        "maxUnavailable: 0",
        "maxUnavailable: 25%",
        "Deployment ferrix/ferrix: a rollout may take replicas away first",
    ),
    (
        "topologySpreadConstraints:",
        "spread:",
        "Deployment ferrix/ferrix: replicas are not spread over nodes",
    ),
    (
        "kind: PodDisruptionBudget",
        "kind: PodPreset",
        "Deployment ferrix/ferrix: no PodDisruptionBudget",
    ),
    (
        "maxUnavailable: 1",
        "maxUnavailable: 0",
        "PodDisruptionBudget ferrix/ferrix: may keep a node from being drained for ever",
    ),
    (
        "maxUnavailable: 1",
        "maxUnavailable: 0%",
        "PodDisruptionBudget ferrix/ferrix: may keep a node from being drained for ever",
    ),
    (
        "maxUnavailable: 1",
        "minAvailable: 1",
        "PodDisruptionBudget ferrix/ferrix: may keep a node from being drained for ever",
    ),
    (
        "    matchLabels:\n      app.kubernetes.io/name: ferrix\n",
        "    matchLabels:\n      app.kubernetes.io/name: other\n",
        "Deployment ferrix/ferrix: does not select the pods",
    ),
    (
        "            matchLabels:\n              app.kubernetes.io/name: ferrix\n",
        "            matchLabels:\n              app.kubernetes.io/name: other\n",
        "Deployment ferrix/ferrix: does not select the pods",
    ),
    (
        "  selector:\n    app.kubernetes.io/name: ferrix\n",
        "  selector:\n    app.kubernetes.io/name: other\n",
        "Service ferrix/ferrix: does not select the pods",
    ),
    (
        "AlwaysAllow\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: ferrix\n",
        "AlwaysAllow\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: other\n",
        "PodDisruptionBudget ferrix/ferrix: does not select the pods",
    ),
    // What only the chart has.
    (
        "apiVersion: policy/v1\n",
        "kind: NetworkPolicy\nmetadata: {name: in, namespace: ferrix}\nspec: {podSelector: \
         {matchLabels: {app.kubernetes.io/name: ferrix}}, ingress: [{ports: [{port: 80}]}]}\n\
         ---\napiVersion: policy/v1\n",
        "NetworkPolicy ferrix/in: lets in to a port that nobody has",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: NetworkPolicy\nmetadata: {name: in, namespace: ferrix}\nspec: {podSelector: {}}\n\
         ---\napiVersion: policy/v1\n",
        "NetworkPolicy ferrix/in: does not select the pods",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: HorizontalPodAutoscaler\nmetadata: {name: cpu, namespace: ferrix}\nspec: \
         {minReplicas: 2}\n---\napiVersion: policy/v1\n",
        "Deployment ferrix/ferrix: replicas beside an autoscaler",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: HorizontalPodAutoscaler\nmetadata: {name: cpu, namespace: ferrix}\nspec: \
         {scaleTargetRef: {kind: Deployment, name: web}}\n---\napiVersion: policy/v1\n",
        "HorizontalPodAutoscaler ferrix/cpu: scales something else",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: Job\nmetadata: {name: end, namespace: ferrix, annotations: {helm.sh/hook: post-delete}}\nspec: {template: {spec: \
         {serviceAccountName: ferrix}}}\n---\napiVersion: policy/v1\n",
        "Job ferrix/end: does not run before all is deleted",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: Job\nmetadata: {name: end, namespace: ferrix}\nspec: {template: {spec: \
         {serviceAccountName: ferrix}}}\n---\napiVersion: policy/v1\n",
        "Job ferrix/end: does something else than to withdraw",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: Job\nmetadata: {name: end, namespace: ferrix}\nspec: {template: {spec: \
         {serviceAccountName: ferrix}}}\n---\napiVersion: policy/v1\n",
        "Job ferrix/end: has not the rights and the settings of the pods",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: Job\nmetadata: {name: end, namespace: ferrix}\nspec: {template: {spec: \
         {serviceAccountName: ferrix}}}\n---\napiVersion: policy/v1\n",
        "Job ferrix/end: may keep a deletion waiting",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: Job\nmetadata: {name: end, namespace: ferrix}\nspec: {template: {spec: \
         {serviceAccountName: ferrix}}}\n---\napiVersion: policy/v1\n",
        "Job ferrix/end: may run as root",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: Job\nmetadata: {name: end, namespace: ferrix}\nspec: {template: {metadata: {labels: \
         {app.kubernetes.io/name: ferrix}}}}\n---\napiVersion: policy/v1\n",
        "Job ferrix/end: gets traffic like the pods that serve",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: HorizontalPodAutoscaler\nmetadata: {name: cpu, namespace: ferrix}\nspec: \
         {metrics: [{resource: {target: {averageUtilization: 70}}}]}\n---\napiVersion: policy/v1\n",
        "HorizontalPodAutoscaler ferrix/cpu: adds replicas above 70m of CPU, where each asks for \
         100m and gets 2000m at most",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: HorizontalPodAutoscaler\nmetadata: {name: cpu, namespace: ferrix}\nspec: \
         {metrics: [{resource: {target: {averageValue: 2}}}]}\n---\napiVersion: policy/v1\n",
        "HorizontalPodAutoscaler ferrix/cpu: adds replicas above 2000m of CPU",
    ),
    (
        "apiVersion: policy/v1\n",
        "kind: HorizontalPodAutoscaler\nmetadata: {name: cpu, namespace: ferrix}\nspec: {}\n\
         ---\napiVersion: policy/v1\n",
        "HorizontalPodAutoscaler ferrix/cpu: has no target",
    ),
    (
        "kind: Deployment",
        "kind: StatefulSet",
        "Deployment or DaemonSet: expected one, found 0",
    ),
    (
        "kind: Deployment",
        "kind: DaemonSet",
        "DaemonSet ferrix/ferrix: a rollout may take replicas away first",
    ),
    (
        "kind: Deployment\n",
        "kind: DaemonSet\n---\nkind: Deployment\n",
        "Deployment or DaemonSet: expected one, found 2",
    ),
];

#[test]
fn each_rule_finds_what_it_is_for() {
    let manifests = manifests();
    let mut ran = 0;
    for (sound, broken, expected) in BROKEN {
        assert!(manifests.contains(sound), "{sound:?} is not in {MANIFESTS}");
        let findings = lint(&documents(&manifests.replacen(sound, broken, 1)));
        let found = findings.iter().any(|it| it.starts_with(expected));
        assert!(
            found,
            "{broken:?}: expected {expected:?}, found {findings:#?}"
        );
        ran += 1;
    }
    assert_eq!(ran, 91);
}

/// Whoever makes it, by whichever way.
#[test]
fn the_image_is_made_by_the_name_that_the_manifests_give_it() {
    let manifests = manifests();
    let image = manifests
        .lines()
        .find_map(|it| it.trim().strip_prefix("image: "));
    let image = image.unwrap();
    assert_eq!(image, ferrix_e2e::cluster::IMAGE);
    let whole = format!("docker.io/library/{image}");
    for (file, name) in [
        ("deploy/image", image),
        ("deploy/example.yaml", image),
        ("README.md", image),
        ("README.md", &whole),
        ("Containerfile", &whole),
    ] {
        let text = fs::read_to_string(format!("../../{file}")).unwrap();
        assert!(text.contains(name), "{file} does not name {name}");
    }
}

#[test]
fn the_chart_has_the_definitions_of_the_kinds() {
    let mut copied = 0;
    for entry in fs::read_dir("../../crds/k8s").unwrap() {
        let source = entry.unwrap().path();
        let name = source.file_name().unwrap().to_str().unwrap();
        let copy = format!("{CHART}/crds/{name}");
        if std::env::var_os("FERRIX_REFRESH").is_some() {
            fs::copy(&source, &copy).unwrap();
        }
        assert!(
            fs::read(&source).unwrap() == fs::read(&copy).unwrap_or_default(),
            "{copy} is not {}; refresh it with FERRIX_REFRESH=1",
            source.display(),
        );
        copied += 1;
    }
    assert_eq!(copied, 3);
    assert_eq!(
        fs::read_dir(format!("{CHART}/crds")).unwrap().count(),
        copied
    );
}

fn helm(values: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    Command::new(std::env::var_os("HELM").unwrap_or("helm".into()))
        .args([
            "template",
            "ferrix",
            CHART,
            "--namespace=ferrix",
            "--values",
        ])
        .arg(&file)
        .output()
        .expect("helm, on PATH or as $HELM")
}

/// What the chart makes of these values: as text, and read.
fn rendered(values: &str) -> (String, Vec<Value>) {
    let output = helm(values);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{values}: {error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = documents(&text);
    (text, documents)
}

/// The objects, in an order of their own, without what only one of both ways to install has.
fn comparable(documents: Vec<Value>) -> Vec<String> {
    let mut objects: Vec<_> = documents
        .into_iter()
        .filter(|object| object["kind"] != "Namespace")
        .map(|mut object| {
            if let Some(labels) = object["metadata"]["labels"].as_mapping_mut() {
                labels.remove("app.kubernetes.io/managed-by");
                labels.remove("helm.sh/chart");
            }
            if object["kind"] == "Deployment" {
                let pod = object["spec"]["template"]["metadata"].as_mapping_mut();
                pod.unwrap().remove("annotations");
            }
            if object["kind"] == "ConfigMap" {
                let settings = &mut object["data"]["ferrix.yaml"];
                *settings = serde_yaml_ng::from_str(settings.as_str().unwrap()).unwrap();
            }
            let title = format!(
                "{:?} {:?} {:?}",
                object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]
            );
            // Keys in order.
            let object = serde_json::to_value(object).unwrap();
            format!("{title} {object:#}")
        })
        .collect();
    objects.sort();
    objects
}

#[test]
#[ignore = "needs Helm: charts/check"]
fn the_chart_makes_the_objects_of_the_manifests() {
    // Before `kubectl delete` somebody withdraws by hand.
    let chart = comparable(rendered("withdrawOnUninstall: false").1);
    let manifests = comparable(documents(&manifests()));
    assert_eq!(manifests.len(), 13);
    for (chart, manifest) in chart.iter().zip(&manifests) {
        assert!(chart == manifest, "chart: {chart}\nmanifests: {manifest}");
    }
    assert_eq!(chart.len(), manifests.len());
}

/// Values, what the rules say about them, and what else must be in what they make.
const VALUES: &[(&str, &[&str], &[&str])] = &[
    ("replicas: 3", &[], &["replicas: 3"]),
    (
        "withdrawOnUninstall: true",
        &[],
        &[
            "kind: Job",
            "helm.sh/hook: pre-delete",
            "args: [withdraw, --config, /etc/ferrix/ferrix.yaml]",
        ],
    ),
    (
        "replicas: 1",
        &["Deployment ferrix/ferrix: one replica alone"],
        &["maxUnavailable: 1"],
    ),
    (
        "podDisruptionBudget: {maxUnavailable: 25%}",
        &[],
        &["maxUnavailable: 25%"],
    ),
    (
        "autoscaling: {enabled: true, maxReplicas: 5}",
        &[],
        &[
            "kind: HorizontalPodAutoscaler",
            "maxReplicas: 5",
            "averageValue: 1400m",
        ],
    ),
    (
        "{autoscaling: {enabled: true, targetCPUUtilizationPercentage: 50}, \
         resources: {limits: {cpu: 1.5}}}",
        &[],
        &["averageValue: 750m"],
    ),
    (
        "{autoscaling: {enabled: true}, resources: {limits: {cpu: 500m}}}",
        &[],
        &["averageValue: 350m"],
    ),
    (
        "{autoscaling: {enabled: true}, resources: null, withdrawOnUninstall: false}",
        &[
            "Deployment ferrix/ferrix: no requests of cpu",
            "Deployment ferrix/ferrix: no requests of memory",
            "Deployment ferrix/ferrix: no limits of cpu",
            "Deployment ferrix/ferrix: no limits of memory",
        ],
        &["averageUtilization: 70"],
    ),
    (
        "{autoscaling: {enabled: true}, resources: {limits: {cpu: null}}, withdrawOnUninstall: false}",
        &["Deployment ferrix/ferrix: no limits of cpu"],
        &["averageUtilization: 70"],
    ),
    (
        "{kind: DaemonSet, service: {type: ClusterIP}, entryPoints: [{name: web, port: 8080, \
         servicePort: 80, hostPort: 80}]}",
        &[],
        &[
            "kind: DaemonSet",
            "containerPort: 8080\n              hostPort: 80",
            "maxSurge: 0",
        ],
    ),
    ("kind: DaemonSet", &[], &["kind: DaemonSet", "maxSurge: 1"]),
    (
        "image: {repository: example.com/ferrix, digest: \
         'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}",
        &[],
        &["image: example.com/ferrix@sha256:e3b0c442"],
    ),
    (
        "{extraVolumes: [{name: tls, secret: {secretName: site}}], \
         extraVolumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]}",
        &[],
        &[
            "- name: tls\n          secret:\n            secretName: site",
            "- mountPath: /tls\n              name: tls\n              readOnly: true",
        ],
    ),
    (
        "{extraVolumes: [{name: root, hostPath: {path: /}}], withdrawOnUninstall: false}",
        &["Deployment ferrix/ferrix: files of the host (hostPath)"],
        &[],
    ),
    (
        "serviceAccount: {annotations: {example.com/role: ferrix}}",
        &[],
        &["annotations:\n    example.com/role: ferrix"],
    ),
    (
        "image: {repository: example.com/proxies/ferrix, tag: 0.2.0}\nimagePullSecrets: [{name: key}]",
        &[],
        &[
            "image: example.com/proxies/ferrix:0.2.0",
            "imagePullSecrets:\n        - name: key",
        ],
    ),
    (
        "entryPoints:\n\
         - {name: web, port: 8080, servicePort: 8000, proxyProtocol: [10.0.0.0/8]}\n\
         - {name: secure-2, port: 8443, servicePort: 443, nodePort: 30443, secure: true}",
        &[],
        &[
            "containerPort: 8080",
            "port: 8000",
            "proxy_protocol:\n      - 10.0.0.0/8",
            "nodePort: 30443",
            "targetPort: secure-2",
        ],
    ),
    (
        "settings: {access_log: {format: json}, limits: {connections: 1000000}, \
         source: {allow_external_name: true}}",
        &[],
        &[
            "format: json",
            "connections: 1000000",
            "allow_external_name: true\n      kubernetes:\n        publish_service: ferrix/ferrix\n        \
             snapshot_folder: /run/ferrix/snapshot",
        ],
    ),
    (
        "settings: {hosts: {first_claim: true, allowed: [{labels: {team: a}, hosts: ['*.a.test']}]}}",
        &[],
        &["first_claim: true", "labels:\n          team: a"],
    ),
    ("settings:", &[], &[]),
    (
        "settings: {server: {drain_timeout: 60s}}",
        &[
            "Deployment ferrix/ferrix: terminationGracePeriodSeconds 40 is not above 70s: preStop, \
             server.drain_delay and server.drain_timeout",
        ],
        &[],
    ),
    (
        "{settings: {server: {drain_timeout: 60s}}, preStopSeconds: 10, \
         terminationGracePeriodSeconds: 90}",
        &[],
        &["seconds: 10"],
    ),
    ("ingressClass: internal", &[], &["ingress_class: internal"]),
    (
        "secrets: {namespaces: [shop, ferrix, '123']}",
        &[],
        &["namespace: \"shop\"", "namespace: \"123\""],
    ),
    (
        "secrets: {clusterWide: true}",
        &[
            "ClusterRoleBinding ferrix-secrets: grants to list secrets in all namespaces",
            "ClusterRoleBinding ferrix-secrets: grants to watch secrets in all namespaces",
            "ClusterRoleBinding ferrix-secrets: grants to list configmaps in all namespaces",
            "ClusterRoleBinding ferrix-secrets: grants to watch configmaps in all namespaces",
        ],
        &["        secrets: cluster"],
    ),
    (
        "{namespaces: [shop, blog], secrets: {namespaces: [shop]}}",
        &[],
        &["namespaces:\n      - shop\n      - blog"],
    ),
    ("{namespaces: [shop], secrets: {namespaces: []}}", &[], &[]),
    (
        "{ingressClass: inner}",
        &[],
        &["controller: ferrix.com/gateway-controller-inner"],
    ),
    (
        "{ingressClass: inner, settings: {gateway: {controller: example.com/ours}}}",
        &[],
        &["controller: example.com/ours"],
    ),
    (
        "{ingressClass: inner, gatewayServices: {enabled: true, annotations: {a: b}, \
         spec: {type: ClusterIP, ipFamilyPolicy: PreferDualStack}}, networkPolicy: {enabled: true}}",
        &[],
        &[
            "controller: ferrix.com/gateway-controller-inner\n      services:\n        annotations:\n          \
             a: b\n        spec:\n          ipFamilyPolicy: PreferDualStack\n          selector:\n            \
             app.kubernetes.io/instance: ferrix\n            app.kubernetes.io/name: ferrix\n          \
             type: ClusterIP",
            "name: ferrix-gateways",
            "verbs: [create, patch, delete]",
            "endPort: 19999",
        ],
    ),
    // As in docs/gateway-api.md.
    (
        "gatewayServices:\n  enabled: true\n  spec: {type: LoadBalancer, externalTrafficPolicy: Local}",
        &[],
        &["externalTrafficPolicy: Local"],
    ),
    (
        "{gatewayServices: {enabled: true}, entryPoints: [{name: web, port: 10000, servicePort: 80}]}",
        &[
            "ConfigMap ferrix:6: entry_points[0].port: port 10000 is one of 10000 to 19999, which are for \
             Gateways where gateway.services is given",
        ],
        &[],
    ),
    (
        "snapshot: {enabled: false}",
        &[],
        &["kubernetes:\n        publish_service: ferrix/ferrix\n"],
    ),
    (
        "publishAddresses: [192.0.2.1, lb.example.com]",
        &[],
        &["publish_addresses:\n        - 192.0.2.1\n        - lb.example.com"],
    ),
    (
        "{ingressClass: inner, ingressClassResource: {name: nginx, default: true}}",
        &[],
        &[
            "kind: IngressClass\nmetadata:\n  name: nginx",
            "is-default-class: \"true\"",
            "controller: ferrix.com/ingress-controller-inner",
        ],
    ),
    ("snapshot: {sizeLimit: 16Mi}", &[], &["sizeLimit: 16Mi"]),
    (
        "temporaryFolder: {sizeLimit: 5Gi}",
        &[],
        &["sizeLimit: 5Gi"],
    ),
    (
        "temporaryFolder: {enabled: false}",
        &[
            "Deployment ferrix/ferrix: server.temporary_folder is not on a volume that can be written to",
        ],
        &[],
    ),
    (
        "namespaces: [shop]",
        &[],
        &["name: ferrix-secrets\n  namespace: \"shop\""],
    ),
    (
        "service: {type: NodePort, annotations: {a: b}, externalTrafficPolicy: Local}",
        &[],
        &[
            "type: NodePort",
            "annotations:\n    a: b",
            "externalTrafficPolicy: Local",
        ],
    ),
    (
        "service: {loadBalancerIP: 192.0.2.1}",
        &[],
        &["loadBalancerIP: 192.0.2.1"],
    ),
    (
        "service: {loadBalancerClass: example.com/inner, loadBalancerSourceRanges: [10.0.0.0/8, \
         '2001:db8::/32']}",
        &[],
        &[
            "loadBalancerClass: example.com/inner",
            "loadBalancerSourceRanges:\n    - 10.0.0.0/8\n    - 2001:db8::/32",
        ],
    ),
    (
        "service: {ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4]}",
        &[],
        &["ipFamilyPolicy: PreferDualStack\n  ipFamilies:\n    - IPv6\n    - IPv4"],
    ),
    (
        "{podAnnotations: {a: 'true'}, extraEnv: [{name: FERRIX_LOG, value: debug}], \
         priorityClassName: system-cluster-critical, nodeSelector: {disk: ssd}, \
         tolerations: [{operator: Exists}], affinity: {nodeAffinity: {}}, \
         topologySpreadConstraints: [{topologyKey: zone, labelSelector: {matchLabels: \
         {app.kubernetes.io/name: ferrix}}}]}",
        &[],
        &[
            "a: \"true\"",
            "- name: FERRIX_LOG\n              value: debug",
            "priorityClassName: system-cluster-critical",
            "nodeSelector:\n        disk: ssd",
            "tolerations:\n        - operator: Exists",
            "affinity:\n        nodeAffinity: {}",
            "topologyKey: zone",
        ],
    ),
    (
        "{resources: {limits: {cpu: 4}}, podDisruptionBudget: {enabled: false}}",
        &["Deployment ferrix/ferrix: no PodDisruptionBudget"],
        &["cpu: 4", "memory: 512Mi"],
    ),
    (
        "serviceMonitor: {enabled: true, labels: {release: prometheus}}",
        &[],
        &[
            "kind: ServiceMonitor",
            "release: prometheus",
            "name: ferrix-admin",
            "clusterIP: None",
        ],
    ),
    (
        "networkPolicy: {enabled: true, adminFrom: [{namespaceSelector: {}}]}",
        &[],
        &["kind: NetworkPolicy", "- namespaceSelector: {}"],
    ),
];

#[test]
#[ignore = "needs Helm: charts/check"]
fn values_do_what_they_say() {
    let mut ran = 0;
    for (values, findings, texts) in VALUES {
        let (text, documents) = rendered(values);
        assert_eq!(lint(&documents), *findings, "{values}");
        for expected in *texts {
            assert!(
                text.contains(expected),
                "{values}: no {expected:?} in {text}"
            );
        }
        ran += 1;
    }
    assert_eq!(ran, 47);
}

#[test]
#[ignore = "needs Helm: charts/check"]
fn a_namespaced_installation_has_nothing_of_the_whole_cluster() {
    let (text, _) = rendered("{namespaces: [shop, blog], secrets: {namespaces: [shop]}}");
    assert!(!text.contains("kind: ClusterRole"), "{text}");
    let (text, _) = rendered("");
    assert!(text.contains("kind: ClusterRole"));
}

#[test]
#[ignore = "needs Helm: charts/check"]
fn values_that_cannot_be_are_refused() {
    let mut ran = 0;
    for (values, expected) in [
        ("replcas: 3", "additional properties 'replcas' not allowed"),
        ("image: {tga: 1}", "additional properties 'tga' not allowed"),
        ("entryPoints: []", "minItems"),
        (
            "entryPoints: [{name: web, port: 80, servicePort: 80}]",
            "minimum: got 80, want 1,024",
        ),
        (
            "entryPoints: [{name: my_web, port: 8080, servicePort: 80}]",
            "does not match pattern",
        ),
        (
            "entryPoints: [{name: admin, port: 8080, servicePort: 80}]",
            "'not' failed",
        ),
        (
            "settings: {entry_points: []}",
            "settings.entry_points cannot be set: entryPoints says it",
        ),
        (
            "settings: {admin: {}}",
            "settings.admin cannot be set: the probes depend on it",
        ),
        (
            "settings: {source: {namespaces: [shop]}}",
            "settings.source.namespaces cannot be set",
        ),
        (
            "settings: {gateway: {services: {}}}",
            "settings.gateway.services cannot be set: gatewayServices says it",
        ),
        (
            "gatewayServices: {spec: {ports: []}}",
            "/gatewayServices/spec/ports",
        ),
        (
            "{namespaces: [shop], gatewayServices: {enabled: true}}",
            "gatewayServices.enabled and namespaces exclude each other",
        ),
        (
            "{settings: {gateway: {addresses: [10.0.0.0/8]}}, gatewayServices: {enabled: true}}",
            "gatewayServices.enabled and settings.gateway.addresses exclude each other",
        ),
        (
            "{namespaces: [shop], secrets: {namespaces: [blog]}}",
            "secrets.namespaces: blog is not watched",
        ),
        (
            "{namespaces: [shop], secrets: {namespaces: [], clusterWide: true}}",
            "secrets.clusterWide and namespaces exclude each other",
        ),
        (
            "kind: StatefulSet",
            "value must be one of 'Deployment', 'DaemonSet'",
        ),
        ("image: {digest: latest}", "does not match pattern"),
        (
            "entryPoints: [{name: a, port: 8080, servicePort: 80}, {name: b, port: 8080, \
             servicePort: 81}]",
            "entryPoints: port 8080 of b is taken by a already",
        ),
        (
            "entryPoints: [{name: a, port: 8080, servicePort: 80}, {name: b, port: 8081, \
             servicePort: 80}]",
            "entryPoints: servicePort 80 of b is taken by a already",
        ),
        (
            "entryPoints: [{name: a, port: 8080, servicePort: 80}, {name: a, port: 8081, \
             servicePort: 81}]",
            "entryPoints: name a of a is taken by a already",
        ),
        (
            "entryPoints: [{name: a, port: 8080, servicePort: 80, nodePort: 30080}, {name: b, \
             port: 8081, servicePort: 81, nodePort: 30080}]",
            "entryPoints: nodePort 30080 of b is taken by a already",
        ),
        (
            "{kind: DaemonSet, entryPoints: [{name: a, port: 8080, servicePort: 80, hostPort: 80}, \
             {name: b, port: 8081, servicePort: 81, hostPort: 80}]}",
            "entryPoints: hostPort 80 of b is taken by a already",
        ),
        (
            "entryPoints: [{name: a, port: 6192, servicePort: 80}]",
            "entryPoints: port 6192 of a is taken by the admin page already",
        ),
        (
            "entryPoints: [{name: a, port: 8080, servicePort: 80, hostPort: 80}]",
            "entryPoints: hostPort of a needs kind: DaemonSet",
        ),
        (
            "{kind: DaemonSet, autoscaling: {enabled: true}}",
            "autoscaling.enabled needs kind: Deployment",
        ),
        (
            "autoscaling: {enabled: true, minReplicas: 11}",
            "autoscaling.minReplicas (11) is above autoscaling.maxReplicas (10)",
        ),
        (
            "autoscaling: {targetCPUUtilizationPercentage: 100}",
            "maximum: got 100, want 95",
        ),
        (
            "podDisruptionBudget: {maxUnavailable: 0}",
            "minimum: got 0, want 1",
        ),
        (
            "podDisruptionBudget: {maxUnavailable: 0%}",
            "does not match pattern",
        ),
        (
            "podDisruptionBudget: {minAvailable: 1}",
            "additional properties 'minAvailable' not allowed",
        ),
        (
            "service: {type: ClusterIP, loadBalancerClass: inner}",
            "service.loadBalancerClass needs service.type: LoadBalancer",
        ),
        (
            "service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}",
            "service.loadBalancerSourceRanges needs service.type: LoadBalancer",
        ),
        (
            "service: {loadBalancerSourceRanges: [10.0.0.1]}",
            "does not match pattern",
        ),
        (
            "service: {ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6]}",
            "service.ipFamilies: two families need service.ipFamilyPolicy",
        ),
        (
            "service: {ipFamilies: [IPv4, IPv4]}",
            "items at 0 and 1 are equal",
        ),
        (
            "serviceAccount: {annotations: {a: 1}}",
            "got number, want string",
        ),
        ("extraVolumes: [{emptyDir: {}}]", "missing property 'name'"),
        (
            "extraVolumeMounts: [{name: tls}]",
            "missing property 'mountPath'",
        ),
        ("entryPoints: null", "missing property 'entryPoints'"),
        ("snapshot: null", "missing property 'snapshot'"),
        ("ingressClass: Inner", "does not match pattern"),
        (
            "ingressClassResource: {name: my_class}",
            "does not match pattern",
        ),
        (
            "gatewayServices: {spec: {type: ExternalName}}",
            "/gatewayServices/spec/type",
        ),
        (
            "{sharedLimits: {enabled: true}, entryPoints: [{name: replicas, port: 8080, \
             servicePort: 80}]}",
            "entryPoints: name replicas of replicas is taken by sharedLimits already",
        ),
        (
            "{sharedLimits: {enabled: true}, settings: {replicas: {}}}",
            "settings.replicas cannot be set with sharedLimits.enabled",
        ),
        (
            "{service: {type: ClusterIP}, entryPoints: [{name: web, port: 8080, servicePort: 80, \
             nodePort: 30080}]}",
            "entryPoints: nodePort of web needs service.type: NodePort or LoadBalancer",
        ),
        (
            "service: {type: ClusterIP, externalTrafficPolicy: Local}",
            "service.externalTrafficPolicy needs service.type: NodePort or LoadBalancer",
        ),
        (
            "preStopSeconds: 40",
            "terminationGracePeriodSeconds (40) is not above preStopSeconds (40)",
        ),
        (
            "extraVolumes: [{name: temporary, emptyDir: {}}]",
            "extraVolumes: the name temporary is taken by temporaryFolder already",
        ),
        (
            "extraVolumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]",
            "extraVolumes: the name a is taken by extraVolumes already",
        ),
        (
            "{extraVolumes: [{name: a, emptyDir: {}}], extraVolumeMounts: [{name: a, mountPath: /tmp/}]}",
            "extraVolumeMounts: /tmp/ is taken by temporaryFolder already",
        ),
        (
            "extraVolumeMounts: [{name: snapshot, mountPath: /a}]",
            "extraVolumeMounts: there is no volume snapshot; add it to extraVolumes",
        ),
        (
            "extraEnv: [{name: POD_NAME, value: a}]",
            "extraEnv: POD_NAME cannot be set",
        ),
    ] {
        let output = helm(values);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{values}");
        assert!(error.contains(expected), "{values}: {error}");
        ran += 1;
    }
    assert_eq!(ran, 53);
}
