"""`streamrec doctor`: what is missing on this machine, and what that prevents."""

import importlib.util
import platform
import shutil
import sys
from typing import Any

import click

from streamrec.cli.options import json_option, print_result

__all__ = ["command"]

_EXTRAS = {
    "matplotlib": "replay --plot (pip install 'streamrec[plot]')",
    "vowpalwabbit": "bench beside Vowpal Wabbit (pip install 'streamrec[bench]')",
    "river": "bench beside river (pip install 'streamrec[bench]')",
    "confluent_kafka": "faster Kafka (pip install 'streamrec[fast]')",
}


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Say what works here. Exit code 1 if something that the core needs is missing."""
    from streamrec.store.embedded import server_binary

    server = server_binary()
    missing = (
        {} if server else {"redis-server": "store embedded: install redis-server, or use --store redis://…"}
    )
    absent = {name: use for name, use in _EXTRAS.items() if importlib.util.find_spec(name) is None}
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "redis_server": server,
        "java": shutil.which("java"),
        "maven": shutil.which("mvn"),
        "large_pages": _large_pages(),
        "missing": missing,
        "optional": absent,
    }
    if as_json:
        print_result(result, True)
    else:
        print_result(
            {key: value for key, value in result.items() if key not in ("missing", "optional")}, False
        )
        for name, use in missing.items():
            click.echo(f"missing   {name}: {use}")
        for name, use in absent.items():
            click.echo(f"optional  {name} is not installed: no {use}")
    return 1 if missing or sys.version_info < (3, 11) else 0


def _large_pages() -> str | None:
    """The kernel's setting; anything but never lets tables use large pages."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            setting = file.read()
    except OSError:
        return None
    return setting[setting.index("[") + 1 : setting.index("]")]
