"""The official Node clients: installed once into a cache folder of the user, run on one subscription at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CLIENTS", "MissingError", "command", "install"]

CLIENTS = ("yellowstone-4", "yellowstone-7", "helius-laserstream")
"""@triton-one/yellowstone-grpc 4.0.2 and 7.0.1, and helius-laserstream 0.9.0."""

_NODE = Path(__file__).resolve().parent / "node"
_INSTALL_SECONDS = 180


class MissingError(Exception):
    """The clients cannot be had here; the message says why."""


def install() -> Path:
    """The folder that holds the clients' node_modules. Raises MissingError without node, npm or a package registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise MissingError("node and npm are not installed")
    manifest = (_NODE / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "copytrader" / f"official-clients-{hashlib.sha256(manifest).hexdigest()[:12]}"
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_bytes(manifest)
    try:
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--silent"],
            cwd=folder, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise MissingError(f"npm could not install the official clients: {said[-1] if said else error}") from error
    (folder / "complete").touch()
    return folder


def command(client: str, address: str, wanted: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """What to run, and in which environment, for one subscription; see node/client.cjs for `wanted` and the answer."""
    environment = {**os.environ, "NODE_PATH": str(install() / "node_modules")}
    return ["node", str(_NODE / "client.cjs"), client, address, json.dumps(wanted)], environment
