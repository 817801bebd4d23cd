"""The faults that `tests.judges.noticed` plants: each once passed all tests unnoticed, or stands for one that did."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FAULTS", "Fault"]


class Fault(NamedTuple):
    """A change of one place, and the test that has to fail with it."""

    says: str
    file: str
    old: str
    """What stands there, once in the file."""
    new: str
    test: str


_AUTH, _CORE, _JOBS = "limio_async/auth", "limio_async/core", "limio_async/sync_jobs"
_SIGN_IN, _SINKS, _WIRE = "tests/unit/test_authorization_code.py", "tests/sync_jobs/sinks", "tests/wire"

FAULTS = (
    Fault(
        "a page that was on the wire when the walk was cancelled is passed over",
        f"{_CORE}/listing/fetch.py",
        "self.lost = self._paging.species.advances and cursor is not None",
        "self.lost = False",
        "tests/unit/test_listing.py::test_cancelling_whoever_walks_loses_nothing_in_silence",
    ),
    Fault(
        "one customer's cookie goes with another's request",
        "limio_async/transport/aiohttp.py",
        "cookie_jar=aiohttp.DummyCookieJar()",
        "cookie_jar=aiohttp.CookieJar()",
        f"{_WIRE}/test_transport.py::test_a_cookie_is_sent_with_the_request_that_carries_it_and_with_no_other",
    ),
    Fault(
        "another program's lock is not told",
        f"{_JOBS}/sinks/sqlite.py",
        'if "locked" in reason:',
        'if "unlocked" in reason:',
        f"{_SINKS}/test_bad_targets.py::test_a_database_that_another_program_writes_to",
    ),
    Fault(
        "a token that was stored meanwhile is not taken",
        f"{_AUTH}/signed_in.py",
        "if found is None or _expired(found) or _bearer(found) == refused:",
        "if found is None or not _expired(found):",
        f"{_SIGN_IN}::test_a_token_that_is_refused_is_replaced_by_the_one_that_was_stored_meanwhile",
    ),
    Fault(
        "in a chain, the first strategy of a kind is asked to renew another's token",
        f"{_AUTH}/chained.py",
        "strategy = self._gave.get(refused.scheme)",
        "strategy = next((one for one in self._strategies if refused.scheme in one.offers), None)",
        f"{_SIGN_IN}::test_a_token_that_is_refused_is_replaced_by_the_one_that_was_stored_meanwhile",
    ),
    Fault(
        "a second sign-in serves the first token",
        f"{_AUTH}/authorization_code.py",
        "self._held = None  # the store knows better",
        "pass",
        f"{_SIGN_IN}::test_a_second_sign_in_serves_the_second_token",
    ),
    Fault(
        "streams that a stopped job never began are not interrupted",
        f"{_JOBS}/job.py",
        'run.report.status = "interrupted"',
        'run.report.status = "complete"',
        "tests/sync_jobs/test_promises.py"
        "::test_streams_that_a_stopped_job_never_began_are_interrupted_and_the_next_run_does_them",
    ),
    Fault(
        "a list that was walked to its end is asked for again",
        f"{_JOBS}/run/fill.py",
        "            if not progress.walk.ended:\n",
        "            if progress.walk is not None:\n",
        "tests/sync_jobs/test_promises.py::test_a_list_that_was_walked_to_its_end_is_not_asked_for_again",
    ),
    Fault(
        "all who are asked to wait come back together",
        f"{_CORE}/retry.py",
        "asked + wait * 0.1",
        "asked",
        "tests/unit/test_retry.py::test_jitter_of_a_tenth_is_added_to_what_the_server_asks_for",
    ),
    Fault(
        "a Retry-After of a day that does not exist ends the call",
        f"{_CORE}/retry.py",
        "except (ValueError, OverflowError):",
        "except OverflowError:",
        "tests/unit/test_retry.py::test_retry_after",
    ),
    Fault(
        "true in a column of numbers is 1",
        f"{_JOBS}/columns.py",
        "if isinstance(value, bool) or not isinstance(value, str | int | float):",
        "if not isinstance(value, str | int | float):",
        "tests/sync_jobs/test_promises.py::test_true_is_no_number_and_no_number_is_true",
    ),
    Fault(
        "true in a column of texts is Python's True",
        f"{_JOBS}/columns.py",
        "if isinstance(value, bool) or value is None:",
        "if value is None:",
        "tests/sync_jobs/test_promises.py::test_true_is_no_number_and_no_number_is_true",
    ),
    Fault(
        "null in a column of booleans of a CSV file is false",
        f"{_JOBS}/sinks/files.py",
        "if is_boolean and value is not None:",
        "if is_boolean:",
        f"{_SINKS}/test_files.py::test_csv_holds_what_a_reader_wants_and_no_formula",
    ),
    Fault(
        "columns of a job's own tables can be chosen for a CSV file",
        f"{_JOBS}/sinks/files.py",
        "for table in tables if table.published for column in table.columns}",
        "for table in tables for column in table.columns}",
        f"{_SINKS}/test_files.py::test_columns_that_no_table_has_are_named",
    ),
    Fault(
        "a percent sign in a schema's name is taken for a place of a value",
        f"{_JOBS}/sinks/postgres.py",
        "return self._db.execute(statement.encode(), values or None).rowcount",
        "return self._db.execute(statement.encode(), values).rowcount",
        f"{_SINKS}/test_postgres.py::test_a_schema_of_any_name",
    ),
    Fault(
        "cut JSON in an answer that came whole is taken for a lost answer",
        "limio_async/transport/workarounds.py",
        "if told or not 200 <= response.status < 300",
        "if not 200 <= response.status < 300",
        f"{_WIRE}/test_faults.py::test_a_fault_has_the_outcome_that_its_retry_class_promises",
    ),
    Fault(
        "what earlier runs found of drift is counted again",
        "limio_async/drift/findings.py",
        'row for row in noted if row["run"] == last',
        "row for row in noted",
        "tests/sync_jobs/test_drift.py"
        "::test_what_earlier_runs_and_other_streams_found_is_not_counted_again_where_a_job_goes_on",
    ),
    Fault(
        "retries of what is fetched whole are not counted",
        f"{_JOBS}/source.py",
        "self._count(len(trace), max(0, len(trace) - 1))",
        "self._count(len(trace), 0)",
        "tests/sync_jobs/test_promises.py"
        "::test_what_is_fetched_for_each_object_counts_every_request_and_retry",
    ),
    Fault(
        "closing waits for tasks of another loop",
        f"{_CORE}/lifetime.py",
        "[walk for walk in self._walks if walk.get_loop() is asyncio.get_running_loop()]",
        "[*self._walks]",
        "tests/unit/test_listing.py::test_closing_in_another_loop_than_the_walk_s_leaves_the_walk_to_its_own",
    ),
    Fault(
        "a journal that cannot be read is passed over",
        f"{_JOBS}/sinks/sqlite.py",
        "if journal.exists() and journal.stat().st_size:",
        "if not journal:",
        f"{_SINKS}/test_bad_targets.py::test_a_journal_that_cannot_be_read_is_not_passed_over",
    ),
    Fault(
        "a state that somebody has removed fails the job at its end",
        f"{_JOBS}/spool_file.py",
        "self._file.unlink(missing_ok=True)",
        "self._file.unlink()",
        "tests/sync_jobs/test_promises.py::test_a_state_that_is_removed_meanwhile_fails_no_job",
    ),
    Fault(
        "another program writes between a look and the write that follows it",
        f"{_JOBS}/sinks/sqlite.py",
        '"BEGIN IMMEDIATE"',
        '"BEGIN"',
        f"{_SINKS}/test_bad_targets.py"
        "::test_no_other_program_writes_to_a_database_while_a_transaction_looks_at_it",
    ),
    Fault(
        "a whole number in a column of numbers is an integer",
        f"{_JOBS}/sinks/sqlite.py",
        '"number": "REAL"',
        '"number": "NUMERIC"',
        f"{_SINKS}/test_promises.py::test_values_come_back_as_they_were",
    ),
    Fault(
        "a committed row is lost in a power failure",
        f"{_JOBS}/sinks/sqlite.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        f"{_SINKS}/test_killed.py::test_a_commit_waits_for_the_disk",
    ),
    Fault(
        "a file takes its place before it is on the disk",
        "limio_async/_durable.py",
        "    os.fsync(stream.fileno())\n",
        "",
        f"{_SINKS}/test_files.py"
        "::test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_directory_after",
    ),
    Fault(
        "a file that has taken its place is gone after a power failure",
        "limio_async/_durable.py",
        "    part.replace(file)\n    _sync_directory(file.parent)\n",
        "    part.replace(file)\n",
        f"{_SINKS}/test_files.py"
        "::test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_directory_after",
    ),
    Fault(
        "connecting may take all of a call's time",
        "limio_async/transport/aiohttp.py",
        "connect=timeout / 2)",
        "connect=timeout * 2)",
        f"{_WIRE}/test_transport.py::test_half_of_the_time_and_ten_seconds_at_most_are_for_connecting",
    ),
    Fault(
        "readers stay on a connection after answers in pieces",
        "limio_async/transport/workarounds.py",
        "closed.remove_done_callback(_noticed)",
        "closed.remove_done_callback(print)",
        f"{_WIRE}/test_transport.py"
        "::test_answers_in_pieces_leave_nothing_behind_on_the_connection_that_brought_them",
    ),
    Fault(
        "explain() shows another credential than the call sends",
        f"{_CORE}/explain.py",
        "[one for one in self._offers if one in accepts]",
        "[one for one in endpoint.auth if one in self._offers]",
        "tests/unit/test_client.py::test_the_credential_that_is_explained_is_the_one_that_is_sent",
    ),
    Fault(
        "an unreadable answer says 200 whatever was answered",
        f"{_CORE}/outcome.py",
        "one.status = answer.status",
        "one.status = 200",
        "tests/unit/test_outcome.py::test_a_page_that_cannot_be_read_tells_its_status",
    ),
)
"""Each is noticed, or the program fails."""
