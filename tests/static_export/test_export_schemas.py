"""What static-export writes for machines is what docs/schemas describes."""

from __future__ import annotations

from schemas import fits


def test_the_report_and_the_manifest(static_export, pristine, tmp_path):
    words = ("-c", pristine / "my.ini", tmp_path / "static", "-f", "json")
    rows = fits(static_export(*words).stdout, "static-export-report")
    assert {"published"} <= {row["kind"] for row in rows}
    manifest = (tmp_path / "static" / ".kallithea-tune.json").read_text()
    assert len(fits(manifest, "static-export-manifest")["files"]) > 300
