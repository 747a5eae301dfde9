"""`broker demo`: the whole story with real processes, and nothing left behind however it ends."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright

from broker.cli.demo.command import run
from broker.cli.demo.exchange import Exchange, Trace, http_client, shortened
from broker.cli.demo.narration import Narrator
from broker.cli.demo.person import NoSuchButton, Person, buttons
from broker.cli.demo.processes import Processes, ProcessFailed, python_module
from broker.cli.demo.stage import Stage
from broker.cli.demo.strongroom import Search, Strongroom
from tests.waiting import until

_SECRET = re.compile(r"\b(?:pat|prt|pac|bat|brt|bcs|ref)_[A-Za-z0-9_-]{9,}")
_READY = "Ctrl-C ends everything"
_CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update"]
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Demo:
    """A `broker demo` process, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.printed = ""

    def read_until(self, text: str) -> str:
        """Read up to the line that holds ``text``; answers that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in:\n{self.printed}")

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given; read the rest and tell the exit code."""
        if number is not None:
            self.process.send_signal(number)
        self.printed += self.process.communicate()[0]
        return self.process.returncode

    def pid(self, program: str) -> int:
        """The process id that was printed for a program."""
        found = re.search(rf"{program} +(\d+) ", self.printed)
        assert found, self.printed
        return int(found[1])

    def assert_nothing_runs(self) -> None:
        """Every process that was named is gone, and nobody listens on an address that was named."""
        pids = re.findall(r"^ +(?:Practice provider|Broker|Embedded store) +(\d+) ", self.printed, re.MULTILINE)
        origins = set(re.findall(r"http://127\.0\.0\.1:\d+", self.printed))
        assert len(pids) == 3
        for pid in map(int, pids):
            # An orphan has ended before whoever adopts it has taken note.
            until(lambda: not _exists(pid))  # noqa: B023 - awaited here
        for origin in origins:
            with pytest.raises(httpx2.ConnectError):
                httpx2.get(origin, trust_env=False)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def scratch() -> Iterator[Path]:
    """The folder for temporary files of a demo, which has to be empty again in the end."""
    # Not below tmp_path: the path of a unix socket must be short.
    with TemporaryDirectory() as folder:
        yield Path(folder)
        assert list(Path(folder).iterdir()) == []


@contextmanager
def demo(scratch: Path, *flags: str, cwd: Path | None = None, **variables: str) -> Iterator[Demo]:
    """`broker demo`, told to end if it still runs in the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "broker.cli.main", "demo", *flags],
        cwd=cwd,
        env={**os.environ, "TMPDIR": str(scratch), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Demo(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate()


def unwrapped(printed: str) -> str:
    """What was printed, with lines that were broken joined again."""
    return re.sub(r"\s*\n\s*", "", printed)


def test_the_story_is_told_to_its_end(scratch: Path, tmp_path: Path) -> None:
    """`demo --once` plays all ten steps, exits 0, shows no full secret, and leaves neither process nor file.

    The developer's own settings, be it variables or `.env`, don't reach it: their broker is not touched.
    """
    # K1
    (tmp_path / ".env").write_text("BROKER_REDIS_URL=redis://127.0.0.1:1\n")
    with demo(scratch, "--once", cwd=tmp_path, BROKER_DATA_DIR=str(tmp_path / "own"), BROKER_WORKERS="x") as told:
        assert told.end() == 0, told.printed
    assert not (tmp_path / "own").exists()
    told.assert_nothing_runs()
    assert re.findall(r"^ ?(\d+)  \S", told.printed, re.MULTILINE) == [str(number) for number in range(1, 11)]
    assert told.printed.count("Why: ") == 10
    assert "all of them hold" in told.printed
    # What is shown of a secret is its beginning, also where a line was broken in it.
    assert re.search(r"pat_\S{4}…", told.printed)
    assert re.search(r"ref_\S{4}…", told.printed)
    assert "prt_" not in told.printed
    assert _SECRET.findall(told.printed) == []
    assert _SECRET.findall(unwrapped(told.printed)) == []


def test_a_secret_that_begins_with_a_dash_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """One random secret in 64 begins so; the practice provider and the broker take it like any other."""
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: "-" + "s" * size)
    with Stage() as stage:
        assert len(stage.start()) == 2


def test_a_killed_broker_is_named(scratch: Path) -> None:
    """Whoever dies is named with what killed it, and the demo ends with 1; the orphaned store is ended, too."""
    with demo(scratch, "--once") as told:
        # Not before: the commands that register the clients would end an orphaned store themselves.
        told.read_until("opens a connect session")
        os.kill(told.pid("Broker"), signal.SIGKILL)
        assert told.end() == 1, told.printed
    assert f"Broker (process {told.pid('Broker')}) was ended by SIGKILL" in told.printed
    assert "all of them hold" not in told.printed
    told.assert_nothing_runs()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_story_that_is_cut_short_leaves_nothing(scratch: Path, number: signal.Signals, exit_code: int) -> None:
    """Ctrl-C and SIGTERM in the middle end everything, and the exit code says so."""
    with demo(scratch, "--once") as told:
        told.read_until("opens a connect session")
        assert told.end(number) == exit_code
    assert "Traceback" not in told.printed
    told.assert_nothing_runs()


def test_a_claim_that_does_not_hold_ends_the_story(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step, what was expected, what came, and the end of the log are printed; the exit code is 1."""
    monkeypatch.setattr(Strongroom, "search", lambda *_: Search(keys=1, files=1, size=1, found=7))
    assert run(once=True) == 1
    printed = capsys.readouterr().out
    assert "Step 9 failed" in printed
    assert re.search(r"expected: 0 +│\n.*got: +7 ", printed)
    assert "the end of broker.log" in printed
    assert "all of them hold" not in printed


def test_without_once_a_person_and_curl_take_over(scratch: Path) -> None:
    """It stays up: the app's buttons work, so do the lines for the shell as printed, and Ctrl-C ends it with 0."""
    with demo(scratch) as told:
        app = re.findall(r"open (http://\S+) and", told.read_until(_READY))[0]
        told.read_until("-X DELETE")
        lines = told.printed[told.printed.index("BROKER=") :]
        with httpx2.Client(trust_env=False) as browser:
            alice = Person(browser)
            _connect(alice, app)
            assert "Berth 14" in alice.page.text
            for label in ("Fetch again", "Let the token expire"):
                alice.press(label)
                alice.follow()
                assert "Berth 14" in alice.page.text
            told.read_until("← 401  Acme worker → provider  GET /api/messages")
            answers = _shell(lines)
            assert answers["events"]
            assert answers["messages"][1]["text"].startswith("Berth 14")
            assert answers["upstream"]["outcome"] == "revoked"
            # The app learns of it by asking: nothing it kept could still be used.
            alice.press("Fetch again")
            alice.follow()
            assert "The connection was ended." in alice.page.text
            assert "Berth 14" not in alice.page.text
            # Connecting again works, and so does disconnecting by the app's own button.
            _press_through(alice)
            assert "Berth 14" in alice.page.text
            alice.press("Disconnect")
            alice.follow()
            assert "Connect your mailbox" in alice.page.text
            alice.press("Sign out")
            assert "Who are you today?" in alice.follow().text
        assert told.end(signal.SIGINT) == 0
    assert "nothing was left behind" in told.printed
    told.assert_nothing_runs()


def test_less_than_was_asked_for_is_connected_and_can_be_widened() -> None:
    """Without the scope for reading, the app says so; connecting again renews the same connection, and it reads."""
    with Stage() as stage, httpx2.Client(trust_env=False) as browser:
        stage.start()
        stage.register()
        stage.open_app()
        alice = Person(browser)
        alice.open(stage.app_url)
        alice.press("Alice")
        alice.follow()
        for label in ("Connect your mailbox", "Continue"):
            alice.press(label)
            alice.follow()
        (allow,) = (button for button in buttons(alice.page.text) if button.label == "Allow")
        allow.fields["scope"].remove("messages.read")
        answered = browser.post(str(alice.page.url.join(allow.action)), data=allow.form())
        alice.open(answered.headers["location"])
        while alice.sent_to:
            alice.follow()
        assert alice.page.status_code == 200
        assert "Connected, but Acme Inbox may not read" in alice.page.text
        (connection,) = re.findall(r"con_\w+", alice.page.text.partition("What just went")[0])
        _press_through(alice, "Connect again")
        assert "Berth 14" in alice.page.text
        assert f"<code>{connection}</code>" in alice.page.text


@pytest.mark.browser
def test_the_way_works_in_a_real_browser(scratch: Path) -> None:
    """Chromium passes from the app over the broker and the provider and back; no page breaks its own policy."""
    complaints: list[str] = []
    with demo(scratch) as told, sync_playwright() as playwright:
        app = re.findall(r"open (http://\S+) and", told.read_until(_READY))[0]
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        with playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM_FLAGS) as browser:
            page = browser.new_page(viewport={"width": 390, "height": 844}, java_script_enabled=False)
            page.on("console", lambda message: complaints.append(message.text))
            page.goto(app)
            for button in ("Alice", "Connect your mailbox", "Continue", "Allow", "Let the token expire and fetch"):
                page.get_by_role("button", name=button).click()
            page.get_by_text("Berth 14").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert told.end(signal.SIGTERM) == 143
    assert complaints == []


def _connect(person: Person, app: str) -> None:
    person.open(app)
    person.press("Alice")
    person.follow()
    _press_through(person)


def _press_through(person: Person, first: str = "Connect your mailbox") -> None:
    person.press(first)
    person.follow()
    person.press("Continue")
    person.follow()
    person.press("Allow")
    while person.sent_to:
        person.follow()


def _shell(lines: str) -> dict[str, Any]:
    """Run lines as a developer would paste them; answers what they printed, by what it is."""
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=True)
    connections, messages, events, ended = map(json.loads, done.stdout.splitlines())
    assert len(connections["items"]) == 1
    return {"messages": messages["messages"], "events": events["items"], "upstream": ended["upstream"]}


@given(
    prefix=st.sampled_from(["bat", "brt", "bcs", "ref", "pat", "prt", "pac"]),
    secret=st.text(_ALPHABET, min_size=30, max_size=70),
    around=st.sampled_from(["%s", "Bearer %s", '{"a": "%s"}', "x=%s&y=1"]),
)
def test_a_secret_is_shortened_wherever_it_stands(prefix: str, secret: str, around: str) -> None:
    """Four characters of it stay, whatever they are."""
    # K1
    assert shortened(around % f"{prefix}_{secret}") == around % f"{prefix}_{secret[:4]}…"


def test_a_word_that_looks_similar_is_not_shortened() -> None:
    """Ids and ordinary words stay whole."""
    assert shortened("con_4MH9xq1234567890123456 reference_uri") == "con_4MH9xq1234567890123456 reference_uri"


def test_an_exchange_is_heard_without_its_secrets() -> None:
    """Whoever listens hears who asked whom for what, and only the beginning of what is secret in it."""
    # K1
    heard: list[Exchange] = []
    client = http_client("App", {"https://broker.example": "broker"}, heard.append)
    token, code = "pat_" + "t" * 43, "c" * 43

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"access_token": token, "nested": {"client_secret": "s" * 40}})

    client._transport = httpx2.MockTransport(answer)
    client.post(
        f"https://broker.example/oauth/token?code={code}", data={"completion_code": code}, auth=("cl_1", "password")
    )
    (exchange,) = heard
    assert (exchange.caller, exchange.callee, exchange.method, exchange.status) == ("App", "broker", "POST", 200)
    assert exchange.credentials == "Basic cl_1:…"
    assert exchange.target == "/oauth/token?code=cccc…"
    assert exchange.sent == {"completion_code": "cccccccc…"}
    assert exchange.answered == {"access_token": "pat_tttt…", "nested": {"client_secret": "ssssssss…"}}


def test_a_trace_hands_over_whole_lines(tmp_path: Path) -> None:
    """Every exchange is read once, and never half."""
    trace, reader = Trace(tmp_path / "trace"), Trace(tmp_path / "trace")
    assert reader.new() == []
    exchange = Exchange("a", "b", "GET", "/", "", {}, 200, {"x": "ü"})
    trace.write(exchange)
    trace.write(exchange)
    line = (tmp_path / "trace").read_bytes()
    with (tmp_path / "trace").open("ab") as file:
        file.write(line[:20])
    assert reader.new() == [exchange, exchange]
    assert reader.new() == []
    with (tmp_path / "trace").open("ab") as file:
        file.write(line.splitlines(keepends=True)[0][20:])
    assert reader.new() == [exchange]


def test_a_button_sends_its_form() -> None:
    """Hidden fields, what is checked, and the button's own value are sent; what is unchecked is not."""
    page = """<form action="/go"><input type=hidden name=t value=1><button name="d" value="yes">  Go
      <b>on</b></button><input type=checkbox name=s value=a checked><input type=checkbox name=s value=b></form>
      <form action="/no"><button>Stop</button></form>"""
    go, stop = buttons(page)
    assert (go.label, go.action, go.form()) == ("Go on", "/go", {"t": ["1"], "s": ["a"], "d": ["yes"]})
    assert (stop.label, stop.action, stop.form()) == ("Stop", "/no", {})


def test_a_button_that_is_not_there_is_missed() -> None:
    """A person does not press what the page does not have."""
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, text="<p>Sorry"))) as browser:
        person = Person(browser)
        person.open("http://127.0.0.1/x")
        with pytest.raises(NoSuchButton, match="the page at /x has no button 'Continue'"):
            person.press("Continue")


@pytest.mark.parametrize(
    "plant",
    [
        lambda store, token: store.set("k", f"x{{{token}}}"),
        lambda store, token: store.hset("k", "f", token),
        lambda store, token: store.zadd("k", {token: 1}),
        lambda store, token: store.sadd("k", token),
        lambda store, token: store.xadd("k", {"f": token}),
        lambda store, token: store.set(token, "v"),
    ],
    ids=["string", "hash", "sorted set", "set", "stream", "name"],
)
def test_a_planted_token_is_found_in_the_store(
    raw_store: redis.Redis, tmp_path: Path, plant: Callable[[redis.Redis, str], None]
) -> None:
    """The search that finds nothing in the demo would find a token, in every kind of value."""
    # K1
    strongroom = Strongroom(raw_store, tmp_path)
    assert strongroom.search().found == 0
    plant(raw_store, "pat_" + "x" * 43)
    assert strongroom.search().found == 1


def test_a_planted_token_is_found_in_a_file(raw_store: redis.Redis, tmp_path: Path) -> None:
    """Files of the data directory are searched, too: for shapes of tokens, and for what is asked."""
    # K1
    strongroom = Strongroom(raw_store, tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text("prt_" + "x" * 43 + " needle")
    assert strongroom.search().found == 1
    assert strongroom.search(["needle"]).found == 2


def test_a_program_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    """Waiting for a program ends when it does, with its exit code."""
    processes = Processes(tmp_path, dict(os.environ))
    command = python_module("broker.sandbox", "--host", "somewhere.example")
    program = processes.start("Some program", "http://127.0.0.1:1", command)
    with pytest.raises(ProcessFailed, match=r"Some program \(process \d+\) ended with exit code 2"):
        processes.wait_ready(program, "/")
    processes.end()
    assert "loopback only" in program.log.read_text()


def test_a_program_that_is_just_ending_is_named(tmp_path: Path) -> None:
    """Who sees a connection break may see it before the process has ended; the cause is named all the same."""
    processes = Processes(tmp_path, dict(os.environ))
    processes.start("Some program", "http://127.0.0.1:1", ["sh", "-c", "sleep 0.2; kill -KILL $$"])
    processes.check()
    with pytest.raises(ProcessFailed, match=r"Some program \(process \d+\) was ended by SIGKILL"):
        processes.check_after_fault()
    processes.end()


def test_the_narration_of_a_failure_shortens_secrets(tmp_path: Path) -> None:
    """Neither an error's text nor a log's tail brings a full secret to the terminal."""
    # K1
    log, stream = tmp_path / "broker.log", StringIO()
    log.write_text("\n".join(f"line {number}" for number in range(40)) + "\nbat_" + "x" * 43 + "\n")
    narrator = Narrator(stream)
    narrator.step("A step", "because.")
    narrator.failure("got: pat_" + "y" * 43, [log])
    printed = stream.getvalue()
    assert "Step 1 failed" in printed
    assert "bat_xxxx…" in printed
    assert "pat_yyyy…" in printed
    assert "line 39" in printed
    assert "line 3\n" not in printed
    assert _SECRET.findall(unwrapped(printed)) == []
