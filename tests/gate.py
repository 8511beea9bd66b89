"""What the gate leaves to `make deep`, beside the tests that are marked slow: what takes long and has siblings.

By what a test's id contains. The tests that stay hold the same promise with fewer values, or on another way.
"""

from typing import Final

EVERY: Final = {
    # Of the cases of one test the first, and from there on each nth.
    "contract/test_athena.py::test_parameters_are_values": 3,
    "contract/test_audience_s3.py::test_resuming_anywhere_reads_on_where_it_stopped": 3,
    "contract/test_audiences_s3.py::test_killed_and_taken_up_again": 2,
    "contract/test_audiences_s3.py::test_two_attempts_at_the_same_time": 2,
    "contract/test_person.py::test_the_index_leads_to_everybody": 3,
    "contract/test_preparations.py::test_killed_inside_a_query": 2,
    "contract/test_prepared_run.py::test_the_cut_leads_to_everybody": 3,
    "contract/test_schedule_pages.py::test_a_preview_has_one_deadline": 2,
    "contract/test_schedule_pages.py::test_a_version_that_is_none_is_taken_again": 3,
    "contract/test_schedule_pages.py::test_whatever_a_save_is_refused_for_nobody_types_it_again": 2,
    "contract/test_schedules.py::TestFiring::test_killed": 3,
    "contract/test_warehouse_runs.py::test_what_athena_refuses_fails_the_run": 3,
    "functional/test_approval_audiences.py::test_what_is_wrong_with_the_choice": 2,
    "functional/test_approval_mails.py::test_who_cannot_be_told": 2,
    "functional/test_remarks.py::test_what_is_no_tag": 3,
    "functional/test_sandbox_run.py::test_a_broken_file_fails_with_its_reason": 2,
    "functional/test_sandbox_run.py::test_audiences_of_other_tools": 2,
    "unit/test_audience_document.py::test_whole_records_are_those_of_ijson": 4,
    "unit/test_audience_values.py::test_whatever_stands_between_them": 4,
    "unit/test_audiences_build.py::test_two_attempts_at_the_same_time_leave_one_manifest": 3,
    "unit/test_audiences_preparation.py::test_the_later_row_keeps_a_token": 2,
    "unit/test_audiences_preparation.py::test_the_same_people_in_every_format": 2,
    "unit/test_convert_table.py::test_the_way_it_was_saved_is_found_out": 4,
    "unit/test_counted_rows.py::test_members_that_differ_from_line_to_line": 2,
    "unit/test_counted_rows.py::test_rows_of_one_user_or_with_one_token": 3,
    "unit/test_documents.py::test_there_is_such_a_command": 3,
    "unit/test_exact_lines.py::test_a_damaged_line_that_is_exact_has_what_the_reader_reads": 3,
    "unit/test_exact_lines.py::test_no_damaged_line_is_exact_unless_the_reader_takes_it": 3,
    "unit/test_exact_lines.py::test_what_another_reading_would_take_is_not_exact": 2,
    "unit/test_query_catalog.py::test_no_function_in_from": 3,
    "unit/test_query_catalog.py::test_no_table_of_the_catalog": 3,
    "unit/test_query_escape.py::test_refused": 2,
    "unit/test_schedule_outages.py::test_a_year_with_outages": 3,
    "unit/test_timetable.py::test_year": 4,
    "unit/test_webhook.py::test_only_public_addresses": 2,
}

LEFT_OUT: Final = (
    "contract/test_caps.py::test_an_occurrence_that_is_not_decided_counts_nobody",
    "contract/test_erase.py::test_an_open_run_counts_on",
    "contract/test_erase.py::test_what_caps_are_counted_by",
    "contract/test_prepared_run.py::test_erased_everywhere",
    "contract/test_report_holdout.py::test_people_are_compared_by_users_over_all_campaigns",
    "contract/test_report_holdout.py::test_runs_that_ended_early",
    "contract/test_run_conversions.py::test_a_stored_query_and_the_hour_of_a_decision",
    "contract/test_warehouse_runs.py::test_several_queries_of_one_run",
    "functional/test_approval_flow.py::test_runs_begun_without_the_pages_are_shown_too",
    "functional/test_approval_flow.py::test_send_me_a_test",
    "functional/test_approval_flow.py::test_the_trail_says_that_nobody_decided_in_time",
    "functional/test_approval_goals.py::test_a_source_that_names_a_query",
    "functional/test_campaign_page.py::test_a_test_is_archived_when_its_winner_is_sent",
    "functional/test_decision_card.py::test_an_hour_that_is_past_by_the_users_clocks_is_asked_about",
    "functional/test_decision_card.py::test_how_many_have_had_other_campaigns_this_week",
    "functional/test_local_lambda.py::test_two_sandboxes_never_meet_and_leave_nothing_behind",
    "functional/test_remarks.py::test_a_campaign_is_archived_when_its_run_is_over",
    "functional/test_remarks.py::test_the_limits_of_comments",
    "functional/test_request_list.py::test_pages",
    "unit/test_counted_rows.py::test_a_line_of_many_more_members_ends_the_short_way",
    "unit/test_settling.py::TestCounting::test_a_slow_run_leaves_little_suspected",
    "unit/test_settling.py::TestSlow::test_rows_that_hang",
    "unit/test_worker_deferred.py::TestDueTimes::test_while_the_reading_goes_on",
    "unit/test_worker_outages.py::test_devices_that_are_refused_alone_and_then_an_outage",
)


def is_left_out(name: str, number: int) -> bool:
    """Whether the gate leaves out one case: of the test with this id, without parameters, that with this number."""
    inner = name.removeprefix("tests/")
    return inner in LEFT_OUT or number % EVERY.get(inner, 1) != 0
