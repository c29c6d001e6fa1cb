//! The manifests that install Ferrix hold what they promise, and the rules that say so can fail.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use ferrix::Settings;
use ferrix_e2e::deploy::{documents, lint, settings_text};

const MANIFESTS: &str = "../../deploy/ferrix.yaml";

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
    assert!(settings.source.kubernetes.is_some());
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
        "ClusterRole ferrix: Ferrix does not need to update ingressroutes/status",
    ),
    (
        "resources: [ingressroutes/status]",
        "resources: [ingressroutes/status, ingressroutes]",
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
        "resources: [secrets]\n    verbs: [list, watch]",
        "resources: [secrets]\n    verbs: [get, list, watch]",
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
        "      kubernetes: {}\n",
        "      kubernetes: {}\n      namespaces: [shop]\n",
        "ClusterRoleBinding ferrix: grants to list ingressroutes in all namespaces",
    ),
    // Settings.
    (
        "    admin:\n",
        "    amdin:\n",
        "ConfigMap ferrix:10: amdin: unknown key \"amdin\"",
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
        "      - name: websecure\n        port: 6191\n        secure: true\n",
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
        "              cpu: 500m\n",
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
        "minAvailable: 1",
        "minAvailable: 2",
        "PodDisruptionBudget ferrix/ferrix: minAvailable of 2 replicas forbids nothing, or all",
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
        "kind: Deployment",
        "kind: DaemonSet",
        "Deployment: expected one, found 0",
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
    assert_eq!(ran, 66);
}
