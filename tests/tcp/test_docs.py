"""The documents of TCP are what the code is."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
REQUIREMENTS = ROOT / "docs" / "rfc9293.md"

APPENDIX_B = {
    "PUSH flag": "MAY-16 SHLD-27 MAY-15 MUST-60 MUST-61 MAY-17 SHLD-28",
    "Window": "MUST-1 REC-1 SHLD-14 SHLD-15 SHLD-16 SHLD-17 MUST-34 MAY-8 MUST-35 MUST-36 SHLD-29 SHLD-30 MUST-37 MAY-7"
    " MUST-66",
    "Urgent data": "MUST-30 MUST-62 MUST-31 MUST-32 MUST-33 SHLD-13",
    "TCP options": "MUST-4 MUST-5 MUST-6 MUST-68 MUST-7 MUST-64 MUST-14 SHLD-5 SHLD-5 MAY-3 MUST-15 MUST-15 MUST-16"
    " SHLD-6 MUST-65 MUST-67 MUST-69",
    "TCP checksums": "MUST-2 MUST-3",
    "ISN selection": "MUST-8 SHLD-1 MUST-9",
    "Opening connections": "MUST-10 MUST-11 MUST-41 MUST-42 MUST-44 MUST-45 MUST-46 MUST-57",
    "Closing connections": "SHLD-2 MUST-12 MAY-1 SHLD-3 MUST-13 MAY-2 SHLD-4",
    "Retransmissions": "MUST-19 MAY-4 MUST-18",
    "Generating ACKs": "MUST-58 SHLD-31 MUST-59 MAY-13 SHLD-18 MUST-40 SHLD-19 MUST-39",
    "Sending data": "MUST-49 MUST-38 SHLD-7 MUST-17",
    "Connection failures": "MUST-20 MUST-20 MUST-21 SHLD-9 SHLD-10 SHLD-11 MUST-22 MUST-23",
    "Send keep-alive packets": "MAY-5 MUST-24 MUST-25 MUST-26 MUST-27 MUST-28 MUST-29 SHLD-12 MAY-6",
    "IP options": "MUST-50 MAY-10 MAY-11 MUST-51 MUST-52 MUST-53 SHLD-24",
    "Receiving ICMP messages from IP": "MUST-54 SHLD-25 MUST-56 SHLD-26 MUST-55 MUST-56 MUST-56",
    "Address validation": "MUST-46 MUST-63 MUST-57",
    "TCP/program interface services": "MUST-47 SHLD-20 MUST-48 SHLD-22 SHLD-21 SHLD-23 MAY-9 MAY-14 MUST-43",
    "RFC 5961 support": "MAY-12",
    "Explicit congestion notification": "SHLD-8",
    "Alternative congestion control": "MAY-18",
}
"""The sections of RFC 9293's Appendix B and the numbers of their rows, some of which occur more than once."""


def rows():
    """``[(section, number, requirement, shown by), ...]`` of the page."""
    found, section = [], None
    for line in REQUIREMENTS.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif re.match(r"\| (MUST|SHLD|MAY|REC)-", line):
            number, requirement, shown = (cell.strip() for cell in line.strip("|").split("|"))
            found.append((section, number, requirement, shown))
    return found


def test_the_state_diagram_is_drawn_from_the_table():
    spec = importlib.util.spec_from_file_location("draw_states", ROOT / "docs" / "draw_states.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.drawing(), "run python docs/draw_states.py"


def test_the_list_of_numbers_is_complete():
    """MUST-1 to 69, SHLD-1 to 31, MAY-1 to 18 and REC-1 are all that RFC 9293 has."""
    numbers = set(" ".join(APPENDIX_B.values()).split())
    assert numbers == {
        "REC-1",
        *(f"MUST-{number}" for number in range(1, 70)),
        *(f"SHLD-{number}" for number in range(1, 32)),
        *(f"MAY-{number}" for number in range(1, 19)),
    }


def test_the_page_has_every_row_in_its_place():
    wanted = [(section, number) for section, numbers in APPENDIX_B.items() for number in numbers.split()]
    assert [row[:2] for row in rows()] == wanted


def test_every_row_names_a_test_or_says_why_not():
    for _, number, requirement, shown in rows():
        assert requirement and ("::test_" in shown or "**no**" in shown), number


def test_every_test_that_the_page_names_exists():
    named = set(re.findall(r"`((?:tests|integration)/[^`]+)`", REQUIREMENTS.read_text()))
    missing = []
    for name in named:
        path, _, function = name.partition("::")
        if not (ROOT / path).exists() or (function and f"\ndef {function}(" not in (ROOT / path).read_text()):
            missing.append(name)
    assert len(named) > 100 and missing == []


def test_the_tests_claim_no_number_that_there_is_not_and_none_is_forgotten():
    shown = " ".join(row[3] for row in rows())
    known = {row[1] for row in rows()}
    for path in (ROOT / "tests" / "tcp").glob("test_rfc9293_*.py"):
        assert f"`tests/tcp/{path.name}::" in shown
        assert set(re.findall(r"(?:MUST|SHLD|MAY|REC)-\d+", path.read_text())) <= known
