"""Client metadata: any JSON that users store with a data unit."""

from harvester.simulator.dates import date_text
from harvester.simulator.identity import mix
from harvester.simulator.ontology import Json
from harvester.simulator.state import RowFacts


def client_metadata(row: RowFacts) -> Json | None:
    """Return the client metadata of a data unit before any edit: null, `{}`, flat or nested."""
    plain: Json = {"camera": f"front-{row.variant % 4}", "rain": row.variant % 3 == 0}
    match mix(row.bits) & 7:
        case 0:
            return None
        case 1:
            return {}
        case 2:
            weather = {"temperature": -3.5, "wind": {"speed": 12, "from": ["N", "NW"]}, "clouds": None}
            return plain | {"weather": weather, "tags": ["night", "city"]}
        case 3:
            return plain | {"straße": "Überführung ⚠ 😀", "場所": {"都市": "東京"}, "quoted": 'a "b" \\ c\n/'}
        case 4:
            return plain | {"odometer": 9_007_199_254_740_993, "tiny": 1e-07, "gain": 0.1, "count": -1}
        case 5:
            return plain | {
                "mixed": [1, "1", True, None, [], {}, {"a": [[1.0, 2.0], [3.0, 4.0]]}],
                "": "no key",
            }
        case 6:
            return plain | {"number": row.number, "captured_at": date_text(row.created, 3).decode()}
    return plain
