"""This machine's clock against another's: in words, for errors that a wrong clock explains."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# Servers accept the date of a signature within minutes of their own time (S3: 15). What differs by less than
# this is not worth a word: a Date header has whole seconds, and an answer is some seconds on its way.
_TOLERANCE = timedelta(seconds=60)


def this_clock() -> str:
    """Return what the clock of this machine says now."""
    return f"this machine's clock ({datetime.now(UTC):%Y-%m-%d %H:%M} UTC)"


def http_date(text: str | None) -> datetime | None:
    """Return the moment that a header like Date names; None for anything else."""
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def difference(theirs: datetime | None, now: datetime | None = None) -> str | None:
    """Return by how much the clock of this machine differs from another's, in words.

    None where `theirs`, which has a time zone, is not known, or where they differ by less than a minute.
    """
    if theirs is None:
        return None
    ahead = (now or datetime.now(UTC)) - theirs
    if abs(ahead) < _TOLERANCE:
        return None
    return f"{_in_words(abs(ahead))} {'ahead of' if ahead > timedelta(0) else 'behind'}"


def _in_words(time: timedelta) -> str:
    """The two largest units of a time of a minute or more: `3 days 2 h`, `2 h 5 min`, `7 min`."""
    hours, minutes = divmod(round(time.total_seconds() / 60), 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} day{'s' if days > 1 else ''}" if days else "", f"{hours} h" if hours else ""]
    if not days:
        parts.append(f"{minutes} min" if minutes else "")
    return " ".join(filter(None, parts))
