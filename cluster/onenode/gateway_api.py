"""The Gateway API's kinds, from the module that its authors publish."""

import json
from pathlib import Path

from .commands import run
from .kubectl import kubectl

MODULE = "sigs.k8s.io/gateway-api@v1.6.3"


def install(cluster):
    """Makes the API server know the standard kinds, ReferenceGrant among them."""
    module = json.loads(run(["go", "mod", "download", "-json", MODULE], cwd="/"))
    folder = Path(module["Dir"]) / "config/crd/standard"
    files = sorted(folder.glob("gateway.networking*.yaml"))
    kubectl(cluster, "apply", "--server-side", *[f"--filename={file}" for file in files])
    print(f"{len(files)} files of {MODULE} are applied")
