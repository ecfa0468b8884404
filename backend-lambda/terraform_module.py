"""Makes a Terraform module of what Chalice writes, for Terraform 1.11 and the AWS provider 5.100: `module_of`.

Chalice knows the functions, their rules and the API's routes; the rest of its document is of another time. Kept are
names, handlers, times, schedules, patterns and routes. Changed here, each for its reason:

    versions            pinned by Chalice to what is out of support
    data.null_data_source   deprecated: the routes are a local value
    roles and policies  one for each function with the same rights: they come in by `roles`, from policies/ of the
                        control plane, where each says what it is for
    names               two platforms in one account must not share any
    environment         known to Terraform only after the tables and buckets are there
    routes              in OpenAPI 3; their target by name, so that the functions can be told the API's address without
                        a circle
    stage               an argument of the deployment is deprecated; a stage of its own is throttled, and its access
                        log carries who, what and how it ended: no query, header or body
    the API             regional, and the same routes once more as a private API: instances reach that one by an
                        endpoint of their network, and nothing else
"""

from __future__ import annotations

import json
from typing import Any

TERRAFORM = ">= 1.11, < 2.0.0"
AWS_PROVIDER = "~> 5.100"

API = "api_handler"
STAGE = "api"

_NAME = "${var.name}-"
_REGION = "${data.aws_region.chalice.name}"
_ACCOUNT = "${data.aws_caller_identity.chalice.account_id}"
_PARTITION = "${data.aws_partition.chalice.partition}"

_ACCESS_LOG = {
    "at": "$context.requestTime",
    "request": "$context.requestId",
    "from": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "route": "$context.resourcePath",
    "status": "$context.status",
    "milliseconds": "$context.responseLatency",
    "bytes": "$context.responseLength",
    "error": "$context.error.responseType",
}
"""`resourcePath` is the route (`/v1/instances/{instance}`), not what was asked for; no header, query or body."""

_VARIABLES: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "description": "What every name begins with."},
    "package": {"type": "string", "description": "Path of the zip with the functions."},
    "roles": {"type": "map(string)", "description": "The role's ARN of each function, by the function's name."},
    "environment": {"type": "map(string)", "description": "What the functions are told. Names and addresses only."},
    "inside": {
        "type": "object({ functions = set(string), subnet_ids = list(string), security_group_ids = list(string) })",
        "description": "Which functions run inside the private network, and where there.",
    },
    "endpoint_id": {
        "type": "string",
        "description": "The network's execute-api endpoint: the private API's only door.",
    },
    "codebuild_project": {"type": "string", "description": "Whose builds' ends are listened to."},
    "access_log_role": {
        "type": "string",
        "description": "As whom API Gateway writes logs, in this account and region.",
    },
    "kms_key_arn": {"type": "string", "description": "Encrypts the functions' settings and all logs."},
    "log_days": {"type": "number", "description": "So long logs are kept."},
    "requests_per_second": {"type": "number", "description": "Requests above are answered 429, by each API."},
    "burst": {"type": "number", "description": "So many at once may be above."},
}


def module_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the module made of Chalice's document, which stays as it is. Raises KeyError for one of another form."""
    resource = document["resource"]
    functions = {name: _function(name, body) for name, body in resource["aws_lambda_function"].items()}
    return {
        "terraform": {
            "required_version": TERRAFORM,
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": AWS_PROVIDER}},
        },
        "variable": _VARIABLES,
        "data": {kind: body for kind, body in document["data"].items() if kind != "null_data_source"},
        "locals": {"routes": _routes(document["locals"]["chalice_api_swagger"])},
        "resource": {
            "aws_lambda_function": functions,
            "aws_cloudwatch_log_group": {
                **{name: _log_group(f"/aws/lambda/{_NAME}{name}") for name in functions},
                "access": _log_group(f"/aws/apigateway/{_NAME}access"),
            },
            "aws_cloudwatch_event_rule": {
                name: _rule(name, body) for name, body in resource["aws_cloudwatch_event_rule"].items()
            },
            "aws_cloudwatch_event_target": resource["aws_cloudwatch_event_target"],
            "aws_lambda_permission": {
                **{name: body for name, body in resource["aws_lambda_permission"].items() if name != "rest_api_invoke"},
                **{f"{api}_api": _permission(api) for api in ("public", "private")},
            },
            **_apis(resource["aws_api_gateway_rest_api"]["rest_api"]["binary_media_types"]),
        },
        "output": _outputs(functions),
    }


def _function(name: str, body: dict[str, Any]) -> dict[str, Any]:
    inside = f'contains(var.inside.functions, "{name}") ? [var.inside] : []'
    kept = ("runtime", "handler", "memory_size", "architectures", "timeout")
    return {
        **{key: body[key] for key in kept},
        "function_name": _NAME + name,
        "filename": "${var.package}",
        "source_code_hash": "${filebase64sha256(var.package)}",
        "role": f'${{var.roles["{name}"]}}',
        "kms_key_arn": "${var.kms_key_arn}",
        "environment": {"variables": "${var.environment}"},
        "tracing_config": {"mode": "PassThrough"},
        "logging_config": {
            "log_format": "JSON",
            "log_group": f"${{aws_cloudwatch_log_group.{name}.name}}",
            "system_log_level": "WARN",
        },
        "dynamic": {
            "vpc_config": {
                "for_each": f"${{{inside}}}",
                "content": {
                    "subnet_ids": "${vpc_config.value.subnet_ids}",
                    "security_group_ids": "${vpc_config.value.security_group_ids}",
                },
            }
        },
    }


def _log_group(name: str) -> dict[str, Any]:
    return {"name": name, "retention_in_days": "${var.log_days}", "kms_key_id": "${var.kms_key_arn}"}


def _rule(name: str, body: dict[str, Any]) -> dict[str, Any]:
    changed = {**body, "name": _NAME + name}
    if "event_pattern" in body:
        pattern = json.loads(body["event_pattern"])
        pattern["detail"]["project-name"] = ["${var.codebuild_project}"]
        changed["event_pattern"] = json.dumps(pattern)
    return changed


def _routes(swagger: str) -> str:
    """Return Chalice's routes in OpenAPI's present form, with the function named, not referred to."""
    told = json.loads(swagger)
    function = f"arn:{_PARTITION}:lambda:{_REGION}:{_ACCOUNT}:function:{_NAME}{API}"
    uri = f"arn:{_PARTITION}:apigateway:{_REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
    return json.dumps(
        {
            "openapi": "3.0.1",
            "info": {"title": "${var.name}", "version": told["info"]["version"]},
            "paths": {
                path: {method: _operation(body, uri) for method, body in methods.items()}
                for path, methods in told["paths"].items()
            },
        }
    )


def _operation(body: dict[str, Any], uri: str) -> dict[str, Any]:
    parameters = [
        {"name": one["name"], "in": one["in"], "required": one["required"], "schema": {"type": one["type"]}}
        for one in body.get("parameters", ())
    ]
    return {
        **({"parameters": parameters} if parameters else {}),
        "responses": {"200": {"description": "The function's answer"}},
        "x-amazon-apigateway-integration": {**body["x-amazon-apigateway-integration"], "uri": uri},
    }


def _permission(api: str) -> dict[str, Any]:
    return {
        "function_name": f"${{aws_lambda_function.{API}.arn}}",
        "action": "lambda:InvokeFunction",
        "principal": "apigateway.amazonaws.com",
        "source_arn": f"${{aws_api_gateway_rest_api.{api}.execution_arn}}/*",
    }


def _apis(media_types: list[str]) -> dict[str, Any]:
    only_by_endpoint = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "execute-api:Invoke",
                "Resource": "execute-api:/*",
                "Condition": {"StringEquals": {"aws:SourceVpce": "${var.endpoint_id}"}},
            }
        ],
    }
    shared = {
        "body": "${local.routes}",
        "binary_media_types": media_types,
        "lifecycle": {"create_before_destroy": True},
    }
    public = {**shared, "name": "${var.name}", "endpoint_configuration": {"types": ["REGIONAL"]}}
    private = {
        **shared,
        "name": f"{_NAME}inside",
        "put_rest_api_mode": "merge",  # `overwrite` would take the endpoint off again
        "policy": json.dumps(only_by_endpoint),
        "endpoint_configuration": {"types": ["PRIVATE"], "vpc_endpoint_ids": ["${var.endpoint_id}"]},
    }
    return {
        "aws_api_gateway_account": {"logs": {"cloudwatch_role_arn": "${var.access_log_role}"}},
        "aws_api_gateway_rest_api": {"public": public, "private": private},
        "aws_api_gateway_deployment": {api: _deployment(api) for api in ("public", "private")},
        "aws_api_gateway_stage": {api: _stage(api) for api in ("public", "private")},
        "aws_api_gateway_method_settings": {api: _method_settings(api) for api in ("public", "private")},
    }


def _deployment(api: str) -> dict[str, Any]:
    watched = "local.routes" if api == "public" else "local.routes, var.endpoint_id"
    return {
        "rest_api_id": f"${{aws_api_gateway_rest_api.{api}.id}}",
        "triggers": {"redeployment": f"${{sha1(jsonencode([{watched}]))}}"},
        "lifecycle": {"create_before_destroy": True},
    }


def _stage(api: str) -> dict[str, Any]:
    return {
        "stage_name": STAGE,
        "rest_api_id": f"${{aws_api_gateway_rest_api.{api}.id}}",
        "deployment_id": f"${{aws_api_gateway_deployment.{api}.id}}",
        "access_log_settings": {
            "destination_arn": "${aws_cloudwatch_log_group.access.arn}",
            "format": json.dumps(_ACCESS_LOG),
        },
        "depends_on": ["aws_api_gateway_account.logs"],
    }


def _method_settings(api: str) -> dict[str, Any]:
    return {
        "rest_api_id": f"${{aws_api_gateway_rest_api.{api}.id}}",
        "stage_name": f"${{aws_api_gateway_stage.{api}.stage_name}}",
        "method_path": "*/*",
        "settings": {
            "metrics_enabled": True,
            "logging_level": "OFF",  # execution logs may carry headers, and a header is the person's token
            "data_trace_enabled": False,
            "throttling_rate_limit": "${var.requests_per_second}",
            "throttling_burst_limit": "${var.burst}",
        },
    }


def _outputs(functions: dict[str, Any]) -> dict[str, Any]:
    names = {name: f"${{aws_lambda_function.{name}.function_name}}" for name in functions}
    # By the stage's name and not the stage: the functions are told these, and the stage comes after them.
    urls = {
        f"{api}_url": {
            "description": f"Where the {api} API is called.",
            "value": (
                f"https://${{aws_api_gateway_rest_api.{api}.id}}.execute-api.{_REGION}."
                f"${{data.aws_partition.chalice.dns_suffix}}/{STAGE}"
            ),
        }
        for api in ("public", "private")
    }
    return {
        "functions": {"description": "Each function's full name, by its short one.", "value": names},
        "api_name": {
            "description": "As metrics call the public API.",
            "value": "${aws_api_gateway_rest_api.public.name}",
        },
        **urls,
    }
