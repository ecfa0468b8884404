"""Azure Resource Manager, Entra and AWS's signing of tokens, as far as the platform asks them: one real server.

It keeps machines and security groups of one resource group, and minds who asks: Entra takes what AWS signed for its
audience and for the application's subject, and Azure takes what Entra gave out and nothing else.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT_ID = "5d1c5f6e-3f66-4d07-8b7a-0c3c6c1f2a11"
GROUP = "nightingale-instances"
LOCATION = "germanywestcentral"
ROLE = "arn:aws:iam::123456789012:role/nightingale-api"
AUDIENCE = "api://AzureADTokenExchange"
NETWORK: dict[str, Any] = {
    "location": LOCATION,
    "resource_group": GROUP,
    "subnet_id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network"
    "/virtualNetworks/instances/subnets/instances",
    "gateway_cidr": "10.64.32.0/24",
    "api_cidrs": ["10.64.32.0/20"],
    "api_url": "https://api.example.org/api",
    "audience": f"api://{TENANT}/nightingale-machines",
}
IMAGE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/images/providers/Microsoft.Compute/images/nightingale"
_AT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
_VERSIONS = {"Microsoft.Compute": "2024-07-01", "Microsoft.Network": "2024-05-01"}

_SIGNED = """<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetWebIdentityTokenResult><WebIdentityToken>signed {number} for {audience}</WebIdentityToken>
<Expiration>2030-01-01T00:00:00Z</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"""
_CALLER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Arn>{role}</Arn><UserId>AROA:x</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""
_NOT_SIGNED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>made up</Message></Error></ErrorResponse>"""


@dataclass
class AzureCloud:
    """What there is, what was asked, and what is answered in its place."""

    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Every request to Azure: method and path, without what it answered."""
    signed: list[dict[str, str]] = field(default_factory=list)
    exchanged: list[dict[str, str]] = field(default_factory=list)
    lives_s: int = 3600
    """Of the tokens that Entra gives out from now on."""
    good: set[str] = field(default_factory=set)
    """The tokens that Azure takes."""
    instead: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    """What Azure answers next, whatever it is asked; taken off one by one."""
    refusal: str = ""
    """What Entra says of every assertion, if it takes none: AADSTS…"""
    aws_refusal: str = ""
    page: int = 100
    is_slow_at_rules: bool = False
    """Rules that are put are there, and Azure is still at them."""
    url: str = ""

    # --- what a test arranges -----------------------------------------------------------------------------------------

    def run(self, instance_id: str, generation: int = 1, principal: str = "p-1", **properties: Any) -> str:
        """Make what infra/instance/azure makes for a running instance; return the machine's id."""
        name = f"nightingale-{instance_id}"
        self.machines[name] = {
            "id": f"{_AT}/Microsoft.Compute/virtualMachines/{name}",
            "name": name,
            "tags": {"nightingale-instance": instance_id, "nightingale-generation": str(generation)},
            "identity": {"type": "SystemAssigned", "principalId": principal},
            "properties": {
                "provisioningState": "Succeeded",
                "priority": "Regular",
                "storageProfile": {"dataDisks": [{"lun": 0, "name": f"{name}-home", "deleteOption": "Detach"}]},
                **properties,
            },
            "power": "running",
        }
        interface = {"id": f"{_AT}/Microsoft.Network/networkInterfaces/{name}"}
        self.groups.setdefault(name, {"rules": {}, "networkInterfaces": [interface]})
        return str(self.machines[name]["id"])

    def become(self, instance_id: str, power: str) -> None:
        self.machines[f"nightingale-{instance_id}"]["power"] = power

    def remove(self, instance_id: str) -> None:
        """Remove all that was made for an instance."""
        self.machines.pop(f"nightingale-{instance_id}", None)
        self.groups.pop(f"nightingale-{instance_id}", None)

    def rules(self, instance_id: str) -> dict[str, str]:
        """Return the directions that are closed in an instance's group, by the name of the rule."""
        rules = self.groups[f"nightingale-{instance_id}"]["rules"]
        return {name: rule["direction"] for name, rule in rules.items() if rule["access"] == "Deny"}

    def calls(self, method: str) -> list[str]:
        """Return the paths that were asked with a method, from the resource's kind on."""
        return [one.partition(" ")[2].partition("/providers/")[2] for one in self.asked if one.startswith(f"{method} ")]

    # --- what is answered ---------------------------------------------------------------------------------------------

    def sign(self, form: dict[str, str]) -> tuple[int, bytes]:
        if form.get("Action") == "GetCallerIdentity":  # Terraform's S3 backend asks who it is
            return 200, _CALLER.format(role=ROLE).encode()
        self.signed.append(form)
        if self.aws_refusal:
            return 400, _NOT_SIGNED.format(code=self.aws_refusal).encode()
        told = _SIGNED.format(number=len(self.signed), audience=form.get("Audience.member.1", ""))
        return 200, told.encode()

    def exchange(self, tenant: str, form: dict[str, str]) -> tuple[int, bytes]:
        self.exchanged.append(form)
        wanted = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "scope": "https://management.azure.com/.default",
        }
        is_signed = re.fullmatch(rf"signed \d+ for {re.escape(AUDIENCE)}", form.get("client_assertion", ""))
        if self.refusal or tenant != TENANT or is_signed is None or not wanted.items() <= form.items():
            words = f"{self.refusal or 'AADSTS700213'}: no match for '{form.get('client_assertion')}'"
            return 401, json.dumps({"error": "invalid_client", "error_description": words}).encode()
        token = f"token-{len(self.exchanged)}"
        self.good.add(token)
        return 200, json.dumps({"access_token": token, "expires_in": self.lives_s}).encode()

    def answer(self, method: str, target: str, token: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        address = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.asked.append(f"{method} {address.path}")
        if self.instead:
            return self.instead.pop(0)
        if token not in self.good:
            return 401, {}, _error("ExpiredAuthenticationToken")
        provider, _, rest = address.path.removeprefix(f"{_AT}/").partition("/")
        if query.get("api-version") != _VERSIONS.get(provider):
            return 400, {}, _error("InvalidApiVersionParameter")
        kind, name, *more = [*rest.split("/"), "", "", ""][:4]
        status, told = (
            self._machine(method, name, more[0], query)
            if kind == "virtualMachines"
            else self._group(method, name, more, json.loads(body or b"{}"))
        )
        return status, {}, json.dumps(told).encode() if told is not None else b""

    def _machine(self, method: str, name: str, action: str, query: dict[str, str]) -> tuple[int, Any]:
        if not name:
            first = int(query.get("$skiptoken", "0"))
            listed = [{**one, "power": None} for one in self.machines.values()]
            told: dict[str, Any] = {"value": listed[first : first + self.page]}
            if first + self.page < len(listed):
                path = f"{self.url}{_AT}/Microsoft.Compute/virtualMachines"
                told["nextLink"] = f"{path}?api-version=2024-07-01&$skiptoken={first + self.page}"
            return 200, told
        if name not in self.machines:
            return (204, None) if method == "DELETE" else (404, json.loads(_error("ResourceNotFound")))
        machine = self.machines[name]
        if method == "DELETE":
            del self.machines[name]
            return 202, None
        if (method, action) == ("POST", "deallocate"):
            machine["power"] = "deallocated"
            return 202, None
        statuses = [{"code": f"PowerState/{machine['power']}"}] if machine["power"] else []
        view = {"statuses": [{"code": "ProvisioningState/succeeded"}, *statuses]}
        is_expanded = query.get("$expand") == "instanceView"
        properties = {**({"instanceView": view} if is_expanded else {}), **machine["properties"]}
        return 200, {**machine, "properties": properties}

    def _group(self, method: str, name: str, more: list[str], told: dict[str, Any]) -> tuple[int, Any]:
        group = self.groups.get(name)
        if group is None:
            return 404, json.loads(_error("ResourceNotFound"))
        if more[0] == "securityRules":
            if method == "DELETE":
                return (202, None) if group["rules"].pop(more[1], None) else (204, None)
            taken = {(rule["priority"], rule["direction"]): one for one, rule in group["rules"].items()}
            rule = told["properties"]
            if taken.get((rule["priority"], rule["direction"]), more[1]) != more[1]:
                return 400, json.loads(_error("SecurityRuleConflict"))
            state = "Updating" if self.is_slow_at_rules else "Succeeded"
            group["rules"][more[1]] = {**rule, "provisioningState": state}
            return 201, {"name": more[1], "properties": group["rules"][more[1]]}
        rules = [{"name": one, "properties": rule} for one, rule in group["rules"].items()]
        return 200, {"properties": {"securityRules": rules, "networkInterfaces": group["networkInterfaces"]}}


def _error(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "made up"}}).encode()


@contextmanager
def azure_cloud() -> Iterator[AzureCloud]:
    """Serve all three until the context ends."""
    cloud = AzureCloud()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the base class looks for these names

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()} if body else {}
            more: dict[str, str] = {}
            if self.path == "/":
                status, said = cloud.sign(form)
            elif self.path.endswith("/oauth2/v2.0/token"):
                status, said = cloud.exchange(self.path.split("/")[1], form)
            else:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, more, said = cloud.answer(self.command, self.path, token, body)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
