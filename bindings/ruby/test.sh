# shellcheck shell=sh
want ruby ruby
prints "both and refused: deadlock" ruby deadlock.rb "$library"
grep -q 'waited for .* "stock" at take (deadlock.rb:[0-9]*), owned by' "$work/out" || fail "no line of Ruby: $(cat "$work/out")"
