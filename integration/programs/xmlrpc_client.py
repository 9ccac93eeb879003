"""xmlrpc_client.py URL: calls, many calls in one, a large argument and a fault by `xmlrpc.client`."""

import sys
from xmlrpc.client import Binary, Fault, MultiCall, ServerProxy

from content import content

if __name__ == "__main__":
    with ServerProxy(sys.argv[1], allow_none=True) as proxy:
        print(f"methods={proxy.system.listMethods()}")
        print(f"pow={[proxy.pow(2, exponent) for exponent in range(30)][-1]}")
        many = MultiCall(proxy)
        for base in range(100):
            many.pow(base, 2)
        print(f"many={sum(many())}")
        print(f"sha256={proxy.sha256(Binary(content(3_000_000)))}")
        try:
            proxy.fail()
        except Fault as fault:
            print(f"fault={'ZeroDivisionError' in fault.faultString}")
