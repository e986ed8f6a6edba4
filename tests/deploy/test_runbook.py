"""runbook.md: a section for every error and every alert, none for what is not there, and commands that exist."""

import importlib
import re
import shlex
import subprocess

import click
import pytest
from deploy_files import COMPOSE, DEPLOY, RULES, objects, pods

from streamrec import errors
from streamrec.cli.main import COMMANDS
from streamrec.join.worker.state import state_topic

TEXT = (DEPLOY / "runbook.md").read_text("utf-8")
#: Kafka's tools that the image has by these names, without `kafka-` and `.sh`.
KAFKA_TOOLS = {"broker-api-versions", "console-consumer", "consumer-groups", "get-offsets", "topics"}


def sections(chapter: str) -> dict[str, str]:
    """Title → text, of one chapter."""
    (body,) = re.findall(rf"^## {chapter}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    parts = re.split(r"^### (.+)\n", body, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


def code() -> list[str]:
    """Everything that stands as code: lines of blocks, and spans."""
    prose = re.sub(r"```sh\n.*?```", "", TEXT, flags=re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [line for block in blocks() for line in block.splitlines()] + spans


def calls() -> list[list[str]]:
    """Words of every `streamrec …` (and `sr …`, which is that in a container)."""
    found = [re.search(r"(?:^|[;|] ?|\b)(?:streamrec|sr) ([a-z][^|;`#]*)", text) for text in code()]
    return [shlex.split(match[1]) for match in found if match and match[1].split()[0] in (*COMMANDS, "learn")]


def test_every_error_has_a_section_and_no_other_has() -> None:
    assert set(sections("Errors")) == set(errors.__all__)


def test_every_alert_has_a_section_and_no_other_has() -> None:
    assert set(sections("Alerts")) == {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("chapter", ["Errors", "Alerts"])
def test_sections_say_something(chapter: str) -> None:
    for title, text in sections(chapter).items():
        assert len(text.split()) >= 8, title


def test_names_of_other_sections_are_right() -> None:
    """A name in two words of capitals that looks like a section is one."""
    known = {*sections("Errors"), *sections("Alerts")}
    prose = re.sub(r"```.*?```|`[^`]+`", "", TEXT, flags=re.DOTALL)
    foreign = {"OOMKilled"}
    assert set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", prose)) - known - foreign == set()


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = importlib.import_module(f"streamrec.cli.{COMMANDS[words[0]][0]}").command
    rest = words[1:]
    while isinstance(command, click.Group) and rest:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("words", calls(), ids=" ".join)
def test_commands_and_their_options_exist(words: list[str]) -> None:
    command, rest = command_of(words)
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("-") and word != "-"} - known == set()


def test_enough_commands_are_named() -> None:
    assert {words[0] for words in calls()} >= {"doctor", "inspect", "learn", "record", "replay", "services"}


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.splitlines()[0][:40])
def test_blocks_are_valid_shell(block: str) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=block, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_kafka_s_tools_are_called_by_their_names() -> None:
    tools = {match[1] for text in code() if (match := re.match(r"kafka ([a-z-]+) --", text))}
    assert tools
    assert tools <= KAFKA_TOOLS


def test_workers_are_called_as_compose_and_kubernetes_call_them() -> None:
    services = {name for name, each in COMPOSE["services"].items() if each["image"].startswith("streamrec:")}
    named = {
        match[1] for text in code() for match in re.finditer(r"\b(?:logs|restart|stop|start) (\w+)", text)
    }
    assert named <= services
    assert {workload["metadata"]["name"] for workload, _, _ in pods()} == {
        f"streamrec-{each}" for each in services
    }
    assert objects("Namespace")[0]["metadata"]["name"] in TEXT


def test_topics_are_called_as_the_workers_call_them() -> None:
    assert f"`{state_topic('examples')}`" in TEXT
    for name in ("events.rejects", "examples.rejects"):
        assert f"`{name}`" in TEXT
