"""Debian packages that the cluster needs."""

import os
import shutil

from .commands import Failure, run

# The program (or file) tells whether the package has to be installed.
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "nftables": "nft",
    "iptables": "iptables",
    "iproute2": "ip",
    "openssl": "openssl",
}


def missing():
    return [package for package, program in NEEDED.items() if not shutil.which(program)]


def install():
    packages = missing()
    if not packages:
        print("Debian packages: all there")
        return
    if not shutil.which("apt-get"):
        raise Failure(f"install what these Debian packages hold, then try again: {packages}")
    print("Debian packages: installing", *packages, flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run(["apt-get", "update", "-q"], env=environment)
    run(["apt-get", "install", "-yq", "--no-install-recommends", *packages], env=environment)
    if missing():
        raise Failure(f"these packages do not bring the programs looked for: {missing()}")
