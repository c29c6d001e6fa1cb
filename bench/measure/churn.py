"""Latency while endpoints change 100 times a second, and how soon a change is served.

Ferrix only. nginx and HAProxy without their commercial parts or an agent beside them change endpoints
by a reload; Envoy's and Traefik's ways are other protocols, with other costs.
"""

import http.client
import statistics
import threading
import time
import urllib.request

from . import latency, load
from .configurations import write_slice
from .failure import Failure

CHANGES = 100  # a second
# The one service of all routes.
SERVICE = "service-0"


def measure(bench, options):
    if "ferrix" not in bench.names:
        return {}
    try:
        return {"ferrix": {"under_load": under_load(bench, options), "delay": delay(bench, options)}}
    except Failure as failure:
        return {"ferrix": {"error": str(failure)}}


def under_load(bench, options):
    """Quiet and changing rounds take turns, at 60 % of the peak."""
    with bench.one("ferrix", routes=options.routes, tls=False) as proxy:
        seconds = max(1, round(options.seconds))
        rate = 0.6 * load.wrk(bench, proxy, "/app/100", seconds) / seconds
        rounds = {"quiet": [], "changing": []}
        changes = published = 0
        for _ in range(min(options.rounds, 3)):
            rounds["quiet"].append(latency.at_rate(bench, proxy, rate, options.latency_seconds))
            before = generation(proxy)
            with Changes(proxy) as running:
                rounds["changing"].append(latency.at_rate(bench, proxy, rate, options.latency_seconds))
            changes += running.count
            published += generation(proxy) - before
        seconds = 1.2 * options.latency_seconds * len(rounds["quiet"])
        return {
            **rounds,
            "changes_per_second": round(changes / seconds),
            "published_per_second": round(published / seconds),
        }


class Changes:
    """The service under load has one endpoint more, and then one less."""

    def __init__(self, proxy):
        self.manifests = proxy.setup.folder / "manifests"
        self.count = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.change)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        write_slice(self.manifests, SERVICE, ["127.0.0.1"])

    def change(self):
        start = time.monotonic()
        while not self.ended.wait(max(0, start + self.count / CHANGES - time.monotonic())):
            addresses = ["127.0.0.1", "127.0.0.2"][: 2 - self.count % 2]
            write_slice(self.manifests, SERVICE, addresses)
            self.count += 1


def delay(bench, options):
    """Milliseconds from the change of a file to the first answer from the new endpoint, among the most
    routes. In it is the time for which a folder is left to settle."""
    with bench.one("ferrix", routes=options.most_routes, tls=False) as proxy:
        manifests = proxy.setup.folder / "manifests"
        client = http.client.HTTPConnection("127.0.0.1", proxy.setup.plain_port, timeout=5)
        delays = []
        for number in range(options.rounds * 4):
            time.sleep(0.3)
            address = f"127.0.0.{2 - number % 2}"
            begin = time.monotonic()
            write_slice(manifests, SERVICE, [address])
            while answering(client, proxy) != address:
                if time.monotonic() > begin + 5:
                    raise Failure("a change was not served within 5 s")
            delays.append((time.monotonic() - begin) * 1000)
        client.close()
        return {
            "routes": options.most_routes,
            "median_ms": round(statistics.median(delays), 2),
            "least_ms": round(min(delays), 2),
            "most_ms": round(max(delays), 2),
        }


def answering(client, proxy):
    client.request("GET", "/app/address", headers={"Host": proxy.setup.host})
    return client.getresponse().read().decode()


def generation(proxy):
    url = f"http://127.0.0.1:{proxy.setup.admin_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("ferrix_configuration_generation "):
                return int(float(line.split()[1]))
    raise Failure("the metrics have no generation")
