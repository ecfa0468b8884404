"""What this host runs on. Everything is made by the first request or job."""

from __future__ import annotations

from collections.abc import Mapping

from nightingale.hosting.wired import Held, NotWiredError, Wired

_NEXT = (
    "On one machine: `nightingale local up --host functions`. In Azure: set them on the function app, see "
    "docs/how-to/run-on-functions.md."
)


def make(environment: Mapping[str, str]) -> Wired:
    """Return a platform on AWS's services, in a role that the app's managed identity opens. Raises NotWiredError."""
    # Loaded by whoever is first to need a platform: `import function_app` is what every cold start pays for.
    from azurelib.settings import AzureSettings  # noqa: PLC0415 - see above
    from nightingale.hosting.settings import SettingsError  # noqa: PLC0415 - same

    try:
        settings = AzureSettings.read(environment)
    except SettingsError as error:
        raise NotWiredError(f"no platform is wired to this host: {error}", _NEXT) from error
    from nightingale.adapters.azure_identity import ManagedIdentity  # noqa: PLC0415 - see above
    from nightingale.adapters.web_identity import WebIdentity  # noqa: PLC0415 - same
    from nightingale.hosting.aws_services import wire  # noqa: PLC0415 - same

    services = settings.services
    token = ManagedIdentity(environment, settings.audience, settings.client_id)
    credentials = WebIdentity(settings.role, token, region=services.region, endpoint=services.endpoint)
    if services.azure is None:
        return wire(services, credentials)
    # Of its own cloud it asks as who it is there; the application of the hosts in AWS is not its business.
    from nightingale.adapters.arm_client import SCOPE  # noqa: PLC0415 - see above
    from nightingale.hosting.azure_services import tokens_of_host  # noqa: PLC0415 - same

    here = ManagedIdentity(environment, SCOPE, settings.client_id)
    return wire(services, credentials, tokens_of_host(here))


_HELD = Held(make)
use, use_wired, use_nothing = _HELD.use, _HELD.use_wired, _HELD.use_nothing
dispatcher, wired = _HELD.dispatcher, _HELD.wired
