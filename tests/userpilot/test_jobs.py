"""Export jobs: one at a time, other people's never used, and each way in which one can end."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from filetap.errors import AuthenticationError, JobError, SettingsError, TransportError
from filetap.redaction import SECRECY
from tap_userpilot.documented import EVENT_TYPES, EVENTS
from tap_userpilot.emulated_files import Form
from tap_userpilot.sample_data import events_of
from tap_userpilot.tap import TapUserpilot
from tap_userpilot.vendor import USERPILOT
from tests.runs import merged
from tests.userpilot.vendor import FIRST, asked, emulated, keys, marks, run, sample, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_userpilot.emulator import Emulator

HOUR = timedelta(hours=1)


def check_all(userpilot: Emulator, **more: object) -> None:
    """Check that a run emits every event once."""
    done = run(userpilot, **more)  # type: ignore[arg-type]
    assert marks(done.records(EVENTS)) == truth(userpilot.jobs.events)


@contextmanager
def once(is_so: Callable[[], bool], change: Callable[[], None]) -> Iterator[None]:
    """Change something beside a run as soon as something is so, however fast the run is."""
    over = threading.Event()

    def watch() -> None:
        while not is_so():
            if over.wait(0.001):
                return
        change()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def test_foreign_job() -> None:
    """A job of somebody else is waited for, and never used."""
    with emulated(3) as userpilot:
        request = {"from": "2020-01-01", "to": "2020-01-02"}
        userpilot.jobs.takes = HOUR
        foreign = userpilot.jobs.start(request, userpilot.now(), foreign=True)
        userpilot.jobs.takes = timedelta()
        with once(
            lambda: userpilot.count("create") > 1,
            lambda: setattr(foreign, "takes", timedelta()),
        ):
            check_all(userpilot)
        assert userpilot.count("create") > 1
        assert f"/api/v1/analytics/exports/jobs/{foreign.id}" not in {
            request.path for request in userpilot.requests
        }


@pytest.mark.parametrize("faults", [[{"part": 300}], [{"drop_after": 500}, {"part": 300}]], ids=str)
def test_parts(faults: list[dict[str, Any]]) -> None:
    """A file of no stated size is whole only once its last byte has come."""
    with emulated(3, form=Form(members=0)) as userpilot:
        for fault in faults:
            userpilot.bucket.fail("download", **fault)
        check_all(userpilot)


def test_job_wait() -> None:
    """A job that runs longer than job_wait is named, with when it was started."""
    with emulated(3, takes=None) as userpilot:
        foreign = userpilot.jobs.start({"from": "2020-01-01", "to": "2020-01-02"}, userpilot.now())
        with pytest.raises(
            JobError, match=rf"job {foreign.id} .started 2026-04-30T06:00:00.*still"
        ):
            run(userpilot, job_wait=0)


def test_lost_answer() -> None:
    """A job whose id was lost is waited for like any other; one job is wasted."""
    with emulated(3, takes=timedelta(seconds=0)) as userpilot:
        userpilot.fail("create", drop_after=-1)
        check_all(userpilot)
        assert len(userpilot.jobs.made) == 2


@pytest.mark.parametrize("times", [1, 3, 4])
def test_failed(times: int) -> None:
    """A failed job is asked for again, three times; then one error names it."""
    with emulated(3, fail_next=times) as userpilot:
        if times < 4:
            check_all(userpilot)
            assert len(userpilot.jobs.made) == times + 1
            return
        with pytest.raises(JobError, match=r"2026-04-27T00:00:00Z.* failed; .* again 3 times"):
            run(userpilot)


@pytest.mark.parametrize("requests", [2, 40])
def test_missing_chunk(requests: int) -> None:
    """A job is complete with its last chunk only; a partial one is never used."""
    with emulated(5, lack_next=requests) as userpilot:
        jobs = userpilot.jobs
        with once(lambda: bool(jobs.made), lambda: setattr(jobs, "lack_next", 0)):
            check_all(userpilot)
        assert len(userpilot.jobs.made) >= 1 + (requests > 12)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"details": None, "message": "unknown event type session_start"}),
        (400, {"details": "event_type is invalid", "message": "session_start is not allowed"}),
        (400, {"details": {"event_type": ["session_start is invalid"]}, "message": "bad request"}),
        (422, {"details": f"{'x' * 320} session_start", "message": "bad request"}),
    ],
    ids=["message", "beside", "object", "late"],
)
def test_new_type(status: int, error: dict[str, object]) -> None:
    """An API that does not know session_start is asked for the six other types, however it says."""
    with emulated(3) as userpilot:
        userpilot.fail("create", status=status, body=json.dumps({"errors": [error]}))
        assert run(userpilot).records(EVENTS)
        (job,) = userpilot.jobs.made
        assert job.request["event_type"] == list(EVENT_TYPES[:-1])


def test_too_long() -> None:
    """A range that Userpilot finds too long is halved down to a day, and then it is an error."""
    with emulated(12, 3, longest=7) as userpilot:
        check_all(userpilot)
        assert asked(userpilot)[:2] == [("2026-04-26", "2026-04-30"), ("2026-04-28", "2026-05-03")]
        userpilot.jobs.longest = 2
        with pytest.raises(TransportError, match="must not exceed 2 days; set window_days lower"):
            run(userpilot)


def test_missing_month_before() -> None:
    """The month of the day before a window must be planned, too: days may be of another zone."""
    with emulated(9) as userpilot:
        chunks = userpilot.jobs.chunks
        userpilot.jobs.chunks = lambda job: chunks(job)[1:]  # type: ignore[method-assign]
        with pytest.raises(JobError, match="completed without the chunk 2026-04-01"):
            run(userpilot, start_date="2026-05-01T00:00:00Z", job_timeout=0.05)


def test_stuck() -> None:
    """A job that does not end is kept, and found again by the next run."""
    with emulated(3, takes=None) as userpilot:
        with pytest.raises(JobError, match=r"still in_progress .* after 0.05 seconds") as caught:
            run(userpilot, job_timeout=0.05)
        (job,) = userpilot.jobs.made
        job.takes = timedelta()
        state = caught.value.run.state  # type: ignore[attr-defined]
        assert state["bookmarks"][EVENTS]["job"]["id"] == job.id
        done = run(userpilot, state)
        assert len(keys(done)) == 24
        assert len(userpilot.jobs.made) == 1
        assert "job" not in done.state["bookmarks"][EVENTS]


@pytest.mark.parametrize(("hours", "jobs"), [(30, 1), (50, 2), (80, 2)])
def test_interrupted_for_days(hours: int, jobs: int) -> None:
    """An open job is reused while its files exist; later it is asked for again."""
    with emulated(3) as userpilot:
        userpilot.fresh_urls = False
        cut = run(userpilot, most=8)
        userpilot.now.move(hours=hours)  # type: ignore[attr-defined]
        userpilot.jobs.events.sort(key=lambda event: event.at)
        rest = run(userpilot, cut.state, lookback_days=0)
        assert set(keys(cut)) | set(keys(rest)) == set(keys(run(userpilot)))
        assert asked(userpilot)[:jobs] == [("2026-04-26", "2026-04-30")] + (
            [("2026-04-26", "2026-05-01")] if jobs == 2 else []
        )


def test_late_events_of_an_open_job() -> None:
    """What arrives while a job is open, the run after the one that resumes it asks for again."""
    more: dict[str, Any] = {"lookback_days": 1, "window_days": 3}
    with emulated(9) as userpilot:
        cut = run(userpilot, most=80, **more)
        job = cut.state["bookmarks"][EVENTS]["job"]
        assert (job["from"], job["to"]) == ("2026-05-04T00:00:00Z", "2026-05-06T00:00:00Z")
        late = events_of(FIRST + timedelta(8), 2, seed=1)
        userpilot.jobs.events += [*sample([9, 10]), *late]
        userpilot.now.move(days=2)  # type: ignore[attr-defined]
        resumed = run(userpilot, cut.state, **more)
        assert resumed.state["bookmarks"][EVENTS]["read_again"] == [
            {"from": "2026-05-05T00:00:00Z", "to": "2026-05-06T00:00:00Z"}
        ]
        userpilot.jobs.events += sample([11])
        userpilot.now.move(days=1)  # type: ignore[attr-defined]
        runs, state = [cut, resumed], resumed.state
        for most in (3, None):
            runs.append(run(userpilot, state, most, **more))
            state = merged(state, runs[-1].state)
        pairs = (zip(keys(done), done.records(EVENTS), strict=True) for done in runs)
        table = {key: record for each in pairs for key, record in each}
        assert marks(table.values()) == truth(userpilot.jobs.events)
        assert state["bookmarks"][EVENTS]["read_again"] == []
        assert asked(userpilot).count(("2026-05-04", "2026-05-07")) == 1  # the job of the cut run


def test_expired_url() -> None:
    """A URL that is refused is renewed; if the new one is refused, the job is asked for again."""
    with emulated(3) as userpilot:
        userpilot.bucket.fail("download", status=403)
        check_all(userpilot)
        assert len(userpilot.jobs.made) == 1
        userpilot.bucket.fail("download", status=403, times=2)
        check_all(userpilot)
        assert len(userpilot.jobs.made) == 3


@pytest.mark.parametrize("fault", [{"drop_after": 100}, {"corrupt_at": 60}, {"status": 503}])
def test_broken_downloads(fault: dict[str, int]) -> None:
    """A download that breaks off is resumed; a damaged one is downloaded again."""
    with emulated(3) as userpilot:
        userpilot.bucket.fail("download", **fault)
        check_all(userpilot)


def test_one_budget() -> None:
    """A request that keeps failing is repeated max_retries times, also while a file is fetched."""
    with emulated(3) as userpilot:
        (name, *_) = userpilot.lookups
        userpilot.fail("lookup", status=500, times=None)
        with pytest.raises(TransportError, match=name):
            run(userpilot, streams=[name], max_retries=2)
        assert userpilot.count("lookup") == 3

        def then_broken() -> Iterator[int]:
            userpilot.fail("job", status=500, times=None)
            yield 1

        userpilot.order = then_broken()
        with pytest.raises(TransportError, match="export job"):
            run(userpilot, max_retries=2)
        assert userpilot.count("job") == 1 + 3


def test_paths() -> None:
    """The path of a new job may end in a slash or not; no redirect is followed."""
    for slash in (True, False):
        with emulated(1) as userpilot:
            userpilot.slash = slash
            check_all(userpilot)
            assert len(userpilot.jobs.made) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key(status: int) -> None:
    """401 and 403 are one error that names the key and the plan."""
    with emulated(1) as userpilot:
        userpilot.plan, userpilot.plan_status = False, status
        with pytest.raises(AuthenticationError) as caught:
            run(userpilot)
        assert "current plan for application" in str(caught.value)
        assert "api_key" in str(caught.value)
        assert "Enterprise" in str(caught.value)
        assert len(userpilot.requests) == 1


def test_key_stays_here() -> None:
    """The key goes to the API's own origin only, whatever is pasted before it."""
    with emulated(2) as userpilot:
        check_all(userpilot, api_key=f" Token  {userpilot.key}\n")
        assert userpilot.bucket.requests
        assert not [r for r in userpilot.bucket.requests if "authorization" in r.headers]
        elsewhere = {"Location": f"{userpilot.bucket.url}/s3/x"}
        for route in ("create", "jobs"):
            userpilot.bucket.forget()
            userpilot.fail(route, status=307, headers=elsewhere)
            with pytest.raises(TransportError, match="another place, which does not get the key"):
                run(userpilot)
            assert userpilot.bucket.requests == []


def test_quoted_key() -> None:
    """An error that quotes the key does not show it."""
    with emulated(1) as userpilot:
        userpilot.key = "precious-key-5f2a"
        userpilot.fail("create", status=400, body=f"no such key: {userpilot.key}")
        with pytest.raises(TransportError, match=r"no such key: \*\*\*"):
            run(userpilot, api_key=f"Token {userpilot.key}")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"api_key": "  "}, "api_key is not set"),
        ({"api_key": "Token "}, "api_key is not set"),
        ({"api_key": "a b"}, "characters that no key has"),
        ({"api_key": "schlüssel"}, "characters that no key has"),
        ({"api_url": "http://appex.userpilot.io"}, "api_url is not an https URL"),
        ({"api_url": "https://a@appex.userpilot.io"}, "api_url must not contain a login"),
        ({"window_days": 0}, "window_days"),
        ({"metadata": "json"}, "metadata"),
        ({"job_wait": -1}, "job_wait"),
    ],
)
def test_wrong_settings(setting: dict[str, object], words: str) -> None:
    """A wrong setting is one error that names it."""
    config = {"api_key": "k", **setting}
    errors = TapUserpilot(
        config=config, setup_mapper=False, validate_config=False
    )._validate_config(raise_errors=False)
    assert words in "; ".join(errors)


def test_no_start_date() -> None:
    """The first run of events needs start_date."""
    with emulated(1) as userpilot, pytest.raises(SettingsError, match="no start_date"):
        run(userpilot, start_date=None)


def test_secret_without_prefix() -> None:
    """The key is redacted as it is sent, not only as it is set."""
    USERPILOT.source(
        {
            **dict.fromkeys(("window_days", "settle_hours", "job_wait"), 1),
            "api_key": "Token abcdef12",
        }
    )
    assert SECRECY.scrub("the key abcdef12 is wrong") == "the key *** is wrong"
