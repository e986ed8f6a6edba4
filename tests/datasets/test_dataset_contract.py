"""What every registered data set promises, on made-up rows in every packing."""

import pkgutil

import pytest
from dataset_fixtures import FIXTURES, PACKERS, write

import streamrec.datasets
from streamrec.datasets import DATASETS, BadRow, convert
from streamrec.errors import SourceError, UsageError
from streamrec.events.codec import decode_line, encode
from streamrec.events.model import Event

# Modules of the package that are not data sets.
_PARTS = {"event", "order", "registry", "rows"}


def events_of(name, path) -> list[Event]:
    """The events, after checking what holds for all data sets."""
    lines = list(convert(name, path, lambda bad: None))
    events = [decode_line(line) for line in lines]
    assert [encode(event) + b"\n" for event in events] == lines
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert len({event.id for event in events}) == len(events)
    shown = set()
    for event in events:
        if event.type == "click":
            assert event.impression in shown
        elif event.type == "impression":
            shown.add(event.id)
    return events


def test_every_data_set_is_registered_and_has_made_up_rows():
    modules = {module.name.replace("_", "-") for module in pkgutil.iter_modules(streamrec.datasets.__path__)}
    assert modules - _PARTS == set(DATASETS)
    assert {fixture.split()[0] for fixture in FIXTURES} == set(DATASETS)
    assert list(DATASETS) == sorted(DATASETS)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("fixture", FIXTURES)
def test_canonical_lines_in_time_order(tmp_path, fixture, packing):
    name, folder = write(tmp_path, fixture, packing)
    events = events_of(name, folder)
    assert events
    main = next(iter(FIXTURES[fixture])) + PACKERS[packing][0]
    assert events_of(name, folder / main) == events


@pytest.mark.parametrize("fixture", FIXTURES)
def test_windows_line_ends_and_an_unfinished_last_line_change_nothing(tmp_path, fixture):
    name, folder = write(tmp_path, fixture)
    events = events_of(name, folder)
    for file in folder.iterdir():
        file.write_bytes(
            file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").removesuffix(b"\r\n")
        )
    assert events_of(name, folder) == events


@pytest.mark.parametrize("fixture", FIXTURES)
def test_a_bad_row_is_reported_with_its_place_and_skipped(tmp_path, fixture):
    name, folder = write(tmp_path, fixture)
    events = events_of(name, folder)
    main = folder / next(iter(FIXTURES[fixture]))
    content = main.read_bytes()
    n_lines = content.count(b"\n") + (not content.endswith(b"\n"))
    main.write_bytes(content.rstrip(b"\n") + b"\nwhat is\tthis,here\n\n\xff\xfe\n")
    bad: list[BadRow] = []
    assert [decode_line(line) for line in convert(name, folder, bad.append)] == events
    places = {row.line for row in bad if row.path == main}
    assert {n_lines + 1, n_lines + 3} <= places
    assert str(bad[-1]).startswith(f"{main}: line ")
    assert "\n" not in str(bad[-1])


@pytest.mark.parametrize("fixture", FIXTURES)
def test_a_file_of_something_else_is_one_clear_line(tmp_path, fixture):
    name, folder = write(tmp_path, fixture)
    main = folder / next(iter(FIXTURES[fixture]))
    main.write_bytes(b"nothing,of,the,kind\n" * 5_000)
    bad: list[BadRow] = []
    with pytest.raises(SourceError, match=r"line 1: .*expected") as error:
        list(convert(name, folder, bad.append))
    assert str(main) in str(error.value)
    assert len(bad) <= 1_000


@pytest.mark.parametrize("name", DATASETS)
def test_missing_and_empty_files(tmp_path, name):
    with pytest.raises(SourceError, match="no such file or directory: expected"):
        list(convert(name, tmp_path / "nowhere"))
    with pytest.raises(SourceError, match=rf"{tmp_path}: expected .* in it"):
        list(convert(name, tmp_path))
    fixture = next(fixture for fixture in FIXTURES if fixture.startswith(name))
    write(tmp_path, fixture)
    main = tmp_path / next(iter(FIXTURES[fixture]))
    main.write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        list(convert(name, tmp_path))


def test_unknown_data_set():
    with pytest.raises(UsageError, match="unknown data set 'movie-lens': did you mean 'movielens'"):
        convert("movie-lens", "x")
    with pytest.raises(UsageError, match="expected one of avazu, criteo"):
        convert("zzz", "x")


def test_skipped_rows_are_logged_unless_somebody_listens(tmp_path, caplog):
    list(convert(*write(tmp_path, "taobao")))
    assert "UserBehavior.csv: line 7: expected 5 columns, got 4: skipped" in caplog.text


def test_a_gzip_cut_short_is_reported(tmp_path):
    name, folder = write(tmp_path, "criteo", "gzip")
    file = folder / "train.txt.gz"
    file.write_bytes(file.read_bytes()[:-12])
    bad: list[BadRow] = []
    assert len(list(convert(name, folder, bad.append))) >= 1
    assert "cut short" in bad[-1].reason
