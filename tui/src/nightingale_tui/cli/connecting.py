"""ssh-config, open, tunnel: the way into an instance."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nightingale.contract.schemas import GatewayOut
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import Connection, connect, settings_of
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.documents import SshConfigOut, TunnelOut
from nightingale_tui.cli.exit_codes import ExitCode, UsageError
from nightingale_tui.cli.parser import add_name, add_server_flags
from nightingale_tui.cli.wording import whole

if TYPE_CHECKING:
    from nightingale_tui.ssh_config import IncludedHost
    from nightingale_tui.tunnel import Tunnel


def _configure_ssh_config(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--no-include", action="store_true", help="write and print it, leave ~/.ssh/config alone")
    how.add_argument("--remove", action="store_true", help="take it out of ~/.ssh/config again")


def _ssh_config(args: argparse.Namespace, console: Console) -> int:
    from nightingale_tui import ssh_config  # noqa: PLC0415 - start-up time, which every other command would pay
    from nightingale_tui.tunnel import identity_of  # noqa: PLC0415 - same

    home = Path(console.environ.get("HOME") or Path.home())
    if args.remove:
        host = ssh_config.remove_host(settings_of(args, console), home)
        if console.is_json:
            console.data(_document(host, None))
        else:
            console.line(f"{host.config} no longer knows {host.host}.")
        return ExitCode.OK
    with connect(args, console) as connection:
        settings = connection.settings
        gateway = connection.api.get_gateway()
        person = connection.api.get_me().person
    config = ssh_config.write_ssh_config(settings, gateway, person=person, identity=identity_of(settings))
    host = (
        ssh_config.included_host(settings, home) if args.no_include else ssh_config.include_host(settings, config, home)
    )
    if console.is_json:
        console.data(_document(host, gateway))
        return ExitCode.OK
    if args.no_include:
        console.line(config.text.rstrip())
        console.note(f"Written to {config.path}: `ssh -F {config.path} -N -L 8888:NAME:8888 {ssh_config.HOST_ALIAS}`.")
        return ExitCode.OK
    console.line(f"Host {host.host}\n{config.options.rstrip()}")
    console.note(f"Written to {host.file}, which {host.config} includes; `nightingale ssh-config --remove` undoes it.")
    console.note(f"Now: `ssh -N -L 8888:NAME:8888 {host.host}`. There is no shell at the gateway.")
    return ExitCode.OK


def _document(host: IncludedHost, gateway: GatewayOut | None) -> SshConfigOut:
    return SshConfigOut(
        host=host.host,
        file=str(host.file),
        config=str(host.config),
        is_included=host.is_included,
        gateway=gateway,
    )


def _configure_tunnel(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("--port", type=whole(1, 65_535), metavar="PORT", help="local port (a free one)")


def _configure_open(parser: argparse.ArgumentParser) -> None:
    _configure_tunnel(parser)
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address instead; it works once, for a minute"
    )


def _tunnel(args: argparse.Namespace, console: Console) -> int:
    with (
        _ended_by_signals(),
        connect(args, console) as connection,
        _open_tunnel(args, console, connection) as tunnel,
        _closed_by_interrupt(console),
    ):
        address = f"http://127.0.0.1:{tunnel.local_port}"
        if console.is_json:
            console.data(TunnelOut(host="127.0.0.1", port=tunnel.local_port, url=address))
        else:
            console.line(address)
        console.stdout.flush()
        _hold(tunnel, console, args.name)
    return ExitCode.OK


def _open(args: argparse.Namespace, console: Console) -> int:
    if console.is_json and not args.no_browser:
        raise UsageError("`open --json` needs --no-browser.", "Or use `nightingale tunnel NAME --json`.")
    with (
        _ended_by_signals(),
        connect(args, console) as connection,
        _open_tunnel(args, console, connection) as tunnel,
        _closed_by_interrupt(console),
        tempfile.TemporaryDirectory(prefix="nightingale-") as folder,
    ):
        # Only now: the code lives a minute, and ssh may have asked for a passphrase before.
        jupyter = connection.api.open_jupyter(connection.project(), args.name)
        url = tunnel.url(jupyter)
        if console.is_json:
            console.data(TunnelOut(host="127.0.0.1", port=tunnel.local_port, url=url))
        elif args.no_browser or not console.open_browser(_page(Path(folder), url)):
            console.line(url)
        console.stdout.flush()
        _hold(tunnel, console, args.name)
    return ExitCode.OK


def _page(folder: Path, url: str) -> str:
    """Return the address of a page of mode 0600 that leads to `url`.

    A browser's command line can be read by every account of this machine, and the one-time code must not stand there.
    """
    page = folder / "open.html"
    page.touch(mode=0o600)
    import html  # noqa: PLC0415 - see `_ssh_config`

    target = html.escape(url, quote=True)
    page.write_text(
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0;url={target}"><title>Nightingale</title><a href="{target}">Open</a>\n',
        "utf-8",
    )
    return page.as_uri()


def _open_tunnel(args: argparse.Namespace, console: Console, connection: Connection) -> Tunnel:
    from nightingale_tui.tunnel import Tunnel  # noqa: PLC0415 - see `_ssh_config`

    return Tunnel.open(
        connection.api,
        connection.settings,
        connection.project(),
        args.name,
        local_port=args.port,
        may_ask=console.has_terminal,
        on_words=console.note,
    )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let `kill` and a closed terminal end a tunnel as Ctrl-C does: ssh must not stay behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _closed_by_interrupt(console: Console) -> Iterator[None]:
    """Take Ctrl-C, whenever it comes once the tunnel stands, as the end that was asked for."""
    try:
        yield
    except KeyboardInterrupt:
        console.note("Closed.")


def _hold(tunnel: Tunnel, console: Console, name: str) -> NoReturn:
    console.note(f"The tunnel to {name} is open on port {tunnel.local_port}. Ctrl-C closes it; {name} goes on running.")
    tunnel.wait()
    from nightingale_tui.tunnel import TunnelError  # noqa: PLC0415 - see `_ssh_config`

    raise TunnelError("tunnel_ended", f"The tunnel ended: {tunnel.last_words or 'ssh said nothing'}", "Open it again.")


COMMANDS = (
    Command(
        "open", "open an instance's Jupyter in the browser, through a tunnel", _configure_open, _open, (TunnelOut,)
    ),
    Command("tunnel", "hold a tunnel to an instance's Jupyter", _configure_tunnel, _tunnel, (TunnelOut,)),
    Command("ssh-config", "let plain ssh know the gateway", _configure_ssh_config, _ssh_config, (SshConfigOut,)),
)
