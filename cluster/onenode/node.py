"""containerd, kubelet and kube-proxy: the node.

containerd and kubelet share a private view of the file system. It hides the folders that some of
their code names without a choice, so that two clusters do not meet there, and all their mounts are
gone when the last process of the view is. It also shows the kubelet the kernel settings that it
asks for; the kubelet would change them for the whole machine otherwise.

To reach a pod's network, take the process id of its sandbox and enter /proc/PID/ns/net: `pods.py`
does it. The namespace's own file (in containerd's state folder) is mounted in the private view
only.
"""

import shlex
from pathlib import Path

from . import binaries, daemons
from .certificates import kubeconfig
from .commands import wait_until
from .images import PAUSE
from .layout import NODE

HIDDEN_FOLDERS = [
    Path("/run/containerd"),
    Path("/var/lib/cni"),
    Path("/var/lib/kubelet"),
    Path("/var/log/containers"),
]

KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def start_view(cluster):
    """Starts the process that holds the private view, and waits until the view is complete."""
    lines = ["set -e"]
    for folder in HIDDEN_FOLDERS:
        lines += [f"mkdir -p {folder}", f"mount -t tmpfs tmpfs {folder}"]
    for setting, value in KERNEL_SETTINGS.items():
        file = cluster.run / "settings" / setting.replace("/", ".")
        file.write_text(value)
        lines.append(f"mount --bind {shlex.quote(str(file))} /proc/sys/{setting}")
    complete = cluster.run / "settings" / "view-is-complete"
    lines += [f"touch {shlex.quote(str(complete))}", "exec sleep infinity"]
    script = "\n".join(lines)
    view = daemons.start(cluster, "view", ["unshare", "--mount", "sh", "-c", script])
    wait_until("the node's view of the file system", complete.exists, 20, [view])


def inside_view(cluster):
    return ["nsenter", f"--mount=/proc/{daemons.pid(cluster, 'view')}/ns/mnt"]


def start_containerd(cluster):
    folder = cluster.run / "settings"
    network_settings = folder / "cni"
    network_settings.mkdir()
    cluster.write_settings("cni/pods.conflist", pod_network(cluster))
    configuration = folder / "containerd.toml"
    configuration.write_text(f"""\
version = 2
root = "{cluster.data}/containerd"
state = "{cluster.run}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{cluster.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Lowering the value is refused where the administrator may not do everything.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network_settings}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
""")
    command = ["containerd", "--config", configuration]
    containerd = daemons.start(cluster, "containerd", command, prefix=inside_view(cluster))
    wait_until("containerd's socket", cluster.containerd_socket.exists, 60, [containerd])
    return containerd


def pod_network(cluster):
    """Pods are routed, not bridged.

    The answer of one pod to another then passes the node, and gets the Service's address back
    there. On a bridge it would go straight to the other pod, which has never heard of its sender.
    """
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "subnet": cluster.pod_subnet,
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(cluster.run / "pod-addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def start_kubelet(cluster):
    folder = cluster.certificates
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{cluster.containerd_socket}",
        "address": cluster.node_ip,
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": f"{folder}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{folder}/kubelet.crt",
        "tlsPrivateKeyFile": f"{folder}/kubelet.key",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.cgroup}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        # There is no name server, and the machine's own is out of reach.
        "resolvConf": "",
        "maxPods": 250,
        # A full disk of the machine must neither end pods nor remove imported images.
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{cluster.data}/pod-logs",
        "volumePluginDir": f"{cluster.data}/volume-plugins",
    }
    return daemons.start(
        cluster,
        "kubelet",
        [
            binaries.program("kubelet"),
            f"--config={cluster.write_settings('kubelet.json', configuration)}",
            f"--kubeconfig={kubeconfig(cluster, 'node')}",
            f"--hostname-override={NODE}",
            f"--node-ip={cluster.node_ip}",
            f"--root-dir={cluster.data}/kubelet",
            f"--cert-dir={cluster.data}/kubelet/certificates",
        ],
        prefix=inside_view(cluster),
    )


def start_proxy(cluster):
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig(cluster, "kube-proxy"))},
        "hostnameOverride": NODE,
        "mode": "nftables",
        "clusterCIDR": cluster.pod_subnet,
        "oomScoreAdj": 0,
        # Zero leaves the machine's settings alone: they are not the namespace's own.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
    file = cluster.write_settings("kube-proxy.json", configuration)
    command = [binaries.program("kube-proxy"), f"--config={file}"]
    return daemons.start(cluster, "kube-proxy", command)
