"""Brings a cluster up and takes it down."""

import shutil
import time

from . import binaries, certificates, cgroups, control_plane, images, network, node, packages
from .commands import wait_until
from .kubectl import kubectl
from .layout import DATA, MEMORY, NODE, RUN, Cluster, shared_folders


def install():
    packages.install()
    binaries.build()


def up(cluster):
    begin = time.monotonic()
    with shared_folders():
        cluster.create()
        cgroups.create(cluster)
        cgroups.join(cluster)
        network.create(cluster)
        node.start_view(cluster)
    etcd = control_plane.start_etcd(cluster)
    certificates.create(cluster)
    containerd = node.start_containerd(cluster)
    api = control_plane.start_api(cluster)
    daemons = [
        etcd,
        containerd,
        api,
        control_plane.start_controller_manager(cluster),
        control_plane.start_scheduler(cluster),
        node.start_proxy(cluster),
        node.start_kubelet(cluster),
    ]
    images.import_pause(cluster)
    wait_until("the node to be Ready", lambda: node_is_ready(cluster), 120, daemons)
    wait_until("the Service kubernetes", lambda: service_answers(cluster), 60, daemons)
    wait_until("the default service account", lambda: has_account(cluster), 60, daemons)
    print(f"up in {time.monotonic() - begin:.1f} s")


def node_is_ready(cluster):
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl(cluster, "get", "node", NODE, "-o", f"jsonpath={path}") == "True"


def service_answers(cluster):
    """Through the Service's address, so that it also tells whether kube-proxy does its work."""
    server = f"--server=https://{cluster.kubernetes_service_ip}"
    return kubectl(cluster, server, "get", "--raw", "/readyz") == "ok"


def has_account(cluster):
    """Pods are refused before the namespace has one."""
    return kubectl(cluster, "get", "serviceaccount", "default")


def usage(cluster):
    option = "" if cluster.name == Cluster("ferrix").name else f" --name {cluster.name}"
    return f"""\
The cluster "{cluster.name}" is ready. To use it:
  cluster kubectl{option} get nodes
  cluster exec{option} COMMAND...
or without this program:
  KUBECONFIG={cluster.admin_kubeconfig} nsenter --net={cluster.network_namespace} \\
    {binaries.program("kubectl")} get nodes
To end it: cluster down{option}"""


def down(cluster):
    """Removes every trace of a cluster, in whatever state it is; does nothing if there is none.

    All mounts of the node are in a private view of the file system, which ends with its processes.
    """
    cgroups.kill_all(lambda: cgroups.processes(cluster) + network.processes(cluster))
    cgroups.remove(cluster)
    network.remove(cluster)
    for folder in (cluster.data, cluster.etcd_data, cluster.run):
        if folder.exists():
            shutil.rmtree(folder)
    with shared_folders():
        remove_if_empty(DATA)
        remove_if_empty(MEMORY)
        remove_if_empty(RUN)
        # Removing a folder also removes what any other cluster has mounted on it in its own view.
        if not RUN.exists():
            for folder in node.HIDDEN_FOLDERS:
                remove_if_empty(folder)
    print(f'the cluster "{cluster.name}" is gone')


def remove_if_empty(folder):
    """Other clusters, or other programs, may have something in it: then it stays."""
    try:
        folder.rmdir()
    except OSError:
        pass
