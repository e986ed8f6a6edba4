"""Strategies for lines of event JSON: what a stream may hold, as text."""

import json

from hypothesis import strategies as st

__all__ = ["as_line", "events", "exact_numbers", "lines", "tame_numbers"]

# Values as they are written, not as they are meant: the text of the JSON is what varies. Three events in four
# are good ones in shapes that differ (`tame`), every fourth has anything anywhere.
space = st.sampled_from(["", "", "", " ", "  ", "\t", "\r", " \t"])
unicode_texts = [
    "Léon: Ein Fall",
    "ÀÉ über-x_y",
    "日本語 テキスト",
    "İ",
    "🙂",
    "\x7f",
    "\u2028",
    "ß\U0010ffff",
]
ascii_texts = [
    "",
    "a",
    "seven77",
    "eight888",
    "nine99999",
    "The  Matrix (1999)",
    "x_y-Z",
    "a" * 300,
    "#$%&'()*+,-./:;<=>?@[]^_`{|}~",
]
plain = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=20)
tame_strings = st.one_of(
    st.sampled_from(ascii_texts),
    st.sampled_from(ascii_texts),
    plain,
    st.sampled_from(unicode_texts),
).map(lambda text: f'"{text}"')
tame_ids = tame_strings.filter(lambda text: text != '""')
wild_strings = st.one_of(
    tame_strings,
    st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.one_of(st.text(max_size=12), st.sampled_from(unicode_texts)).map(json.dumps),
    st.sampled_from(['"\\ud800"', '"\\q"', '"\x01"', "'a'", '"a', '"\\/"']),
)
tame_numbers = st.one_of(
    st.integers(-(10**17), 10**17).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.floats(-1, 1).map(repr),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,8})?([eE][+-]?[0-9])?\Z"),
)
exact_numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?\Z"),
)
no_numbers = [
    "1e400",
    "NaN",
    "-Infinity",
    "01",
    "1.",
    ".5",
    "+1",
    "1e",
    "0x1",
    "1_0",
    "--1",
    "1e+",
    "1ee1",
    "-",
]
wild_scalars = st.one_of(
    wild_strings,
    exact_numbers,
    st.sampled_from(["0", "-0", "-0.0", "1", "1.0", *no_numbers]),
    st.sampled_from(["true", "false", "null", "tru", "nul", "True", "nulll", "falsey", ""]),
)


@st.composite
def lists(draw: st.DrawFn, elements: st.SearchStrategy[str]) -> str:
    values = draw(st.lists(elements, max_size=4))
    return "[" + draw(space) + (draw(space) + "," + draw(space)).join(values) + draw(space) + "]"


@st.composite
def objects(draw: st.DrawFn, pairs: list[tuple[str, str]]) -> str:
    body = [f"{name}{draw(space)}:{draw(space)}{value}" for name, value in pairs]
    return "{" + draw(space) + (draw(space) + "," + draw(space)).join(body) + draw(space) + "}"


names = st.sampled_from(
    ["a", "b", "c", "title", "tags", "six_66", "seven_7", "exactly8", "a_long_name", "é"]
).map(json.dumps)
raw_names = st.one_of(names, tame_strings).map(lambda name: json.dumps(json.loads(name), ensure_ascii=False))
tame_values = st.one_of(
    tame_strings, tame_numbers, lists(tame_strings), st.sampled_from(["true", "false", "null"])
)
tame_features = st.dictionaries(raw_names, tame_values, max_size=6).flatmap(
    lambda pairs: objects(list(pairs.items()))
)
wild_values = st.one_of(tame_values, wild_scalars, lists(wild_scalars), st.just("{}"))
wild_features = st.lists(
    st.tuples(st.one_of(names, raw_names, wild_strings), wild_values), max_size=4
).flatmap(objects)
tame_times = st.one_of(
    st.integers(0, 2 * 10**12).map(str), st.sampled_from(["-62104060800000", "32503679999999", "-0"])
)
tame_fields = {
    "user": tame_strings,
    "item": tame_strings,
    "impression": tame_ids,
    "request": tame_strings,
    "arm": tame_strings,
    "position": st.sampled_from(["0", "3", "2147483647"]),
    "propensity": st.sampled_from(["0.5", "1", "0.12345678901234567", "1e-7", "1.0"]),
    "label": tame_numbers,
    "rating": tame_numbers,
    "value": tame_numbers,
    "weight": st.sampled_from(["0", "-0.0", "2.5", "0.30000000000000004"]),
    "deleted": st.sampled_from(["true", "false"]),
    "feedback": st.sampled_from(['"early"', '"correction"', '"confirmed"', '"arrival"', "null"]),
    "features": tame_features,
}
wild_fields = {
    "id": st.one_of(st.just('""'), wild_scalars),
    "time": st.sampled_from(["-62104060800001", "32503680000000", "1e3", "1.0", "true", "-62135596800000"]),
    "type": st.one_of(
        wild_scalars, st.sampled_from(['"clicks"', '"Item"', '"examplex"', '"impressioN"', '""'])
    ),
    "position": st.sampled_from(["-1", "2147483648", "1.5"]),
    "propensity": st.sampled_from(["0", "1.0000001", "-1"]),
    "label": st.sampled_from(["3.4028234663852886e38", "3.4028234663852887e38", "3.5e38", "-3.5e38"]),
    "weight": st.sampled_from(["-1", "-1e-9", "1e39"]),
    "feedback": st.sampled_from(
        ['""', '"Early"', '"earl"', '"correctiox"', '"confirmex"', '"arrivals"', "1", "true"]
    ),
    "features": wild_features,
}
unknown = st.sampled_from(
    ["source", "labels", "Type", "x" * 12, "é", "imprezzion", "impressiox", "propensitx", "i", ""]
)
required = {
    "impression": ["user", "item", "features"],
    "click": ["impression"],
    "rating": ["user", "item", "rating", "features"],
    "item": ["features"],
    "example": ["label"],
}


@st.composite
def events(draw: st.DrawFn) -> str:
    """The text of one line."""
    kind = draw(st.sampled_from([*required]))
    fields = {"type": json.dumps(kind), "id": draw(tame_ids), "time": draw(tame_times)}
    optional = draw(st.lists(st.sampled_from(sorted(tame_fields)), max_size=3))
    fields |= {name: draw(tame_fields[name]) for name in (*required[kind], *optional)}
    if draw(st.booleans()):
        fields[draw(unknown)] = draw(st.one_of(tame_strings, tame_numbers, st.sampled_from(["true", "null"])))
    pairs = [(json.dumps(name, ensure_ascii=False), value) for name, value in fields.items()]
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    if draw(st.sampled_from([False, False, False, True])):
        pairs = draw(damaged(pairs))
    return draw(space) + draw(objects(pairs)) + draw(space)


@st.composite
def damaged(draw: st.DrawFn, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One field missing, twice, written with escapes, or with anything as its value."""
    at = draw(st.integers(0, len(pairs) - 1))
    name, value = pairs[at]
    key = json.loads(name)
    wild = draw(st.one_of(wild_fields.get(key, wild_scalars), wild_scalars, wild_values))
    change = draw(st.sampled_from(["missing", "twice", "escaped", "value", "value", "value", "name"]))
    new = {
        "missing": [],
        "twice": [(name, value), (name, wild)],
        "escaped": [("".join(['"', *(f"\\u{ord(c):04x}" for c in key), '"']), value)],
        "value": [(name, wild)],
        "name": [(draw(wild_strings), value)],
    }[change]
    return [*pairs[:at], *new, *pairs[at + 1 :]]


def as_line(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").replace(b"\n", b"") + b"\n"


lines = st.one_of(events().map(as_line), events().map(as_line), st.sampled_from([b"\n", b" \t\r\n"]))
