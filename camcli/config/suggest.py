"""Suggestions for names that no flag has: what other tools call a setting, or a similar name."""

from collections.abc import Iterable

from camcli.config.settings import SETTINGS
from camcli.errors import near_misses


def find_setting(written: str) -> str | None:
    """The setting of a name as people write it: its own, with dashes or underscores, or what other tools call it."""
    spelling = written.strip("-").replace("_", "-").lower()
    return next((n for n, s in SETTINGS.items() if spelling in (n.replace("_", "-"), *s.synonyms)), None)


def suggest_setting(written: str, allowed: Iterable[str]) -> str:
    """`` Did you mean input-size?`` for a name that is not among the allowed ones, or the empty string."""
    names = {name.strip("-").replace("-", "_"): name for name in allowed}
    same = find_setting(written)
    meant = [same] if same in names else near_misses(written.strip("-").replace("-", "_"), names)
    return f" Did you mean {', '.join(names[name] for name in meant)}?" if meant else ""
