"""The archive of a broker's classes: asked for while there is none, kept whole, then used."""

from pathlib import Path

from streamrec.services.class_archive import archive_options, has_archive, keep_archive, making_options


def test_the_first_broker_makes_it_and_the_next_ones_use_it(tmp_path: Path) -> None:
    jars, folder = tmp_path / "jars", tmp_path / "broker-1"
    jars.mkdir()
    folder.mkdir()
    assert archive_options(jars) == []
    making = making_options(jars, folder)[0]
    assert making.startswith("-XX:ArchiveClassesAtExit=")
    keep_archive(jars, folder)  # it was killed: there is none
    assert not has_archive(jars)
    made = Path(making.partition("=")[2])
    made.write_bytes(b"classes")
    keep_archive(jars, folder)
    assert archive_options(jars)[0] == f"-XX:SharedArchiveFile={jars / made.name}"
    assert (jars / made.name).read_bytes() == b"classes"
    assert making_options(jars, folder) == []
    assert not made.exists()
    assert list(jars.iterdir()) == [jars / made.name]


def test_the_first_one_stays(tmp_path: Path) -> None:
    jars, folder = tmp_path / "jars", tmp_path / "broker-1"
    jars.mkdir()
    folder.mkdir()
    made = Path(making_options(jars, folder)[0].partition("=")[2])
    (jars / made.name).write_bytes(b"in use")
    made.write_bytes(b"later")
    keep_archive(jars, folder)
    assert (jars / made.name).read_bytes() == b"in use"


def test_a_folder_of_jars_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    folder = tmp_path / "broker-1"
    folder.mkdir()
    Path(making_options(tmp_path / "nowhere", folder)[0].partition("=")[2]).write_bytes(b"classes")
    keep_archive(tmp_path / "nowhere", folder)
