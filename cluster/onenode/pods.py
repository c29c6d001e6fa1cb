"""Finds the network of a pod."""

from .commands import Failure, run
from .images import ctr


def sandbox_pid(cluster, namespace, name):
    """The process that holds the pod's namespaces; /proc/PID/ns/net is the pod's network."""
    labels = {
        "io.cri-containerd.kind": "sandbox",
        "io.kubernetes.pod.namespace": namespace,
        "io.kubernetes.pod.name": name,
    }
    query = ",".join(f'labels."{label}"=={value}' for label, value in labels.items())
    sandboxes = run([*ctr(cluster), "containers", "list", "--quiet", query]).split()
    for line in run([*ctr(cluster), "tasks", "list"]).splitlines():
        sandbox, pid, status = line.split()[:3]
        if sandbox in sandboxes and status == "RUNNING":
            return int(pid)
    raise Failure(f"no pod {namespace}/{name} runs on this node")
