"""How Ferrix scales with what is in a cluster, and what it keeps apart: modelled on gateway-api-bench.

Each scenario makes its objects in namespaces of its own, starts a Ferrix for itself, and is bound in time.
All is plain objects of the Gateway API, but for the pods: Services without any have their endpoints written
by hand, and the backends that answer are processes in the node's network.
"""

import asyncio
import http.client
import multiprocessing
import ssl
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles

from .cluster import Ferrix, core, endpoints, in_parallel, slices, wait_for
from .failure import Failure

CONTROLLER = "ferrix.com/gateway-controller"
CLASS = "scale"
# The node takes connections to any address of 10.250.1.0/24. One half is for Gateways, one for backends.
POOL = "10.250.1.0/25"
BACKENDS = [f"10.250.1.{number}" for number in range(200, 204)]
SETTINGS = {
    "entry_points": [{"name": "web", "port": 18003, "secure": False}],
    "gateway": {"controller": CONTROLLER, "addresses": [POOL]},
}
# Threads of clients under whose requests something changes.
CLIENTS = 4
# How long nothing may be written before statuses count as settled.
QUIET = 3


# Objects ------------------------------------------------------------------------------------------


def api_path(namespace, kind):
    return f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/{kind}"


def gateway_class(api):
    spec = {"controllerName": CONTROLLER}
    api.create("/apis/gateway.networking.k8s.io/v1/gatewayclasses", manifest("GatewayClass", CLASS, spec))


def manifest(kind, name, spec):
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def gateway(api, namespace, **more):
    """One with a listener for HTTP; gives its address, once it has one."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    spec = {"gatewayClassName": CLASS, "listeners": [listener], **more}
    api.create(api_path(namespace, "gateways"), manifest("Gateway", "scale", spec))

    def address():
        status = api.get(f"{api_path(namespace, 'gateways')}/scale").get("status", {})
        programmed = [it["status"] for it in status.get("conditions", []) if it["type"] == "Programmed"]
        return status["addresses"][0]["value"] if programmed == ["True"] else None

    return wait_for(f"the Gateway of {namespace} to be programmed", address)


def route(name, host, service, parent="Gateway", section="scale", filters=()):
    rule = {"backendRefs": [{"name": service, "port": 80}], "filters": list(filters)}
    parents = [{"group": "gateway.networking.k8s.io", "kind": parent, "name": section}]
    return manifest("HTTPRoute", name, {"parentRefs": parents, "hostnames": [host], "rules": [rule]})


def attached(api, namespace):
    """What the Gateway says."""
    status = api.get(f"{api_path(namespace, 'gateways')}/scale")["status"]
    return status["listeners"][0]["attachedRoutes"]


# Backends and clients -----------------------------------------------------------------------------


class Backend:
    """Answers every request with its name, in a process of its own, which can be killed."""

    def __init__(self, address, port=8080):
        self.address, self.port = address, port
        self.begin()

    def begin(self):
        # Not forked: that would share the sockets of clients, and what locks their threads hold.
        processes = multiprocessing.get_context("spawn")
        self.process = processes.Process(target=serve, args=(self.address, self.port), daemon=True)
        self.process.start()
        wait_for(f"the backend at {self.address}", self.listens)

    def listens(self):
        return Client(self.address, self.port).get("backend")[0] == 200

    def kill(self):
        """Its connections are reset, and new ones refused."""
        self.process.kill()
        self.process.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def serve(address, port):
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(address)}\r\n\r\n{address}".encode()

    async def connection(reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def listen():
        server = await asyncio.start_server(connection, address, port, backlog=512)
        await server.serve_forever()

    asyncio.run(listen())


class Client:
    """Requests one after the other on one connection, made anew where it was lost."""

    def __init__(self, address, port, tls=None):
        self.address, self.port, self.tls = address, port, tls
        self.made = None

    def get(self, host):
        """Status, fields and body; the name of the error in place of the status where there was no answer."""
        try:
            if self.made is None:
                self.made = http.client.HTTPConnection(self.address, self.port, timeout=10)
                if self.tls:
                    self.made.connect()
                    self.made.sock = self.tls.wrap_socket(self.made.sock, server_hostname=host)
            self.made.request("GET", "/", headers={"Host": host})
            answer = self.made.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.made.close()
            self.made = None
            return type(error).__name__, {}, b""


class Load:
    """Clients that ask as fast as they are answered, while the block lasts. `judge`: what is wrong with an
    answer, or None."""

    def __init__(self, address, hosts, judge):
        self.address, self.hosts, self.judge = address, hosts, judge
        self.requests, self.errors, self.seen = 0, Counter(), Counter()
        self.longest, self.done, self.lock = 0.0, threading.Event(), threading.Lock()

    def __enter__(self):
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def run(self, number):
        client = Client(self.address, 80)
        while not self.done.is_set():
            begin = time.monotonic()
            status, fields, body = client.get(self.hosts[number % len(self.hosts)])
            took = time.monotonic() - begin
            error = str(status) if status != 200 else self.judge(fields, body)
            with self.lock:
                self.requests += 1
                self.seen[body] += 1
                self.longest = max(self.longest, took)
                if error:
                    self.errors[error] += 1

    def figures(self):
        longest = round(self.longest * 1000, 1)
        return {"requests": self.requests, "errors": dict(self.errors), "longest_ms": longest}


# Scenarios ----------------------------------------------------------------------------------------


def attached_routes(api, binary, options):
    """Routes on one Gateway, all made at once and then deleted: until `attachedRoutes` is right."""
    count, namespace = options.attached, "attached-routes"
    with api.filled([namespace]), Ferrix(binary, SETTINGS):
        api.service(namespace, "backend", BACKENDS[:1])
        gateway(api, namespace)
        path = api_path(namespace, "httproutes")
        make = lambda number: api.create(path, route(f"route-{number}", f"{number}.example.com", "backend"))
        remove = lambda number: api.delete(f"{path}/route-{number}")
        up = until_attached(api, namespace, make, range(count), count)
        listed = api.get(path)["items"]
        unknown = sum(1 for it in listed if not it.get("status", {}).get("parents"))
        down = until_attached(api, namespace, remove, range(count), 0)
    return {"routes": count, "without_status": unknown, "set_up": up, "tear_down": down}


def until_attached(api, namespace, change, numbers, wanted):
    """Seconds that the changes took, and until the count was right; status writes until there were no more."""
    written = api.status_writes()
    begin = time.monotonic()
    in_parallel(change, numbers)
    changed = time.monotonic() - begin
    wait_for(f"{wanted} attached routes", lambda: attached(api, namespace) == wanted, pause=0.01)
    right = time.monotonic() - begin
    writes = written_since(api, written)
    if attached(api, namespace) != wanted:
        raise Failure("the number of attached routes was right, and then was not")
    return {"changes_seconds": round(changed, 2), "seconds": round(right, 2), "status_writes": writes}


def written_since(api, before):
    last, since = None, time.monotonic()

    def is_quiet():
        nonlocal last, since
        now = api.status_writes()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > QUIET

    wait_for("statuses to settle", is_quiet, pause=0.5)
    return difference(before, last)


def difference(before, after):
    return {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}


def probe(api, binary, options):
    """Routes one at a time, each asked for from the API server's answer until the first 200."""
    namespace = "probe"
    latencies, errors = [], Counter()
    with api.filled([namespace]), Backend(BACKENDS[0]), Ferrix(binary, SETTINGS):
        api.service(namespace, "backend", BACKENDS[:1])
        client = Client(gateway(api, namespace), 80)
        end = time.monotonic() + options.probe_seconds
        for number in range(options.probes):
            if time.monotonic() > end:
                break
            host = f"{number}.example.com"
            api.create(api_path(namespace, "httproutes"), route(f"route-{number}", host, "backend"))
            latencies.append(until_served(client, host, errors))
    tenth = max(1, len(latencies) // 10)
    return {
        "routes": len(latencies),
        "errors": dict(errors),
        "p50_ms": milliseconds(median(latencies)),
        "p99_ms": milliseconds(quantiles(latencies, n=100, method="inclusive")[98]),
        "most_ms": milliseconds(max(latencies)),
        "first_tenth_ms": milliseconds(median(latencies[:tenth])),
        "last_tenth_ms": milliseconds(median(latencies[-tenth:])),
    }


def until_served(client, host, errors, patience=10):
    """Seconds until the first 200. Before it, only 404 is right."""
    begin = time.monotonic()
    while (status := client.get(host)[0]) != 200:
        if status != 404:
            errors[str(status)] += 1
        if time.monotonic() - begin > patience:
            raise Failure(f"{host} is not served after {patience} s: {status}")
        time.sleep(0.001)
    return time.monotonic() - begin


def milliseconds(seconds):
    return round(seconds * 1000, 1)


def route_change(api, binary, options):
    """Requests for a route that changes its backend and a filter with it: each has one version's of both."""
    namespace, host = "route-change", "a.example.com"

    def version(number):
        field = {"name": "X-Version", "value": BACKENDS[number]}
        change = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [field]}}
        return route("route", host, f"backend-{number}", filters=[change])

    def judge(fields, body):
        return None if fields.get("X-Version") == body.decode() else "a mixture of two versions"

    path = api_path(namespace, "httproutes")
    with api.filled([namespace]), Backend(BACKENDS[0]), Backend(BACKENDS[1]), Ferrix(binary, SETTINGS):
        for number, address in enumerate(BACKENDS[:2]):
            api.service(namespace, f"backend-{number}", [address])
        address = gateway(api, namespace)
        api.create(path, version(0))
        until_served(Client(address, 80), host, Counter())
        with Load(address, [host], judge) as load:
            for turn in range(1, options.changes + 1):
                time.sleep(0.2)
                api.patch(f"{path}/route", {"spec": version(turn % 2)["spec"]})
            time.sleep(0.2)
    both = min(load.seen[address.encode()] for address in BACKENDS[:2])
    return {"changes": options.changes, "least_of_a_version": both, **load.figures()}


def load_and_churn(api, binary, options):
    """Routes, each with its Service, of which endpoints and some routes change all the time."""
    spaces = [f"churn-{number}" for number in range(options.churn_namespaces)]
    places = [(space, number) for number in range(options.churn_routes // len(spaces)) for space in spaces]

    def make(place):
        space, number = place
        name, path = f"route-{number}", api_path(space, "httproutes")
        api.service(space, name, [address_of(0, *place)])
        api.create(path, route(name, f"{number}.{space}.example.com", name))

    with api.filled(spaces), Ferrix(binary, SETTINGS) as ferrix:
        for space in spaces:
            gateway(api, space)
        empty, _ = ferrix.memory()
        begin = time.monotonic()
        in_parallel(make, places)
        each = len(places) // len(spaces)
        all_attached = lambda: all(attached(api, space) == each for space in spaces)
        wait_for("all routes to be attached", all_attached, pause=0.5)
        set_up, set_up_cpu = time.monotonic() - begin, ferrix.cpu()
        rest = ferrix.settle(QUIET * 2)
        quiet = used(ferrix, lambda: time.sleep(options.seconds))
        changes = Counter()
        busy = used(ferrix, lambda: churn(api, places, options.seconds, changes))
        end, most = ferrix.memory()
    return {
        "routes": len(places),
        "set_up_seconds": round(set_up, 1),
        "set_up_cpu_seconds": round(set_up_cpu, 1),
        "memory_empty": empty,
        "memory_at_rest": rest,
        "cpu_at_rest": quiet,
        "changes": dict(changes),
        "seconds": options.seconds,
        "cpu_in_churn": busy,
        "memory_after": end,
        "memory_most": most,
    }


def address_of(round_, space, number):
    """An address that nobody has, another one in each round."""
    return f"10.{1 + round_ % 200}.{int(space.split('-')[1])}.{number + 1}"


def used(ferrix, work):
    """The share of one core that Ferrix used meanwhile."""
    begin, before = time.monotonic(), ferrix.cpu()
    work()
    return round((ferrix.cpu() - before) / (time.monotonic() - begin), 4)


def churn(api, places, seconds, changes):
    """Every 20 ms other endpoints of a Service, and every second another version of a route."""
    begin = time.monotonic()
    turn = 0
    while (passed := time.monotonic() - begin) < seconds:
        space, number = places[turn % len(places)]
        api.patch(f"{slices(space)}/route-{number}", {"endpoints": endpoints([address_of(turn + 1, space, number)])})
        changes["endpoints"] += 1
        if changes["routes"] < passed:
            path, host = api_path(space, "httproutes"), f"{turn}-{number}.{space}.example.com"
            api.patch(f"{path}/route-{number}", {"spec": {"hostnames": [host]}})
            changes["routes"] += 1
        turn += 1
        time.sleep(max(0, begin + turn * 0.02 - time.monotonic()))


def listener_sets(api, binary, options):
    """ListenerSets of one Gateway, each with a listener for HTTPS and routes of its own."""
    count, each = options.listener_sets, options.routes_of_set
    spaces = [f"sets-{number}" for number in range(max(1, count // 50))]
    sets = [(space, number) for space in spaces for number in range(count // len(spaces))]
    certificate, key = self_signed()
    secret = {"type": "kubernetes.io/tls", "stringData": {"tls.crt": certificate, "tls.key": key}}
    tls = ssl.create_default_context(cadata=certificate)
    tls.check_hostname = False
    ferrix, errors = Ferrix(binary, SETTINGS, secrets="cluster"), Counter()
    with api.filled(spaces), Backend(BACKENDS[0]), ferrix:
        for space in spaces:
            api.service(space, "backend", BACKENDS[:1])
            api.create(core(space, "secrets"), {"metadata": {"name": "certificate"}, **secret})
        address = gateway(api, spaces[0], allowedListeners={"namespaces": {"from": "All"}})
        begin, written = time.monotonic(), api.status_writes()
        made = make_sets(api, sets, each, options.sets_seconds)
        created = time.monotonic() - begin
        complete = lambda: sets_with(api, spaces, each) >= len(made)
        wait_for("all routes of all sets to be attached", complete, patience=300, pause=2)
        right, cpu = time.monotonic() - begin, ferrix.cpu()
        for place in made[-100:]:
            until_served(Client(address, 443, tls), host_of(place, each - 1), errors)
        rest = ferrix.settle(QUIET * 2)
        writes = difference(written, api.status_writes())
        quiet = used(ferrix, lambda: time.sleep(options.seconds))
        one_more = until_one_more(api, Client(address, 443, tls), made[0], each)
        most = ferrix.memory()[1]
    return {
        "listeners": len(made),
        "wanted_listeners": count,
        "routes": len(made) * each,
        "created_seconds": round(created, 1),
        "seconds": round(right, 1),
        "cpu_seconds": round(cpu, 1),
        "errors": dict(errors),
        "one_more_ms": one_more,
        "status_writes": writes,
        "memory_at_rest": rest,
        "memory_most": most,
        "cpu_at_rest": quiet,
    }


def make_sets(api, sets, each, seconds):
    """Makes ListenerSets with their routes, in order, for so long. Returns those that were made."""
    end, made = time.monotonic() + seconds, []

    def make(place):
        if time.monotonic() < end:
            make_set(api, place, each)
            made.append(place)

    in_parallel(make, sets)
    return made


def make_set(api, place, each):
    space, number = place
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "certificate"}]}
    listener = {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": f"*.{domain_of(place)}", "tls": tls}
    spec = {"parentRef": {"kind": "Gateway", "name": "scale", "namespace": "sets-0"}, "listeners": [listener]}
    api.create(api_path(space, "listenersets"), manifest("ListenerSet", f"set-{number}", spec))
    for at in range(each):
        make_route_of_set(api, place, at)


def make_route_of_set(api, place, at):
    space, number = place
    made = route(f"set-{number}-{at}", host_of(place, at), "backend", "ListenerSet", f"set-{number}")
    api.create(api_path(space, "httproutes"), made)


def domain_of(place):
    space, number = place
    return f"s{number}.{space}.example.com"


def host_of(place, at):
    return f"r{at}.{domain_of(place)}"


def sets_with(api, spaces, each):
    """How many ListenerSets say that all their routes are attached."""
    complete = 0
    for space in spaces:
        for it in api.get(api_path(space, "listenersets"))["items"]:
            listeners = it.get("status", {}).get("listeners", [])
            complete += bool(listeners) and listeners[0]["attachedRoutes"] == each
    return complete


def until_one_more(api, client, place, each):
    """How long a route takes that joins all the others: the median of some."""
    latencies = []
    for at in range(each, each + 20):
        make_route_of_set(api, place, at)
        latencies.append(until_served(client, host_of(place, at), Counter()))
    return milliseconds(median(latencies))


def self_signed():
    """A certificate, its own authority, and its key, as PEM."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder) / "key", Path(folder) / "certificate"
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        make += ["-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:*.example.com", "-days", "30"]
        subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return certificate.read_text(), key.read_text()


def backend_failover(api, binary, options):
    """One of four endpoints in turn: killed while its address stays, and taken out before it ends."""
    namespace = "failover"
    hosts = [f"{number}.example.com" for number in range(16)]
    backends = [Backend(address) for address in BACKENDS]
    told = f"{slices(namespace)}/backend"
    good = lambda fields, body: None if body.decode() in BACKENDS else "not of a backend"
    try:
        with api.filled([namespace]), Ferrix(binary, SETTINGS) as ferrix:
            api.service(namespace, "backend", BACKENDS)
            address = gateway(api, namespace)
            for number, host in enumerate(hosts):
                api.create(api_path(namespace, "httproutes"), route(f"route-{number}", host, "backend"))
                until_served(Client(address, 80), host, Counter())
            with Load(address, hosts, good) as killed:
                for backend in backends:
                    backend.kill()
                    time.sleep(options.down_seconds)
                    backend.begin()
                    time.sleep(options.down_seconds)
            failures = connect_failures(ferrix)
            with Load(address, hosts, good) as removed:
                for backend in backends:
                    others = [it.address for it in backends if it is not backend]
                    api.patch(told, {"endpoints": endpoints(others)})
                    time.sleep(1)
                    backend.kill()
                    time.sleep(options.down_seconds)
                    backend.begin()
                    api.patch(told, {"endpoints": endpoints(BACKENDS)})
                    time.sleep(1)
    finally:
        for backend in backends:
            backend.kill()
    return {
        "killed": {"times": len(backends), "connect_failures": failures, **killed.figures()},
        "removed": {"times": len(backends), **removed.figures()},
    }


def connect_failures(ferrix):
    lines = ferrix.ask("/metrics")[1].decode().splitlines()
    found = [line for line in lines if line.startswith("ferrix_service_connect_failures")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in found)


SCENARIOS = {
    "attached_routes": attached_routes,
    "probe": probe,
    "route_change": route_change,
    "load_and_churn": load_and_churn,
    "backend_failover": backend_failover,
    "listener_sets": listener_sets,
}
