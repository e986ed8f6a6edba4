"""What one scorer takes on at once and how long it waits for a client, and who may ask it."""

import ssl
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from streamrec.serving.token import Tokens

__all__ = ["OPEN_PATHS", "Limits", "Protection"]

#: Never refused for load, and asked without a token: else a busy scorer would look like a dead one.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class Limits(BaseModel):
    """Bounds on requests; those on sizes stand in `serving.api`.

    Attributes:
        requests: under way at once, 1 or more; events that wait for their acknowledgement are counted apart
            from the rest. 500 candidates take some 4 ms, so 128 of these wait for half a second.
        delay_ms: above 0: while a newcomer would wait for longer than this, it is refused.
        receive_s: above 0: how long a client may take over the head of a request, and then over its body.
        idle_s: 1 or more: how long a connection is kept for the next request. Longer than what load balancers
            keep theirs (60 s mostly): who closes first must not be the one that is asked just then.
        answer_s: above 0: after this an answer that the client does not read is given up (Linux only).

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int = Field(128, ge=1)
    delay_ms: int = Field(400, ge=1)
    receive_s: float = Field(10.0, gt=0, allow_inf_nan=False)
    idle_s: int = Field(75, ge=1)
    answer_s: float = Field(30.0, gt=0, le=3600)


@dataclass(frozen=True)
class Protection:
    """How a service is protected.

    Attributes:
        limits: on what it takes on.
        tokens: who may ask; None: anybody.
        tls: from `tls.server_context`; None: plain HTTP.

    """

    limits: Limits = field(default_factory=Limits)
    tokens: Tokens | None = None
    tls: ssl.SSLContext | None = None
