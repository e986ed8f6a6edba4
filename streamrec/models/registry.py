"""Model kinds by name. A new kind is one file and one line here."""

from collections.abc import Callable, Mapping

from streamrec.models.base import Model
from streamrec.models.ftrl import FTRLModel
from streamrec.models.settings import ModelSettings

__all__ = ["KINDS", "build_model"]


def _ftrl(settings: ModelSettings) -> Model:
    return FTRLModel(settings)


#: Kind → how to build an empty model of it. `wide` is `ftrl` over richer features (`features.infer`).
KINDS: Mapping[str, Callable[[ModelSettings], Model]] = {"ftrl": _ftrl, "wide": _ftrl}


def build_model(settings: ModelSettings) -> Model:
    """An empty model."""
    return KINDS[settings.kind](settings)
