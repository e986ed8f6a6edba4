"""What becomes of the columns of each data set, on made-up rows written down by hand."""

import json

import pytest
from dataset_fixtures import write

from streamrec.datasets import BadRow, convert
from streamrec.errors import SourceError


def records(tmp_path, fixture):
    name, folder = write(tmp_path, fixture)
    return [json.loads(line) for line in convert(name, folder, lambda bad: None)]


def features(records):
    return [record["features"] for record in records]


def test_movielens_100k(tmp_path):
    first, second, third = records(tmp_path, "movielens 100k")
    assert first == {
        "type": "rating",
        "id": "r2",
        "time": 881250948000,
        "user": "186",
        "item": "302",
        "rating": 4,
        "features": {
            "title": "Misérables, Les",
            "year": "1995",
            "age": 39,
            "gender": "F",
            "occupation": "executive",
            "zip": "00000",
        },
    }
    assert [second["id"], third["id"]] == ["r1", "r3"]  # one second: the order of the file
    assert second["features"]["genres"] == ["Comedy"]
    assert "title" not in third["features"]


def test_movielens_1m(tmp_path):
    first, second = records(tmp_path, "movielens 1m")
    assert (first["rating"], second["rating"]) == (3.5, 5)
    assert second["features"] == {
        "title": "Cité",
        "year": "1995",
        "genres": ["Drama", "Sci-Fi"],
        "age": "under 18",
        "gender": "F",
        "occupation": "K-12 student",
        "zip": "48067",
    }
    assert first["features"]["occupation"] == "writer"


def test_movielens_latest(tmp_path):
    first, second = records(tmp_path, "movielens latest")
    assert first["features"] == {"title": "Lost é", "year": "2004"}
    assert second["features"] == {
        "title": "American President, The",
        "year": "1995",
        "genres": ["Comedy", "Drama", "Romance"],
    }


def test_movielens_without_movies_says_so(tmp_path):
    name, folder = write(tmp_path, "movielens latest")
    (folder / "movies.csv").unlink()
    bad: list[BadRow] = []
    assert len(list(convert(name, folder, bad.append))) == 2
    assert str(bad[0]) == f"{folder / 'movies.csv'}: not found: its features are left out"


def test_criteo(tmp_path):
    first, second = records(tmp_path, "criteo")
    assert (first["label"], second["label"], first["id"]) == (1, 0, "e1")
    assert second["time"] - first["time"] == 1
    assert first["features"]["I1"] == -1
    assert first["features"]["C26"] == "00000019"
    assert second["features"] == {"I2": 5, "C1": "68fd1e64"}


def test_avazu(tmp_path):
    first, second = records(tmp_path, "avazu")
    assert (first["id"], first["label"], second["label"]) == ("e3", 0, 1)
    assert (first["time"], second["time"]) == (1413849600000, 1413853200000)  # 2014-10-21 00:00 and 01:00
    assert len(first["features"]) == 21
    assert first["features"]["C20"] == "-1"
    assert first["features"]["device_ip"] == "ip1"


def test_mind(tmp_path):
    events = records(tmp_path, "mind")
    assert [event["id"] for event in events] == [
        "i8-1",
        "i8-2",
        "i8-3",
        "c8-3",
        "i7-1",
        "i7-2",
        "c7-1",
        "i9-1",
    ]
    midnight, noon = 1573516800000, 1573560000000
    assert [event["time"] for event in events] == [
        *[midnight] * 3,
        midnight + 1000,
        noon + 1000,
        noon + 1000,
        noon + 2000,
        noon + 2000,
    ]
    assert events[2] == {
        "type": "impression",
        "id": "i8-3",
        "time": midnight,
        "user": "U2",
        "item": "N20",
        "request": "8",
        "position": 3,
        "features": {
            "history_length": 0,
            "list_length": 3,
            "category": "sports",
            "subcategory": "soccer",
            "title": "Goal “é”",
        },
    }
    assert events[3]["impression"] == "i8-3"
    assert events[5]["features"] == {
        "history": [f"N{i}" for i in range(2, 12)],
        "history_length": 11,
        "list_length": 2,
    }


def test_open_bandit(tmp_path):
    first, second, clicked = records(tmp_path, "open-bandit")
    assert (first["id"], first["time"], first["propensity"]) == ("i3", 1574553663000, 1)
    assert second == {
        "type": "impression",
        "id": "i2",
        "time": 1574553663979,
        "user": "aaaaaaaa-bbbbbbbb-cccccccc-dddddddd",
        "item": "1",
        "position": 2,
        "propensity": 0.05,
        "features": {
            **{f"user_feature_{i}": letter * 8 + "xyz" for i, letter in enumerate("abcd")},
            "item_feature_0": 2,
            "item_feature_1": "s",
            "item_feature_2": "t",
            "item_feature_3": "u",
            "affinity": 1.5,
            "affine_items": ["1"],
        },
    }
    assert clicked["impression"] == "i3"


def test_open_bandit_needs_the_items(tmp_path):
    name, folder = write(tmp_path, "open-bandit")
    (folder / "item_context.csv").unlink()
    with pytest.raises(SourceError, match=r"expected item_context\.csv beside the log"):
        list(convert(name, folder))


def test_taobao(tmp_path):
    events = records(tmp_path, "taobao")
    seconds = [(event["id"], event["time"] / 1000 - 1511658000, event.get("impression")) for event in events]
    assert seconds == [
        ("i1", 0, None),
        ("i4", 1, None),
        ("c2", 300, "i1"),  # bought within ten minutes of the view
        ("i3", 300, None),  # put into the cart without a view
        ("c3", 301, "i3"),
        ("i6", 301, None),  # the view was clicked already
        ("c6", 302, "i6"),
        ("i5", 602, None),  # ten minutes and a second after the view
        ("c5", 603, "i5"),
    ]
    assert events[0]["features"] == {"category": "7"}


def test_talkingdata(tmp_path):
    first, second = records(tmp_path, "talkingdata")
    assert first == {
        "type": "example",
        "id": "e3",
        "time": 1510047037000,
        "label": 1,
        "user": "105560",
        "item": "25",
        "features": {"device": "1", "os": "17", "channel": "259"},
    }
    assert second["label"] == 0


@pytest.mark.parametrize(
    ("fixture", "file", "old", "new", "reason"),
    [
        ("movielens 100k", "u.data", b"\t3\t", b"\tnan\t", "rating: expected a number, got 'nan'"),
        (
            "movielens 1m",
            "ratings.dat",
            b"978300760",
            b"soon",
            "timestamp: expected a whole number, got 'soon'",
        ),
        ("criteo", "train.txt", b"1\t-1", b"2\t-1", "label: expected 0 or 1, got '2'"),
        ("avazu", "train.csv", b"14102101", b"14139901", "hour: expected YYMMDDHH, got '14139901'"),
        ("mind", "behaviors.tsv", b"N21-0\n", b"N21\n", "shown items: expected N…-0 or N…-1, got 'N21'"),
        ("mind", "behaviors.tsv", b"12:00:01 PM", b"25:00:01 XM", "time: expected M/D/YYYY h:mm:ss AM or PM"),
        ("open-bandit", "men.csv", b",0.05,", b",0.05,0,", "expected 12 columns, got 13"),
        ("open-bandit", "men.csv", b",0.05,", b",0.0,", "propensity_score: expected a probability above 0"),
        ("open-bandit", "men.csv", b"00:01:03.979311", b"morning", "timestamp: expected an ISO 8601 time"),
        (
            "taobao",
            "UserBehavior.csv",
            b"buy",
            b"bye",
            "behaviour: expected pv or cart or fav or buy, got 'bye'",
        ),
        (
            "taobao",
            "UserBehavior.csv",
            b"1511658300",
            b"15116",
            "timestamp: expected seconds of 2014 to 2020",
        ),
        ("talkingdata", "train_sample.csv", b"09:30:38", b"9h", "click_time: expected YYYY-MM-DD HH:MM:SS"),
    ],
)
def test_reasons(tmp_path, fixture, file, old, new, reason):
    name, folder = write(tmp_path, fixture)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content.replace(old, new, 1))
    assert (folder / file).read_bytes() != content
    bad: list[BadRow] = []
    list(convert(name, folder, bad.append))
    assert reason in " ".join(row.reason for row in bad)
