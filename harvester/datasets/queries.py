"""The statements that make typed columns of lines, for DuckDB.

They read the relation ``lines`` that `harvester.datasets.line_blocks` makes: ``label`` is the object or
classification exactly as it stands in the line (null for other lines), ``rest`` is what follows it, or the
whole line. The keys before a label are not read here; ``head`` is their number,
and ``aspect`` is height over width. Two things are done by hand:
integers are read as text and checked, because DuckDB would round 1.5, and vertices in the form of an object
are sorted by number.

Each row gets a number ``remarks``, of which each bit says that a value of the record could not be written;
see `REMARKS`.
"""

from collections.abc import Iterable, Mapping

from harvester.datasets.columns import ANSWER, HEAD, TABLES
from harvester.datasets.line_blocks import LABELLED

# What a bit of ``remarks`` means, from the lowest.
REMARKS = (
    "not_an_integer",
    "not_a_date",
    "label_unreadable",
    "extent_unknown",
    "not_a_number",
    "not_a_boolean",
)

_VERTEX = '{"x":"DOUBLE","y":"DOUBLE","z":"DOUBLE","name":"VARCHAR","visibility":"VARCHAR",' + (
    '"visible":"BOOLEAN","invisible":"BOOLEAN","occluded":"BOOLEAN","selfOccluded":"BOOLEAN"}'
)
_VERTEX_TYPE = (
    "STRUCT(x DOUBLE, y DOUBLE, z DOUBLE, name VARCHAR, visibility VARCHAR, visible BOOLEAN, "
    "invisible BOOLEAN, occluded BOOLEAN, selfOccluded BOOLEAN)"
)
_OPTION = '[{"name":"VARCHAR","value":"VARCHAR","feature_hash":"VARCHAR"}]'
_ANSWERS = (
    '[{"name":"VARCHAR","value":"VARCHAR","feature_hash":"VARCHAR","parent":"VARCHAR",'
    f'"manual_annotation":"BOOLEAN","options":{_OPTION},"text":"VARCHAR","number":"DOUBLE",'
    '"ranges":[["VARCHAR"]]}]'
)
_SLICES = (
    '[{"frame":"VARCHAR","data_hash":"VARCHAR","file_name":"VARCHAR","instance_uid":"VARCHAR",'
    '"file_uri":"VARCHAR","url":"VARCHAR","width":"VARCHAR","height":"VARCHAR"}]'
)
_SIDES = '"x":"DOUBLE","y":"DOUBLE","w":"DOUBLE","h":"DOUBLE"'

# What is read of an object or classification as sent.
_MADE = (
    '"createdAt":"VARCHAR","createdBy":"VARCHAR","lastEditedAt":"VARCHAR","lastEditedBy":"VARCHAR",'
    '"confidence":"VARCHAR","manualAnnotation":"VARCHAR"'
)
_GEOMETRY = (
    f'"boundingBox":{{{_SIDES}}},"rotatableBoundingBox":{{{_SIDES},"theta":"DOUBLE"}},'
    '"polygon":"JSON","polygons":[[["DOUBLE"]]],"polyline":"JSON","point":"JSON","skeleton":"JSON",'
    '"bitmask":{"top":"VARCHAR","left":"VARCHAR","width":"VARCHAR","height":"VARCHAR","rleString":"VARCHAR"},'
    '"segmentation":"VARCHAR",'
    '"cuboid":{"position":["DOUBLE"],"orientation":["DOUBLE"],"size":["DOUBLE"]},'
    '"cuboid_2d":{"front":["DOUBLE"],"vanishingPoint":{"x":"DOUBLE","y":"DOUBLE"},"scaleRatio":"DOUBLE",'
    '"offset":{"x":"DOUBLE","y":"DOUBLE"}},'
    '"circle":{"x":"DOUBLE","y":"DOUBLE","r":"DOUBLE","stretch":"DOUBLE","theta":"DOUBLE"},'
    '"ellipse":{"x":"DOUBLE","y":"DOUBLE","rx":"DOUBLE","ry":"DOUBLE","theta":"DOUBLE"}'
)

MACROS = f"""
CREATE TEMP MACRO whole(t) AS CASE WHEN try_cast(t AS BIGINT)::VARCHAR = t THEN try_cast(t AS BIGINT) END;
CREATE TEMP MACRO finite(n) AS CASE WHEN isfinite(n) THEN n END;
CREATE TEMP MACRO truth(t) AS CASE t WHEN 'true' THEN true WHEN 'false' THEN false END;
CREATE TEMP MACRO within_years(t) AS CASE WHEN year(t) BETWEEN 1 AND 9999 THEN t END;
CREATE TEMP MACRO moment(t) AS CASE
    WHEN t IS NULL THEN NULL
    WHEN t[1] BETWEEN '0' AND '9' THEN try_cast(t AS TIMESTAMPTZ)
    WHEN t[4] = ',' THEN
        try_strptime(t, ['%a, %d %b %Y %H:%M:%S UTC', '%a, %d %b %Y %H:%M:%S GMT'])::TIMESTAMPTZ END;
CREATE TEMP MACRO pairs(r) AS CASE WHEN r IS NOT NULL THEN
    list_transform(r, lambda p: {{'first': whole(p[1]), 'last': whole(p[2])}}) END;
CREATE TEMP MACRO answers(a) AS CASE WHEN len(a) = 0 THEN []::{ANSWER}[] ELSE list_transform(a, lambda g: {{
    'name': g.name, 'value': g.value, 'feature_hash': g.feature_hash, 'parent': g.parent,
    'manual_annotation': g.manual_annotation, 'options': g.options, 'text': g.text, 'number': g.number,
    'ranges': pairs(g.ranges)}}) END;
CREATE TEMP MACRO vertices(j) AS CASE
    WHEN j IS NULL THEN NULL
    WHEN starts_with(j::VARCHAR, '[') THEN from_json(j, '[{_VERTEX}]')
    ELSE list_transform(list_sort(list_transform(
        map_entries(from_json(j, '"MAP(VARCHAR, {_VERTEX_TYPE})"')),
        lambda e: {{'place': try_cast(e.key AS INTEGER), 'vertex': e.value}})), lambda s: s.vertex) END;
CREATE TEMP MACRO flat(n) AS list_transform(range(len(n) // 2), lambda k: {{'x': n[2*k+1], 'y': n[2*k+2]}});
CREATE TEMP MACRO rings(p) AS list_transform(p, lambda poly: list_transform(poly, lambda ring: flat(ring)));
CREATE TEMP MACRO corners(v) AS list_transform(v, lambda p: {{'x': p.x, 'y': p.y}});
CREATE TEMP MACRO named(v) AS list_transform(v, lambda p: {{'x': p.x, 'y': p.y, 'z': p.z, 'name': p.name,
    'visibility': coalesce(p.visibility, CASE WHEN p.invisible THEN 'invisible'
        WHEN p.occluded THEN 'occluded'
        WHEN p.selfOccluded THEN 'selfOccluded' WHEN p.visible THEN 'visible' END)}});
CREATE TEMP MACRO known_box(b) AS CASE
    WHEN isfinite(b.x) AND isfinite(b.y) AND isfinite(b.w) AND isfinite(b.h) THEN b END;
CREATE TEMP MACRO extent(v) AS CASE WHEN len(v) > 0 THEN {{
    'x': list_min(list_transform(v, lambda p: p.x)), 'y': list_min(list_transform(v, lambda p: p.y)),
    'w': list_max(list_transform(v, lambda p: p.x)) - list_min(list_transform(v, lambda p: p.x)),
    'h': list_max(list_transform(v, lambda p: p.y)) - list_min(list_transform(v, lambda p: p.y))}} END;
CREATE TEMP MACRO around(cx, cy, rw, rh) AS
    CASE WHEN rw IS NOT NULL AND rh IS NOT NULL THEN {{'x': cx-rw, 'y': cy-rh, 'w': 2*rw, 'h': 2*rh}} END;
CREATE TEMP MACRO rotated(b, aspect) AS CASE
    WHEN coalesce(b.theta, 0) = 0 THEN {{'x': b.x, 'y': b.y, 'w': b.w, 'h': b.h}}
    ELSE around(b.x + b.w / 2, b.y + b.h / 2,
        (abs(b.w * cos(radians(b.theta))) + abs(b.h * sin(radians(b.theta))) * aspect) / 2,
        (abs(b.w * sin(radians(b.theta))) / aspect + abs(b.h * cos(radians(b.theta)))) / 2) END;
CREATE TEMP MACRO oval(x, y, rx, ry, theta, aspect) AS CASE
    WHEN coalesce(theta, 0) = 0 THEN around(x, y, rx, ry)
    ELSE around(x, y,
        sqrt((rx * cos(radians(theta))) ** 2 + (ry * sin(radians(theta)) * aspect) ** 2),
        sqrt((rx * sin(radians(theta)) / aspect) ** 2 + (ry * cos(radians(theta))) ** 2)) END;
CREATE TEMP MACRO back(front, vanishing, scale, shift) AS list_transform(front, lambda p: CASE
    WHEN shift IS NOT NULL THEN {{'x': p.x + shift.x, 'y': p.y + shift.y}}
    ELSE {{'x': vanishing.x + (p.x - vanishing.x) * scale,
        'y': vanishing.y + (p.y - vanishing.y) * scale}} END);
CREATE TEMP MACRO in_space(n) AS {{'x': n[1], 'y': n[2], 'z': n[3]}};
"""


def _structure(fields: Mapping[str, str]) -> str:
    return "{" + ",".join(f'"{key}":{type_}' for key, type_ in fields.items()) + "}"


def _text(names: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(names, '"VARCHAR"')


def _bits(*conditions: str) -> str:
    """Return the number ``remarks``: the n-th condition sets the n-th bit."""
    return " + ".join(f"coalesce(({one})::INTEGER, 0) * {1 << bit}" for bit, one in enumerate(conditions))


def _not_whole(*names: str) -> str:
    return " OR ".join(f"(r.{name} IS NOT NULL AND whole(r.{name}) IS NULL)" for name in names)


def own_columns(table: str) -> dict[str, str]:
    """Return the columns of a table that its statement makes, with their types."""
    without = HEAD if table in LABELLED else {}
    return {name: type_ for name, type_ in TABLES[table].items() if name not in without}


def _select(table: str, made: Mapping[str, str], remarks: str) -> str:
    """Return the select list: the column's own expression in `made`, or the key of the same name."""
    columns = ["head"]
    for name, type_ in own_columns(table).items():
        expression = made.get(name, f"whole(r.{name})" if type_ == "BIGINT" else f"r.{name}")
        columns.append(f'CAST({expression} AS {type_}) AS "{name}"')
    return f"SELECT {', '.join(columns)}, ({remarks})::INTEGER AS remarks"


def _parsed(fields: Mapping[str, str], label: str | None) -> str:
    """Return the relation of ``label``, its parsed form ``o``, and the parsed rest of the line ``r``."""
    rest = f"from_json(rest, '{_structure(fields)}') AS r"
    if label is None:
        return f"(SELECT head, label, {rest} FROM lines)"
    # In steps, because a macro repeats its argument, and DuckDB would compute it again.
    return f"""(SELECT *, within_years(begun) AS created, within_years(ended) AS edited,
        finite(double) AS confidence
        FROM (SELECT *, moment(o.createdAt) AS begun, moment(o.lastEditedAt) AS ended,
            try_cast(o.confidence AS DOUBLE) AS double, truth(o.manualAnnotation) AS by_hand
        FROM (SELECT head, aspect, label, {rest}, try(from_json(label, '{{{label}}}')) AS o FROM lines)))"""


_MADE_OF = {
    "created_at": "created",
    "created_by": "o.createdBy",
    "last_edited_at": "edited",
    "last_edited_by": "o.lastEditedBy",
    "confidence": "confidence",
    "manual_annotation": "by_hand",
}
_NO_NUMBER = "o.confidence IS NOT NULL AND confidence IS NULL"
_NO_BOOLEAN = "o.manualAnnotation IS NOT NULL AND by_hand IS NULL"
_NO_DATE = "(o.createdAt IS NOT NULL AND created IS NULL) OR (o.lastEditedAt IS NOT NULL AND edited IS NULL)"
_HEAD_NUMBERS = ("width", "height", "frame")


def _fields(table: str, other: Mapping[str, str], *, without: Iterable[str]) -> dict[str, str]:
    names = [name for name in own_columns(table) if name not in set(without)]
    return _text(names) | dict(other)


_MASK_BROKEN = (
    "CASE WHEN o.bitmask IS NOT NULL THEN "
    'coalesce(o.bitmask."left", \'0\') <> coalesce(mask."left", 0)::VARCHAR '
    "OR coalesce(o.bitmask.top, '0') <> coalesce(mask.top, 0)::VARCHAR "
    "OR mask.width IS NULL OR mask.height IS NULL END"
)
_MASK = (
    "CASE WHEN mask_broken THEN NULL WHEN o.bitmask IS NOT NULL THEN mask "
    "WHEN o.segmentation IS NOT NULL THEN {'counts': o.segmentation, 'left': NULL, 'top': NULL, "
    "'width': NULL, 'height': NULL} END"
)


def _objects() -> str:
    answers = {"attributes": _ANSWERS, "dynamic_attributes": _ANSWERS, "ranges": '[["VARCHAR"]]'}
    sent = ("object", *_MADE_OF, "bbox", "rotation", "polygons", "points", "rle", "cuboid")
    fields = _fields("objects", answers, without=sent)
    geometry = f"""
        SELECT *, CASE
            WHEN polygons IS NOT NULL THEN flatten(flatten(polygons))
            WHEN points IS NOT NULL THEN corners(points)
            WHEN front IS NOT NULL THEN list_concat(front, back)
        END AS outline
        FROM (SELECT *,
            back(front, o.cuboid_2d.vanishingPoint, o.cuboid_2d.scaleRatio, o.cuboid_2d."offset") AS back
        FROM (SELECT *,
            CASE WHEN len(o.polygons) > 0 THEN rings(o.polygons)
                WHEN o.polygon IS NOT NULL THEN [[corners(vertices(o.polygon))]] END AS polygons,
            named(vertices(coalesce(o.polyline, o.point, o.skeleton))) AS points,
            flat(o.cuboid_2d.front) AS front,
            CASE WHEN o.bitmask IS NOT NULL THEN {{'counts': o.bitmask.rleString,
                'left': whole(o.bitmask."left"), 'top': whole(o.bitmask.top),
                'width': whole(o.bitmask.width), 'height': whole(o.bitmask.height)}} END AS mask
        FROM {_parsed(fields, _MADE + "," + _GEOMETRY)}))"""
    box = """CASE
        WHEN o.boundingBox IS NOT NULL THEN o.boundingBox
        WHEN o.rotatableBoundingBox IS NOT NULL THEN rotated(o.rotatableBoundingBox, aspect)
        WHEN outline IS NOT NULL THEN extent(outline)
        WHEN o.circle IS NOT NULL
            THEN oval(o.circle.x, o.circle.y, o.circle.r,
                o.circle.r * coalesce(o.circle.stretch, 1) / aspect, o.circle.theta, aspect)
        WHEN o.ellipse IS NOT NULL
            THEN oval(o.ellipse.x, o.ellipse.y, o.ellipse.rx, o.ellipse.ry, o.ellipse.theta, aspect)
        END"""
    made = _MADE_OF | {
        "object": "label",
        "ranges": "pairs(r.ranges)",
        "attributes": "answers(r.attributes)",
        "dynamic_attributes": "answers(r.dynamic_attributes)",
        "object_number": "object_number",
        "until": "until",
        "bbox": "extent",
        "rotation": "coalesce(o.rotatableBoundingBox.theta, o.ellipse.theta, o.circle.theta)",
        "polygons": "polygons",
        "points": "points",
        "rle": _MASK,
        "cuboid": "CASE WHEN o.cuboid IS NOT NULL THEN {'position': in_space(o.cuboid.position), "
        "'orientation': in_space(o.cuboid.orientation), 'size': in_space(o.cuboid.size)} END",
    }
    broken = (
        "(r.object_number IS NOT NULL AND object_number IS NULL) OR (r.until IS NOT NULL AND until IS NULL) "
        "OR mask_broken"
    )
    no_box = (
        "extent IS NULL AND (len(outline) > 0 OR o.boundingBox IS NOT NULL "
        "OR o.rotatableBoundingBox IS NOT NULL OR o.circle IS NOT NULL OR o.ellipse IS NOT NULL)"
    )
    remarks = _bits(broken, _NO_DATE, "o IS NULL", no_box, _NO_NUMBER, _NO_BOOLEAN)
    return f"""{_select("objects", made, remarks)} FROM (SELECT *, known_box(box) AS extent,
        {_MASK_BROKEN} AS mask_broken, whole(r.object_number) AS object_number, whole(r.until) AS until
        FROM (SELECT *, {box} AS box FROM ({geometry})))"""


def _classifications() -> str:
    other = {"answers": _ANSWERS, "ranges": '[["VARCHAR"]]', "reviews": '"JSON"'}
    fields = _fields("classifications", other, without=("classification", *_MADE_OF))
    made = _MADE_OF | {
        "classification": "label",
        "ranges": "pairs(r.ranges)",
        "answers": "answers(r.answers)",
    }
    remarks = _bits("false", _NO_DATE, "o IS NULL", "false", _NO_NUMBER, _NO_BOOLEAN)
    select = _select("classifications", made, remarks)
    return f"{select} FROM {_parsed(fields, _MADE)}"


def _units() -> str:
    other = {
        "fps": '"DOUBLE"',
        "duration": '"DOUBLE"',
        "slices": _SLICES,
        "dropped": '{"objects":"VARCHAR","classifications":"VARCHAR"}',
    }
    made = {
        "slices": "list_transform(r.slices, lambda s: {'frame': whole(s.frame), 'data_hash': s.data_hash, "
        "'file_name': s.file_name, 'instance_uid': s.instance_uid, 'file_uri': s.file_uri, 'url': s.url, "
        "'width': whole(s.width), 'height': whole(s.height)})",
        "dropped": "{'objects': whole(r.dropped.objects), "
        "'classifications': whole(r.dropped.classifications)}",
    }
    numbers = (*_HEAD_NUMBERS, "number_of_frames", "sequence", "objects", "classifications")
    fields = _fields("units", other, without=())
    return f"{_select('units', made, _bits(_not_whole(*numbers)))} FROM {_parsed(fields, None)}"


def _listing() -> str:
    dates = ("created_at", "last_edited_at")
    made = {name: f"within_years(moment(r.{name}))" for name in dates}
    no_date = " OR ".join(f"(r.{name} IS NOT NULL AND {time} IS NULL)" for name, time in made.items())
    bits = _bits(_not_whole("width", "height", "number_of_frames"), no_date)
    fields = _fields("listing", {}, without=())
    return f"{_select('listing', made, bits)} FROM {_parsed(fields, None)}"


def _ontology() -> str:
    other = {"dynamic": '"BOOLEAN"', "archived": '"BOOLEAN"'}
    fields = _fields("ontology", other, without=())
    return f"{_select('ontology', {}, '0')} FROM {_parsed(fields, None)}"


def query(table: str) -> str:
    """Return the statement that makes the columns of a table, and ``remarks``, of the relation ``lines``."""
    return _QUERIES[table]


_QUERIES: Mapping[str, str] = {
    "objects": _objects(),
    "classifications": _classifications(),
    "units": _units(),
    "listing": _listing(),
    "ontology": _ontology(),
}
