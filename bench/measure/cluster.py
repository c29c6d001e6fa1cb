"""An API server that is written to, and Ferrix beside its cluster, for what is measured by itself in one.

Run by `cluster/cluster exec`, which enters the node's network and sets KUBECONFIG.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from .failure import Failure
from .processes import Process

ADMIN = 18002
NAMESPACE = "ferrix"
WRITERS = 8
# How many requests a lost connection may cost: the API server ends idle ones.
ATTEMPTS = 3


class Api:
    """The API server of KUBECONFIG, over one connection for each thread."""

    def __init__(self):
        if "KUBECONFIG" not in os.environ:
            raise Failure("KUBECONFIG is not set; run this by `cluster/cluster exec`")
        show = ["kubectl", "config", "view", "--raw", "--flatten", "--minify", "--output=json"]
        config = json.loads(subprocess.run(show, check=True, capture_output=True).stdout)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        decoded = lambda text: base64.b64decode(text).decode()
        self.server = urlsplit(cluster["server"])
        self.tls = ssl.create_default_context(cadata=decoded(cluster["certificate-authority-data"]))
        # The library reads a client's certificate from files alone.
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(decoded(user["client-certificate-data"]) + decoded(user["client-key-data"]))
            file.flush()
            self.tls.load_cert_chain(file.name)
        self.of_thread = threading.local()

    def ask(self, method, path, thing=None):
        """Status and body. What is sent with PATCH is a merge patch."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        body, headers = (None, {}) if thing is None else (json.dumps(thing), {"Content-Type": kind})
        for attempt in range(ATTEMPTS):
            connection = self.connection()
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                if attempt + 1 == ATTEMPTS:
                    raise
        raise AssertionError

    def connection(self):
        if not hasattr(self.of_thread, "connection"):
            made = http.client.HTTPSConnection(self.server.hostname, self.server.port, timeout=60, context=self.tls)
            self.of_thread.connection = made
        return self.of_thread.connection

    def expect(self, good, method, path, thing=None):
        status, body = self.ask(method, path, thing)
        if status not in good:
            raise Failure(f"{method} {path}: {status} {body[:300]!r}")
        return body

    def create(self, path, thing):
        """Unless it is there already."""
        self.expect((201, 409), "POST", path, thing)

    def patch(self, path, thing):
        self.expect((200,), "PATCH", path, thing)

    def delete(self, path):
        self.expect((200, 202, 404), "DELETE", path)

    def get(self, path):
        return json.loads(self.expect((200,), "GET", path))

    def namespace(self, name):
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})

    @contextlib.contextmanager
    def filled(self, namespaces):
        """Namespaces for a scenario, of which nothing stays that could weigh on the next one."""
        for namespace in namespaces:
            self.namespace(namespace)
        try:
            yield
        finally:
            in_parallel(self.clear, namespaces)

    def clear(self, namespace):
        gateway_api = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}"
        kinds = [f"{gateway_api}/{kind}" for kind in ("gateways", "listenersets", "httproutes")]
        for path in [*kinds, slices(namespace), core(namespace, "services"), core(namespace, "secrets")]:
            self.expect((200, 202), "DELETE", path)

    def service(self, namespace, name, addresses):
        """A Service of port 80 without pods, with one EndpointSlice of its name."""
        ports, spec = [{"port": 80}], {"clusterIP": "None"}
        self.create(core(namespace, "services"), {"metadata": {"name": name}, "spec": {**spec, "ports": ports}})
        self.create(
            slices(namespace),
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"port": 8080}],
                "endpoints": endpoints(addresses),
            },
        )

    def ingress_route(self, namespace, name, entry_point, host, service, **more):
        """An IngressRoute that has all requests for a host go to port 80 of a Service."""
        rules = [{"matches": "PathPrefix(`/`)", "service": {"name": service, "port": 80}}]
        spec = {"entrypoint": entry_point, "route": {"host": host, "rules": rules}, **more}
        route = {"apiVersion": "ferrix.com/v1", "kind": "IngressRoute", "metadata": {"name": name}, "spec": spec}
        self.create(f"/apis/ferrix.com/v1/namespaces/{namespace}/ingressroutes", route)

    def status_writes(self):
        """How often statuses were written so far, by resource: the API server's own count."""
        counts = {}
        for line in self.expect((200,), "GET", "/metrics").decode().splitlines():
            if not line.startswith("apiserver_request_total{") or 'subresource="status"' not in line:
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels["verb"] in ("APPLY", "PATCH", "PUT") and labels["code"].startswith("2"):
                resource = labels["resource"]
                counts[resource] = counts.get(resource, 0) + int(float(line.rsplit(" ", 1)[1]))
        return counts


def core(namespace, kind):
    return f"/api/v1/namespaces/{namespace}/{kind}"


def slices(namespace):
    return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"


def endpoints(addresses):
    return [{"addresses": [address]} for address in addresses]


def in_parallel(make, things):
    """Makes something of each thing, on as many threads as the API server is given work by."""
    with ThreadPoolExecutor(WRITERS) as writers:
        for _ in writers.map(make, things):
            pass


def install(api, binary):
    """Ferrix's own kinds, as soon as the API server serves them, and the namespace where it elects a leader."""
    crds = subprocess.run([binary, "crds"], check=True, capture_output=True).stdout
    apply = ["kubectl", "apply", "--server-side", "--force-conflicts", "--output=name", "-f", "-"]
    applied = subprocess.run(apply, input=crds, check=True, capture_output=True).stdout.decode().split()
    for kind in applied:
        # customresourcedefinition.apiextensions.k8s.io/PLURAL.GROUP
        plural, group = kind.partition("/")[2].split(".", 1)
        wait_for(plural, lambda: api.ask("GET", f"/apis/{group}/v1/{plural}?limit=1")[0] == 200)
    api.namespace(NAMESPACE)


class Ferrix(contextlib.AbstractContextManager):
    """Ferrix beside the cluster, for as long as the block lasts. `ready`: seconds until it was that."""

    def __init__(self, binary, settings, **source):
        source = {"kubeconfig": os.environ["KUBECONFIG"], **source}
        common = {
            "admin": {"address": f"127.0.0.1:{ADMIN}"},
            "source": {"kubernetes": source},
            "server": {"drain_delay": "0s", "drain_timeout": "1s"},
        }
        self.file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        json.dump({**common, **settings}, self.file)
        self.file.flush()
        self.binary = binary

    def __enter__(self):
        begin = time.monotonic()
        identity = {"POD_NAME": "ferrix-0", "POD_NAMESPACE": NAMESPACE}
        command = [self.binary, "run", "--config", self.file.name]
        self.process = Process("cluster", f"0-{os.cpu_count() - 1}", command, identity)
        try:
            wait_for("Ferrix to be ready", self.is_ready, pause=0.01)
        except Failure:
            self.process.end()
            raise
        self.ready = time.monotonic() - begin
        return self

    def __exit__(self, *_):
        self.process.end()
        self.file.close()

    def is_ready(self):
        if not self.process.alive():
            raise Failure(f"Ferrix has ended: {self.process.last_words()}")
        return self.ask("/readyz")[0] == 200

    def ask(self, path):
        """Status and body of its admin port; 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", ADMIN, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def memory(self):
        """Resident memory in MB (decimal): now, and the most that there ever was."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        of = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        return tuple(round(int(of[name]) * 1024 / 1e6, 1) for name in ("VmRSS", "VmHWM"))

    def cpu(self):
        """Seconds of a core that it has used so far."""
        return self.process.cpu()[0]

    def settle(self, seconds):
        """Waits until there was no less memory for so long: statuses are written then, and the allocator has
        given back what it does. Returns what there is."""
        least, since = None, time.monotonic()
        while time.monotonic() - since < seconds:
            now, _ = self.memory()
            if least is None or now < least:
                least, since = now, time.monotonic()
            time.sleep(0.5)
        return self.memory()[0]


def wait_for(what, condition, patience=120, pause=0.02):
    end = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failure(f"waited {patience} s in vain for {what}")
        time.sleep(pause)
    return found
