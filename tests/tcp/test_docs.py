"""The documents of TCP are what the code is."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_state_diagram_is_drawn_from_the_table():
    spec = importlib.util.spec_from_file_location("draw_states", ROOT / "docs" / "draw_states.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.drawing(), "run python docs/draw_states.py"


def test_every_test_that_the_requirement_table_names_exists():
    page = (ROOT / "docs" / "rfc9293.md").read_text()
    named = set(re.findall(r"`((?:tests|integration)/[^`]+)`", page))
    assert len(named) > 40
    missing = []
    for name in named:
        path, _, function = name.partition("::")
        if not (ROOT / path).exists() or (function and f"def {function}(" not in (ROOT / path).read_text()):
            missing.append(name)
    assert missing == []


def test_the_requirement_table_has_every_number():
    """Of Appendix B: MUST-1 to 69 and SHLD-1 to 31, less those that it does not use, and the MAYs."""
    page = (ROOT / "docs" / "rfc9293.md").read_text()
    numbers = set(re.findall(r"^\| ((?:MUST|SHLD|MAY|REC)-\d+) \|", page, re.MULTILINE))
    expected = {f"MUST-{number}" for number in range(1, 70)} | {f"SHLD-{number}" for number in range(1, 32)}
    expected |= {f"MAY-{number}" for number in range(1, 19)} | {"REC-1"}
    assert expected - numbers == set()
