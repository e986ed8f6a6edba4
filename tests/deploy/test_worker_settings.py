"""Containers start modules that exist, with variables that these read."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_files import ROOT, Worker, documented, named, variables_read, workers

from streamrec.features.settings_file import read_settings
from streamrec.learner.configuration import Settings
from streamrec.transport.kafka.url import parse_url

WORKERS = workers()
MODULES = sorted(
    f"workers.{path.stem}" for path in (ROOT / "workers").glob("*.py") if "main(" in path.read_text()
)


def test_both_ways_of_running_start_all_three() -> None:
    for place in ("compose ", "streamrec-"):
        started = {worker.module for worker in WORKERS if worker.where.startswith(place)}
        assert started == {"workers.join", "workers.learn", "workers.serve"}


@pytest.mark.parametrize("worker", WORKERS, ids=lambda worker: worker.where)
def test_the_module_exists_and_has_a_main(worker: Worker) -> None:
    assert callable(importlib.import_module(worker.module).main)


@pytest.mark.parametrize("worker", WORKERS, ids=lambda worker: worker.where)
def test_every_variable_is_one_that_the_worker_documents(worker: Worker) -> None:
    assert {name for name in worker.environment if name not in documented(worker.module)} == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_worker_documents_every_variable_that_it_reads(module: str) -> None:
    assert len(MODULES) >= 5
    assert variables_read(module) - documented(module) == set()


@pytest.mark.parametrize("worker", WORKERS, ids=lambda worker: worker.where)
def test_needed_variables_are_there(worker: Worker) -> None:
    needed = {
        "workers.join": {
            "STREAMREC_SOURCE",
            "STREAMREC_TARGET",
            "STREAMREC_METRICS_HOST",
            "STREAMREC_METRICS_PORT",
        },
        "workers.learn": {"STREAMREC_SOURCE", "STREAMREC_STORE", "STREAMREC_METRICS_PORT"},
        "workers.serve": {"STREAMREC_STORE", "STREAMREC_EVENTS"},
    }[worker.module]
    assert needed <= set(worker.environment)


def test_one_worker_s_output_is_the_next_one_s_input() -> None:
    for place in ("compose ", "streamrec-"):
        by_module = {w.module: w.environment for w in WORKERS if w.where.startswith(place)}
        join, learn, serve = (by_module[f"workers.{name}"] for name in ("join", "learn", "serve"))
        assert join["STREAMREC_TARGET"] == learn["STREAMREC_SOURCE"]
        assert join["STREAMREC_SOURCE"] == serve["STREAMREC_EVENTS"]
        for url in (join["STREAMREC_SOURCE"], join["STREAMREC_TARGET"]):
            assert parse_url(str(url), {}).one_topic()
        assert learn["STREAMREC_NAME"] == serve["STREAMREC_NAME"]
        assert learn["STREAMREC_STORE"] == serve["STREAMREC_STORE"]


def test_the_settings_file_is_valid(tmp_path: Path) -> None:
    (text,) = named("ConfigMap", "streamrec-settings")["data"].values()
    path = tmp_path / "streamrec.toml"
    path.write_text(text)
    assert read_settings(path, Settings).join.window_ms == 600_000


def test_the_secret_s_login_is_complete() -> None:
    given = named("Secret", "streamrec-kafka")["stringData"]
    security = parse_url("kafka://a:1/t", given).security
    assert (security.protocol, security.user) == ("SASL_SSL", "streamrec")


@pytest.mark.parametrize("module", ["workers.join", "workers.learn", "workers.serve"])
def test_a_missing_variable_is_one_line(module: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMREC_")}
    done = subprocess.run(
        [sys.executable, "-m", module],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("UsageError: environment variable STREAMREC_")
    assert done.stderr.count("\n") == 1


def test_the_check_of_variables_can_fail() -> None:
    assert "STREAMREC_SOUCRE" not in documented("workers.join")
    assert {"STREAMREC_KAFKA_PASSWORD", "STREAMREC_SOURCE", "STREAMREC_HEALTH_URL"} <= documented(
        "workers.join"
    )
