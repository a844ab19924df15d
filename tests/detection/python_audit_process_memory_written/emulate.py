"""The memory of this process is opened, and closed again."""


def match() -> None:
    open("/proc/self/mem", "r+b", buffering=0).close()


def nomatch() -> None:
    open("/proc/self/mem", "rb", buffering=0).close()
    open("/proc/self/maps").close()
    open("mem", "w").close()
