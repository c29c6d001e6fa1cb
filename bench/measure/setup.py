"""What all proxies are asked to do in a measurement, and the ports that nobody else has."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

# Below the ephemeral ports, so that no client's connection sits on one.
PORTS = itertools.count(19100)

FILES = next(PORTS)
ECHO = next(PORTS)


@dataclass
class Setup:
    """One instance of one proxy."""

    routes: int = 1000
    # Every route its own service with one endpoint, instead of one service for all.
    services: bool = False
    workers: int = 1
    plain: bool = True
    tls: bool = True
    # A route for each filter besides, without TLS.
    filters: bool = False
    # Of Ferrix only.
    access_log: bool = False
    # Where it may run.
    cores: str = "0"
    folder: Path = None
    plain_port: int = field(default_factory=lambda: next(PORTS))
    tls_port: int = field(default_factory=lambda: next(PORTS))
    admin_port: int = field(default_factory=lambda: next(PORTS))

    @property
    def target(self):
        """The route that is asked for. Proxies that try rules one after the other find it half way."""
        return self.routes // 2

    @property
    def host(self):
        return host(self.target)

    @property
    def service_count(self):
        return self.routes if self.services else 1

    def service(self, route):
        return f"service-{route if self.services else 0}"

    def address(self, service):
        """All loopback. The service that is asked for is the backend; at the others nobody listens."""
        if not self.services or service == self.target:
            return "127.0.0.1"
        return f"127.1.{service // 250}.{service % 250 + 1}"

    def listeners(self):
        """Name, port and whether it speaks TLS."""
        both = [("web", self.plain_port, False), ("websecure", self.tls_port, True)]
        return [listener for listener in both if (self.tls if listener[2] else self.plain)]


def host(number):
    return f"host-{number}.example.com"
