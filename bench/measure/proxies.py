"""Starts proxies, and the backends behind them."""

import shutil
import ssl
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from . import configurations
from .failure import Failure
from .paths import ENVIRONMENT, ROOT, TARGET, public
from .processes import Process
from .setup import ECHO, FILES, Setup

# In the order of all tables. pingora-proxy is a reference line and not a peer: it has no routes. Nor
# has the lean nginx, which is asked for the only route that it has.
NAMES = ["nginx", "lean", "haproxy", "envoy", "traefik", "caddy", "pingora", "ferrix"]
TITLES = {
    "nginx": "nginx",
    "lean": "nginx, one route",
    "haproxy": "HAProxy",
    "envoy": "Envoy",
    "traefik": "Traefik",
    "caddy": "Caddy",
    "pingora": "bare pingora-proxy",
    "ferrix": "Ferrix",
    # Only by --before.
    "before": "Ferrix before",
}
PROXY_CORE, LOAD_CORE = "0", "1"
# A peer that has not loaded its routes by then is told as such.
PATIENCE = 45


class Proxy:
    """One running instance."""

    def __init__(self, name, setup, process):
        self.name, self.setup, self.process = name, setup, process


class Bench:
    """The backends, and where proxies write. One for a whole run."""

    def __init__(self, binary, names, before=None):
        self.names = names
        self.binaries = {"ferrix": binary, "before": before}
        self.folder = Path(tempfile.mkdtemp(prefix="ferrix-bench-"))
        self.count = 0
        self.processes = []

    def __enter__(self):
        # Workers of nginx that is started by root give root up.
        self.folder.chmod(0o755)
        make_certificate(self.folder)
        bodies = self.folder / "bodies"
        bodies.mkdir()
        (bodies / "10k").write_bytes(b"x" * 10 * 1024)
        (bodies / "1m").write_bytes(b"x" * 1024 * 1024)
        (bodies / "text").write_bytes((ROOT / "LICENSE.md").read_bytes()[: 10 * 1024])
        for script, size in [("upload", 1024), ("post", 10)]:
            (self.folder / f"{script}.lua").write_text(
                f'wrk.method = "POST"\nwrk.body = string.rep("x", {size} * 1024)\n'
            )
        # The tools that use OpenSSL have no options for this. All proxies get the same of all tools.
        (self.folder / "openssl.cnf").write_text(
            "openssl_conf = default\n[default]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n"
            "[tls]\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n"
        )
        backend = Setup(folder=self.folder)
        path = configurations.fill(backend, "backend.conf")
        with socket.socket() as probe:
            # Its backend would answer in the place of ours.
            if probe.connect_ex(("127.0.0.1", FILES)) == 0:
                raise Failure(f"port {FILES} is taken: another run, or what one has left behind")
        self.processes.append(Process("backend", LOAD_CORE, ["nginx", "-c", path]))
        self.processes.append(Process("echo", LOAD_CORE, [TARGET / "release" / "load", "backend", "--port", ECHO]))
        for process, port, path in zip(self.processes, [FILES, ECHO], ["/app/100", "/upload"]):
            wait_until_good(process, lambda: ask(port, "backend", path, None))
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def certificate(self):
        return self.folder / "certificate.pem"

    def start(self, name, environment=None, binary=None, **values):
        """A proxy that answers. `values` are Setup's."""
        setup = Setup(**{**values, "routes": 1} if name == "lean" else values)
        self.count += 1
        setup.folder = self.folder / f"{name}-{self.count}"
        setup.folder.mkdir()
        for file in ("certificate.pem", "key.pem"):
            shutil.copy(self.folder / file, setup.folder)
        if name in self.binaries:
            command = configurations.ferrix(setup, binary or self.binaries[name])
        else:
            command = getattr(configurations, name)(setup)
        # Go's way of saying how many threads may run at a time.
        environment = {"GOMAXPROCS": str(setup.workers), "HOME": str(setup.folder), **(environment or {})}
        try:
            process = Process(f"{name}-{self.count}", setup.cores, command, environment)
        except OSError as error:
            raise Failure(f"does not start: {error}") from None
        try:
            for _, port, tls in setup.listeners():
                context = client_context(self.certificate) if tls else None
                wait_until_good(process, lambda: ask(port, setup.host, "/app/100", context))
        except BaseException:
            process.kill()
            raise
        return Proxy(name, setup, process)

    @contextmanager
    def fleet(self, names=None, **values):
        """All proxies at once, by name, so that rounds can be interleaved; those that do not start
        are there as a Failure."""
        fleet = {}
        try:
            for name in names or self.names:
                try:
                    fleet[name] = self.start(name, **values)
                except Failure as failure:
                    fleet[name] = failure
            yield fleet
        finally:
            for proxy in fleet.values():
                if isinstance(proxy, Proxy):
                    proxy.process.kill()

    @contextmanager
    def one(self, name, **values):
        proxy = self.start(name, **values)
        try:
            yield proxy
        finally:
            proxy.process.kill()


def make_certificate(folder):
    """ECDSA on P-256, as certificate authorities issue by default; of no authority."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=example.com", "-keyout", folder / "key.pem"]
    command += ["-out", folder / "certificate.pem", "-addext", "subjectAltName=DNS:*.example.com"]
    # A leaf, not an authority: the strict client that makes the handshakes looks.
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    (folder / "key.pem").chmod(0o644)


def client_context(certificate):
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def wait_until_good(process, question):
    deadline = time.monotonic() + PATIENCE
    last = "nothing"
    while time.monotonic() < deadline:
        if not process.alive():
            raise Failure(public(f"ended at the start: {process.last_words()}"))
        try:
            last = question()
            if last.startswith("HTTP/1.1 200"):
                return
        except OSError as error:
            last = str(error)
        time.sleep(0.05)
    raise Failure(public(f"no good answer within {PATIENCE} s, but {last}; {process.last_words()}"))


def ask(port, host, path, context):
    """The first line of the answer to one GET request, over TLS if there is a context."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        if context:
            connection = context.wrap_socket(connection, server_hostname=host)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = connection.recv(65536).decode(errors="replace")
        connection.close()
    return answer.split("\r\n")[0]
