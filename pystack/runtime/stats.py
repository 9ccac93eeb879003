"""Counters of many parts as one dict, and as text."""


def snapshot(parts):
    """``{name: [part, ...]}`` to ``{name: {counter: value}}``.

    A part has ``drops``, which become "drop.REASON", and mostly ``counts``. Parts of one name are added up; zeros are
    left out.
    """
    result = {}
    for name, sources in parts.items():
        row = result[name] = {}
        for source in sources:
            for key, value in getattr(source, "counts", {}).items():
                if value:
                    row[key] = row.get(key, 0) + value
            for reason, value in source.drops.items():
                if value:
                    row[f"drop.{reason}"] = row.get(f"drop.{reason}", 0) + value
    return result


def format(snapshot):
    """A snapshot as lines of text, one counter each."""
    lines = []
    for name, row in snapshot.items():
        lines += [f"{name:12} {key:32} {value:12}" for key, value in sorted(row.items())]
    return "\n".join(lines)
