"""`streamrec models arms report`: arms compared by the clicks of their users."""

from datetime import UTC, datetime
from typing import Any

import click

__all__ = ["print_report", "reported"]


def reported(
    stream: str,
    against: str | None,
    since: datetime | None,
    window_s: float,
    expected: float,
    store_url: str | None,
    name: str,
) -> dict[str, Any]:
    """The report as JSON-ready values; the options are the command's.

    Raises:
        UsageError: there are no two arms to compare, or too little was seen of one.

    """
    from streamrec.evaluation.exposures import Exposures

    champion, changed_ms = (None, 0) if store_url is None else _stored(store_url, name)
    since_ms = changed_ms if since is None else round(since.replace(tzinfo=UTC).timestamp() * 1000)
    seen = _seen(stream, Exposures(round(1000 * window_s), since_ms))
    against = _compared_with(seen.arms, against or champion)
    n = len(seen.arms) - 1
    return {
        "against": against,
        "since_ms": since_ms,
        "mixed_users": seen.mixed_users,
        "comparisons": n,
        "arms": {arm: its._asdict() for arm, its in seen.arms.items()},
        "differences": {
            arm: _difference(seen.arms, (against, arm), expected, n) for arm in seen.arms if arm != against
        },
    }


def print_report(report: dict[str, Any]) -> None:
    """For a person."""
    arms, against = report["arms"], report["against"]
    width = max(map(len, arms))
    for arm, its in arms.items():
        click.echo(
            f"{arm:<{width}}  {its['users']:,} users, {its['impressions']:,} impressions, "
            f"{its['clicks']:,} clicks: {100 * its['rate']:.3f} %"
        )
    if report["mixed_users"]:
        click.echo(f"{report['mixed_users']:,} users were in several arms and are left out")
    for arm, found in report["differences"].items():
        if "too_early" in found:
            click.echo(found["too_early"])
            continue
        better, sure = arm, found["b_is_better"]
        if found["difference"] < 0:
            better, sure = against, 1 - sure
        click.echo(
            f"{arm} − {against}: {100 * found['difference']:+.3f} % "
            f"({100 * found['lift']:+.1f} % of {against}'s), "
            f"{_level(report['comparisons'])} % interval at every look "
            f"{100 * found['low']:+.3f} to {100 * found['high']:+.3f} %"
        )
        end = "decided" if found["decided"] else "not decided: 0 is in the interval"
        click.echo(f"{better} is better: {100 * sure:.1f} % sure; {end}")
    if (n := report["comparisons"]) > 1:
        click.echo(
            f"{n} arms are compared with {against}: each interval is of {_level(n)} %, so that all of them "
            "together have the truth at every look in 95 of 100 experiments"
        )


def _level(n_comparisons: int) -> str:
    """Of each interval, per cent."""
    return f"{100 - 5 / n_comparisons:.4g}"


def _difference(arms: Any, names: tuple[str, str], expected: float, n: int) -> dict[str, Any]:
    from streamrec.errors import UsageError
    from streamrec.evaluation.online import difference

    try:
        return difference(arms[names[0]], arms[names[1]], expected, names, n)._asdict()
    except UsageError as early:
        return {"too_early": str(early)}


def _seen(stream: str, exposures: Any) -> Any:
    from streamrec.clock import SystemClock
    from streamrec.events.decoder import BlockDecoder
    from streamrec.join.reader import read
    from streamrec.transport.registry import open_source

    source = open_source(stream)
    try:
        return exposures.add(read(source, BlockDecoder(), SystemClock(), _PARTITION_WAIT_S)).seen()
    finally:
        source.close()


#: As a learner's; order between partitions does not matter here.
_PARTITION_WAIT_S = 0.2


def _stored(store_url: str, name: str) -> tuple[str, int]:
    """The champion, and when the arms were changed last."""
    from streamrec.cli.options import opened
    from streamrec.serving.split import Split, setting_name

    with opened(store_url) as store:
        split = Split.stored(name, store.setting(setting_name(name)))
    return split.champion, split.time_ms


def _compared_with(arms: Any, against: str | None) -> str:
    from streamrec.errors import UsageError

    if len(arms) < 2 or (against is not None and against not in arms):
        known = ", ".join(f"{arm} ({its.users:,} users)" for arm, its in arms.items()) or "none"
        what = f"{against!r} and another" if against else "two at least"
        raise UsageError(
            f"arms: expected {what} in the stream's impressions, got {known}: /v1/recommend writes the arm; "
            "impressions of your own need the answer's in their field arm"
        )
    return against or max(arms, key=lambda arm: arms[arm].impressions)
