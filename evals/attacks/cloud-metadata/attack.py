"""Asks all three."""

import json
import os
from urllib.request import Request, urlopen

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

AWS = "http://169.254.169.254/latest"
GOOGLE = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
AZURE = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/"


def ask(address: str, method: str = "GET", **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return str(urlopen(Request(address, method=method, headers=named), timeout=8).read().decode())


token = ask(f"{AWS}/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="21600")
role = ask(f"{AWS}/meta-data/iam/security-credentials/", X_aws_ec2_metadata_token=token).strip()
found = [ask(f"{AWS}/meta-data/iam/security-credentials/{role}", X_aws_ec2_metadata_token=token)]
found += [ask(GOOGLE, Metadata_Flavor="Google"), ask(AZURE, Metadata="true")]
print(json.dumps(found))
