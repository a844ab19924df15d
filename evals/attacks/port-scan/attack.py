"""Tries them all."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import product

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

PORTS = (22, 80, 443, 2375, 3306, 5432, 6379, 8080, 9200, 10250)


def is_open(target: tuple[str, int]) -> bool:
    with socket.socket() as link:
        link.settimeout(0.2)
        return link.connect_ex(target) == 0


targets = list(product((f"203.0.113.{number}" for number in range(1, 17)), PORTS))
with ThreadPoolExecutor(32) as pool:
    print([target for target, found in zip(targets, pool.map(is_open, targets)) if found])
