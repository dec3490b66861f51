"""The inputs of a run, from its settings; without torch, so that ``cam merge`` lists them in a moment."""

from pathlib import Path

from camcli.config.settings import RunConfig
from camcli.images import Sampler, Sources


def list_sources(config: RunConfig) -> Sources:
    """The inputs of a run, of which nothing is read yet."""
    size = config.parsed.sample
    sampler = None if size is None else Sampler(size.count, size.per_class, config.seed)
    return Sources(config.image_path, exclude=Path(config.run_dir), limit=config.limit, sample=sampler)
