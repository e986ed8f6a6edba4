"""What an index is made of."""

from dataclasses import dataclass

__all__ = ["IndexSettings"]

_PRECISIONS = ("float32", "float16")
#: Sums of products of codes of 4 and 16 bits have 31 bits up to here (`codes`).
_LARGEST_DIM = 4096


@dataclass(frozen=True)
class IndexSettings:
    """Settings of an index of item vectors.

    Attributes:
        dim: numbers of a vector, 1 to 4,096.
        precision: in which vectors are stored and scores are exact: "float32" or "float16".
        coded: keep codes of four bits beside the vectors and read vectors only where a code may be among the
            best; changes no answer. Half a byte a number and eight an item more, and a search that streams a
            sixth of float32's memory.
        slack: slots per live item, above 1, from which on dead slots are reclaimed. 1.25 makes a search a
            quarter slower at worst; each change then costs some 2.7 writes under uniform changes.
        threads: that share one search, at least 1.

    """

    dim: int
    precision: str = "float32"
    coded: bool = True
    slack: float = 1.25
    threads: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= _LARGEST_DIM:
            raise ValueError(f"dim: expected 1 to {_LARGEST_DIM}, got {self.dim}")
        if self.precision not in _PRECISIONS:
            raise ValueError(f"precision: expected one of {', '.join(_PRECISIONS)}, got {self.precision!r}")
        if not self.slack > 1:
            raise ValueError(f"slack: expected slots per live item above 1, got {self.slack}")
        if self.threads < 1:
            raise ValueError(f"threads: expected at least 1, got {self.threads}")
