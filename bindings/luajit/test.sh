# shellcheck shell=sh
want luajit luajit
prints "refused: deadlock; both went on" luajit deadlock.lua "$cdef" "$library"
grep -q 'waited for .* "stock" at main (deadlock.lua:[0-9]*), owned by' "$work/out" || fail "no line of Lua: $(cat "$work/out")"
