"""The inputs of a run, from its settings; without torch, so that ``cam merge`` lists them in a moment."""

from camcli.config.settings import RunConfig
from camcli.images import Sampler, Sources
from camcli.storage import run_path


def list_sources(config: RunConfig) -> Sources:
    """The inputs of a run, of which nothing is read yet."""
    size = config.parsed.sample
    sampler = None if size is None else Sampler(size.count, size.per_class, config.seed)
    return Sources(config.image_path, exclude=run_path(config.run_dir), limit=config.limit, sample=sampler)
