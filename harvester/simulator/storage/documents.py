"""PDF, plain text, HTML and CSV, as long as labels on them reach."""

PARAGRAPHS = 9  # of an HTML page; labels name them by XPath
CHARACTERS = 2000  # of a text, at least: ranges of labels end there
_SENTENCE = "A tram passes the corner and two cyclists wait at the kerb while it rains on the street. "


def pdf(pages: int) -> bytes:
    """Return a PDF up to its cross-reference offset; each page says its number, from 0."""
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(pages))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page in range(pages):
        shown = f"BT /F1 48 Tf 72 700 Td (page {page}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * page} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(shown)} >>\nstream\n{shown}\nendstream",
        ]
    made, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, start=1):
        places.append(len(made))
        made += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    tail = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return made + tail.encode() + f"startxref\n{len(made)}\n".encode()


def pdf_end(name: bytes) -> bytes:
    """Return a comment with the name, and the end of the file."""
    return b"%" + name + b"\n%%EOF\n"


def text() -> bytes:
    return (_SENTENCE * (CHARACTERS // len(_SENTENCE) + 1)).encode() + b"\n"


def text_end(name: bytes) -> bytes:
    return name + b"\n"


def html() -> bytes:
    paragraphs = "".join(f"<p>{number}. {_SENTENCE}</p>\n" for number in range(1, PARAGRAPHS + 1))
    return f"<!DOCTYPE html>\n<html><head><title>Street</title></head><body>\n{paragraphs}".encode()


def html_end(name: bytes) -> bytes:
    return b"</body></html>\n<!-- " + name.replace(b"--", b"- -") + b" -->\n"


def csv(rows: int) -> bytes:
    """Return a table of time (nanoseconds), a value and a note."""
    step = 60_000_000_000 // rows
    lines = "".join(f"{row * step},{row % 97 / 10},\n" for row in range(rows - 1))
    return f"time,speed,note\n{lines}".encode()


def csv_end(name: bytes) -> bytes:
    """Return the last row, with the name as its note."""
    return b"60000000000,0.0," + name + b"\n"
