"""Messages for settings files: the line, the nearest valid key, what was expected and found."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from streamrec.errors import ConfigError
from streamrec.features.settings_file import read_settings
from streamrec.features.spec import Cross, FeatureSpec, Field, Statistics
from streamrec.features.toml_lines import locate_keys


class Learning(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: float = 0.1
    layers: tuple[int, ...] = ()
    verbose: bool = False


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    features: FeatureSpec | None = None
    learning: Learning = Learning()


GOOD = """\
# a comment
[learning]
rate = 1  # an integer is a number
layers = [
  64,
  32,
]

[[features.fields]]
name = "user"
kind = "category"
statistics = true

[[features.fields]]
name = "tags"  # ["not", "an", "array"]
kind = "bag"
statistics = { prior = 5, half_life_s = 3600.0 }

[[features.fields]]
name = "time"
kind = "time"
parts = ["hour"]

[[features.crosses]]
fields = ["user", "tags"]
"""


def read(tmp_path: Path, text: str) -> Whole:
    path = tmp_path / "config.toml"
    path.write_text(text, "utf-8")
    return read_settings(path, Whole)


def message(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_a_good_file(tmp_path: Path) -> None:
    whole = read(tmp_path, GOOD)
    assert whole.learning == Learning(rate=1.0, layers=(64, 32))
    assert whole.features == FeatureSpec(
        fields=(
            Field(name="user", kind="category", statistics=Statistics()),
            Field(name="tags", kind="bag", statistics=Statistics(prior=5, half_life_s=3600)),
            Field(name="time", kind="time", parts=("hour",)),
        ),
        crosses=(Cross(fields=("user", "tags")),),
    )
    assert read(tmp_path, "") == Whole()


FIELDS = "[[features.fields]]\n"
WRONG = {
    "misspelt key": (
        FIELDS + 'name = "n"\nkind = "number"\n\nbukets = true',
        "config.toml line 5: unknown key 'bukets' in [[features.fields]]; did you mean 'buckets'?",
    ),
    "misspelt required key": (
        FIELDS + 'name = "n"\nkin = "number"',
        "config.toml line 3: unknown key 'kin' in [[features.fields]]; did you mean 'kind'? (and 1 more)",
    ),
    "misspelt section": (
        "\n[leaning]\nrate = 1",
        "config.toml line 2: unknown section or key 'leaning'; did you mean 'learning'?",
    ),
    "nothing near": (
        "[learning]\nzzz = 1",
        "config.toml line 2: unknown key 'zzz' in [learning]; valid are rate, layers, verbose",
    ),
    "key in an inline table": (
        FIELDS + 'name = "u"\nkind = "category"\nstatistics = { prior = 1, haf_life_s = 2 }',
        "config.toml line 4: unknown key 'haf_life_s' in [features.fields.statistics]; "
        "did you mean 'half_life_s'?",
    ),
    "missing key": (
        FIELDS + 'name = "a"\nkind = "bag"\n' + FIELDS + 'name = "b"',
        "config.toml line 4: missing key 'kind' in [[features.fields]]",
    ),
    "no such kind": (
        FIELDS + 'name = "a"\nkind = "categry"',
        "config.toml line 3: kind in [[features.fields]]: "
        "expected 'category', 'bag', 'number', 'text' or 'time', got \"categry\"; did you mean 'category'?",
    ),
    "text for a number": (
        '[learning]\nrate = "fast"',
        'config.toml line 2: rate in [learning]: expected a valid number, got "fast"',
    ),
    "number for a boolean": (
        "[learning]\nverbose = 1",
        "config.toml line 2: verbose in [learning]: expected a valid boolean, got 1",
    ),
    "element of an array": (
        '[learning]\nlayers = [\n  64,\n  "x",\n]',
        'config.toml line 4: layers in [learning]: expected a valid integer, got "x"',
    ),
    "out of range": (
        FIELDS + 'name = "n"\nkind = "bag"\nstatistics = { prior = 0 }',
        "config.toml line 4: prior in [features.fields.statistics]: expected greater than 0, got 0",
    ),
    "a scalar for a section": (
        "learning = 3",
        "config.toml line 1: learning: expected an object, got 3",
    ),
    "option of another kind": (
        FIELDS + 'name = "a"\nkind = "bag"\nparts = ["hour"]',
        "config.toml line 1: parts belongs to kind time, not to bag ('a')",
    ),
    "unknown field in a cross": (
        FIELDS + 'name = "user"\nkind = "category"\n' + FIELDS + 'name = "genre"\nkind = "bag"\n'
        '[[features.crosses]]\nfields = ["user", "gener"]',
        "config.toml line 7: cross ['user', 'gener']: no field 'gener'; did you mean 'genre'?",
    ),
    "syntax": ("a = 1\nb = = 2", "config.toml line 2, column 5: not TOML: Invalid value"),
    "cut short": ('a = "x', "config.toml line 1: not TOML: Expected '\"'"),
    "twice": (
        "[learning]\nrate = 1\nrate = 2",
        "config.toml line 3, column 9: not TOML: Cannot overwrite a value",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(tmp_path: Path, name: str) -> None:
    text, expected = WRONG[name]
    got = message(tmp_path, text)
    if "not TOML" in expected:  # the wording is the Python version's
        assert got.split(",")[0].split(":")[0] == expected.split(",")[0].split(":")[0]
        assert "not TOML: " in got
    else:
        assert got == expected


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such settings file"):
        read_settings(tmp_path / "nothing.toml", Whole)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path, Whole)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="expected TOML in UTF-8, got byte 0xff"):
        read_settings(binary, Whole)


def test_lines_of_everything() -> None:
    text = (
        'a.b = 1\n"c d" = """\n[x]\n\\""" # no comment\n"""\n'
        "e = '''\n[[y]]'''\nf = [ # [\n {g = 1}, [2,\n3]]\n[t]\nu = 2020-01-01 00:00:00 # =\n"
        "[[ v . w ]]\nx = '#'\n[v.w.y]\nz = {}\n[[v.w]]\nx = 2\n"
    )
    assert locate_keys(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("c d",): 2,
        ("e",): 6,
        ("f",): 8,
        ("f", 0): 9,
        ("f", 0, "g"): 9,
        ("f", 1): 9,
        ("f", 1, 0): 9,
        ("f", 1, 1): 10,
        ("t",): 11,
        ("t", "u"): 12,
        ("v",): 13,
        ("v", "w"): 13,
        ("v", "w", 0): 13,
        ("v", "w", 0, "x"): 14,
        ("v", "w", 0, "y"): 15,
        ("v", "w", 0, "y", "z"): 16,
        ("v", "w", 1): 17,
        ("v", "w", 1, "x"): 18,
    }


@given(st.text(alphabet="[]{}=,.#'\"\\\n ab1", max_size=40))
def test_the_scan_always_ends(text: str) -> None:
    locate_keys(text)
