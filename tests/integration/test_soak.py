"""Scorers, the learner and Redis are killed while scores are asked for; every answer is the learner's own.

`python tests/integration/soak.py --minutes 30` does it for longer, and with the limit of a second for an answer.
"""

from pathlib import Path

import pytest
from chain import Chain, contents
from soak import Soak, check

from streamrec.services.kafka import KafkaCluster

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_no_wrong_score(kafka_broker: KafkaCluster, tmp_path: Path) -> None:
    chain = Chain(tmp_path, kafka_broker)
    soak = Soak(chain, seed=3)
    try:
        soak.run(["scorer-0", "learner", "redis", "scorer-1"], pause_s=1.0)
        soak.close()
        events = contents(chain.url, "events")[0]
    finally:
        soak.close()
        chain.close()
    assert set(soak.statuses) <= {0, 200, 503}
    n_compared = check(soak, events)
    assert n_compared > 0.5 * len(soak.answers) > 50
    assert len({answer.seq for answer in soak.answers}) > 4
