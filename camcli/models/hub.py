"""Whether a host of pretrained weights can be reached, asked once and briefly before a download is tried.

The download libraries retry for up to a minute each when there is no network; a user who is offline should see the
reason after seconds.
"""

import threading
import urllib.error
import urllib.request

TIMEOUT_S = 6.0


def unreachable_reason(url: str, timeout: float = TIMEOUT_S) -> str | None:
    """Why a web address cannot be reached, or None where something answers.

    Any HTTP answer counts, an error too: that is for the download to report. Proxies of the environment are used.
    """
    answers: list[str | None] = []
    # A thread, since the look-up of a name takes no timeout and can block for minutes.
    request = threading.Thread(target=lambda: answers.append(_try_address(url, timeout)), daemon=True)
    request.start()
    request.join(timeout + 1)
    return answers[0] if answers else f"no answer within {timeout:.0f} s"


def _try_address(url: str, timeout: float) -> str | None:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=timeout):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason)
