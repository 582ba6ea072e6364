"""The tables as CSV, and all of an audit as JSON for other programs."""

import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.report.exported import table_of
from sightline.studies.auditing import Audit
from sightline.studies.auditing.conditions import Verdict

if TYPE_CHECKING:
    import polars

FORMAT = "sightline audit 1"
TABLES = ("findings", "errors", "evidence", "bias", "groups", "interventions", "decisions", "images")
_TOLD = ("name", "created", "protocol", "versions", "seed", "data", "head", "attributes", "min_group")


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Check what is to be written, before anything is computed.

    Raises:
        InputError: Neither `.json` nor `.csv`, or a `.csv` that names no table.
    """
    table_of(path, TABLES, "audit")


def text(path: str | os.PathLike[str], audit: Audit, verdicts: Sequence[Verdict] = ()) -> str:
    """One table as CSV, by the file's name, or everything as JSON."""
    name = table_of(path, TABLES, "audit")
    if name is None:
        return json.dumps(as_json(audit, verdicts), indent=1, allow_nan=False)
    table: str = getattr(audit, name)().write_csv()
    return table


def as_json(audit: Audit, verdicts: Sequence[Verdict] = ()) -> dict[str, Any]:
    """Manifest, derived tables (without the rows of single images) and conditions; what is not defined is null."""
    images = audit.images()
    bad = images.filter(images["status"] != "ok")
    found = {
        "format": FORMAT,
        **{name: audit.manifest.get(name) for name in _TOLD},
        "images": len(images),
        "unreadable": bad.select("image", "error").to_dicts(),
        "findings": [{**row, "figures": json.loads(row["figures"])} for row in audit.findings().to_dicts()],
        **{name: _plain(getattr(audit, name)()) for name in ("errors", "evidence", "bias", "groups", "interventions")},
        "conditions": [{"condition": v.condition, "holds": v.holds, "values": v.values} for v in verdicts],
    }
    plain: dict[str, Any] = _finite(found)
    return plain


def _plain(frame: "polars.DataFrame") -> list[dict[str, Any]]:
    return frame.to_dicts()


def _finite(value: Any) -> Any:
    """The same with null in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
