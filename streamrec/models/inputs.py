"""What a model must know of the features to be built: the bags of a batch and its dense columns."""

from typing import NamedTuple

from streamrec.features.extract import Extractor
from streamrec.features.infer import Style

__all__ = ["Inputs", "inputs_of"]


class Inputs(NamedTuple):
    """The shape of every batch of one spec.

    The bags of an example come in this order: fields, crosses, statistics. Whatever a bag of statistics says
    stands in the dense columns too, as numbers; linear models take the bags, networks the columns.
    """

    fields: tuple[str, ...] = ()
    crosses: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    n_dense: int = 0  # columns of `Batch.dense`

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
    return Inputs(bags[:n], bags[n:end], bags[end:], extractor.n_dense)
