"""The Gateway API's kinds, from the module that its authors publish."""

import json
from pathlib import Path

from .commands import run
from .kubectl import kubectl

MODULE = "sigs.k8s.io/gateway-api@v1.6.3"

CHANNELS = ["standard", "experimental"]


def install(cluster, channel):
    """Makes the API server know the kinds of a channel, ReferenceGrant among them.

    The authors' policy refuses the experimental channel where the standard one is, and the other
    way round: that takes another cluster.
    """
    module = json.loads(run(["go", "mod", "download", "-json", MODULE], cwd="/"))
    folder = Path(module["Dir"]) / "config/crd" / channel
    files = sorted(folder.glob("gateway.networking*.yaml"))
    # Large definitions, which a busy machine takes its time for.
    apply = ["apply", "--server-side", "--request-timeout=60s"]
    kubectl(cluster, *apply, *[f"--filename={file}" for file in files])
    print(f"{len(files)} files of {MODULE}, channel {channel}, are applied")
