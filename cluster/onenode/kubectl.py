"""Runs kubectl as the administrator, inside the node's network."""

import os

from . import binaries, network
from .commands import run


def command(cluster, *arguments):
    return [*network.enter(cluster), str(binaries.program("kubectl")), *arguments]


def environment(cluster):
    """For a program in the cluster's network: the kubeconfig, and kubectl and helm to call."""
    path = f"{binaries.folder()}:{os.environ.get('PATH', os.defpath)}"
    return dict(os.environ, KUBECONFIG=str(cluster.admin_kubeconfig), PATH=path)


def kubectl(cluster, *arguments):
    return run(command(cluster, "--request-timeout=5s", *arguments), env=environment(cluster))
