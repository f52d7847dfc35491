# shellcheck shell=sh
want python3 python3
# Debian's where it is there, as what $PATH names may be a script that looks for one.
python=/usr/bin/python3
[ -x $python ] || python=python3
export PYTHONDONTWRITEBYTECODE=1
# The wheel with the library that is to be tested, and one with what cargo makes, which is built already.
mkdir "$work/given" "$work/built"
HOSTCRST_LIBRARY=$library $python build_wheel.py "$work/given" >"$work/wheel"
$python -m zipfile -e "$(cat "$work/wheel")" "$work/unpacked"
cmp "$library" "$work/unpacked/hostcrst/libhostcrst.so.0" || fail "the wheel has another library"
CARGO_TARGET_DIR=$(dirname "$library")/../cargo
export CARGO_TARGET_DIR
# pip, where it is there, finds the wheel well-formed.
if $python -m pip --version >/dev/null 2>&1; then
    pip="$python -m pip -q --disable-pip-version-check"
    passes $pip wheel --no-index --wheel-dir "$work/built" "$source/bindings/python"
    passes $pip install --no-index --no-compile --root-user-action ignore --target "$work/site" "$work"/built/hostcrst-*.whl
else
    passes $python build_wheel.py "$work/built"
    $python -m zipfile -e "$work"/built/hostcrst-*.whl "$work/site"
fi
export PYTHONPATH="$work/site" CDEF="$cdef"
prints "sell has both" $python deadlock.py
grep -qx "restock has both" "$work/out" || fail "not both went on: $(cat "$work/out")"
passes $python -m unittest -q test_hostcrst
