<?php
// php report.php CDEF LIBRARY: PHP has one thread. It owns a section, another thread may not leave it, and a report shows
// the line of PHP.
[, $cdef, $library] = $argv;
$host = FFI::cdef(file_get_contents($cdef), $library);
$threads = FFI::cdef('typedef unsigned long pthread_t;
    int pthread_create(pthread_t *, const void *, void *, uint64_t);
    int pthread_join(pthread_t, intptr_t *);', 'libc.so.6');

function check(int $result): void
{
    global $host;
    if ($result < 0) {
        throw new RuntimeException($host->host_result_message($result), $result);
    }
}

// The line of the caller, as reports show it.
function here(): string
{
    [, $at] = debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS, 2) + [1 => ['function' => 'main']];
    [$call] = debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS, 1);
    return sprintf('%s (%s:%d)', $at['function'], basename($call['file']), $call['line']);
}

check($host->host_runtime_start());
check($host->host_set_hold_tracking(1));
$orders = $host->new('hostcrst_t');
check($host->hostcrst_create(FFI::addr($orders)));
check($host->hostcrst_set_name($orders->cdata, 'orders'));

function sell(int $section): void
{
    global $host;
    check($host->hostcrst_enter_at($section, 0, $host->HOSTCRST_INFINITE, here()));
}

sell($orders->cdata);
$thread = $threads->new('pthread_t');
$result = $threads->new('intptr_t');
$threads->pthread_create(FFI::addr($thread), null, $host->hostcrst_leave, $orders->cdata);
$threads->pthread_join($thread->cdata, FFI::addr($result));
echo 'the other thread: ', strtok($host->host_result_message($result->cdata), ':'), "\n";
check($host->host_report(1, $host->HOST_REPORT_TEXT));
