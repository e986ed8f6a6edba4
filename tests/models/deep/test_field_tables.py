"""Fields with embedding tables of their own."""

import json

import numpy as np
import pytest
from deep_batches import INPUTS, batch_of

from streamrec.errors import ConfigError
from streamrec.layers.embedding import EmbeddingSettings
from streamrec.models.deep.build import deep_model
from streamrec.models.deep.field_tables import embedding_of
from streamrec.models.settings import ModelSettings

NAMES = (*INPUTS.fields, *INPUTS.crosses)
FIRST = NAMES[0]


def settings_of(kind="dcn", tables=None, **deep):
    given = {"embedding": {"width": 4}, "tables": tables or {}, "top": (8,), **deep}
    return ModelSettings.model_validate({"kind": kind, "deep": given})


def model_of(kind="dcn", tables=None, **deep):
    return deep_model(settings_of(kind, tables, **deep), INPUTS)


def rows_of(model):
    """Content of all tables but the dense one, whichever table a row is in."""
    found = {}
    for name, table in model.tables.items():
        if name != "dense":
            for ids, rows in table.pieces():
                found |= {int(i): row.tobytes() for i, row in zip(ids, rows, strict=True)}
    return found


@pytest.mark.parametrize("tables", [{"*": {}}, {FIRST: {}}, {FIRST: {}, NAMES[-1]: {}}])
@pytest.mark.parametrize("kind", ["dcn", "dlrm"])
def test_tables_of_ones_own_learn_the_bits_of_a_shared_one(kind, tables):
    """An id is a hash of field and value: fields apart have the rows that they have together."""
    apart, together, batch = model_of(kind, tables), model_of(kind), batch_of(64)
    assert apart.learn(batch).tobytes() == together.learn(batch).tobytes()
    assert apart.score(batch)[0].tobytes() == together.score(batch)[0].tobytes()
    np.testing.assert_allclose(apart.score(batch)[1], together.score(batch)[1], rtol=1e-6)
    assert rows_of(apart) == rows_of(together)
    assert len(apart.tables) == len(together.tables) + (len(NAMES) - 1 if "*" in tables else len(tables))


def test_each_table_has_its_width_optimizer_and_start():
    shared = EmbeddingSettings(width=3)
    own = EmbeddingSettings(width=5, optimizer="momentum", scale=0.5)
    embedding, batch = embedding_of(NAMES, shared, {NAMES[1]: own}, seed=7), batch_of(9)
    assert embedding.widths == (3, 5, *[3] * (len(NAMES) - 2))
    x, _ = embedding.forward(batch)
    alone, _ = embedding_of(NAMES, own, {}, seed=7).forward(batch)
    others, _ = embedding_of(NAMES, shared, {}, seed=7).forward(batch)
    assert x[:, 3:8].tobytes() == np.ascontiguousarray(alone[:, 5:10]).tobytes()
    assert (x[:, :3] == others[:, :3]).all()
    assert (x[:, 8:] == others[:, 6:]).all()
    assert {name: table.width for name, table in embedding.tables.items()} == {
        "embedding": 6,
        f"embedding.{NAMES[1]}": 10,
    }


def test_a_network_of_different_widths_goes_on_from_its_commit():
    tables = {FIRST: {"width": 9, "retention": {"expire_after_s": 50.0}}, NAMES[-1]: {"width": 1}}
    model, batch = model_of(tables=tables, micro_batch=8), batch_of(60)
    model.learn(batch.part(0, 37))
    stored = json.loads(settings_of(tables=tables, micro_batch=8).model_dump_json())
    copy = deep_model(ModelSettings.model_validate(stored), INPUTS)
    for name, table in model.tables.items():
        for ids, rows in table.pieces():
            copy.tables[name].upsert(ids, rows, changed=False)
    copy.restore(model.blobs())
    rest = batch.part(37, 60)
    assert copy.learn(rest).tobytes() == model.learn(rest).tobytes()
    assert rows_of(copy) == rows_of(model)
    assert copy.blobs() == model.blobs()


def test_what_a_table_does_not_set_is_as_in_the_shared_one():
    deep = settings_of(tables={FIRST: {"width": 2}}).deep
    assert deep.tables[FIRST] == deep.embedding.model_copy(update={"width": 2})
    assert deep.tables[FIRST].model_fields_set == {"width"}


@pytest.mark.parametrize(
    ("kind", "tables", "said"),
    [
        ("dcn", {"usr": {}}, f"expected names of {', '.join(NAMES)} or '\\*', got 'usr'"),
        ("dlrm", {FIRST: {"width": 5}}, "expected vectors of 4, as wide as the others, got 5"),
        ("fm", {FIRST: {"width": 5}}, "fm multiplies them with each other"),
    ],
)
def test_tables_that_cannot_be_are_refused(kind, tables, said):
    with pytest.raises(ConfigError, match=said):
        model_of(kind, tables)
