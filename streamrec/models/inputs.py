"""What a model must know of the features to be built: the bags of a batch and its dense columns."""

from typing import NamedTuple

from streamrec.features.extract import Extractor
from streamrec.features.infer import Style
from streamrec.features.spec import REST, FeatureSpec

__all__ = ["Inputs", "Sides", "inputs_of"]

_PREFIX = "features."


class Sides(NamedTuple):
    """Which fields describe the situation, and which the item."""

    query: tuple[int, ...] = ()  # numbers of fields
    candidate: tuple[int, ...] = ()
    item_features: tuple[str, ...] = ()  # names of the features that fields of the item read


class Inputs(NamedTuple):
    """The shape of every batch of one spec.

    The bags of an example come in this order: fields, crosses, statistics. Whatever a bag of statistics says
    stands in the dense columns too, as numbers; linear models take the bags, networks the columns.
    """

    fields: tuple[str, ...] = ()
    crosses: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    n_dense: int = 0  # columns of `Batch.dense`
    sides: Sides = Sides()

    @property
    def n_bags(self) -> int:
        """Bags of an example, `Batch.n_fields`."""
        return len(self.fields) + len(self.crosses) + len(self.statistics)

    def seen_by(self, style: Style) -> "Inputs":
        """What a part sees that would have features of this style by itself: with crosses only if "rich"."""
        return self if style == "rich" else Inputs(self.fields, (), (), self.n_dense)


def inputs_of(extractor: Extractor) -> Inputs:
    """What the batches of this extractor will be."""
    spec, bags = extractor.spec, extractor.field_names
    n, end = len(spec.fields), len(spec.fields) + len(spec.crosses)
    return Inputs(bags[:n], bags[n:end], bags[end:], extractor.n_dense, _sides(spec))


def _sides(spec: FeatureSpec) -> Sides:
    """The field for all other features is on neither side: nobody knows whose they are."""
    of_item = [field.of_item or field.source == "item" for field in spec.fields]
    query = [i for i, field in enumerate(spec.fields) if not of_item[i] and field.source != REST]
    sources = [field.source for field in spec.fields if field.of_item and field.source.startswith(_PREFIX)]
    features = dict.fromkeys(source.removeprefix(_PREFIX) for source in sources if source != REST)
    return Sides(tuple(query), tuple(i for i, its in enumerate(of_item) if its), tuple(features))
