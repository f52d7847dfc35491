# shellcheck shell=sh
want python3 python3
HOSTCRST_LIBRARY=$library python3 build_wheel.py "$work" >"$work/wheel"
python3 -m zipfile -e "$(cat "$work/wheel")" "$work/site"
export PYTHONPATH="$work/site" PYTHONDONTWRITEBYTECODE=1
prints "sell has both" python3 deadlock.py
prints "restock has both" python3 deadlock.py
CDEF=$cdef python3 -m unittest -q test_hostcrst 2>"$work/log" || fail "$(cat "$work/log")"
# pip, where it is there, finds the wheel well-formed.
if python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip install -q --disable-pip-version-check --no-index --root-user-action ignore --target "$work/pip" \
        "$(cat "$work/wheel")"
    PYTHONPATH=$work/pip prints "sell has both" python3 deadlock.py
fi
