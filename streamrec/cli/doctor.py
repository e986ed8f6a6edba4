"""`streamrec doctor`: what is missing on this machine, and what that prevents."""

import importlib.util
import os
import platform
import sys
from typing import Any

import click

from streamrec.cli.options import json_option, print_result

__all__ = ["command"]

_EXTRAS = {
    "matplotlib": "replay --plot, inspect --crosses (pip install 'streamrec[plot]')",
    "vowpalwabbit": "bench beside Vowpal Wabbit (pip install 'streamrec[bench]')",
    "tensorflow_recommenders": "bench beside TensorFlow Recommenders (pip install 'streamrec[tfrs]')",
    "confluent_kafka": "faster Kafka (pip install 'streamrec[fast]')",
}
_LOCAL_KAFKA = "local Kafka by `streamrec services up` (apt-get install"


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Say what works here. Exit code 1 if something that the core needs is missing."""
    from streamrec.store.embedded import server_binary

    server = server_binary()
    kafka, missing, absent = _kafka()
    if server is None:
        missing["redis-server"] = "store embedded: install redis-server, or use --store redis://…"
    absent |= {name: use for name, use in _EXTRAS.items() if importlib.util.find_spec(name) is None}
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "redis_server": server,
        **kafka,
        "large_pages": _large_pages(),
        "missing": missing,
        "optional": absent,
    }
    if as_json:
        print_result(result, True)
    else:
        _tell(result)
    return 1 if missing or sys.version_info < (3, 11) else 0


def _tell(result: dict[str, Any]) -> None:
    """For a person."""
    facts = {key: value for key, value in result.items() if key not in ("missing", "optional")}
    print_result({key: "none" if value is None else value for key, value in facts.items()}, False)
    for name, use in result["missing"].items():
        click.echo(f"missing   {name}: {use}")
    for name, use in result["optional"].items():
        click.echo(f"optional  {name} is not installed: no {use}")


def _kafka() -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """What there is for Kafka, what is missing, what is optional and absent."""
    from streamrec.services.java import LEAST_JAVA, cached_jars, java, java_version, maven
    from streamrec.services.probe import reach

    program, jars = java(), cached_jars()
    version = java_version(program) if program else 0
    given = os.environ.get("STREAMREC_KAFKA")
    usable, answer = reach(given) if given else (True, "")
    missing, absent = {}, {}
    if not usable:
        missing["STREAMREC_KAFKA"] = f"{given} {answer}: start that broker, or correct or unset the variable"
    if version < LEAST_JAVA:
        absent[f"java {LEAST_JAVA}"] = f"{_LOCAL_KAFKA} default-jre-headless)"
    if not (jars or maven()):
        absent["maven"] = f"{_LOCAL_KAFKA} maven)"
    facts = {
        "java": f"{program} ({version or 'of unknown version'})" if program else None,
        "maven": maven(),
        "kafka_jars": str(jars) if jars else None,
        "kafka": f"{given} {answer}" if given else None,
    }
    return facts, missing, absent


def _large_pages() -> str | None:
    """The kernel's setting; anything but never lets tables use large pages."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            setting = file.read()
    except OSError:
        return None
    return setting[setting.index("[") + 1 : setting.index("]")]
