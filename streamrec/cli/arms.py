"""`streamrec models arms`: which models of a store answer which users; `streamrec models promote`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streamrec.cli.options import json_option, opened, print_result, stored_option

if TYPE_CHECKING:
    from streamrec.serving.split import Split
    from streamrec.store.base import Store

__all__ = ["command", "promote"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _changing(wrapped: _F) -> _F:
    """What every change takes."""
    for option in (
        json_option,
        click.option(
            "--if-version",
            "seen",
            type=click.IntRange(min=0),
            help="Change nothing unless this is still the version, as show tells it.",
        ),
        _name_option,
        stored_option,
    ):
        wrapped = option(wrapped)
    return wrapped


def _name_option(wrapped: _F) -> _F:
    text = "The name that is served: --name of streamrec serve."
    return click.option("--name", default="default", show_default=True, help=text)(wrapped)


@click.group("arms")
def command() -> None:
    """Which models answer which users of one service. Scorers follow a change within a second."""


@command.command("show")
@stored_option
@_name_option
@json_option
def show(store_url: str, name: str, as_json: bool) -> None:
    """Show the champion, the challengers with their shares, and the version of all that."""
    from streamrec.serving.split import Split, setting_name

    with opened(store_url) as store:
        split = Split.stored(name, store.setting(setting_name(name)))
    _print(name, split, as_json)


@command.command("set")
@click.argument("shares", nargs=-1, metavar="MODEL=SHARE…")
@click.option("--salt", help="Draw all users anew, by this text: another experiment.")
@_changing
def set_shares(shares: tuple[str, ...], salt: str | None, **options: Any) -> None:
    """Give models shares of the users, in per cent; MODEL=shadow or 0 for one that answers nobody.

    Models that are not named keep their share, and the champion has the rest. Users stay where they are as
    far as the shares allow.
    """
    from streamrec.errors import UsageError
    from streamrec.serving.split import parse_shares

    if not shares and salt is None:
        raise UsageError("arms set: expected MODEL=SHARE, as challenger=20, or --salt")
    wanted = parse_shares(shares)

    def change(split: "Split") -> "Split":
        changed = split.with_shares(wanted)
        return changed if salt is None else changed._replace(salt=salt)

    _change(change, [*wanted], **options)


@command.command("remove")
@click.argument("model")
@_changing
def remove(model: str, **options: Any) -> None:
    """Take a challenger out: its users go to the champion, and scorers forget its model."""
    _change(lambda split: split.without(model), [], **options)


@command.command("report")
@click.argument("stream")
@click.option(
    "--against", metavar="ARM", help="The arm to compare with.  [default: the champion, or the largest]"
)
@click.option(
    "--since",
    type=click.DateTime(),
    help="Only impressions from this time on, UTC.  [default: with --store, the last change of the arms]",
)
@click.option(
    "--window",
    "window_s",
    default=1200.0,
    show_default=True,
    type=click.FloatRange(min=0, max=1e9),
    metavar="SECONDS",
    help="How long after its impression a click counts.",
)
@click.option(
    "--expected",
    default=0.1,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="The difference looked for, in parts of the rate; choose it before looking.",
)
@click.option("--store", "store_url", help="Take champion and last change from this store.")
@_name_option
@json_option
def report(stream: str, as_json: bool, **options: Any) -> None:
    """Say which arm gets more clicks an impression, and how sure that is, from the events of STREAM.

    STREAM has impressions that name their arm, as /v1/recommend writes them, and clicks. Users are what is
    counted, and the intervals may be looked at as often as one likes: those of all arms have the truth at all
    looks together in 95 of 100 experiments, however many arms are compared with one. Compare what came after
    the last change of shares, as days differ.
    """
    from streamrec.cli.arms_report import print_report, reported

    result = reported(stream, **options)
    if as_json:
        print_result(result, as_json)
    else:
        print_report(result)


@click.command("promote")
@click.argument("model")
@_changing
def promote(model: str, **options: Any) -> None:
    """Make the challenger MODEL the champion. The one before stays as a shadow: promote it to go back."""
    _change(lambda split: split.promoted(model), [model], **options)


def _change(
    change: "Callable[[Split], Split]",
    models: list[str],
    store_url: str,
    name: str,
    seen: int | None,
    as_json: bool,
) -> None:
    """One change on top of what is there; whatever somebody else changes meanwhile refuses it.

    Raises:
        Outdated: somebody else has changed the arms.
        UsageError: it cannot be done.

    """
    from streamrec.clock import SystemClock
    from streamrec.serving.split import Split, setting_name

    with opened(store_url) as store:
        setting = store.setting(setting_name(name))
        changed = change(Split.stored(name, setting))
        _check(store, models)
        value = changed.to_bytes(SystemClock().now_ms())
        setting = store.change(setting_name(name), value, setting.version if seen is None else seen)
    _print(name, Split.stored(name, setting), as_json)


def _check(store: "Store", models: list[str]) -> None:
    """See that there is something to serve: a misspelt name would wait for its first commit for ever."""
    from streamrec.errors import UsageError

    for model in models:
        if not store.head(model).seq:
            known = ", ".join(store.models()) or "none"
            raise UsageError(f"arm {model!r}: no such model in this store; models there: {known}")


def _print(name: str, split: "Split", as_json: bool) -> None:
    shares = {arm: split.share(arm) for arm in split.models}
    if as_json:
        its = {"champion": split.champion, "shares": shares, "salt": split.salt, "changed_ms": split.time_ms}
        print_result({"name": name, "version": split.version, **its}, as_json)
        return
    when = "never changed"
    if split.version:
        when = f"changed {datetime.fromtimestamp(split.time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"{name}  version {split.version}, {when}")
    width = max(map(len, shares))
    for arm, share in shares.items():
        role = "champion" if arm == split.champion else "challenger" if share else "shadow"
        click.echo(f"  {arm:<{width}}  {share:6.2f} %  {role}")
