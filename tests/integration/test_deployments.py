"""The examples for Docker and Kubernetes are what these take, and what is said in them is what we have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pythonaudit.agent.config import Config, parse_config
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
KUBERNETES = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
DIRECTORY = "/var/log/pythonaudit"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
@pytest.mark.parametrize("version", ["1.29", "1.35"])
def test_kubernetes_takes_them(path: Path, version: str) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_what_is_wrong_is_found() -> None:
    (document,) = documents(EXAMPLES / "kubernetes" / "sidecar.yaml")
    document["spec"]["template"]["spec"]["container"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.35", strict=True)


def test_docker_compose_takes_it() -> None:
    validator = jsonschema.Draft7Validator(json.loads((ROOT / "tests" / "schemas" / "compose.json").read_text()))
    (document,) = documents(EXAMPLES / "docker" / "compose.yaml")
    validator.validate(document)
    document["services"]["shop"]["volume"] = []
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)


def pods() -> list[dict[str, Any]]:
    found = [document for path in KUBERNETES for document in documents(path)]
    return [document["spec"]["template"]["spec"] for document in found if document["kind"] != "ConfigMap"
            and "spec" in document]  # fmt: skip


@pytest.mark.parametrize("pod", pods(), ids=lambda pod: pod["containers"][0]["name"])
def test_agents_and_programs_share_the_directory(pod: dict[str, Any]) -> None:
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in containers:
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["pythonaudit"] == DIRECTORY and set(mounts) <= volumes
    agents = [container for container in containers if container.get("args", [""])[0] == "agent"]
    assert len(agents) == 1 and agents[0]["securityContext"]["readOnlyRootFilesystem"]


def configurations() -> dict[str, str]:
    compose = (EXAMPLES / "docker" / "config.toml").read_text()
    maps = [document for path in KUBERNETES for document in documents(path) if document["kind"] == "ConfigMap"]
    return {"compose": compose} | {one["metadata"]["namespace"]: one["data"]["config.toml"] for one in maps}


@pytest.mark.parametrize("name", configurations())
def test_their_configuration_makes_sense(name: str) -> None:
    config = parse_config(configurations()[name])
    assert isinstance(config, Config) and len(config.export) == 1
