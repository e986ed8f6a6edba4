"""Several models behind one service: who answers, what it says, and switching while requests come."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from serving_fakes import Client, FakeMirror, client_of, commit

from streamrec.clock import SystemClock
from streamrec.errors import StoreUnavailable
from streamrec.serving import stored_arms
from streamrec.serving.app import create_app
from streamrec.serving.scorer import Scorer
from streamrec.serving.split import Split, setting_name
from streamrec.serving.stored_arms import StoredArms
from streamrec.store.base import Setting
from streamrec.store.memory import MemoryStore

BODY = {"candidates": [{"item": "i"}]}


class Store(MemoryStore):
    """Each model's scores show which it is; the setting's fault can be switched."""

    down = False

    def learn(self, model: str, value: float) -> None:
        self.acquire(model).commit(commit(1, value=value))

    def set(self, split: Split) -> None:
        name = setting_name("m")
        self.change(name, split.to_bytes(0), self.setting(name).version)

    def setting(self, name: str) -> Setting:
        if self.down:
            raise StoreUnavailable("no answer")
        return super().setting(name)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_arms, "LOOK_S", 0.02)


@pytest.fixture
def store() -> Store:
    store = Store(uuid.uuid4().hex)
    store.learn("m", 1.0)
    store.learn("a", 3.0)
    return store


def arms_of(store: Store, first: dict[str, float] | None = None) -> StoredArms:
    def make(model: str) -> Scorer:
        return Scorer(store, model, SystemClock(), build=lambda _: FakeMirror())

    return StoredArms(store, "m", make, SystemClock(), first)


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    store.set(Split.alone("m").with_shares({"a": 50, "idea": 0}))
    store.learn("idea", 7.0)
    with client_of(create_app(arms_of(store))) as client:
        until(lambda: all(arm["ready"] for arm in client.get("/v1/arms").json()["arms"]))
        assert client.get("/v1/arms").json()["version"] == 1
        yield client


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def probability(answer: dict) -> float:
    return float(answer["items"][0]["probability"])


def test_each_answer_is_that_of_the_users_arm(client: Client) -> None:
    split = Split.alone("m").with_shares({"a": 50, "idea": 0})
    found = set()
    for n in range(20):
        answer = client.post("/v1/rank", json=BODY | {"user": f"u{n}"}).json()
        assert answer["arm"] == answer["model"] == split.arm_of("user", f"u{n}")
        assert probability(answer) == {"m": 0.5, "a": 0.25}[answer["arm"]]
        assert answer["assigned"] == {"by": "user", "request": None, "experiment": "m", "version": 1}
        found.add(answer["arm"])
    assert found == {"m", "a"}
    told = client.get("/metrics").text
    assert 'arm_share{arm="a"} 50.0' in told
    assert 'model_seq{model="idea"} 1.0' in told
    counted = [float(line.split()[-1]) for line in told.splitlines() if "arm_requests_total{" in line]
    assert sum(counted) == 20


def test_nobody_in_particular_is_drawn_by_the_request(client: Client) -> None:
    answers = [client.post("/v1/rank", json=BODY).json() for _ in range(20)]
    assert {answer["arm"] for answer in answers} == {"m", "a"}
    assert client.post("/v1/rank", json=BODY | {"user": ""}).json()["assigned"]["by"] == "request"
    for answer in answers[:5]:
        assert answer["assigned"]["by"] == "request"
        again = client.post("/v1/rank", json=BODY | {"request": answer["assigned"]["request"]}).json()
        assert (again["arm"], again["assigned"]) == (answer["arm"], answer["assigned"])


def test_a_request_may_name_its_arm(client: Client) -> None:
    for arm, p in (("m", 0.5), ("a", 0.25), ("idea", 0.125)):
        answer = client.post("/v1/rank", json=BODY | {"user": "u", "arm": arm}).json()
        assert (answer["arm"], answer["assigned"]["by"], probability(answer)) == (arm, "forced", p)
        assert client.get(f"/v1/model?arm={arm}").json()["name"] == arm
    for answer in (
        client.post("/v1/rank", json=BODY | {"arm": "x"}),
        client.get("/v1/model?arm=x"),
        client.post("/v1/retrieve", json={"arm": "x"}),
    ):
        assert answer.status_code == 422
        assert answer.json()["detail"] == "arm 'x': expected one of m, a, idea"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"user":5}', b'{"candidates":[{"features":1}],"arm":"m"}'])
def test_what_is_wrong_is_told_as_without_arms(client: Client, store: Store, body: bytes) -> None:
    with client_of(create_app(Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror()))) as plain:
        until(lambda: plain.get("/readyz").status_code == 200)
        told = plain.post("/v1/rank", content=body)
    answer = client.post("/v1/rank", content=body)
    assert (answer.status_code, answer.json()) == (422, told.json())


def test_the_arms_are_told(client: Client) -> None:
    told = client.get("/v1/arms").json()
    assert (told["experiment"], told["version"], told["answering"], told["trouble"]) == ("m", 1, "m", "")
    rows = [(arm["model"], arm["role"], arm["share"], arm["seq"]) for arm in told["arms"]]
    assert rows == [("m", "champion", 50, 1), ("a", "challenger", 50, 1), ("idea", "shadow", 0, 1)]


def test_a_switch_while_requests_come(client: Client, store: Store) -> None:
    """Every answer is whole and of an arm of then or now; after it, of now alone."""
    answers, over = [], threading.Event()

    def ask() -> None:
        while not over.is_set():
            answers.append(client.post("/v1/rank", json=BODY | {"user": "u3"}))

    asking = threading.Thread(target=ask)
    asking.start()
    split = Split.stored("m", store.setting(setting_name("m")))
    store.set(split.promoted("idea").without("a"))
    until(lambda: client.get("/v1/arms").json()["version"] == 2)
    store.learn("fresh", 15.0)
    store.set(Split.stored("m", store.setting(setting_name("m"))).with_shares({"fresh": 100}))
    until(lambda: bool(answers) and answers[-1].json()["arm"] == "fresh")
    over.set()
    asking.join()
    assert {answer.status_code for answer in answers} == {200}
    p = {"m": 0.5, "a": 0.25, "idea": 0.125, "fresh": 0.0625}
    assert all(probability(answer.json()) == p[answer.json()["arm"]] for answer in answers)
    versions = [answer.json()["assigned"]["version"] for answer in answers]
    assert versions == sorted(versions)
    assert client.get("/v1/model").json()["name"] == "idea"
    assert client.get("/v1/model/history").json()["model"] == "idea"
    assert client.get("/v1/model?arm=a").status_code == 422


def test_an_arm_that_has_no_model_yet_leaves_its_users_to_the_champion(client: Client, store: Store) -> None:
    store.set(Split.alone("m").with_shares({"late": 100}))
    until(lambda: client.get("/v1/arms").json()["version"] == 2)
    answer = client.post("/v1/rank", json=BODY | {"user": "u"}).json()
    assert (answer["arm"], answer["assigned"]["by"], probability(answer)) == ("m", "fallback", 0.5)
    store.set(Split.stored("m", store.setting(setting_name("m"))).promoted("late").without("m"))
    until(lambda: client.get("/v1/arms").json()["version"] == 3)
    answer = client.post("/v1/rank", json=BODY | {"user": "u"}).json()
    assert (answer["arm"], answer["assigned"]["by"]) == ("m", "fallback")  # stands in for the new champion
    assert client.get("/v1/arms").json()["answering"] == "m"
    assert client.get("/readyz").status_code == 200
    store.learn("late", 7.0)
    until(lambda: client.get("/v1/arms").json()["answering"] == "late")
    answer = client.post("/v1/rank", json=BODY | {"user": "u"}).json()
    assert (answer["arm"], answer["assigned"]["by"], probability(answer)) == ("late", "user", 0.125)


def test_arms_stay_as_they_are_while_the_store_is_away_or_talks_nonsense(
    client: Client, store: Store
) -> None:
    store.down = True
    until(lambda: "no answer" in client.get("/v1/arms").json()["trouble"])
    assert client.post("/v1/rank", json=BODY | {"user": "u3"}).json()["assigned"]["version"] == 1
    store.down = False
    store.change(setting_name("m"), b"nonsense", 1)
    until(lambda: "Invalid JSON" in client.get("/v1/arms").json()["trouble"])
    assert client.post("/v1/rank", json=BODY | {"user": "u3"}).json()["assigned"]["version"] == 1


def test_who_is_in_which_arm_is_known_before_the_first_answer(store: Store) -> None:
    store.set(Split.alone("m").with_shares({"a": 100}))
    store.down = True
    with client_of(create_app(arms_of(store))) as client:
        until(lambda: "no answer" in client.get("/readyz").json()["detail"])
        assert client.post("/v1/rank", json=BODY).status_code == 503
        store.down = False
        until(lambda: client.get("/readyz").status_code == 200)
        answer = client.post("/v1/rank", json=BODY | {"user": "u"}).json()
        assert answer["assigned"]["by"] in ("user", "fallback")


def test_arms_given_at_the_start_are_the_first_only(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with client_of(create_app(arms_of(store, {"a": 10}))) as client:
        until(lambda: client.get("/v1/arms").json()["version"] == 1)
        assert client.get("/v1/arms").json()["arms"][1]["share"] == 10
    store.set(Split.stored("m", store.setting(setting_name("m"))).with_shares({"a": 30}))
    with client_of(create_app(arms_of(store, {"a": 10}))) as client:
        until(lambda: client.get("/v1/arms").json()["version"] == 2)
        assert client.get("/v1/arms").json()["arms"][1]["share"] == 30
    assert "the store's are taken, not those given at the start: m=70, a=30" in caplog.text


def test_without_arms_answers_are_as_they_were(store: Store) -> None:
    with client_of(create_app(arms_of(store))) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        answer = client.post("/v1/rank", json=BODY | {"user": "u"}).json()
        assert sorted(answer) == ["epoch", "items", "model", "seq", "staleness_ms"]
        assert client.get("/v1/arms").json()["version"] == 0
