"""Which fields of a model act together, and how strongly: the content of `streamrec inspect --crosses`.

Of cross layers it is read off the first layer's kernel (`layers.strength`); or, over examples of a stream, it
is the root mean square length of what a pair of fields adds, x0_i ⊙ (x_j·K_ji) and x0_j ⊙ (x_i·K_ij): vectors
that learned little are short, so the kernel's random start counts for less. Of a linear model's crosses it is
what they add to the evidence: the root mean square of the weights of a cross's ids times their values. Ids
are hashes, so only examples can tell which cross they belong to.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.errors import UsageError
from streamrec.features.batch import Batch
from streamrec.features.spec import FeatureSpec
from streamrec.features.statistics import COLUMNS
from streamrec.layers.cross import Cross, CrossStack, CrossV1
from streamrec.layers.strength import added_squares, pair_strengths, ranked_pairs
from streamrec.models.blend import BlendModel
from streamrec.models.calibration import CalibratedModel
from streamrec.models.deep.ranking import RankingModel
from streamrec.models.inputs import inputs_of
from streamrec.models.linear_part import LinearPart
from streamrec.models.pipeline import Pipeline
from streamrec.models.wide_deep import Sum

__all__ = ["CrossStrengths", "learned_strengths", "needs_examples"]

_LENGTH = "root mean square length of what two fields add in the first cross layer"
_KERNEL = "norm of the blocks of the first cross layer's kernel"
_EVIDENCE = "root mean square of what a cross adds to the evidence; on the diagonal, of the field alone"


class CrossStrengths(NamedTuple):
    """How strongly pairs of fields act together."""

    measure: str  # what the numbers are
    fields: Sequence[str]
    strength: np.ndarray  # float64 (F, F), symmetric; diagonal: a field with itself or alone

    def pairs(self) -> list[tuple[str, str, float]]:
        """Two different fields and their strength, strongest first; without those that are not crossed."""
        return [pair for pair in ranked_pairs(self.strength, self.fields) if pair[2] > 0.0]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        pairs = [{"fields": [a, b], "strength": strength} for a, b, strength in self.pairs()]
        return {
            "measure": self.measure,
            "fields": list(self.fields),
            "strength": self.strength.tolist(),
            "pairs": pairs,
        }


def needs_examples(pipeline: Pipeline) -> bool:
    """Whether strengths are seen in examples only.

    Raises:
        UsageError: the model has nothing that crosses fields.

    """
    return isinstance(_crossing(pipeline).part, LinearPart)


def learned_strengths(pipeline: Pipeline, batches: Iterable[Batch] = ()) -> CrossStrengths:
    """Strengths of a model's cross layers, or where it has none, of its linear part's crosses.

    Args:
        pipeline: the model, not changed.
        batches: examples, as the model would predict them.

    Raises:
        UsageError: nothing crosses fields; or it is seen in examples only, and there are none.

    """
    part, bags = _crossing(pipeline)
    seen = (batch.leading(bags) for batch in batches)
    return (
        _of_linear(pipeline, part, seen) if isinstance(part, LinearPart) else _of_layer(pipeline, part, seen)
    )


class _Crossing(NamedTuple):
    part: Any  # a network with cross layers, or a linear part
    bags: int  # of an example that it sees, the first ones


def _crossing(pipeline: Pipeline) -> _Crossing:
    parts = list(_parts(pipeline.model, pipeline.extractor.n_fields))
    for each in parts:
        if isinstance(each.part, RankingModel) and isinstance(each.part.stacks.interaction, CrossStack):
            return each
    n_fields = len(pipeline.spec.fields)
    for each in parts:
        if isinstance(each.part, LinearPart) and pipeline.spec.crosses and each.bags > n_fields:
            return each
    raise UsageError(
        f"a model of kind {pipeline.settings.kind} without cross layers or crosses has none to show: "
        "learn one of kind dcn or wide, or name crosses in its settings ([[features.crosses]])"
    )


def _parts(model: Any, bags: int) -> Iterator[_Crossing]:
    """Linear parts and networks of a model."""
    if isinstance(model, CalibratedModel):
        yield from _parts(model.model, bags)
        return
    if isinstance(model, BlendModel):
        for voice in model.parts.values():
            yield from _parts(voice.model, voice.bags)
        return
    for part in model.part.parts.values() if isinstance(model.part, Sum) else [model.part]:
        yield _Crossing(part, bags)


def _of_linear(pipeline: Pipeline, part: LinearPart, batches: Iterable[Batch]) -> CrossStrengths:
    squares, n = np.zeros(pipeline.extractor.n_fields), 0
    for batch in batches:
        its = np.square(part.added(batch)).sum(0)
        squares[: len(its)] += its
        n += len(batch)
    if not n:
        raise UsageError("crosses: expected an impression, rating or example in the stream, got none")
    return CrossStrengths(_EVIDENCE, *_by_field(pipeline.spec, np.sqrt(squares / n)))


def _of_layer(pipeline: Pipeline, network: RankingModel, batches: Iterable[Batch]) -> CrossStrengths:
    """Of the first layer."""
    stack: Any = network.stacks.interaction
    blocks = _blocks(pipeline, network)
    names, widths = list(blocks), list(blocks.values())
    kernel = _kernel(stack.layers[0])
    squares, n = np.zeros((len(names), len(names))), 0
    for batch in batches:
        squares += added_squares(_crossed(network, batch), kernel, widths)
        n += len(batch)
    if not n:
        return CrossStrengths(_KERNEL, names, pair_strengths(kernel, widths))
    there = np.flatnonzero(squares.any(0))
    strengths = np.sqrt(squares[np.ix_(there, there)] / n)
    return CrossStrengths(_LENGTH, [names[i] for i in there], strengths)


def _crossed(network: RankingModel, batch: Batch) -> np.ndarray:
    """What the interaction is of: vectors, and where it takes them, what the dense columns become."""
    bottom, interaction, _ = network.stacks
    e = network.embedding.forward(batch)[0]
    if interaction.inputs == e.shape[1]:
        return e
    return np.concatenate((e, bottom.forward(batch.dense)[0] if bottom is not None else batch.dense), axis=1)


def _blocks(pipeline: Pipeline, network: RankingModel) -> dict[str, int]:
    """Name → width of what the inputs of a network's interaction are: vectors, then dense columns."""
    inputs, embedding = inputs_of(pipeline.extractor), network.embedding
    n = getattr(embedding, "fields", 1)  # one's own embedding need not have vectors of fields
    blocks = dict.fromkeys((*inputs.fields, *inputs.crosses)[:n], embedding.units // n)
    beside = network.stacks.interaction.inputs - embedding.units
    if beside == 0:
        return blocks
    if network.stacks.bottom is not None:
        return {**blocks, "bottom stack": beside}
    numbers = [field.name for field in pipeline.spec.fields if field.kind == "number" and field.normalise]
    columns = {f"number({name})": 1 for name in numbers}
    return {**blocks, **columns, **dict.fromkeys(inputs.statistics, COLUMNS)}


def _kernel(layer: Cross | CrossV1) -> np.ndarray:
    """W (I, I) of a cross layer's x0 ⊙ (x·W)."""
    its = [value for name, value in layer.parameters.items() if name.startswith("0.kernel")]
    if isinstance(layer, CrossV1):
        return np.tile(its[0], (1, layer.inputs))
    return its[0] if len(its) == 1 else its[0] @ its[1]


def _by_field(spec: FeatureSpec, sizes: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Fields that are crossed, and sizes of bags by pair of them; a cross of three counts for each pair."""
    crossed = {name for cross in spec.crosses for name in cross.fields}
    place = {field.name: i for i, field in enumerate(spec.fields)}
    names = [field.name for field in spec.fields if field.name in crossed]
    squares = np.diag([sizes[place[name]] ** 2 for name in names])
    for cross, size in zip(spec.crosses, sizes[len(spec.fields) :], strict=False):
        parts = [names.index(name) for name in cross.fields]
        for i in parts:
            for j in parts:
                squares[i, j] += size**2 if i != j else 0.0
    return names, np.sqrt(squares)
