"""The network of the node: a network namespace that knows nothing of the machine's own network.

The node's address sits on a bridge without ports, because an address needs an interface that is
up. Each pod hangs on a veth pair of its own, see `node.py`.
"""

import os
import subprocess

from .commands import run


def create(cluster):
    name = cluster.network_namespace.name
    run(["ip", "netns", "add", name])
    inside = ["ip", "-n", name]
    node_address = f"{cluster.node_ip}/{cluster.node_prefix_length}"
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "link", "add", "node", "type", "bridge"])
    run([*inside, "address", "add", node_address, "dev", "node"])
    run([*inside, "link", "set", "node", "up"])
    # Any process may listen on any address of the pool without more ado.
    run([*inside, "route", "add", "local", cluster.address_pool, "dev", "lo"])
    # kube-proxy rewrites these addresses on their way out; without a route they never get there.
    run([*inside, "route", "add", cluster.service_subnet, "dev", "node", "src", cluster.node_ip])
    for setting, value in {"ip_forward": 1, "ip_unprivileged_port_start": 0}.items():
        run([*enter(cluster), "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{setting}"])


def enter(cluster):
    """The start of a command line that runs the rest inside the node's network.

    Not `ip netns exec`: that mounts a new /sys, which hides the control groups.
    """
    return ["nsenter", f"--net={cluster.network_namespace}"]


def processes(cluster):
    """What else runs in the node's network, for example a client that a test forgot."""
    if not exists(cluster):
        return []
    pids = run(["ip", "netns", "pids", cluster.network_namespace.name])
    return [int(pid) for pid in pids.split() if int(pid) != os.getpid()]


def exists(cluster):
    """Without a folder of the cluster, a namespace of that name is somebody else's."""
    return cluster.run.exists() and cluster.network_namespace.exists()


def remove(cluster):
    if exists(cluster):
        run(["ip", "netns", "delete", cluster.network_namespace.name])
    # `ip netns add` mounts this folder on itself and nobody ever undoes it. While a namespace is
    # left in it the mount is in use, and this attempt fails as it should.
    folder = str(cluster.network_namespace.parent)
    subprocess.run(["umount", folder], stderr=subprocess.DEVNULL)
