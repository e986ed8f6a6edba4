"""`streamrec inspect`: what a stored model holds."""

import json
from pathlib import Path
from typing import Any

import click

from streamrec.cli.options import json_option, name_option, print_result, store_option
from streamrec.errors import UsageError

__all__ = ["command"]


@click.command("inspect")
@store_option
@name_option
@click.option(
    "--crosses",
    is_flag=False,
    flag_value=Path("crosses"),
    type=click.Path(path_type=Path),
    metavar="[PATH]",
    help="Write how strongly fields act together, PATH.png and PATH.json; without PATH: crosses.",
)
@click.option(
    "--over",
    metavar="STREAM",
    help="With --crosses: examples to see them in; linear models need some.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="Records of STREAM to read.",
)
@json_option
def command(
    store_url: str, name: str, crosses: Path | None, over: str | None, limit: int, as_json: bool
) -> None:
    """Show the last commit of a model: place in the stream, metrics, tables, features."""
    from streamrec.errors import StoreMismatch
    from streamrec.learner.loop import MODEL
    from streamrec.learner.measures import METRICS
    from streamrec.learner.progress import Progress
    from streamrec.models.pipeline import Pipeline
    from streamrec.store.registry import open_store

    if over is not None and crosses is None:
        raise UsageError("--over: says where --crosses is to look; give both, or leave it away")
    store = open_store(store_url)
    try:
        snapshot = store.load(name, shadow=True)
        if not snapshot.head.seq:
            names = ", ".join(store.models()) or "none"
            raise StoreMismatch(f"{store_url}: no model {name!r}; models there: {names}")
        pipeline = Pipeline.from_blob(snapshot.blobs[MODEL])
        for table, rows in snapshot.pieces:
            pipeline.apply(table, rows)
        pipeline.restore(snapshot.blobs)
    finally:
        store.close()
    progress = Progress.from_blobs(snapshot.blobs)
    weights, nonzero = pipeline.count_weights()
    result: dict[str, Any] = {
        "model": name,
        "kind": pipeline.settings.kind,
        "seq": snapshot.head.seq,
        "epoch": snapshot.head.epoch,
        "committed_ms": snapshot.head.time_ms,
        "position": progress.position,
        "events": progress.events,
        "examples": progress.examples,
        "rejected": progress.rejected,
        **json.loads(snapshot.blobs[METRICS]),
        "weights": weights,
        "nonzero": nonzero,
        "tables": {table: len(rows) for table, rows in pipeline.tables.items()},
        "fields": [field.name for field in pipeline.spec.fields],
        "crosses": [cross.name for cross in pipeline.spec.crosses],
        "state_sha256": pipeline.state_sha256(),
    }
    if crosses is not None:
        from streamrec.cli.heat_map import write_heat_map

        result["heat_map"] = write_heat_map(pipeline, name, crosses, over, limit)
    print_result(result, as_json)
