"""Settings of FTRL-Proximal: validated, named as TensorFlow names them."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamrec.optim.ftrl import FTRLParameters

__all__ = ["FTRLSettings"]

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_NotPositive = Annotated[float, Field(le=0, allow_inf_nan=False)]

_DOMAIN = {"learning_rate": "a number above 0", "learning_rate_power": "0 or a negative number"}


class FTRLSettings(BaseModel):
    """What the equations of `optim.ftrl` need, in TensorFlow's convention; `from_paper` takes the paper's.

    Attributes:
        learning_rate: lr > 0. A first step of a coordinate with value 1 and gradient g moves its weight by
            lr·|g|/(√(n0 + g²) + beta).
        learning_rate_power: p ≤ 0, how the rate falls with the gradients seen: −0.5 with the square root of
            their squared sum, 0 not at all (plain SGD).
        initial_accumulator: n0 ≥ 0, the squared gradients a coordinate starts with.
        l1: ≥ 0; a weight is exactly 0 while |z| ≤ l1, so rare and useless features take no space.
        l2: ≥ 0; pulls weights towards 0, added to the rate's denominator as 2·l2.
        l2_shrinkage: ≥ 0; adds 2·l2_shrinkage·w to the gradient of an example's coordinates, but not to n.
        beta: ≥ 0; lowers the first steps of a coordinate as if its root of n were greater by beta.

    The defaults are TensorFlow's but for rate and beta: TensorFlow's .001 learns next to nothing in one pass.
    Of rates .02 to .5 and beta 0, .3 and 1 these lose little anywhere. Log loss, and the best of the sweep:
    MovieLens-small .578 (.554 at .5), MIND .1581 (.1566 at .1), river's Phishing .267 (.257 at .5).
    beta 1, the paper's, keeps first steps small where most coordinates are seen once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: _Positive = 0.2
    learning_rate_power: _NotPositive = -0.5
    initial_accumulator: _NotNegative = 0.1
    l1: _NotNegative = 0.0
    l2: _NotNegative = 0.0
    l2_shrinkage: _NotNegative = 0.0
    beta: _NotNegative = 1.0

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Settings from keyword arguments.

        Raises:
            ValueError: One line with the first wrong setting, what was expected and what was given.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                expected = "one of " + ", ".join(cls.model_fields)
                raise ValueError(f"{name!r} is not a setting of FTRL: expected {expected}") from None
            expected = _DOMAIN.get(name, "0 or a number above it")
            raise ValueError(f"{name} = {first['input']!r}: expected {expected}, finite") from None

    @classmethod
    def from_paper(cls, alpha: float, beta: float = 1.0, lambda1: float = 0.0, lambda2: float = 0.0) -> Self:
        """The same in the terms of Algorithm 1, which are also Vowpal Wabbit's: lambda2 = 2·l2, n0 = 0."""
        return cls.checked(
            learning_rate=alpha, beta=beta, l1=lambda1, l2=lambda2 / 2, initial_accumulator=0.0
        )

    def parameters(self) -> FTRLParameters:
        """The scalars, as the compiled formulas take them."""
        return FTRLParameters(**self.model_dump())
