"""What the user may choose about a model; frozen with it in its first commit."""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from streamrec.models.calibration import CalibrationSettings
from streamrec.models.deep.settings import DeepSettings, filled
from streamrec.models.feedback import AS_IT_IS, Feedback, FeedbackSettings
from streamrec.models.retrieval.settings import RetrievalSettings
from streamrec.optim.settings import FTRLSettings
from streamrec.state.admission import AdmissionSettings

__all__ = ["RECOMMENDED", "Kind", "ModelSettings", "Task"]

Kind = Literal["ftrl", "wide", "fm", "dcn", "dcn_v1", "dlrm", "wide_deep", "blend", "two_tower"]
Task = Literal["click", "rating"]

#: The kind that is built when nobody names one.
RECOMMENDED: Kind = "wide"


#: Defaults of the linear part: the paper's form, n0 = 0. TensorFlow's .1 shortens the first steps of the many
#: coordinates that are seen a few times only.
_RECIPE = {"learning_rate": 0.2, "beta": 1.0, "initial_accumulator": 0.0}
#: Where a kind's differ. Beside a network the linear part is to add what the network cannot; faster, both
#: correct the same error (log loss on MovieLens-small, MIND: at .1 .5367, .1519; at .05 .5369, .1515).
_RECIPES: dict[str, dict[str, float]] = {"wide_deep": {"learning_rate": 0.05, "l1": 0.1}}


def _recipe(kind: str | None) -> dict[str, float]:
    return {**_RECIPE, **_RECIPES.get(kind or "", {})}


#: What is blended where nothing is set: two that err differently. Log loss on MovieLens-small and MIND: wide
#: .5390 and .1522, dcn .5386 and .1511, their blend .5357 and .1512; wide and wide_deep .5354 and .1515.
_PARTS: tuple[Kind, ...] = ("wide", "dcn")


class BlendSettings(BaseModel):
    """The parts of a blend, and how they are mixed.

    Attributes:
        parts: names of kinds, or settings of models; what a part does not set is as in the blend's own
            settings. Without any, the recommended ones.
        share: of the experts' weights given back at each example: an expert that was bad for long can return
            within about ln(1/share) / (what it is better by) examples.
        keep_s: seconds of event time for which predictions for early negatives wait for their corrections, to
            judge the parts by them: at least as long as joining waits for clicks.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: tuple["ModelSettings", ...] = Field((), max_length=8)
    share: float = Field(1e-5, gt=0, lt=1)
    keep_s: float = Field(1800.0, gt=0, allow_inf_nan=False)

    @field_validator("parts", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple({"kind": part} if isinstance(part, str) else part for part in value)

    def named_parts(self) -> "dict[str, ModelSettings]":
        """Parts by their kinds, the second of a kind as `wide2`."""
        names: dict[str, ModelSettings] = {}
        for part in self.parts:
            n = 1 + sum(other.kind == part.kind for other in names.values())
            names[part.kind if n == 1 else f"{part.kind}{n}"] = part
        return names


class ModelSettings(BaseModel):
    """A model's kind and the settings of its parts.

    Attributes:
        kind: "ftrl", linear in the event's own features; "wide", linear in these, crosses and target
            statistics; "fm", a factorisation machine; "dcn" and "dcn_v1", cross layers of version 2 and 1
            under a stack; "dlrm", dot products of vectors under a stack; "wide_deep", "wide" and "dcn" under
            one loss; "blend", models mixed by how well each did so far; "two_tower", a ranker and what finds
            items for it.
        task: "click" predicts a probability (log loss), "rating" a number (squared error).
        ftrl: settings of the linear part.
        deep: settings of the network, for kinds that have one.
        blend: parts of the kind "blend".
        ranker: of the kind "two_tower", a model of another kind; what it does not set is as here, and its
            kind the recommended one.
        retrieval: how the kind "two_tower" finds items.
        feedback: how early and sampled negatives are learned; of the click task.
        calibration: a layer that corrects predictions, of the click task; None: none.
        admission: which new ids get a row.
        expire_after_s: seconds of event time after which a row that was not learned again is removed; None
        never.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = RECOMMENDED
    task: Task = "click"
    ftrl: FTRLSettings = FTRLSettings(**_RECIPE)
    deep: DeepSettings = Field(default_factory=DeepSettings)
    blend: BlendSettings = Field(default_factory=BlendSettings)
    ranker: "ModelSettings | None" = None
    retrieval: RetrievalSettings = Field(default_factory=RetrievalSettings)
    feedback: FeedbackSettings = Field(default_factory=FeedbackSettings)
    calibration: CalibrationSettings | None = None
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    expire_after_s: float | None = Field(None, gt=0, allow_inf_nan=False)

    @field_validator("ftrl", mode="wrap")
    @classmethod
    def _fill(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Whoever sets one number keeps the other defaults of the kind; what counts as set is that number."""
        if not isinstance(value, dict):
            return handler(value)
        full = handler({**_recipe(info.data.get("kind")), **value})
        object.__setattr__(full, "__pydantic_fields_set__", set(value))
        return full

    @model_validator(mode="after")
    def _fill_deep(self) -> Self:
        """What a kind's parts take by default is frozen with the model, so it is written out."""
        if "ftrl" not in self.model_fields_set:
            object.__setattr__(self, "ftrl", FTRLSettings(**_recipe(self.kind)))
        object.__setattr__(self, "deep", filled(self.deep, self.kind))
        return self

    @model_validator(mode="after")
    def _fill_parts(self) -> Self:
        """Parts are written out in full, too."""
        if self.kind != "blend":
            return self
        common = self.model_dump(exclude_unset=True, exclude={"kind", "blend", "calibration"})
        parts = tuple(
            ModelSettings.model_validate({**common, **part.model_dump(exclude_unset=True)})
            for part in self.blend.parts or [ModelSettings(kind=kind) for kind in _PARTS]
        )
        for part in parts:
            if part.kind == "blend" or part.task != self.task:
                got = "a blend" if part.kind == "blend" else f"{part.kind} of task {part.task!r}"
                raise ValueError(f"blend: expected parts that are models of task {self.task!r}, got {got}")
        blend = self.blend.model_copy(update={"parts": parts})
        object.__setattr__(self, "blend", blend)
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A model without calibration is described as before there was any."""
        described: dict[str, Any] = handler(self)
        if self.calibration is None:
            described.pop("calibration", None)
        return described

    @model_validator(mode="after")
    def _fill_ranker(self) -> Self:
        """The ranker is written out in full, too."""
        if self.kind != "two_tower":
            if self.ranker is not None:
                raise ValueError(f"ranker: expected it with kind 'two_tower' only, got kind {self.kind!r}")
            return self
        common = self.model_dump(exclude_unset=True, exclude={"kind", "ranker", "retrieval"})
        given = self.ranker.model_dump(exclude_unset=True) if self.ranker else {}
        ranker = ModelSettings.model_validate({**common, **given})
        if ranker.kind == "two_tower" or ranker.task != self.task:
            got = "two_tower" if ranker.kind == "two_tower" else f"task {ranker.task!r}"
            raise ValueError(f"ranker: expected a kind that ranks, of task {self.task!r}, got {got}")
        object.__setattr__(self, "ranker", ranker)
        return self

    def expiring_retrieval(self) -> RetrievalSettings:
        """`retrieval`, which expires as the model's rows do where it does not say so itself."""
        if self.retrieval.expire_after_s is not None:
            return self.retrieval
        return self.retrieval.model_copy(update={"expire_after_s": self.expire_after_s})

    def link(self) -> tuple[bool, Feedback]:
        """Whether the link is the identity, and what stands between it and what is served."""
        if self.task == "rating":
            return True, AS_IT_IS
        return False, self.feedback.parameters()

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        changes_predictions = self.feedback.policy == "fn_calibrated" or self.feedback.negative_rate < 1.0
        if self.task == "rating" and changes_predictions:
            raise ValueError(
                "feedback: only predictions of clicks can be corrected: leave it away, or set task"
            )
        if self.task == "rating" and self.calibration is not None:
            raise ValueError("calibration: only predictions of clicks can be calibrated: leave it away")
        return self
