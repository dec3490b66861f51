"""A million synthetic rows through journal, index and table: minutes and some GB of disk, so only when asked for.

``python -m pytest tests/sweeps/test_million_rows.py --timeout 1800 --basetemp FOLDER_WITH_4_GB``
"""

from pathlib import Path

from tests.output.test_memory import MEGABYTE, grown, needs_proc


@needs_proc
def test_a_million_rows_cost_nothing_and_continued_a_few_bytes_each(tmp_path: Path) -> None:
    """1 GB of rows, of which a new run holds nothing; a continued one 24 bytes of each, and copies of those."""
    measured = grown(tmp_path, 1_000_000)
    print(measured)
    assert max(measured[step] for step in ("append", "index", "table")) < 3 * MEGABYTE, measured
    assert max(measured.values()) < 96 * MEGABYTE, measured
