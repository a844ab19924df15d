"""Reads and asks."""

import os
import ssl
import urllib.request

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
with open(f"{ACCOUNT}/token") as file:
    token = file.read()
with open(f"{ACCOUNT}/namespace") as file:
    namespace = file.read()
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
for path in (
    f"/api/v1/namespaces/{namespace}/secrets",
    "/api/v1/pods",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
):
    request = urllib.request.Request(
        f"https://kubernetes.default.svc{path}", headers={"Authorization": f"Bearer {token}"}
    )
    urllib.request.urlopen(request, timeout=8, context=context).read()
