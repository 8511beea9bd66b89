"""The files of an audience, to choose from: folder by folder or by words, the newest first, some at a time."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec

ROOTS = ("audiences/", "standing/")
MADE_HERE = ("audiences/prepared/", "audiences/queried/", "audiences/cut/", "audiences/_erased/")
"""What the audience function and erasures write: nobody chooses from it."""
ON_A_PAGE = 50
MAX_LOOKED_AT = 20_000
"""Keys in one folder, or that words are looked for in. S3 lists by name: the newest are found by listing all."""
MAX_FOLDERS = 200


class AudienceFile(msgspec.Struct, frozen=True):
    """One object under `audiences/` or `standing/`. `is_gone`: it was chosen, and is not there any more."""

    key: str
    size_bytes: int = 0
    modified_at_ms: int = 0
    is_gone: bool = False

    @property
    def name(self) -> str:
        """The key without `audiences/`."""
        return self.key.removeprefix(ROOTS[0])


class Listing(msgspec.Struct, frozen=True):
    """A page of files.

    Attributes:
        folder: whose files they are; ends in a slash.
        folders: those in it, the last by name first: most are named by a date.
        page: its number, from 0 on.
        has_more: there is another page.
        is_cut: there are more keys than were looked at.
    """

    folder: str
    folders: tuple[str, ...] = ()
    files: tuple[AudienceFile, ...] = ()
    words: str = ""
    page: int = 0
    has_more: bool = False
    is_cut: bool = False

    @property
    def above(self) -> tuple[str, ...]:
        """The folders above it, the outermost first."""
        names = self.folder.rstrip("/").split("/")[:-1]
        return tuple("/".join(names[: n + 1]) + "/" for n in range(len(names)))

    @property
    def other_root(self) -> str:
        """The root that it is not in."""
        return ROOTS[1] if self.folder.startswith(ROOTS[0]) else ROOTS[0]


class FilePicker:
    """Lists the bucket's audience files.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def listing(self, folder: str, words: str = "", page: int = 0) -> Listing:
        """A page of a folder's files; with words those in it, in any depth, whose names have all of them."""
        if not folder.startswith(ROOTS) or not folder.endswith("/") or folder.startswith(MADE_HERE):
            folder = ROOTS[0]
        wanted = words.lower().split()
        found, folders, is_cut = self._listed(folder, delimiter="" if wanted else "/")
        files = [file for file in found if all(word in file.key.lower() for word in wanted)]
        files.sort(key=lambda file: file.modified_at_ms, reverse=True)
        first = page * ON_A_PAGE
        return Listing(
            folder, tuple(folders), tuple(files[first : first + ON_A_PAGE]), words, page,
            has_more=len(files) > first + ON_A_PAGE, is_cut=is_cut,
        )  # fmt: skip

    def _listed(self, folder: str, delimiter: str) -> tuple[list[AudienceFile], list[str], bool]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=folder, **({"Delimiter": delimiter} if delimiter else {})
        )
        files: list[AudienceFile] = []
        folders: list[str] = []
        for listed in pages:
            files += [_file(item) for item in listed.get("Contents", ()) if _is_chosen_from(item)]
            folders += [one["Prefix"] for one in listed.get("CommonPrefixes", ())]
            if len(files) + len(folders) >= MAX_LOOKED_AT:
                return files, _shown(folders), True
        return files, _shown(folders), False

    def there(self, keys: Iterable[str]) -> tuple[AudienceFile, ...]:
        """Files by their keys, also those that are gone: a requester must see what to choose again."""
        return tuple(self._there(key) for key in keys)

    def _there(self, key: str) -> AudienceFile:
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1).get("Contents", ())
        return next((_file(item) for item in listed if item["Key"] == key), AudienceFile(key, is_gone=True))


def _shown(folders: list[str]) -> list[str]:
    ours = sorted((folder for folder in folders if not folder.startswith(MADE_HERE)), reverse=True)
    return list(islice(ours, MAX_FOLDERS))


def _is_chosen_from(item: Any) -> bool:
    """Whether it is a file with something in it, and none that was made here."""
    return bool(item["Size"]) and not item["Key"].startswith(MADE_HERE)


def _file(item: Any) -> AudienceFile:
    return AudienceFile(item["Key"], item["Size"], int(item["LastModified"].timestamp() * 1000))
