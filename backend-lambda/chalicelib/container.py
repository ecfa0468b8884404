"""What this host runs on. Everything is made by the first request or job."""

from __future__ import annotations

from collections.abc import Mapping

from nightingale.hosting.wired import Held, NotWiredError, Wired

_NEXT = "On one machine: `nightingale local up`. In AWS: set them on the function, see docs/how-to/deploy-to-aws.md."


def make(environment: Mapping[str, str]) -> Wired:
    """Return a platform on DynamoDB, S3 and CodeBuild, none of which is asked anything yet. Raises NotWiredError."""
    # Loaded by whoever is first to need a platform: `import app` is what every cold start pays for.
    from nightingale.hosting.settings import Settings, SettingsError  # noqa: PLC0415 - see above

    try:
        settings = Settings.read(environment)
    except SettingsError as error:
        raise NotWiredError(f"no platform is wired to this host: {error}", _NEXT) from error
    from nightingale.hosting.aws_services import wire  # noqa: PLC0415 - see above

    return wire(settings)


_HELD = Held(make)
use, use_wired, use_nothing = _HELD.use, _HELD.use_wired, _HELD.use_nothing
dispatcher, wired = _HELD.dispatcher, _HELD.wired
