"""Flags win over the environment, that over the profile file; a mistake in it names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from limio_async.cli.failures import Code, Failure
from limio_async.cli.settings import Flags, open_client, settings
from limio_async.errors import ConfigurationError
from tests.cli.conftest import Run

FILE = """
[default]
host = "default.prod.limio.com"
token = "of-default"
timeout = 5

[live]
host = "live.prod.limio.com"
client_id = "id"
client_secret_file = "secret.txt"
"""


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> Path:
    file = Path("config.toml")
    file.write_text(FILE)
    file.chmod(0o600)
    monkeypatch.setenv("LIMIO_CONFIG", str(file.resolve()))
    return file


def environ(file: Path, **more: str) -> dict[str, str]:
    return {"LIMIO_CONFIG": str(file), **more}


def test_each_setting_comes_from_the_first_place_that_has_it(profiles: Path) -> None:
    env = environ(profiles, LIMIO_HOST="env.dev.limio.com", LIMIO_API_KEY="public_x")
    assert settings(Flags(timeout=2.0), env) == {
        "host": "env.dev.limio.com",
        "api_key": "public_x",
        "token": "of-default",
        "timeout": "2.0",
    }
    assert settings(Flags(host="flag.dev.limio.com"), env)["host"] == "flag.dev.limio.com"


def test_a_profile_is_named_by_flag_or_environment_and_takes_nothing_from_another(profiles: Path) -> None:
    live = {"host": "live.prod.limio.com", "client_id": "id", "client_secret_file": "secret.txt"}
    assert settings(Flags(profile="live"), environ(profiles)) == live
    assert settings(Flags(), environ(profiles, LIMIO_PROFILE="live")) == live


def test_a_secret_of_the_environment_wins_over_a_file_of_the_profile(profiles: Path) -> None:
    env = environ(profiles, LIMIO_CLIENT_SECRET_FILE="other.txt")
    assert settings(Flags(profile="live"), env)["client_secret_file"] == "other.txt"
    found = settings(Flags(profile="live"), environ(profiles, LIMIO_CLIENT_SECRET="of-env"))
    assert found["client_secret"] == "of-env"
    assert "client_secret_file" not in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nhots = 'x'", "[default] hots is not a setting; did you mean host?"),
        ("[default]\nhost = 1", "[default] host is not a string"),
        ("[default]\ntimeout = true", "[default] timeout is not a number"),
        ("[default]\nrequests_per_second = '5'", "[default] requests_per_second is not a number"),
        ("[default]\nplain_http = 1", "[default] plain_http is not true or false"),
        ("default = 1", "default is not a table"),
        ("[default", "(at"),
        ("\xff", "codec can't decode"),
    ],
)
def test_a_mistake_in_the_file_names_file_and_key(profiles: Path, text: str, said: str) -> None:
    profiles.write_bytes(text.encode("latin-1"))
    with pytest.raises(Failure) as caught:
        settings(Flags(), environ(profiles))
    assert str(profiles) in str(caught.value)
    assert said in str(caught.value)


def test_what_is_named_must_be_there(profiles: Path) -> None:
    with pytest.raises(Failure, match="has no profile lve; did you mean live"):
        settings(Flags(profile="lve"), environ(profiles))
    with pytest.raises(Failure, match="nowhere does not exist"):
        settings(Flags(), {"LIMIO_CONFIG": "nowhere"})
    with pytest.raises(Failure, match="cannot read the secret file .*secret.txt: No such file") as caught:
        open_client(Flags(profile="live"))
    assert caught.value.code is Code.CREDENTIALS
    assert settings(Flags(), {}) == {}


@pytest.mark.parametrize("timeout", ["soon", "-1", "nan", "inf"])
def test_a_timeout_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch, timeout: str) -> None:
    monkeypatch.setenv("LIMIO_TIMEOUT", timeout)
    with pytest.raises(ConfigurationError, match=f"LIMIO_TIMEOUT: '{timeout}' is not a number above 0"):
        open_client(Flags(host="acme.dev.limio.com"))


def test_secrets_that_others_can_read_are_warned_about(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(Flags(), environ(profiles))
    assert capsys.readouterr().err == ""
    profiles.chmod(0o644)
    settings(Flags(), environ(profiles))
    assert f"chmod 600 {profiles}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("proxy = 'http://proxy.test:3128'", False),
        ("proxy = 'http://user:pw@proxy.test:3128'", True),
        ("api_key = 'k'", True),
        ("client_secret_file = 'x'", False),
    ],
)
def test_a_profile_file_is_a_secret_where_it_holds_one(
    profiles: Path, capsys: pytest.CaptureFixture[str], line: str, warned: bool
) -> None:
    profiles.write_text(f"[default]\n{line}", encoding="utf-8")
    profiles.chmod(0o644)
    settings(Flags(), environ(profiles))
    assert ("chmod 600" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(
    "command",
    [
        ("offers", "list"),
        ("sync", "--to", "sqlite:///limio.db"),
        ("login", "--client-id", "a", "--no-browser"),
        ("emulate", "--record", "acme.test", "recorded"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize(
    ("name", "said"), [("LIMIO_PROXY", "the proxy is a URL"), ("LIMIO_CA_FILE", "LIMIO_CA_FILE: cannot read")]
)
def test_whatever_goes_to_a_tenant_goes_the_way_of_the_settings(
    limio: Run, command: tuple[str, ...], name: str, said: str
) -> None:
    result = limio(*command, env={"LIMIO_HOST": "acme.test", "LIMIO_API_KEY": "k", name: "none"})
    assert result.exit_code == 2
    assert said in result.stderr


def test_plain_http_is_a_setting_of_every_command(limio: Run) -> None:
    env = {"LIMIO_HOST": "http://acme.invalid", "LIMIO_API_KEY": "k"}
    assert limio("offers", "list", env=env).exit_code == 2
    result = limio("offers", "list", "--dry-run", env={**env, "LIMIO_PLAIN_HTTP": "1"})
    assert result.exit_code == 0
    assert "http://acme.invalid/api/offers" in result.stdout
    assert "http://acme.invalid is plain http" in result.stderr


def test_no_flag_takes_a_secret(limio: Run) -> None:
    for flag in ("--api-key", "--client-secret", "--token", "--session-token"):
        result = limio(flag, "hunter2", "offers", "list")
        assert result.exit_code == 2
        assert "hunter2" not in result.output


EMULATED = {
    "LIMIO_TIMEOUT": "7",
    "LIMIO_REQUESTS_PER_SECOND": "3",
    "LIMIO_HOST": "http://elsewhere.test",
    "LIMIO_CA_FILE": "none",
}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("place", ["environment", "profile"])
def test_an_emulator_in_the_process_is_asked_as_the_settings_say(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        for name, value in EMULATED.items():
            monkeypatch.setenv(name, value)
    else:
        Path("config.toml").write_text("[default]\ntimeout = 7\nrequests_per_second = 3\nhost = 'x'\n")
        monkeypatch.setenv("LIMIO_CONFIG", "config.toml")
    made: list[dict[str, object]] = []
    monkeypatch.setattr("limio_async.cli.settings.Limio", lambda **options: made.append(options))
    open_client(Flags(emulated=True))
    open_client(Flags(emulated=True, timeout=2.0))
    assert [(one["timeout"], one["requests_per_second"]) for one in made] == [(7.0, 3.0), (2.0, 3.0)]
    assert made[0].keys().isdisjoint({"host", "ssl"})


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("name", "value"),
    [("LIMIO_OTEL", "maybe"), ("LIMIO_TIMEOUT", "soon"), ("LIMIO_REQUESTS_PER_SECOND", "-1")],
)
def test_a_wrong_setting_is_named_also_where_an_emulator_is_asked(limio: Run, name: str, value: str) -> None:
    for args in (("--emulated", "offers", "list"), ("--emulated", "sync", "--to", "sqlite:///x.db")):
        result = limio(*args, env={name: value})
        assert result.exit_code == 2
        assert f"{name}: {value!r} is n" in result.stderr
