"""The Dockerfile, as far as it can be read without an engine, and what its build runs."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from deploy_files import DEPLOY, PINNED, ROOT, pods

#: For one process, on a machine that has other things to do.
_COMPILE_S = 300
TEXT = (DEPLOY / "Dockerfile").read_text("utf-8")


def instructions() -> list[tuple[str, str]]:
    """(KEYWORD, the rest), continued lines joined, comments left out."""
    lines = [line for line in TEXT.splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in whole.splitlines() if line.strip()]


def given(keyword: str) -> list[str]:
    return [rest for word, rest in instructions() if word == keyword]


def environment() -> dict[str, str]:
    return dict(part.split("=", 1) for line in given("ENV") for part in shlex.split(line))


def test_the_base_is_pinned_and_slim_and_a_python_that_we_support() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for image in {line.split()[0] for line in given("FROM")}:
        assert PINNED.fullmatch(image)
        version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-\w+", image)
        assert version
        assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_the_last_user_is_not_root_and_the_one_of_kubernetes() -> None:
    user, group = given("USER")[-1].split(":")
    assert int(user) > 0
    for _, pod, _ in pods():
        context = pod["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))


def test_packages_are_the_pinned_ones() -> None:
    (install,) = [line for line in given("RUN") if "pip install" in line]
    assert "--constraint deploy/constraints.txt" in install
    assert '".[fast]"' in install


def test_everything_copied_is_there_and_not_ignored() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    taken = {line[1:] for line in ignored if line.startswith("!")}
    copied = [part for line in given("COPY") if "--from" not in line for part in line.split()[:-1]]
    assert len(copied) > 5
    for path in copied:
        assert (ROOT / path).exists()
        assert path in taken
    assert taken == set(copied)


def test_the_wheel_finds_what_it_includes() -> None:
    """hatchling is given a part of the tree only."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    copied = {part for line in given("COPY") for part in line.split()[:-1]}
    for path in [*wheel["packages"], *wheel["force-include"]]:
        assert any(path == part or path.startswith(f"{part}/") for part in copied)


def test_commands_run_modules_that_exist() -> None:
    modules = re.findall(r'\["python", "-m", "([\w.]+)"\]', " ".join(given("CMD") + given("HEALTHCHECK")))
    assert sorted(modules) == ["workers.health", "workers.serve"]
    for module in modules:
        assert callable(importlib.import_module(module).main)


def test_kernels_are_where_kubernetes_takes_and_mounts_them() -> None:
    folder = environment()["NUMBA_CACHE_DIR"]
    for _, pod, container in pods():
        (copy,) = pod["initContainers"]
        assert f"{folder}/." in copy["command"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["kernels"] == folder
        assert copy["command"][-1] == copy["volumeMounts"][0]["mountPath"]


def learned(stream: Path, variables: dict[str, str]) -> str:
    """state_sha256 after a replay by the command."""
    command = [
        "from streamrec.cli.main import main; main()",
        "replay",
        str(stream),
        "--store",
        "memory",
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-c", *command],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=_COMPILE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("{")]
    kernels = [line for line in done.stdout.splitlines() if "data saved" in line]
    assert kernels == []  # the image would have compiled them when it starts
    return str(json.loads(told[-1])["state_sha256"])


@pytest.mark.slow
@pytest.mark.timeout(3 * _COMPILE_S)  # compiles everything: 40 s of one core
@pytest.mark.integration
def test_warm_kernels_are_all_that_a_replay_needs_and_compute_the_same(tmp_path: Path) -> None:
    """As the image is built, and then used: nothing is compiled again; the same bits as this machine's own."""
    portable = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
    assert re.search(rf"^ARG NUMBA_CPU_NAME={portable['NUMBA_CPU_NAME']}$", TEXT, re.MULTILINE)
    kernels = {**portable, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    subprocess.run(
        [sys.executable, str(DEPLOY / "warm.py"), "wide"],
        env={**os.environ, **kernels},
        check=True,
        timeout=_COMPILE_S,
    )
    stream = tmp_path / "stream.jsonl"
    line = '{"type":"example","id":"e%d","time":%d,"label":%d,"user":"u%d","item":"i","features":{"x":%s,"g":["a","b"]}}\n'
    stream.write_text("".join(line % (n, 1000 * n, n % 3 == 0, n % 11, n / 7) for n in range(3000)))
    warm = learned(stream, {**kernels, "NUMBA_DEBUG_CACHE": "1"})
    assert warm == learned(stream, {})
