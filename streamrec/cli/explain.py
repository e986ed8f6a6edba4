"""`streamrec explain`: one score, and what it is made of."""

import json
from typing import IO, Any

import click

from streamrec.cli.options import json_option, name_option
from streamrec.errors import StoreMismatch, UsageError

__all__ = ["command"]

_OCCLUSION = (
    "A model of this kind has no weight of its own for a feature: each contribution is the logit with the "
    "field minus that without it. They need not add up."
)
_MIN_WIDTH = 120
_COLUMNS = ("contribution", "weight", "value", "confidence", "Σg²", "count", "age")
#: Members of an event that a score depends on; the others (type, id, label, …) may be there.
_MEMBERS = ("user", "time")


@click.command("explain")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--store", "store_url", required=True, help="Where the model is: redis://… or embedded:DIR.")
@name_option
@click.option("--event", metavar="JSON", help='The event itself: \'{"user": "u", "features": {…}}\'.')
@json_option
def command(file: IO[bytes] | None, store_url: str, name: str, event: str | None, as_json: bool) -> None:
    """Explain the score of one event: FILE with an event in JSON, - for stdin, or --event.

    An impression, a rating or an example; `type`, `id` and `label` may be left away. It is scored as of its
    `time`, else as of now.
    """
    if (file is None) == (event is None):
        raise UsageError("explain: expected one event, as FILE (- is stdin) or --event; give one of the two")
    data = file.read() if file is not None else (event or "").encode()
    result = _explained(store_url, name, _request(data))
    if as_json:
        click.echo(json.dumps(result, allow_nan=False))
    else:
        _print(result)


def _request(data: bytes) -> Any:
    """The event as a request to rank it alone."""
    from pydantic import ValidationError

    from streamrec.serving.api import RankRequest
    from streamrec.serving.problem import faults_line

    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = str(error).replace("Extra data", "more than one event") or type(error).__name__
        raise UsageError(f"event: expected one JSON object, got: {reason}") from None
    if not isinstance(event, dict):
        raise UsageError(f"event: expected one JSON object, got {type(event).__name__}")
    if event.get("type") in ("click", "item"):
        raise UsageError(f"event: expected an impression, rating or example, got {event['type']!r}")
    candidate = {"item": event.get("item"), "features": event.get("features") or {}}
    asked = {name: event[name] for name in _MEMBERS if name in event} | {"candidates": [candidate]}
    try:
        return RankRequest.model_validate_json(json.dumps(asked))
    except ValidationError as error:
        line = faults_line(error.errors(include_url=False, include_context=False))
        raise UsageError(f"event: {line.replace('candidates.0.', '')}") from None


def _explained(store_url: str, name: str, request: Any) -> dict[str, Any]:
    from streamrec.clock import SystemClock
    from streamrec.serving.explain import explain
    from streamrec.serving.scorer import Scorer
    from streamrec.store.registry import open_store

    clock = SystemClock()
    store = open_store(store_url)
    try:
        scorer = Scorer(store, name, clock)
        if not scorer.load():
            names = ", ".join(store.models()) or "none"
            raise StoreMismatch(f"{store_url}: no model {name!r}; models there: {names}")
        return explain(scorer, request, clock.now_ms() if request.time is None else request.time)
    finally:
        store.close()


def _print(result: dict[str, Any]) -> None:
    """The same for a person."""
    from rich.console import Console
    from rich.table import Table

    click.echo(
        f"model {result['model']} ({result['kind']}), commit {result['seq']} of epoch {result['epoch']}\n"
        f"prediction {result['probability']:.6g}, confidence {result['confidence']:.4g} (small: well known)"
    )
    terms = result["method"] == "terms"
    if terms:
        click.echo(f"logit {result['logit']:+.5f} = offset {result['offset']:+.5f} + contributions")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("feature", overflow="fold")
    for column in _COLUMNS if terms else _COLUMNS[:1]:
        table.add_column(column, justify="right")
    for each in result["contributions"]:
        table.add_row(each["feature"], f"{each['contribution']:+.5f}", *(_known(each) if terms else ()))
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, _MIN_WIDTH)  # a file, too, has room for names
    console.print(table)
    if not terms:
        click.echo(_OCCLUSION)


def _known(term: dict[str, Any]) -> list[str]:
    """All but the contribution, empty where the model does not keep it."""
    numbers = [f"{term[name]:.4g}" for name in ("weight", "value", "confidence", "squared_gradients")]
    mark = "~" if term["count_is"] == "estimated" else ""
    count = "" if term["count"] is None else f"{mark}{term['count']:,.0f}"
    return [*numbers, count, "" if term["age_s"] is None else _age(term["age_s"])]


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"
