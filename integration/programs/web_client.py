"""web_client.py URL PATH...: PATH that is "upload" sends; every other one is got. Each by a thread of its own."""

import sys
from concurrent.futures import ThreadPoolExecutor

import requests
from content import content, sha256


def fetch(path):
    if path == "upload":
        return requests.post(url + "/", data=content(20_000_000), timeout=60).text
    answer = requests.get(f"{url}/{path}", timeout=60)
    answer.raise_for_status()
    return sha256(answer.content) if path.startswith("bytes/") else answer.text


if __name__ == "__main__":
    url, *paths = sys.argv[1:]
    with ThreadPoolExecutor(16) as pool:
        for number, result in enumerate(pool.map(fetch, paths)):
            print(f"{number}={result}", flush=True)
