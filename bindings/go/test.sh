# shellcheck shell=sh
want go golang-go
want cc gcc
want pkg-config pkg-config
for_pkg_config
# Nothing is downloaded: there is no module but this one.
export GOCACHE="$source/build/cache/go" GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-buildvcs=false

prints "refused: deadlock; both went on" go run ./example
passes go vet ./...
go test -c -o "$work/tests" .
passes "$work/tests"
HOSTCRST_HOLDS=1 passes "$work/tests"
HOSTCRST_ORDER=1 passes "$work/tests" -test.run Orders
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || fail "gofmt would change $unformatted"
