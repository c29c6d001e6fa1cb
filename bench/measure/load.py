"""The load generators, each held to the same rule: whatever is lost or not good is a Failure.

All run on the core of load and backend, and send the Host of the route in the middle.
"""

import json
import re
import subprocess
from contextlib import contextmanager

from .failure import Failure
from .paths import ENVIRONMENT, TARGET, public
from .proxies import LOAD_CORE


def run(command, bench, patience, cores=LOAD_CORE):
    command = ["taskset", "-c", cores, *map(str, command)]
    environment = {**ENVIRONMENT, "OPENSSL_CONF": str(bench.folder / "openssl.cnf")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Failure(f"the load did not end within {patience:.0f} s") from None
    if done.returncode:
        words = (done.stderr + done.stdout).strip()[-300:]
        raise Failure(public(f"the load failed: {words}"))
    return done.stdout


def wrk(bench, proxy, path, seconds, connections=64, close=False, script=None, host=None, headers=None):
    """Requests over HTTP/1 without TLS, as many as go. Returns their number."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    command += ["-H", f"Host: {host or proxy.setup.host}"]
    command += ["-H", "Connection: close"] if close else []
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    command += ["-s", script] if script else []
    url = f"http://127.0.0.1:{proxy.setup.plain_port}{path}"
    output = run([*command, url], bench, seconds + 30)
    # A connection that is refused or broken off is reported as a socket error.
    for line in output.splitlines():
        if "Non-2xx" in line or "Socket errors" in line:
            raise Failure(f"not every answer was good: {line.strip()}")
    count = int(re.search(r"(\d+) requests in", output)[1])
    if not count:
        raise Failure("no request was answered")
    return count


def h2load(
    bench,
    proxy,
    path,
    seconds=None,
    connections=8,
    streams=32,
    requests=None,
    tls=True,
    http1=False,
    body=None,
    host=None,
):
    """Requests over HTTP/2 and TLS, or HTTP/1 with or without it, for a time or of a number. Returns
    how many succeeded."""
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}"]
    command += [f"-n{requests}"] if requests else [f"-D{round(seconds * 1000)}ms"]
    command += ["--h1"] if http1 else []
    command += ["-d", body] if body else []
    port = proxy.setup.tls_port if tls else proxy.setup.plain_port
    # The name goes into the handshake too (wrk would put the address there), and is not looked up.
    url = f"{'https' if tls else 'http'}://{host or proxy.setup.host}:{port}{path}"
    output = run([*command, f"--connect-to=127.0.0.1:{port}", url], bench, (seconds or 30) + 30)
    line = re.search(r"requests: .*", output)[0]
    good, bad = int(re.search(r"(\d+) succeeded", line)[1]), re.findall(r"(\d+) (?:failed|errored|timeout)", line)
    status = re.search(r"status codes: .*", output)[0]
    other = re.findall(r"(\d+) [345]xx", status)
    if any(int(count) for count in bad + other) or not good:
        raise Failure(f"not every answer was good: {line}; {status}")
    if requests and good != requests:
        raise Failure(f"{good} of {requests} requests were answered")
    if f"Application protocol: {'http/1.1' if http1 else 'h2'}" not in output:
        raise Failure("another protocol was spoken")
    return good


def own(command, bench, proxy, path, tls=False, patience=60, **values):
    """A command of ../load; returns what it tells."""
    port = proxy.setup.tls_port if tls else proxy.setup.plain_port
    values = {"port": port, "host": proxy.setup.host, "path": path, "certificate": bench.certificate, **values}
    arguments = [word for key, value in values.items() for word in (f"--{key.replace('_', '-')}", value)]
    told = json.loads(run([TARGET / "release" / "load", command, *arguments], bench, patience))
    if told["errors"] or not told["requests"]:
        raise Failure(f"not every answer was good: {told['errors']} errors, {told['requests']} good")
    return told


@contextmanager
def idle(bench, proxy, kind, connections):
    """Idle connections, until the block ends."""
    tls = kind != "plain"
    # Not for ever, should the proxy not answer.
    command = ["timeout", "120", "taskset", "-c", LOAD_CORE, TARGET / "release" / "load", "idle", "--kind", kind]
    command += ["--port", proxy.setup.tls_port if tls else proxy.setup.plain_port]
    command += ["--host", proxy.setup.host, "--path", "/app/100", "--certificate", bench.certificate]
    command += ["--connections", connections]
    process = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        line = process.stdout.readline()
        if not line or json.loads(line)["requests"] != connections:
            process.kill()
            raise Failure(public(f"connections failed: {process.stderr.read().decode()[-300:]}"))
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
