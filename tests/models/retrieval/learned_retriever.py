"""A small model that is fed with lines, and lines for it."""

import json

import numpy as np

from streamrec.evaluation.retrieval import Index
from streamrec.events.codec import decode_line
from streamrec.events.decoder import BlockDecoder
from streamrec.features.infer import infer_spec
from streamrec.join.joiner import Joiner
from streamrec.join.places import places_in
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings


def rating(k, user, item, group):
    features = {"kind": f"g{group}", "of": ["x", f"w{group}"]}
    event = {"type": "rating", "id": f"r{k}", "time": 1000 * k, "user": user, "item": item, "rating": 3}
    return json.dumps(event | {"features": features})


def catalogue(name, time=10**9, **more):
    return json.dumps({"type": "item", "id": name, "time": time, **more})


class Learned:
    """A pipeline that is fed with lines."""

    def __init__(self, lines, cut=500, **retrieval):
        settings = ModelSettings(kind="two_tower", ranker={"kind": "ftrl"}, retrieval=retrieval)
        self.pipeline = Pipeline(settings, infer_spec([decode_line(line.encode()) for line in lines], "rich"))
        self._decoder = BlockDecoder(text_fields=self.pipeline.extractor.text_fields)
        self._joiner, self._at = Joiner(items=True), 0
        self.feed(lines, cut)

    def feed(self, lines, cut=500):
        for start in range(0, len(lines), cut):
            data = "".join(line + "\n" for line in lines[start : start + cut]).encode()
            block, rejected = self._decoder.decode(data)
            assert not rejected
            places = places_in("p", self._at + block.start, self._at + len(data))
            self._at += len(data)
            self.pipeline.read_items(block, data)
            self.pipeline.learn(self._joiner.push(block, data, places).examples, self._decoder.fields)

    def query(self, user, time=10**9):
        event = {"type": "example", "id": "q", "time": time, "user": user, "label": 0, "features": {}}
        return self.pipeline.query_lines(json.dumps(event).encode() + b"\n")

    def best(self, user, k):
        """Names' ids of the k best for a user."""
        index = Index.of(self.pipeline.tables["item_vectors"])
        scores = index.scores(self.query(user))[0]
        return index.ids[np.argsort(-scores, kind="stable")[:k]].tolist()
