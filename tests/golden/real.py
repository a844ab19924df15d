"""What the golden journals of the recorder are recorded of: a little of everything, and no more."""

import sys
import threading


def login(user):
    sys.audit(f"User logged in: username={user}, ip=192.168.0.1")


def read(path):
    with open(path) as file:
        return file.read(1)


login("johndoe")
read("/etc/passwd")
sys.audit("shop.order.paid", {"order": 7, "amount": 12.5}, b"\xff\x00", "\udc80", 2**100, float("inf"))
sys.audit("app.nested", [[1, [2, [3, [4, [5, [6, [7]]]]]]]], list(range(200)), object())
sys.audit("app.secret", {"password": "hunter2"}, "token=abc other=1")
thread = threading.Thread(target=read, args=("/etc/hosts",))
thread.start()
thread.join()
compile("print('made')", "<made>", "exec")
