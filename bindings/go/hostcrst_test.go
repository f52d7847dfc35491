package hostcrst

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func section(t *testing.T, name string) *Section {
	t.Helper()
	made, err := New(name)
	mustBe(t, err, nil)
	return made
}

func mustBe(t *testing.T, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Fatalf("%v, not %v", err, wanted)
	}
}

// inGoroutine runs f in a goroutine of its own, to its end.
func inGoroutine(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func untilWaiters(s *Section) {
	for s.Waiters() == 0 {
		runtime.Gosched()
	}
}

func reportOf(t *testing.T) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "report")
	mustBe(t, err, nil)
	defer file.Close()
	mustBe(t, Report(file), nil)
	text, err := os.ReadFile(file.Name())
	mustBe(t, err, nil)
	return string(text)
}

func TestADeadlockIsRefused(t *testing.T) {
	orders, stock := section(t, "orders"), section(t, "stock")
	mustBe(t, orders.Enter(), nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer Thread("restock")()
		err := stock.Do(func() error { return orders.Do(func() error { return nil }) })
		if err != nil {
			t.Error(err)
		}
	}()
	untilWaiters(orders)
	owned := `owns 0x[...] "stock" recursion=1`
	if recorded {
		owned += `, entered at hostcrst.TestADeadlockIsRefused.[...](hostcrst_test.go:`
	}
	report := reportOf(t)
	for _, wanted := range []string{
		`"restock" tid=`, owned,
		`waiting to enter 0x[...] "orders" at hostcrst.TestADeadlockIsRefused.[...](hostcrst_test.go:`,
	} {
		if !contains(report, wanted) {
			t.Errorf("%s is not in the report:\n%s", wanted, report)
		}
	}
	err := stock.Enter()
	mustBe(t, err, ErrDeadlock)
	if !strings.HasPrefix(err.Error(), `hostcrst: enter "stock": deadlock`) {
		t.Error(err)
	}
	mustBe(t, orders.Leave(), nil)
	<-done
	mustBe(t, stock.Do(func() error { return nil }), nil)
	mustBe(t, orders.Close(), nil)
	mustBe(t, stock.Close(), nil)
	mustBe(t, stock.Enter(), ErrClosed)
}

// contains is strings.Contains, where [...] stands for anything within a line.
func contains(text, wanted string) bool {
	for _, line := range strings.Split(text, "\n") {
		rest, all := line, true
		for _, part := range strings.Split(wanted, "[...]") {
			at := strings.Index(rest, part)
			if all = all && at >= 0; !all {
				break
			}
			rest = rest[at+len(part):]
		}
		if all {
			return true
		}
	}
	return false
}

func TestOnlyTheGoroutineThatEnteredLeaves(t *testing.T) {
	orders := section(t, "orders")
	defer Thread("clerk")()
	mustBe(t, orders.Enter(), nil)
	mustBe(t, orders.Enter(), nil)
	inGoroutine(func() {
		err := orders.Leave()
		mustBe(t, err, ErrNotOwner)
		if !strings.Contains(err.Error(), `owned by the goroutine on the thread "clerk"`) {
			t.Error(err)
		}
		mustBe(t, orders.Close(), ErrNotOwner)
	})
	mustBe(t, orders.Leave(), nil)
	mustBe(t, orders.Leave(), nil)
	err := orders.Leave()
	mustBe(t, err, ErrNotOwner)
	if !strings.Contains(err.Error(), "own the section; nobody owns it") {
		t.Error(err)
	}
}

func TestANameLastsAsLongAsItsScope(t *testing.T) {
	isShown := func(name string, wanted bool) {
		t.Helper()
		if report := reportOf(t); contains(report, `"`+name+`" tid=`) != wanted {
			t.Errorf("%q is shown: %v, in:\n%s", name, !wanted, report)
		}
	}
	inGoroutine(func() {
		outer := Thread("outer")
		inner := Thread("inner")
		isShown("inner", true)
		inner()
		isShown("inner", false)
		isShown("outer", true)
		outer()
		isShown("outer", false)
	})
}

// What is entered stays with its goroutine, however often the scheduler could move it to another thread.
func TestAnOwnerStaysOnItsThread(t *testing.T) {
	counters := section(t, "counters")
	const goroutines, rounds = 8, 300
	done := make(chan error)
	total := 0
	for i := 0; i < goroutines; i++ {
		go func() {
			var err error
			for round := 0; round < rounds && err == nil; round++ {
				err = counters.Do(func() error {
					seen := total
					runtime.Gosched()
					total = seen + 1
					return nil
				})
				runtime.Gosched()
			}
			done <- err
		}()
	}
	for i := 0; i < goroutines; i++ {
		mustBe(t, <-done, nil)
	}
	if total != goroutines*rounds {
		t.Errorf("%d, not %d", total, goroutines*rounds)
	}
}

func TestAGoroutineThatEndsAbandonsWhatItOwns(t *testing.T) {
	orders := section(t, "orders")
	inGoroutine(func() { mustBe(t, orders.Enter(), nil) })
	mustBe(t, orders.Enter(), ErrAbandoned)
	mustBe(t, orders.Recover(), nil)
	mustBe(t, orders.Leave(), nil)
	mustBe(t, orders.Recover(), ErrInvalid)
}

// Whichever thread the goroutine ran on: Go does not end the process's first one.
func TestEachGoroutineThatEndsDoes(t *testing.T) {
	sections := make([]*Section, 50)
	for i := range sections {
		sections[i] = section(t, "orders")
		inGoroutine(func() { mustBe(t, sections[i].Enter(), nil) })
	}
	for _, orders := range sections {
		mustBe(t, orders.EnterTimeout(10*time.Second), ErrAbandoned)
		mustBe(t, orders.Close(), nil)
	}
}

func TestDoTellsThatItCouldNotLeave(t *testing.T) {
	orders, mine := section(t, "orders"), errors.New("mine")
	mustBe(t, orders.Do(func() error { return orders.Leave() }), ErrNotOwner)
	mustBe(t, orders.Do(func() error { orders.Leave(); return mine }), mine)
}

func TestAWaitEndsWithItsLimitOrItsContext(t *testing.T) {
	orders := section(t, "orders")
	mustBe(t, orders.Enter(), nil)
	inGoroutine(func() {
		mustBe(t, orders.EnterTimeout(time.Millisecond), ErrTimeout)
		entered, err := orders.TryEnter()
		mustBe(t, err, nil)
		if entered {
			t.Error("entered what another owns")
		}
		mustBe(t, orders.EnterContext(cancelled()), context.Canceled)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- orders.EnterContext(ctx) }()
	untilWaiters(orders)
	cancel()
	mustBe(t, <-done, context.Canceled)

	// An alert that came too late for its wait does not end the next one.
	go func() {
		defer Thread("next")()
		alert(currentTask())
		err := orders.EnterContext(context.Background())
		if err == nil {
			err = orders.Leave()
		}
		done <- err
	}()
	untilWaiters(orders)
	mustBe(t, orders.Leave(), nil)
	mustBe(t, <-done, nil)
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A goroutine's thread is its own as long as it owns something, and no longer.
func TestAThreadIsGivenBack(t *testing.T) {
	for name, own := range map[string]func(*Section) error{
		"left":   func(s *Section) error { return first(s.Enter(), s.Enter(), s.Leave(), s.Leave()) },
		"closed": func(s *Section) error { return first(s.Enter(), s.Enter(), s.Close()) },
		"recovered": func(s *Section) error {
			inGoroutine(func() { s.Enter() })
			s.Enter() // waits for that one's end
			return first(s.Recover(), s.Leave())
		},
		"tried": func(s *Section) error {
			_, err := s.TryEnter()
			return first(err, s.EnterTimeout(0), s.EnterContext(context.Background()), s.Leave(), s.Leave(), s.Leave())
		},
		"panicked": func(s *Section) error {
			defer func() { recover() }()
			return s.Do(func() error { panic("in a section") })
		},
		"refused": func(s *Section) error {
			s.Close()
			s.Enter()
			s.TryEnter()
			s.EnterContext(context.Background())
			s.Leave()
			return nil
		},
	} {
		orders := section(t, "orders")
		inGoroutine(func() {
			mustBe(t, own(orders), nil)
			if isTied() {
				t.Errorf("%s: the goroutine is still tied to its thread", name)
			}
		})
	}
	orders := section(t, "orders")
	inGoroutine(func() {
		mustBe(t, first(orders.Enter(), orders.Enter(), orders.Leave()), nil)
		if !isTied() {
			t.Error("the goroutine owns a section, and is not tied to its thread")
		}
	})
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func isTied() bool {
	text := make([]byte, 100)
	head, _, _ := strings.Cut(string(text[:runtime.Stack(text, false)]), "\n")
	return strings.Contains(head, "locked to thread")
}

// A section that is free is entered by a try, of which orders know nothing, unless they are asked for.
func TestOrdersAreExamined(t *testing.T) {
	if os.Getenv("HOSTCRST_ORDER") != "1" {
		t.Skip("HOSTCRST_ORDER=1 switches it on")
	}
	orders, stock := section(t, "orders"), section(t, "stock")
	both := func(one, other *Section) {
		mustBe(t, one.Do(func() error { return other.Do(func() error { return nil }) }), nil)
	}
	defer Thread("first")()
	both(orders, stock)
	inGoroutine(func() { both(stock, orders) })
	if report := reportOf(t); !contains(report, `entered 0x[...] "stock" at hostcrst.TestOrdersAreExamined.func1 (hostcrst_test.go:`) {
		t.Error(report)
	}
}

func TestLimitsAreRoundedUp(t *testing.T) {
	for limit, wanted := range map[time.Duration]uint32{
		-time.Second: 0, 0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, 1<<63 - 1: 4294967294,
	} {
		if is := uint32(milliseconds(limit)); is != wanted {
			t.Errorf("%v: %d, not %d", limit, is, wanted)
		}
	}
}

func TestAHandleIsTheSection(t *testing.T) {
	orders := section(t, "Bestellungen: 20 €")
	if same := FromHandle(orders.Handle()); same.Name() != "Bestellungen: 20 €" {
		t.Error(same.Name())
	}
	mustBe(t, FromHandle(1).Enter(), ErrClosed)
	if Version() == "" {
		t.Error("no version")
	}
}
