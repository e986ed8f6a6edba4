"""The settings file: one TOML file with a section for every part, each defined beside the part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from streamrec.errors import UsageError
from streamrec.features.spec import FeatureSpec
from streamrec.join.settings import JoinSettings
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings

__all__ = ["Settings", "plan_from_options"]


class Settings(BaseModel):
    """Everything that a settings file can say; each section may be left away.

    Attributes:
        model: kind, task and parameters; without it those of the stored model, or the recommended ones.
        features: fields and crosses; without it they are inferred from the first records.
        join: window, what counts as a positive rating.
        learner: commit interval and patience.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelSettings | None = None
    features: FeatureSpec | None = None
    join: JoinSettings = Field(default_factory=JoinSettings)
    learner: LearnerSettings = Field(default_factory=LearnerSettings)


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
        model = ModelSettings.model_validate({**(model.model_dump() if model else {}), "kind": kind})
    if "task" in settings.join.model_fields_set and (model is None or settings.join.task != model.task):
        raise UsageError(f"{options['config']}: [join] task: joining takes the model's: set it in [model]")
    return Plan(
        name=options["name"],
        fresh=options["fresh"],
        model=model,
        features=settings.features,
        join=settings.join,
        learner=settings.learner,
        rejects=options.get("rejects"),
        predictions=options.get("predictions"),
        slices=options.get("slices"),
    )


def _read(path: Path) -> Settings:
    from streamrec.features.settings_file import read_settings

    return read_settings(path, Settings)
