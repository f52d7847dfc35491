# shellcheck shell=sh
want php php-cli
prints "the other thread: not the owner" php -n -d extension=ffi report.php "$cdef" "$library"
grep -q '"orders" recursion=1, entered at sell (report.php:[0-9]*)' "$work/out" || fail "no line of PHP: $(cat "$work/out")"
