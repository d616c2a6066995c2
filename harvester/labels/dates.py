"""Reads dates as the platform writes them."""

from datetime import UTC, datetime

_MONTHS = {
    "Jan": "01", "Feb": "02", "Mar": "03", "Apr": "04", "May": "05", "Jun": "06",
    "Jul": "07", "Aug": "08", "Sep": "09", "Oct": "10", "Nov": "11", "Dec": "12",
}  # fmt: skip
_UTC = ("UTC", "GMT", "+0000")


def exact_moment(text: str) -> datetime | None:
    """Parse a date of the platform. Return it in UTC, or None if it is not a date of the years 1 to 9999.

    The platform uses two forms: ``Thu, 09 Feb 2023 14:12:03 UTC`` (or GMT), and ISO 8601. A date without a
    zone is in UTC.
    """
    try:
        if text[3:4] == ",":
            _, day, month, year, time, *zone = text.split()
            if len(zone) > 1 or (zone and zone[0] not in _UTC):
                return None
            text = f"{year}-{_MONTHS[month]}-{day:0>2}T{time}"
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, KeyError, OverflowError):
        return None
