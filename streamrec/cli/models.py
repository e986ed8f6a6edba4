"""`streamrec models`: which models a store has; naming generations of them, and going back to one."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from streamrec.cli.arms import command as arms_command
from streamrec.cli.arms import promote
from streamrec.cli.options import json_option, opened, print_result, stored_option

if TYPE_CHECKING:
    from streamrec.learner.generations import Copy

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """Which models a store has. A generation can be named, and its model set back to it."""


command.add_command(arms_command)
command.add_command(promote)


@command.command("list")
@stored_option
@json_option
def list_models(store_url: str, as_json: bool) -> None:
    """List models and their named generations."""
    from streamrec.learner.generations import copies

    with opened(store_url) as store:
        names = [name for name in store.models() if "@" not in name]
        rows = [
            {
                "model": name,
                **store.head(name)._asdict(),
                "generations": [_shown(copy) for copy in copies(store, name)],
            }
            for name in names
        ]
    if as_json:
        print_result({"models": rows}, as_json)
    for row in [] if as_json else rows:
        click.echo(f"{row['model']}  commit {row['seq']:,} of {_time(row['time_ms'])}, epoch {row['epoch']}")
        for copy in row["generations"]:
            click.echo(f"  {copy['name']}  commit {copy['seq']:,} of {_time(copy['time_ms'])}")


@command.command("show")
@click.argument("model")
@click.argument("name", required=False)
@stored_option
@json_option
def show(model: str, name: str | None, store_url: str, as_json: bool) -> None:
    """Show the newest generation of MODEL, or the one called NAME: place, metrics, guards."""
    from streamrec.learner.generations import tagged
    from streamrec.learner.stored import described

    with opened(store_url) as store:
        print_result(described(store, model if name is None else tagged(model, name)), as_json)


@command.command("tag")
@click.argument("model")
@click.argument("name")
@stored_option
@json_option
def tag(model: str, name: str, store_url: str, as_json: bool) -> None:
    """Give the newest generation of MODEL a NAME, by a full copy; learning and serving go on.

    `streamrec serve --name MODEL@NAME` serves it.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner import generations

    with opened(store_url) as store:
        print_result({"model": model, **_shown(generations.tag(store, model, name, SystemClock()))}, as_json)


@command.command("rollback")
@click.argument("model")
@click.argument("name")
@stored_option
@click.option(
    "--keep-position",
    is_flag=True,
    help="Do not learn again what was learned since; without it the position goes back, too.",
)
@json_option
def rollback(model: str, name: str, store_url: str, keep_position: bool, as_json: bool) -> None:
    """Make the generation NAME the newest one of MODEL.

    A learner that runs ends at its next commit; start it again, it goes on from there.
    Scorers follow by themselves.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner import generations

    with opened(store_url) as store:
        head = generations.rollback(store, model, name, SystemClock(), keep_position=keep_position)
    print_result({"model": model, "name": name, **head._asdict(), "kept_position": keep_position}, as_json)


@command.command("delete")
@click.argument("model")
@click.argument("name")
@stored_option
@json_option
def delete(model: str, name: str, store_url: str, as_json: bool) -> None:
    """Delete the copy that is the generation NAME of MODEL."""
    from streamrec.learner import generations

    with opened(store_url) as store:
        generations.delete(store, model, name)
    print_result({"model": model, "deleted": name}, as_json)


@command.command("release")
@click.argument("model")
@stored_option
@json_option
def release(model: str, store_url: str, as_json: bool) -> None:
    """Let MODEL be learned again after its guards stopped it, from its last commit, whatever comes.

    A learner that waits goes on by itself.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner import stored

    with opened(store_url) as store:
        reason = stored.release(store, model, SystemClock())
    print_result({"model": model, "released": reason}, as_json)


@command.command("compare")
@click.argument("a")
@click.argument("b")
@stored_option
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Examples to leave out at the beginning.")
@json_option
def compare(a: str, b: str, store_url: str, skip: int, as_json: bool) -> None:
    """Say which of the models A and B predicts better; both learn the same stream from its beginning.

    The losses of their predictions before learning are compared, example by example.
    """
    from streamrec.evaluation import arms
    from streamrec.learner.stored import measured

    with opened(store_url) as store:
        found = arms.compare(measured(store, a), measured(store, b), skip)
    if as_json:
        print_result({"a": a, "b": b, **found._asdict()}, as_json)
        return
    better, sure = (b, found.b_is_better) if found.difference > 0 else (a, 1 - found.b_is_better)
    click.echo(f"mean loss over {found.examples:,} examples from number {found.from_example:,} on:")
    for name, loss in ((a, found.loss_a), (b, found.loss_b)):
        click.echo(f"  {name}  {loss:.5f}")
    click.echo(f"difference {found.difference:+.5f}, 95 % interval {found.low:+.5f} to {found.high:+.5f}")
    click.echo(f"{better} is better: {100 * sure:.1f} % sure")


def _shown(copy: "Copy") -> dict[str, Any]:
    its = copy._asdict()
    metrics = its.pop("metrics")
    return its | {key: metrics.get(key) for key in ("examples", "log_loss", "ne")}


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
