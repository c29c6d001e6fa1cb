#!/usr/bin/env python3
"""What many routes cost Ferrix in a cluster: time to ready, and memory.

    cluster/cluster up
    cargo build --release --locked -p ferrix
    cluster/cluster exec bench/many_routes.py target/release/ferrix
    cluster/cluster down

Makes routes, each with a Service and an EndpointSlice of one endpoint, unless they are there already,
and starts Ferrix beside the cluster as often as --rounds says. It prints one line a round: seconds from
the start to the first 200 of /readyz, and resident memory in MB (decimal) then, after it has come to
rest, after /report was read, and the most that there ever was.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROXY, ADMIN, HTTP = 18001, 18002, 18003
NAMESPACE = "many-routes"
SETTLED = 15  # seconds without less memory than before
WRITERS = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--routes", type=int, default=11000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if "KUBECONFIG" not in os.environ:
        sys.exit("KUBECONFIG is not set; run this by `cluster/cluster exec`")
    crds = subprocess.run([options.binary, "crds"], check=True, capture_output=True).stdout
    apply = ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-"]
    subprocess.run(apply, input=crds, check=True, stdout=subprocess.DEVNULL)
    fill(options.routes)
    for _ in range(options.rounds):
        print(json.dumps(measure(options.binary)), flush=True)


def fill(count):
    proxy = subprocess.Popen(["kubectl", "proxy", f"--port={PROXY}"], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: ask(PROXY, "GET", "/readyz")[0] == 200)
        create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        with ThreadPoolExecutor(WRITERS) as writers:
            for _ in writers.map(make, range(count)):
                pass
    finally:
        proxy.terminate()
        proxy.wait()


def make(number):
    name = f"route-{number}"
    core, ours = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/ferrix.com/v1/namespaces/{NAMESPACE}"
    create(f"{core}/services", {"metadata": {"name": name}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})
    create(
        f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices",
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"]}],
        },
    )
    rules = [{"matches": "PathPrefix(`/`)", "service": {"name": name, "port": 80}}]
    spec = {"entrypoint": "web", "route": {"host": f"{name}.example.com", "rules": rules}}
    create(f"{ours}/ingressroutes", {"apiVersion": "ferrix.com/v1", "kind": "IngressRoute", "metadata": {"name": name}, "spec": spec})


def create(path, thing):
    status, body = ask(PROXY, "POST", path, json.dumps(thing))
    if status not in (201, 409):
        raise RuntimeError(f"{path}: {status} {body[:300]!r}")


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def wait_for(condition, patience=120):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("it takes too long")
        time.sleep(0.01)


def measure(binary):
    settings = {
        "entry_points": [{"name": "web", "port": HTTP, "secure": False}],
        "admin": {"address": f"127.0.0.1:{ADMIN}"},
        "source": {"kubernetes": {"kubeconfig": os.environ["KUBECONFIG"]}},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file, tempfile.TemporaryFile() as log:
        json.dump(settings, file)
        file.flush()
        begin = time.monotonic()
        ferrix = subprocess.Popen([binary, "run", "--config", file.name], stdout=log, stderr=log)
        try:
            wait_for(lambda: ask(ADMIN, "GET", "/readyz")[0] == 200)
            ready = time.monotonic() - begin
            at_ready, _ = memory(ferrix)
            rest = settle(ferrix)
            _, report = ask(ADMIN, "GET", "/report")
            entries = len(json.loads(report)["entries"])
            after, most = memory(ferrix)
        finally:
            ferrix.terminate()
            ferrix.wait()
    return {"entries": entries, "ready": round(ready, 2), "at_ready": at_ready, "at_rest": rest, "after_report": after, "most": most}


def settle(process):
    """Waits until statuses are written and the allocator has given back what it does."""
    least, since = None, time.monotonic()
    while time.monotonic() - since < SETTLED:
        now, _ = memory(process)
        if least is None or now < least:
            least, since = now, time.monotonic()
        time.sleep(0.5)
    return memory(process)[0]


def memory(process):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    of = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return tuple(round(int(of[name]) * 1024 / 1e6, 1) for name in ("VmRSS", "VmHWM"))


if __name__ == "__main__":
    main()
