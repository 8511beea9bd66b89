"""Names become files: paths, folders and globs here; keys, prefixes and globs in S3."""

from pathlib import Path

import pytest

from audiences.faults import AudienceFault
from audiences.fetch import fetch
from audiences.sources import glob_pattern, local_files, split
from notifier.model.batch_file import PinnedObject


@pytest.mark.parametrize(
    ("glob", "key", "matches"),
    [
        ("a/*.jsonl", "a/x.jsonl", True),
        ("a/*.jsonl", "a/b/x.jsonl", False),
        ("a/**/*.jsonl", "a/b/c/x.jsonl", True),
        ("a/**/*.jsonl", "a/x.jsonl", True),
        ("a/**", "a/b/c", True),
        ("a/part-?.gz", "a/part-1.gz", True),
        ("a/part-?.gz", "a/part-10.gz", False),
        ("a/[ab].csv", "a/b.csv", True),
        ("a/[ab].csv", "a/c.csv", False),
        ("a/x.csv*", "a/xycsv", False),
    ],
)
def test_globs(glob: str, key: str, matches: bool) -> None:
    """A star stays within a folder, two do not; a dot is a dot."""
    assert (glob_pattern(glob).fullmatch(key) is not None) == matches


def test_names_with_and_without_a_bucket() -> None:
    """A key alone is of the bucket that the caller names."""
    assert split("s3://other/a/b", "own") == ("other", "a/b")
    assert split("a/b", "own") == ("own", "a/b")


def test_local_files(tmp_path: Path) -> None:
    """Each once, in the order of the names; what exporters put beside the data is none of it."""
    beside = ("_SUCCESS", ".hidden", "part_manifest", "x.csv.metadata", "x-manifest.csv", "b.crc")
    for name in ("b.jsonl", "a.jsonl", "c.csv", *beside):
        (tmp_path / name).write_text("x")
    names = [one.path.name for one in local_files([str(tmp_path / "*.jsonl"), str(tmp_path)])]
    assert names == ["a.jsonl", "b.jsonl", "c.csv"]
    with pytest.raises(AudienceFault, match="there is no such file"):
        local_files([str(tmp_path / "*.json")])


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    """A link to the folder above has no end, and one to another folder has users."""
    for one in ("day-2", "elsewhere"):
        (tmp_path / one).mkdir()
        (tmp_path / one / f"{one}.csv").write_text("x")
    (tmp_path / "day-2" / "above").symlink_to(tmp_path / "day-2")
    (tmp_path / "day-2" / "other").symlink_to(tmp_path / "elsewhere")
    assert [one.path.name for one in local_files([str(tmp_path / "day-2")])] == ["day-2.csv", "elsewhere.csv"]


def test_what_a_link_leads_to_is_found_by_its_own_name_too(tmp_path: Path) -> None:
    """The name by the link does not match the glob, and that of the folder does; both match, and it is one file."""
    for one in ("2026-12-01", "latest", ".cache"):
        (tmp_path / one).mkdir()
        (tmp_path / one / f"{one}.csv").write_text("x")
    for one in ("latest", ".cache"):
        (tmp_path / one / "current").symlink_to(tmp_path / "2026-12-01")

    def names(asked: str) -> list[str]:
        return [one.path.relative_to(tmp_path).as_posix() for one in local_files([f"{tmp_path}/{asked}"])]

    assert names("*/*.csv") == ["2026-12-01/2026-12-01.csv", "latest/latest.csv"]
    assert names("") == ["2026-12-01/2026-12-01.csv", "latest/latest.csv"]
    assert names("latest/**") == ["latest/current/2026-12-01.csv", "latest/latest.csv"]


def test_a_folder_without_users(tmp_path: Path) -> None:
    """It is there, which the message does not deny."""
    (tmp_path / "_SUCCESS").write_text("")
    with pytest.raises(AudienceFault, match="no file of users is in this folder"):
        local_files([str(tmp_path)])


def test_files_that_do_not_fit_are_not_fetched(tmp_path: Path) -> None:
    """The sizes are known before: the message has them, and the parameter."""
    pinned = PinnedObject("b", "k", None, "e", 10_000_000_000)
    with pytest.raises(AudienceFault, match=r"the files have 10,000 MB, 1,000 MB are free") as fault:
        fetch(None, (pinned,), tmp_path, free_bytes=lambda _: 1_000_000_000)  # type: ignore[arg-type]
    assert "AudienceStorageMb" in fault.value.mend
    assert not list(tmp_path.iterdir())
