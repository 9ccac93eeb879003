"""Fetch a page by a stack of its own: ordinary code, run by pystack.

python -m pystack.run examples/fetch.py http://example.org/
"""

import sys

import requests


def main(url):
    answer = requests.get(url, timeout=30)
    print(answer.status_code, answer.reason, f"{len(answer.content)} bytes", file=sys.stderr)
    print(answer.text, end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
