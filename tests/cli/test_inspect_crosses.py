"""`streamrec inspect --crosses` from the command line."""

import json

import pytest
from click.testing import CliRunner

from streamrec.cli.inspect import command
from streamrec.cli.replay import command as replay
from streamrec.errors import UsageError


@pytest.fixture
def stored(tmp_path):
    """(store, stream): a linear model with a cross, learned."""
    stream, config = tmp_path / "events.jsonl", tmp_path / "c.toml"
    event = {"type": "example", "time": 1_700_000_000_000}
    with stream.open("w") as file:
        for i in range(400):
            features = {"a": f"a{i % 2}", "b": f"b{i // 2 % 2}"}
            file.write(
                json.dumps({**event, "id": f"e{i}", "label": int(i % 4 in (0, 3)), "features": features})
                + "\n"
            )
    fields = "".join(f'[[features.fields]]\nname = "{name}"\nkind = "category"\n' for name in "ab")
    config.write_text(f'[model]\nkind = "wide"\n{fields}[[features.crosses]]\nfields = ["a", "b"]\n')
    store = f"embedded:{tmp_path}/store"
    assert run(replay, stream, "--store", store, "--config", config).exit_code == 0
    return store, stream


def run(of, *arguments):
    return CliRunner().invoke(of, list(map(str, arguments)))


def test_it_writes_both_files(stored, tmp_path):
    store, stream = stored
    for name in ("map", "map.png", "map.json"):
        done = run(command, "--store", store, "--crosses", tmp_path / name, "--over", stream, "--json")
        assert done.exit_code == 0
        told = json.loads(done.output)["heat_map"]
        assert (told["png"], told["json"]) == (f"{tmp_path}/map.png", f"{tmp_path}/map.json")
        assert told["strongest"][0].startswith("a × b: ")
        written = json.loads((tmp_path / "map.json").read_text())
        assert written["fields"] == ["a", "b"]
        assert written["pairs"][0]["strength"] == written["strength"][0][1] > 0.3
        assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
        for file in ("map.png", "map.json"):
            (tmp_path / file).unlink()


def test_without_a_path_files_are_here(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(command, "--store", stored[0], "--over", stored[1], "--limit", 50, "--crosses").exit_code == 0
    assert (tmp_path / "crosses.png").is_file()
    assert (tmp_path / "crosses.json").is_file()


def test_wrong_use_is_one_clear_line(stored, tmp_path):
    store, stream = stored
    for arguments, expected in [
        (["--crosses", tmp_path / "map"], "name a stream to see them in"),
        (["--over", stream], "--over: says where --crosses is to look"),
        (["--crosses", tmp_path / "no" / "map", "--over", stream], "there is no folder"),
    ]:
        done = run(command, "--store", store, *arguments)
        assert isinstance(done.exception, UsageError)
        assert expected in str(done.exception)
        assert "\n" not in str(done.exception)
