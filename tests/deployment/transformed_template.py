"""template.yaml as CloudFormation gets to see it: after SAM's transform, which AWS runs on its side."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"

# What SAM would ask IAM for, and attaches to every function that logs, traces and has a dead-letter queue.
_MANAGED_POLICIES = {
    name: f"arn:aws:iam::aws:policy/{name}"
    for name in ("service-role/AWSLambdaBasicExecutionRole", "AWSXRayDaemonWriteAccess")
}


@cache
def _source() -> dict[str, Any]:
    # Here: every process of the tests imports this module, and one transforms. SAM's models take half a second to load.
    from samtranslator.yaml_helper import yaml_parse

    template: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return template


def source() -> dict[str, Any]:
    """The template as it is written. Every caller has a copy of its own."""
    return copy.deepcopy(_source())


def transformed(**parameters: str) -> dict[str, Any]:
    """The template after the transform, with `parameters` in place of their defaults.

    A local CodeUri is replaced by an S3 one, as `sam package` does; the transform takes no other. Every caller has a
    copy of its own.
    """
    return copy.deepcopy(_transformed(tuple(sorted(parameters.items()))))


@cache
def _transformed(parameters: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return transformed_of(source(), dict(parameters))


def transformed_of(template: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """Another template than the product's, after the transform. It is changed on the way."""
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    template["Globals"]["Function"]["CodeUri"] = "s3://somewhere/artifact.zip"
    defaults = {name: str(about.get("Default", "")) for name, about in template["Parameters"].items()}
    result: dict[str, Any] = Translator(
        _MANAGED_POLICIES, Parser(), boto_session=boto3.Session(region_name="eu-west-1")
    ).translate(sam_template=template, parameter_values={**defaults, **parameters})
    return result


def resources(template: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Logical id and properties of each resource of a type."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource["Properties"]


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each statement that allows something, of roles and policies, with the logical id it belongs to."""
    for name, role in resources(template, "AWS::IAM::Role"):
        for policy in role.get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement
    for name, policy in resources(template, "AWS::IAM::Policy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            yield name, statement
