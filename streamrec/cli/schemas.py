"""`streamrec schemas`: export the JSON Schemas of all events."""

from pathlib import Path

import click

from streamrec.cli.options import json_option, print_result

__all__ = ["command"]


@click.command("schemas")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("schemas"))
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Write <type>/v1.json for every event type into FOLDER (default: schemas)."""
    from streamrec.events.schema import export

    export(folder)
    files = sorted(str(path) for path in folder.glob("*/v*.json"))
    print_result({"folder": str(folder), "schemas": files}, as_json)
