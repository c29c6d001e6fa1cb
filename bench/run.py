#!/usr/bin/env python3
"""Compares Ferrix with nginx and HAProxy: CPU per request and memory per idle connection.

Every proxy runs with one worker on core 0; load and backend run on core 1. All is on loopback and
bounded in time. Rounds are interleaved and medians printed, with ratios to nginx: absolute figures
of a shared machine say little. A response that is not 2xx ends the run.
"""

import argparse
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PROXY_CORE, LOAD_CORE = "0", "1"
BACKEND_PORT, ADMIN_PORT = 19100, 19101
PORTS = {"nginx": 19110, "haproxy": 19111, "ferrix": 19112}
HOST = "host-0.example.com"


def main():
    arguments = parse_arguments()
    install()
    binary = arguments.binary or build()
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="ferrix-bench-") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        processes = {}
        try:
            start_all(processes, folder, arguments.routes, binary)
            print_machine(arguments)
            for path, name in [("/", "100 B"), ("/large", "10 KiB")]:
                print_cpu(name, measure_cpu(processes, path, arguments))
            print_memory(measure_memory(processes, arguments.idle))
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.wait(10)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--routes", type=int, default=1000, help="routes loaded (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of load per round (default: 3)")
    parser.add_argument("--connections", type=int, default=64, help="kept open (default: 64)")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections (default: 5000)")
    parser.add_argument("--binary", type=Path, help="a ferrix to measure instead of building one")
    return parser.parse_args()


def install():
    """The peers and the load generator are Debian packages."""
    missing = [name for name in ("nginx", "haproxy", "wrk") if not shutil.which(name, path=PATH)]
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"missing: {', '.join(missing)}; install them, or run this as root")
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    # The packages would start servers on public ports.
    policy = Path("/usr/sbin/policy-rc.d")
    own = not policy.exists()
    if own:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(
            ["apt-get", "install", "-yq", "--no-install-recommends", *missing],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    finally:
        if own:
            policy.unlink()


PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"


def build():
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", "ferrix"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "ferrix"


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def start_all(processes, folder, routes, binary):
    """Fills `processes` as it goes, so that what has started can be ended."""
    (folder / "large").write_bytes(b"x" * 10240)
    write_ferrix(folder, routes)
    write_nginx(folder, routes)
    write_haproxy(folder, routes)
    fill("backend.conf", folder, {"BODY": "x" * 100})
    commands = {
        "backend": (LOAD_CORE, ["nginx", "-c", folder / "backend.conf"]),
        "nginx": (PROXY_CORE, ["nginx", "-c", folder / "nginx.conf"]),
        "haproxy": (PROXY_CORE, ["haproxy", "-db", "-f", folder / "haproxy.cfg"]),
        "ferrix": (PROXY_CORE, [binary, "run", "--config", folder / "ferrix.yaml"]),
    }
    log = open(folder / "log", "wb")
    for name, (core, command) in commands.items():
        processes[name] = subprocess.Popen(
            ["taskset", "-c", core, *map(str, command)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": PATH},
        )
    for name, port in [("backend", BACKEND_PORT), *PORTS.items()]:
        wait_for(name, port, folder / "log")


def write_ferrix(folder, routes):
    fill("ferrix.yaml", folder, {"PORT": PORTS["ferrix"], "ADMIN": ADMIN_PORT})
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "service.yaml").write_text(f"""
apiVersion: v1
kind: Service
metadata: {{name: backend, namespace: default}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: backend, namespace: default, labels: {{kubernetes.io/service-name: backend}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
ports: [{{name: http, port: {BACKEND_PORT}}}]
""")
    documents = [
        f"""
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {{name: route-{number}, namespace: default}}
spec:
  entrypoint: web
  route:
    host: host-{number}.example.com
    rules: [{{matches: PathPrefix(`/`), service: {{name: backend, port: 80}}}}]
"""
        for number in range(routes)
    ]
    (manifests / "routes.yaml").write_text("---".join(documents))


def write_nginx(folder, routes):
    servers = "\n".join(
        f"  server {{ listen 127.0.0.1:{PORTS['nginx']}; server_name host-{number}.example.com;"
        " location / { proxy_pass http://backend; } }"
        for number in range(routes)
    )
    fill("nginx.conf", folder, {"ROUTES": servers})


def write_haproxy(folder, routes):
    lines = (f"host-{number}.example.com web\n" for number in range(routes))
    (folder / "routes.map").write_text("".join(lines))
    fill("haproxy.cfg", folder, {"PORT": PORTS["haproxy"]})


def fill(name, folder, values):
    text = (HERE / "peers" / name).read_text()
    for key, value in {"DIR": folder, "BACKEND": BACKEND_PORT, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    (folder / name).write_text(text)


def wait_for(name, port, log):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if request(connect(port)).startswith(b"HTTP/1.1 200"):
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"{name} does not answer on port {port}:\n{log.read_text()[-2000:]}")


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), 5)
    return connection


def request(connection):
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return connection.recv(65536)


def measure_cpu(processes, path, arguments):
    """Microseconds of CPU per request, by proxy, one value a round."""
    results = {name: [] for name in PORTS}
    for _ in range(arguments.rounds):
        for name, port in PORTS.items():
            before = cpu_seconds(processes[name].pid)
            requests = load(port, path, arguments)
            used = cpu_seconds(processes[name].pid) - before
            results[name].append(used * 1e6 / requests)
    return results


def load(port, path, arguments):
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{arguments.connections}"]
    command += [f"-d{arguments.seconds}s", "-H", f"Host: {HOST}", f"http://127.0.0.1:{port}{path}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"port {port}: not every response was good:\n{output}")
    return int(re.search(r"(\d+) requests in", output)[1])


def cpu_seconds(pid):
    """Of a process and its children, all threads, to the nanosecond."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9
        for process in tree(pid)
        for task in Path(f"/proc/{process}/task").iterdir()
    )


def tree(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def measure_memory(processes, count):
    """Bytes of resident memory per idle connection after one request on each."""
    results = {}
    for name, port in PORTS.items():
        # Buffers that load left behind would be used again and hide what connections cost.
        before = resident(processes[name].pid)
        connections = []
        for _ in range(count):
            connections.append(connect(port))
            if not request(connections[-1]).startswith(b"HTTP/1.1 200"):
                sys.exit(f"{name}: a request failed with {len(connections)} connections open")
        results[name] = (resident(processes[name].pid) - before) / count
        for connection in connections:
            connection.close()
    return results


def resident(pid):
    status = "".join(Path(f"/proc/{process}/status").read_text() for process in tree(pid))
    return sum(int(size) for size in re.findall(r"VmRSS:\s+(\d+) kB", status)) * 1024


def print_machine(arguments):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"machine: {model[1] if model else 'unknown'}, {os.cpu_count()} cores")
    print(f"routes: {arguments.routes}; connections: {arguments.connections};", end=" ")
    print(f"rounds: {arguments.rounds} of {arguments.seconds} s")


def print_cpu(name, results):
    nginx = statistics.median(results["nginx"])
    print(f"\nHTTP/1 to HTTP/1, {name}: CPU microseconds per request")
    for proxy, values in results.items():
        median = statistics.median(values)
        spread = f"{min(values):.2f}-{max(values):.2f}"
        print(f"  {proxy:8} {median:6.2f}  ({spread})  {median / nginx:.2f} x nginx")


def print_memory(results):
    print("\nmemory per idle keep-alive connection")
    for proxy, size in results.items():
        print(f"  {proxy:8} {size / 1024:6.1f} KiB")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
