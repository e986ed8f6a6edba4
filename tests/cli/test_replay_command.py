"""`streamrec replay` and its neighbours as a user calls them: JSON, exit codes, bad input, settings files, curves and slices."""

import gzip
import json
import logging
import re
import sys

import pytest

from streamrec.cli.main import COMMANDS, main
from streamrec.store import memory
from streamrec.testing.redis_server import wait_until

KEYS = [
    "events", "examples", "rejected", "log_loss", "ne", "auc", "calibration", "base_rate", "rmse", "examples_per_s",
    "weights", "nonzero", "state_sha256",
]  # fmt: skip


@pytest.fixture
def streamrec(capsys, monkeypatch):
    """Call the command line in this process; returns (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["streamrec", *map(str, arguments)])
        memory._PROCESS.clear()  # the next command is another process
        root = logging.getLogger()
        before = root.handlers[:]
        root.handlers.clear()
        try:
            with pytest.raises(SystemExit) as stopped:
                main()
        finally:
            root.handlers[:] = before
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return stopped.value.code, out, err

    return call


def example(i, **features):
    event = {"type": "example", "id": f"e{i}", "time": 1_700_000_000_000 + i, "label": i % 2}
    return json.dumps(
        event | {"features": features or {"site": f"s{i % 7}", "tags": ["a", "b"][: i % 3], "bid": i / 7}}
    )


def write(path, lines):
    path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines))
    return path


@pytest.fixture
def stream(tmp_path):
    return write(tmp_path / "events.jsonl", [example(i) for i in range(500)])


def test_json_is_exactly_one_object_with_the_promised_keys(streamrec, stream):
    code, out, err = streamrec("replay", stream, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert list(result) == KEYS
    assert (result["events"], result["examples"], result["rejected"], result["base_rate"]) == (
        500,
        500,
        0,
        0.5,
    )
    assert len(result["state_sha256"]) == 64
    assert result["weights"] >= result["nonzero"] > 0


def test_without_json_a_person_can_read_it(streamrec, stream):
    code, out, _ = streamrec("replay", stream)
    assert code == 0
    assert "log_loss" in out
    assert "{" not in out


def test_every_command_has_help_that_compiles_nothing(streamrec):
    for name in COMMANDS:
        code, out, _ = streamrec(name, "--help")
        assert code == 0
        assert out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["repaly"], 2, "no command 'repaly'; did you mean 'replay'?"),
        (["replay"], 2, "Missing argument 'STREAM'"),
        (["replay", "{stream}", "--model", "ftlr"], 2, "--model ftlr: no such kind; there are ftrl, wide"),
        (["replay", "{stream}", "--store", "redsi://x"], 2, "did you mean 'redis'?"),
        (["replay", "{stream}", "--store", "redis://127.0.0.1:1/0"], 1, "redis://127.0.0.1:1/0 does not answer"),
        (["replay", "{folder}/nothing.jsonl"], 1, "nothing.jsonl: no such file or directory"),
        (["replay", "{folder}/empty.jsonl"], 1, "empty.jsonl is empty: expected JSON lines"),
        (["replay", "{folder}/nodir"], 1, "nodir: no recorded stream in this directory"),
        (["replay", "{stream}", "--config", "{folder}/typo.toml"], 2, "typo.toml line 3: unknown key 'learnin_rate'"),
        (["replay", "{stream}", "--config", "{folder}/value.toml"], 2, "value.toml line 2: "),
        (["replay", "{stream}", "--rejects", "{folder}/no/where"], 2, "no/where: cannot be written"),
        (["replay", "{stream}", "--plot", "{folder}/curves.gif"], 2, "expected a name that ends in .png or .html"),
        (["inspect", "--store", "memory"], 1, "memory: no model 'default'; models there: none"),
        (["convert", "movelens", "{folder}"], 2, "did you mean 'movielens'?"),
        (["convert", "movielens", "{folder}"], 1, "{folder}"),
    ],
)  # fmt: skip
def test_wrong_use_and_bad_places_are_one_clear_line(streamrec, stream, tmp_path, arguments, code, message):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "nodir").mkdir()
    (tmp_path / "typo.toml").write_text("[model]\n[model.ftrl]\nlearnin_rate = 0.1\n")
    (tmp_path / "value.toml").write_text("[join]\nwindow_ms = -3\n")
    places = {"stream": stream, "folder": tmp_path}
    got, out, err = streamrec(*(argument.format(**places) for argument in arguments))
    assert message.format(**places) in err
    assert got == code
    assert out == ""
    assert len(err.strip().splitlines()) == 1


BAD = {
    "binary": (b"\x89PNG\x00\xff\xfe", "not UTF-8"),
    "half": (b'{"type":"example","id":"h","time":1', "bad JSON"),
    "nan": ('{"type":"example","id":"n","time":1700000000000,"label":NaN,"features":{}}', "label: expected a finite number, got NaN"),
    "huge number": ('{"type":"example","id":"n","time":1700000000000,"label":1e400,"features":{}}', "beyond float64"),
    "wide": (example(0, **{f"f{i}": 1 for i in range(10_000)}).replace('"e0"', '"w"'), "10000 entries, at most 4096"),
    "year 1": (example(0).replace("1700000000000", "-62135596800000").replace('"e0"', '"y1"'), "(year 1)"),
    "year 3000": (example(0).replace("1700000000000", "32503680000001").replace('"e0"', '"y3"'), "(year 3000)"),
    "duplicate": (example(5), "duplicate id"),
    "unknown type": ('{"type":"exampel","id":"q","time":1700000000000}', "did you mean 'example'?"),
    "lone click": ('{"type":"click","id":"c","time":1700000000000,"impression":"i"}', "click without its impression"),
    "long line": ('{"type":"example","id":"l","features":{"x":"' + "x" * 2_000_000 + '"}}', "is longer than 1,048,576"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_a_dead_letter_and_no_good_event_is_lost(streamrec, tmp_path, what):
    bad, reason = BAD[what]
    good = [example(i) for i in range(100)]
    path = write(tmp_path / "events.jsonl", [*good[:60], bad, *good[60:]])
    rejects = tmp_path / "rejects.jsonl"
    code, out, err = streamrec("replay", path, "--json", "--model", "ftrl", "--rejects", rejects)
    result = json.loads(out)
    assert (code, result["examples"], result["rejected"], result["events"]) == (0, 100, 1, 101)
    (letter,) = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert reason in letter["reason"]
    assert reason in err
    raw = bad.encode() if isinstance(bad, str) else bad
    at = path.read_bytes().rindex(raw)  # the second one, where it is a duplicate
    assert letter["offset"] == at
    alone = write(tmp_path / "good.jsonl", good)
    without = json.loads(streamrec("replay", alone, "--json", "--model", "ftrl")[1])
    assert result["state_sha256"] == without["state_sha256"]


def test_a_gzip_cut_short_is_learned_up_to_the_cut(streamrec, tmp_path):
    whole = gzip.compress("".join(example(i) + "\n" for i in range(5000)).encode())
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    code, out, err = streamrec("replay", path, "--json", "--model", "ftrl")
    result = json.loads(out)
    assert code == 0
    assert "gzip cut short" in err
    assert 1000 < result["examples"] < 5000
    assert result["rejected"] == 1


def test_a_schema_that_changes_half_way_loses_no_event(streamrec, tmp_path):
    lines = [example(i, a=f"x{i % 3}", b=i % 5) for i in range(2000)]
    lines += [example(i, a=i % 3, b=f"y{i % 5}", c=["new", "er"], d=True) for i in range(2000, 4000)]
    code, out, _ = streamrec("replay", write(tmp_path / "s.jsonl", lines), "--json", "--model", "ftrl")
    result = json.loads(out)
    assert (code, result["examples"], result["rejected"]) == (0, 4000, 0)


def test_nothing_usable_is_said_so(streamrec, tmp_path):
    path = tmp_path / "garbage.bin"
    path.write_bytes(bytes(range(256)) * 400)
    code, out, err = streamrec("replay", path, "--json")
    assert code == 0
    assert json.loads(out)["examples"] == 0
    assert json.loads(out)["log_loss"] is None
    assert "not used" in err


def test_curves_and_slices_on_request(streamrec, stream, tmp_path):
    code, out, _ = streamrec("replay", stream, "--plot", tmp_path / "c.png", "--slice", "site")
    assert code == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert "s3" in out
    code, out, _ = streamrec("replay", stream, "--plot", tmp_path / "c.html", "--slice", "site", "--json")
    assert code == 0
    assert not re.search(r"(src|href|url)\W*http", (tmp_path / "c.html").read_text())
    slices = {row["value"]: row["examples"] for row in json.loads(out)["slices"]}
    assert slices["s0"] == 72


def test_predictions_are_made_before_learning(streamrec, stream, tmp_path):
    streamrec("replay", stream, "--predictions", tmp_path / "p.jsonl", "--model", "ftrl")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert len(rows) == 500
    assert rows[0]["prediction"] == 0.5
    assert [row["label"] for row in rows] == [i % 2 for i in range(500)]


def test_a_settings_file_decides(streamrec, stream, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(
        '[model]\nkind = "ftrl"\n[model.ftrl]\nl1 = 30.0\n[[features.fields]]\nname = "site"\nkind = "category"\n'
    )
    code, out, _ = streamrec("replay", stream, "--config", config, "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["weights"], result["nonzero"]) == (
        8,
        0,
    )  # seven sites and the intercept, all inside the L1 ball


def test_a_stored_model_of_another_kind_is_refused_not_overwritten(streamrec, stream, tmp_path):
    store = f"embedded:{tmp_path}/store"
    code, first, _ = streamrec("replay", stream, "--store", store, "--model", "ftrl", "--json")
    assert code == 0
    code, _, err = streamrec("replay", stream, "--store", store, "--model", "wide")
    assert code == 1
    assert "kind = ftrl" in err
    assert "--fresh" in err
    code, out, _ = streamrec("inspect", "--store", store, "--json")
    assert code == 0
    assert json.loads(out)["state_sha256"] == json.loads(first)["state_sha256"]


def test_standard_input_is_a_stream(stream, tmp_path):
    import subprocess

    with stream.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "streamrec", "replay", "-", "--json"],
            stdin=file,
            capture_output=True,
            check=True,
        )
    assert json.loads(done.stdout)["examples"] == 500


def test_a_pipe_that_gives_nothing_is_committed_and_left_on_sigterm(stream, tmp_path):
    import signal
    import subprocess

    store = f"embedded:{tmp_path}/store"
    process = subprocess.Popen(
        [sys.executable, "-m", "streamrec", "replay", "-", "--json", "--store", store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        for n in b"123":  # more examples than the features are inferred from
            process.stdin.write(stream.read_bytes().replace(b'"id": "', b'"id": "%c' % n))
        process.stdin.flush()
        assert wait_until(lambda: committed_seq(store) > 0, 30), "nothing is committed while the pipe is idle"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert json.loads(process.stdout.read())["events"] == 3 * 500
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def committed_seq(url):
    from streamrec.store.registry import open_store

    store = open_store(url)
    try:
        return store.head("default").seq
    finally:
        store.close()


def test_blank_lines_do_not_make_a_limit_the_end_of_the_stream(streamrec, tmp_path):
    lines = [
        f'{{"type":"impression","id":"i{i}","time":{1_700_000_000_000 + i},"user":"u","item":"m",'
        f'"features":{{"f":"v{i % 3}"}}}}\n'
        for i in range(40)
    ]
    path = write(tmp_path / "blank.jsonl", lines)
    final = tmp_path / "final.jsonl"
    code, out, _ = streamrec("replay", path, "--limit", 30, "--predictions", final, "--json")
    assert code == 0
    result = json.loads(out)
    assert (result["events"], result["examples"]) == (30, 30)
    assert final.read_text() == "", "open impressions wait for the rest"
    streamrec("replay", path, "--predictions", final, "--json")
    assert len(final.read_text().splitlines()) == 40, "the end of the stream is the end of waiting"


def test_labels_are_those_of_the_stored_models_task(streamrec, tmp_path):
    config = tmp_path / "rating.toml"
    config.write_text('[model]\ntask = "rating"\n')
    store = f"embedded:{tmp_path}/store"
    for part in range(2):
        rated = [
            f'{{"type":"rating","id":"{part}.{i}","time":{i},"user":"u{i % 7}","item":"m",'
            f'"rating":{2 + i % 2},"features":{{}}}}'
            for i in range(100)
        ]
        path = write(tmp_path / f"part{part}.jsonl", rated)
        options = ["--config", config] if part == 0 else []
        code, out, err = streamrec("replay", path, "--store", store, "--json", *options)
        assert code == 0, err
        result = json.loads(out)
    assert result["examples"] == 200
    assert result["base_rate"] == 2.5, "a rating is a number, not a click"
    config.write_text('[join]\ntask = "rating"\n')
    code, _, err = streamrec("replay", path, "--config", config, "--json")
    assert code == 2
    assert "[model]" in err


@pytest.mark.parametrize("task", ["click", "rating"])
def test_the_greatest_numbers_that_an_event_may_have_leave_every_weight_finite(streamrec, tmp_path, task):
    config, predictions = tmp_path / "settings.toml", tmp_path / "predictions.jsonl"
    config.write_text(f'[model]\ntask = "{task}"\n')
    wild = 3.4e38 if task == "rating" else 1
    lines = [
        f'{{"type":"example","id":"{i}","time":{i * 1000},"user":"u{i % 5}","item":"m{i % 3}",'
        f'"label":{(wild if i % 2 else -wild) if 200 <= i < 208 and task == "rating" else i % 2},'
        f'"weight":{3.4e38 if 204 <= i < 210 else 1},"features":{{"f":"v{i % 9}","x":{i % 11}}}}}'
        for i in range(600)
    ]
    path = write(tmp_path / "wild.jsonl", lines)
    code, _, err = streamrec("replay", path, "--config", config, "--predictions", predictions, "--json")
    assert code == 0, err
    assert "NaN" not in predictions.read_text()


def test_doctor_and_schemas(streamrec, tmp_path):
    code, out, _ = streamrec("doctor", "--json")
    assert json.loads(out)["python"]
    assert code in (0, 1)
    code, out, _ = streamrec("schemas", tmp_path, "--json")
    assert code == 0
    assert len(json.loads(out)["schemas"]) == 5


def test_outputs_of_another_run_are_never_cut(streamrec, stream, tmp_path):
    store, kept = f"embedded:{tmp_path}/store", tmp_path / "predictions.jsonl"
    assert streamrec("replay", stream, "--store", store, "--limit", 300)[0] == 0
    kept.write_text("mine\n")
    code, _, err = streamrec("replay", stream, "--store", store, "--predictions", kept)
    assert code == 2
    assert "no earlier run of 'default' wrote it" in err
    assert kept.read_text() == "mine\n"
    kept.unlink()
    assert streamrec("replay", stream, "--store", store, "--predictions", kept)[0] == 0
    assert len(kept.read_text().splitlines()) == 200


def test_a_mistaken_start_does_not_take_the_model_from_its_learner(streamrec, stream, tmp_path):
    store = f"embedded:{tmp_path}/store"
    streamrec("replay", stream, "--store", store, "--model", "ftrl")
    epoch = json.loads(streamrec("inspect", "--store", store, "--json")[1])["epoch"]
    assert streamrec("replay", stream, "--store", store, "--model", "wide")[0] == 1
    assert (
        streamrec("replay", stream, "--store", store, "--fresh", "--rejects", tmp_path / "no" / "r")[0] == 2
    )
    assert json.loads(streamrec("inspect", "--store", store, "--json")[1])["epoch"] == epoch
