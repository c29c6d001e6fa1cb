"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""

import json

from . import binaries, cgroups, daemons, network
from .certificates import kubeconfig
from .commands import Failure, run, wait_until
from .kubectl import kubectl

ETCD = "http://127.0.0.1:2379"

# Those that namespaces, workloads, Services and roles need. The others cost memory and do things
# that this cluster has no use for: volumes of clouds, node addresses, certificate requests.
CONTROLLERS = """
    clusterrole-aggregation daemonset deployment disruption endpoints endpointslice
    endpointslice-mirroring garbage-collector job namespace node-lifecycle pod-garbage-collector
    replicaset resourcequota root-ca-certificate-publisher serviceaccount serviceaccount-token
    taint-eviction validatingadmissionpolicy-status
""".split()


def start_etcd(cluster):
    return daemons.start(
        cluster,
        "etcd",
        [
            binaries.program("etcd"),
            f"--data-dir={cluster.etcd_data}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
    )


def start_api(cluster):
    """Starts the API server and waits until it says that it is ready."""
    folder = cluster.certificates
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }
    api = daemons.start(
        cluster,
        "kube-apiserver",
        [
            binaries.program("kube-apiserver"),
            f"--etcd-servers={ETCD}",
            # Not on every address: the port belongs to tests on the addresses of the pool.
            f"--bind-address={cluster.node_ip}",
            f"--service-cluster-ip-range={cluster.service_subnet}",
            "--allow-privileged=true",
            "--anonymous-auth=false",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={folder}/ca.crt",
            f"--tls-cert-file={folder}/kube-apiserver.crt",
            f"--tls-private-key-file={folder}/kube-apiserver.key",
            f"--kubelet-certificate-authority={folder}/ca.crt",
            f"--kubelet-client-certificate={folder}/kube-apiserver-to-kubelet.crt",
            f"--kubelet-client-key={folder}/kube-apiserver-to-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/service-accounts.pub",
            f"--service-account-signing-key-file={folder}/service-accounts.key",
            f"--audit-policy-file={cluster.write_settings('audit-policy.json', policy)}",
            f"--audit-log-path={cluster.audit_log}",
            "--audit-log-maxsize=2000",
        ],
    )
    wait_until(
        "the API server to be ready",
        lambda: kubectl(cluster, "get", "--raw", "/readyz") == "ok",
        120,
        [api],
    )
    return api


def stop_api(cluster):
    daemons.kill(cluster, "kube-apiserver")


def restart_api(cluster, forget_history):
    if daemons.pid(cluster, "kube-apiserver"):
        raise Failure("the API server is running: stop it first with `cluster stop-api`")
    cgroups.join(cluster)
    if forget_history:
        compact(cluster)
    start_api(cluster)


def compact(cluster):
    """Makes etcd forget all but the newest state.

    Whoever asks for the changes since an older one is then told "410 Gone" and has to list anew.
    Two writes that mean nothing come first, so that even the newest state anyone has seen is old.
    """

    def etcdctl(*arguments):
        program = binaries.program("etcdctl")
        command = [*network.enter(cluster), program, f"--endpoints={ETCD}", "-w", "json"]
        return run([*command, *arguments])

    etcdctl("put", "history-forgotten", "")
    newest = json.loads(etcdctl("put", "history-forgotten", ""))["header"]["revision"]
    etcdctl("compact", str(newest))


def start_controller_manager(cluster):
    folder = cluster.certificates
    return daemons.start(
        cluster,
        "kube-controller-manager",
        [
            binaries.program("kube-controller-manager"),
            f"--kubeconfig={kubeconfig(cluster, 'kube-controller-manager')}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            f"--controllers={','.join(f'{name}-controller' for name in CONTROLLERS)}",
            # Else the controllers share one user, to whom the roles made for them do not apply.
            "--use-service-account-credentials=true",
            f"--root-ca-file={folder}/ca.crt",
            f"--service-account-private-key-file={folder}/service-accounts.key",
        ],
    )


def start_scheduler(cluster):
    return daemons.start(
        cluster,
        "kube-scheduler",
        [
            binaries.program("kube-scheduler"),
            f"--kubeconfig={kubeconfig(cluster, 'kube-scheduler')}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ],
    )
