"""Dates as the platform writes them, in any of its forms."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def utc_seconds(text: str | None) -> int | None:
    """A date text as seconds since 1970, cut to whole ones; None where it is none. No time zone: UTC.

    Forms met: ``Thu, 09 Feb 2023 14:12:03 UTC`` (or GMT), ``2023-02-09 14:12:03``, with fractions, with a
    zone, ISO 8601 with ``T``, a day alone.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError):  # IndexError: before Python 3.12, some that are none
            return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp() // 1)
    except (OverflowError, ValueError):
        return None
