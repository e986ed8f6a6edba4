"""Model kinds by name. A new kind is one file and one line here."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from streamrec.errors import UsageError
from streamrec.features.infer import Style
from streamrec.models.base import Model
from streamrec.models.blend import BlendModel, Voice
from streamrec.models.calibration import CalibratedModel
from streamrec.models.deep.build import deep_model
from streamrec.models.ftrl import FTRLModel
from streamrec.models.inputs import Inputs
from streamrec.models.retrieval.finder import Finder
from streamrec.models.settings import ModelSettings
from streamrec.models.two_tower import TwoTowerModel
from streamrec.models.wide_deep import wide_deep_model

__all__ = ["KINDS", "build_model"]


def _ftrl(settings: ModelSettings, inputs: Inputs) -> Model:  # noqa: ARG001  (linear in whatever there is)
    return FTRLModel(settings)


def _blend(settings: ModelSettings, inputs: Inputs) -> Model:
    parts = {}
    for name, its in settings.blend.named_parts().items():
        seen = inputs.seen_by(KINDS[its.kind].style)
        parts[name] = Voice(build_model(its, seen), seen.n_bags)
    return BlendModel(settings, parts)


def _two_tower(settings: ModelSettings, inputs: Inputs) -> Model:
    assert settings.ranker is not None  # `ModelSettings` fills it in
    if not inputs.sides.candidate or not inputs.sides.query:
        side = "the situation (as `user`)" if inputs.sides.candidate else "the item (as `item`)"
        raise UsageError(
            f"model two_tower: expected a field of {side}, the features have none; "
            "write it into the events, or take a kind that ranks only, as --model wide"
        )
    seen = inputs.seen_by(KINDS[settings.ranker.kind].style)
    ranker = build_model(settings.ranker, seen)
    return TwoTowerModel(ranker, seen.n_bags, Finder(settings.expiring_retrieval(), inputs))


class _Entry(NamedTuple):
    build: Callable[[ModelSettings, Inputs], Model]
    style: Style  # of the features, where they are inferred


#: Kind → how to build an empty model of it, and over which features.
KINDS: Mapping[str, _Entry] = {
    "ftrl": _Entry(_ftrl, "plain"),
    "wide": _Entry(_ftrl, "rich"),
    "fm": _Entry(deep_model, "deep"),
    "dcn": _Entry(deep_model, "deep"),
    "dcn_v1": _Entry(deep_model, "deep"),
    "dlrm": _Entry(deep_model, "deep"),
    "wide_deep": _Entry(wide_deep_model, "rich"),
    "blend": _Entry(_blend, "rich"),
    "two_tower": _Entry(_two_tower, "rich"),
}


def build_model(settings: ModelSettings, inputs: Inputs) -> Model:
    """An empty model over batches of these inputs."""
    model = KINDS[settings.kind].build(settings, inputs)
    if settings.calibration is None or settings.kind == "two_tower":  # there it is the ranker's
        return model
    return CalibratedModel(model, settings.calibration, inputs.fields, settings.feedback.parameters())
