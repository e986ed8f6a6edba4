"""compose.yaml: pinned, on loopback, healthy, and accepted by Docker's own client where that is found."""

import re
import shutil
import subprocess
from typing import Any

import pytest
from deploy_files import COMPOSE, DEPLOY, PINNED, ROOT

import streamrec

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_everything_of_the_design_is_there() -> None:
    assert {"kafka", "redis", "joiner", "learner", "scorer", "prometheus", "grafana"} <= set(SERVICES)
    assert SERVICES["scorer"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", SERVICES)
def test_the_image_is_pinned(name: str) -> None:
    assert PINNED.fullmatch(SERVICES[name]["image"])


def test_versions_are_those_of_the_project() -> None:
    pom = (DEPLOY / "kafka" / "pom.xml").read_text("utf-8")
    version = re.search("<kafka.version>(.+?)<", pom)
    assert version
    for name in ("kafka", "topics"):
        assert SERVICES[name]["image"] == f"apache/kafka:{version[1]}"
    for name in ("joiner", "learner", "scorer"):
        assert SERVICES[name]["image"] == f"streamrec:{streamrec.__version__}"
        build = SERVICES[name]["build"]
        assert (DEPLOY / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_of_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_health_is_checked(name: str) -> None:
    """The image checks our own workers; what makes the topics ends."""
    ours = SERVICES[name]["image"].startswith("streamrec:")
    assert ours != ("healthcheck" in SERVICES[name]) or name == "topics"


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_waits_for_and_mounts_is_there(name: str) -> None:
    service = SERVICES[name]
    for other, condition in service.get("depends_on", {}).items():
        if condition["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert SERVICES[other]["restart"] == "on-failure"
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", ["joiner", "learner", "scorer"])
def test_workers_have_no_rights_and_time_to_end(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["init"] is True
    assert int(service["stop_grace_period"].removesuffix("s")) > 5  # DESIGN: SIGTERM ends a worker in 5 s


def test_a_full_redis_forgets_nothing() -> None:
    command = SERVICES["redis"]["command"]
    settings = dict(zip(command[1::2], command[2::2], strict=True))
    assert settings["--maxmemory-policy"] == "noeviction"
    assert settings["--appendonly"] == "yes"


def test_docker_s_own_client_accepts_it() -> None:
    for client in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(client[0]) and _run([*client, "version"]).returncode == 0:
            done = _run([*client, "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"])
            assert (done.returncode, done.stderr) == (0, "")
            return
    pytest.skip("neither `docker compose` nor `docker-compose` is on this machine")


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
