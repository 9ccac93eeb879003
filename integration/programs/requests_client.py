"""requests_client.py WHAT URL [CA]: one use of requests; prints ``name=value`` lines of what came of it."""

import hashlib
import itertools
import sys
import time

import requests
from content import content

SIZE = 100_000_000


def session(url, _):
    with requests.Session() as kept:
        answers = [kept.get(f"{url}/bytes/{size}") for size in range(1000)]
        digest = hashlib.sha256(b"".join(answer.content for answer in answers))
        pools = kept.get_adapter(url).poolmanager.pools
        opened = sum(pools[key].num_connections for key in pools.keys())  # it cannot be iterated itself
    yield "statuses", {answer.status_code for answer in answers}
    yield "connections", opened
    yield "sha256", digest.hexdigest()


def download(url, _):
    digest, size = hashlib.sha256(), 0
    with requests.get(f"{url}/bytes/{SIZE}", stream=True, timeout=60) as answer:
        for piece in answer.iter_content(1 << 18):
            digest.update(piece)
            size += len(piece)
    yield "size", size
    yield "sha256", digest.hexdigest()


def upload(url, _):
    yield "sha256", requests.post(url, data=content(SIZE), timeout=60).text


def chunked(url, _):
    yield "got", hashlib.sha256(requests.get(f"{url}/chunked/3000000", timeout=30).content).hexdigest()
    body = content(3_000_000)
    pieces = (body[at : at + 70_001] for at in range(0, len(body), 70_001))
    yield "sent", requests.post(url, data=pieces, timeout=30).text


def redirects(url, _):
    answer = requests.get(f"{url}/redirect/9", timeout=10)
    yield "hops", len(answer.history)
    yield "status", answer.status_code
    try:
        requests.get(f"{url}/redirect/99", timeout=10)
    except requests.TooManyRedirects:
        yield "endless", "TooManyRedirects"


def timeout(url, _):
    began = time.monotonic()
    yield "error", failure(f"{url}/never", timeout=0.5)
    yield "in_time", 0.4 < time.monotonic() - began < 3
    yield "after", requests.get(f"{url}/bytes/10", timeout=10).status_code


def short(url, _):
    yield "error", failure(f"{url}/short/1000", timeout=10)


def failing(url, _):
    yield "error", failure(url, timeout=15)


def tls(url, ca):
    with requests.Session() as kept:
        kept.verify = ca
        answer = kept.get(f"{url}/bytes/5000000", timeout=30)
        yield "sha256", hashlib.sha256(answer.content).hexdigest()
        yield "sent", kept.post(url, data=content(5_000_000), timeout=30).text
    yield "distrusted", failure(f"{url}/bytes/1", timeout=10)


def failure(url, **how):
    """The names of the errors, from the one raised to its first cause, with the number if it has one."""
    try:
        requests.get(url, **how)
    except requests.RequestException as error:
        return " ".join(chain(error))
    return "none"


def chain(error):
    for _ in itertools.count():
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        number = getattr(error, "errno", None)
        yield type(error).__name__ + (f"({number})" if isinstance(number, int) else "")
        error = inner or error.__cause__ or error.__context__
        if error is None:
            return


if __name__ == "__main__":
    what, url, *ca = sys.argv[1:]
    for name, value in globals()[what](url, ca[0] if ca else None):
        print(f"{name}={value}", flush=True)
