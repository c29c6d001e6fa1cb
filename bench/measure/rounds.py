"""Interleaved rounds: every proxy is measured once before any is measured again, so that whatever
the machine does meanwhile falls on all of them."""

import statistics
import time

from .failure import Failure
from .machine import core_times, used_share
from .processes import Process


def interleave(fleet, rounds, measure, warm_up=None):
    """By name: {"samples": [...]} of `measure(proxy)`, or {"error": ...}. One failure makes the whole
    measurement of that proxy worthless, and nobody else's."""
    results = {name: {"samples": []} for name in fleet}
    for number in range(-1, rounds):
        for name, proxy in fleet.items():
            if "error" in results[name]:
                continue
            try:
                if isinstance(proxy, Failure):
                    raise proxy
                sample = (warm_up or measure)(proxy) if number < 0 else measure(proxy)
                # The first round warms up.
                if number >= 0:
                    results[name]["samples"].append(sample)
            except Failure as failure:
                results[name] = {"error": str(failure)}
    return results


def a_few(fleet, options, measure):
    """At most three rounds of `measure(proxy, seconds)`, for what tells enough in them."""
    return interleave(
        fleet,
        min(options.rounds, 3),
        lambda proxy: measure(proxy, options.seconds),
        lambda proxy: measure(proxy, min(1, options.seconds)),
    )


def sample(proxy, load):
    """What `load()` cost the proxy. `load` returns how many requests it was."""
    process: Process = proxy.process
    cores = core_times("cpu1")
    begin, (cpu, user, system) = time.monotonic(), process.cpu()
    count = load()
    seconds, after = time.monotonic() - begin, process.cpu()
    if not process.alive():
        raise Failure(f"ended under load: {process.last_words()}")
    return {
        "count": count,
        "seconds": round(seconds, 4),
        "cpu": round(after[0] - cpu, 6),
        "user": round(after[1] - user, 2),
        "system": round(after[2] - system, 2),
        # Nothing can be said of a proxy's peak where the load's core is the bottleneck.
        "load_core": round(used_share(cores, core_times("cpu1")), 3),
    }


def cost(sample):
    """Microseconds of CPU per request."""
    return sample["cpu"] * 1e6 / sample["count"]


def median(samples, value):
    return statistics.median(value(sample) for sample in samples)
