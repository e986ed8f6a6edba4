"""Benches beside river and TensorFlow Recommenders, on a few rows; the latter against a peer that is a fake."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from streamrec.cli.bench import BENCHES, command, rating, tfrs

#: Answers as the peer does; its log loss tells what it was asked.
FAKE = """
import json, sys
import numpy as np
n = len(np.load(sys.argv[1])["labels"])
for line in sys.stdin:
    what, first, second = line.split()
    print(json.dumps({"seconds": 1.5, "log_loss": n + int(first) / 100} if what == "learn" else {"seconds": [.25]}), flush=True)
"""


def ratings(n=400):
    """Users who differ by their mean."""
    rng = np.random.default_rng(6)
    for _ in range(n):
        user, item = int(rng.integers(8)), int(rng.integers(30))
        yield rating.Rated(f"u{user}", f"i{item}", float(np.clip(2 + user / 3 + rng.normal(0, 0.3), 0.5, 5)))


def test_recommenders_of_river_are_predicted_with_before_they_learn():
    pytest.importorskip("river")
    swept = {name: rating.river_rmse(build(), ratings()) for name, build in rating._sweep()}
    assert len(swept) == len({*swept}) > 10
    assert min(swept, key=swept.get).startswith(("Baseline", "BiasedMF"))
    assert 0.3 < min(swept.values()) < 1.0

    class Perfect:
        """Knows the label from the last call of `learn_one` only: never before."""

        last = 2.0

        def predict_one(self, user, item):
            return self.last

        def learn_one(self, user, item, value):
            self.last = value

    labels = [each.rating for each in ratings()]
    expected = np.sqrt(np.mean(np.square(np.diff([2.0, *labels]))))
    assert rating.river_rmse(Perfect(), ratings()) == pytest.approx(expected)


def test_our_kinds_learn_ratings_without_settings(tmp_path):
    with (tmp_path / "r.jsonl").open("w") as file:
        for i, each in enumerate(ratings(1_500)):
            event = {"type": "rating", "id": f"r{i}", "time": 1_700_000_000_000 + 1_000 * i, "features": {}}
            file.write(json.dumps({**event, **each._asdict()}) + "\n")
    spread = float(np.std([each.rating for each in ratings(1_500)]))
    assert 0.3 < rating.rmse(tmp_path / "r.jsonl", "wide") < 0.75 * spread


def test_the_network_learns_and_scores():
    given = tfrs.rows(6_000, n_values=20)
    base = float(given.labels[:5_000].mean())
    entropy = -base * np.log(base) - (1 - base) * np.log(1 - base)
    small, large = tfrs.learn(given, 1, 2_500), tfrs.learn(given, 64, 5_000)
    assert small["log_loss"] < 0.99 * entropy
    assert large["log_loss"] < 1.02 * entropy
    network = tfrs.model(64).part
    assert network.dense_parameters["interaction.1.kernel"].shape == (320, 320)
    assert [network.dense_parameters[f"top.{i}.kernel"].shape[1] for i in range(3)] == [128, 64, 1]
    assert len(tfrs.score(given, 50, 3)["seconds"]) == 3


def test_a_peer_is_asked_in_a_process_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "tfrs_peer.py").write_text(FAKE)
    monkeypatch.setattr(tfrs, "__file__", str(tmp_path / "tfrs.py"))
    monkeypatch.setattr(tfrs, "_PROBE", "pass")
    monkeypatch.setenv("STREAMREC_TFRS_PYTHON", sys.executable)
    given = tfrs.rows(300)
    monkeypatch.setattr(tfrs, "_RUNS", {1: (20, 5.0), 64: (128, 1.5)})
    with tfrs._peer(given) as ask:
        assert ask("learn", 64, 128) == {"seconds": 1.5, "log_loss": 300.64}
        figures = list(tfrs._learning(given, 64, ask))
    assert [figure.beside for figure in figures] == [128 / 1.5, 300.64]
    assert figures[1].goal == (None, 1.001)


def test_without_the_peer_figures_stand_alone(monkeypatch, capsys):
    monkeypatch.setattr(tfrs, "_PROBE", "raise SystemExit(1)")
    given = tfrs.rows(300)
    with tfrs._peer(given) as ask:
        assert ask is None
    assert "TFRS: not measured" in capsys.readouterr().err
    monkeypatch.setattr(tfrs, "_RUNS", {1: (20, 5.0), 64: (128, 1.5)})
    assert [figure.reached for figure in tfrs._learning(given, 64, None)] == [None, None]


def test_help_names_every_benchmark() -> None:
    told = CliRunner().invoke(command, ["--help"]).output
    assert all(f"\n    {name} " in told and what in told for name, what in BENCHES.items())
