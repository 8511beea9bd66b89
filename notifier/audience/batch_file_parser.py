"""Parses a batch file: an object with the campaign, and with the users or a reference to them."""

from notifier.audience.document import BATCH_FILE_KEYS, DocumentParser


class BatchFileParser(DocumentParser):
    """Push text in, take users out; `values` has the campaign and the reference to an audience, as decoded JSON."""

    def __init__(self, name: str, *, skip: int = 0, plain: bool = False) -> None:
        super().__init__(name, BATCH_FILE_KEYS, skip=skip, plain=plain)

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The users that these bytes complete. With `final` nothing follows.

        Raises:
            BrokenFile: as of a document; or the file has ended without a campaign or without users.
        """
        records = super().feed(text, final=final)
        if final:
            # Kept where `salvage` finds them if one of the next lines raises.
            self._done = records
            if "campaign" not in self.values:
                raise self._broken("no `campaign`")
            if not self.has_users and "audience" not in self.values:
                raise self._broken("neither `users` nor `audience`")
            records = self.salvage()
        return records
