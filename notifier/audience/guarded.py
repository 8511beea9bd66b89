"""The audience stream with its reader's exceptions, so that sending and counting do not depend on this package."""

from notifier.audience.stream import AudienceStream
from notifier.model.audience_faults import AudienceChanged, AudienceUnreachable, BrokenFile


class GuardedStream:
    """An audience stream that raises its reader's exceptions, with the messages of the stream's.

    Args:
        broken: raised if the file is broken or is no longer the pinned one: another attempt cannot help.
        unreachable: raised if S3 cannot be read at the moment.
        changed: raised if it is no longer the pinned one; by default `broken`.
    """

    def __init__(
        self,
        stream: AudienceStream,
        broken: type[Exception],
        unreachable: type[Exception],
        changed: type[Exception] | None = None,
    ) -> None:
        self._stream = stream
        self._broken = broken
        self._changed = changed or broken
        self._unreachable = unreachable
        self.position = stream.position
        self.locate = stream.locate
        self.wait = stream.wait
        self.close = stream.close

    @property
    def read_bytes(self) -> int:
        """Stored bytes read so far."""
        return self._stream.read_bytes

    @property
    def ended(self) -> bool:
        """Whether every record was taken."""
        return self._stream.ended

    def take(self, limit: int) -> list[object]:
        """Records that have arrived. Raises `broken` or `unreachable` after the records before the fault were taken."""
        try:
            return self._stream.take(limit)
        except BrokenFile as error:
            raise self._broken(str(error)) from None
        except AudienceChanged as error:
            raise self._changed(str(error)) from None
        except AudienceUnreachable as error:
            raise self._unreachable(str(error)) from None
