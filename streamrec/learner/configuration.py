"""The settings file: one TOML file with a section for every part, each defined beside the part."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from streamrec.errors import UsageError
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.features.spec import FeatureSpec
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.settings import JoinWorkerSettings
from streamrec.join.worker.worker import JoinPlan
from streamrec.learner.run import Job
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings
from streamrec.transport.kafka.url import beside, check_topic, parse_url
from streamrec.transport.registry import NOWHERE

__all__ = [
    "Settings",
    "join_plan_from_options",
    "join_settings_from_options",
    "learning_from_options",
    "plan_from_options",
]

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: Between two commits of a learner that follows a topic: what it learns is served soon after. A commit of 250
#: new examples takes some 3 ms of its time.
_LIVE_COMMIT_S, _LIVE_SHARE = 0.08, 0.1


class Settings(BaseModel):
    """Everything that a settings file can say; each section may be left away.

    Attributes:
        model: kind, task and parameters; without it those of the stored model, or the recommended ones.
        features: fields and crosses; without it they are inferred from the first records.
        join: window, what counts as a positive rating.
        join_worker: intervals of the join worker.
        learner: commit interval and patience.
        guards: drift alarms and the cut-off.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelSettings | None = None
    features: FeatureSpec | None = None
    join: JoinSettings = Field(default_factory=JoinSettings)
    join_worker: JoinWorkerSettings = Field(default_factory=JoinWorkerSettings)
    learner: LearnerSettings = Field(default_factory=LearnerSettings)
    guards: GuardSettings = Field(default_factory=GuardSettings)


def plan_from_options(options: Mapping[str, Any]) -> Plan:
    """What the options of a command ask for; an option counts more than the file.

    Raises:
        ConfigError: a wrong key or value in the file, with its line.
        UsageError: a wrong option.

    """
    settings = _read(options["config"]) if options.get("config") else Settings()
    model = settings.model
    if kind := options.get("kind"):
        if kind not in KINDS:
            raise UsageError(f"--model {kind}: no such kind; there are {', '.join(KINDS)}")
        given = model.model_dump(exclude_unset=True) if model else {}
        model = ModelSettings.model_validate({**given, "kind": kind})
    if "task" in settings.join.model_fields_set and (model is None or settings.join.task != model.task):
        raise UsageError(f"{options['config']}: [join] task: joining takes the model's: set it in [model]")
    return Plan(
        name=options["name"],
        fresh=options["fresh"],
        model=model,
        features=settings.features,
        join=settings.join,
        learner=settings.learner,
        rejects=options.get("rejects") or NOWHERE,
        predictions=options.get("predictions"),
        slices=options.get("slices") or settings.guards.by,
        guards=settings.guards,
    )


def learning_from_options(options: Mapping[str, Any]) -> tuple[Plan, Job]:
    """What the options of `streamrec learn` ask for.

    Without `rejects`, the dead letters of a topic go to the topic of its name and `.rejects`.

    Raises:
        ConfigError: a wrong key or value in the file, with its line.
        UsageError: a wrong option or URL.

    """
    source, is_live = options["source"], not options.get("until_end")
    rejects = options.get("rejects")
    if rejects is None and source.startswith("kafka://"):
        rejects = beside(source, f"{parse_url(source).some_topics()[0]}.rejects")
    plan = plan_from_options({**options, "rejects": rejects})
    if is_live and "commit_interval_s" not in plan.learner.model_fields_set:
        learner = plan.learner.model_copy(
            update={"commit_interval_s": _LIVE_COMMIT_S, "commit_share": _LIVE_SHARE}
        )
        plan = dataclasses.replace(plan, learner=learner)
    port = options.get("metrics_port")
    metrics = None if port is None else (options["metrics_host"], port)
    return plan, Job(source, options["store_url"], live=is_live, worker=True, metrics=metrics)


def join_plan_from_options(options: Mapping[str, Any]) -> JoinPlan:
    """What the options of `streamrec join` ask for; an option counts more than the file.

    Raises:
        ConfigError: a wrong key or value in the file, with its line.
        UsageError: a wrong option or URL.

    """
    join, worker = join_settings_from_options(options)
    source, target = parse_url(options["source"]), parse_url(options["target"])
    topic = target.one_topic()
    if topic in source.some_topics():
        raise UsageError(f"{target.shown}: expected another topic than the source's")
    rejects = options.get("rejects") or f"{source.topics[0]}.rejects"
    return JoinPlan(
        source=source,
        target=target,
        rejects=check_topic(rejects, "--rejects"),
        group=options.get("group") or f"join-{topic}",
        until_end=bool(options.get("until_end")),
        join=join,
        settings=worker,
    )


def join_settings_from_options(options: Mapping[str, Any]) -> tuple[JoinSettings, JoinWorkerSettings]:
    """How `streamrec join` joins, and how its worker works; an option counts more than the file.

    Raises: as `join_plan_from_options`.
    """
    settings = _read(options["config"]) if options.get("config") else Settings()
    join = settings.join
    if settings.model is not None:
        join = join.model_copy(update={"task": settings.model.task})
    if options.get("window"):
        join = join.model_copy(update={"window_ms": _milliseconds(options["window"])})
    return join, settings.join_worker


def _milliseconds(text: str) -> int:
    """A duration such as 10m, 30s or 500ms."""
    match = re.fullmatch(r"(\d+)\s*(ms|s|m|h|d)", text.strip())
    if match is None:
        raise UsageError(f"--window {text}: expected a number and ms, s, m, h or d, such as 10m")
    return int(match[1]) * _UNITS_MS[match[2]]


def _read(path: Path) -> Settings:
    from streamrec.features.settings_file import read_settings

    return read_settings(path, Settings)
