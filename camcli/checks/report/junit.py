"""JUnit XML, which CI servers show as tests: one test case a check, the worst images in its output.

Follows the schema of Jenkins' xunit plugin (``junit-10.xsd``), in the order of elements that stricter readers want: in
a test suite ``properties``, ``testcase``…, ``system-out``, ``system-err``; in a test case at most one of ``skipped``
and ``failure``, then ``system-out``. What is inconclusive counts as skipped, unless the check is required; a warning as
passed with its text in the output. ``--fail-on warn`` makes both failures.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime
from platform import node

from camcli.checks.result import Result
from camcli.errors import printable

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(
    results: Sequence[Result], suite: str, *, strict: bool = False, properties: dict[str, str] | None = None
) -> bytes:
    """The document.

    Args:
        results: one test case each.
        suite: name of the test suite.
        strict: warnings and what is inconclusive are failures.
        properties: of the test suite, such as the model.
    """
    outcomes = [_outcome(result, strict) for result in results]
    counts = {
        "tests": len(results), "failures": outcomes.count("failure"), "errors": 0, "skipped": outcomes.count("skipped"),
    }  # fmt: skip
    numbers = {name: str(count) for name, count in counts.items()}
    top = {name: count for name, count in numbers.items() if name != "skipped"}
    root = ET.Element("testsuites", {"name": "cam", "time": "0", **top})
    now, host = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), _clean(node() or "localhost")
    about = {"name": _clean(suite), "timestamp": now, "hostname": host, "time": "0"}
    body = ET.SubElement(root, "testsuite", {**about, **numbers})
    listed = ET.SubElement(body, "properties")
    for name, value in (properties or {}).items():
        ET.SubElement(listed, "property", name=_clean(name), value=_clean(value))
    for result, outcome in zip(results, outcomes, strict=True):
        _case(body, result, outcome)
    ET.SubElement(body, "system-out")
    ET.SubElement(body, "system-err")
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _outcome(result: Result, strict: bool) -> str:
    if result.effective_status == "fail" or (strict and result.status in ("warn", "inconclusive")):
        return "failure"
    return "skipped" if result.status in ("skipped", "inconclusive") else "passed"


def _case(body: ET.Element, result: Result, outcome: str) -> None:
    case = ET.SubElement(body, "testcase", name=result.check, classname="cam.check", time="0")
    message = _clean(f"{result.status}: {result.reason}")
    if outcome == "failure":
        ET.SubElement(case, "failure", message=message, type=result.status).text = _clean(_text(result))
    elif outcome == "skipped":
        ET.SubElement(case, "skipped", message=message)
    ET.SubElement(case, "system-out").text = _clean(_text(result))


def _text(result: Result) -> str:
    lines = [f"{result.status}: {result.reason}", *(f"  {one.words} ({one.status})" for one in result.conditions[:20])]
    if result.worst:
        lines += ["worst images:", *(f"  {printable(one.image)}: {one.words}" for one in result.worst)]
    return "\n".join(lines)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
