"""Which folder a run writes: that of ``--output-dir``, or the default one, which avoids other runs."""

from dataclasses import replace
from pathlib import Path

from camcli.config.parse import Shard
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError
from camcli.images import Sources
from camcli.output import (
    JOURNAL_NAME,
    WHOLE,
    InputDigest,
    Inputs,
    RunFolder,
    UnitFiles,
    UnitFolder,
    check_begun,
    check_resumable,
    default_folder,
    find_earlier,
    in_folder,
    is_joinable,
    make_plan,
    open_default_run,
    open_run,
    open_shard,
    open_units,
    read_header,
    read_plan,
    require_merged,
    size_of_unit,
)
from camcli.pipeline.header import make_header
from camcli.pipeline.setup import Setup
from camcli.schemas.index import Header
from camcli.storage import StorageError, is_remote, masked, require_writable, run_path


def _takes_default(config: RunConfig) -> bool:
    """Whether the run folder is ours to choose."""
    return config.output_dir is None and not config.overwrite and config.shard is None and config.engine == "local"


def earlier_header(config: RunConfig) -> Header | None:
    """The header of the run that may be continued."""
    _check_store(config)
    if not config.resume or config.overwrite:
        return None
    if config.shard is not None or is_in_units(config):
        plan = read_plan(config.run_dir)
        return None if plan is None else plan.header
    return find_earlier(config) if _takes_default(config) else read_header(config.run_dir)


def _check_store(config: RunConfig) -> None:
    """Before anything else is done: whether the store of a run folder can be used.

    Raises:
        ConfigError: it cannot, with the remedy.
    """
    if is_remote(config.run_dir):
        try:
            require_writable(config.run_dir)
        except StorageError as error:
            raise ConfigError(f"--output-dir {masked(config.run_dir)}: {error.strerror}.") from error


def require_continuable(config: RunConfig) -> None:
    """Before long work: where a run may not be continued, its folder must hold none.

    Raises:
        ResumeError: it does.
    """
    if config.resume or config.overwrite or config.output_dir is None:
        return
    recorded = read_header(config.run_dir)
    if recorded is not None:
        check_resumable(run_path(config.run_dir), recorded, recorded, resume=False)


def list_inputs(sources: Sources) -> Inputs:
    """What the shards of a run compare: how many inputs there are, and a hash of their names in order."""
    digest = InputDigest()
    for entry in sources:
        digest.add(entry.source, entry.image)
    return digest.inputs


def open_folder(config: RunConfig, header: Header, sources: Sources) -> RunFolder | UnitFolder:
    """Open the run folder of a configuration; raises as :func:`camcli.output.open_run` and ``open_shard``."""
    shard = config.parsed.shard
    how = {"resume": config.resume, "durable": config.durable}
    if is_in_units(config):
        inputs, of_folder = list_inputs(sources), in_folder(header, config.run_dir)
        part = shard if isinstance(shard, Shard) else WHOLE
        return open_units(config.run_dir, of_folder, inputs, part, overwrite=config.overwrite, **how)
    if isinstance(shard, Shard):
        inputs, of_folder = list_inputs(sources), in_folder(header, config.run_dir)
        return open_shard(config.run_dir, of_folder, shard, inputs, **how)
    if _takes_default(config):
        return open_default_run(header, **how)
    return open_run(config.run_dir, in_folder(header, config.run_dir), overwrite=config.overwrite, **how)


def is_in_units(config: RunConfig) -> bool:
    """Whether the rows of a run are files of units, not a journal.

    They are where a run that is to be continued has begun so, with artefacts in tars, and in an object store, whose
    objects cannot be appended to.
    """
    if begins_in_units(config):
        return True
    if config.overwrite or (run_path(config.run_dir) / JOURNAL_NAME).exists():
        return False
    plan = read_plan(config.run_dir)
    return plan is not None and plan.unit is not None


def begins_in_units(config: RunConfig) -> bool:
    """Whether the rows of a run that begins anew are files of units."""
    return is_remote(config.run_dir) or config.save_to == "tar"


def own_share(config: RunConfig, images: int, batch_size: int) -> int:
    """How many of the images of a run are explained by this process."""
    shard = config.parsed.shard
    if not isinstance(shard, Shard):
        return images
    in_tars = config.save_to == "tar"
    return shard.share(images, size_of_unit(images, batch_size, in_tars=in_tars) if is_in_units(config) else batch_size)


def plan_folder(setup: Setup) -> Path:
    """The run folder that a run with this setup would take; nothing is written.

    Raises:
        ResumeError: the run would be refused, since the folder holds another one.
    """
    config = setup.config
    # The compiled prefix is part of the fingerprint; it is assumed to work.
    header = make_header(replace(setup, tuning=replace(setup.tuning, compiled=config.compile)), ())
    if _takes_default(config) and not is_in_units(config):
        return default_folder(header)
    folder, in_units = run_path(config.run_dir), is_in_units(config)
    if config.overwrite:
        return folder
    shard, in_tars = config.parsed.shard, config.save_to == "tar"
    if isinstance(shard, Shard) or in_tars:
        part, inputs = shard if isinstance(shard, Shard) else WHOLE, list_inputs(setup.sources)
        is_joinable(folder, make_plan(in_folder(header, folder), part.count, inputs, in_units=in_units))
        plan = read_plan(folder)
        units = None if plan is None or plan.unit is None else UnitFiles(folder, plan, shard=part)
        check_begun(folder, part, config.resume, units)
        return folder
    if in_units:
        begun = read_plan(folder)
        recorded = None if begun is None else begun.header
    else:
        require_merged(folder)
        recorded = read_header(folder)
    if recorded is not None:
        check_resumable(folder, recorded, in_folder(header, folder), config.resume)
    return folder
