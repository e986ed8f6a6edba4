import pytest

from streamrec.errors import StoreUnavailable, UsageError
from streamrec.store import open_store
from streamrec.store.memory import MemoryStore


def test_memory_stores_are_found_again_by_name() -> None:
    assert isinstance(open_store("memory"), MemoryStore)
    open_store("memory:a test").acquire("m")
    assert open_store("memory:a test").head("m").epoch == 1
    assert open_store("memory:another test").head("m").epoch == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("reids://localhost", "did you mean 'redis'"),
        ("embeded", "did you mean 'embedded'"),
        ("redis+cluster://", "expected redis.cluster://"),
        ("redis+cluster://a:1/3", "expected redis.cluster://"),
        ("rediss+cluster://a:1,b:x", "expected redis.cluster://"),
        ("", "expected memory"),
        ("kafka://a/b", "expected memory"),
        ("redis://localhost:port/x", "expected redis://"),
    ],
)
def test_wrong_urls_say_what_is_right(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_store(url)


def test_no_answer_names_the_server_without_the_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        open_store("redis://me:geheim@127.0.0.1:1/0")
    assert "redis://me:***@127.0.0.1:1/0 does not answer" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)
