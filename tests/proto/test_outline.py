"""Outlines: a prototxt as it is written, with the place of every field."""

from __future__ import annotations

import pytest

from pycaffe_lite.proto.outline import Outline, find

WRITTEN = """
# a comment { with: "braces" }
a: -1.5e3 b: 'one' "two" ; c { d: [1, 2], d: 3 } e <f: TRUE>
g [{ h: 1 }, { h: 2 }] c { d: 4 }
"""


@pytest.mark.parametrize(
    "path, value, place",
    [
        (["a"], "", (3, 1)),
        (["b"], "onetwo", (3, 11)),
        (["c", "d"], "", (3, 32)),
        (["c", "d"], "3", (3, 43)),
        (["c", "zzz"], "", (3, 28)),
        (["e", "f"], "TRUE", (3, 53)),
        (["g"], "2", (4, 1)),
        (["nowhere"], "", None),
    ],
)
def test_outlines_know_where_every_field_stands(path, value, place):
    outline = Outline(WRITTEN, "file")
    entry = find(outline.entries, path, value)
    assert (entry and outline.where(entry.at)) == (place and f"file:{place[0]}:{place[1]}")


def test_an_outline_has_all_that_is_written():
    a, b, c, e, *g, c2 = Outline(WRITTEN, "file").entries
    assert (a.name, a.value, b.value) == ("a", "-1.5e3", "onetwo")
    assert [entry.value for entry in c.inside] == ["1", "2", "3"] and WRITTEN[
        c.begin : c.end
    ].strip() == "d: [1, 2], d: 3"
    assert [entry.inside[0].value for entry in (e, *g, c2)] == ["TRUE", "1", "2", "4"]
