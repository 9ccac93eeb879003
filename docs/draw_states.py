"""Draw docs/tcp-states.md from the transition table: ``python docs/draw_states.py`` from the project's root."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from pystack.tcp import states

PAGE = Path(__file__).parent / "tcp-states.md"


def drawing():
    """The page, as text: a Mermaid state diagram."""
    lines = [
        "# The states of a TCP connection",
        "",
        "Drawn by `docs/draw_states.py` from `TRANSITIONS` in `pystack/tcp/states.py`; do not edit.",
        "From every state a reset, an abort or a timeout leads to CLOSED as well.",
        "",
        "```mermaid",
        "stateDiagram-v2",
    ]
    for number, name in states.NAMES.items():
        lines.append(f'    state "{name}" as S{number}')
    lines.append(f"    [*] --> S{states.CLOSED}")
    for (state, event), following in states.TRANSITIONS.items():
        lines.append(f"    S{state} --> S{following}: {event}")
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(drawing())
