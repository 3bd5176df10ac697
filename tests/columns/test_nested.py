"""Columns of nested JSON: what fits, and that nothing of it is rewritten."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filetap.columns.fit import fit
from filetap.columns.infer import NO_EVIDENCE, infer, observe
from filetap.columns.nested import are_nested
from filetap.columns.types import json_schema, type_of
from filetap.vendor import Documented
from filetap.write.records import record_lines

NESTED = Documented({}, nested=True)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('{"a": 1.10}', True),
        ("{}", True),
        ('{"a":\n[1]}', True),
        ("", True),
        ("[1]", False),
        ('{"a":[1', False),
        ("2]}", False),
        ("{},{}", False),
        ("{}\n{}", False),
        (" {}", False),
        ('"{}"', False),
        ('{"a":01}', False),
        ('{"a":NaN}', False),
        ('{"a":"\n"}', False),
        (f'{{"a":{"[" * 9_000}{"]" * 9_000}}}', False),
    ],
)
def test_objects(text: str, fits: bool) -> None:  # noqa: FBT001 - a parameter
    """A text fits if it is one JSON object, whatever stands before and after it."""
    for column in ([text], ["{}", text, '{"b":2}'], [text, text, None]):
        found = are_nested(pl.Series("c", column, dtype=pl.String), "object").to_list()
        wanted = [None if one is None else fits if one == text else True for one in column]
        assert found == wanted


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5))
def test_values_survive(values: list[object]) -> None:
    """A value is emitted as it is written, as an object or whole in its text column."""
    texts = [json.dumps(value) for value in values]
    fitted = fit(pl.DataFrame({"c": texts}), {"c": "object"}, NESTED).frame
    lines = record_lines(fitted, {"c": "object"}, "s", "t").splitlines()
    for value, text, line in zip(values, texts, lines, strict=True):
        record = json.loads(line)["record"]
        if isinstance(value, dict):
            assert f'"c":{text}'.encode() in line
            assert record.get("c__text") is None
        else:
            assert (record["c"], record["c__text"]) == (None, text)


def test_inference() -> None:
    """Nested types are inferred only in streams that have them, and only if all values fit."""
    frame = pl.DataFrame({"o": ["{}", None], "a": ["[1]", "[]"], "m": ["{}", "[]"]})
    for documented, wanted in (
        (NESTED, ["object", "array", "string"]),
        (Documented({}), ["string"] * 3),
    ):
        found = observe(frame, frame.columns, documented, NO_EVIDENCE)
        assert [infer(name, found, documented) for name in frame.columns] == wanted


def test_schemas() -> None:
    """A nested column's schema is read back as its type, where columns may be nested."""
    for kind in ("object", "array"):
        assert type_of(json_schema(kind), nested=True) == kind
        assert type_of(json_schema(kind)) == "string"
