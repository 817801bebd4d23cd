"""One table says which variables are read: `from_env`, the command line, its profile file and the page go by it."""

from __future__ import annotations

import inspect
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from limio_async import ApiKey, BearerToken, Limio, NoAuth, errors
from limio_async.cli.settings import Flags, open_client, settings
from limio_async.client import ClientOptions
from limio_async.emulator import InMemoryTransport, World
from limio_async.environment import SETTINGS, auth_from

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
HOST = {"LIMIO_HOST": "acme.test"}
SECRET = "canary-secret"


class Made(Limio):
    """Remembers what it was made of."""

    def __init__(self, host: str | None = None, **options: Any) -> None:
        super().__init__(host, **options)
        self.made_of = {"host": host, **options}


def made_of(environ: Mapping[str, str], **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = Made.from_env(environ, **options).made_of
    return found


def test_from_env_takes_every_argument_of_a_client() -> None:
    assert get_type_hints(ClientOptions).keys() == inspect.signature(Limio).parameters.keys()


def test_the_page_has_the_table() -> None:
    rows = [f"| `{one.name}` | `{one.keyword}` | {one.help} |" for one in SETTINGS]
    assert re.findall(r"^\| `LIMIO_.*$", PAGE, re.MULTILINE) == rows


def test_the_page_names_every_variable_that_is_read_anywhere() -> None:
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "limio_async").rglob("*.py")]
    read = set(re.findall(r"\bLIMIO_[A-Z_]+[A-Z]\b", "".join(sources)))
    assert read == set(re.findall(r"\bLIMIO_[A-Z_]+[A-Z]\b", PAGE))


def test_the_command_line_reads_the_whole_table_and_so_does_its_profile_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    given = {one.name: "true" if one.kind == "true or false" else "1" for one in SETTINGS}
    del given["LIMIO_CLIENT_SECRET_FILE"]  # goes without the secret itself
    found = settings(Flags(), {**given, "LIMIO_CONFIG": os.devnull})
    assert found == {one.key: given[one.name] for one in SETTINGS if one.name in given}
    lines = [f"{key} = {value if key in NOT_TEXT else repr(value)}" for key, value in found.items()]
    file.write_text("[default]\n" + "\n".join(lines), encoding="utf-8")
    file.chmod(0o600)
    flags = {one.key: "True" for one in SETTINGS if one.kind == "true or false"}
    assert settings(Flags(), {"LIMIO_CONFIG": str(file)}) | {"ca_file": "1"} == {**found, **flags}


NOT_TEXT = {one.key for one in SETTINGS if one.kind != "a string"}


def test_the_environment_gives_what_the_arguments_give(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme", reason="trustme makes the private CA; the dev group has it")
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    environ = {
        "LIMIO_HOST": " http://limio.internal:8642/\n",
        "LIMIO_TOKEN": "t",
        "LIMIO_TIMEOUT": "2.5",
        "LIMIO_REQUESTS_PER_SECOND": "4",
        "LIMIO_PROXY": "http://user:secret@proxy.internal:3128",
        "LIMIO_CA_FILE": str(ca),
        "LIMIO_PLAIN_HTTP": "Yes",
    }
    found = made_of(environ)
    context, auth = found.pop("ssl"), found.pop("auth")
    assert found == {
        "host": "http://limio.internal:8642/",
        "timeout": 2.5,
        "requests_per_second": 4.0,
        "proxy": "http://user:secret@proxy.internal:3128",
        "plain_http": True,
    }
    assert isinstance(auth, BearerToken)
    assert len(context.get_ca_certs()) == 1  # instead of the system's
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_keyword_wins_over_its_variable_which_is_not_even_looked_at() -> None:
    wrong = {
        "LIMIO_HOST": "http://elsewhere.test",
        "LIMIO_CLIENT_SECRET": "without an id",
        "LIMIO_TIMEOUT": "soon",
        "LIMIO_REQUESTS_PER_SECOND": "-1",
        "LIMIO_PROXY": "nowhere",
        "LIMIO_CA_FILE": "none.pem",
        "LIMIO_PLAIN_HTTP": "perhaps",
    }
    chosen: dict[str, Any] = {
        "host": "acme.test",
        "auth": ApiKey("k"),
        "timeout": 3.0,
        "requests_per_second": None,
        "proxy": None,
        "ssl": None,
        "plain_http": False,
        "attempts": 5,
        "plain_item_paths": True,
    }
    assert made_of(wrong, **chosen) == chosen


def test_what_is_empty_counts_as_not_set() -> None:
    found = made_of({**HOST, **{one.name: " " for one in SETTINGS if one.name != "LIMIO_HOST"}})
    assert isinstance(found.pop("auth"), NoAuth)
    assert found == {"host": "acme.test"}


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF"])
def test_plain_http_can_be_refused_in_words(word: str) -> None:
    assert made_of({**HOST, "LIMIO_PLAIN_HTTP": word})["plain_http"] is False
    with pytest.raises(errors.ConfigurationError, match="plain http is for this machine only"):
        Limio.from_env({"LIMIO_HOST": "http://acme.test", "LIMIO_PLAIN_HTTP": word})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LIMIO_TIMEOUT": "soon"}, "LIMIO_TIMEOUT: 'soon' is not a number above 0"),
        ({"LIMIO_TIMEOUT": "nan"}, "LIMIO_TIMEOUT: 'nan' is not"),
        ({"LIMIO_TIMEOUT": "inf"}, "LIMIO_TIMEOUT: 'inf' is not"),
        ({"LIMIO_REQUESTS_PER_SECOND": "0"}, "LIMIO_REQUESTS_PER_SECOND: '0' is not"),
        ({"LIMIO_PLAIN_HTTP": "perhaps"}, "LIMIO_PLAIN_HTTP: 'perhaps' is none of 1, true, yes"),
        ({"LIMIO_CA_FILE": "none.pem"}, "LIMIO_CA_FILE: cannot read none.pem: No such file"),
        ({"LIMIO_CA_FILE": "."}, "LIMIO_CA_FILE: "),
        ({"LIMIO_CA_FILE": os.devnull}, "LIMIO_CA_FILE: /dev/null holds no certificates"),
        ({"LIMIO_CA_FILE": __file__}, "holds no certificates"),
        ({"LIMIO_CA_FILE": "a\0b"}, "LIMIO_CA_FILE: "),
        ({"LIMIO_PROXY": f"user:{SECRET}@proxy"}, "the proxy is a URL such as"),
        (
            {"LIMIO_CLIENT_ID": "id", "LIMIO_CLIENT_SECRET_FILE": "none"},
            "cannot read the secret file none: No such",
        ),
        (
            {"LIMIO_CLIENT_ID": "id", "LIMIO_CLIENT_SECRET": SECRET, "LIMIO_CLIENT_SECRET_FILE": "none"},
            "LIMIO_CLIENT_SECRET and LIMIO_CLIENT_SECRET_FILE are both set",
        ),
        ({"LIMIO_CLIENT_ID": "id"}, "LIMIO_CLIENT_SECRET is not set"),
        ({"LIMIO_CLIENT_SECRET_FILE": "x"}, "LIMIO_CLIENT_ID is not set"),
    ],
)
def test_a_wrong_variable_is_named_at_once_also_on_the_command_line(
    environ: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(errors.ConfigurationError, match=re.escape(said)) as caught:
        Limio.from_env({**HOST, **environ})
    assert SECRET not in str(caught.value)
    for name in [name for name in os.environ if name.startswith("LIMIO_")]:
        monkeypatch.delenv(name)
    for name, value in {**HOST, "LIMIO_CONFIG": os.devnull, "LIMIO_TOKEN_FILE": str(tmp_path / "t")}.items():
        monkeypatch.setenv(name, value)
    for name, value in environ.items():
        if "\0" not in value:
            monkeypatch.setenv(name, value)
    if environ.keys() == {"LIMIO_CLIENT_ID"} or any("\0" in value for value in environ.values()):
        return  # where somebody signed in, the id goes without a secret
    with pytest.raises(Exception, match=re.escape(said)):
        open_client(Flags())


def test_a_transport_goes_its_own_way_but_to_no_other_host_than_the_credentials_are_for() -> None:
    transport = InMemoryTransport(World())
    environ = {"LIMIO_PROXY": "http://proxy.test:1", "LIMIO_CA_FILE": "none.pem", "LIMIO_TOKEN": "t"}
    assert Limio.from_env(environ, transport=transport).origin == "https://limio.emulated"
    with pytest.raises(errors.ConfigurationError, match=r"the host is https://acme\.test"):
        Limio.from_env({**environ, **HOST}, transport=transport)


SECRETS = {
    "LIMIO_API_KEY": SECRET,
    "LIMIO_CLIENT_ID": "id",
    "LIMIO_CLIENT_SECRET": SECRET,
    "LIMIO_TOKEN": SECRET,
    "LIMIO_SESSION_TOKEN": SECRET,
    "LIMIO_PROXY": f"http://user:{SECRET}@proxy.test:3128",
}
FAULTS = [
    {"LIMIO_HOST": ""},
    {"LIMIO_HOST": "http://acme.test"},
    {"LIMIO_TIMEOUT": "soon"},
    {"LIMIO_REQUESTS_PER_SECOND": "-1"},
    {"LIMIO_PROXY": f"socks5://user:{SECRET}@proxy.test"},
    {"LIMIO_CA_FILE": "none.pem"},
    {"LIMIO_PLAIN_HTTP": "perhaps"},
    {"LIMIO_OTEL": "maybe"},
    {"LIMIO_CLIENT_ID": ""},
    {"LIMIO_API_KEY": f"two {SECRET}"},
    {"LIMIO_TOKEN": f"two {SECRET}"},
    {"LIMIO_SESSION_TOKEN": f"two {SECRET}"},
]


def shown(error: BaseException) -> str:
    """What a crash reporter that shows variables shows below the caller, who has the environment himself."""
    one: BaseException | None = error
    told = ""
    while one is not None:
        trace = one.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename != __file__:
                told += repr(trace.tb_frame.f_locals)
            trace = trace.tb_next
        one = one.__cause__ or one.__context__
    return f"{error!r} {told}"


@pytest.mark.parametrize("given", [True, False], ids=["a mapping", "os.environ"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: next(iter(fault)))
def test_no_variable_of_a_traceback_holds_what_the_environment_has(
    fault: dict[str, str], given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {**HOST, **SECRETS, **fault}
    for name, value in ({} if given else environ).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.ConfigurationError) as caught:
        Limio.from_env(environ if given else None)
    assert SECRET not in shown(caught.value)
    if fault.keys() <= {"LIMIO_CLIENT_ID", "LIMIO_API_KEY", "LIMIO_TOKEN", "LIMIO_SESSION_TOKEN"}:
        with pytest.raises(errors.ConfigurationError) as caught:
            auth_from(environ if given else os.environ)
        assert SECRET not in shown(caught.value)
