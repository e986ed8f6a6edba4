"""Model kinds by name. A new kind is one file and one line here."""

from collections.abc import Callable, Mapping

from streamrec.models.base import Model
from streamrec.models.ftrl import FTRLModel
from streamrec.models.inputs import Inputs
from streamrec.models.settings import ModelSettings

__all__ = ["KINDS", "build_model"]


def _ftrl(settings: ModelSettings, inputs: Inputs) -> Model:  # noqa: ARG001  (linear in whatever there is)
    return FTRLModel(settings)


#: Kind → how to build an empty model of it. `wide` is `ftrl` over richer features (`features.infer`).
KINDS: Mapping[str, Callable[[ModelSettings, Inputs], Model]] = {"ftrl": _ftrl, "wide": _ftrl}


def build_model(settings: ModelSettings, inputs: Inputs) -> Model:
    """An empty model over batches of these inputs."""
    return KINDS[settings.kind](settings, inputs)
