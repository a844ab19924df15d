"""What a reader publishes, by docs/format/journal.md section 13."""

import os
import struct
from pathlib import Path

import pytest

from pythonaudit.errors import StoreError
from pythonaudit.journal.drained import publish_drained

PROCESS = bytes(range(16))


def published(directory: Path) -> tuple[bytes, bytes, int, int]:
    (file,) = (directory / "drained").iterdir()
    assert file.name == PROCESS.hex()
    assert file.stat().st_mode & 0o777 == 0o644
    magic, process, segments, reserved = struct.unpack("<8s16sII", file.read_bytes())
    return magic, process, segments, reserved


def test_what_is_published(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        publish_drained(tmp_path, PROCESS.hex(), 3)
        assert published(tmp_path) == (b"PYDRAIN\n", PROCESS, 3, 0)
        (tmp_path / "drained" / f"{PROCESS.hex()}.new").write_text("of a reader that was killed")
        publish_drained(tmp_path, PROCESS.hex(), 4)
    finally:
        os.umask(before)
    assert published(tmp_path) == (b"PYDRAIN\n", PROCESS, 4, 0)
    assert (tmp_path / "drained").stat().st_mode & 0o777 == 0o711


def test_nothing_is_written_where_others_can(tmp_path: Path) -> None:
    (tmp_path / "drained").mkdir()
    (tmp_path / "drained").chmod(0o777)
    with pytest.raises(StoreError, match="own directory"):
        publish_drained(tmp_path, PROCESS.hex(), 1)
    (tmp_path / "drained").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "drained").symlink_to("elsewhere")
    with pytest.raises(StoreError, match="drained"):
        publish_drained(tmp_path, PROCESS.hex(), 1)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_nothing_is_written_in_the_directory_of_another(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, -1)
    with pytest.raises(StoreError, match="own directory"):
        publish_drained(tmp_path, PROCESS.hex(), 1)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        publish_drained(tmp_path / "none", PROCESS.hex(), 1)
