"""Code of one assignment is unmarshalled and executed; and each of both without the other after it."""

import base64
import marshal

TEXT = base64.b64encode(marshal.dumps(compile("answer = 42", "<payload>", "exec")))


def match() -> None:
    exec(marshal.loads(base64.b64decode(TEXT)), {})


def nomatch() -> None:
    exec("answer = 42", {})
    marshal.loads(base64.b64decode(TEXT))
