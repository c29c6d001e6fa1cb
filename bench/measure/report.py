"""Renders results: tables in Markdown with ratios to nginx, and plots beside them."""

import json
from statistics import median

from . import cpu, filters, instructions, plot
from .goals import goals
from .proxies import TITLES
from .rounds import cost


def write(results, folder):
    plots = folder / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(results).items():
        (plots / f"{name}.svg").write_text(picture)
    (plots / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "benchmarks.md").write_text(text(results) + scale_text(plots / "scale.json"))


def write_scale(results, folder):
    """What was measured in a cluster, into the page of the last run of all else."""
    (folder / "benchmarks" / "scale.json").write_text(json.dumps(results, indent=1) + "\n")
    write(json.loads((folder / "benchmarks" / "results.json").read_text()), folder)


def text(results):
    """The whole page. What was not measured is left out."""
    done = results["scenarios"]
    parts = [introduction(results)]
    if all(name in done for name in ("cpu", "latency")):
        parts.append(goal_table(results))
    for name, section in SECTIONS.items():
        if name in done:
            data = done[name]["data"]
            parts.append(f"Failed as a whole: {data['error']}" if "error" in data else section(results, data))
    parts.append(conduct(results))
    return "\n\n".join(parts) + "\n"


def introduction(results):
    machine, options = results["machine"], results["options"]
    count = results["sittings"]
    sittings = "all of it in one run" if count == 1 else f"in {count} sittings with the same programs"
    versions = ", ".join(
        f"{TITLES.get(name, name)} {version}" for name, version in machine["versions"].items() if version
    )
    return f"""# Benchmarks

Made by `bench/run.py` on {results["date"]}, {sittings}; do not edit. What is measured, how, why
it is fair and what to distrust: [bench/README.md](../bench/README.md). All figures:
[results.json](benchmarks/results.json).

**Read the ratios, not the absolute figures**: they carry over to other machines, the others do not.
Every cell is the median of interleaved rounds, with the least and the most in brackets, and then
the ratio to nginx. A measurement in which one answer was lost or not good is no figure but "failed".

* Machine: {hardware(machine)}.
* Each proxy has one worker on core 0; load and backend have core 1. {options["routes"]:,} routes unless
  said otherwise, each of one host and path. Rounds of {options["seconds"]:g} s, or of 1 s
  where that is enough.
* Versions: {versions}."""


def hardware(machine):
    return (
        f"{machine['processor']}{', virtual' if machine['virtual'] else ''}, {machine['cores']} cores,\n"
        f"  {machine['memory_bytes'] / 2**30:.0f} GiB of memory; Linux {machine['kernel']}, {machine['system']}"
    )


def conduct(results):
    rows = [
        [name, f"{scenario['seconds']:.0f} s", f"{scenario['busy_before'] * 100:.0f} %"]
        for name, scenario in results["scenarios"].items()
    ]
    return "\n\n".join(
        [
            "## How quiet it was",
            "Before each measurement, with ours at rest: the share of all cores that others used. Distrust "
            "what follows a share of more than a few percent.",
            table(["measurement", "took", "used by others"], rows),
        ]
    )


def goal_table(results):
    rows = [
        [title, limit, measured, {True: "met", False: "**not met**", None: "?"}[met]]
        for title, limit, measured, met in goals(results)
    ]
    words = "What Ferrix wants to reach, with metrics, forwarded headers and its routes on. kB and MB are decimal."
    return "\n\n".join(["## Goals", words, table(["", "goal", "measured", ""], rows)])


def cpu_section(results, data):
    small = ["h1-100", "h1-10k", "h2-100"]
    large = ["down", "up", "down-tls", "up-tls"]
    split = compare(
        results,
        {
            "in user mode, µs": (data["h1-100"], lambda s: s["user"] / (s["user"] + s["system"] or 1) * cost(s)),
            "in the kernel, µs": (data["h1-100"], lambda s: s["system"] / (s["user"] + s["system"] or 1) * cost(s)),
            "requests/s reached": (data["h1-100"], rate),
            "load's core used, %": (data["h1-100"], lambda s: s["load_core"] * 100),
        },
        ratio=False,
    )
    return "\n\n".join(
        [
            "## CPU per request",
            "Microseconds of one core; less is better. To an HTTP/1 backend. 64 connections over HTTP/1; 8 "
            "with 32 streams each over HTTP/2. Bare pingora-proxy has no routes, headers or metrics: it is the "
            "price of the library and no peer.",
            image("cpu", "CPU per request"),
            compare(results, {cpu.CASES[case][0]: (data[case], cost) for case in small}),
            "Of HTTP/1 with 100 B. Where the core of the load is fully used, a proxy could have done more than "
            "the rate reached.",
            split,
            "## Requests per CPU second",
            "What one core could do at most; more is better.",
            compare(results, {cpu.CASES[case][0]: (data[case], lambda s: s["count"] / s["cpu"]) for case in small}),
            "## Large bodies",
            "MiB moved per CPU second; more is better. 8 connections over HTTP/1.",
            image("large", "Large bodies"),
            compare(results, {cpu.CASES[case][0]: (data[case], lambda s: s["count"] / s["cpu"]) for case in large}),
        ]
    )


def latency_section(results, data):
    parts = [
        "## Latency",
        "Milliseconds, p50 / p99 / p99.9, of 100 B over HTTP/1, at constant rates in an open loop: a latency "
        "counts from when the request was due, whether or not the proxy was ready for it. Less is better.",
        image("latency", "p99 latency over rate"),
    ]
    for key, title in [("of_nginx", "of nginx's peak"), ("of_own", "of the proxy's own peak")]:
        shares = data[key]
        rows, notes = [], []
        for name in results["peers"]:
            cells = [cell_of(shares[share].get(name), latencies, name, notes) for share in shares]
            rows.append([TITLES[name], *cells])
        parts += [table(["", *(f"{share} % {title}" for share in shares)], rows), *notes]
    peaks = ", ".join(
        f"{TITLES[name]} {median(found['samples']):,.0f}" for name, found in data["peaks"].items() if "samples" in found
    )
    return "\n\n".join([*parts, f"Peaks, requests/s: {peaks}."])


def latencies(found):
    samples = found["samples"]
    values = [median(sample[key] for sample in samples) / 1000 for key in ("p50", "p99", "p999")]
    least, most = min(s["p99"] for s in samples) / 1000, max(s["p99"] for s in samples) / 1000
    return " / ".join(f"{value:.2f}" for value in values) + f" (p99 {least:.2f}–{most:.2f})"


def one_table(title, words, columns, picture=None):
    """A section that is one comparison; `columns` is made from the data."""

    def section(results, data):
        parts = [f"## {title}", words]
        parts += [image(picture, title)] if picture else []
        return "\n\n".join([*parts, compare(results, columns(data))])

    return section


def per_cpu_second(sample):
    return sample["count"] / sample["cpu"]


def rate(sample):
    return sample["count"] / sample["seconds"]


def filters_section(results, data):
    names = [name for name in filters.NAMES if name in results["peers"]]
    peers = [name for name in names if name != "ferrix"]
    rows, notes = [], []
    for key, case in filters.CASES.items():
        costs, plain = medians(data[key]), medians(data[case.plain])
        cells = [
            cell_of(data[key].get(name), lambda found: filter_cell(found, plain.get(name)), name, notes)
            for name in names
        ]
        ratio = lambda name: f"{costs['ferrix'] / costs[name]:.2f}" if {name, "ferrix"} <= set(costs) else "–"
        rows.append([case.title, *cells, " / ".join(map(ratio, peers))])
    words = (
        "CPU microseconds per request over HTTP/1, with the ratio to the same proxy's route without a filter; less "
        "is better. Each process has a route for each filter. Nothing is refused; the length is that of the body as "
        "it was sent. Peers have what takes them a few lines ([bench/peers/filters](../bench/peers/filters)). The "
        "last column: what Ferrix needs for the whole request, by what they need."
    )
    last = "Ferrix by " + " / ".join(TITLES[name] for name in peers)
    return "\n\n".join(["## Filters", words, table(["", *(TITLES[name] for name in names), last], rows), *notes])


def filter_cell(found, plain):
    length = f", {found['bytes']:,} B" if "bytes" in found else ""
    return spread(found["samples"], cost, plain) + length


def medians(found):
    return {name: median(map(cost, of["samples"])) for name, of in found.items() if "samples" in of}


def syscalls_section(results, data):
    rows, notes = [], []
    for name in results["peers"]:
        cells = []
        for case in ("h1", "h2"):
            cells.append(cell_of(data[case].get(name), lambda found: f"{found['total']:.2f}", name, notes))
        most = data["h1"].get(name, {}).get("calls", {})
        cells.append(", ".join(f"{call} {count:.2f}" for call, count in list(most.items())[:5]))
        rows.append([TITLES[name], *cells])
    words = (
        "Per request of 100 B, counted by strace, under which every proxy is slow: calls that wait for work "
        "are fewer than at full speed, calls that read and write are not."
    )
    header = ["", "HTTP/1", "HTTP/2 over TLS", "the most frequent over HTTP/1"]
    return "\n\n".join(["## System calls", words, table(header, rows), *notes])


def allocations_section(results, data):
    rows = []
    for case, title in [("h1", "HTTP/1"), ("h2", "HTTP/2 over TLS")]:
        notes = []
        cell = cell_of(data.get(case, {}).get("ferrix"), lambda found: f"{found['per_request']:.1f}", "ferrix", notes)
        rows.append([title, cell])
    words = (
        "Per request of 100 B; Ferrix only, built with an allocator that counts. The peers have allocators "
        "of their own above the system's, whose counts would mean something else."
    )
    return "\n\n".join(["## Allocations", words, table(["", "allocations"], rows)])


def instructions_section(results, data):
    rows, notes = [], []
    names = [name for name in ("before", "ferrix") if name in results["peers"]]
    count = lambda found: f"{found['per_request']:,.0f}"
    for case, (title, _) in [each for each in instructions.CASES.items() if each[0] in data]:
        rows.append([title, *(cell_of(data[case].get(name), count, name, notes) for name in names)])
    words = (
        "Per request, in user mode, counted by valgrind; Ferrix only. A noisy machine does not change them: "
        "they show what a change of the program did, not what it costs."
    )
    header = ["", *(TITLES[name] for name in names)]
    return "\n\n".join(["## Instructions", words, table(header, rows), *notes])


def memory_section(results, data):
    rows, notes = [], []
    kinds = {"plain": "plain", "tls": "TLS", "http2": "HTTP/2 over TLS"}
    each = lambda found: f"{found['bytes_each'] / 1000:.1f}"
    left = lambda found: f"{(found['after'] - found['before']) / 1e6:.1f}"
    for name in results["peers"]:
        cells = [cell_of(data[kind].get(name), each, name, notes) for kind in kinds]
        gone = [cell_of(data[kind].get(name), left, name, []) for kind in kinds]
        start = cell_of(data["plain"].get(name), lambda found: f"{found['before'] / 1e6:.0f}", name, [])
        rows.append([TITLES[name], *cells, " / ".join(gone), start])
    words = (
        f"Of {results['options']['idle']:,} connections, each idle after one request: kB for each, and MB that "
        "the process still holds when they are gone. The last column is the process before, in MB."
    )
    header = ["", *(f"{title}, kB" for title in kinds.values()), "left after: plain / TLS / HTTP/2", "before"]
    return "\n\n".join(["## Idle connections", words, image("memory", "Idle connections"), table(header, rows), *notes])


def routes_section(results, data):
    counts = [str(count) for count in data["counts"]]
    parts = [
        "## Routes",
        "CPU microseconds per request of 100 B, with the ratio to the same proxy's figure with one route. The "
        "instances of a proxy take turns. Proxies that try routes in turn find the one asked for half way.",
        image("routes", "CPU per request by number of routes"),
    ]
    for protocol, title in [("h1", "HTTP/1"), ("h2", "HTTP/2 over TLS")]:
        rows, notes = [], []
        for name, found in data[protocol].items():
            first = found[counts[0]].get("samples")
            own = median(map(cost, first)) if first else None
            cells = [cell_of(found[count], lambda f: spread(f["samples"], cost, own), name, notes) for count in counts]
            rows.append([TITLES[name], *cells])
        parts += [table([title, *(f"{int(count):,} routes" for count in counts)], rows), *notes]
    rows, notes = [], []
    for name, found in data["memory"].items():
        rows.append([TITLES[name], cell_of(found, lambda f: f"{f['bytes'] / 1e6:.0f} MB", name, notes)])
    parts += [f"Memory with {max(data['counts']):,} routes, each to a service of its own with one endpoint:"]
    return "\n\n".join([*parts, table(["", "memory"], rows), *notes])


def churn_section(results, data):
    found = data.get("ferrix", {"error": "Ferrix was not measured"})
    if "error" in found:
        return f"## Changes of endpoints\n\nFailed: {found['error']}"
    load, delay = found["under_load"], found["delay"]
    rows = []
    for key, title in [("quiet", "quiet"), ("changing", "changing")]:
        rows.append([title, f"{median(s['rate'] for s in load[key]):,.0f}", latencies({"samples": load[key]})])
    ratio = median(s["p99"] for s in load["changing"]) / median(s["p99"] for s in load["quiet"])
    return f"""## Changes of endpoints

Ferrix only. The service under load gets or loses an endpoint {load["changes_per_second"]} times a second,
by a file in its folder; a folder is left to settle, so these became {load["published_per_second"]} tables a
second. At 60 % of its peak, milliseconds, p50 / p99 / p99.9:

{table(["", "requests/s", "latency"], rows)}

p99 while endpoints change is {ratio:.2f} times the quiet one.

From the change of a file to the first answer from the new endpoint, among {delay["routes"]:,} routes:
{delay["median_ms"]} ms ({delay["least_ms"]}–{delay["most_ms"]}). Most of it is the time for which a folder is
left to settle, which an API server does not need; `cargo bench -p ferrix-control` has the rest alone."""


def workers_section(results, data):
    titles = {
        "h1-1": "HTTP/1, 1 worker",
        "h1-2": "HTTP/1, 2 workers",
        "h2-few-1": "2 HTTP/2 connections, 1 worker",
        "h2-few-2": "2 HTTP/2 connections, 2 workers",
    }
    return "\n\n".join(
        [
            "## Two workers",
            "CPU microseconds per request of 100 B, everything on both cores: with two workers the proxy "
            "shares both with load and backend, so what is compared is the cost of a request. What two workers "
            "could do at most needs a machine with more cores.",
            compare(results, {title: (data[case], cost) for case, title in titles.items()}),
            "Requests per second reached:",
            compare(results, {title: (data[case], rate) for case, title in titles.items()}),
        ]
    )


SECTIONS = {
    "cpu": cpu_section,
    "latency": latency_section,
    "websocket": one_table(
        "WebSocket",
        "Messages of 100 B, there and back, per CPU second, on 64 connections; more is better.",
        lambda data: {"messages": (data["echo"], per_cpu_second)},
    ),
    "grpc": one_table(
        "gRPC",
        "CPU microseconds per unary call of 100 B over TLS, to a backend without; 8 connections with 32 "
        "streams. Every call's message and status are looked at. Less is better.",
        lambda data: {"a call": (data["unary"], cost)},
    ),
    "tls": one_table(
        "TLS handshakes",
        "New connections with TLS 1.3 (X25519, ECDSA P-256, AES-128-GCM), each with one request, per CPU "
        "second; more is better. The client asserts of each whether it was full or resumed.",
        lambda data: {"full": (data["full"], per_cpu_second), "resumed": (data["resumed"], per_cpu_second)},
        "tls",
    ),
    "connections": one_table(
        "New connections",
        "Without TLS, each with one request, per CPU second; more is better.",
        lambda data: {"connections": (data["new"], per_cpu_second)},
    ),
    "filters": filters_section,
    "syscalls": syscalls_section,
    "allocations": allocations_section,
    "instructions": instructions_section,
    "memory": memory_section,
    "routes": routes_section,
    "churn": churn_section,
    "workers": workers_section,
}


def compare(results, columns, ratio=True):
    """A row for each proxy; `columns`: title to the results by proxy, and the value of a sample."""
    rows, notes = [], []
    for name in results["peers"]:
        cells = []
        for found, value in columns.values():
            nginx = found.get("nginx", {}).get("samples") if ratio else None
            base = median(map(value, nginx)) if nginx else None
            cells.append(cell_of(found.get(name), lambda f: spread(f["samples"], value, base), name, notes))
        rows.append([TITLES[name], *cells])
    return "\n\n".join([table(["", *columns], rows), *notes])


def cell_of(found, render, name, notes):
    """What was measured, or that it failed, with the reason below the table."""
    if found is None:
        return "–"
    if found.get("error") == "more than its peak":
        return "beyond its peak"
    if "error" in found:
        words = " ".join(found["error"].split())[:200]
        note = f"{TITLES[name]} failed: `{words.replace('`', chr(39))}`"
        if note not in notes:
            notes.append(note)
        return "failed"
    return render(found)


def spread(samples, value, base):
    values = [value(sample) for sample in samples]
    cell = f"{figure(median(values))} ({figure(min(values))}–{figure(max(values))})"
    return cell + (f" {median(values) / base:.2f}×" if base else "")


def figure(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def image(name, title):
    return f"![{title}](benchmarks/{name}.svg)"


def pictures(results):
    """By name, those for which there are figures."""
    done = {name: scenario["data"] for name, scenario in results["scenarios"].items() if "error" not in scenario["data"]}
    made = {}
    if "cpu" in done:
        small, large = ["h1-100", "h1-10k", "h2-100"], ["down", "up", "down-tls", "up-tls"]
        groups = [(cpu.CASES[case][0], bar_group(results, done["cpu"][case], cost, split=True)) for case in small]
        made["cpu"] = plot.bars("CPU per request (full colour: in user mode)", "microseconds; less is better", groups)
        groups = [(cpu.CASES[case][0], bar_group(results, done["cpu"][case], per_cpu_second)) for case in large]
        made["large"] = plot.bars("Large bodies", "MiB per CPU second; more is better", groups)
    if "latency" in done:
        made["latency"] = plot.lines(
            "p99 latency at 30, 60 and 90 % of each one's own peak, HTTP/1, 100 B",
            "requests per second",
            "p99, milliseconds",
            latency_series(results, done["latency"]["of_own"]),
        )
    if "tls" in done:
        titles = {"full": "full handshakes", "resumed": "resumed handshakes"}
        groups = [(title, bar_group(results, done["tls"][mode], per_cpu_second)) for mode, title in titles.items()]
        made["tls"] = plot.bars("TLS handshakes", "per CPU second, with one request each; more is better", groups)
    if "memory" in done:
        titles = {"plain": "plain", "tls": "TLS", "http2": "HTTP/2 over TLS"}
        groups = [(title, memory_group(results, done["memory"][kind])) for kind, title in titles.items()]
        made["memory"] = plot.bars("Memory of an idle connection", "kB; less is better", groups)
    if "routes" in done:
        made["routes"] = plot.lines(
            "CPU per request by number of routes, HTTP/1, 100 B",
            "routes",
            "microseconds",
            routes_series(done["routes"]),
            log_x=True,
        )
    return made


def bar_group(results, found, value, split=False):
    bars = []
    for name in results["peers"]:
        samples = found.get(name, {}).get("samples")
        if samples:
            values = [value(sample) for sample in samples]
            user = median(s["user"] / (s["user"] + s["system"] or 1) for s in samples) if split else None
            bars.append((name, TITLES[name], median(values), min(values), max(values), user))
    return bars


def memory_group(results, found):
    good = {name: of["bytes_each"] / 1000 for name, of in found.items() if "error" not in of}
    values = {name: max(0, good[name]) for name in results["peers"] if name in good}
    return [(name, TITLES[name], value, value, value, None) for name, value in values.items()]


def latency_series(results, shares):
    series = []
    for name in results["peers"]:
        found = [shares[share].get(name, {}).get("samples") for share in shares]
        points = [(median(s["rate"] for s in of), median(s["p99"] for s in of) / 1000) for of in found if of]
        series.append((name, TITLES[name], points))
    return series


def routes_series(data):
    series = []
    for name, found in data["h1"].items():
        good = {count: of["samples"] for count, of in found.items() if "samples" in of}
        points = [(int(count), median(map(cost, samples))) for count, samples in good.items()]
        series.append((name, TITLES[name], points))
    return series


def scale_text(file):
    """The section of what was measured in a cluster, where that was."""
    if not file.exists():
        return ""
    results = json.loads(file.read_text())
    words = (
        f"Made by `bench/scale.py` on {results['date']}, by itself: what it does, and what to distrust, stands in "
        "[bench/README.md](../bench/README.md#scale-and-isolation), all figures in "
        "[scale.json](benchmarks/scale.json). "
        "A real API server shares the machine with Ferrix, with who writes to it and with the clients, so that times "
        f"are theirs as well. Ferrix {results['ferrix']}; {hardware(results['machine'])}."
    )
    return "\n\n".join(["\n## In a cluster", words, scale_table(results["scenarios"])]) + "\n"


def scale_table(scenarios):
    rows = []
    for name, scenario in scenarios.items():
        data = scenario["data"]
        found = [("failed", data["error"])] if "error" in data else SCALE_ROWS[name](data)
        title = name.replace("_", " ")
        rows += [[title if at == 0 else "", what, value] for at, (what, value) in enumerate(found)]
        rows.append(["", "used by others before", f"{scenario['busy_before'] * 100:.0f} %"])
    return table(["scenario", "what", "measured"], rows)


def attached_rows(data):
    rows = [("routes on one Gateway", f"{data['routes']:,}")]
    for key, title, change in [("set_up", "set-up", "made"), ("tear_down", "tear-down", "deleted")]:
        of = data[key]
        seconds = f"{of['seconds']:.1f} s; all were {change} after {of['changes_seconds']:.1f} s"
        rows.append((f"{title}: until `attachedRoutes` is right", seconds))
        rows.append((f"{title}: status writes", writes(of["status_writes"])))
    return [*rows, ("routes without a status", str(data["without_status"]))]


def probe_rows(data):
    return [
        ("routes, one at a time", f"{data['routes']:,}"),
        ("until it is served, p50 / p99 / most", f"{data['p50_ms']} / {data['p99_ms']} / {data['most_ms']} ms"),
        ("p50 of the first tenth / the last", f"{data['first_tenth_ms']} / {data['last_tenth_ms']} ms"),
        ("answers other than 404 and 200", errors(data)),
    ]


def route_change_rows(data):
    return [
        ("changes of backend and filter", str(data["changes"])),
        ("requests", f"{data['requests']:,}, at least {data['least_of_a_version']:,} of each version"),
        ("errors, and mixtures of two versions", errors(data)),
    ]


def churn_rows(data):
    changed = data["changes"]
    rate = lambda name: f"{changed[name] / data['seconds']:.0f} {name}"
    busy = f"{data['cpu_in_churn'] * 100:.1f} % of a core"
    memory = " / ".join(f"{data[f'memory_{when}']:.0f}" for when in ("empty", "at_rest", "after", "most"))
    return [
        ("routes, each with a Service of its own", f"{data['routes']:,}"),
        ("until all are attached", f"{data['set_up_seconds']:.0f} s"),
        ("CPU of Ferrix until then", f"{data['set_up_cpu_seconds']:.1f} s of a core"),
        ("memory before / at rest / after churn / most", f"{memory} MB"),
        ("CPU at rest", f"{data['cpu_at_rest'] * 100:.1f} % of a core"),
        (f"CPU with {rate('endpoints')} and {rate('routes')} changed a second", busy),
    ]


def listener_sets_rows(data):
    return [
        ("listeners of ListenerSets, and routes", f"{data['listeners']:,} and {data['routes']:,}"),
        ("until all are attached", f"{data['seconds']:.0f} s; all were made after {data['created_seconds']:.0f} s"),
        ("CPU of Ferrix until then", f"{data['cpu_seconds']:.0f} s of a core"),
        ("status writes", writes(data["status_writes"])),
        ("errors of the last 100 sets over TLS", errors(data)),
        ("until one more route is served, p50", f"{data['one_more_ms']} ms"),
        ("memory at rest / most", f"{data['memory_at_rest']:.0f} / {data['memory_most']:.0f} MB"),
        ("CPU at rest", f"{data['cpu_at_rest'] * 100:.1f} % of a core"),
    ]


def failover_rows(data):
    rows = []
    for key, title in [("killed", "killed, its address stays"), ("removed", "taken out, then ended")]:
        of = data[key]
        asked = f"{errors(of)} of {of['requests']:,} requests; the longest took {of['longest_ms']} ms"
        rows.append((f"one of four endpoints {title}, {of['times']} times: errors", asked))
    return [*rows, ("connections to the killed ones that were tried", str(data["killed"]["connect_failures"]))]


def errors(data):
    total = sum(data["errors"].values())
    named = ", ".join(f"{count} × {what}" for what, count in data["errors"].items())
    return f"{total} ({named})" if named else "0"


def writes(counts):
    return ", ".join(f"{count:,} of {name}" for name, count in counts.items() if count) or "none"


SCALE_ROWS = {
    "attached_routes": attached_rows,
    "probe": probe_rows,
    "route_change": route_change_rows,
    "load_and_churn": churn_rows,
    "backend_failover": failover_rows,
    "listener_sets": listener_sets_rows,
}
