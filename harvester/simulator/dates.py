"""Dates in the formats that the platform has used."""

from datetime import UTC, datetime, timedelta

FRACTION = 196777  # microseconds of all dates in the form that has them
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
EPOCH = datetime(1970, 1, 1)
START = 1_672_531_200  # 2023-01-01: the first label row was made
SPAN = 90_000_000  # seconds; the last was made in November 2025
EDITS = 1_767_225_600  # 2026-01-01: edits of a running simulator come later than all that it started with


def date_text(second: int, form: int) -> bytes:
    """Return a second since 1970 as text, in one of four forms, all UTC."""
    moment = EPOCH + timedelta(seconds=second)
    if form == 0:
        day, month = DAYS[moment.weekday()], MONTHS[moment.month - 1]
        return f"{day}, {moment.day:02} {month} {moment.year} {moment:%H:%M:%S} UTC".encode()
    if form == 1:
        return moment.isoformat(" ").encode()
    if form == 2:
        return f"{moment.isoformat(' ')}.{FRACTION:06}+00:00".encode()
    return f"{moment.isoformat()}+00:00".encode()


def label_date(base: int, offset: int) -> str:
    """Return when a label was made or edited; `base` selects the day and the form of a row's dates."""
    return date_text(START + base % SPAN + offset, base & 3).decode()


def microseconds(text: str) -> int:
    """Return the microseconds since 1970 of an ISO 8601 text; no zone means UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - EPOCH.replace(tzinfo=UTC)) // timedelta(microseconds=1)


def microsecond_of(second: int, form: int) -> int:
    """Return the microseconds since 1970 that `date_text` writes."""
    return second * 1_000_000 + (FRACTION if form == 2 else 0)
