"""The report: a page made of counts by station."""

from __future__ import annotations

from collections.abc import Mapping

import jinja2

_PAGE = """<h1>{{ title }}</h1>
<table>
{%- for station, count in counts|dictsort(by="value", reverse=true) %}
<tr><td>{{ station }}</td><td>{{ count }}</td></tr>
{%- endfor %}
</table>
"""


def page(title: str, counts: Mapping[str, int]) -> str:
    """Return the page; what stations are called cannot break it."""
    return jinja2.Environment(autoescape=True).from_string(_PAGE).render(title=title, counts=counts)
