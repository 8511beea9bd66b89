"""A stream whose faults are its reader's: sending and counting have exceptions of their own for the same two things."""

from notifier.audience.stream import AudienceStream
from notifier.model.audience_faults import AudienceChanged, AudienceUnreachable, BrokenFile


class GuardedStream:
    """An audience stream that raises its reader's exceptions, with the stream's own words.

    Args:
        broken: raised where the audience is broken, or other than it was pinned: no later try will mend it.
        unreachable: raised where S3 cannot be read now.
    """

    def __init__(self, stream: AudienceStream, broken: type[Exception], unreachable: type[Exception]) -> None:
        self._stream = stream
        self._broken = broken
        self._unreachable = unreachable
        self.position = stream.position
        self.locate = stream.locate
        self.wait = stream.wait
        self.close = stream.close

    @property
    def read_bytes(self) -> int:
        """Bytes read so far, as stored."""
        return self._stream.read_bytes

    @property
    def ended(self) -> bool:
        """Every record was taken."""
        return self._stream.ended

    def take(self, limit: int) -> list[object]:
        """Records that are here. Raises `broken` and `unreachable`, once every record before the fault was taken."""
        try:
            return self._stream.take(limit)
        except (BrokenFile, AudienceChanged) as error:
            raise self._broken(str(error)) from None
        except AudienceUnreachable as error:
            raise self._unreachable(str(error)) from None
