"""File stamps: each way to replace a file changes the stamp."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bridge.file_stamp import FileStamp, file_stamp

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_000_000_000


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (TIME, TIME))


def test_an_unchanged_file_keeps_its_stamp(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    _write(file, "one")
    assert file_stamp(str(file)) == file_stamp(str(file))


def test_a_missing_file_has_an_empty_stamp(tmp_path: Path) -> None:
    assert file_stamp(str(tmp_path / "no")) == FileStamp()


def test_a_link_to_another_file_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        _write(tmp_path / name / "routes.yaml", name)
    folder = tmp_path / "data"
    folder.symlink_to("one")
    file = tmp_path / "routes.yaml"
    file.symlink_to("data/routes.yaml")
    before = file_stamp(str(file))
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(folder)
    assert file_stamp(str(file)) != before


def test_a_renamed_file_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    file, beside = tmp_path / "routes.yaml", tmp_path / "beside"
    _write(file, "one")
    _write(beside, "two")
    before = file_stamp(str(file))
    beside.rename(file)
    assert file_stamp(str(file)) != before


def test_a_file_written_in_place_with_the_time_restored_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    _write(file, "one")
    before = file_stamp(str(file))
    while file_stamp(str(file)) == before:  # the clock of some file systems has a step of 10 ms
        _write(file, "two")
