"""The files of `deploy/`, parsed, and what the workers say of themselves."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from streamrec.transport.kafka import url as kafka_url

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text("utf-8"))
RULES = yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))
DASHBOARD = json.loads((DEPLOY / "dashboards" / "streamrec.json").read_text("utf-8"))
#: An image by a version of three numbers: `latest`, `3` or `3.1` would be another one tomorrow.
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.-]+)?")


class Worker(NamedTuple):
    """One container that runs a worker."""

    where: str
    module: str
    environment: dict[str, str | None]  # None: the value is in a secret


def manifests(*names: str) -> list[dict[str, Any]]:
    """The objects of these files of `kubernetes/`; by default of all that are applied, and the template."""
    files = names or (*KUSTOMIZATION["resources"], "secret.example.yaml")
    texts = [(DEPLOY / "kubernetes" / name).read_text("utf-8") for name in files]
    return [document for text in texts for document in yaml.safe_load_all(text)]


def objects(kind: str) -> list[dict[str, Any]]:
    return [each for each in manifests() if each["kind"] == kind]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in objects(kind) if each["metadata"]["name"] == name]
    return found


def pods() -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(workload, pod, its main container)."""
    for workload in [*objects("Deployment"), *objects("StatefulSet")]:
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield workload, pod, container


def workers() -> list[Worker]:
    """Every container that runs one of our modules, here and there."""
    found = [
        Worker(f"compose {name}", _module(service["command"]), {**service.get("environment", {})})
        for name, service in COMPOSE["services"].items()
        if service["image"].startswith("streamrec:")
    ]
    for workload, _, container in pods():
        environment = {**_secrets(container), **dict(_variable(each) for each in container["env"])}
        found.append(Worker(workload["metadata"]["name"], _module(container["command"]), environment))
    return found


def _module(command: list[str]) -> str:
    program, option, module = command
    assert (program, option) == ("python", "-m")
    return module


def _secrets(container: dict[str, Any]) -> dict[str, None]:
    names = [each["secretRef"]["name"] for each in container["envFrom"]]
    return {key: None for name in names for key in named("Secret", name)["stringData"]}


def _variable(entry: dict[str, Any]) -> tuple[str, str]:
    if "value" in entry:
        return entry["name"], entry["value"]
    reference = entry["valueFrom"]["configMapKeyRef"]
    return entry["name"], named("ConfigMap", reference["name"])["data"][reference["key"]]


def documented(module: str) -> set[str]:
    """The variables of a worker, by its docstring, and those of every Kafka URL; `…_X` repeats a beginning."""
    texts = [importlib.import_module(module).__doc__ or "", kafka_url.__doc__ or ""]
    texts.append(importlib.import_module("workers.health").__doc__ or "")
    short = re.findall(r"…_([A-Z_]+)", texts[1])
    return set(re.findall(r"STREAMREC_[A-Z_]*[A-Z]", " ".join(texts))) | {
        f"STREAMREC_KAFKA_{name}" for name in short
    }


def variables_read(module: str) -> set[str]:
    """The variables that a worker asks `workers.environment` for."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
    return {
        f"STREAMREC_{node.args[0].value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("text", "integer", "path")
        and isinstance(node.args[0], ast.Constant)
    }


def probes(container: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind of probe, its httpGet): all three are wanted."""
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        yield kind, container[kind]["httpGet"]
