"""An address that cannot be parsed is never shown, not in part: any of it may be a password's rest."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.addresses import check_domain, check_scheduler, checked_proxy, is_plain_http
from harvester.errors import BadInput
from harvester.events import GONE, redact
from harvester.output.target import open_target
from tests.encord.recording import private_key_text
from tests.forked import run_forked

ODD = {
    "a slash": "pa/CANARY",
    "a slash after digits": "12/CANARY",
    "a hash": "pa#CANARY",
    "a question mark": "pa?CANARY",
    "an at": "pa@CANARY",
    "an at and a slash": "p@a/CANARY",
    "a space": "pa CANARY",
    "a tab": "pa\tCANARY",
    "a newline": "pa\nCANARY",
    "a stray percent": "pa%zzCANARY",
    "a percent at the end": "CANARY%",
    "a bracket": "pa[CANARY",
    "brackets": "[CANARY]",
    "not ASCII": "päCANARY",
    "a full-width slash": "pa／CANARY",
    "a backslash": "pa\\CANARY",
    "quotes": "pa'\"CANARY",
    "an angle bracket": "pa<CANARY>",
}
ADDRESSES = {
    **{name: f"http://user:{password}@127.0.0.1:9" for name, password in ODD.items()},
    "no user": "http://pa/CANARY@127.0.0.1:9",
    "no scheme": "user:CANARY@127.0.0.1:9",
    "a scheme that is none": "CANARY://user:CANARY@127.0.0.1:9",
    "a password for a port": "http://user:CANARY",
    "a port that is none": "http://user:CANARY@127.0.0.1:99999",
    "no host": "http://user:CANARY@",
    "a bad IPv6 address": "http://user:CANARY@[::1:9",
    "a path": "http://127.0.0.1:9/CANARY",
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_a_proxy_that_cannot_be_parsed_is_not_shown(address: str) -> None:
    """One line, always the same, whose cause says nothing either."""
    with pytest.raises(BadInput) as refused:
        checked_proxy("https", address)
    assert refused.value.message.startswith("the address of the proxy (HTTPS_PROXY or ALL_PROXY) cannot be")
    assert refused.value.__cause__ is None
    assert redact(refused.value.message) == refused.value.message


@pytest.mark.parametrize("transport", ["pooled", "sdk"])
@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_no_way_of_asking_takes_it(address: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both transports refuse it before they are made."""
    from harvester.encord.session import Session
    from harvester.settings import Connection

    for name in ("HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", address)
    with pytest.raises(BadInput, match="the address of the proxy") as refused:
        Session.open(Connection(ssh_key=private_key_text(), transport=transport))  # type: ignore[arg-type]
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("address", "scheme", "taken", "shown"),
    [
        ("http://127.0.0.1:9", "http", "http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("proxy.example:3128", "http", "http://proxy.example:3128", "http://proxy.example:3128"),
        ("proxy", "http", "http://proxy", "http://proxy"),
        ("HTTPS://user:p%2Fa@[::1]:31/", "https", "HTTPS://user:p%2Fa@[::1]:31/", "https://[::1]:31"),
        ("socks5h://me:p+a;s=s@host:1", "socks5h", "socks5h://me:p+a;s=s@host:1", "socks5h://host:1"),
        ("http://user@host", "http", "http://user@host", "http://host"),
    ],
)
def test_a_proxy_that_can_be_parsed_is_taken(address: str, scheme: str, taken: str, shown: str) -> None:
    """With a password whose special characters are percent-encoded, and without a scheme; shown without."""
    proxy = checked_proxy("https", address)
    assert (proxy.scheme, proxy.address, str(proxy)) == (scheme, taken, shown)
    assert taken == shown or taken not in repr(proxy)


def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """The command: its exit code, and all that it says and leaves behind."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HARVESTER_", "ENCORD_", "AWS_")) and not name.lower().endswith("_proxy")
    }
    environment |= {"ENCORD_SSH_KEY": private_key_text(), "TMPDIR": str(folder / "tmp")}
    done = run_forked(*arguments, environment=environment | variables, folder=folder)
    left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return done.returncode, done.stdout + done.stderr + left.decode(errors="replace")


@pytest.mark.parametrize("transport", ["pooled", "sdk"])
@pytest.mark.parametrize("password", ["a slash", "a hash", "a question mark", "an at and a slash"])
def test_a_proxy_s_password_reaches_nobody(tmp_path: Path, password: str, transport: str) -> None:
    """The installed command, with and without tracebacks: exit code 2, and no file with a traceback."""
    for flags in ((), ("--debug",)):
        code, said = run(
            tmp_path, "projects", "--transport", transport, "--log-level", "debug", *flags,
            HTTPS_PROXY=f"http://user:{ODD[password]}@127.0.0.1:9",
        )  # fmt: skip
        assert code == 2
        assert said.splitlines()[-1].startswith(
            "harvester: the address of the proxy (HTTPS_PROXY or ALL_PROXY)"
        )
        assert bool(flags) or said.count("\n") == 1
        assert "CANARY" not in said


@pytest.mark.parametrize("transport", ["pooled", "sdk"])
def test_a_proxy_that_does_not_answer_is_not_shown_either(tmp_path: Path, transport: str) -> None:
    """Its address can be parsed, and its password is nobody's business."""
    code, said = run(
        tmp_path, "projects", "--transport", transport, "--log-level", "debug", "--debug",
        HTTPS_PROXY="http://user:CANARY%2Fp@127.0.0.1:9",
    )  # fmt: skip
    assert code == 5
    assert "CANARY" not in said


OTHERS = {
    "the domain": (("projects",), "ENCORD_DOMAIN"),
    "the domain's flag": (("projects",), "HARVESTER_DOMAIN"),
    "a scheduler": (("export", "p", "-o", "out", "--engine", "dask"), "HARVESTER_SCHEDULER"),
    "an object store": (("verify", "s3://bucket/out"), "AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize("given", OTHERS)
def test_no_other_address_is_shown(tmp_path: Path, given: str) -> None:
    """Of the platform, a cluster, an object store: refused in a line before anything is asked."""
    arguments, variable = OTHERS[given]
    for password in ("pa/CANARY", "12/CANARY", "pa#CANARY"):
        code, said = run(tmp_path, *arguments, **{variable: f"http://user:{password}@127.0.0.1:9"})
        assert (code, said.count("\n")) == (2, 1), said
        assert "CANARY" not in said.upper()


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_what_is_refused_of_others_is_not_quoted(address: str) -> None:
    """Whatever is wrong with it, a host that is not allowed too: only what holds it is named."""
    for check in (check_domain, check_scheduler, lambda text: is_plain_http("AWS_ENDPOINT_URL", text)):
        with pytest.raises(BadInput) as refused:
            check(address.replace("127.0.0.1", "canary.example/#@"))
        assert "canary" not in refused.value.message.lower()
        assert refused.value.__cause__ is None


def test_an_object_store_s_address_that_is_given_as_a_path_is_not_quoted() -> None:
    """A path has lost a slash of it, so that no user is seen in it any more."""
    with pytest.raises(BadInput) as refused:
        open_target(Path("s3://key:CANARY@bucket/out"))
    assert "CANARY" not in refused.value.message


PASSWORDS = st.text(string.ascii_letters + string.digits + "/#?@:%&=+,;'[]{}()|\\^~!$*", min_size=1)


@given(before=PASSWORDS, after=PASSWORDS, host=st.sampled_from(["127.0.0.1:9", "host", "[::1]:1/path"]))
def test_a_password_in_an_address_is_redacted_whatever_it_holds(before: str, after: str, host: str) -> None:
    """All but spaces and double quotes; what stands around the address stays."""
    text = redact(f"asked http://user:{before}CANARY{after}@{host} twice")
    assert "CANARY" not in text
    assert text.startswith(f"asked http://{GONE}@")
    assert text.endswith(" twice")


@pytest.mark.parametrize(
    "text", ["s3://bucket/labels@v2/out", "https://host/people/me@example.com", "mail me@example.com: now"]
)
def test_an_at_in_a_path_is_no_user(text: str) -> None:
    """What has no colon before its first slash is shown as it is."""
    assert redact(text) == text
