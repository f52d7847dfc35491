// Two goroutines take two sections, each in its own order. One is refused, and both go on.
package main

import (
	"errors"
	"fmt"
	"log"
	"runtime"

	"hostcrst"
)

func main() {
	orders, err := hostcrst.New("orders")
	check(err)
	stock, err := hostcrst.New("stock")
	check(err)

	check(orders.Enter())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer hostcrst.Thread("restock")()
		check(stock.Enter())
		check(orders.Enter()) // the other one is refused, and leaves: this one goes on
		check(orders.Leave())
		check(stock.Leave())
	}()

	for orders.Waiters() == 0 {
		runtime.Gosched()
	}
	refused := stock.Enter()
	if !errors.Is(refused, hostcrst.ErrDeadlock) {
		log.Fatal("not refused: ", refused)
	}
	check(orders.Leave())
	<-done
	check(stock.Do(func() error { return nil }))
	fmt.Println("refused: deadlock; both went on")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
