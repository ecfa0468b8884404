"""EC2, IAM and what else moto knows of AWS, one request at a time, in a process of its own.

Run it beside Terraform with `python -m doubles.aws_server`; the first line printed is the endpoint for all services.

moto forgets some of what RunInstances was told, so that the provider would replace the machine each time: the groups
of a machine whose network interface is given, its protection from termination, the request behind a spot machine. It
shows an empty public address where EC2 shows none, and leaves the interface behind. `mend` makes these whole.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from doubles import moto_server
from doubles.dynamo_server import Faults, OneAtATime

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def mend() -> None:
    """Let moto, in this process, keep and show what EC2 does."""
    from moto.ec2.models.elastic_network_interfaces import NetworkInterface  # noqa: PLC0415 - see serve
    from moto.ec2.models.spot_requests import SpotInstanceRequest  # noqa: PLC0415 - same
    from moto.ec2.responses.instances import InstanceResponse  # noqa: PLC0415 - same
    from moto.ec2.utils import random_spot_request_id  # noqa: PLC0415 - same

    class RequestOfMachine(SpotInstanceRequest):
        """The request that RunInstances makes for a spot machine; closed when that is gone."""

        __module__ = SpotInstanceRequest.__module__  # moto files its models under the service in this name

        def __init__(self, machine: Any, options: dict[str, Any]) -> None:
            self._machine = machine
            unsaid = ("price", "valid_from", "valid_until", "launch_group", "availability_zone_group", "key_name")
            unset = ("user_data", "placement", "kernel_id", "ramdisk_id", "spot_fleet_id")
            nothing: dict[str, Any] = dict.fromkeys(unsaid + unset)
            super().__init__(
                machine.ec2_backend,
                random_spot_request_id(),
                image_id=machine.image_id,
                spot_instance_type=options.get("SpotInstanceType", "one-time"),
                instance_interruption_behaviour=options.get("InstanceInterruptionBehavior"),
                instance_type=machine.instance_type,
                subnet_id=machine.subnet_id,
                security_groups=[group.id for group in machine.security_groups],
                monitoring_enabled=False,
                tags={},
                **nothing,
            )

        @property
        def state(self) -> str:
            return "closed" if self._machine._state.name == "terminated" else "active"

        @state.setter
        def state(self, value: str) -> None:
            del value  # follows from the machine

        def launch_instance(self) -> Any:
            return self._machine

    run_as_moto_does: Any = InstanceResponse.run_instances
    network_interface: Any = NetworkInterface
    association_as_moto_says = network_interface.association.fget

    def run_instances(self: Any) -> Any:
        answer = run_as_moto_does(self)
        market = self._get_param("InstanceMarketOptions", {})
        for machine in answer.result.instances:
            machine.disable_api_termination = bool(self._get_param("DisableApiTermination"))
            if self._get_param("NetworkInterfaces", []):
                machine.security_groups = list(machine.nics[0].group_set)
                machine.nics[0].delete_on_termination = True  # of one that RunInstances makes; nobody asks for less
            if market.get("MarketType") == "spot":
                request = RequestOfMachine(machine, market.get("SpotOptions", {}))
                self.ec2_backend.spot_instance_requests[request.id] = request
                machine.spot_instance_request_id = request.id
        return answer

    groups_as_moto_does: Any = InstanceResponse._security_grp_instance_attribute_handler

    def modify_groups(self: Any) -> bool:
        # Whatever moto does not know how to modify it takes for groups, of which there are none then.
        return True if not self._get_param("Groups", []) else bool(groups_as_moto_does(self))

    instance_response: Any = InstanceResponse
    instance_response._security_grp_instance_attribute_handler = modify_groups
    instance_response.run_instances = run_instances
    network_interface.association = property(lambda self: association_as_moto_says(self) or None)


class Calls:
    """The WSGI application around moto's that counts what was asked for, by `service:Action`; GET /calls answers it."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._seen: Counter[str] = Counter()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/calls":
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._seen).encode()]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        signed = re.search(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        action = parse_qs(body.decode("utf-8", "replace")).get("Action")
        who = "terraform" if "Terraform" in environ.get("HTTP_USER_AGENT", "") else "test"
        if signed and action:
            self._seen[f"{who} {signed[1]}:{action[0]}"] += 1
        return self._application(environ, start)


def serve(host: str, port: int) -> None:
    """Serve until killed; the first line on standard output is the endpoint's URL."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - who starts this needs no moto
        DomainDispatcherApplication,
        create_backend_app,
    )

    mend()
    application = Calls(OneAtATime(DomainDispatcherApplication(create_backend_app), Faults()))
    moto_server.serve_forever(application, host, port)


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a process of its own for as long as the block; yield the endpoint's URL."""
    # Without it moto makes five hundred images of machines for whoever asks first.
    environment = {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    with moto_server.running("doubles.aws_server", "--until-stdin-closes", environment=environment) as url:
        yield url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the URL is the first line printed")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started this one")
    told = parser.parse_args()
    if told.until_stdin_closes:

        def wait() -> None:
            sys.stdin.read()
            os._exit(0)

        threading.Thread(target=wait, daemon=True).start()
    serve(told.host, told.port)


if __name__ == "__main__":
    main()
