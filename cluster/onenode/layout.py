"""Where the parts of a cluster lie, and which addresses it uses.

Everything that belongs to one cluster is derived from its name, so that `down` finds the remains
of an `up` that got stuck anywhere.
"""

import contextlib
import dataclasses
import fcntl
import ipaddress
import json
import os
import re
from pathlib import Path

from .commands import Failure

RUN = Path("/run/ferrix-cluster")
DATA = Path("/var/lib/ferrix-cluster")
MEMORY = Path("/dev/shm/ferrix-cluster")

NODE = "node1"


@contextlib.contextmanager
def shared_folders():
    """Keeps other runs of this program from making or removing folders that clusters share.

    The lock is on a folder that is always there, so that no lock file is left behind.
    """
    folder = os.open(RUN.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@dataclasses.dataclass(frozen=True)
class Cluster:
    name: str
    node_subnet: str = "10.250.0.0/24"
    pod_subnet: str = "10.244.0.0/24"
    service_subnet: str = "10.96.0.0/16"
    address_pool: str = "10.250.1.0/24"

    def __post_init__(self):
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", self.name):
            raise Failure(
                f'"{self.name}" cannot be the name of a cluster: use at most 20 small letters,'
                " digits and hyphens, a letter first and no hyphen last"
            )
        networks = []
        for field in ("node_subnet", "pod_subnet", "service_subnet", "address_pool"):
            try:
                networks.append(ipaddress.IPv4Network(getattr(self, field)))
            except ValueError as error:
                raise Failure(f"--{field.replace('_', '-')}: {error}") from None
        for index, network in enumerate(networks):
            for other in networks[index + 1 :]:
                if network.overlaps(other):
                    raise Failure(f"the subnets {network} and {other} overlap")

    # Files ---------------------------------------------------------------------------------------

    @property
    def run(self):
        """Small things that tests read: kubeconfig, logs, pids, sockets, certificates."""
        return RUN / self.name

    @property
    def data(self):
        """Images and volumes: on disk, because they may be large."""
        return DATA / self.name

    @property
    def etcd_data(self):
        """In memory: etcd waits for the disk at every write, and nobody needs the data later."""
        return MEMORY / self.name

    @property
    def admin_kubeconfig(self):
        return self.run / "admin.kubeconfig"

    @property
    def audit_log(self):
        return self.run / "audit.log"

    @property
    def certificates(self):
        return self.run / "certificates"

    @property
    def containerd_socket(self):
        return self.run / "containerd.sock"

    @property
    def network_namespace(self):
        return Path("/run/netns") / self.name

    @property
    def cgroup(self):
        return f"ferrix-cluster-{self.name}"

    def log(self, daemon):
        return self.run / "logs" / f"{daemon}.log"

    def pid_file(self, daemon):
        return self.run / "pids" / daemon

    # Addresses -----------------------------------------------------------------------------------

    @property
    def node_ip(self):
        return str(ipaddress.IPv4Network(self.node_subnet)[1])

    @property
    def node_prefix_length(self):
        return ipaddress.IPv4Network(self.node_subnet).prefixlen

    @property
    def kubernetes_service_ip(self):
        return str(ipaddress.IPv4Network(self.service_subnet)[1])

    @property
    def api_server(self):
        return f"https://{self.node_ip}:6443"

    # Settings ------------------------------------------------------------------------------------

    def create(self):
        """Makes the folders and keeps the settings for later commands, which only get the name."""
        if any(folder.exists() for folder in (self.run, self.data, self.etcd_data)):
            raise Failure(
                f'there is a cluster "{self.name}" already, or what is left of one:'
                f" remove it with `cluster down --name {self.name}`"
            )
        if self.network_namespace.exists():
            raise Failure(
                f'another program has a network namespace "{self.name}": give the cluster another'
                " --name"
            )
        for folder in ("certificates", "logs", "pids", "settings"):
            (self.run / folder).mkdir(parents=True)
        self.certificates.chmod(0o700)
        self.data.mkdir(parents=True)
        self.etcd_data.mkdir(parents=True, mode=0o700)
        (self.run / "cluster.json").write_text(json.dumps(dataclasses.asdict(self), indent=2))

    @staticmethod
    def load(name):
        file = Cluster(name).run / "cluster.json"
        try:
            return Cluster(**json.loads(file.read_text()))
        except FileNotFoundError:
            raise Failure(
                f'there is no cluster "{name}": start it with `cluster up --name {name}`'
            ) from None

    def write_settings(self, name, content):
        """Writes a settings file of a Kubernetes program, as JSON, which is also YAML."""
        file = self.run / "settings" / name
        file.write_text(json.dumps(content, indent=2))
        return file
