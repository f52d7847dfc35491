// Package hostcrst is for Go programs that want a lock which refuses deadlocks: the sections of libhostcrst.
//
// A section is owned by an operating system's thread. Enter therefore ties the calling goroutine to its thread, and
// Leave frees it again: goroutine and owner are one as long as a section is owned. That is also why only the goroutine
// that entered can leave.
package hostcrst

/*
#cgo pkg-config: hostcrst
#include <stdlib.h>
#include <hostcrst.h>

// HOST_E_TIMEOUT if another owns it.
static int32_t try_enter(hostcrst_t section)
{
    int32_t entered;
    int32_t result = hostcrst_try_enter(section, 0, &entered);
    return result == S_OK && !entered ? HOST_E_TIMEOUT : result;
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// A goroutine that ends while it is tied to its thread ends that too, and what it owned is abandoned. Go does not end the
// process's first thread: there the goroutine would own it for ever. So that one is main's, and no other goroutine's.
func init() { runtime.LockOSThread() }

// Result is an HRESULT of the library, as an error.
type Result int32

// What the functions of this package return, wrapped; to be asked for with errors.Is.
const (
	ErrDeadlock     Result = C.HOST_E_DEADLOCK         // this wait would have been the last of a deadlock, and was refused
	ErrTimeout      Result = C.HOST_E_TIMEOUT          // the time limit passed
	ErrNotOwner     Result = C.HOST_E_NOT_OWNER        // the calling goroutine does not own the section
	ErrAbandoned    Result = C.HOST_E_ABANDONED        // the owner's thread ended, see Recover; or the section was closed
	ErrNotAvailable Result = C.HOST_E_CLRNOTAVAILABLE  // the runtime was stopped, or has failed
	ErrInvalid      Result = C.HOST_E_INVALIDOPERATION // the call does not fit the state of the section
	ErrClosed       Result = C.E_HANDLE                // there is no such section, or no longer
	ErrNoMemory     Result = C.E_OUTOFMEMORY
)

func (result Result) Error() string {
	return C.GoString(C.host_result_message(C.int32_t(result)))
}

// Error says which call on which section failed, and why.
type Error struct {
	Op      string // such as "enter"
	Section string // its name
	Detail  string // what else is known, or empty
	Result  Result
}

func (e *Error) Error() string {
	text := fmt.Sprintf("hostcrst: %s %q: %s", e.Op, e.Section, e.Result.Error())
	if e.Detail != "" {
		text += "; " + e.Detail
	}
	return text
}

// Unwrap is for errors.Is.
func (e *Error) Unwrap() error { return e.Result }

// Section is a critical section: recursive, and owned by one goroutine at a time.
type Section struct {
	handle C.hostcrst_t
}

// New makes a section. Reports show the name.
func New(name string) (*Section, error) {
	if err := start(); err != nil {
		return nil, err
	}
	section := new(Section)
	if result := C.hostcrst_create(&section.handle); result != C.S_OK {
		return nil, &Error{Op: "create", Section: name, Result: Result(result)}
	}
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	if result := C.hostcrst_set_name(section.handle, text); result != C.S_OK {
		C.hostcrst_destroy(section.handle)
		return nil, &Error{Op: "name", Section: name, Result: Result(result)}
	}
	return section, nil
}

// start begins the runtime, unless somebody has; if it was stopped since, that is the program's will.
func start() error {
	var state C.uint32_t
	C.host_runtime_state(&state)
	if state != C.HOST_RUNTIME_NOT_LOADED {
		return nil
	}
	if result := C.host_runtime_start(); result < 0 {
		return &Error{Op: "start", Result: Result(result)}
	}
	return nil
}

// FromHandle is the section of a handle that C or another language has made.
func FromHandle(handle uint64) *Section {
	return &Section{C.hostcrst_t(handle)}
}

// Handle is what other languages know the section by.
func (s *Section) Handle() uint64 { return uint64(s.handle) }

// Enter blocks until the calling goroutine owns the section; it may own it already. Each success needs one Leave.
func (s *Section) Enter() error {
	return s.enter(C.HOSTCRST_INFINITE)
}

// EnterTimeout blocks no longer than the limit. A wait with a limit is no part of a deadlock, and not refused for one.
func (s *Section) EnterTimeout(limit time.Duration) error {
	return s.enter(milliseconds(limit))
}

// EnterContext blocks until the calling goroutine owns the section, or ctx is done: then it returns ctx.Err(). It is
// refused for a deadlock as Enter is. It uses up alerts to its thread (host_task_alert).
func (s *Section) EnterContext(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	task := currentTask()
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
			alert(task)
		case <-over:
		}
	}()
	place := place()
	defer C.free(unsafe.Pointer(place))
	err := s.tied("enter", func() C.int32_t {
		for {
			// An alert may also be left over from an earlier call, whose wait had ended when it came.
			result := C.hostcrst_enter_at(s.handle, C.WAIT_ALERTABLE, C.HOSTCRST_INFINITE, place)
			if result != C.HOST_E_INTERRUPTED || ctx.Err() != nil {
				return result
			}
		}
	})
	close(over)
	<-ended
	if errors.Is(err, Result(C.HOST_E_INTERRUPTED)) {
		return ctx.Err()
	}
	return err
}

// TryEnter says whether the calling goroutine owns the section now, once more than before. It does not wait.
func (s *Section) TryEnter() (bool, error) {
	err := s.tied("try to enter", func() C.int32_t { return C.try_enter(s.handle) })
	if errors.Is(err, ErrTimeout) {
		return false, nil
	}
	return err == nil, err
}

// Recover takes over a section after ErrAbandoned: its owner ended without leaving it, such as a goroutine that
// returned too early. What the section protects is as that goroutine left it.
func (s *Section) Recover() error {
	return s.tied("recover", func() C.int32_t { return C.hostcrst_recover(s.handle) })
}

// Do runs f while the calling goroutine owns the section, and leaves it even if f panics. It returns f's error, or that of
// leaving.
func (s *Section) Do(f func() error) (err error) {
	if err := s.Enter(); err != nil {
		return err
	}
	defer func() {
		if left := s.Leave(); err == nil {
			err = left
		}
	}()
	return f()
}

// Leave leaves the section once. Only the goroutine that entered can do so; to any other, the error tells who owns it.
func (s *Section) Leave() error {
	result := C.hostcrst_leave(s.handle)
	if result == C.S_OK {
		runtime.UnlockOSThread()
	}
	return s.failed("leave", result)
}

// Close ends the section. It must be free, abandoned, or owned by the calling goroutine; who waits gets ErrAbandoned.
func (s *Section) Close() error {
	// For each time that the goroutine has entered, its thread is tied to it once.
	entered := 0
	if info, ok := s.info(); ok && info.owner != 0 && info.owner == currentTask() {
		entered = int(info.recursion)
	}
	result := C.hostcrst_destroy(s.handle)
	for ; result == C.S_OK && entered > 0; entered-- {
		runtime.UnlockOSThread()
	}
	return s.failed("close", result)
}

// enter takes a section that is free without telling the place, which takes longer to find out than to enter.
func (s *Section) enter(limit C.uint32_t) error {
	return s.tied("enter", func() C.int32_t {
		if !recorded {
			if result := C.try_enter(s.handle); result != C.HOST_E_TIMEOUT {
				return result
			}
		}
		place := place()
		defer C.free(unsafe.Pointer(place))
		return C.hostcrst_enter_at(s.handle, 0, limit, place)
	})
}

// tied ties the goroutine to its thread for as long as what was entered is owned.
func (s *Section) tied(op string, enter func() C.int32_t) error {
	runtime.LockOSThread()
	result := enter()
	if result != C.S_OK {
		runtime.UnlockOSThread()
	}
	return s.failed(op, result)
}

// recorded: the places of enters that need not wait are of interest, too.
var recorded = os.Getenv("HOSTCRST_HOLDS") == "1" || os.Getenv("HOSTCRST_ORDER") == "1"

// thisFile is the path of this source, which is nobody's place.
var thisFile = func() string { _, file, _, _ := runtime.Caller(0); return file }()

// place is where the caller of this package is: "main.sell (shop.go:12)".
func place() *C.char {
	var addresses [16]uintptr
	frames := runtime.CallersFrames(addresses[:runtime.Callers(2, addresses[:])])
	for {
		frame, more := frames.Next()
		if frame.File != thisFile || !more {
			return C.CString(fmt.Sprintf("%s (%s:%d)", path.Base(frame.Function), path.Base(frame.File), frame.Line))
		}
	}
}

func (s *Section) failed(op string, result C.int32_t) error {
	if result == C.S_OK {
		return nil
	}
	failure := &Error{Op: op, Section: s.Name(), Result: Result(result)}
	if failure.Result == ErrNotOwner {
		failure.Detail = s.owner()
	}
	return failure
}

func (s *Section) owner() string {
	info, ok := s.info()
	if !ok || info.owner == 0 {
		return "nobody owns it"
	}
	return fmt.Sprintf("it is owned by the goroutine on the thread %q, and a goroutine leaves what it has entered itself",
		name(func(text *C.char, capacity C.size_t, length *C.size_t) {
			C.host_task_name(C.host_task_t(info.owner), text, capacity, length)
		}))
}

// Name is the section's name, as in reports.
func (s *Section) Name() string {
	return name(func(text *C.char, capacity C.size_t, length *C.size_t) {
		C.hostcrst_name(s.handle, text, capacity, length)
	})
}

// Waiters is how many goroutines and other threads are in the section's queue.
func (s *Section) Waiters() int {
	info, _ := s.info()
	return int(info.waiters)
}

func (s *Section) info() (C.hostcrst_info_t, bool) {
	info := C.hostcrst_info_t{size: C.sizeof_hostcrst_info_t}
	return info, C.hostcrst_info(s.handle, &info) == C.S_OK
}

// Thread ties the calling goroutine to its thread and gives this a name, which reports show; the function that it
// returns undoes both. For a goroutine's first line: defer hostcrst.Thread("seller")()
func Thread(name string) func() {
	runtime.LockOSThread()
	task := currentTask()
	before, nested := named.Load(task)
	if !nested {
		before = ""
	}
	named.Store(task, name)
	setThreadName(name)
	return func() {
		if nested {
			named.Store(task, before)
		} else {
			named.Delete(task)
		}
		setThreadName(before.(string))
		runtime.UnlockOSThread()
	}
}

// Of tasks, what Thread calls them: for the end of one that was called within another.
var named sync.Map

func setThreadName(name string) {
	if start() != nil {
		return
	}
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	C.host_task_set_name(C.host_task_t(currentTask()), text)
}

func alert(task C.uint64_t) { C.host_task_alert(C.host_task_t(task)) }

func currentTask() C.uint64_t {
	var task C.host_task_t
	C.host_task_current(&task)
	return C.uint64_t(task)
}

// Report writes who owns which section and who waits for it, as text.
func Report(file *os.File) error {
	if result := C.host_report(C.int32_t(file.Fd()), C.HOST_REPORT_TEXT); result != C.S_OK {
		return &Error{Op: "report", Result: Result(result)}
	}
	return nil
}

// Version is that of the library.
func Version() string { return C.GoString(C.hostcrst_version()) }

func name(read func(*C.char, C.size_t, *C.size_t)) string {
	var text [C.HOSTCRST_NAME_SIZE]C.char
	var length C.size_t
	read(&text[0], C.HOSTCRST_NAME_SIZE, &length)
	return C.GoString(&text[0])
}

// milliseconds rounds up, to no less than a try and no more than the longest limit there is.
func milliseconds(limit time.Duration) C.uint32_t {
	const longest = C.HOSTCRST_INFINITE - 1
	switch whole := (limit + time.Millisecond - 1) / time.Millisecond; {
	case limit <= 0:
		return 0
	case limit > longest*time.Millisecond:
		return longest
	default:
		return C.uint32_t(whole)
	}
}
