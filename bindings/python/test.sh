# shellcheck shell=sh
want python3 python3
# Debian's where it is there, as what $PATH names may be a script that looks for one.
python=/usr/bin/python3
[ -x $python ] || python=python3
export PYTHONDONTWRITEBYTECODE=1
HOSTCRST_LIBRARY=$library $python build_wheel.py "$work" >"$work/wheel"
# pip, where it is there, finds the wheel well-formed.
if $python -m pip --version >/dev/null 2>&1; then
    passes $python -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --root-user-action ignore \
        --target "$work/site" "$(cat "$work/wheel")"
else
    $python -m zipfile -e "$(cat "$work/wheel")" "$work/site"
fi
export PYTHONPATH="$work/site" CDEF="$cdef"
prints "sell has both" $python deadlock.py
grep -qx "restock has both" "$work/out" || fail "not both went on: $(cat "$work/out")"
passes $python -m unittest -q test_hostcrst
