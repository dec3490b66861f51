"""URLs of files and folders: their parts, and how they are shown without what must stay secret."""

import posixpath
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urljoin, urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # one letter and a colon is a drive of Windows
_LOCAL = ("file", "local")
_WEB = ("http", "https")
_SECRET = re.compile(
    r"sig|signature|token|secret|password|passwd|pwd|key|auth|credential|expires|expiry|policy|x-(amz|goog)-.*"
    r"|s[evprt]|sk[a-z]+|googleaccessid|awsaccesskeyid|key-pair-id",
    re.IGNORECASE,
)
_SECRET_WITHIN = re.compile(r"token|secret|passw|credential|signature|api_?-?key|access_?-?key", re.IGNORECASE)
_LONGEST_PLAIN = 40  # characters of a value in a query; what is longer may be a token under any name
_MASK = "***"
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://(?:[^\s/@]*@)*[^\s'\"<>]+")  # a password may have quotes


def is_url(text: str) -> bool:
    """Whether a path is a URL; a ``file://`` URL is one as well."""
    return _URL.match(text) is not None


def scheme_of(url: str) -> str:
    """What is before ``://``, in lower case."""
    return url.partition("://")[0].lower()


def is_web(url: str) -> bool:
    """Whether a URL is read by HTTP: a page and not an object, with a query after ``?``."""
    return scheme_of(url) in _WEB


def as_local(path: str) -> str:
    """The path that a ``file://`` URL names; anything else as it is."""
    if not is_url(path) or scheme_of(path) not in _LOCAL:
        return path
    return path.partition("://")[2].removeprefix("localhost") or "/"


def is_remote(path: str) -> bool:
    """Whether a path is a URL of anything but a local file."""
    return is_url(path) and scheme_of(path) not in _LOCAL


def base_name(url: str) -> str:
    """The last component of a URL's path, as a file would be called; of a bucket, its name."""
    above, _, name = without_query(url).partition("://")[2].rstrip("/").rpartition("/")
    if not is_web(url):
        return name
    return unquote(name) if above else name.rpartition("@")[2]  # of a host without user and password


def without_query(url: str) -> str:
    """A URL without ``?…`` and ``#…``; in other schemes than HTTP these belong to the name."""
    return re.split(r"[?#]", url, maxsplit=1)[0] if is_web(url) else url


def without_slash(url: str) -> str:
    """A URL without a slash at its end; what is before the bucket stays."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rstrip('/')}"


def parent(url: str) -> str:
    """The folder that holds what a URL names; of a bucket, the bucket."""
    scheme, _, rest = without_query(url).partition("://")
    above = rest.rstrip("/").rpartition("/")[0]
    return f"{scheme}://{above or rest.rstrip('/')}"


def child(folder: str, name: str, *, is_folder: bool = False) -> str:
    """The URL of a file or folder by its name in a folder."""
    top = without_slash(without_query(folder))
    below = f"{top}{'' if top.endswith('://') else '/'}{quote(name) if is_web(folder) else name}"
    return f"{below}/" if is_folder and is_web(folder) else below


def join(folder: str, path: str) -> str:
    """A path as it is written in a file of a folder, like ``os.path.join``: a URL and an absolute path stand alone.

    ``.`` and ``..`` are resolved, since a store has no folders to go up from; none leads out of the bucket.
    """
    if is_url(path):
        return as_local(path)
    if posixpath.isabs(path):
        return path
    if is_web(folder):
        return urljoin(f"{folder.rstrip('/')}/", path.replace(" ", "%20"))
    scheme, _, rest = folder.partition("://")
    bucket, _, above = rest.partition("/")
    inside = posixpath.normpath(f"/{above}/{path}").lstrip("/")
    return f"{scheme}://{bucket}/{inside}"


def masked(url: str) -> str:
    """A URL without user, password and signature: what is printed and recorded, and what identifies an input.

    Of a query, parameters that usually hold a secret or belong to a signature lose their values, and so do values that
    are long enough for a token. Two URLs that differ in nothing else are the same input, so that a run is continued
    with URLs that were signed again.
    """
    if url.startswith("@"):
        return "@" + masked(url[1:])
    if not is_url(url):
        return url
    scheme, _, rest = url.partition("://")
    if not is_web(url) and "@" not in rest.partition("/")[0]:
        return url
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    if at and (is_web(url) or ":" in user):  # hf://org/name@revision and gs://name@bucket hold no secret
        place = f"{_MASK}@{host}"
    if not is_web(url):
        return f"{scheme}://{place}{slash}{path}"
    before, mark, query = path.partition("?")
    return f"{scheme}://{place}{slash}{before}{mark}{_masked_query(query)}"


def mask_text(text: str) -> str:
    """A message or an argument of a command line with all URLs in it masked."""
    return _URL_IN_TEXT.sub(lambda match: masked(match[0]), text)


def mask_all(texts: Iterable[str]) -> list[str]:
    """Several texts, each masked."""
    return [mask_text(text) for text in texts]


def _masked_query(query: str) -> str:
    parts = re.split(r"([&;])", query)
    return "".join(_masked_parameter(part) for part in parts)


def _masked_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not equals:
        return _MASK if len(name) > _LONGEST_PLAIN else parameter
    is_secret = _SECRET.fullmatch(name) or _SECRET_WITHIN.search(name) or len(value) > _LONGEST_PLAIN
    return f"{name}={_MASK}" if is_secret else parameter


def split_host(url: str) -> str:
    """Scheme and bucket or host of a URL, masked."""
    parts = urlsplit(masked(url))
    return f"{parts.scheme}://{parts.netloc}"
