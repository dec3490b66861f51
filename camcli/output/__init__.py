"""The run folder: artefacts that appear whole or not at all, the journal, the index, and the lock. It has no model.

:func:`open_run` opens a folder (:func:`open_default_run` finds one) and gives a :class:`Journal` and an
:class:`ArtefactWriter`; :func:`artefact_path` gives the path of an artefact; :func:`write_index` and :func:`write_csv`
write the results from the journal at the end.
"""

from camcli.output.artefacts import EARLIER, ArtefactWriter, SizeOf, artefacts_intact, read_artefact, sizes_in
from camcli.output.atomic import naming_os_errors, write_atomically
from camcli.output.csv_table import COLUMNS, table_of, write_csv
from camcli.output.default_folder import default_folder, find_earlier, in_folder, open_default_run
from camcli.output.finished import (
    describe_shards,
    folder_on_disk,
    is_run_folder,
    no_finished_run,
    require_merged,
    unmerged_plan,
)
from camcli.output.header import INDEX_NAME, JOURNAL_NAME, SCHEMA, read_header, read_index_header
from camcli.output.index import Counts, Ending, FinalStatus, read_index_items, write_index
from camcli.output.journal import Journal
from camcli.output.jsontext import strict_json, true_name
from camcli.output.named_file import check_named_file, write_named_file
from camcli.output.names import ImagePlace, artefact_path
from camcli.output.parquet_table import require_parquet, write_tables
from camcli.output.redrawing import NothingDrawnError, Redrawing
from camcli.output.row_keys import parse_row, row_line
from camcli.output.run_folder import RESULT_NAMES, RunFolder, check_resumable, open_run
from camcli.output.shard_plan import WHOLE, InputDigest, Inputs, Plan, make_plan, read_plan, size_of_unit
from camcli.output.shards import check_begun, end_shard, is_joinable, open_shard
from camcli.output.tar_names import split_member
from camcli.output.tars import TarWriter
from camcli.output.unit_folder import UnitFolder, end_units, open_units, unit_writer
from camcli.output.units import UnitError, UnitFiles, UnitRows

__all__ = [
    "COLUMNS",
    "EARLIER",
    "INDEX_NAME",
    "JOURNAL_NAME",
    "RESULT_NAMES",
    "SCHEMA",
    "WHOLE",
    "ArtefactWriter",
    "Counts",
    "Ending",
    "FinalStatus",
    "ImagePlace",
    "InputDigest",
    "Inputs",
    "Journal",
    "NothingDrawnError",
    "Plan",
    "Redrawing",
    "RunFolder",
    "SizeOf",
    "TarWriter",
    "UnitError",
    "UnitFiles",
    "UnitFolder",
    "UnitRows",
    "artefact_path",
    "artefacts_intact",
    "check_begun",
    "check_named_file",
    "check_resumable",
    "default_folder",
    "describe_shards",
    "end_shard",
    "end_units",
    "find_earlier",
    "folder_on_disk",
    "in_folder",
    "is_joinable",
    "is_run_folder",
    "make_plan",
    "naming_os_errors",
    "no_finished_run",
    "open_default_run",
    "open_run",
    "open_shard",
    "open_units",
    "parse_row",
    "read_artefact",
    "read_header",
    "read_index_header",
    "read_index_items",
    "read_plan",
    "require_merged",
    "require_parquet",
    "row_line",
    "size_of_unit",
    "sizes_in",
    "split_member",
    "strict_json",
    "table_of",
    "true_name",
    "unit_writer",
    "unmerged_plan",
    "write_atomically",
    "write_csv",
    "write_index",
    "write_named_file",
    "write_tables",
]
