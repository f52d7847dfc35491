# What `./dev check aarch64` runs under qemu-user has the label `emulated`: the programs that are built for aarch64 and
# run by themselves, and the lists of what the libraries export. Left out is each test that rests on something Linux does
# for a program and qemu-user does not, as <stem>.<test>, or as <stem> where that is most of it:
set(not_emulated
    # It ignores limits of the address space and of memory.
    addresses.where_all_places_are_taken_an_enter_ends_the_process
    addresses.without_memory_an_enter_waits_until_there_is_some
    arena.without_memory_every_earlier_section_stays
    arena.little_address_space_is_enough
    bad_input.handles_beyond_a_small_arena
    layers.without_memory_every_earlier_layer_stays
    results.no_address_space_for_the_arenas
    results.no_address_space_for_records
    results.no_memory_for_a_task
    results.no_memory_for_sections_and_names
    results.no_memory_for_a_task_that_recovers
    results.the_header_documents_what_was_seen_and_no_more
    region.what_is_reserved_cannot_be_read
    slots.no_place_is_missing_where_all_are_needed
    wrapper.why_the_runtime_does_not_start_is_told
    # It refuses filters of system calls. (So do all that run as <stem>.fenced or without_membarrier.)
    fenced_late
    first_call
    faults
    # It refuses ptrace.
    no_cost
    steps
    # It does not know process_vm_readv and process_vm_writev.
    srw.a_report_does_not_say_that_an_owner_has_ended_which_let_go_before
    win32.a_forked_child_owns_what_its_thread_owned
    win32.a_forked_child_leaves_alone_what_is_gone
    # /proc/thread-self/maps shows its own mappings, in which the library finds no names.
    address.reports_and_chains_show_the_wait
    condition.a_report_shows_who_sleeps_where
    condition.a_stall_line_says_that_the_owner_sleeps
    deadlock_explained
    once.a_callback_that_waits_for_itself_is_told
    once.one_thread_runs_it_and_all_others_wait
    order.an_order_taken_both_ways_is_told_once_with_all_places
    order.resources_are_examined_too
    order.sections_of_windows_are_examined_too
    output.a_report_reads_the_list_of_mappings_once
    srw.a_deadlock_through_one_is_reported_once
    srw.a_lock_of_an_owner_that_has_ended_stays_locked_and_that_is_told
    srw.a_release_of_what_is_not_held_changes_nothing_and_is_told
    srw.a_wait_chain_goes_through_it
    srw.a_waiter_finds_out_that_the_owner_is_gone
    srw.an_owner_that_acquires_again_is_told_and_waits
    srw.reports_and_chains_say_who_owns_it
    report.a_task_shows_its_layers
    report.layers_and_sections_of_each_thread_are_shown
    win32.reports_know_sections_by_address_and_variable
    win32.tracking_keeps_where_a_section_was_entered
    win32_deadlock.a_deadlock_is_reported_and_waits
    win32_deadlock.a_deadlock_aborts_where_the_environment_says_so
    win32_deadlock.the_wait_for_the_hosts_section_is_refused
    win32_deadlock.unless_it_is_not_to_be
    win32_deadlock.an_enter_inside_the_callback_waits_like_any_other
    win32_misuse
    win32_names.reports_name_a_section_by_the_programs_own_record
    # /proc/self/task shows the system calls of the machine that it runs on.
    foreign
    output.reports_that_are_stuck_silence_nobody
    srw.reports_say_how_many_share_it
    stack
    # Among the process's threads is one of its own.
    order.what_the_only_thread_does_is_no_alarm
    # It writes to stderr by what signal a program ends.
    endings.unasked_a_process_ends_in_silence
    # A child of several threads that starts a thread fails an assertion of qemu's.
    address.in_the_child_of_a_fork_nobody_waits
    fork
    fork_inside
    gone.the_first_thread_may_be_gone_too
    gone.their_places_are_used_again
    gone.a_section_biased_to_a_thread_that_is_gone_is_abandoned
    order.the_child_of_a_fork_knows_what_its_parent_saw
    resource.the_policy_may_be_the_end_of_the_process
    srw.a_child_holds_what_its_thread_held_and_nobody_waits_there
    sys.a_child_goes_on_with_what_its_thread_had
    sys.a_fork_in_the_middle_of_anything_is_fine
    # Ten thousand threads are more than it runs in time.
    scale
    # The processor's trap flag is not there.
    pairs
    fork_at_every_instruction
    # Its threads and forks take ten times as long.
    random_threads
    # Its memory is ordered as this machine's.
    litmus)

# left_out_of_<stem>: the arguments by which a program of the stem leaves these tests out, when it is emulated.
if(CMAKE_CROSSCOMPILING_EMULATOR)
    foreach(test IN LISTS not_emulated)
        if(test MATCHES "^(.+)\\.(.+)$")
            list(APPEND left_out_of_${CMAKE_MATCH_1} -${CMAKE_MATCH_2})
        endif()
    endforeach()
endif()

# The command of the emulator, for programs that execute themselves anew (check_execute_anew).
string(REPLACE ";" " " emulator "${CMAKE_CROSSCOMPILING_EMULATOR}")

# hostcrst_emulated(<test> [<stem>]): gives the test of ctest the label, unless the stem is left out. To be called once
# the test has its other properties.
function(hostcrst_emulated test)
    if(NOT ARGN IN_LIST not_emulated)
        set_property(TEST ${test} APPEND PROPERTY LABELS emulated)
    endif()
    if(emulator)
        set_property(TEST ${test} APPEND PROPERTY ENVIRONMENT "CHECK_EMULATOR=${emulator}")
    endif()
endfunction()
