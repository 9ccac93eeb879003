"""redis_client.py ADDRESS PORT: values, a pipeline, a blocking pop and a subscription by redis-py."""

import sys
import threading

import redis
from content import content, sha256

if __name__ == "__main__":
    address, port = sys.argv[1:]
    with redis.Redis(address, int(port), socket_timeout=20) as server:
        print(f"ping={server.ping()}")
        server.set("large", content(20_000_000))
        print(f"large={sha256(server.get('large'))}")
        for number in range(500):
            server.incrby("sum", number)
        print(f"sum={server.get('sum').decode()}")
        with server.pipeline(transaction=False) as pipeline:
            for number in range(5000):
                pipeline.rpush("list", number)
            print(f"pushed={pipeline.execute()[-1]}")
        print(f"last={server.lrange('list', 0, -1)[-1].decode()}")

        popped = []
        waiting = threading.Thread(target=lambda: popped.append(server.blpop("later", timeout=10)))
        waiting.start()
        while not server.info("clients")["blocked_clients"]:
            pass
        server.rpush("later", "value")
        waiting.join()
        print(f"popped={popped[0][1].decode()}")

        with server.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe("news")
            subscription.get_message(timeout=5)
            server.publish("news", "first")
            print(f"heard={subscription.get_message(timeout=5)['data'].decode()}")
    try:
        redis.Redis(address, int(port) + 1, retry=None).ping()
    except redis.ConnectionError as error:
        print(f"refused={'111' in str(error)}")
