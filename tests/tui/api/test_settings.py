"""Flags over environment over file; sessions that only their person can read."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightingale_tui.settings import (
    DEFAULT_URL,
    Session,
    Settings,
    SettingsError,
    forget_session,
    load_session,
    load_settings,
    remember_url,
    save_session,
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"NIGHTINGALE_CONFIG_DIR": str(tmp_path / "config")}


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ)


@pytest.fixture
def session(settings: Settings) -> Session:
    return Session(url=settings.url, person="ada", token="very-secret", expires_at=datetime(2026, 11, 20, tzinfo=UTC))


def configured(environ: dict[str, str], text: str) -> None:
    folder = Path(environ["NIGHTINGALE_CONFIG_DIR"])
    folder.mkdir()
    (folder / "config.toml").write_text(text)


def test_nothing_told_means_this_machine(settings: Settings) -> None:
    assert (settings.url, settings.project, settings.key_file) == (DEFAULT_URL, None, None)


def test_flags_go_over_environment_over_file(environ: dict[str, str]) -> None:
    configured(environ, 'url = "https://file.example"\nproject = "file"\nkey = "~/file"\n')
    from_file = load_settings(environ)
    assert (from_file.url, from_file.project) == ("https://file.example", "file")
    assert from_file.key_file == Path("~/file").expanduser()
    environ |= {"NIGHTINGALE_URL": "https://environ.example/", "NIGHTINGALE_PROJECT": "environ"}
    assert (load_settings(environ).url, load_settings(environ).project) == ("https://environ.example", "environ")
    flagged = load_settings(environ, url="https://flag.example", project="flag", key_file="/k")
    assert (flagged.url, flagged.project, flagged.key_file) == ("https://flag.example", "flag", Path("/k"))


def test_without_a_folder_named_the_systems_own_are_used() -> None:
    settings = load_settings({})
    assert settings.config_dir.name == "nightingale"
    assert settings.config_dir.is_absolute()


@pytest.mark.parametrize("text", ["url = 3", 'colour = "red"', "url = ", 'url = "ftp://x"', "\udcff"])
def test_a_configuration_that_cannot_be_used_is_refused_with_a_next_step(environ: dict[str, str], text: str) -> None:
    configured(environ, "")
    file = Path(environ["NIGHTINGALE_CONFIG_DIR"]) / "config.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://platform.example", "insecure_url"),
        ("http://127.0.0.1.example.org", "insecure_url"),
        ("https://ada:pw@platform.example", "bad_url"),
        ("https://platform.example/?token=x", "bad_url"),
        ("platform.example", "bad_url"),
        ("https://", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
    ],
)
def test_an_address_that_would_leak_or_is_none_is_refused(environ: dict[str, str], url: str, code: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, url=url)
    assert caught.value.code == code
    assert "pw" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://[::1]:1", "http://127.0.0.1:1", "https://a.example/base"]
)
def test_an_address_that_is_fine_is_kept(environ: dict[str, str], url: str) -> None:
    assert load_settings(environ, url=url).url == url


def test_a_session_is_saved_for_its_person_only_and_read_back(settings: Settings, session: Session) -> None:
    assert load_session(settings) is None
    save_session(settings, session)
    assert load_session(settings) == session
    assert settings.session_file.stat().st_mode & 0o777 == 0o600
    assert settings.session_file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in settings.session_file.parent.iterdir()] == [settings.session_file.name]
    assert forget_session(settings)
    assert not forget_session(settings)
    assert load_session(settings) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_session_that_others_can_reach_is_refused(settings: Settings, session: Session, mode: int) -> None:
    save_session(settings, session)
    settings.session_file.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        load_session(settings)
    assert caught.value.code == "session_exposed"
    assert "very-secret" not in str(caught.value)


def test_a_damaged_session_is_refused(settings: Settings, session: Session) -> None:
    save_session(settings, session)
    os.truncate(settings.session_file, 10)
    with pytest.raises(SettingsError, match="damaged"):
        load_session(settings)


def test_each_server_has_its_own_session(environ: dict[str, str], session: Session) -> None:
    one, two = (load_settings(environ, url=f"https://a.example/{name}") for name in ("x", "x_"))
    save_session(one, session)
    assert load_session(two) is None


def test_a_sessions_repr_hides_the_token(session: Session) -> None:
    assert "very-secret" not in repr(session)


def test_the_address_is_remembered_once(environ: dict[str, str]) -> None:
    settings = load_settings(environ, url="https://a.example")
    assert remember_url(settings)
    assert load_settings(environ).url == "https://a.example"
    assert not remember_url(load_settings(environ, url="https://b.example"))
    assert load_settings(environ).url == "https://a.example"


def test_a_platform_may_have_several_addresses(environ: dict[str, str]) -> None:
    settings = load_settings(environ, url="https://a.example/, https://b.example,https://a.example")
    assert (settings.url, settings.others) == ("https://a.example", ("https://b.example",))
    assert settings.session_file == load_settings(environ, url="https://a.example").session_file
    assert remember_url(settings)
    assert load_settings(environ).others == ("https://b.example",)


@pytest.mark.parametrize("url", ["https://a.example,", ",https://a.example", "https://a.example,http://b.example"])
def test_every_one_of_several_addresses_must_be_fine(environ: dict[str, str], url: str) -> None:
    with pytest.raises(SettingsError):
        load_settings(environ, url=url)
