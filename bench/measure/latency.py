"""Latency at constant rates, by an open loop (see ../load/src/rate.rs): shares of nginx's peak, so
that all do the same work, and shares of each one's own."""

import statistics

from . import load
from .failure import Failure
from .rounds import interleave

SHARES = [30, 60, 90]
CONNECTIONS = 64
# What is promised is judged by more rounds than what is only told.
PROMISED, ROUNDS = 60, 9


def measure(bench, options):
    names = [name for name in bench.names if name != "pingora"]
    with bench.fleet(names, routes=options.routes) as fleet:
        peaks = find_peaks(bench, fleet, options)
        return {
            "peaks": peaks,
            "of_nginx": at_shares(bench, fleet, options, peaks, lambda name: rate_of(peaks, "nginx"), PROMISED),
            "of_own": at_shares(bench, fleet, options, peaks, lambda name: rate_of(peaks, name)),
        }


def find_peaks(bench, fleet, options):
    """Requests per second of a closed loop of the same number of connections."""

    def peak(proxy):
        seconds = max(1, round(options.seconds))
        return load.wrk(bench, proxy, "/app/100", seconds, CONNECTIONS) / seconds

    return interleave(fleet, min(options.rounds, 3), peak)


def rate_of(peaks, name):
    found = peaks.get(name, {})
    if not found.get("samples"):
        raise Failure("no peak is known")
    return statistics.median(found["samples"])


def at_shares(bench, fleet, options, peaks, reference, promised=None):
    results = {}
    for share in SHARES:

        def one(proxy):
            rate = reference(proxy.name) * share / 100
            if rate > 0.97 * rate_of(peaks, proxy.name):
                raise Failure("more than its peak")
            return at_rate(bench, proxy, rate, options.latency_seconds)

        rounds = ROUNDS if share == promised and options.rounds > 1 else min(options.rounds, 3)
        # Each one warms itself up.
        results[str(share)] = interleave(fleet, rounds, one, lambda proxy: None)
    return results


def at_rate(bench, proxy, rate, seconds):
    told = load.own(
        "rate", bench, proxy, "/app/100", rate=rate, seconds=seconds, warm_up=seconds / 5, connections=CONNECTIONS
    )
    if told["unanswered"]:
        raise Failure(f"{told['unanswered']} requests were not answered in time")
    return {"rate": round(rate), **told}
