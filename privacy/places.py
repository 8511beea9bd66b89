"""Every prefix and table of the stack, and what becomes of an erased user there, as in template.yaml, by a test."""

from enum import StrEnum


class Way(StrEnum):
    """What an erasure does with the objects under a prefix."""

    RESULT = "a line of an erased user loses id, token and push ids"
    FILE = "what a run pinned is replaced under audiences/_erased/; other files lose the user's records"
    DOCUMENT = "samples of erased users are left out"
    ANSWER = "an answer about an erased user is deleted"
    HASH = "8 bytes of a hash of each id, for 32 days: those of erased users are left out"
    NOBODY = "has no id of anybody"


PREFIXES: dict[str, Way] = {
    "rows/": Way.RESULT,
    "excluded/": Way.RESULT,
    "dead-tokens/": Way.RESULT,
    "invalid/": Way.RESULT,
    "deferred/": Way.RESULT,
    "batches/": Way.FILE,
    "audiences/": Way.FILE,
    "standing/": Way.FILE,
    "state/": Way.DOCUMENT,
    "counts/": Way.DOCUMENT,
    "lookups/": Way.ANSWER,
    "caps/": Way.HASH,
    "summaries/": Way.NOBODY,
    "conversions/": Way.NOBODY,
    "queries/": Way.NOBODY,
    "schedules/": Way.NOBODY,
}
"""Beside these there is the suppression prefix, whose name is a parameter: its lists lose the plain ids."""

TABLES = {
    "Table": "runs, lanes and schedules: no id of a user",
    "ApprovalTable": "test pushes name the sample user whose attributes filled in their texts; look-ups name nobody",
}

OUT_OF_REACH = (
    "other buckets and warehouses that audiences, conversions or exclude lists came from",
    "mails that were sent, and files that people downloaded",
    "logs until LogDays, and backups of the tables until 35 days",
    "audiences that a warm function still has in its own /tmp, for hours",
    "attributes of a sample user in the texts of test pushes, until BatchFileDays",
    "whole numbers of four digits or fewer in texts, and any beside a user's column: they may be anything",
    "what Apple, Google and the phones have",
)
OUT_OF_REACH_WORDS = (
    "the files, warehouses and lists outside of this stack that audiences came from",
    "mails that were sent, and files that people downloaded",
    "logs and backups, until they expire",
    "working copies of audiences, which are gone within hours",
    "texts of test pushes that were filled in as this person sees them, until they expire",
    "user ids that are numbers, where nothing beside them says that they are a user",
    "what Apple, Google and the phones have",
)
"""The same, in the same order, for officers on a page."""
MADE_HERE = (
    "audiences/prepared/",
    "audiences/queried/",
    "audiences/cut/",
    "audiences/conversions/",
    "audiences/_erased/",
)
"""Nobody reads these by their names but the runs that made them."""
