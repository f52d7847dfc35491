# shellcheck shell=sh
want luajit luajit
prints "refused: deadlock; both went on" luajit deadlock.lua "$cdef" "$library"
