"""`streamrec serve` and the worker of the same, as processes that are told to stop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamrec.cli.serve import command

RUN = "import sys; from streamrec.cli.main import main; sys.argv[0] = 'streamrec'; main()"


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_it_waits_for_a_model_and_stops_cleanly_on_sigterm() -> None:
    arguments = ["serve", "--store", "memory", "--name", "later", "--port", "0", "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else b""
        told = json.loads(line)
        assert told.keys() == {"url", "model", "store"}
        assert get(told["url"] + "/healthz")[0] == 200
        status, body = get(told["url"] + "/readyz")
        assert (status, json.loads(body)["detail"]) == (503, "waiting for the first commit of model 'later'")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"")
    assert b"Traceback" not in err


def test_the_worker_takes_its_settings_from_the_environment(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "STREAMREC_STORE": "memory",
        "STREAMREC_PORT": "0",
        "STREAMREC_HOST": "127.0.0.1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "workers.serve"], env=environment, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert line.startswith("serving model 'default' on http://127.0.0.1:"), line
        assert get(line.split()[-1] + "/healthz")[0] == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize("by_environment", [False, True])
def test_events_go_where_they_are_told_to(tmp_path: Path, by_environment: bool) -> None:
    log, program = tmp_path / "events.jsonl", [sys.executable, "-c", RUN]
    arguments = ["serve", "--store", "memory", "--port", "0", "--events", str(log)]
    if by_environment:
        program, arguments = [sys.executable, "-m", "workers.serve"], []
    environment = {"STORE": "memory", "PORT": "0", "HOST": "127.0.0.1", "EVENTS": str(log)}
    settings = {f"STREAMREC_{name}": value for name, value in environment.items()}
    with subprocess.Popen(
        [*program, *arguments], env={**os.environ, **settings}, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        url = re.findall(rb"http://[0-9.:]+", process.stderr.readline())[0].decode()
        event = b'{"type":"click","id":"c1","time":1,"impression":"i1"}'
        with urllib.request.urlopen(url + "/v1/events", event, timeout=30) as answer:
            assert json.load(answer) == {"accepted": 1, "errors": []}
        assert log.read_bytes() == event + b"\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("events", ["kafka://127.0.0.1:1", "nowhere/log.jsonl", "log.jsonl.gz", "http://a/b"])
def test_a_wrong_place_for_events_is_told_at_once(events: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "serve", "--store", "memory", "--events", events],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert events in done.stderr


@pytest.mark.parametrize("by_environment", [False, True])
def test_who_has_no_token_is_refused_and_none_is_written_down(tmp_path: Path, by_environment: bool) -> None:
    (tmp_path / "tokens").write_text("file-token-0123456789\n")
    program = [sys.executable, "-c", RUN, "serve", "--store", "memory", "--port", "0"]
    program += ["--token-file", str(tmp_path / "tokens"), "--max-requests", "7"]
    if by_environment:
        program = [sys.executable, "-m", "workers.serve"]
    settings = {"STORE": "memory", "PORT": "0", "HOST": "127.0.0.1", "TOKEN": "own-token-0123456789"}
    settings |= {"TOKEN_FILE": str(tmp_path / "tokens"), "MAX_REQUESTS": "7"}
    environment = {f"STREAMREC_{name}": value for name, value in settings.items()}
    with subprocess.Popen(program, env={**os.environ, **environment}, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        url = re.findall(rb"http://[0-9.:]+", first)[0].decode()
        assert get(url + "/v1/model")[0] == 401
        for token in ("own-token-0123456789", "file-token-0123456789"):
            request = urllib.request.Request(url + "/v1/model", headers={"Authorization": f"Bearer {token}"})
            with pytest.raises(urllib.error.HTTPError, match="503") as caught:  # there is no model
                urllib.request.urlopen(request, timeout=10)
            caught.value.close()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert b"token-0123456789" not in first


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"STREAMREC_STORE": "memory", "STREAMREC_MAX_REQUESTS": "0"},
            "UsageError: environment variables STREAMREC_MAX_REQUESTS, STREAMREC_MAX_DELAY_MS, "
            "STREAMREC_RECEIVE_TIMEOUT and STREAMREC_IDLE_TIMEOUT: expected 1 or more, "
            "got 0, 400, 10 and 75\n",
        ),
        (
            {"STREAMREC_STORE": "memory", "STREAMREC_TLS_KEY": "key.pem"},
            "UsageError: TLS: a key or client CA, but no certificate; give the certificate's file, too\n",
        ),
        ({}, "UsageError: environment variable STREAMREC_STORE is not set; this worker needs it\n"),
        (
            {"STREAMREC_STORE": "memory", "STREAMREC_PORT": "x"},
            "UsageError: environment variable STREAMREC_PORT: expected a whole number, got 'x'\n",
        ),
    ],
)
def test_wrong_settings_of_the_worker_are_one_line(settings: dict[str, str], said: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMREC_")}
    done = subprocess.run(
        [sys.executable, "-m", "workers.serve"],
        check=False,
        env={**environment, **settings},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, said)


def test_help_is_quick_and_names_every_option() -> None:
    start = time.monotonic()
    done = CliRunner().invoke(command, ["--help"])
    assert time.monotonic() - start < 1
    protection = ("--token-file", "--tls-cert", "--tls-key", "--tls-client-ca")
    limits = ("--max-requests", "--max-delay-ms", "--receive-timeout", "--idle-timeout")
    for option in ("--store", "--name", "--host", "--port", "--events", "--json", *protection, *limits):
        assert option in done.output
